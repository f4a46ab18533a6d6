//! The map of a process as a table: header, VMAs with gaps, totals per kind.

mod column;
mod json;
mod map_count;
mod rows;
mod text;
pub mod texts;
mod totals;

use crate::lang::Lang;
use crate::source::Source;
use crate::style::{Paint, Style};
use serde_json::Value;
use std::borrow::Cow;
use vmatlas_event::{Addr, Backing, Bytes, FrameCounts, PageCounts, Pid, Prot, VmaRow};
use vmatlas_model::kind::{Kind, Verdict};

pub use column::{Column, Missing, Need};
pub use map_count::MapCount;
pub(crate) use rows::amount_cell;
pub use totals::{Total, totals};

/// One VMA with all that is known of it.
#[derive(Clone, Debug)]
pub struct ShowRow {
    /// As the kernel tells it.
    pub vma: VmaRow,
    /// What it is for.
    pub verdict: Verdict,
    /// Its pages; `None` when they were not read.
    pub pages: Option<PageCounts>,
    /// What stands behind them.
    pub backing: Backing,
    /// Who else maps its resident pages; `None` when that was not read or is not told.
    pub mapped: Option<Mapped>,
    /// The frames behind them; `None` when they were not read or are not told.
    pub frames: Option<FrameCounts>,
    /// The kernel's own figures; `None` when smaps was not read or has no such VMA.
    pub smaps: Option<Box<Smaps>>,
    /// How much of it a core file holds; `None` where that is no question.
    pub dumped: Option<Bytes>,
}

impl ShowRow {
    /// A row of which nothing is known but its line and its kind.
    pub fn new(vma: VmaRow, verdict: Verdict) -> ShowRow {
        ShowRow {
            vma,
            verdict,
            pages: None,
            backing: Backing::default(),
            mapped: None,
            frames: None,
            smaps: None,
            dumped: None,
        }
    }
}

/// Who maps the resident pages of a VMA.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mapped {
    /// Nobody else (USS).
    pub private: Bytes,
    /// Others too.
    pub shared: Bytes,
}

/// One VMA of smaps, in the kernel's words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Smaps {
    /// Sizes by their keys, in the kernel's order.
    pub sizes: Vec<(Cow<'static, str>, Bytes)>,
    /// VmFlags, two letters each.
    pub flags: Vec<[u8; 2]>,
    /// THPeligible.
    pub thp_eligible: Option<bool>,
    /// ProtectionKey.
    pub protection_key: Option<u64>,
    /// The memory policy of numa_maps, where that was read.
    pub policy: Option<Vec<u8>>,
}

impl Smaps {
    /// One size; `None` where the kernel does not tell it.
    pub fn get(&self, key: &str) -> Option<Bytes> {
        self.sizes.iter().find(|(name, _)| name == key).map(|(_, size)| *size)
    }

    /// The flags as one text.
    pub fn flag_text(&self) -> String {
        let words: Vec<Cow<'_, str>> = self.flags.iter().map(|f| String::from_utf8_lossy(f)).collect();
        words.join(" ")
    }
}

/// What stands above the map.
#[derive(Clone, Debug, Default)]
pub struct Header {
    /// The process.
    pub pid: Option<Pid>,
    /// Its name, bytes of any kind.
    pub name: Vec<u8>,
    /// Its program's path; empty where hidden.
    pub exe: Vec<u8>,
    /// How many VMAs it may have.
    pub max_map_count: Option<u64>,
    /// Virtual size as the kernel counts it.
    pub virtual_size: Option<Bytes>,
    /// Resident size as the kernel counts it.
    pub resident: Option<Bytes>,
    /// Its threads.
    pub threads: Option<u64>,
    /// Whether its first thread has ended while others live.
    pub leader_ended: bool,
    /// Lines that overlapped while the map was read.
    pub torn: u64,
    /// Whether resident sizes may hold zero pages.
    pub zero_pages_counted: bool,
    /// Whether what was read does not tell zero pages: smaps, and entries of pagemap.
    pub zero_pages_unknown: bool,
    /// What it was read from, when that was no living process.
    pub source: Option<Source>,
}

/// All that `show` shows.
#[derive(Clone, Debug)]
pub struct MapView {
    /// Above the map.
    pub header: Header,
    /// The VMAs in address order.
    pub rows: Vec<ShowRow>,
    /// Why pages were not read; `None` when they were.
    pub pages_why: Option<&'static str>,
    /// Why frames are not told; `None` when they are.
    pub frames_why: Option<Missing>,
    /// Whether smaps was read.
    pub has_smaps: bool,
    /// Whether nothing at all is in swap: then no shared object is.
    pub swap_is_empty: bool,
    /// Whether the process has locked nothing: then no VMA is.
    pub nothing_is_locked: bool,
    /// What reading cost, as it goes into JSON; `null` where it was not measured.
    pub cost: Value,
}

