//! Packed recordings: the same events as the folder's, and nothing that somebody else put together.

#![expect(clippy::unwrap_used, reason = "a test binary")]

mod common;

use common::{create, read, read_from, small, write};
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use vmatlas_event::{Event, EventSource, Seq};
use vmatlas_record::{End, Existing, Options, Packing, Reader, RecordError, is_packed};
use vmatlas_testkit::{Capability, need, need_root};

/// A sealed recording in several parts.
fn sealed(folder: &Path, calls: u64) -> (PathBuf, Vec<Event>) {
    let path = folder.join("sealed");
    let events = small(calls);
    let mut writer = create(&path, Options { rotate_at: 40_000, ..Options::default() });
    write(&mut writer, &events, 97);
    writer.finish(End::default()).unwrap();
    (path, events)
}

/// A recording that was never ended.
fn torn(folder: &Path, calls: u64) -> (PathBuf, Vec<Event>) {
    let path = folder.join("torn");
    let events = small(calls);
    let mut writer = create(&path, Options { flush_after: 0, ..Options::default() });
    write(&mut writer, &events, 7);
    drop(writer);
    (path, events)
}

fn pack(from: &Path, to: &Path, existing: Existing) -> Result<Packing, RecordError> {
    Reader::open(from)?.pack(to, existing, &mut |_, _| true)
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Checks that a packed recording has what its folder has: events, keyframes, spaces, what is known of it; twice the same.
#[test]
fn packed_and_not_packed_are_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("a file\u{1f5dc}");
    for (path, events) in [sealed(folder.path(), 40_000), torn(folder.path(), 300)] {
        let packing = pack(&path, &to, Existing::Refuse).unwrap();
        assert_eq!(packing.lost, []);
        let meta = fs::metadata(&to).unwrap();
        assert_eq!((meta.mode() & 0o777, meta.len()), (0o600, packing.bytes));
        assert!(is_packed(&to) && !is_packed(&path));
        assert_eq!(read(&to), (events, Ok(())));
        let (mut packed, mut plain) = (Reader::open(&to).unwrap(), Reader::open(&path).unwrap());
        assert_eq!(
            (packed.meta(), packed.spaces(), packed.tasks()),
            (plain.meta(), plain.spaces(), plain.tasks())
        );
        let keyframes: Vec<Seq> = plain.keyframes().map(|(after, _)| after).collect();
        assert!(keyframes.len() > 10);
        for after in keyframes {
            assert_eq!(packed.keyframe(after).unwrap(), plain.keyframe(after).unwrap());
        }
        let checked = packed.check().unwrap();
        assert_eq!((checked.damage, checked.rows), (vec![], plain.check().unwrap().rows));
        let bytes = fs::read(&to).unwrap();
        assert!(matches!(pack(&path, &to, Existing::Refuse), Err(RecordError::Exists(_))));
        pack(&path, &to, Existing::Replace).unwrap();
        assert!(fs::read(&to).unwrap() == bytes, "the same bytes");
        assert!(matches!(
            pack(&to, &folder.path().join("again"), Existing::Refuse),
            Err(RecordError::Packed(_))
        ));
        fs::remove_file(&to).unwrap();
    }
    assert_eq!(names(folder.path()), ["sealed", "torn"]);
}

/// Checks that `unzip` makes of it the folder that it was, file by file, and that it finds nothing wrong.
#[test]
fn unzip_gives_the_folder_back() {
    if !need(Capability::Tool("unzip")) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = sealed(folder.path(), 3000);
    let (to, again) = (folder.path().join("r.zip"), folder.path().join("again"));
    pack(&path, &to, Existing::Refuse).unwrap();
    let output = Command::new("unzip").arg("-q").arg(&to).arg("-d").arg(&again).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let same = Command::new("diff").arg("-r").arg(&path).arg(&again).output().unwrap();
    assert!(same.status.success(), "{}", String::from_utf8_lossy(&same.stdout));
}

/// Reads all there is; whatever is given must be the beginning of what was written. Whether something was said.
fn prefix(path: &Path, events: &[Event]) -> (usize, bool) {
    let mut reader = match Reader::open(path) {
        Ok(reader) => reader,
        Err(RecordError::NotARecording(_) | RecordError::Version { .. } | RecordError::Damaged(_)) => {
            return (0, true);
        }
        Err(error) => panic!("{error}"),
    };
    let (found, result) = read_from(&mut reader, 0);
    assert!(found.len() <= events.len() && found == events[..found.len()], "a prefix");
    let keyframes: Vec<Seq> = reader.keyframes().map(|(after, _)| after).collect();
    let broken = keyframes.iter().filter(|after| reader.keyframe(**after).is_err()).count();
    let said = result.is_err() || broken > 0 || !reader.check().unwrap().damage.is_empty();
    (found.len(), said)
}

