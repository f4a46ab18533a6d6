//! Two maps compared: what came, went, changed, grew or moved, and what that makes for each kind.

mod json;
mod text;
pub mod texts;
mod totals;

use crate::lang::Lang;
use crate::show::{MapView, ShowRow};
use crate::style::Style;
use std::cmp::Reverse;
use vmatlas_event::{AddrRange, Bytes, VmaRow};
use vmatlas_model::AddressSpace;
use vmatlas_model::kind::Kind;
use vmatlas_model::timeline::{Delta, Side, compare, compare_runs, compare_spaces, same_layout};

pub use totals::Total;
use totals::totals;

/// How two maps are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// By address, as one address space at two moments.
    Address,
    /// By file, kind and size, as two runs: addresses do not count.
    File,
    /// By the events that mapped the pages, of one recording: what was moved or replaced by its like is told.
    Origin,
}

impl By {
    /// The name in options and JSON; it never changes.
    pub const fn id(self) -> &'static str {
        match self {
            By::Address => "address",
            By::File => "file",
            By::Origin => "origin",
        }
    }
}

/// What happened to a VMA, or to a part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// Only the second map has it.
    Added,
    /// Only the first map has it.
    Removed,
    /// It allows something else.
    Altered,
    /// It is longer.
    Grew,
    /// It is shorter.
    Shrank,
    /// It lies elsewhere.
    Moved,
}

impl What {
    /// Every one, in the order in which they are counted.
    pub const ALL: [What; 6] =
        [What::Added, What::Removed, What::Altered, What::Grew, What::Shrank, What::Moved];

    /// The name in JSON; it never changes.
    pub const fn id(self) -> &'static str {
        match self {
            What::Added => "added",
            What::Removed => "removed",
            What::Altered => "altered",
            What::Grew => "grew",
            What::Shrank => "shrank",
            What::Moved => "moved",
        }
    }
}

/// One difference.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What happened.
    pub what: What,
    /// In the first map; `None` where it is not there.
    pub a: Option<VmaRow>,
    /// In the second.
    pub b: Option<VmaRow>,
    /// What it is for: in the second map, or in the first where the second does not have it.
    pub kind: Kind,
    /// How many bytes came, went, changed or moved.
    pub size: Bytes,
}

impl Entry {
    /// What it is now, or what it was.
    pub fn row(&self) -> Option<&VmaRow> {
        self.b.as_ref().or(self.a.as_ref())
    }

    /// How much more is mapped.
    pub fn growth(&self) -> i128 {
        let size = |row: &Option<VmaRow>| row.as_ref().map_or(0, |row| i128::from(row.range.len().0));
        size(&self.b) - size(&self.a)
    }
}

/// A VMA of both maps whose resident pages are more or fewer.
#[derive(Clone, Debug)]
pub struct Resident {
    /// In the second map.
    pub row: VmaRow,
    /// What it is for.
    pub kind: Kind,
    /// Resident in the first.
    pub a: Bytes,
    /// Resident in the second.
    pub b: Bytes,
}

/// How much larger the second is.
pub(crate) fn difference(a: Bytes, b: Bytes) -> i128 {
    i128::from(b.0) - i128::from(a.0)
}

/// What is told; sums and differences are those of what is.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of these kinds; empty for all.
    pub kinds: Vec<Kind>,
    /// Differences of at least so many bytes; the totals do not heed it.
    pub min_size: Option<Bytes>,
}

impl Filter {
    fn takes_kind(&self, kind: Kind) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&kind)
    }

    fn is_all(&self) -> bool {
        self.kinds.is_empty() && self.min_size.is_none()
    }
}

/// Two maps compared.
#[derive(Debug)]
pub struct Comparison<'a> {
    views: [&'a MapView; 2],
    by: By,
    /// Whether nobody asked for this way.
    by_itself: bool,
    filtered: bool,
    /// What is different: in address order, or the largest first where addresses do not count.
    pub entries: Vec<Entry>,
    /// Pages that came and went in VMAs that both have, the largest growth first; empty where addresses do not count.
    pub resident: Vec<Resident>,
    /// Sums per kind, the largest growth first.
    pub totals: Vec<Total>,
}

/// How it is written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The language.
    pub lang: Lang,
    /// Colours.
    pub style: Style,
    /// The terminal's width; `None` for no limit.
    pub columns: Option<usize>,
}

