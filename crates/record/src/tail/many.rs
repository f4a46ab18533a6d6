//! Tails of an enemy with very many frames and keyframes: each is decoded as often as it must be, and no more.

use super::*;
use crate::rows::{Cell, Rows};
use crate::table::{EVENTS, KEYFRAMES, STATES, TASKS};
use std::sync::Arc;
use vmatlas_event::{EventSource, Seq};

/// Frames with keyframes in them.
pub(crate) struct Many {
    /// So many events, and a keyframe after each.
    pub(crate) count: i64,
    /// So many states are in one frame, and as many keyframes.
    pub(crate) per_frame: i64,
    /// After so many frames comes one that cannot be decoded.
    pub(crate) bad_after: usize,
}

fn int(n: i64) -> Cell<'static> {
    Cell::Int(Some(n))
}

fn append(tail: &mut TailWriter, table: &'static Table, rows: impl Iterator<Item = Vec<Cell<'static>>>) {
    let mut out = Rows::new(table);
    rows.for_each(|cells| out.push(&cells));
    let (batch, key) = out.take().unwrap();
    tail.append(table, &batch, key).unwrap();
}

/// Writes such a tail; everything in it but the bad frames is as a writer could have written it.
pub(crate) fn write(folder: &Path, many: &Many) {
    let mut tail = TailWriter::create(&crate::seal::tail(folder, 1)).unwrap();
    append(&mut tail, &TASKS, std::iter::once(vec![int(0), int(1), int(1), int(1)]));
    let op = EVENTS.column("op").unwrap();
    append(
        &mut tail,
        &EVENTS,
        (0..many.count).map(|seq| {
            let mut cells = vec![int(seq), int(seq), int(0), int(0), int(1)];
            cells.resize(EVENTS.columns.len(), Cell::Int(None));
            cells[op] = Cell::Word(Some("personality"));
            cells[EVENTS.column("arg0").unwrap()] = int(0);
            cells[EVENTS.column("result").unwrap()] = int(0);
            for (column, cell) in EVENTS.columns.iter().zip(&mut cells) {
                if column.name == "source" {
                    *cell = Cell::Word(Some("ptrace"));
                }
            }
            cells
        }),
    );
    let bad = Arc::new(arrow_array::StringArray::from(vec!["no number"]));
    let bad = RecordBatch::try_from_iter([("after", bad as _)]).unwrap();
    for (number, first) in (0..many.count).step_by(many.per_frame as usize).enumerate() {
        let all = first..(first + many.per_frame).min(many.count);
        let state = |after| vec![int(after), int(1), Cell::Int(None), int(0), int(0), int(0), int(0)];
        append(&mut tail, &STATES, all.clone().map(state));
        append(&mut tail, &KEYFRAMES, all.map(|after| vec![int(after), int(after), int(1), int(0), int(0)]));
        if number % many.bad_after == many.bad_after - 1 {
            tail.append(&STATES, &bad, first).unwrap();
        }
    }
}

/// Reads every keyframe in the order of events, as `verify` does; how many were good.
fn read(reader: &mut crate::Reader) -> usize {
    let places: Vec<Seq> = reader.keyframes().map(|(after, _)| after).collect();
    places
        .into_iter()
        .filter(|after| reader.keyframe(*after).is_ok_and(|keyframe| keyframe.is_some()))
        .count()
}

/// Checks that keyframes which are read one after the other have each frame decoded once, whether there are many in a frame,
/// many frames, or bad ones between.
#[test]
fn each_frame_is_decoded_once() {
    for (per_frame, bad_after, good) in [(1000, 10_000, 1000), (1, 10_000, 1000), (1, 2, 500), (20, 1, 950)] {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &Many { count: 1000, per_frame, bad_after });
        let mut reader = crate::Reader::open(folder.path()).unwrap();
        assert_eq!((reader.keyframes().count(), reader.last), (1000, Some(Seq(999))));
        let frames = 1000 / per_frame as usize;
        let bad = frames / bad_after;
        let before = DECODED.get();
        assert_eq!(read(&mut reader), good, "{per_frame} in a frame");
        let decoded = DECODED.get() - before;
        assert!(decoded <= frames + bad, "{decoded} of {frames} and {bad} frames");
        // So it is with events that are read up to one keyframe after the other.
        let before = DECODED.get();
        for seq in 0..1000 {
            let mut found = None;
            reader.events(Seq(seq), &mut |event| found.replace(event.seq).is_some()).unwrap();
            assert_eq!(found, Some(Seq(seq)));
        }
        assert!(DECODED.get() - before <= 2);
    }
}

/// Checks that a keyframe is the same whether the one before it was read lately or not.
#[test]
fn order_does_not_matter() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &Many { count: 60, per_frame: 7, bad_after: 1000 });
    let mut reader = crate::Reader::open(folder.path()).unwrap();
    for n in 0..2000_u64 {
        let at = n.wrapping_mul(2_654_435_761) >> 7;
        let at = if n % 3 == 0 { n / 3 % 60 } else { at % 60 };
        let keyframe = reader.keyframe(Seq(at)).unwrap().unwrap();
        assert_eq!((keyframe.after.0, keyframe.at.0, keyframe.spaces.len()), (at, at, 1));
    }
}
