//! Packed recordings: the same events as the folder's, and nothing half-made.

#![expect(clippy::unwrap_used, reason = "a test binary")]

mod common;

use common::packing::{pack, sealed, torn};
use common::{create, read, read_from, small, write};
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use vmatlas_event::{EventSource, Seq};
use vmatlas_record::{Existing, Options, Reader, RecordError, is_packed};
use vmatlas_testkit::{Capability, need, need_root};

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
