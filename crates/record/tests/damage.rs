//! Torn, flipped, forged or in the way: what was whole before the damage is read, and the damage is named.

#![expect(clippy::unwrap_used, reason = "a test binary")]

mod common;

use common::stacks::{frame, module};
use common::{create, keyframe, meta, read, read_from, small, write};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use vmatlas_event::{Event, EventSource, FrameId, ModuleId, Seq, StackId};
use vmatlas_record::{End, Existing, Options, Reader, RecordError, Writer};

/// A recording that was never ended, each event flushed alone.
fn torn(folder: &Path, calls: u64) -> (PathBuf, Vec<Event>) {
    let path = folder.join("torn");
    let events = small(calls);
    let mut writer = create(&path, Options { flush_after: 0, ..Options::default() });
    write(&mut writer, &events, 7);
    drop(writer);
    (path, events)
}

fn sealed(folder: &Path, calls: u64) -> (PathBuf, Vec<Event>) {
    let path = folder.join("sealed");
    let events = small(calls);
    let mut writer = create(&path, Options { rotate_at: 40_000, ..Options::default() });
    write(&mut writer, &events, 97);
    writer.finish(End::default()).unwrap();
    (path, events)
}

/// Reads all there is; whatever is given must be the beginning of what was written. How much that is, and what is said.
fn prefix(path: &Path, events: &[Event]) -> (usize, Vec<String>) {
    let start = Instant::now();
    let mut reader = match Reader::open(path) {
        Ok(reader) => reader,
        Err(error @ (RecordError::NotARecording(_) | RecordError::Version { .. })) => {
            return (0, vec![error.to_string()]);
        }
        Err(error) => panic!("{error}"),
    };
    let (found, result) = read_from(&mut reader, 0);
    assert!(found.len() <= events.len() && found == events[..found.len()], "a prefix");
    let mut said: Vec<String> = reader.damage().iter().map(ToString::to_string).chain(result.err()).collect();
    let keyframes: Vec<Seq> = reader.keyframes().map(|(after, _)| after).collect();
    for after in keyframes {
        match reader.keyframe(after) {
            Ok(found) => assert_eq!(found, Some(keyframe(after.0))),
            Err(error) => said.push(error.to_string()),
        }
    }
    match reader.stacks() {
        Ok(stacks) => {
            let [modules, frames, steps] = stacks.counts().map(|count| count as u32);
            assert!((0..modules).all(|n| stacks.module(ModuleId(n)) == Some(&module(n))));
            assert!((0..frames).all(|n| stacks.frame(FrameId(n)) == Some(frame(n))));
            let innermost = |n| stacks.get(StackId(n)).map(|stack| stack.frames[0].0);
            assert!((0..steps).all(|n| innermost(n) == Some(frame(n % 20))));
        }
        Err(error) => said.push(error.to_string()),
    }
    assert!(start.elapsed() < Duration::from_secs(20), "a hang");
    (found.len(), said)
}

/// Checks that a tail cut at each of its bytes gives every event whose frame is whole, and says where it was cut.
#[test]
fn cut_at_each_byte() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("torn");
    let events = small(2);
    let mut writer = create(&path, Options::default());
    write(&mut writer, &events, 3);
    drop(writer);
    let tail = path.join("tail-000001");
    let whole = fs::read(&tail).unwrap();
    let mut before = 0;
    for length in 0..=whole.len() {
        fs::write(&tail, &whole[..length]).unwrap();
        let (found, _) = prefix(&path, &events);
        assert!(found >= before, "{found} of {before} at {length}");
        before = found;
        if length % 50 == 0 {
            let reader = Reader::open(&path).unwrap();
            // A cut between two frames cannot be seen; that the recording was not ended is said by its meta.json.
            assert!(reader.meta().end.is_none());
            if let [damage] = reader.damage() {
                assert_eq!(damage.file, "tail-000001");
                assert!(damage.at.unwrap() <= length as u64);
            }
        }
    }
    assert_eq!(before, events.len());
    assert_eq!(Reader::open(&path).unwrap().damage(), []);
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