/// How rows are ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// By address, with the gaps.
    #[default]
    Address,
    /// By an amount, the largest first.
    By(Column),
}

/// Which columns are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Columns {
    /// The usual ones: address, size, what is resident and (where there is any) swapped, protection, kind and name.
    #[default]
    Usual,
    /// These; the address stands first in any case.
    These(Vec<Column>),
}

impl Columns {
    /// What must be read to show them.
    pub fn needs(&self, need: Need) -> bool {
        matches!(self, Columns::These(list) if list.iter().any(|column| column.need() == need))
    }
}

/// Which rows are shown; the totals are those of the rows shown.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of these kinds; empty for all.
    pub kinds: Vec<Kind>,
    /// Allowing at least this.
    pub prot: Option<Prot>,
    /// At least this large.
    pub min_size: Option<Bytes>,
    /// With this text in the name.
    pub name: Option<Vec<u8>>,
    /// Holding this address.
    pub addr: Option<Addr>,
}

impl Filter {
    /// Whether everything is shown.
    pub fn is_all(&self) -> bool {
        self.kinds.is_empty()
            && self.prot.is_none()
            && self.min_size.is_none()
            && self.name.is_none()
            && self.addr.is_none()
    }

    fn takes(&self, row: &ShowRow) -> bool {
        let name_has = |part: &Vec<u8>| {
            part.is_empty() || row.vma.name_bytes().windows(part.len()).any(|window| window == part)
        };
        (self.kinds.is_empty() || self.kinds.contains(&row.verdict.kind))
            && self.prot.is_none_or(|prot| row.vma.prot.has(prot))
            && self.min_size.is_none_or(|min| row.vma.range.len() >= min)
            && self.name.as_ref().is_none_or(name_has)
            && self.addr.is_none_or(|addr| row.vma.range.contains(addr))
    }
}

/// How it is written.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The language.
    pub lang: Lang,
    /// Colours.
    pub style: Style,
    /// The terminal's width; `None` for no limit.
    pub columns: Option<usize>,
    /// Which rows.
    pub filter: Filter,
    /// In which order.
    pub sort: Sort,
    /// With which columns.
    pub show: Columns,
    /// Only the header and the totals.
    pub summary: bool,
    /// With the reason for each kind.
    pub why_kind: bool,
}

/// The colour of a kind.
pub fn paint_of(kind: Kind) -> Paint {
    match kind {
        Kind::Image | Kind::Jit => Paint::Code,
        Kind::Heap | Kind::MallocArena | Kind::Allocator | Kind::ManagedHeap => Paint::Heap,
        Kind::ThreadStack | Kind::MainStack => Paint::Stack,
        Kind::MappedFile => Paint::File,
        Kind::Shared => Paint::Shared,
        Kind::Guard | Kind::Reserved | Kind::Kernel => Paint::Faint,
        Kind::Anonymous | Kind::Huge | Kind::Device | Kind::Aio => Paint::Plain,
    }
}

impl MapView {
    /// The rows that the filter takes, in the order asked for.
    pub fn selected(&self, filter: &Filter, sort: Sort) -> Vec<&ShowRow> {
        let mut rows: Vec<&ShowRow> = self.rows.iter().filter(|row| filter.takes(row)).collect();
        if let Sort::By(column) = sort {
            rows.sort_by_cached_key(|row| std::cmp::Reverse(column.amount(row, self).ok()));
        }
        rows
    }

    pub(crate) fn has_pages(&self) -> bool {
        self.pages_why.is_none()
    }

    fn has_dumped(&self) -> bool {
        self.rows.iter().any(|r| r.dumped.is_some())
    }

    fn has_swap(&self) -> bool {
        self.rows.iter().any(|r| r.pages.is_some_and(|p| p.swapped.0 > 0))
    }

    /// The columns there are, the address first.
    pub(crate) fn columns(&self, options: &Options) -> Vec<Column> {
        match &options.show {
            Columns::Usual => {
                let mut list = vec![Column::Address, Column::Size];
                list.extend(self.has_pages().then_some(Column::Resident));
                list.extend(self.has_swap().then_some(Column::Swapped));
                list.extend(self.has_dumped().then_some(Column::Dumped));
                list.extend([Column::Prot, Column::Kind]);
                list.extend(options.why_kind.then_some(Column::Why));
                list.push(Column::Name);
                list
            }
            Columns::These(list) => {
                let mut all = vec![Column::Address];
                all.extend(list.iter().filter(|column| **column != Column::Address));
                if options.why_kind && !all.contains(&Column::Why) {
                    all.push(Column::Why);
                }
                all
            }
        }
    }
}

#[cfg(test)]
mod tests;
