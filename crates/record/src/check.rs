//! Whether every byte of a recording is as it was written: all of it, where the reader looks only at what it needs.

use crate::error::{Damage, RecordError};
use crate::reader::{Reader, Unit};
use crate::sealed::Segment;
use crate::store::Store;
use crate::table::{ALL, Table};
use std::collections::HashSet;

/// What was looked at, and what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Files with tables: tails, and tables of segments.
    pub files: u64,
    /// Rows of all tables that could be decoded.
    pub rows: u64,
    /// What is not as it was written, that of [`Reader::damage`] included.
    pub damage: Vec<Damage>,
}

/// What was found so far, and what of damage is in it: an enemy's tail may have a million places of it.
#[derive(Default)]
struct Found {
    checked: Checked,
    noted: HashSet<Damage>,
}

impl Found {
    fn note(&mut self, damage: Damage) {
        if self.noted.insert(damage.clone()) {
            self.checked.damage.push(damage);
        }
    }
}

impl Reader {
    /// Reads every file that it has from its first byte to its last: checksums, lengths, numbers of rows.
    ///
    /// # Errors
    /// [`RecordError::Io`] where a file cannot be read; damage is no error.
    pub fn check(&self) -> Result<Checked, RecordError> {
        self.check_with(&mut |_, _| {})
    }

    /// The same; `progress` is told how many rows of how many were read.
    ///
    /// # Errors
    /// Those of [`Reader::check`].
    pub fn check_with(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<Checked, RecordError> {
        let total = self.units.iter().map(rows).sum();
        let mut progress = |rows: u64| progress(rows, total);
        let mut found = Found::default();
        self.damage().iter().cloned().for_each(|damage| found.note(damage));
        if let Store::Packed(packed) = &self.store {
            packed.check()?.into_iter().for_each(|damage| found.note(damage));
        }
        for unit in &self.units {
            match unit {
                Unit::Sealed(segment) => {
                    for table in ALL {
                        if segment.seal.tables.contains_key(table.name) {
                            found.checked.files += 1;
                            check_table(segment, table, &mut found, &mut progress)?;
                        }
                    }
                }
                Unit::Tail { tail, .. } => {
                    found.checked.files += 1;
                    // Where a tail ends early, and whether its checksums are right, was seen when it was opened.
                    for frame in &tail.frames {
                        match tail.batch(frame) {
                            Ok(batch) => found.checked.rows += batch.len() as u64,
                            Err(error) => found.note(error.into_damage()?),
                        }
                        progress(found.checked.rows);
                    }
                }
                Unit::Missing(damage) => found.note(damage.clone()),
            }
        }
        Ok(found.checked)
    }
}

/// How many rows a part says it has.
fn rows(unit: &Unit) -> u64 {
    match unit {
        Unit::Sealed(segment) => {
            segment.seal.tables.values().fold(0, |sum, table| sum.saturating_add(table.rows))
        }
        Unit::Tail { tail, .. } => tail.frames.iter().map(|frame| frame.rows()).sum(),
        Unit::Missing(_) => 0,
    }
}

fn check_table(
    segment: &Segment,
    table: &'static Table,
    found: &mut Found,
    progress: &mut dyn FnMut(u64),
) -> Result<(), RecordError> {
    let read = segment.table(table).and_then(|file| {
        let Some(file) = file else { return Ok(()) };
        let wanted = segment.seal.tables.get(table.name).map_or(0, |sealed| sealed.rows);
        let mut rows = 0;
        for batch in file.batches(i64::MIN) {
            rows += batch?.len() as u64;
            progress(found.checked.rows + rows);
        }
        found.checked.rows += rows;
        match file.damage(rows, wanted) {
            Some(damage) => Err(RecordError::Damaged(damage)),
            None => Ok(()),
        }
    });
    if let Err(error) = read {
        found.note(error.into_damage()?);
    }
    Ok(())
}
