//! A keyframe on its way in, some rows at a time.

use crate::batch::{Batch, Row};
use crate::cursor::Batches;
use crate::error::RecordError;
use crate::keyframe;
use crate::reader::{KeyframeRow, Reader};
use crate::table::{self, Table};
use std::collections::BTreeMap;
use vmatlas_event::{Keyframe, MmId, MonoNs, Seq, SpaceState};

/// What belongs to a keyframe, in the order in which it is read.
const TABLES: [&Table; 3] = [&table::STATES, &table::STATE_ROWS, &table::STATE_PARTS];

/// So many pages are unpacked at a time, where a keyframe is asked for in parts.
const PREPARED: usize = 4;

/// A keyframe on its way in.
pub(crate) struct Loading {
    wanted: KeyframeRow,
    /// How many of [`TABLES`] were read.
    tables: usize,
    batches: Option<Batches>,
    batch: Option<Batch>,
    at: usize,
    /// Each with the number of rows that it must have, and of parts that are still to come.
    spaces: BTreeMap<MmId, (SpaceState, u64, u64)>,
}

impl Loading {
    pub(crate) fn new(wanted: KeyframeRow) -> Loading {
        Loading { wanted, tables: 0, batches: None, batch: None, at: 0, spaces: BTreeMap::new() }
    }

    /// Whether it is this one that is loaded.
    pub(crate) fn is_of(&self, wanted: KeyframeRow) -> bool {
        (self.wanted.unit, self.wanted.after) == (wanted.unit, wanted.after)
    }

    /// Reads some rows, about `rows`; whether that was the last of them.
    pub(crate) fn read(&mut self, reader: &Reader, rows: usize) -> Result<bool, RecordError> {
        let after = self.wanted.after as i64;
        let mut left = rows;
        while let Some(table) = TABLES.get(self.tables) {
            let Some(batches) = &mut self.batches else {
                self.batches = Some(reader.batches(self.wanted.unit, table, after)?);
                // To open a table is work enough for a part.
                if rows == usize::MAX {
                    continue;
                }
                return Ok(false);
            };
            if self.batch.as_ref().is_none_or(|batch| self.at >= batch.len()) {
                if rows != usize::MAX && !(0..PREPARED).any(|_| batches.prepare()) {
                    return Ok(false);
                }
                match batches.next() {
                    Some(batch) => (self.batch, self.at) = (Some(batch?), 0),
                    None => {
                        self.next_table();
                        continue;
                    }
                }
            }
            let Some(batch) = self.batch.take() else { continue };
            let ended = self.take(reader, table, &batch, &mut left)?;
            self.batch = Some(batch);
            if ended {
                self.next_table();
            }
            if left == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn next_table(&mut self) {
        self.tables += 1;
        (self.batches, self.batch, self.at) = (None, None, 0);
    }

    /// Takes rows of a batch until `left` is used up; whether one belonged to a later keyframe.
    fn take(
        &mut self,
        reader: &Reader,
        table: &Table,
        batch: &Batch,
        left: &mut usize,
    ) -> Result<bool, RecordError> {
        let after = self.wanted.after as i64;
        while self.at < batch.len() && *left > 0 {
            let row = batch.row(self.at);
            self.at += 1;
            *left -= 1;
            match row.need::<i64>(0)? {
                key if key < after => {}
                key if key > after => return Ok(true),
                _ => self.add(reader, table, row)?,
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

    /// The keyframe, after the last of its rows.
    pub(crate) fn finish(self) -> Result<Keyframe, RecordError> {
        let Loading { wanted, spaces, .. } = self;
        let whole =
            spaces.values().all(|(state, rows, parts)| state.rows.len() as u64 == *rows && *parts == 0);
        let rows: u64 = spaces.values().map(|(_, rows, _)| *rows).sum();
        if !whole || spaces.len() as u64 != wanted.spaces || rows != wanted.rows {
            let what = format!("the keyframe after event {} is not whole", wanted.after);
            return Err(RecordError::damaged("keyframes", None, what));
        }
        let spaces = spaces.into_values().map(|(state, _, _)| state).collect();
        Ok(Keyframe { after: Seq(wanted.after), at: MonoNs(wanted.at), spaces })
    }
}
