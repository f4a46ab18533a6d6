//! How much the pages of a row group unpack to, told by their headers before the decoder makes room for it.
//!
//! What the description at the end of a file says of that is a claim. A few KB unpack to what the header of a page says, 2 GiB
//! perhaps, in every column at the same time; one long value of a dictionary may stand in each row of a batch; and a few bytes
//! may be a milliard of equal rows.

use crate::sealed::LARGEST;
use crate::thrift::{FALSE, I32, STRUCT, TRUE, Walk};
use parquet::basic::Type;
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};

/// The dictionaries of words and bytes of a row group are not larger, all together: some hundred bytes are usual.
const DICTIONARIES: u64 = 256 << 10;

/// PageType::DICTIONARY_PAGE.
pub(crate) const DICTIONARY: u64 = 2;
/// PLAIN, PLAIN_DICTIONARY and RLE_DICTIONARY: with others a value may begin as the one before, however long that is.
const ENCODINGS_OF_BYTES: [u64; 3] = [0, 2, 8];

/// Whether the pages of a row group unpack to as much as the decoder may have, or why it must not see them.
pub(crate) fn fits(file: &[u8], group: &RowGroupMetaData) -> Result<(), &'static str> {
    const TOO_LARGE: &str = "a row group is too large";
    const NO_PAGE: &str = "a page is not described as pages are";
    const OTHER_ROWS: &str = "a column has other rows than its row group";
    let (mut unpacked, mut dictionaries) = (0_u64, 0_u64);
    for column in group.columns() {
        let is_of_bytes = matches!(column.column_type(), Type::BYTE_ARRAY | Type::FIXED_LEN_BYTE_ARRAY);
        let mut values = 0;
        let mut walk = Walk(chunk(file, column).ok_or(NO_PAGE)?);
        while !walk.0.is_empty() {
            let page = header(&mut walk).ok_or(NO_PAGE)?;
            walk.advance(page.packed).ok_or(NO_PAGE)?;
            let is_dictionary = page.kind == DICTIONARY;
            // The decoder makes room for as many values as a dictionary says it has.
            if is_dictionary && page.values > page.unpacked / shortest(column.column_type()) {
                return Err(NO_PAGE);
            }
            unpacked = unpacked.saturating_add(page.unpacked);
            values += if is_dictionary { 0 } else { page.values };
            if is_of_bytes {
                if !ENCODINGS_OF_BYTES.contains(&page.encoding) {
                    return Err(NO_PAGE);
                }
                dictionaries += if is_dictionary { page.unpacked } else { 0 };
            }
            if unpacked > LARGEST || dictionaries > DICTIONARIES {
                return Err(TOO_LARGE);
            }
        }
        // No value stands in another: there is one for each row, what is missing counted.
        if i64::try_from(values) != Ok(group.num_rows()) {
            return Err(OTHER_ROWS);
        }
    }
    Ok(())
}

/// How many bytes a value of a dictionary takes at least.
fn shortest(kind: Type) -> u64 {
    match kind {
        Type::INT64 | Type::DOUBLE | Type::INT96 => 8,
        // Bytes have their length before them.
        Type::INT32 | Type::FLOAT | Type::BYTE_ARRAY => 4,
        Type::BOOLEAN | Type::FIXED_LEN_BYTE_ARRAY => 1,
    }
}

/// The pages of a column, one after the other.
fn chunk<'a>(file: &'a [u8], column: &ColumnChunkMetaData) -> Option<&'a [u8]> {
    let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
    let start = usize::try_from(start).ok()?;
    file.get(start..)?.get(..usize::try_from(column.compressed_size()).ok()?)
}

/// What the header of a page says.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) kind: u64,
    /// How many bytes follow, and how many they become.
    pub(crate) packed: u64,
    pub(crate) unpacked: u64,
    pub(crate) crc: Option<u32>,
    pub(crate) values: u64,
    pub(crate) encoding: u64,
    /// The field that is there of those for each kind of pages, and the numbers in it by their fields.
    pub(crate) field: i16,
    pub(crate) numbers: [Option<u64>; NUMBERS],
    /// Whether it says that it is not packed, which only pages of version 2 do.
    pub(crate) is_plain: bool,
}

/// Fields of what is said of one kind of pages, and one more.
const NUMBERS: usize = 8;

