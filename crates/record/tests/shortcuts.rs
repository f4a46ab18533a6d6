//! What the reader knows without reading everything is what reading everything tells.

#![expect(clippy::unwrap_used, reason = "a test binary")]

mod common;

use common::any::any_event;
use common::{create, read, small, write};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;
use vmatlas_event::*;
use vmatlas_record::{End, Options, Reader, RecordError};

/// A source that has no index: what the trait does by itself.
struct Plain(Reader);

impl EventSource for Plain {
    type Error = RecordError;

    fn events(&mut self, from: Seq, found: &mut dyn FnMut(Event) -> bool) -> Result<(), RecordError> {
        self.0.events(from, found)
    }

    fn keyframe(&mut self, at: Seq) -> Result<Option<Keyframe>, RecordError> {
        self.0.keyframe(at)
    }

    fn last(&self) -> Option<Seq> {
        self.0.last()
    }
}

fn landmarks(source: &mut impl EventSource<Error = RecordError>) -> Vec<Event> {
    let mut found = Vec::new();
    source
        .landmarks(&mut |event| {
            found.push(event);
            true
        })
        .unwrap();
    found
}

fn compare(path: &Path) -> Result<(), TestCaseError> {
    let mut reader = Reader::open(path).unwrap();
    let found = landmarks(&mut reader);
    prop_assert_eq!(found, landmarks(&mut Plain(Reader::open(path).unwrap())));
    let (mut wanted, mut tallied) = (BTreeMap::new(), BTreeMap::new());
    for event in read(path).0 {
        let failed = matches!(event.outcome, Outcome::Failed(_));
        *wanted.entry((event.task.tid.0, event.op.kind(), failed)).or_insert(0) += 1;
    }
    for one in reader.tally().unwrap() {
        *tallied.entry((one.task.tid.0, one.kind, one.failed)).or_insert(0) += one.count;
    }
    prop_assert_eq!(tallied, wanted);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Checks landmarks and counts of events of every kind, sealed and in the tail.
    #[test]
    fn landmarks_and_counts_are_those_of_all_events(mut events in vec(any_event(), 1..80)) {
        for (event, seq) in events.iter_mut().zip(0..) {
            event.seq = Seq(seq * 3);
        }
        let folder = tempfile::tempdir().unwrap();
        let (sealed, torn) = (folder.path().join("sealed"), folder.path().join("torn"));
        let mut writer = create(&sealed, Options::default());
        events.iter().for_each(|event| writer.event(event));
        writer.finish(End::default()).unwrap();
        compare(&sealed)?;
        let mut writer = create(&torn, Options::default());
        events.iter().for_each(|event| writer.event(event));
        drop(writer);
        compare(&torn)?;
    }
}

/// Checks that a keyframe read in parts is the whole one, with others read in between, and that reading events goes on
/// rightly wherever it was left, in a recording of several segments.
#[test]
fn parts_and_places_make_no_difference() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r");
    let events = small(30_000);
    let mut writer = create(&path, Options { rotate_at: 2_000_000, ..Options::default() });
    write(&mut writer, &events, 1000);
    writer.finish(End::default()).unwrap();
    assert!(path.join("seg-000003").exists(), "it was rotated");
    let mut reader = Reader::open(&path).unwrap();
    let mut random = 1u64;
    for _ in 0..300 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let from = (random >> 20) % 30_000;
        // Sometimes a little after the last place, sometimes far away, sometimes over the end of a segment.
        for (from, count) in [(from, 5), (from + 5, 700), (from + 900, 3), (from + 2, 2)] {
            let mut found = Vec::new();
            reader
                .events(Seq(from), &mut |event| {
                    found.push(event);
                    found.len() < count
                })
                .unwrap();
            let wanted = events.get(from as usize..).unwrap_or_default();
            assert!(found == wanted[..count.min(wanted.len())], "{count} from {from}");
        }
        let mut part = reader.keyframe_part(Seq(from)).unwrap();
        if random >> 63 == 0 {
            reader.keyframe_part(Seq(from / 2)).unwrap();
        }
        while part.is_none() {
            part = reader.keyframe_part(Seq(from)).unwrap();
        }
        assert_eq!(part, Some(reader.keyframe(Seq(from)).unwrap()), "keyframe for {from}");
    }
}

/// Checks that reading gives the same events, in pieces and from anywhere, however much of it was prepared before: over the
/// ends of pages, row groups and parts.
#[test]
fn what_was_prepared_is_read_as_ever() {
    let folder = tempfile::tempdir().unwrap();
    let events = small(70_000);
    for (name, rotate_at) in [("one", Options::default().rotate_at), ("many", 600_000)] {
        let path = folder.path().join(name);
        let mut writer = create(&path, Options { rotate_at, ..Options::default() });
        write(&mut writer, &events, 9_001);
        writer.finish(End::default()).unwrap();
        for parts in [0, 1, 3, 40] {
            let mut reader = Reader::open(&path).unwrap();
            for (start, steps) in [(0, 90), (8_100, 3), (32_700, 2), (65_400, 90)] {
                let mut next = start;
                for _ in 0..steps {
                    (0..parts).any(|_| reader.prepare(Seq(next)));
                    let mut found = Vec::new();
                    reader
                        .events(Seq(next), &mut |event| {
                            found.push(event);
                            found.len() < 900
                        })
                        .unwrap();
                    let begin = usize::try_from(next).unwrap().min(events.len());
                    let end = (begin + 900).min(events.len());
                    assert!(found == events[begin..end], "{name}, {parts} parts, from {next}");
                    next += 900;
                }
            }
            // It ends, and then nothing is left to do.
            assert!((0..1000).any(|_| reader.prepare(Seq(40_000))) && reader.prepare(Seq(40_000)));
            assert!(reader.prepare(Seq(u64::MAX)));
        }
    }
}

/// Checks that a keyframe read in parts is the one that is read at once.
#[test]
fn a_keyframe_in_parts_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("parts");
    let mut writer = create(&path, Options { rotate_at: 40_000, ..Options::default() });
    write(&mut writer, &small(3_000), 97);
    writer.finish(End::default()).unwrap();
    let mut reader = Reader::open(&path).unwrap();
    let places: Vec<Seq> = reader.keyframes().map(|(after, _)| after).collect();
    assert!(places.len() > 20);
    for after in places {
        let parts = (0..1000).find_map(|_| reader.keyframe_part(after).unwrap());
        assert_eq!(parts.unwrap(), Reader::open(&path).unwrap().keyframe(after).unwrap());
    }
}
