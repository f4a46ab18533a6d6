//! Rows that belong to events, read along with them.

use crate::batch::{Batch, Row};
use crate::error::RecordError;
use crate::flat;

/// How many VMAs one map may have.
pub(crate) const MOST_ROWS: u64 = 1 << 24;

/// Some rows of a table after the others.
pub(crate) type Batches = Box<dyn Ahead>;

/// Some rows of a table after the others, for which work can be done ahead.
pub(crate) trait Ahead: Iterator<Item = Result<Batch, RecordError>> + Send {
    /// Does a small part of what the next ones need; whether nothing is left to do now.
    fn prepare(&mut self) -> bool {
        true
    }
}

/// Rows for which nothing needs to be done ahead.
struct Plain<I>(I);

impl<I: Iterator> Iterator for Plain<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        self.0.next()
    }
}

impl<I: Iterator<Item = Result<Batch, RecordError>> + Send> Ahead for Plain<I> {}

/// These rows, for which nothing is done ahead.
pub(crate) fn plain(batches: impl Iterator<Item = Result<Batch, RecordError>> + Send + 'static) -> Batches {
    Box::new(Plain(batches))
}

/// Rows that belong to events, read along with them.
pub(crate) struct Cursor {
    batches: Batches,
    batch: Option<Batch>,
    at: usize,
    /// What was met ahead of time: the next rows cannot be read.
    failed: Option<RecordError>,
}

impl Cursor {
    pub(crate) fn new(batches: Batches) -> Cursor {
        Cursor { batches, batch: None, at: 0, failed: None }
    }

    /// Does a small part of what the next rows need; whether nothing is left to do now.
    pub(crate) fn prepare(&mut self) -> bool {
        self.batches.prepare()
    }

    /// Gives the rows of event `seq`, which must be `count`.
    pub(crate) fn take(
        &mut self,
        seq: u64,
        count: u64,
        event: Row<'_>,
        found: &mut dyn FnMut(Row<'_>) -> Result<(), RecordError>,
    ) -> Result<(), RecordError> {
        if count > MOST_ROWS {
            return Err(event.wrong(flat::COUNT));
        }
        let mut left = count;
        while left > 0 {
            let Some(batch) = self.batch.as_ref().filter(|batch| self.at < batch.len()) else {
                let failed = self.failed.take().map(Err);
                let next = failed.or_else(|| self.batches.next());
                self.batch = Some(next.ok_or_else(|| event.wrong(flat::COUNT))??);
                self.at = 0;
                continue;
            };
            let row = batch.row(self.at);
            let key = row.bits(0)?;
            if key > seq {
                return Err(event.wrong(flat::COUNT));
            }
            self.at += 1;
            if key == seq {
                found(row)?;
                left -= 1;
            }
        }
        Ok(())
    }
    /// Gives rows of event `seq` ahead of time, `most` of them at most, until `found` answers `false`: that one stays. How many
    /// there were; what is wrong with the next one is told by [`take`](Cursor::take).
    pub(crate) fn ahead(&mut self, seq: u64, most: usize, found: &mut dyn FnMut(Row<'_>) -> bool) -> usize {
        let mut count = 0;
        while count < most && self.failed.is_none() {
            let Some(batch) = self.batch.as_ref().filter(|batch| self.at < batch.len()) else {
                match self.batches.next() {
                    Some(Ok(batch)) => (self.batch, self.at) = (Some(batch), 0),
                    Some(Err(error)) => self.failed = Some(error),
                    None => break,
                }
                continue;
            };
            let row = batch.row(self.at);
            match row.bits(0) {
                Ok(key) if key < seq => {}
                Ok(key) if key == seq && found(row) => count += 1,
                _ => break,
            }
            self.at += 1;
        }
        count
    }
}
