//! The row groups of a file, each read when it is wanted and checked again.

use crate::error::RecordError;
use crate::pages::{Column, OfGroup, Pages};
use crate::store::Store;
use bytes::{Buf, Bytes};
use parquet::arrow::arrow_reader::RowGroups;
use parquet::column::page::PageIterator;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::{ChunkReader, Length};
use std::cell::RefCell;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// Where the row groups of a file are, and their checksums when all of the file was checked.
#[derive(Debug)]
pub(crate) struct Groups {
    store: Store,
    name: String,
    length: u64,
    places: Vec<(Range<u64>, u32)>,
}

/// Where the pages of a column are.
fn place(column: &ColumnChunkMetaData) -> Option<Range<u64>> {
    let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
    let start = u64::try_from(start).ok()?;
    Some(start..start.checked_add(u64::try_from(column.compressed_size()).ok()?)?)
}

/// Where a row group is.
fn place_of(group: &RowGroupMetaData) -> Option<Range<u64>> {
    let places: Option<Vec<Range<u64>>> = group.columns().iter().map(place).collect();
    places?.into_iter().reduce(|all, one| all.start.min(one.start)..all.end.max(one.end))
}

impl Groups {
    /// Those of a file that was read; and the first that is not behind the one before it, if there is such a one: it and
    /// what follows must not be read.
    pub(crate) fn new(
        store: &Store,
        name: &str,
        file: &[u8],
        described: &[RowGroupMetaData],
    ) -> (Groups, Option<usize>) {
        let (mut places, mut end): (Vec<(Range<u64>, u32)>, _) = (Vec::new(), 0);
        for group in described {
            let bytes = |place: &Range<u64>| {
                file.get(usize::try_from(place.start).ok()?..usize::try_from(place.end).ok()?)
            };
            let place = place_of(group).filter(|place| place.start >= end);
            let Some((place, bytes)) = place.and_then(|place| Some((place.clone(), bytes(&place)?))) else {
                break;
            };
            end = place.end;
            places.push((place, crc32fast::hash(bytes)));
        }
        let odd = (places.len() < described.len()).then_some(places.len());
        (Groups { store: store.clone(), name: name.to_owned(), length: file.len() as u64, places }, odd)
    }

    /// What it takes in memory, nearly.
    pub(crate) fn size(&self) -> usize {
        size_of::<Groups>() + self.name.len() + self.places.capacity() * size_of::<(Range<u64>, u32)>()
    }

    /// Where a row group begins.
    pub(crate) fn start(&self, group: usize) -> u64 {
        self.places.get(group).map_or(0, |(place, _)| place.start)
    }
}

/// The row groups of a file; the last one that was read is kept.
#[derive(Clone)]
pub(crate) struct Source {
    groups: Arc<Groups>,
    last: Arc<Mutex<Option<(usize, Bytes)>>>,
}

impl Source {
    pub(crate) fn new(groups: Arc<Groups>) -> Source {
        Source { groups, last: Arc::default() }
    }

    /// The bytes of a row group.
    pub(crate) fn group(&self, group: usize) -> std::result::Result<Bytes, RecordError> {
        let Groups { store, name, places, .. } = &*self.groups;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, bytes)) = last.as_ref().filter(|(number, _)| *number == group) {
            return Ok(bytes.clone());
        }
        let damaged = |at| RecordError::damaged(name, at, "is not as it was written");
        let (place, crc) = places.get(group).ok_or_else(|| damaged(None))?;
        let bytes = Bytes::from(store.read_part(name, place.clone())?);
        // It was right when all of the file was checked.
        if crc32fast::hash(&bytes) != *crc {
            return Err(damaged(Some(place.start)));
        }
        *last = Some((group, bytes.clone()));
        Ok(bytes)
    }

    /// What follows a place of the file, to the end of its row group.
    fn from(&self, start: u64) -> Result<Bytes> {
        let places = &self.groups.places;
        let group = places.partition_point(|(place, _)| place.end <= start);
        let bytes = self.group(group).map_err(|error| ParquetError::External(error.into()))?;
        let skipped = usize::try_from(start.wrapping_sub(self.groups.start(group)))?;
        if skipped > bytes.len() {
            return Err(ParquetError::EOF("no row group is there".to_owned()));
        }
        Ok(bytes.slice(skipped..))
    }
}

impl Length for Source {
    fn len(&self) -> u64 {
        self.groups.length
    }
}