/// Checks that a file cut at each of its bytes is refused or read up to the cut, which is told with its place.
#[test]
fn cut_at_each_byte() {
    // Of one part at each byte; of several only here and there, for each costs some milliseconds.
    for (rotate_at, stride) in [(u64::MAX, 1), (5000, 997)] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r");
        let events = small(6);
        let mut writer = create(&path, Options { rotate_at, flush_after: 0, ..Options::default() });
        write(&mut writer, &events, 100);
        writer.finish(End::default()).unwrap();
        assert_eq!(path.join("seg-000002").exists(), stride > 1);
        let (whole, to) = (folder.path().join("whole"), folder.path().join("cut"));
        pack(&path, &whole, Existing::Refuse).unwrap();
        let bytes = fs::read(whole).unwrap();
        let mut before = 0;
        for length in (0..bytes.len()).step_by(stride).chain([bytes.len() - 1]) {
            fs::write(&to, &bytes[..length]).unwrap();
            let (found, said) = prefix(&to, &events);
            assert!(said && found >= before, "{found} of {before} at {length}");
            before = found;
            if let Ok(reader) = Reader::open(&to) {
                let place = reader.damage().first().unwrap();
                assert!(place.file == "cut" && place.at.unwrap() <= length as u64, "{place} at {length}");
            }
        }
        assert_eq!(before, events.len());
    }
}

/// Numbers that look random and are the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

/// Checks that no flipped bit makes the reader panic, hang or tell what was not written, and that none goes unnoticed.
#[test]
fn flipped_bits() {
    let folder = tempfile::tempdir().unwrap();
    let (path, events) = sealed(folder.path(), 20);
    let (whole, to) = (folder.path().join("whole"), folder.path().join("flipped"));
    pack(&path, &whole, Existing::Refuse).unwrap();
    let whole = fs::read(whole).unwrap();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for _ in 0..2000 {
        let mut bytes = whole.clone();
        let at = dice.below(bytes.len());
        bytes[at] ^= 1 << dice.below(8);
        fs::write(&to, &bytes).unwrap();
        let (found, said) = prefix(&to, &events);
        assert!(said, "{found} of {} events, and nothing is said of byte {at}", events.len());
    }
}

