//! A keyframe on its way in, some rows at a time.

use crate::batch::{Batch, Row};
use crate::cursor::{Batches, plain};
use crate::error::{Damage, RecordError};
use crate::keyframe;
use crate::reader::{KeyframeRow, Reader};
use crate::table::{self, Table};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use vmatlas_event::{Keyframe, MmId, MonoNs, Seq, SpaceState};

/// What belongs to a keyframe, in the order in which it is read.
const TABLES: [&Table; 3] = [&table::STATES, &table::STATE_ROWS, &table::STATE_PARTS];

/// The places after so many keyframes are kept: those who replay a loss and those who compare ask for the same ones in turn.
const KEPT: usize = 2;
/// So many pages are unpacked at a time, where a keyframe is asked for in parts.
const PREPARED: usize = 4;

/// A keyframe on its way in.
pub(crate) struct Loading {
    /// Which of all keyframes.
    number: usize,
    wanted: KeyframeRow,
    /// How many of [`TABLES`] were read.
    tables: usize,
    readings: [Option<Reading>; TABLES.len()],
    /// Each with the number of rows that it must have, and of parts that are still to come.
    spaces: BTreeMap<MmId, (SpaceState, u64, u64)>,
}

/// A place in one of [`TABLES`].
struct Reading {
    batches: Batches,
    batch: Option<Batch>,
    at: usize,
    /// Rows that could not be read on the way here.
    failed: Option<Damage>,
}

impl Reading {
    /// From the first row on that may have a key of at least `from`.
    fn new(reader: &Reader, unit: usize, table: &'static Table, from: i64) -> Result<Reading, RecordError> {
        let (batches, failed): (Batches, _) = match reader.batches(unit, table, from) {
            Ok(batches) => (batches, None),
            // What cannot be opened is not opened again for each keyframe of it.
            Err(RecordError::Damaged(damage)) => (plain(std::iter::empty()), Some(damage)),
            Err(error) => return Err(error),
        };
        Ok(Reading { batches, batch: None, at: 0, failed })
    }

    /// Whether the next row is one of another batch.
    fn is_at_end(&self) -> bool {
        self.batch.as_ref().is_none_or(|batch| self.at >= batch.len())
    }

    /// Whether there is another row; it is at `at` of `batch` then.
    fn advance(&mut self) -> Result<bool, RecordError> {
        while self.is_at_end() {
            match self.batches.next() {
                Some(Ok(batch)) => (self.batch, self.at) = (Some(batch), 0),
                Some(Err(error)) => {
                    if let RecordError::Damaged(damage) = &error {
                        self.failed.get_or_insert_with(|| damage.clone());
                    }
                    return Err(error);
                }
                None => return Ok(false),
            }
        }
        Ok(true)
    }
}

impl Loading {
    pub(crate) fn new(number: usize, wanted: KeyframeRow) -> Loading {
        Loading { number, wanted, tables: 0, readings: Default::default(), spaces: BTreeMap::new() }
    }

    /// Whether it is this one that is loaded.
    pub(crate) fn is_of(&self, wanted: KeyframeRow) -> bool {
        (self.wanted.unit, self.wanted.after) == (wanted.unit, wanted.after)
    }

