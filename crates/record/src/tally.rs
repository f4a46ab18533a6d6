//! How many events of each kind each task had: counted by three columns, so that the rest of the many is not decoded.

use crate::batch::Row;
use crate::error::{Damage, RecordError};
use crate::flat::{self, Lookup as _};
use crate::landmarks::op_as_dictionary;
use crate::reader::{Reader, Unit};
use crate::sealed::{TableFile, guarded};
use crate::table;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array, RecordBatch};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rustc_hash::FxHashMap;
use vmatlas_event::{OpKind, TaskId};

/// So many events of a kind: of which task, and whether they returned an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tallied {
    /// The task.
    pub task: TaskId,
    /// The kind.
    pub kind: OpKind,
    /// Whether they returned an error.
    pub failed: bool,
    /// How many.
    pub count: u64,
}

/// By the number of the task, the place of the kind in [`OpKind::ALL`], and whether they failed.
type Counts = FxHashMap<(i64, usize, bool), u64>;

impl Reader {
    /// Counts all events, by task, kind and outcome, in no order.
    ///
    /// # Errors
    /// Damage of the events or of what belongs to them: then [`events`](vmatlas_event::EventSource::events) tells how far
    /// they go.
    pub fn tally(&self) -> Result<Vec<Tallied>, RecordError> {
        let mut counts = Counts::default();
        for (number, unit) in self.units.iter().enumerate() {
            match unit {
                Unit::Missing(damage) => return Err(RecordError::Damaged(damage.clone())),
                Unit::Tail { .. } => {
                    for batch in self.batches(number, &table::EVENTS, i64::MIN)? {
                        let batch = batch?;
                        for row in (0..batch.len()).map(|row| batch.row(row)) {
                            *counts.entry(key(row)?).or_default() += 1;
                        }
                    }
                }
                Unit::Sealed(segment) => {
                    let Some(file) = self.file(number, segment, &table::EVENTS)? else { continue };
                    if let (_, Some(damage)) = file.groups(i64::MIN) {
                        return Err(RecordError::Damaged(damage));
                    }
                    guarded(&file.name, || file.tally(&mut counts))?;
                    self.attached_whole(number)?;
                }
            }
        }
        let tallied = |((task, kind, failed), count): ((i64, usize, bool), u64)| {
            let (task, kind) = (self.known.task(task)?, OpKind::ALL.get(kind).copied()?);
            Some(Tallied { task, kind, failed, count })
        };
        let unknown = || {
            RecordError::Damaged(Damage { file: "events".to_owned(), at: None, what: NO_SENSE.to_owned() })
        };
        counts.into_iter().map(|entry| tallied(entry).ok_or_else(unknown)).collect()
    }
}

const NO_SENSE: &str = "names a task or a kind that there is not";

fn key(row: Row<'_>) -> Result<(i64, usize, bool), RecordError> {
    let kind = row.word(flat::OP).and_then(place_of).ok_or_else(|| row.wrong(flat::OP))?;
    Ok((row.need(flat::TASK)?, kind, row.get(flat::ERRNO).is_some()))
}

fn place_of(word: &str) -> Option<usize> {
    OpKind::ALL.iter().position(|kind| kind.name() == word)
}

impl TableFile {
    fn tally(&self, counts: &mut Counts) -> parquet::errors::Result<()> {
        const BATCH: usize = 8192;
        let metadata = op_as_dictionary(&self.metadata)?;
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(self.source(), metadata);
        let columns = ProjectionMask::columns(builder.parquet_schema(), ["task", "op", "errno"]);
        for batch in builder.with_batch_size(BATCH).with_projection(columns).build()? {
            let batch = batch?;
            if add(&batch, counts).is_none() {
                return Err(parquet::errors::ParquetError::General(NO_SENSE.to_owned()));
            }
        }
        Ok(())
    }
}

/// `None` where a value is missing that must be there.
fn add(batch: &RecordBatch, counts: &mut Counts) -> Option<()> {
    let ops = batch.column_by_name("op")?.as_dictionary_opt::<Int32Type>()?;
    let tasks = batch.column_by_name("task")?.as_primitive_opt::<Int64Type>()?;
    let errors = batch.column_by_name("errno")?.as_primitive_opt::<Int64Type>()?;
    let kinds: Vec<Option<usize>> =
        ops.values().as_string_opt::<i32>()?.iter().map(|word| word.and_then(place_of)).collect();
    if tasks.null_count() > 0 || ops.null_count() > 0 {
        return None;
    }
    let mut run: Option<((i64, usize, bool), u64)> = None;
    for (row, (task, op)) in tasks.values().iter().zip(ops.keys().values()).enumerate() {
        let kind = usize::try_from(*op).ok().and_then(|op| kinds.get(op).copied().flatten())?;
        let key = (*task, kind, errors.is_valid(row));
        match &mut run {
            Some((last, count)) if *last == key => *count += 1,
            _ => {
                if let Some((last, count)) = run.replace((key, 1)) {
                    *counts.entry(last).or_default() += count;
                }
            }
        }
    }
    if let Some((last, count)) = run {
        *counts.entry(last).or_default() += count;
    }
    Some(())
}
