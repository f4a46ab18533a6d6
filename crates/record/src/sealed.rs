//! Segments: Parquet files of which each block is checked before anything is decoded.

use crate::batch::Batch;
use crate::cursor::Batches;
use crate::error::{Damage, RecordError};
use crate::guard::{self, brief};
use crate::meta::{VERSION, is_known};
use crate::seal::{BLOCK, Seal, SealedTable};
use crate::store::Store;
use crate::table::Table;
use crate::thrift::is_flat;
use crate::unpacked;
use arrow_array::{Array, Int64Array};
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
    RowSelection, RowSelector,
};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::statistics::Statistics;
use std::ops::Range;

/// No file of a segment is larger, nor a row group of it when it is unpacked.
pub(crate) const LARGEST: u64 = 512 << 20;
/// No row group has more rows.
const MOST_ROWS: i64 = 1 << 20;
/// No file has more rows, in all its row groups.
const MOST_ROWS_OF_ALL: i64 = 1 << 26;
/// So many rows are decoded at a time: few, because somebody waits for the first of them.
const BATCH: usize = 1024;

/// A sealed part of a recording.
#[derive(Debug)]
pub(crate) struct Segment {
    store: Store,
    name: String,
    pub(crate) seal: Seal,
}

/// A file of a segment, in memory.
#[derive(Debug)]
pub(crate) struct TableFile {
    table: &'static Table,
    pub(crate) name: String,
    bytes: Bytes,
    pub(crate) metadata: ArrowReaderMetadata,
    /// From the first block that is not as it was written to the description of the file.
    pub(crate) bad: Option<Range<u64>>,
    /// The first row group whose pages the decoder must not see, and why.
    refused: Option<(usize, &'static str)>,
}

impl Segment {
    pub(crate) fn open(store: &Store, number: u32) -> Result<Segment, RecordError> {
        let name = format!("seg-{number:06}");
        let seal: Seal = store.read_json(&format!("{name}/seal.json"))?;
        if !is_known(seal.version) {
            let (path, version) = (store.path().join(&name), seal.version);
            return Err(RecordError::Version { path, version, known: VERSION });
        }
        Ok(Segment { store: store.clone(), name, seal })
    }

    /// Reads a table; `None` where it has no rows.
    pub(crate) fn table(&self, table: &'static Table) -> Result<Option<TableFile>, RecordError> {
        let Some(sealed) = self.seal.tables.get(table.name) else { return Ok(None) };
        let name = format!("{}/{}.parquet", self.name, table.name);
        let bytes = match self.store.read(&name, LARGEST) {
            Err(RecordError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Err(RecordError::damaged(&name, None, "is missing"));
            }
            read => read?,
        };
        let bad = bad_part(&bytes, sealed)
            .map_err(|at| RecordError::damaged(&name, at, "is not as it was written"))?;
        if !is_flat(&bytes) {
            return Err(RecordError::damaged(&name, None, "is not described as a table is"));
        }
        let bytes = Bytes::from(bytes);
        let metadata = guarded(&name, || {
            ArrowReaderMetadata::load(&bytes, ArrowReaderOptions::new().with_skip_arrow_metadata(false))
        })?;
        let refused = first_refused(&bytes, metadata.metadata().row_groups(), bad.as_ref());
        Ok(Some(TableFile { table, name, bytes, metadata, bad, refused }))
    }
}

/// The first row group that the decoder must not see, and why; one that is not as it was written is not looked at.
fn first_refused(
    bytes: &[u8],
    groups: &[RowGroupMetaData],
    bad: Option<&Range<u64>>,
) -> Option<(usize, &'static str)> {
    let mut rows = 0_i64;
    groups.iter().enumerate().find_map(|(index, group)| {
        rows = rows.saturating_add(group.num_rows().max(0));
        let is_bad = bad.is_some_and(|bad| touches(group, bad));
        let fits = if is_bad { Ok(()) } else { unpacked::fits(bytes, group) };
        let fits = fits.and(if rows > MOST_ROWS_OF_ALL { Err("has more rows than any") } else { Ok(()) });
        Some((index, fits.err()?))
    })
}

/// What is not as it was written, up to the description at the end of the file; that itself must be whole, otherwise
/// the error is the place of the first bad block.
fn bad_part(bytes: &[u8], sealed: &SealedTable) -> Result<Option<Range<u64>>, u64> {
    let (crcs, length) = (&sealed.blocks, sealed.bytes);
    let good = |(block, crc): (&[u8], &u32)| crc32fast::hash(block) == *crc;
    let first = bytes.chunks(BLOCK).zip(crcs).take_while(|pair| good(*pair)).count();
    let place = ((first * BLOCK) as u64).min(bytes.len() as u64);
    if bytes.len() as u64 != length || bytes.len().div_ceil(BLOCK) != crcs.len() {
        return Err(place);
    }
    if place == length {
        return Ok(None);
    }
    let (start, footer) =
        bad_row_groups(bytes, sealed).or_else(|| bad_blocks(bytes, crcs, place)).ok_or(place)?;
    Ok(Some(place.max(start)..footer))
}

/// Where the first row group that is not as it was written begins, and the description of the file; `None` where that is
/// not whole, or nothing is known of row groups.
fn bad_row_groups(bytes: &[u8], sealed: &SealedTable) -> Option<(u64, u64)> {
    let (mut start, mut bad) = (0, None);
    for (index, (end, crc)) in sealed.parts.iter().enumerate() {
        let part = bytes.get(usize::try_from(start).ok()?..usize::try_from(*end).ok()?)?;
        if index + 1 == sealed.parts.len() {
            let is_whole = *end == bytes.len() as u64 && crc32fast::hash(part) == *crc;
            return is_whole.then_some((bad?, start));
        }
        if crc32fast::hash(part) != *crc {
            bad.get_or_insert(start);
        }
        start = *end;
    }
    None
}

/// The same by blocks alone, of which the first bad one is at `place`.
fn bad_blocks(bytes: &[u8], crcs: &[u32], place: u64) -> Option<(u64, u64)> {
    let [.., a, b, c, d, _, _, _, _] = bytes else { return None };
    let footer = (bytes.len() as u64).checked_sub(8 + u64::from(u32::from_le_bytes([*a, *b, *c, *d])))?;
    let mut blocks = bytes.chunks(BLOCK).zip(crcs).skip((footer / BLOCK as u64) as usize);
    let is_whole = blocks.all(|(block, crc)| crc32fast::hash(block) == *crc);
    (place < footer && is_whole).then_some((place, footer))
}

/// Calls into the decoder: an enemy's file must not end us.
pub(crate) fn guarded<T>(
    name: &str,
    decode: impl FnOnce() -> parquet::errors::Result<T>,
) -> Result<T, RecordError> {
    match guard::guarded(decode) {
        Some(result) => result.map_err(|e| RecordError::damaged(name, None, brief(&e))),
        None => Err(RecordError::damaged(name, None, "cannot be decoded")),
    }
}

impl TableFile {
    /// What it takes in memory.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// What is not as it was written of it, where no row that was read shows it: bytes, or the number of rows.
    pub(crate) fn damage(&self, rows: u64, wanted: u64) -> Option<Damage> {
        let (at, what) = match &self.bad {
            Some(bad) => (Some(bad.start), "is not as it was written".to_owned()),
            None if rows != wanted => (None, format!("has {rows} rows where {wanted} were written")),
            None => return None,
        };
        Some(Damage { file: self.name.clone(), at, what })
    }

