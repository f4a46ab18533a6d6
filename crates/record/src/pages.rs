//! The pages of a row group on their way to the decoder.
//!
//! Parquet's own way to them makes a compressor and a decompressor for each column: of a seek among 10,000 VMAs that was an
//! eighth. Here one decompressor serves all that a thread reads.

use crate::thrift::Walk;
use crate::unpacked::{DICTIONARY, Header, header};
use bytes::Bytes;
use parquet::basic::{Compression, Encoding};
use parquet::column::page::{Page, PageIterator, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use zstd::bulk::Decompressor;

/// PageType::DATA_PAGE and DATA_PAGE_V2.
const DATA: u64 = 0;
const DATA_2: u64 = 3;

thread_local! {
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// The pages of one column of one row group, whose headers were looked at by [`fits`](crate::unpacked::fits).
pub(crate) struct Pages {
    column: Bytes,
    is_packed: bool,
    /// Those whose headers were read, and where the one after them begins.
    seen: VecDeque<Seen>,
    at: usize,
}

/// A page that is still to come.
struct Seen {
    header: Header,
    packed: Bytes,
    /// Where somebody has unpacked it ahead.
    page: Option<Page>,
}

/// So many headers are read ahead at most: an enemy's pages may be empty.
const MOST_SEEN: usize = 64;

fn wrong<T>(what: &str) -> Result<T> {
    Err(ParquetError::General(what.to_owned()))
}

impl Pages {
    /// Those in the bytes of a column.
    pub(crate) fn new(column: Bytes, compression: Compression) -> Result<Pages> {
        let is_packed = match compression {
            Compression::UNCOMPRESSED => false,
            Compression::ZSTD(_) => true,
            _ => return wrong("packed in another way than any table"),
        };
        Ok(Pages { column, is_packed, seen: VecDeque::new(), at: 0 })
    }

    /// Reads one more header; whether there was one.
    fn see(&mut self) -> Result<bool> {
        let rest = self.column.get(self.at..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(false);
        }
        let mut walk = Walk(rest);
        let Some(header) = header(&mut walk) else { return wrong("a page is not described as pages are") };
        let start = self.column.len() - walk.0.len();
        let end = usize::try_from(header.packed).ok().and_then(|length| start.checked_add(length));
        let Some(end) = end.filter(|end| *end <= self.column.len()) else {
            return wrong("a page ends behind its column");
        };
        self.at = end;
        self.seen.push_back(Seen { header, packed: self.column.slice(start..end), page: None });
        Ok(true)
    }

    /// Whether the headers of all were read.
    pub(crate) fn is_ending(&self) -> bool {
        self.at >= self.column.len()
    }

    /// Unpacks one page of those that are needed first where so many rows are left out; whether there was one. What is
    /// wrong with it is told to whoever reads it.
    pub(crate) fn prepare(&mut self, mut left_out: u64) -> bool {
        for index in 0..MOST_SEEN {
            if index == self.seen.len() && !self.see().unwrap_or(false) {
                return false;
            }
            let Some(Seen { header, packed, page }) = self.seen.get(index) else { return false };
            let is_dictionary = header.kind == DICTIONARY;
            if page.is_some() && !is_dictionary {
                return false;
            }
            if page.is_some() {
                continue;
            }
            if !is_dictionary && header.values <= left_out {
                left_out -= header.values;
                continue;
            }
            let Ok(page) = self.page(header, packed) else { return false };
            self.seen.iter_mut().skip(index).take(1).for_each(|seen| seen.page = Some(page.clone()));
            return true;
        }
        false
    }

    /// The page of a header, unpacked.
    fn page(&self, header: &Header, packed: &Bytes) -> Result<Page> {
        if header.crc.is_some_and(|crc| crc32fast::hash(packed) != crc) {
            return wrong("the checksum of a page is another one");
        }
        let number = |field: usize| match header.numbers.get(field).copied().flatten() {
            Some(number) => Ok(u32::try_from(number)?),
            None => wrong("a page is not described as pages are"),
        };
        let (num_values, encoding) = (u32::try_from(header.values)?, encoding(header.encoding)?);
        let unpack =
            |levels| if self.is_packed { unpacked(header, packed, levels) } else { Ok(packed.clone()) };
        Ok(match (header.kind, header.field) {
            (DICTIONARY, 7) => {
                Page::DictionaryPage { buf: unpack(0)?, num_values, encoding, is_sorted: false }
            }
            (DATA, 5) => Page::DataPage {
                buf: unpack(0)?,
                num_values,
                encoding,
                def_level_encoding: self::encoding(number(3)?.into())?,
                rep_level_encoding: self::encoding(number(4)?.into())?,
                statistics: None,
            },
            (DATA_2, 8) => {
                let (num_nulls, num_rows) = (number(2)?, number(3)?);
                let (def_levels_byte_len, rep_levels_byte_len) = (number(5)?, number(6)?);
                let levels = u64::from(def_levels_byte_len) + u64::from(rep_levels_byte_len);
                let buf = if header.is_plain { packed.clone() } else { unpack(levels)? };
                if levels > header.unpacked.min(buf.len() as u64) {
                    return wrong("a page has more levels than bytes");
                }
                let (is_compressed, statistics) = (!header.is_plain, None);
                Page::DataPageV2 {
                    buf,
                    num_values,
                    encoding,
                    num_nulls,
                    num_rows,
                    def_levels_byte_len,
                    rep_levels_byte_len,
                    is_compressed,
                    statistics,
                }
            }
            _ => return wrong("a page is of another kind than it says"),
        })
    }
}

/// What the bytes of a page become; the first `levels` of them are not packed.
fn unpacked(header: &Header, packed: &Bytes, levels: u64) -> Result<Bytes> {
    let (length, levels) = (usize::try_from(header.unpacked)?, usize::try_from(levels)?);
    let (Some(plain), true) = (packed.get(..levels), levels <= length) else {
        return wrong("a page has more levels than bytes");
    };
    let mut values = Vec::new();
    if length > levels {
        values.reserve_exact(length - levels);
        DECOMPRESSOR.with_borrow_mut(|decompressor| {
            let decompressor = match decompressor {
                Some(decompressor) => decompressor,
                None => decompressor.insert(Decompressor::new()?),
            };
            decompressor.decompress_to_buffer(packed.get(levels..).unwrap_or_default(), &mut values)
        })?;
    }
    if values.len() != length - levels {
        return wrong("a page unpacks to another length than it says");
    }
    if !plain.is_empty() {
        values.splice(..0, plain.iter().copied());
    }
    Ok(values.into())
}

fn encoding(number: u64) -> Result<Encoding> {
    Ok(match number {
        0 => Encoding::PLAIN,
        2 => Encoding::PLAIN_DICTIONARY,
        3 => Encoding::RLE,
        5 => Encoding::DELTA_BINARY_PACKED,
        6 => Encoding::DELTA_LENGTH_BYTE_ARRAY,
        7 => Encoding::DELTA_BYTE_ARRAY,
        8 => Encoding::RLE_DICTIONARY,
        9 => Encoding::BYTE_STREAM_SPLIT,
        _ => return wrong("a page is encoded in another way than any"),
    })
}

/// The pages of a column, as the decoder takes them; somebody else prepares them.
#[derive(Clone)]
pub(crate) struct Column(Arc<Mutex<Pages>>);

impl Column {
    pub(crate) fn new(pages: Pages) -> Column {
        Column(Arc::new(Mutex::new(pages)))
    }

    pub(crate) fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PageReader for Column {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let mut pages = self.pages();
        if pages.seen.is_empty() && !pages.see()? {
            return Ok(None);
        }
        let Some(Seen { header, packed, page }) = pages.seen.pop_front() else { return Ok(None) };
        page.map_or_else(|| pages.page(&header, &packed), Ok).map(Some)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        let mut pages = self.pages();
        if pages.seen.is_empty() && !pages.see()? {
            return Ok(None);
        }
        let Some(Seen { header, .. }) = pages.seen.front() else { return Ok(None) };
        let is_dict = header.kind == DICTIONARY;
        let values = usize::try_from(header.values)?;
        let rows = header.numbers.get(3).copied().flatten().filter(|_| header.kind == DATA_2);
        let num_rows = rows.map(usize::try_from).transpose()?;
        Ok(Some(PageMetadata { num_rows, num_levels: (!is_dict).then_some(values), is_dict }))
    }

    fn skip_next_page(&mut self) -> Result<()> {
        let mut pages = self.pages();
        if !pages.seen.is_empty() || pages.see()? {
            pages.seen.pop_front();
        }
        Ok(())
    }
}

impl Iterator for Column {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Result<Page>> {
        self.get_next_page().transpose()
    }
}

/// A column of one row group, as the decoder asks for it.
pub(crate) struct OfGroup(pub(crate) Option<Column>);

impl Iterator for OfGroup {
    type Item = Result<Box<dyn PageReader>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.take().map(|column| Ok(Box::new(column) as Box<dyn PageReader>))
    }
}

impl PageIterator for OfGroup {}

#[cfg(test)]
mod tests {
    use super::*;

    /// The header of a page of version 1 in the compact protocol, and its bytes: all numbers below 64.
    fn page(values: u8, unpacked: u8, packed: &[u8]) -> Vec<u8> {
        let mut out = vec![0x15, 0, 0x15, unpacked * 2, 0x15, packed.len() as u8 * 2];
        out.extend_from_slice(&[0x2c, 0x15, values * 2, 0x15, 0, 0x15, 6, 0x15, 6, 0, 0]);
        out.extend_from_slice(packed);
        out
    }

    fn pages(bytes: &[u8], compression: Compression) -> Pages {
        Pages::new(Bytes::copy_from_slice(bytes), compression).unwrap()
    }

    fn content(column: &mut Column) -> Option<Vec<u8>> {
        column.get_next_page().unwrap().map(|page| page.buffer().to_vec())
    }

    /// Checks that pages come in their order, whichever were prepared, and that only those are prepared that are wanted.
    #[test]
    fn prepared_pages_come_in_their_order() {
        let three = [page(2, 1, b"a"), page(3, 1, b"b"), page(4, 1, b"c")].concat();
        for left_out in [0, 1, 2, 4, 5, 8, 9] {
            let mut column = Column::new(pages(&three, Compression::UNCOMPRESSED));
            assert_eq!(column.pages().prepare(left_out), left_out < 9);
            assert!(!column.pages().prepare(left_out));
            let prepared: Vec<bool> = column.pages().seen.iter().map(|seen| seen.page.is_some()).collect();
            let at = [2, 5, 9].iter().position(|end| left_out < *end);
            assert_eq!(prepared.iter().position(|is| *is), at);
            assert_eq!(column.peek_next_page().unwrap().unwrap().num_levels, Some(2));
            column.skip_next_page().unwrap();
            assert_eq!([content(&mut column), content(&mut column)].map(Option::unwrap), [b"b", b"c"]);
            assert!(column.pages().is_ending() && content(&mut column).is_none());
        }
    }

    /// Checks that a page that unpacks to more or less than it says is refused, before or when it is read, and not when
    /// somebody prepares it.
    #[test]
    fn pages_of_another_length_are_refused() {
        let packed = zstd::bulk::compress(b"12345678", 3).unwrap();
        let zstd = Compression::ZSTD(Default::default());
        let mut column = Column::new(pages(&page(1, 8, &packed), zstd));
        assert_eq!(content(&mut column).unwrap(), b"12345678");
        for length in [7, 9] {
            let mut column = Column::new(pages(&page(1, length, &packed), zstd));
            assert!(!column.pages().prepare(0));
            assert!(column.get_next_page().is_err(), "{length}");
        }
        // Cut, and packed in another way.
        let whole = page(1, 8, &packed);
        assert!(Column::new(pages(&whole[..whole.len() - 1], zstd)).get_next_page().is_err());
        assert!(Pages::new(Bytes::new(), Compression::SNAPPY).is_err());
    }
}
