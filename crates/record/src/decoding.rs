//! The rows of a file from some key on: row group after row group, and the next one made ready in small parts.

use crate::batch::Batch;
use crate::cursor::Ahead;
use crate::error::RecordError;
use crate::pages::Column;
use crate::sealed::TableFile;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use std::sync::Arc;

/// The rows of a file from some key on.
pub(crate) struct Decoding {
    file: Arc<TableFile>,
    groups: std::vec::IntoIter<usize>,
    /// What ends the file early.
    damage: Option<RecordError>,
    /// The first key, until its row group was found.
    from: Option<i64>,
    now: Option<Open>,
    next: Option<Result<State, RecordError>>,
    has_ended: bool,
}

/// A row group that is being decoded.
struct Open {
    decoder: ParquetRecordBatchReader,
    columns: Vec<Column>,
    /// Rows that are left out before the first one; nothing once that was read.
    left_out: u64,
}

/// A row group on its way.
enum State {
    Read { group: usize, bytes: Bytes },
    Found { group: usize, bytes: Bytes, left_out: usize },
    Open(Open),
}

impl Decoding {
    pub(crate) fn new(file: Arc<TableFile>, from: i64) -> Decoding {
        let (groups, damage) = file.groups(from);
        let (groups, damage) = (groups.into_iter(), damage.map(RecordError::Damaged));
        Decoding { file, groups, damage, from: Some(from), now: None, next: None, has_ended: false }
    }

    /// Does a part of what the next row group needs; whether it is open, or there is none.
    fn open_part(&mut self) -> bool {
        let file = &self.file;
        let state = match self.next.take() {
            None => {
                let Some(group) = self.groups.next() else { return true };
                file.source().group(group).map(|bytes| State::Read { group, bytes })
            }
            Some(Ok(State::Read { group, bytes })) => {
                let from = self.from.take();
                let left_out = from.map_or(0, |from| file.rows_before(group, bytes.clone(), from));
                Ok(State::Found { group, bytes, left_out })
            }
            Some(Ok(State::Found { group, bytes, left_out })) => {
                let decoder = file.decoder(group, bytes, file.filled_columns(group), left_out);
                let left_out = left_out as u64;
                decoder.map(|(decoder, columns)| State::Open(Open { decoder, columns, left_out }))
            }
            done => {
                self.next = done;
                return true;
            }
        };
        self.next = Some(state);
        false
    }

    fn read(&mut self) -> Option<Result<Batch, RecordError>> {
        loop {
            if let Some(open) = &mut self.now {
                open.left_out = 0;
                if let Some(batch) = self.file.batch(&mut open.decoder) {
                    return Some(batch);
                }
                self.now = None;
            }
            while !self.open_part() {}
            match self.next.take() {
                Some(Ok(State::Open(open))) => self.now = Some(open),
                Some(Err(error)) => return Some(Err(error)),
                _ => return self.damage.take().map(Err),
            }
        }
    }
}

impl Open {
    /// Unpacks one page that is needed next; whether there was one.
    fn prepare(&self) -> bool {
        self.columns.iter().any(|column| column.pages().prepare(self.left_out))
    }

    fn is_ending(&self) -> bool {
        self.columns.iter().all(|column| column.pages().is_ending())
    }
}

impl Iterator for Decoding {
    type Item = Result<Batch, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = if self.has_ended { None } else { self.read() };
        self.has_ended = item.as_ref().is_none_or(Result::is_err);
        item
    }
}

impl Ahead for Decoding {
    fn prepare(&mut self) -> bool {
        if self.has_ended {
            return true;
        }
        if let Some(now) = &self.now {
            if now.prepare() {
                return false;
            }
            if !now.is_ending() {
                return true;
            }
        }
        if !self.open_part() {
            return false;
        }
        match &self.next {
            Some(Ok(State::Open(open))) => !open.prepare(),
            _ => true,
        }
    }
}
