//! The few events that are no calls: found by the column `op` alone, so that nothing else of the many is decoded.

use crate::batch::{Batch, Row};
use crate::cursor::{Batches, plain};
use crate::error::RecordError;
use crate::flat;
use crate::reader::{Reader, Unit};
use crate::sealed::{TableFile, guarded};
use crate::table;
use crate::unflat::{self, Attached};
use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection,
};
use std::ops::Range;
use std::sync::Arc;
use vmatlas_event::{Event, OpKind};

/// Whether an event of this kind is one.
fn is_landmark(kind: OpKind) -> bool {
    // Calls come first in `OpKind`.
    kind > OpKind::Other && !matches!(kind, OpKind::Observed | OpKind::Fault)
}

fn is_word_of_one(word: &str) -> bool {
    OpKind::ALL.iter().any(|kind| kind.name() == word && is_landmark(*kind))
}

impl Reader {
    /// Gives each landmark to `found`; snapshots without their rows.
    pub(crate) fn each_landmark(&self, found: &mut dyn FnMut(Event) -> bool) -> Result<(), RecordError> {
        let end = self.units.len();
        let mut previous = None;
        for (number, unit) in self.units.iter().enumerate() {
            let (batches, damage): (Batches, _) = match unit {
                Unit::Missing(damage) => return Err(RecordError::Damaged(damage.clone())),
                // The end of the last tail is where recording stopped; elsewhere something is missing in between.
                Unit::Tail { tail, .. } => {
                    let damage = tail.damage.clone().filter(|_| number + 1 < end);
                    (self.batches(number, &table::EVENTS, i64::MIN)?, damage)
                }
                Unit::Sealed(segment) => match self.file(number, segment, &table::EVENTS)? {
                    Some(file) => (file.landmarks()?, None),
                    None => continue,
                },
            };
            for batch in batches {
                let batch = batch?;
                for row in (0..batch.len()).map(|row| batch.row(row)) {
                    if !self.landmark(row, &mut previous, found)? {
                        return Ok(());
                    }
                }
            }
            // What belongs to events is not read here; damage of it ends replay all the same.
            self.attached_whole(number)?;
            if let Some(damage) = damage {
                return Err(RecordError::Damaged(damage));
            }
        }
        Ok(())
    }

    fn landmark(
        &self,
        row: Row<'_>,
        previous: &mut Option<u64>,
        found: &mut dyn FnMut(Event) -> bool,
    ) -> Result<bool, RecordError> {
        if !row.word(flat::OP).is_some_and(is_word_of_one) {
            return Ok(true);
        }
        let seq = row.bits(flat::SEQ)?;
        if previous.is_some_and(|previous| previous >= seq) {
            return Err(row.wrong(flat::SEQ));
        }
        *previous = Some(seq);
        Ok(found(unflat::event(row, Attached::default(), &self.known)?))
    }

    /// Whether the tables that belong to the events of a part are as they were written.
    pub(crate) fn attached_whole(&self, number: usize) -> Result<(), RecordError> {
        let Some(Unit::Sealed(segment)) = self.units.get(number) else { return Ok(()) };
        for table in [&table::ROWS, &table::IN_FLIGHT] {
            let Some(file) = self.file(number, segment, table)? else { continue };
            if let (_, Some(damage)) = file.groups(i64::MIN) {
                return Err(RecordError::Damaged(damage));
            }
        }
        Ok(())
    }
}

impl TableFile {
    /// The rows of events that are landmarks, and perhaps others.
    fn landmarks(self: Arc<Self>) -> Result<Batches, RecordError> {
        let (groups, damage) = self.groups(i64::MIN);
        let mut groups = groups.into_iter();
        let mut open: Option<Batches> = None;
        let mut end = damage.map(RecordError::Damaged);
        let mut next = move || -> Option<Result<Batch, RecordError>> {
            loop {
                if let Some(batch) = open.as_mut().and_then(Iterator::next) {
                    return Some(batch);
                }
                let Some(group) = groups.next() else { return end.take().map(Err) };
                match self.landmarks_of(group) {
                    Ok(batches) => open = Some(batches),
                    Err(error) => return Some(Err(error)),
                }
            }
        };
        let mut ended = false;
        Ok(plain(std::iter::from_fn(move || {
            let item = if ended { None } else { next() };
            ended = item.as_ref().is_none_or(Result::is_err);
            item
        })))
    }

    fn landmarks_of(self: &Arc<Self>, group: usize) -> Result<Batches, RecordError> {
        let metadata = self.metadata.metadata();
        let total = metadata.row_groups().get(group).map_or(0, |group| group.num_rows());
        let total = usize::try_from(total).unwrap_or(0);
        let places = guarded(&self.name, || self.places_of_landmarks(group))?;
        if places.is_empty() {
            return Ok(plain(std::iter::empty()));
        }
        let mut reader = guarded(&self.name, || {
            let selection = RowSelection::from_consecutive_ranges(places.into_iter(), total);
            self.builder().with_row_groups(vec![group]).with_row_selection(selection).build()
        })?;
        let file = Arc::clone(self);
        Ok(plain(std::iter::from_fn(move || file.batch(&mut reader))))
    }

    /// Which rows of a row group are landmarks.
    fn places_of_landmarks(&self, group: usize) -> parquet::errors::Result<Vec<Range<usize>>> {
        let metadata = op_as_dictionary(&self.metadata)?;
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(self.source(), metadata);
        let op = ProjectionMask::columns(builder.parquet_schema(), ["op"]);
        let reader =
            builder.with_row_groups(vec![group]).with_batch_size(8192).with_projection(op).build()?;
        let (mut places, mut before) = (Vec::new(), 0);
        for batch in reader {
            let batch = batch?;
            add_places(&batch, before, &mut places);
            before += batch.num_rows();
        }
        Ok(places)
    }
}

/// So that words are compared once for each page and not for each row.
pub(crate) fn op_as_dictionary(
    metadata: &ArrowReaderMetadata,
) -> parquet::errors::Result<ArrowReaderMetadata> {
    let word = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let fields = metadata.schema().fields().iter().map(|field| match field.name().as_str() {
        "op" => Arc::new(Field::new("op", word.clone(), field.is_nullable())),
        _ => Arc::clone(field),
    });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let options = ArrowReaderOptions::new().with_schema(schema);
    ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options)
}

fn add_places(batch: &RecordBatch, before: usize, places: &mut Vec<Range<usize>>) {
    let Some(ops) = batch.columns().first().and_then(|ops| ops.as_dictionary_opt::<Int32Type>()) else {
        return;
    };
    let Some(words) = ops.values().as_string_opt::<i32>() else { return };
    let wanted: Vec<bool> = words.iter().map(|word| word.is_some_and(is_word_of_one)).collect();
    if !wanted.contains(&true) {
        return;
    }
    for row in (0..ops.len()).filter(|row| ops.is_valid(*row)) {
        let word = ops.keys().values().get(row).and_then(|key| usize::try_from(*key).ok());
        if word.and_then(|word| wanted.get(word)) == Some(&true) {
            places.push(before + row..before + row + 1);
        }
    }
}