/// Has Python make a ZIP file of the members that the script lists, as anybody can.
fn forge(to: &Path, script: &str) {
    let head = "import sys, zipfile, warnings; warnings.simplefilter('ignore'); z = zipfile.ZipFile(sys.argv[1], 'w')\n\
                def put(name, data=b'x', **more):\n    i = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))\n    \
                i.create_version = i.extract_version = 10\n    z.writestr(i, data, **more)\n\
                meta = open(sys.argv[2], 'rb').read()\n";
    let meta = to.with_file_name("sealed/meta.json");
    let script = format!("{head}{script}\nz.close()");
    let output = Command::new("python3").args(["-c", &script]).arg(to).arg(meta).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Checks that what somebody else put together is refused where it is no recording, and otherwise ends with a word where
/// it is not what pack writes: other paths, members that come twice, compressed ones, more than there may be.
#[test]
fn what_others_put_together_is_refused() {
    if !need(Capability::Tool("python3")) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    sealed(folder.path(), 30);
    let to = folder.path().join("forged");
    for script in [
        "put('seg-000001/events.parquet'); put('meta.json', meta)",
        "put('../meta.json', meta)",
        "put('/etc/passwd')",
        "pass",
        "put('meta.json ', meta)",
    ] {
        forge(&to, script);
        assert!(matches!(Reader::open(&to), Err(RecordError::NotARecording(_))), "{script}");
    }
    let bomb = "put('seg-000001/events.parquet', b'0' * (64 << 20), compress_type=zipfile.ZIP_DEFLATED)";
    for (script, what) in [
        ("put('../../etc/passwd')", "a member that no recording has"),
        ("put('/seg-000001/rows.parquet')", "a member that no recording has"),
        ("put('seg-000001/../meta.json')", "a member that no recording has"),
        ("put('seg-000000/rows.parquet')", "a member that no recording has"),
        ("put('seg-1/rows.parquet')", "a member that no recording has"),
        ("put('seg-000001/thesis.parquet')", "a member that no recording has"),
        ("put('tail-000001')", "a member that no recording has"),
        ("put('x' * 60000)", "a member that no recording has"),
        ("put('meta.json', meta)", "a member that comes twice, or not in its place"),
        ("put('seg-000001/rows.parquet'); put('seg-000001/rows.parquet')", "comes twice"),
        ("put('seg-000002/rows.parquet'); put('seg-000001/rows.parquet')", "not in its place"),
        (bomb, "a member is compressed"),
        ("z.comment = b'hello'", "the directory at the end is not as it was written"),
    ] {
        forge(&to, &format!("put('meta.json', meta)\n{script}"));
        let reader = Reader::open(&to).unwrap();
        let damage = reader.damage().first().unwrap().to_string();
        assert!(damage.contains(what) && damage.starts_with("forged, byte "), "{script}: {damage}");
        assert_eq!(read(&to).0, []);
    }
    // Made by another program, and nothing is wrong with its meta.json: another container of the same thing is no damage
    // of ours, but it is not taken either.
    forge(&to, "z.writestr('meta.json', meta, compress_type=zipfile.ZIP_DEFLATED)");
    assert!(matches!(Reader::open(&to), Err(RecordError::Damaged(_))));
}

/// Checks that lengths which cannot be are refused: of a member, and of what a header says of itself.
#[test]
fn lengths_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = sealed(folder.path(), 300);
    let (whole, to) = (folder.path().join("whole"), folder.path().join("forged"));
    pack(&path, &whole, Existing::Refuse).unwrap();
    let bytes = fs::read(whole).unwrap();
    let name = b"seg-000001/events.parquet";
    let at = bytes.windows(name.len()).position(|w| w == name).unwrap() - 30;
    // Nearly 4 GiB in a sparse file: the member fits into it, and is larger than any.
    let mut forged = bytes.clone();
    let huge = u32::MAX - 1;
    let mut say = |length: u32| {
        for place in [18, 22] {
            forged[at + place..at + place + 4].copy_from_slice(&length.to_le_bytes());
        }
        forged.clone()
    };
    fs::write(&to, say(512 << 20)).unwrap();
    let damage = Reader::open(&to).unwrap().damage()[0].to_string();
    assert!(damage.ends_with("inside of seg-000001/events.parquet"), "{damage}");
    let forged = say(huge);
    let mut file = File::create(&to).unwrap();
    file.write_all(&forged).unwrap();
    file.seek(SeekFrom::Start(u64::from(huge) + (1 << 20))).unwrap();
    file.write_all(b"x").unwrap();
    let reader = Reader::open(&to).unwrap();
    assert!(reader.damage()[0].to_string().ends_with("a member that is longer than any"));
    assert!(read(&to).0.is_empty());
    // 64-bit numbers, a name longer than the file.
    for (place, value) in [(18, 0xffff_ffff_u32), (22, 0xffff_ffff), (26, 0x0000_ffff), (26, 0xffff_0019)] {
        let mut forged = bytes.clone();
        forged[at + place..at + place + 4].copy_from_slice(&value.to_le_bytes());
        fs::write(&to, &forged).unwrap();
        let damage = Reader::open(&to).unwrap().damage()[0].clone();
        assert_eq!((damage.file.as_str(), damage.at), ("forged", Some(at as u64)), "{damage}");
    }
}

/// Checks that a torn tail is sealed on the way as far as it is whole, that the folder stays as it is, and what is said.
#[test]
fn a_torn_tail_is_sealed_on_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let (path, events) = torn(folder.path(), 40);
    let tail = path.join("tail-000001");
    let whole = fs::read(&tail).unwrap();
    let to = folder.path().join("r.zip");
    for length in [whole.len() - 1, whole.len() / 2, 16, 3] {
        fs::write(&tail, &whole[..length]).unwrap();
        let packing = pack(&path, &to, Existing::Replace).unwrap();
        assert_eq!(fs::read(&tail).unwrap(), &whole[..length]);
        assert_eq!(names(&path), ["meta.json", "tail-000001"]);
        let mut plain = Reader::open(&path).unwrap();
        assert_eq!(packing.lost, plain.damage());
        let mut packed = Reader::open(&to).unwrap();
        assert_eq!(packed.damage(), []);
        assert!(packed.meta().end.is_none());
        let (found, _) = read_from(&mut packed, 0);
        assert_eq!(found, read_from(&mut plain, 0).0);
        assert!(found == events[..found.len()]);
    }
    // A gap that nobody would see: what comes after it is left out, and that is said.
    fs::write(&tail, &whole[..whole.len() - 1]).unwrap();
    fs::write(path.join("tail-000002"), &whole).unwrap();
    let packing = pack(&path, &to, Existing::Replace).unwrap();
    let last = packing.lost.last().unwrap().to_string();
    assert_eq!(last, "seg-000002: it and what follows are left out");
    assert!(!read(&to).0.is_empty());
}

