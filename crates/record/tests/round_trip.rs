//! Whatever is written is read again, bit by bit.

#![expect(clippy::unwrap_used, reason = "a test binary")]

mod common;

use common::any::any_event;
use common::{create, keyframe, meta, read, read_from, small, task, write};
use proptest::collection::vec;
use proptest::prelude::*;
use std::os::unix::fs::PermissionsExt;
use vmatlas_event::*;
use vmatlas_record::{End, Options, Reader, Writer};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Checks that events of every kind, with any bits, are the same after sealing, and in the tail.
    #[test]
    fn events_survive_bit_by_bit(mut events in vec(any_event(), 1..60), gaps in vec(1u64..1 << 40, 60)) {
        let mut seq = 0;
        for (event, gap) in events.iter_mut().zip(gaps) {
            event.seq = Seq(seq);
            seq += gap;
        }
        let folder = tempfile::tempdir().unwrap();
        let (sealed, torn) = (folder.path().join("sealed"), folder.path().join("torn"));
        let mut writer = create(&sealed, Options::default());
        events.iter().for_each(|event| writer.event(event));
        writer.finish(End::default()).unwrap();
        prop_assert!(!sealed.join("tail-000001").exists());
        prop_assert_eq!(&read(&sealed), &(events.clone(), Ok(())));
        let mut writer = create(&torn, Options::default());
        events.iter().for_each(|event| writer.event(event));
        drop(writer);
        prop_assert!(torn.join("tail-000001").exists());
        prop_assert_eq!(&read(&torn), &(events, Ok(())));
    }
}

/// Checks that every keyframe comes again as it was, with its events, over several segments and a tail.
#[test]
fn keyframes_and_events_come_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r");
    let events = small(3000);
    let mut writer = create(&path, Options { rotate_at: 100_000, ..Options::default() });
    write(&mut writer, &events, 500);
    assert!(writer.take_failure().is_none());
    writer.finish(End { at: 9_000_000_000, status: Some(3), ..End::default() }).unwrap();
    let mut reader = Reader::open(&path).unwrap();
    assert!(path.join("seg-000002").exists(), "it was rotated");
    assert_eq!(reader.damage(), []);
    assert_eq!(reader.last(), Some(Seq(3003)));
    let end = reader.meta().end.clone().unwrap();
    assert_eq!((end.events, end.keyframes, end.status), (3004, 6, Some(3)));
    for from in [0, 1, 499, 500, 1777, 3003] {
        let wanted = &events[from as usize..];
        assert!(read_from(&mut reader, from) == (wanted.to_vec(), Ok(())), "from {from}");
    }
    assert_eq!(read_from(&mut reader, 3004), (Vec::new(), Ok(())));
    assert_eq!(reader.keyframe(Seq(498)).unwrap(), None);
    assert_eq!(reader.keyframe(Seq(499)).unwrap(), Some(keyframe(499)));
    assert_eq!(reader.keyframe(Seq(2100)).unwrap(), Some(keyframe(1999)));
    assert_eq!(reader.keyframe(Seq(u64::MAX)).unwrap(), Some(keyframe(2999)));
    let spaces: Vec<_> =
        reader.spaces().iter().map(|s| (s.mm.0, s.parent, s.how.as_str(), s.first.0, s.last)).collect();
    assert_eq!(spaces, [(1, None, "start", 0, Some(Seq(3003))), (2, Some(MmId(1)), "fork", 3001, None)]);
    assert!(reader.tasks().contains(&task(50)));
}

/// Checks that the folder and its files are for their owner alone.
#[test]
fn a_recording_is_private() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r");
    let mut writer = create(&path, Options::default());
    write(&mut writer, &small(10), 4);
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&path), mode(&path.join("tail-000001"))), (0o700, 0o600));
    writer.finish(End::default()).unwrap();
    assert_eq!(mode(&path.join("meta.json")), 0o600);
    assert_eq!(mode(&path.join("seg-000001")), 0o700);
    assert_eq!(mode(&path.join("seg-000001/events.parquet")), 0o600);
}

/// Checks that a reader may look while the writer writes, and sees what was flushed.
#[test]
fn a_recording_can_be_read_while_it_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r");
    let events = small(3000);
    let mut writer =
        Writer::create(&path, meta(), Options { rotate_at: 200_000, flush_after: 0, ..Options::default() })
            .unwrap();
    for (n, event) in events.iter().enumerate() {
        writer.event(event);
        if n % 250 == 249 {
            let (found, result) = read(&path);
            assert_eq!((found.len(), result), (n + 1, Ok(())));
        }
    }
}

/// Checks that the rows of large maps, which are written before their events, never come into another segment than these.
#[test]
fn large_maps_are_read_where_their_events_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r");
    let rows: Vec<VmaRow> = (1..=500).map(|n| common::row(n << 20, None)).collect();
    let op = Op::Snapshot { reason: SnapshotReason::Reconcile, rows };
    let events: Vec<Event> = (0..200).map(|seq| common::event(seq, op.clone())).collect();
    let mut writer =
        create(&path, Options { rotate_at: 1 << 20, flush_after: u64::MAX, ..Options::default() });
    events.iter().for_each(|event| writer.event(event));
    writer.finish(End::default()).unwrap();
    assert!(path.join("seg-000003").exists(), "it was rotated");
    assert_eq!(read(&path), (events, Ok(())));
}
