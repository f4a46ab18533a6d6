//! The rows of a file of a segment, decoded where they are wanted.

use crate::batch::Batch;
use crate::cursor::Batches;
use crate::decoding::Decoding;
use crate::error::{Damage, RecordError};
use crate::groups::{OneGroup, Source};
use crate::pages::Column;
use crate::sealed::{LARGEST, TableFile, guarded, touches};
use arrow_array::{Array, Int64Array};
use bytes::Bytes;
use parquet::arrow::arrow_reader::{
    ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector,
};
use parquet::arrow::{ProjectionMask, parquet_to_arrow_field_levels};
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::file::statistics::Statistics;
use std::sync::Arc;

/// No row group has more rows.
const MOST_ROWS: i64 = 1 << 20;
/// So many rows are decoded at a time: few, because somebody waits for the first of them.
const BATCH: usize = 1024;

impl TableFile {
    /// What is not as it was written of it, where no row that was read shows it: bytes, or the number of rows.
    pub(crate) fn damage(&self, rows: u64, wanted: u64) -> Option<Damage> {
        let (at, what) = match &self.bad {
            Some(bad) => (Some(bad.start), "is not as it was written".to_owned()),
            None if rows != wanted => (None, format!("has {rows} rows where {wanted} were written")),
            None => return None,
        };
        Some(Damage { file: self.name.clone(), at, what })
    }

    /// The bytes of its row groups.
    pub(crate) fn source(&self) -> Source {
        Source::new(Arc::clone(&self.groups))
    }

    pub(crate) fn builder(&self) -> ParquetRecordBatchReaderBuilder<Source> {
        ParquetRecordBatchReaderBuilder::new_with_metadata(self.source(), self.metadata.clone())
            .with_batch_size(BATCH)
    }

    /// A decoder of some columns of a row group, from a row on, and its columns to be prepared.
    pub(crate) fn decoder(
        &self,
        group: usize,
        bytes: Bytes,
        columns: Vec<usize>,
        skipped: usize,
    ) -> Result<(ParquetRecordBatchReader, Vec<Column>), RecordError> {
        guarded(&self.name, || {
            let schema = self.metadata.parquet_schema();
            let wanted = ProjectionMask::leaves(schema, columns);
            let levels =
                parquet_to_arrow_field_levels(schema, wanted, Some(self.metadata.schema().fields()))?;
            let one = OneGroup::new(self.metadata.metadata(), group, bytes, self.groups.start(group))?;
            let selection = (skipped > 0).then(|| {
                let rows = self.rows_of(group).saturating_sub(skipped);
                RowSelection::from(vec![RowSelector::skip(skipped), RowSelector::select(rows)])
            });
            let reader = ParquetRecordBatchReader::try_new_with_row_groups(&levels, &one, BATCH, selection)?;
            Ok((reader, one.into_columns()))
        })
    }

    fn rows_of(&self, group: usize) -> usize {
        let group = self.metadata.metadata().row_groups().get(group);
        group.map_or(0, |group| usize::try_from(group.num_rows()).unwrap_or(0))
    }

    /// How many rows of a row group come before the first key of at least `from`, by its keys alone; they need not be
    /// decoded. None where that cannot be told: reading them tells why.
    pub(crate) fn rows_before(&self, group: usize, bytes: Bytes, from: i64) -> usize {
        let described = self.metadata.metadata().row_groups().get(group);
        if described.and_then(smallest_key).is_some_and(|key| key >= from) {
            return 0;
        }
        let keys = |reader: ParquetRecordBatchReader| {
            let mut before = 0;
            for batch in reader {
                let batch = batch?;
                let Some(keys) =
                    batch.columns().first().and_then(|c| c.as_any().downcast_ref::<Int64Array>())
                else {
                    return Ok(0);
                };
                let smaller = keys.iter().take_while(|key| key.is_some_and(|key| key < from)).count();
                before += smaller;
                if smaller < batch.num_rows() {
                    break;
                }
            }
            Ok(before)
        };
        let reader = self.decoder(group, bytes, vec![0], 0);
        let before = reader.and_then(|(reader, _)| guarded(&self.name, || keys(reader))).unwrap_or(0);
        before.min(self.rows_of(group))
    }