/// Checks that damage of a segment stays damage, at its place, and that a part that is missing stays missing.
#[test]
fn damage_is_packed_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = sealed(folder.path(), 40_000);
    let to = folder.path().join("r.zip");
    let rows = path.join("seg-000002/rows.parquet");
    let mut bytes = fs::read(&rows).unwrap();
    bytes[100] ^= 1;
    fs::write(&rows, bytes).unwrap();
    fs::remove_dir_all(path.join("seg-000003")).unwrap();
    let packing = pack(&path, &to, Existing::Refuse).unwrap();
    assert_eq!(packing.lost.len(), 1, "{:?}", packing.lost);
    let check = |path: &Path| Reader::open(path).unwrap().check().unwrap();
    assert_eq!(check(&to), check(&path));
    assert_eq!(read(&to), read(&path));
}

/// Checks that what is still being made is not packed and not replaced, that what was left behind is, and what a reader says.
#[test]
fn what_is_being_made_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r");
    let to = folder.path().join("r.zip");
    let mut writer = create(&path, Options::default());
    write(&mut writer, &small(30), 7);
    assert!(Reader::open(&path).unwrap().is_being_written());
    assert!(matches!(pack(&path, &to, Existing::Refuse), Err(RecordError::BeingWritten(_))));
    let again = Options { existing: Existing::Replace, ..Options::default() };
    let again = vmatlas_record::Writer::create(&path, common::meta(), again);
    assert!(matches!(again.map(drop), Err(RecordError::BeingWritten(_))));
    drop(writer);
    assert!(!Reader::open(&path).unwrap().is_being_written());
    pack(&path, &to, Existing::Refuse).unwrap();
    assert_eq!(names(folder.path()), ["r", "r.zip"]);
}

/// Checks that nothing that exists is written to, that nothing half-made stays, and that only packed recordings are replaced.
#[test]
fn what_is_in_the_way_stays() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = sealed(folder.path(), 3000);
    let at = |name: &str| folder.path().join(name);
    fs::write(at("thesis.tex"), "x").unwrap();
    symlink(at("nowhere"), at("link")).unwrap();
    for existing in [Existing::Refuse, Existing::Replace] {
        for (name, other) in [("thesis.tex", false), ("link", false), ("sealed", true)] {
            let error = pack(&path, &at(name), existing).unwrap_err();
            let good = match existing {
                Existing::Refuse => matches!(error, RecordError::Exists(_)),
                Existing::Replace => matches!(error, RecordError::NotOurs(_)),
            };
            assert!(good, "{name} {other}: {error}");
        }
    }
    assert!(!at("nowhere").exists() && fs::read(at("thesis.tex")).unwrap() == b"x");
    fs::write(at("r.zip.tmp"), "").unwrap();
    assert!(matches!(pack(&path, &at("r.zip"), Existing::Refuse), Err(RecordError::Io { .. })));
    fs::remove_file(at("r.zip.tmp")).unwrap();
    let mut steps = 0;
    let stopped = Reader::open(&path).unwrap().pack(&at("r.zip"), Existing::Refuse, &mut |read, total| {
        assert!(read <= total);
        steps += 1;
        steps < 3
    });
    assert!(matches!(stopped, Err(RecordError::Stopped(_))));
    assert_eq!(names(folder.path()), ["link", "sealed", "thesis.tex"]);
    // A link to a packed recording is followed where it is read: a person named it.
    pack(&path, &at("r.zip"), Existing::Refuse).unwrap();
    symlink(at("r.zip"), at("to.zip")).unwrap();
    assert!(Reader::open(&at("to.zip")).is_ok());
    assert!(matches!(pack(&path, &at("to.zip"), Existing::Replace), Err(RecordError::NotOurs(_))));
}

/// Unmounts it again, also when the test fails.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// Checks that a full disk is an error, and that nothing stays on it.
#[test]
fn a_full_disk_leaves_nothing() {
    if !need_root("mounts a small file system") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (path, events) = sealed(folder.path(), 40_000);
    let small = folder.path().join("small");
    fs::create_dir(&small).unwrap();
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=128k", "none"]).arg(&small).output();
    if !mount.as_ref().is_ok_and(|output| output.status.success()) {
        return vmatlas_testkit::left_off("mount(8)");
    }
    let mounted = Mounted(small.clone());
    match pack(&path, &small.join("r.zip"), Existing::Refuse) {
        Err(RecordError::Io { source, .. }) => assert_eq!(source.kind(), std::io::ErrorKind::StorageFull),
        other => panic!("{other:?}"),
    }
    assert_eq!(names(&small), Vec::<String>::new());
    drop(mounted);
    pack(&path, &small.join("r.zip"), Existing::Refuse).unwrap();
    assert_eq!(read(&small.join("r.zip")).0.len(), events.len());
}
