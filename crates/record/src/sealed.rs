//! Segments: Parquet files of which each block is checked before anything is decoded.

use crate::error::RecordError;
use crate::groups::Groups;
use crate::guard::{self, brief};
use crate::meta::{VERSION, is_known};
use crate::seal::{BLOCK, Seal, SealedTable};
use crate::store::Store;
use crate::table::Table;
use crate::thrift::is_flat;
use crate::unpacked;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::file::metadata::{ParquetMetaDataReader, RowGroupMetaData};
use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

/// No file of a segment is larger, nor a row group of it when it is unpacked.
pub(crate) const LARGEST: u64 = 512 << 20;
/// No file has more rows, in all its row groups.
const MOST_ROWS_OF_ALL: i64 = 1 << 26;
/// A sealed part of a recording.
#[derive(Debug)]
pub(crate) struct Segment {
    store: Store,
    name: String,
    pub(crate) seal: Seal,
}

/// What is known of a file of a segment, once all of it was read and checked; its row groups are read again when they are wanted.
#[derive(Debug)]
pub(crate) struct TableFile {
    pub(crate) table: &'static Table,
    pub(crate) name: String,
    pub(crate) groups: Arc<Groups>,
    pub(crate) metadata: ArrowReaderMetadata,
    /// From the first block that is not as it was written to the description of the file.
    pub(crate) bad: Option<Range<u64>>,
    /// The first row group whose pages the decoder must not see, and why.
    pub(crate) refused: Option<(usize, &'static str)>,
    /// What it takes in memory, nearly.
    pub(crate) size: usize,
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

    /// Reads a table and checks it; `None` where it has no rows.
    pub(crate) fn table(&self, table: &'static Table) -> Result<Option<Arc<TableFile>>, RecordError> {
        let Some(sealed) = self.seal.tables.get(table.name) else { return Ok(None) };
        let name = format!("{}/{}.parquet", self.name, table.name);
        READ.with_borrow_mut(|bytes| {
            bytes.clear();
            match self.store.read_into(&name, LARGEST, bytes) {
                Err(RecordError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                    return Err(RecordError::damaged(&name, None, "is missing"));
                }
                read => read?,
            }
            let file = self.described(table, name, bytes, sealed);
            // What most tables are smaller than: memory that is there already costs less than a megabyte's checksum.
            bytes.shrink_to(4 << 20);
            file.map(|file| Some(Arc::new(file)))
        })
    }

    fn described(
        &self,
        table: &'static Table,
        name: String,
        bytes: &[u8],
        sealed: &SealedTable,
    ) -> Result<TableFile, RecordError> {
        let bad = bad_part(bytes, sealed)
            .map_err(|at| RecordError::damaged(&name, at, "is not as it was written"))?;
        let description = is_flat(bytes).then(|| description(bytes)).flatten();
        let Some(description) = description else {
            return Err(RecordError::damaged(&name, None, "is not described as a table is"));
        };
        let metadata = guarded(&name, || {
            let metadata = ParquetMetaDataReader::decode_metadata(description)?;
            let options = ArrowReaderOptions::new().with_skip_arrow_metadata(false);
            ArrowReaderMetadata::try_new(Arc::new(metadata), options)
        })?;
        let described = metadata.metadata().row_groups();
        let refused = first_refused(bytes, described, bad.as_ref());
        let (groups, overlap) = Groups::new(&self.store, &name, bytes, described);
        let overlap = overlap.map(|first| (first, "a row group has bytes of another"));
        let refused = refused.into_iter().chain(overlap).min_by_key(|(first, _)| *first);
        let size = size_of::<TableFile>() + groups.size() + metadata.metadata().memory_size();
        Ok(TableFile { table, name, groups: Arc::new(groups), metadata, bad, refused, size })
    }
}

thread_local! {
    /// A file while it is checked.
    static READ: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The description at the end of a file.
fn description(file: &[u8]) -> Option<&[u8]> {
    let [rest @ .., a, b, c, d, _, _, _, _] = file else { return None };
    let start = rest.len().checked_sub(u32::from_le_bytes([*a, *b, *c, *d]) as usize)?;
    rest.get(start..)
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

pub(crate) fn touches(group: &RowGroupMetaData, bad: &Range<u64>) -> bool {
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
                let batches = segment.table(table).map(|t| t.unwrap().batches(i64::MIN));
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
}
