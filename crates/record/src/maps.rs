//! The rows of maps that belong to events. Those of events that are near are decoded before they are wanted, some at a time:
//! a map of 10,000 VMAs takes half a millisecond.

use crate::batch::Row;
use crate::cursor::{Batches, Cursor, MOST_ROWS};
use crate::error::RecordError;
use crate::flat;
use crate::keyframe;
use crate::known::Known;
use std::collections::VecDeque;
use vmatlas_event::VmaRow;

/// So many rows are decoded ahead at most: an enemy's events may have any number.
const MOST_AHEAD: usize = 1 << 16;

/// Rows of maps, read along with the events that they belong to.
pub(crate) struct Maps {
    rows: Cursor,
    /// Of events that are still to come, in order; all rows of each, but for the last one.
    ahead: VecDeque<Map>,
}

/// Rows of an event.
struct Map {
    seq: u64,
    rows: Vec<VmaRow>,
}

/// How far rows are that are decoded ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prepared {
    /// All of the event are there.
    Whole,
    /// Others can be decoded.
    Part,
    /// Nothing more can be done now: what is wrong is told to whoever takes them.
    Stuck,
}

impl Maps {
    pub(crate) fn new(batches: Batches) -> Maps {
        Maps { rows: Cursor::new(batches), ahead: VecDeque::new() }
    }

    /// Does a small part of what decoding the next rows needs; whether nothing is left to do now.
    pub(crate) fn prepare(&mut self) -> bool {
        self.rows.prepare()
    }

    /// Decodes rows of event `seq`, which has `count`, `left` of them at most; the one before it that has some is whole.
    pub(crate) fn prepare_rows(&mut self, seq: u64, count: u64, known: &Known, left: &mut usize) -> Prepared {
        let held: usize = self.ahead.iter().map(|map| map.rows.len()).sum();
        let room = MOST_AHEAD.saturating_sub(held);
        if self.ahead.back().is_none_or(|map| map.seq != seq) {
            if room == 0 {
                return Prepared::Stuck;
            }
            let rows = Vec::with_capacity(usize::try_from(count).map_or(room, |count| count.min(room)));
            self.ahead.push_back(Map { seq, rows });
        }
        let Some(Map { rows, .. }) = self.ahead.back_mut() else { return Prepared::Stuck };
        let wanted = usize::try_from(count).unwrap_or(usize::MAX).saturating_sub(rows.len());
        let most = wanted.min(room).min(*left);
        let decoded = self.rows.ahead(seq, most, &mut |row| match keyframe::vma(row, known) {
            Ok(row) => {
                rows.push(row);
                true
            }
            Err(_) => false,
        });
        *left -= decoded;
        match decoded {
            all if all == wanted => Prepared::Whole,
            all if all == most && most < room => Prepared::Part,
            _ => Prepared::Stuck,
        }
    }