/// Walks over the header of a page. Whatever two readers might read differently is refused.
pub(crate) fn header(walk: &mut Walk<'_>) -> Option<Header> {
    let (mut kind, mut unpacked, mut packed, mut crc, mut of_kind) = (None, None, None, None, None);
    walk.fields(&mut |walk, id, field| {
        match (id, field) {
            (1, I32) => kind = Some(walk.natural()?),
            (2, I32) => unpacked = Some(walk.natural()?),
            (3, I32) => packed = Some(walk.natural()?),
            (4, I32) => {
                let number = walk.number()?;
                crc = Some((number >> 1) as u32 ^ (number & 1).wrapping_neg() as u32);
            }
            // A data page, a dictionary, a data page of version 2.
            (5 | 7, STRUCT) if of_kind.is_none() => of_kind = Some((id, of_one_kind(walk, 2)?)),
            (8, STRUCT) if of_kind.is_none() => of_kind = Some((id, of_one_kind(walk, 4)?)),
            _ => return None,
        }
        Some(())
    })?;
    let (field, OfKind { values, encoding, numbers, is_plain }) = of_kind?;
    let (kind, packed, unpacked) = (kind?, packed?, unpacked?);
    Some(Header { kind, packed, unpacked, crc, values, encoding, field, numbers, is_plain })
}

struct OfKind {
    values: u64,
    encoding: u64,
    numbers: [Option<u64>; NUMBERS],
    is_plain: bool,
}

/// What is said of one kind of pages: how many values there are, their encoding, which is the field `encoding_at`, and the rest.
fn of_one_kind(walk: &mut Walk<'_>, encoding_at: i16) -> Option<OfKind> {
    // Statistics are the deepest: a structure of plain values.
    const DEEPEST: u8 = 2;
    // Of version 2: whether it is packed.
    const PACKED: i16 = 7;
    let (mut values, mut encoding, mut is_plain) = (None, None, false);
    let mut numbers = [None; NUMBERS];
    walk.fields(&mut |walk, id, field| {
        match (id, field) {
            (1, I32) => values = Some(walk.natural()?),
            (id, I32) if id == encoding_at => encoding = Some(walk.natural()?),
            (id, _) if id == 1 || id == encoding_at => return None,
            (id, I32) => {
                let number = walk.natural()?;
                if let Some(place) = usize::try_from(id).ok().and_then(|id| numbers.get_mut(id)) {
                    *place = Some(number);
                }
            }
            (PACKED, TRUE | FALSE) => is_plain = field == FALSE,
            _ => walk.skip(field, DEEPEST)?,
        }
        Some(())
    })?;
    Some(OfKind { values: values?, encoding: encoding?, numbers, is_plain })
}

#[cfg(test)]
mod tests {
    use super::*;
    use parquet::basic::Repetition;
    use parquet::schema::types::{SchemaDescriptor, Type as Described};
    use std::sync::Arc;

    /// A number as the compact protocol has it.
    fn number(mut n: u64, out: &mut Vec<u8>) {
        while n > 127 {
            out.push(n as u8 | 128);
            n >>= 7;
        }
        out.push(n as u8);
    }

    /// A page of three bytes that says it unpacks to `unpacked`.
    fn page_of(kind: u64, unpacked: u64, encoding: u64) -> Vec<u8> {
        let mut out = Vec::new();
        for value in [kind, unpacked, 3] {
            out.push(0x15);
            number(value * 2, &mut out);
        }
        // Of a dictionary, or of a data page: one value, its encoding, and no levels.
        out.extend_from_slice(if kind == DICTIONARY { &[0x4c] } else { &[0x2c] });
        out.extend_from_slice(&[0x15, 2, 0x15, (encoding * 2) as u8, 0x15, 6, 0x15, 6, 0, 0]);
        out.extend_from_slice(b"xyz");
        out
    }