    /// The row groups that may hold a key of at least `from`, up to the first that cannot be read, and why it cannot.
    pub(crate) fn groups(&self, from: i64) -> (Vec<usize>, Option<Damage>) {
        let mut groups = Vec::new();
        let mut damage = None;
        for (index, group) in self.metadata.metadata().row_groups().iter().enumerate() {
            if largest_key(group).is_some_and(|key| key < from) {
                continue;
            }
            if !(0..=MOST_ROWS).contains(&group.num_rows())
                || !(0..=LARGEST as i64).contains(&group.total_byte_size())
            {
                damage = Some(Damage {
                    file: self.name.clone(),
                    at: None,
                    what: "a row group is too large".to_owned(),
                });
                break;
            }
            if let Some(bad) = self.bad.as_ref().filter(|bad| touches(group, bad)) {
                let what = "is not as it was written".to_owned();
                damage = Some(Damage { file: self.name.clone(), at: Some(bad.start), what });
                break;
            }
            if let Some((_, what)) = self.refused.filter(|(first, _)| *first <= index) {
                damage = Some(Damage { file: self.name.clone(), at: None, what: what.to_owned() });
                break;
            }
            groups.push(index);
        }
        (groups, damage)
    }

    /// The columns that hold something in a row group, the key first. One that holds nothing is as good as not there,
    /// and to unpack it costs as much as another: of the events of a simple loop it is two columns in three.
    pub(crate) fn filled_columns(&self, group: usize) -> Vec<usize> {
        let Some(group) = self.metadata.metadata().row_groups().get(group) else { return Vec::new() };
        let is_empty = |column: &ColumnChunkMetaData| {
            let nothing = column.statistics().and_then(Statistics::null_count_opt);
            nothing.is_some_and(|nothing| i64::try_from(nothing) == Ok(group.num_rows()))
        };
        let columns = group.columns().iter().enumerate();
        columns.filter(|(at, column)| *at == 0 || !is_empty(column)).map(|(at, _)| at).collect()
    }

    /// The rows from the first row group on that may hold a key of at least `from`.
    pub(crate) fn batches(self: &Arc<Self>, from: i64) -> Batches {
        Box::new(Decoding::new(Arc::clone(self), from))
    }

    /// What a decoder gives next.
    pub(crate) fn batch(&self, decoder: &mut ParquetRecordBatchReader) -> Option<Result<Batch, RecordError>> {
        let next = guarded(&self.name, || decoder.next().transpose().map_err(Into::into));
        next.and_then(|batch| batch.map(|batch| Batch::new(self.table, &batch, &self.name)).transpose())
            .transpose()
    }
}

/// The largest key of a row group, where its statistics tell.
fn largest_key(group: &RowGroupMetaData) -> Option<i64> {
    match group.columns().first()?.statistics()? {
        Statistics::Int64(statistics) => statistics.max_opt().copied(),
        _ => None,
    }
}

/// The smallest one.
fn smallest_key(group: &RowGroupMetaData) -> Option<i64> {
    match group.columns().first()?.statistics()? {
        Statistics::Int64(statistics) => statistics.min_opt().copied(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal;
    use crate::sealed::Segment;
    use crate::store::Store;
    use crate::table::EVENTS;

    /// Checks that a column without a value is not unpacked and reads as nothing, and that one with some values is whole.
    #[test]
    fn columns_that_hold_nothing_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        crate::tail::tests::write(&seal::tail(folder.path(), 1));
        seal::seal(folder.path(), 1, &seal::Sealing::default()).unwrap();
        let segment = Segment::open(&Store::Folder(folder.path().to_owned()), 1).unwrap();
        let file = segment.table(&EVENTS).unwrap().unwrap();
        let column = |name| EVENTS.column(name).unwrap();
        let filled = ["seq", "ended", "took", "task", "mm", "op"].map(column);
        assert_eq!(file.filled_columns(0), filled);
        let batches: Vec<Batch> = file.batches(i64::MIN).map(Result::unwrap).collect();
        let rows = batches.iter().flat_map(|batch| (0..batch.len()).map(|row| batch.row(row)));
        let read = rows.map(|row| (row.get(0), row.word(column("op")), row.get(column("fd"))));
        assert!(read.eq((5..25).map(|seq| (Some(seq), Some("brk"), None))));
    }
}
