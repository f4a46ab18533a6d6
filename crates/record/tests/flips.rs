//! Bits flipped at random, and files that end anywhere: what was whole before the damage is read, and the damage is named.

#![expect(clippy::unwrap_used, reason = "a test binary")]

mod common;

use common::harm::{Harm, each, files, prefix};
use common::packing::{sealed, torn};
use common::{create, small, write};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use vmatlas_record::{Options, Reader};
use vmatlas_testkit::Dice;

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
    let file = File::create(&tail).unwrap();
    let mut before = 0;
    for length in 0..=whole.len() {
        let added = &whole[length.saturating_sub(1)..length];
        file.write_all_at(added, file.metadata().unwrap().len()).unwrap();
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
        let mut flip = || {
            let file = dice.below(files.len());
            Harm::Flip { file, at: dice.below(files[file].1.len()), bit: dice.below(8) as u8 }
        };
        let tally = each(&path, &events, (0..flips).map(|_| flip()).collect());
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
    let files = files(&path);
    let lengths = files.iter().enumerate().map(|(file, (_, bytes))| (file, bytes.len()));
    let cuts = lengths.flat_map(|(file, end)| (0..end).step_by(step).map(move |at| (file, at)));
    let tally = each(&path, &events, cuts.map(|(file, length)| Harm::Cut { file, length }).collect());
    assert_eq!(tally.named, tally.times, "{tally:?}");
    tally.tell("cut files, sealed");
}