    pub(crate) fn builder(&self) -> ParquetRecordBatchReaderBuilder<Bytes> {
        ParquetRecordBatchReaderBuilder::new_with_metadata(self.bytes.clone(), self.metadata.clone())
            .with_batch_size(BATCH)
    }

    pub(crate) fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }

    fn rows_of(&self, group: usize) -> usize {
        let group = self.metadata.metadata().row_groups().get(group);
        group.map_or(0, |group| usize::try_from(group.num_rows()).unwrap_or(0))
    }

    /// How many rows of a row group come before the first key of at least `from`, by its keys alone; they need not be
    /// decoded. None where that cannot be told: reading them tells why.
    fn rows_before(&self, group: usize, from: i64) -> usize {
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
        let read = guarded(&self.name, || {
            let builder = self.builder().with_row_groups(vec![group]);
            let key = ProjectionMask::leaves(builder.parquet_schema(), [0]);
            keys(builder.with_projection(key).build()?)
        });
        read.unwrap_or(0)
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

    /// The columns that hold something in these row groups, the key first. One that holds nothing is as good as not there,
    /// and to unpack it costs as much as another: of the events of a simple loop it is two columns in three.
    fn filled_columns(&self, groups: &[usize]) -> Vec<usize> {
        let described: Vec<&RowGroupMetaData> =
            groups.iter().filter_map(|group| self.metadata.metadata().row_groups().get(*group)).collect();
        let is_empty = |column: usize| {
            described.iter().all(|group| {
                let nothing =
                    group.columns().get(column).and_then(|column| column.statistics()?.null_count_opt());
                nothing.is_some_and(|nothing| i64::try_from(nothing) == Ok(group.num_rows()))
            })
        };
        let columns = described.first().map_or(0, |group| group.num_columns());
        (0..columns).filter(|column| *column == 0 || !is_empty(*column)).collect()
    }

    /// The rows from the first row group on that may hold a key of at least `from`.
    pub(crate) fn batches(&self, from: i64) -> Result<Batches, RecordError> {
        let (groups, damage) = self.groups(from);
        let rows: usize = groups.iter().map(|group| self.rows_of(*group)).sum();
        let skipped = groups.first().map_or(0, |group| self.rows_before(*group, from)).min(rows);
        let reader = guarded(&self.name, || {
            let builder = self.builder();
            let filled = ProjectionMask::leaves(builder.parquet_schema(), self.filled_columns(&groups));
            let mut builder = builder.with_row_groups(groups).with_projection(filled);
            if skipped > 0 {
                let parts = [RowSelector::skip(skipped), RowSelector::select(rows - skipped)];
                builder = builder.with_row_selection(RowSelection::from(parts.to_vec()));
            }
            builder.build()
        })?;
        Ok(self.decoded(reader, damage))
    }

    /// What a reader decodes, and then what ends the file early.
    pub(crate) fn decoded(
        &self,
        mut reader: ParquetRecordBatchReader,
        mut damage: Option<Damage>,
    ) -> Batches {
        let (table, name) = (self.table, self.name.clone());
        let mut ended = false;
        Box::new(std::iter::from_fn(move || {
            if ended {
                return None;
            }
            let next = guarded(&name, || reader.next().transpose().map_err(Into::into));
            let item = match next {
                Ok(Some(batch)) => Batch::new(table, &batch, &name),
                Ok(None) => Err(RecordError::Damaged(damage.take()?)),
                Err(error) => Err(error),
            };
            ended = item.is_err();
            Some(item)
        }))
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

fn touches(group: &RowGroupMetaData, bad: &Range<u64>) -> bool {
    group.columns().iter().any(|column| {
        // Offsets that make no sense are an error of decoding later.
        let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset()).max(0) as u64;
        let end = start.saturating_add(column.compressed_size().max(0) as u64);
        start < bad.end && bad.start < end
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal;
    use crate::table::{ALL, EVENTS};
    use std::fs;

    /// Checks that a forged file, whose checksums are right, is an error or rows, and never a panic or a hang.
    #[test]
    fn forged_files_are_refused_or_read() {
        let folder = tempfile::tempdir().unwrap();
        crate::tail::tests::write(&seal::tail(folder.path(), 1));
        seal::seal(folder.path(), 1, &seal::Sealing::default()).unwrap();
        let store = Store::Folder(folder.path().to_owned());
        let path = seal::segment(folder.path(), 1);
        let sealed = Segment::open(&store, 1).unwrap().seal;
        assert_eq!((sealed.first, sealed.last, sealed.tables.len()), (Some(5), Some(24), 2));
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        let (mut good, mut bad) = (0, 0);
        for table in ALL.into_iter().filter(|table| sealed.tables.contains_key(table.name)) {
            let file = path.join(format!("{}.parquet", table.name));
            let whole = fs::read(&file).unwrap();
            for _ in 0..4000 {
                let mut bytes = whole.clone();
                for _ in 0..=random % 3 {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let at = (random >> 8) as usize % bytes.len();
                    bytes[at] ^= 1 << (random >> 60 & 7);
                }
                fs::write(&file, &bytes).unwrap();
                let mut forged = sealed.clone();
                let crcs = bytes.chunks(BLOCK).map(crc32fast::hash).collect();
                forged.tables.get_mut(table.name).unwrap().blocks = crcs;
                forged.tables.get_mut(table.name).unwrap().parts.clear();
                let segment = Segment { store: store.clone(), name: "seg-000001".to_owned(), seal: forged };
                let batches = segment.table(table).and_then(|t| t.unwrap().batches(i64::MIN));
                match batches {
                    Ok(batches) => batches.for_each(|batch| match batch {
                        Ok(batch) => good += (0..batch.len()).filter_map(|row| batch.row(row).get(0)).count(),
                        Err(_) => bad += 1,
                    }),
                    Err(_) => bad += 1,
                }
            }
            fs::write(&file, &whole).unwrap();
        }
        assert!(good > 0 && bad > 0, "{good} {bad}");
        assert!(Segment::open(&store, 1).unwrap().table(&EVENTS).unwrap().is_some());
    }

    /// Checks that a column without a value is not unpacked and reads as nothing, and that one with some values is whole.
    #[test]
    fn columns_that_hold_nothing_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        crate::tail::tests::write(&seal::tail(folder.path(), 1));
        seal::seal(folder.path(), 1, &seal::Sealing::default()).unwrap();
        let segment = Segment::open(&Store::Folder(folder.path().to_owned()), 1).unwrap();
        let file = segment.table(&EVENTS).unwrap().unwrap();
        let column = |name| EVENTS.column(name).unwrap();
        let filled = ["seq", "entered", "took", "task", "mm", "op"].map(column);
        assert_eq!(file.filled_columns(&[0]), filled);
        let batches: Vec<Batch> = file.batches(i64::MIN).unwrap().map(Result::unwrap).collect();
        let rows = batches.iter().flat_map(|batch| (0..batch.len()).map(|row| batch.row(row)));
        let read = rows.map(|row| (row.get(0), row.word(column("op")), row.get(column("fd"))));
        assert!(read.eq((5..25).map(|seq| (Some(seq), Some("brk"), None))));
    }
}