impl<'a> Comparison<'a> {
    /// Compares two maps: as asked, or by origin where their address spaces are known and have some in common, or by address
    /// where they have the same layout.
    pub fn new(
        a: &'a MapView,
        b: &'a MapView,
        by: Option<By>,
        spaces: Option<[&AddressSpace; 2]>,
        filter: &Filter,
    ) -> Comparison<'a> {
        let rows = |view: &MapView| view.rows.iter().map(|row| row.vma.clone()).collect::<Vec<VmaRow>>();
        let kinds = |view: &MapView| view.rows.iter().map(|row| row.verdict.kind).collect::<Vec<Kind>>();
        let (first, second) = (rows(a), rows(b));
        let found = || match spaces {
            Some(_) => By::Origin,
            None if same_layout(&first, &second) => By::Address,
            None => By::File,
        };
        let way = by.unwrap_or_else(found);
        let deltas = match (way, spaces) {
            (By::Origin, Some([a, b])) => compare_spaces(a, b),
            (By::Address | By::Origin, _) => compare(&first, &second),
            (By::File, _) => {
                let (kinds_a, kinds_b) = (kinds(a), kinds(b));
                compare_runs(Side { rows: &first, kinds: &kinds_a }, Side { rows: &second, kinds: &kinds_b })
            }
        };
        let mut entries: Vec<Entry> = deltas
            .into_iter()
            .map(|delta| entry(delta, a, b))
            .filter(|entry| filter.takes_kind(entry.kind))
            .filter(|entry| filter.min_size.is_none_or(|min| entry.size >= min))
            .collect();
        if way == By::File {
            entries.sort_by_key(|entry| Reverse(entry.size));
        }
        let resident = if way == By::File { Vec::new() } else { resident(a, b, filter) };
        Comparison {
            views: [a, b],
            by: way,
            by_itself: by.is_none(),
            filtered: !filter.is_all(),
            entries,
            resident,
            totals: totals(a, b, filter),
        }
    }

    /// How it was compared.
    pub fn by(&self) -> By {
        self.by
    }

    /// Whether the maps differ in what was asked for; pages that came or went are no difference of maps.
    pub fn is_different(&self) -> bool {
        !self.entries.is_empty()
    }

    fn knows_pages(&self) -> bool {
        self.views.iter().all(|view| view.has_pages())
    }
}

/// The row that holds the beginning of a range.
fn holder(view: &MapView, range: AddrRange) -> Option<&ShowRow> {
    let at = view.rows.partition_point(|row| row.vma.range.end() <= range.start());
    view.rows.get(at).filter(|row| row.vma.range.contains(range.start()))
}

fn entry(delta: Delta, a: &MapView, b: &MapView) -> Entry {
    let (what, a_row, b_row) = match delta {
        Delta::Added(row) => (What::Added, None, Some(row)),
        Delta::Removed(row) => (What::Removed, Some(row), None),
        Delta::Altered { from, to } => (What::Altered, Some(from), Some(to)),
        Delta::Resized { from, to } if to.range.len() < from.range.len() => {
            (What::Shrank, Some(from), Some(to))
        }
        Delta::Resized { from, to } => (What::Grew, Some(from), Some(to)),
        Delta::Moved { from, to } => (What::Moved, Some(from), Some(to)),
    };
    let of = |view, row: &Option<VmaRow>| row.as_ref().and_then(|row| holder(view, row.range));
    let kind = of(b, &b_row).or_else(|| of(a, &a_row)).map_or(Kind::Anonymous, |row| row.verdict.kind);
    let mut entry = Entry { what, a: a_row, b: b_row, kind, size: Bytes(0) };
    entry.size = match what {
        What::Altered | What::Moved => entry.row().map_or(Bytes(0), |row| row.range.len()),
        _ => Bytes(u64::try_from(entry.growth().unsigned_abs()).unwrap_or(u64::MAX)),
    };
    entry
}

/// The one row that meets a range; `None` where there are none or several.
fn only(view: &MapView, range: AddrRange) -> Option<&ShowRow> {
    let at = view.rows.partition_point(|row| row.vma.range.end() <= range.start());
    let mut met = view.rows.iter().skip(at).take_while(|row| row.vma.range.start() < range.end());
    met.next().filter(|_| met.next().is_none())
}

/// VMAs that both maps have, not in parts, though they may have grown, with more or fewer pages in the second.
fn resident(a: &MapView, b: &MapView, filter: &Filter) -> Vec<Resident> {
    let mut out: Vec<Resident> = Vec::new();
    for row in b.rows.iter().filter(|row| filter.takes_kind(row.verdict.kind)) {
        let before = only(a, row.vma.range).filter(|before| only(b, before.vma.range).is_some());
        let Some(before) = before else { continue };
        let amount = |view: &MapView, row: &ShowRow| view.resident_of(std::iter::once(row));
        let (Ok(was), Ok(is)) = (amount(a, before), amount(b, row)) else { continue };
        let large = filter.min_size.is_none_or(|min| u128::from(min.0) <= difference(was, is).unsigned_abs());
        if was != is && large {
            out.push(Resident { row: row.vma.clone(), kind: row.verdict.kind, a: was, b: is });
        }
    }
    out.sort_by_key(|r| Reverse(difference(r.a, r.b)));
    out
}

#[cfg(test)]
mod tests;