    /// The rows of event `seq`, which must be `count`.
    pub(crate) fn take(
        &mut self,
        seq: u64,
        count: u64,
        event: Row<'_>,
        known: &Known,
    ) -> Result<Vec<VmaRow>, RecordError> {
        if count > MOST_ROWS {
            return Err(event.wrong(flat::COUNT));
        }
        while self.ahead.front().is_some_and(|map| map.seq < seq) {
            self.ahead.pop_front();
        }
        let early = self.ahead.pop_front_if(|map| map.seq == seq);
        let mut rows = early.map(|map| map.rows).unwrap_or_default();
        let rest = count.saturating_sub(rows.len() as u64);
        self.rows.take(seq, rest, event, &mut |row| {
            rows.push(keyframe::vma(row, known)?);
            Ok(())
        })?;
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Batch;
    use crate::cursor::plain;
    use crate::rows::{Cell, Rows};
    use crate::table::ROWS;

    /// Rows of events as (number, start, protection), some of them in a batch.
    fn batch(rows: &[(i64, i64, i64)]) -> Batch {
        let mut out = Rows::new(&ROWS);
        for (seq, start, prot) in rows {
            let [key, from, to] = [*seq, *start, start + 1].map(|value| Cell::Int(Some(value)));
            let zero = Cell::Int(Some(0));
            out.push(&[key, from, to, Cell::Int(Some(*prot)), zero, zero, zero, zero, zero]);
        }
        Batch::new(&ROWS, &out.take().unwrap().0, "rows").unwrap()
    }

    type Taken = Vec<Result<Vec<u64>, String>>;

    /// What of events 1 to 5 is read, each with three rows; those that `wanted` refuses are left out. Before each, `turns`
    /// times `parts` rows are decoded of those that are to come.
    fn taken(
        batches: &dyn Fn() -> Batches,
        turns: usize,
        parts: usize,
        wanted: &dyn Fn(u64) -> bool,
    ) -> Taken {
        let known = Known::default();
        let event = batch(&[(0, 0, 0)]);
        let (mut maps, mut looked, mut found) = (Maps::new(batches()), 1, Vec::new());
        for seq in (1..=5).filter(|seq| wanted(*seq)) {
            looked = looked.max(seq);
            for _ in 0..turns {
                let mut left = parts;
                while left > 0 && looked <= 5 {
                    match maps.prepare_rows(looked, 3, &known, &mut left) {
                        Prepared::Whole => looked += 1,
                        Prepared::Part => assert_eq!(left, 0),
                        Prepared::Stuck => break,
                    }
                }
            }
            let rows = maps.take(seq, 3, event.row(0), &known);
            let starts = rows.map(|rows| rows.iter().map(|row| row.range.start().0).collect());
            found.push(starts.map_err(|error| error.to_string()));
            if found.last().is_some_and(Result::is_err) {
                return found;
            }
        }
        found
    }

    /// Checks that rows decoded ahead, in parts of any size, are those that are decoded when they are wanted; that what is wrong
    /// with some is told in the same words when they are wanted, and not at all where they are left out.
    #[test]
    fn rows_ahead_are_the_same() {
        let good: Vec<(i64, i64, i64)> = (3..18).map(|n| (n / 3, n, 3)).collect();
        let mut bad_row = good.clone();
        bad_row[7].2 = 8;
        let missing: Vec<_> = good.iter().copied().filter(|row| row.1 != 10).collect();
        let damage = || RecordError::damaged("rows", 9, "is not as it was written");
        type Made<'a> = Box<dyn Fn() -> Batches + 'a>;
        let of = |rows: &'static [(i64, i64, i64)]| -> Made<'static> {
            Box::new(move || plain(rows.chunks(4).map(|rows| Ok(batch(rows)))))
        };
        let cases: [(&str, Made<'_>, usize); 4] = [
            ("good", of(good.clone().leak()), 5),
            ("a bad row", of(bad_row.leak()), 3),
            ("one is missing", of(missing.leak()), 3),
            (
                "a bad batch",
                Box::new(|| {
                    let rows = good.clone();
                    plain((0..2).map(move |n| match n {
                        0 => Ok(batch(&rows[..7])),
                        _ => Err(damage()),
                    }))
                }),
                3,
            ),
        ];
        for (name, batches, read) in cases {
            for wanted in [&|_| true, &(|seq| seq != 3), &(|seq| seq > 3)] as [&dyn Fn(u64) -> bool; 3] {
                let plainly = taken(&*batches, 0, 0, wanted);
                for (turns, parts) in [(1, 1), (1, 2), (2, 2), (1, 5), (3, 100)] {
                    assert_eq!(taken(&*batches, turns, parts, wanted), plainly, "{name}, {turns} x {parts}");
                }
                if name == "good" {
                    assert!(plainly.iter().all(Result::is_ok));
                } else if wanted(3) {
                    assert!(plainly.len() == read && plainly[read - 1].is_err(), "{name}: {plainly:?}");
                }
            }
        }
    }

    /// Checks that no more is held ahead than may be, and that the rest is there all the same.
    #[test]
    fn no_more_is_held_than_may_be() {
        const COUNT: u64 = MOST_AHEAD as u64 + 700;
        let rows: Vec<(i64, i64, i64)> = (0..COUNT as i64).map(|n| (1, n, 3)).collect();
        let mut maps = Maps::new(plain(std::iter::once(Ok(batch(&rows)))));
        let known = Known::default();
        let prepared =
            (0..).map(|_| maps.prepare_rows(1, COUNT, &known, &mut 1000)).find(|p| *p != Prepared::Part);
        assert_eq!(prepared, Some(Prepared::Stuck));
        assert_eq!(maps.ahead.iter().map(|map| map.rows.len()).sum::<usize>(), MOST_AHEAD);
        let event = batch(&[(1, 0, 0)]);
        assert_eq!(maps.take(1, COUNT, event.row(0), &known).unwrap().len() as u64, COUNT);
    }
}
