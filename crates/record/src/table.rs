//! The tables and their columns.

use arrow_schema::{DataType, Field, Schema};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;
use std::sync::Arc;

/// What a column holds, and how Parquet is to write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Whole numbers that grow or change little: the differences are written.
    Delta,
    /// Addresses and other numbers of which hardly any comes twice.
    Plain,
    /// Addresses that a program may well use again and again: those of a loop are few, those of a whole program are not.
    Again,
    /// Numbers of which there are few.
    Few,
    /// A word of a fixed list.
    Word,
    /// Bytes of any kind.
    Bytes,
}

/// A column.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
}

/// A table; its first column is what it is ordered by.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) id: u16,
    pub(crate) name: &'static str,
    pub(crate) columns: &'static [Column],
}

macro_rules! table {
    ($name:ident = $id:literal $text:literal: $($column:ident $kind:ident),+ $(,)?) => {
        pub(crate) const $name: Table = Table {
            id: $id,
            name: $text,
            columns: &[$(Column { name: stringify!($column), kind: Kind::$kind }),+],
        };
    };
}

table!(EVENTS = 1 "events":
    seq Delta, ended Delta, took Plain, task Few, mm Few, op Word, result Plain, errno Few, stack Few, source Word,
    detail Word, addr Again, len Few, prot Few, flags Few, fd Few, offset Plain, addr2 Plain, len2 Few,
    arg0 Plain, arg1 Plain, arg2 Plain, arg3 Plain, arg4 Plain, arg5 Plain,
    child Few, mm2 Few, status Few, signal Few, name Few, count Few);
table!(ROWS = 2 "rows":
    seq Delta, start Plain, end Plain, prot Few, shared Few, offset Plain, major Few, minor Few, inode Few, name Few);
table!(IN_FLIGHT = 3 "in_flight": seq Delta, task Few);
table!(NAMES = 4 "names": id Delta, bytes Bytes);
table!(TASKS = 5 "tasks": id Delta, pid Plain, tid Plain, started Plain);
table!(SPACES = 6 "spaces": mm Delta, parent Few, how Word, first_seq Delta, last_seq Delta);
table!(KEYFRAMES = 7 "keyframes": after Delta, at Delta, spaces Few, rows Few, parts Few);
table!(STATES = 8 "states": after Delta, mm Few, brk Plain, peak Plain, distrust Few, rows Few, parts Few);
table!(STATE_ROWS = 9 "state_rows":
    after Delta, start Plain, end Plain, prot Few, shared Few, offset Plain, major Few, minor Few, inode Few, name Few,
    mm Few);
table!(STATE_PARTS = 10 "state_parts": after Delta, mm Few, what Word, start Plain, end Plain, value Plain);
table!(LOOKS = 11 "looks":
    seq Delta, first Delta, mm Few, at Delta, took Plain, extent Word, method Word, rows Few, vmas Few, size Plain,
    resident Plain, anonymous Plain, swapped Few, swap_is_empty Few, late Few, hold Plain, cpu Delta);
table!(PAGES = 12 "pages":
    seq Delta, start Plain, end Plain, backing Word, resident Plain, anonymous Plain, swapped Few, huge Few,
    hugetlb Few, zero Few);

table!(MODULES = 13 "modules": id Delta, name Few, build_id Bytes, major Few, minor Few, inode Few);
table!(FRAMES = 14 "frames": id Delta, module Few, addr Plain, is_return Few);
table!(STACKS = 15 "stacks": id Delta, caller Delta, frame Plain, why Word, detail Word);
table!(SYMBOLS = 16 "symbols": frame Delta, depth Few, function Few, file Few, line Few);

/// Every table, in the order in which they are flushed: what is referred to comes first.
pub(crate) const ALL: [&Table; 16] = [
    &NAMES,
    &TASKS,
    &SPACES,
    &MODULES,
    &FRAMES,
    &STACKS,
    &SYMBOLS,
    &ROWS,
    &IN_FLIGHT,
    &EVENTS,
    &PAGES,
    &LOOKS,
    &STATE_ROWS,
    &STATE_PARTS,
    &STATES,
    &KEYFRAMES,
];

/// How many rows a row group has at most: each has statistics of its own.
pub(crate) const ROW_GROUP: usize = 32_768;

/// How many rows a page has at most: what must be unpacked to find one event.
const PAGE: usize = 8192;

/// The largest dictionary of [`Kind::Again`], in bytes: once a row group has more, the values stand as they are. Without a limit
/// it would hold each address of a large program once more.
const AGAIN: usize = 4096;

impl Table {
    pub(crate) fn by_id(id: u16) -> Option<&'static Table> {
        ALL.iter().copied().find(|table| table.id == id)
    }

    #[cfg(test)]
    pub(crate) fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// The Arrow schema of the whole table.
    pub(crate) fn schema(&self) -> Arc<Schema> {
        let fields: Vec<Field> =
            self.columns.iter().map(|c| Field::new(c.name, c.kind.data_type(), true)).collect();
        Arc::new(Schema::new(fields))
    }

    /// How Parquet is to write it.
    pub(crate) fn properties(&self) -> WriterProperties {
        let zstd = |level| Compression::ZSTD(ZstdLevel::try_new(level).unwrap_or_default());
        let mut properties = WriterProperties::builder()
            // Pages of version 2 leave the marks of missing values unpacked: a byte for each event.
            .set_writer_version(WriterVersion::PARQUET_1_0)
            .set_compression(zstd(3))
            .set_created_by("vmatlas".to_owned())
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_offset_index_disabled(true)
            .set_data_page_row_count_limit(PAGE)
            .set_max_row_group_row_count(Some(ROW_GROUP));
        // How long calls took is most of an event: level 7 takes a tenth less for it than level 3, and for all else only time.
        properties = properties.set_column_compression(ColumnPath::from("took"), zstd(7));
        for column in self.columns {
            let path = ColumnPath::from(column.name);
            properties = match column.kind {
                Kind::Delta => properties
                    .set_column_dictionary_enabled(path.clone(), false)
                    .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED),
                Kind::Plain => properties
                    .set_column_dictionary_enabled(path.clone(), false)
                    .set_column_encoding(path, Encoding::PLAIN),
                Kind::Again => properties
                    .set_column_dictionary_enabled(path.clone(), true)
                    .set_column_dictionary_page_size_limit(path, AGAIN),
                Kind::Few | Kind::Word => properties.set_column_dictionary_enabled(path, true),
                Kind::Bytes => properties
                    .set_column_dictionary_enabled(path.clone(), false)
                    .set_column_statistics_enabled(path, EnabledStatistics::None),
            };
        }
        properties.build()
    }
}

impl Kind {
    pub(crate) const fn data_type(self) -> DataType {
        match self {
            Kind::Delta | Kind::Plain | Kind::Again | Kind::Few => DataType::Int64,
            Kind::Word => DataType::Utf8,
            Kind::Bytes => DataType::Binary,
        }
    }
}