    /// Reads some rows, about `rows`; whether that was the last of them.
    pub(crate) fn read(&mut self, reader: &Reader, rows: usize) -> Result<bool, RecordError> {
        let after = self.wanted.after as i64;
        let mut left = rows;
        while let Some((table, slot)) = TABLES.get(self.tables).zip(self.readings.get_mut(self.tables)) {
            let Some(mut reading) = slot.take() else {
                *slot = Some(Reading::new(reader, self.wanted.unit, table, after)?);
                // To open a table is work enough for a part.
                if rows == usize::MAX {
                    continue;
                }
                return Ok(false);
            };
            if rows != usize::MAX && reading.is_at_end() && !(0..PREPARED).any(|_| reading.batches.prepare())
            {
                *slot = Some(reading);
                return Ok(false);
            }
            let ended = self.take(reader, table, &mut reading, &mut left);
            if let Some(slot) = self.readings.get_mut(self.tables) {
                *slot = Some(reading);
            }
            if ended.map_err(|error| self.cause(error))? {
                self.tables += 1;
            }
            if left == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes rows of a batch until `left` is used up; whether none is left that belongs to this keyframe.
    fn take(
        &mut self,
        reader: &Reader,
        table: &Table,
        reading: &mut Reading,
        left: &mut usize,
    ) -> Result<bool, RecordError> {
        let after = self.wanted.after as i64;
        if !reading.advance()? {
            return Ok(true);
        }
        while *left > 0 && !reading.is_at_end() {
            let Some(batch) = &reading.batch else { return Ok(true) };
            let row = batch.row(reading.at);
            *left -= 1;
            let key = row.need::<i64>(0);
            // That of a later keyframe stays where it is.
            if key.as_ref().is_ok_and(|key| *key > after) {
                return Ok(true);
            }
            reading.at += 1;
            if key? == after {
                self.add(reader, table, row)?;
            }
        }
        Ok(false)
    }

    fn add(&mut self, reader: &Reader, table: &Table, row: Row<'_>) -> Result<(), RecordError> {
        if table.id == table::STATES.id {
            let (state, rows, parts) = keyframe::state(row)?;
            self.spaces.insert(state.mm, (state, rows, parts));
        } else if table.id == table::STATE_ROWS.id {
            let (state, rows, _) = self.spaces.get_mut(&keyframe::owner(row)?).ok_or_else(|| row.wrong(0))?;
            if state.rows.len() as u64 >= *rows {
                return Err(row.wrong(0));
            }
            state.rows.push(keyframe::vma(row, &reader.known)?);
        } else {
            let (state, _, parts) =
                self.spaces.get_mut(&keyframe::part_owner(row)?).ok_or_else(|| row.wrong(0))?;
            *parts = parts.checked_sub(1).ok_or_else(|| row.wrong(0))?;
            keyframe::add_part(row, state, &reader.known)?;
        }
        Ok(())
    }

    /// The cause of an error: what is missing or belongs to nothing may be so because of what could not be read.
    fn cause(&self, error: RecordError) -> RecordError {
        let failed = self.readings.iter().flatten().find_map(|reading| reading.failed.clone());
        failed.map_or(error, RecordError::Damaged)
    }

    /// The keyframe, after the last of its rows.
    pub(crate) fn keyframe(&mut self) -> Result<Keyframe, RecordError> {
        let (wanted, spaces) = (self.wanted, std::mem::take(&mut self.spaces));
        let whole =
            spaces.values().all(|(state, rows, parts)| state.rows.len() as u64 == *rows && *parts == 0);
        let rows: u64 = spaces.values().map(|(_, rows, _)| *rows).sum();
        if !whole || spaces.len() as u64 != wanted.spaces || rows != wanted.rows {
            // What is missing may be what could not be read.
            let failed = self.readings.iter().flatten().find_map(|reading| reading.failed.clone());
            let what = || format!("the keyframe after event {} is not whole", wanted.after);
            return Err(
                failed.map_or_else(|| RecordError::damaged("keyframes", None, what()), RecordError::Damaged)
            );
        }
        let spaces = spaces.into_values().map(|(state, _, _)| state).collect();
        Ok(Keyframe { after: Seq(wanted.after), at: MonoNs(wanted.at), spaces })
    }
}

/// Places in the tables of keyframes where reading stopped: the next keyframe goes on there without a search. However many there
/// are, each row is read once then by who wants one after the other.
#[derive(Default)]
pub(crate) struct AfterKeyframes(Mutex<Vec<Loading>>);

impl AfterKeyframes {
    /// Begins with a keyframe, after the one before it where that was read lately.
    pub(crate) fn begin(&self, number: usize, wanted: KeyframeRow) -> Loading {
        let mut loading = Loading::new(number, wanted);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_before = |kept: &Loading| kept.number + 1 == number && kept.wanted.unit == wanted.unit;
        if let Some(at) = kept.iter().rposition(is_before) {
            loading.readings = kept.remove(at).readings;
        }
        loading
    }

    pub(crate) fn keep(&self, mut loading: Loading) {
        loading.spaces.clear();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.remove(0);
        }
        kept.push(loading);
    }
}
