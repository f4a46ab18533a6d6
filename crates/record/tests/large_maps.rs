//! Large maps among other events, decoded in parts before they are wanted: what is read is what was written.

#![expect(clippy::unwrap_used, reason = "a test binary")]

mod common;

use common::{create, event, row, small};
use std::fs;
use std::path::Path;
use vmatlas_event::*;
use vmatlas_record::{End, Options, Reader};

fn map(count: u64, first: u64) -> Vec<VmaRow> {
    let name = |n: u64| (!n.is_multiple_of(3)).then_some(&b"/lib/x"[..]);
    (first..first + count).map(|n| row(n * 0x4000, name(n))).collect()
}

/// Calls with maps of all sizes among them, and a loss with the state after it.
fn events() -> Vec<Event> {
    let mut events = small(3_000);
    for (at, count) in
        [(300, 20_000), (301, 3), (340, 900), (1_000, 511), (1_001, 513), (1_023, 5_000), (2_900, 700)]
    {
        let op = match at % 2 {
            0 => Op::Snapshot { reason: SnapshotReason::Reconcile, rows: map(count, at) },
            _ => {
                let asked = AddrRange::ALL;
                Op::Observed { rows: map(count, at), asked, late: false, in_flight: vec![common::task(3); 4] }
            }
        };
        events[at as usize] = event(at, op);
    }
    let state = Keyframe {
        spaces: common::keyframe(2_000)
            .spaces
            .into_iter()
            .map(|state| SpaceState { rows: map(6_000, state.mm.0.into()), ..state })
            .collect(),
        ..common::keyframe(2_000)
    };
    let (from, to) = (MonoNs(1), MonoNs(2));
    events[2_000] = event(2_000, Op::Lost { count: Some(1), from, to, state: Some(Box::new(state)) });
    events
}

fn write(path: &Path, events: &[Event], options: Options, is_ended: bool) {
    let mut writer = create(path, options);
    for event in events {
        writer.event(event);
        if let Op::Lost { state: Some(state), .. } = &event.op {
            writer.keyframe(state);
        }
    }
    if is_ended {
        writer.finish(End::default()).unwrap();
    }
}

/// What is read in steps of `count` events, of which `left_out` are passed over each time, with so many parts prepared before each.
fn read(path: &Path, parts: usize, count: usize, left_out: u64) -> (Vec<Event>, Option<String>) {
    let mut reader = Reader::open(path).unwrap();
    let (mut found, mut next) = (Vec::new(), 0);
    loop {
        (0..parts).any(|_| reader.prepare(Seq(next)));
        let before = found.len();
        let result = reader.events(Seq(next), &mut |event| {
            found.push(event);
            found.len() < before + count
        });
        if let Err(error) = result {
            return (found, Some(error.to_string()));
        }
        match found.last() {
            Some(last) if found.len() > before => next = last.seq.0 + 1 + left_out,
            _ => return (found, None),
        }
    }
}

/// Checks that events with large maps, and a loss, are read as they were written however much of them was prepared, in steps of
/// any size and with events between them left out: sealed in one part and in many, and torn.
#[test]
fn large_maps_come_as_they_were_written() {
    let folder = tempfile::tempdir().unwrap();
    let events = events();
    let kinds =
        [(Options::default().rotate_at, true), (300_000, true), (Options::default().rotate_at, false)];
    for (number, (rotate_at, is_ended)) in kinds.into_iter().enumerate() {
        let path = folder.path().join(number.to_string());
        write(&path, &events, Options { rotate_at, flush_after: 0, ..Options::default() }, is_ended);
        for parts in [0, 1, 7, 300] {
            for (count, left_out) in [(1, 0), (40, 0), (700, 0), (1, 1), (30, 333)] {
                let (found, error) = read(&path, parts, count, left_out);
                assert_eq!(error, None);
                let mut wanted = Vec::new();
                let mut rest = &events[..];
                while !rest.is_empty() {
                    wanted.extend_from_slice(&rest[..count.min(rest.len())]);
                    rest = rest.get(count + left_out as usize..).unwrap_or_default();
                }
                assert!(found == wanted, "{number}: {parts} parts, {count} and {left_out}");
            }
        }
    }
}

/// Checks that of a damaged recording the same is read, and the same is told, whether or not it was prepared.
#[test]
fn damage_is_told_as_ever() {
    let folder = tempfile::tempdir().unwrap();
    let events = events();
    let (sealed, torn) = (folder.path().join("sealed"), folder.path().join("torn"));
    write(&sealed, &events, Options { rotate_at: 300_000, ..Options::default() }, true);
    write(&torn, &events, Options { flush_after: 0, ..Options::default() }, false);
    for file in [
        sealed.join("seg-000001/rows.parquet"),
        sealed.join("seg-000002/in_flight.parquet"),
        sealed.join("seg-000002/state_rows.parquet"),
        torn.join("tail-000001"),
    ] {
        let Ok(whole) = fs::read(&file) else { continue };
        let path = if file.starts_with(&torn) { &torn } else { &sealed };
        for at in (0..7).map(|part| whole.len() * (2 * part + 1) / 14) {
            let mut bytes = whole.clone();
            bytes[at] ^= 4;
            fs::write(&file, bytes).unwrap();
            let plainly = read(path, 0, 40, 0);
            for (parts, count) in [(1, 40), (9, 1), (300, 40)] {
                assert!(read(path, parts, count, 0) == plainly, "{}, byte {at}", file.display());
            }
            assert!(plainly.0.len() < events.len() || path == &torn);
        }
        fs::write(&file, whole).unwrap();
    }
}
