//! Packed recordings that are damaged, or that somebody else put together.

#![expect(clippy::unwrap_used, reason = "a test binary")]

mod common;

use common::packing::{pack, sealed};
use common::{create, read, read_from, small, write};
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::process::Command;
use vmatlas_event::{Event, EventSource, Seq};
use vmatlas_record::{End, Existing, Options, Reader, RecordError};
use vmatlas_testkit::{Capability, Dice, need};

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
