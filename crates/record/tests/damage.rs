//! Parts that are missing, of another format or in the way: what comes before is read, and what is wrong is named.

#![expect(clippy::unwrap_used, reason = "a test binary")]

mod common;

use common::packing::{sealed, torn};
use common::{create, meta, read, read_from, small, write};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use vmatlas_event::Event;
use vmatlas_record::{End, Existing, Options, Reader, RecordError, Writer};

/// Checks that a bad byte in the last block of a table, which holds its description too, loses the last row group alone.
#[test]
fn a_bad_end_loses_the_last_rows_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r");
    let events: Vec<Event> = small(150_000).into_iter().filter(|e| e.op.is_call()).collect();
    let mut writer = create(&path, Options::default());
    events.iter().for_each(|event| writer.event(event));
    writer.finish(End::default()).unwrap();
    let file = path.join("seg-000001/events.parquet");
    let mut bytes = fs::read(&file).unwrap();
    let length = u32::from_le_bytes(bytes[bytes.len() - 8..bytes.len() - 4].try_into().unwrap()) as usize;
    let at = bytes.len() - 8 - length - 1;
    bytes[at] ^= 1;
    fs::write(&file, bytes).unwrap();
    let (found, result) = read(&path);
    assert!(result.unwrap_err().starts_with("seg-000001/events.parquet, byte "));
    assert!(found.len() >= 32_768 && found == events[..found.len()], "{} events", found.len());
}

/// Checks that a segment which is missing is an error where its events would be, not a gap.
#[test]
fn a_missing_part_is_an_error_in_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let (path, events) = sealed(folder.path(), 40_000);
    assert!(path.join("seg-000003").exists());
    fs::remove_dir_all(path.join("seg-000002")).unwrap();
    let (found, result) = read(&path);
    assert!(!found.is_empty() && found == events[..found.len()]);
    assert_eq!(result, Err("seg-000002: is missing".to_owned()));
    fs::remove_file(path.join("seg-000001/rows.parquet")).unwrap();
    let (found, result) = read(&path);
    assert_eq!((found.len(), result), (0, Err("seg-000001/rows.parquet: is missing".to_owned())));
}

/// Checks that a later format is refused by its number.
#[test]
fn another_version_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = torn(folder.path(), 3);
    let tail = path.join("tail-000001");
    let mut bytes = fs::read(&tail).unwrap();
    bytes[8] = 5;
    fs::write(&tail, bytes).unwrap();
    let error = Reader::open(&path).map(|_| ()).unwrap_err().to_string();
    assert!(error.ends_with("recording format 5, and this vmatlas reads format 4"), "{error}");
}

/// Checks that nothing that exists is written to, and that only a recording is replaced.
#[test]
fn what_is_in_the_way_stays() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = torn(folder.path(), 3);
    let again = |path: &Path, existing| {
        let options = Options { existing, ..Options::default() };
        Writer::create(path, meta(), options).map(drop)
    };
    assert!(matches!(again(&path, Existing::Refuse), Err(RecordError::Exists(_))));
    let link = folder.path().join("link");
    symlink(&path, &link).unwrap();
    assert!(matches!(again(&link, Existing::Refuse), Err(RecordError::Exists(_))));
    assert!(matches!(again(&link, Existing::Replace), Err(RecordError::NotOurs(_))));
    let dangling = folder.path().join("dangling");
    symlink(folder.path().join("nowhere"), &dangling).unwrap();
    assert!(matches!(again(&dangling, Existing::Refuse), Err(RecordError::Exists(_))));
    assert!(!folder.path().join("nowhere").exists());
    let other = folder.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("meta.json"), "{}").unwrap();
    fs::write(other.join("thesis.tex"), "x").unwrap();
    assert!(matches!(again(&other, Existing::Replace), Err(RecordError::NotOurs(_))));
    assert!(other.join("thesis.tex").exists());
    assert!(matches!(Reader::open(&folder.path().join("dangling")), Err(RecordError::Io { .. })));
    fs::remove_file(other.join("meta.json")).unwrap();
    assert!(matches!(Reader::open(&other), Err(RecordError::NotARecording(_))));
    assert!(again(&path, Existing::Replace).is_ok());
    assert_eq!(read(&path), (Vec::new(), Ok(())));
}

/// Checks that a FIFO or a link inside a recording is not opened.
#[test]
fn special_files_inside_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = torn(folder.path(), 3);
    let tail = path.join("tail-000001");
    fs::rename(&tail, folder.path().join("away")).unwrap();
    symlink(folder.path().join("away"), &tail).unwrap();
    assert!(matches!(Reader::open(&path), Err(RecordError::Io { .. })));
}

/// Checks that a writer whose disk fails turns itself off, says so once, and leaves a valid recording.
#[test]
fn a_writer_that_fails_leaves_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r");
    let events = small(2000);
    let mut writer = create(&path, Options { rotate_at: 60_000, flush_after: 0, ..Options::default() });
    // The second tail cannot be made: something is there.
    fs::write(path.join("tail-000002"), "").unwrap();
    write(&mut writer, &events, 100_000);
    let failure = writer.take_failure().unwrap().to_string();
    assert!(failure.contains("tail-000002"), "{failure}");
    assert!(writer.take_failure().is_none());
    writer.finish(End::default()).unwrap();
    let mut reader = Reader::open(&path).unwrap();
    assert!(reader.meta().end.is_none());
    let (found, _) = read_from(&mut reader, 0);
    assert!(found.len() > 10 && found == events[..found.len()]);
}