impl ChunkReader for Source {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        Ok(self.from(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let bytes = self.from(start)?;
        if length > bytes.len() {
            return Err(ParquetError::EOF("a row group ends before".to_owned()));
        }
        Ok(bytes.slice(..length))
    }
}

/// A row group whose bytes are there, as the decoder asks for it.
pub(crate) struct OneGroup<'a> {
    metadata: &'a ParquetMetaData,
    group: &'a RowGroupMetaData,
    bytes: Bytes,
    start: u64,
    /// The columns that were asked for.
    columns: RefCell<Vec<Column>>,
}

impl<'a> OneGroup<'a> {
    /// The bytes begin at `start` in the file.
    pub(crate) fn new(
        metadata: &'a ParquetMetaData,
        group: usize,
        bytes: Bytes,
        start: u64,
    ) -> Result<OneGroup<'a>> {
        let group = metadata.row_groups().get(group);
        let group = group.ok_or_else(|| ParquetError::General("no such row group".to_owned()))?;
        Ok(OneGroup { metadata, group, bytes, start, columns: RefCell::default() })
    }

    /// The columns that were asked for, to be prepared.
    pub(crate) fn into_columns(self) -> Vec<Column> {
        self.columns.into_inner()
    }

    fn pages(&self, column: usize) -> Option<Result<Pages>> {
        let column = self.group.columns().get(column)?;
        let place = place(column)?;
        let start = usize::try_from(place.start.checked_sub(self.start)?).ok()?;
        let end = usize::try_from(place.end.checked_sub(self.start)?).ok()?;
        let is_there = start <= end && end <= self.bytes.len();
        is_there.then(|| Pages::new(self.bytes.slice(start..end), column.compression()))
    }
}

impl RowGroups for OneGroup<'_> {
    fn num_rows(&self) -> usize {
        usize::try_from(self.group.num_rows()).unwrap_or(0)
    }

    fn column_chunks(&self, column: usize) -> Result<Box<dyn PageIterator>> {
        let pages = self.pages(column);
        let pages = pages.ok_or_else(|| ParquetError::General("no such column".to_owned()))??;
        let column = Column::new(pages);
        self.columns.borrow_mut().push(column.clone());
        Ok(Box::new(OfGroup(Some(column))))
    }

    fn row_groups(&self) -> Box<dyn Iterator<Item = &RowGroupMetaData> + '_> {
        Box::new(std::iter::once(self.group))
    }

    fn metadata(&self) -> &ParquetMetaData {
        self.metadata
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal;
    use crate::sealed::Segment;
    use crate::table::EVENTS;
    use std::fs;

    /// Checks that a row group that is another one than when all of the file was checked is not decoded.
    #[test]
    fn a_row_group_is_checked_each_time() {
        let folder = tempfile::tempdir().unwrap();
        crate::tail::tests::write(&seal::tail(folder.path(), 1));
        seal::seal(folder.path(), 1, &seal::Sealing::default()).unwrap();
        let segment = Segment::open(&Store::Folder(folder.path().to_owned()), 1).unwrap();
        let file = segment.table(&EVENTS).unwrap().unwrap();
        assert_eq!(file.batches(i64::MIN).map(|batch| batch.unwrap().len()).sum::<usize>(), 20);
        let path = seal::segment(folder.path(), 1).join("events.parquet");
        let mut bytes = fs::read(&path).unwrap();
        bytes[9] ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert!(matches!(file.source().group(0), Err(RecordError::Damaged(_))));
        assert!(file.batches(i64::MIN).next().unwrap().is_err());
        fs::write(&path, &bytes[..9]).unwrap();
        assert!(matches!(file.source().group(0), Err(RecordError::Io { .. })));
    }

    /// Checks that row groups that have bytes in common are refused from the second one on: each of many could be the file.
    #[test]
    fn row_groups_that_overlap_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        crate::tail::tests::write(&seal::tail(folder.path(), 1));
        seal::seal(folder.path(), 1, &seal::Sealing::default()).unwrap();
        let store = Store::Folder(folder.path().to_owned());
        let file = Segment::open(&store, 1).unwrap().table(&EVENTS).unwrap().unwrap();
        let bytes = fs::read(seal::segment(folder.path(), 1).join("events.parquet")).unwrap();
        let one = file.metadata.metadata().row_group(0).clone();
        let (groups, odd) = Groups::new(&store, "x", &bytes, std::slice::from_ref(&one));
        assert_eq!((groups.places.len(), odd), (1, None));
        let (groups, odd) = Groups::new(&store, "x", &bytes, &[one.clone(), one.clone()]);
        assert_eq!((groups.places.len(), odd), (1, Some(1)));
        // One that ends behind the file.
        let (groups, odd) = Groups::new(&store, "x", &bytes[..20], &[one]);
        assert_eq!((groups.places.len(), odd), (0, Some(0)));
    }
}