fn files(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// What became of a recording that was damaged many times.
#[derive(Debug, Default)]
struct Tally {
    times: usize,
    /// All events were there in spite of it, some of them, none.
    all: usize,
    some: usize,
    none: usize,
    /// The damage was told with the name of the file.
    named: usize,
    longest: Duration,
}

impl Tally {
    /// Writes other bytes in the place of a file, reads, and puts the file back.
    fn damage(&mut self, path: &Path, events: &[Event], file: &Path, whole: &[u8], bytes: &[u8]) {
        fs::write(file, bytes).unwrap();
        let start = Instant::now();
        let (found, said) = prefix(path, events);
        self.longest = self.longest.max(start.elapsed());
        let name = file.strip_prefix(path).unwrap().display().to_string();
        assert!(!said.is_empty(), "{found} of {} events, and nothing is said of {name}", events.len());
        self.times += 1;
        match found {
            0 => self.none += 1,
            found if found == events.len() => self.all += 1,
            _ => self.some += 1,
        }
        // A flipped bit of a version looks like a later format, which is told with the whole path.
        self.named += usize::from(said.iter().any(|line| line.contains(&name)));
        fs::write(file, whole).unwrap();
    }

    fn tell(&self, what: &str) {
        let Tally { times, all, some, none, named, longest } = self;
        println!(
            "{what}: {times} times; all events read {all}, a part {some}, none {none}; told with the file's name {named}; longest {longest:?}"
        );
    }
}

/// How many bits shall be flipped, where more than usual.
fn flips() -> Option<usize> {
    std::env::var("VMATLAS_FLIPS").ok().and_then(|n| n.parse().ok())
}

/// Checks that no flipped bit makes the reader panic, hang or tell what was not written, and that none goes unnoticed.
#[test]
fn flipped_bits() {
    // Each costs some milliseconds: $VMATLAS_FLIPS asks for more.
    let flips = flips().unwrap_or(2000) / 2;
    let folder = tempfile::tempdir().unwrap();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for (path, events) in [torn(folder.path(), 5), sealed(folder.path(), 300)] {
        assert_eq!(prefix(&path, &events), (events.len(), vec![]));
        let files = files(&path);
        let mut tally = Tally::default();
        for _ in 0..flips {
            let file = &files[dice.below(files.len())];
            let whole = fs::read(file).unwrap();
            let mut bytes = whole.clone();
            let at = dice.below(bytes.len());
            bytes[at] ^= 1 << dice.below(8);
            tally.damage(&path, &events, file, &whole, &bytes);
        }
        assert_eq!(prefix(&path, &events), (events.len(), vec![]));
        assert_eq!(tally.named, tally.times, "{tally:?}");
        tally.tell(&format!("flipped bits, {}", path.file_name().unwrap().display()));
    }
}

/// Checks that each file of a sealed recording may end anywhere.
#[test]
fn cut_sealed_files() {
    let folder = tempfile::tempdir().unwrap();
    let (path, events) = sealed(folder.path(), 300);
    // At each byte from 100,000 flips on; with fewer, as many bytes are left out between.
    let step = flips().map_or(211, |n| (100_000 / n.max(1)).clamp(1, 211));
    let mut tally = Tally::default();
    for file in files(&path) {
        let whole = fs::read(&file).unwrap();
        for length in (0..whole.len()).step_by(step) {
            tally.damage(&path, &events, &file, &whole, &whole[..length]);
        }
    }
    assert_eq!(prefix(&path, &events), (events.len(), vec![]));
    assert_eq!(tally.named, tally.times, "{tally:?}");
    tally.tell("cut files, sealed");
}

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
    bytes[8] = 4;
    fs::write(&tail, bytes).unwrap();
    let error = Reader::open(&path).map(|_| ()).unwrap_err().to_string();
    assert!(error.ends_with("recording format 4, and this vmatlas reads format 3"), "{error}");
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