    /// What is said of a row group of two columns, whose pages are the same bytes.
    fn told(kind: Type, pages: &[u8], rows: i64) -> Result<(), &'static str> {
        let column = |name: &str| {
            let described = Described::primitive_type_builder(name, kind)
                .with_repetition(Repetition::REQUIRED)
                .with_length(1);
            Arc::new(described.build().unwrap())
        };
        let table = Described::group_type_builder("t").with_fields(vec![column("a"), column("b")]);
        let table = Arc::new(SchemaDescriptor::new(Arc::new(table.build().unwrap())));
        let columns = (0..2).map(|column| {
            let chunk = ColumnChunkMetaData::builder(table.column(column));
            chunk.set_data_page_offset(4).set_total_compressed_size(pages.len() as i64).build().unwrap()
        });
        let columns = columns.collect();
        let group =
            RowGroupMetaData::builder(Arc::clone(&table)).set_column_metadata(columns).set_num_rows(rows);
        fits(&[b"PAR1", pages].concat(), &group.build().unwrap())
    }

    /// Checks that what pages say they unpack to counts in each column, and is refused where it is more than any.
    #[test]
    fn a_row_group_that_unpacks_to_too_much_is_refused() {
        let pages = |unpacked| [page_of(0, 1, 0), page_of(0, unpacked, 0)].concat();
        assert_eq!(told(Type::INT64, &pages(LARGEST / 2 - 1), 2), Ok(()));
        assert_eq!(told(Type::INT64, &pages(LARGEST / 2), 2), Err("a row group is too large"));
        assert_eq!(told(Type::INT64, &pages(i32::MAX as u64), 2), Err("a row group is too large"));
    }

    /// Checks that a long word of a dictionary is refused, where a page may be as long; so are words that begin as those before.
    #[test]
    fn words_that_may_come_again_are_short() {
        let most = DICTIONARIES / 2;
        assert_eq!(told(Type::BYTE_ARRAY, &page_of(DICTIONARY, most, 0), 0), Ok(()));
        assert_eq!(
            told(Type::BYTE_ARRAY, &page_of(DICTIONARY, most + 1, 0), 0),
            Err("a row group is too large")
        );
        assert_eq!(told(Type::BYTE_ARRAY, &page_of(0, most + 1, 8), 1), Ok(()));
        assert_eq!(told(Type::INT64, &page_of(DICTIONARY, most + 1, 0), 0), Ok(()));
        // DELTA_BYTE_ARRAY.
        assert_eq!(told(Type::BYTE_ARRAY, &page_of(0, 9, 7), 1), Err("a page is not described as pages are"));
    }

    /// Checks that a dictionary cannot say that it has more values than bytes for them.
    #[test]
    fn a_dictionary_with_more_values_than_bytes_is_refused() {
        for (kind, bytes) in [(Type::INT64, 8), (Type::BYTE_ARRAY, 4), (Type::FIXED_LEN_BYTE_ARRAY, 1)] {
            // It says that it has one.
            assert_eq!(told(kind, &page_of(DICTIONARY, bytes, 0), 0), Ok(()));
            let told = told(kind, &page_of(DICTIONARY, bytes - 1, 0), 0);
            assert_eq!(told, Err("a page is not described as pages are"));
        }
    }

    /// Checks that a column has as many values as its row group has rows: a page can say that it has any number.
    #[test]
    fn a_column_with_other_rows_is_refused() {
        let pages = [page_of(DICTIONARY, 9, 0), page_of(0, 9, 0), page_of(0, 9, 0)].concat();
        assert_eq!(told(Type::INT64, &pages, 2), Ok(()));
        for rows in [-1, 0, 1, 3] {
            let told = told(Type::INT64, &pages, rows);
            assert_eq!(told, Err("a column has other rows than its row group"), "{rows}");
        }
    }

    /// Checks that what cannot be walked over is refused: a page that is cut, or ends behind its column, or says a thing twice.
    #[test]
    fn what_is_no_page_is_refused() {
        let whole = page_of(0, 9, 0);
        assert_eq!(told(Type::INT64, &whole, 1), Ok(()));
        assert!((1..whole.len()).all(|length| told(Type::INT64, &whole[..length], 1).is_err()));
        let mut twice = whole.clone();
        twice.splice(6..6, [0x2c, 0x15, 2, 0x15, 0, 0, 0x0c, 0x0a]);
        assert!(told(Type::INT64, &twice, 1).is_err());
        // A number that is not one of 32 bits, or below 0.
        for number in [[0x81_u8, 128, 128, 128, 16], [0x80, 128, 128, 128, 32]] {
            let mut odd = whole.clone();
            odd.splice(3..4, number);
            assert!(told(Type::INT64, &odd, 1).is_err());
        }
    }
}
