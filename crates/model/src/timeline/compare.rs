//! Two maps compared: two moments of one address space, two address spaces, or two runs of a program.

use crate::change::PageChange;
use crate::diff::page_changes;
use crate::kind::Kind;
use crate::space::{AddressSpace, Origin};
use rustc_hash::FxHashMap;
use vmatlas_event::{AddrRange, Prot, Seq, Sharing, VmaRow};

/// One thing that is different between a first map and a second.
#[derive(Clone, Debug, PartialEq)]
pub enum Delta {
    /// Only the second has these pages.
    Added(VmaRow),
    /// Only the first has them.
    Removed(VmaRow),
    /// Both have them, and they allow something else.
    Altered {
        /// In the first.
        from: VmaRow,
        /// In the second.
        to: VmaRow,
    },
    /// A VMA that is longer or shorter in the second.
    Resized {
        /// In the first.
        from: VmaRow,
        /// In the second.
        to: VmaRow,
    },
    /// The same pages at another address.
    Moved {
        /// In the first.
        from: VmaRow,
        /// In the second.
        to: VmaRow,
    },
}

/// One of two maps of different runs.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// Its rows, in address order.
    pub rows: &'a [VmaRow],
    /// The kind of each row; rows without one count as [`Kind::Anonymous`].
    pub kinds: &'a [Kind],
}

/// Compares two moments of one address space, or a parent's with a child's: where the same event mapped the same pages
/// they are the same, and elsewhere they were moved.
pub fn compare_spaces(a: &AddressSpace, b: &AddressSpace) -> Vec<Delta> {
    let rows = |space: &AddressSpace| space.vmas().cloned().collect::<Vec<_>>();
    let origins = |space: &AddressSpace| space.origins().cloned().collect::<Vec<_>>();
    let (first, second) = (origins(a), origins(b));
    with_origins(&rows(a), &rows(b), Some((&first, &second)))
}

/// Compares two maps by address: all that is known of a process that was not recorded.
pub fn compare(a: &[VmaRow], b: &[VmaRow]) -> Vec<Delta> {
    with_origins(a, b, None)
}

fn with_origins(a: &[VmaRow], b: &[VmaRow], origins: Option<(&[Origin], &[Origin])>) -> Vec<Delta> {
    let fresh = origins.map(|(first, second)| elsewhere(first, second)).unwrap_or_default();
    let mut deltas: Vec<Delta> = Vec::new();
    let mut removed: Vec<VmaRow> = Vec::new();
    let mut added: Vec<VmaRow> = Vec::new();
    for change in pages(a, b, &fresh) {
        match change {
            PageChange::Removed(row) => removed.push(row),
            PageChange::Added(row) => added.push(row),
            PageChange::Altered { from, to } => deltas.push(Delta::Altered { from, to }),
            PageChange::Moved { .. } => {}
        }
    }
    if let Some((first, second)) = origins {
        moved(&mut removed, &mut added, first, second, &mut deltas);
    }
    let added = added.iter().flat_map(|row| along(b, row));
    deltas.extend(added.map(|row| resized(a, b, &row).unwrap_or(Delta::Added(row))));
    let removed = removed.iter().flat_map(|row| along(a, row));
    deltas.extend(removed.map(|row| match resized(b, a, &row) {
        Some(Delta::Resized { from, to }) => Delta::Resized { from: to, to: from },
        _ => Delta::Removed(row),
    }));
    deltas.sort_by_key(|delta| delta.range().start());
    deltas
}

/// The same as [`page_changes`], which looks at all of `fresh` for each piece: here they are many.
fn pages(a: &[VmaRow], b: &[VmaRow], fresh: &[AddrRange]) -> Vec<PageChange> {
    let cut = |rows: &[VmaRow], inside: bool| -> Vec<VmaRow> {
        let mut out = Vec::new();
        let mut at = 0;
        for row in rows {
            while fresh.get(at).is_some_and(|f| f.end() <= row.range.start()) {
                at += 1;
            }
            let mut rest = row.range.start();
            for part in fresh.iter().skip(at).take_while(|f| f.start() < row.range.end()) {
                let gap = AddrRange::new(rest, part.start().max(rest));
                let piece = if inside { Some(*part) } else { gap };
                out.extend(piece.and_then(|piece| row.clip(piece)));
                rest = part.end().max(rest);
            }
            if !inside {
                out.extend(AddrRange::new(rest, row.range.end()).and_then(|piece| row.clip(piece)));
            }
        }
        out
    };
    let mut changes = page_changes(&cut(a, false), &cut(b, false), &[]);
    changes.extend(page_changes(&cut(a, true), &[], &[]));
    changes.extend(page_changes(&[], &cut(b, true), &[]));
    changes
}

/// Where both have pages, and not by the same event.
fn elsewhere(a: &[Origin], b: &[Origin]) -> Vec<AddrRange> {
    let (mut i, mut j) = (0, 0);
    let mut out = Vec::new();
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        if let Some(both) = x.range.intersect(y.range).filter(|_| x.seq != y.seq) {
            out.push(both);
        }
        if x.range.end() <= y.range.end() { i += 1 } else { j += 1 }
    }
    out
}

/// Takes out what has the same origin and the same size on both sides.
fn moved(
    removed: &mut Vec<VmaRow>,
    added: &mut Vec<VmaRow>,
    first: &[Origin],
    second: &[Origin],
    deltas: &mut Vec<Delta>,
) {
    let origin = |origins: &[Origin], row: &VmaRow| -> Option<Seq> {
        let at = origins.partition_point(|o| o.range.end() <= row.range.start());
        origins.get(at).filter(|o| o.range.contains(row.range.start())).map(|o| o.seq)
    };
    let mut by_origin: FxHashMap<(Seq, u64), Vec<usize>> = FxHashMap::default();
    for (index, row) in removed.iter().enumerate().rev() {
        if let Some(seq) = origin(first, row) {
            by_origin.entry((seq, row.range.len().0)).or_default().push(index);
        }
    }
    let mut gone = vec![false; removed.len()];
    added.retain(|row| {
        let same = origin(second, row).and_then(|seq| by_origin.get_mut(&(seq, row.range.len().0))?.pop());
        let from = same.and_then(|index| Some((index, removed.get(index)?)));
        let Some((index, from)) = from.filter(|(_, from)| from.same_attributes(row)) else { return true };
        deltas.push(Delta::Moved { from: from.clone(), to: row.clone() });
        gone[index] = true;
        false
    });
    let mut gone = gone.into_iter();
    removed.retain(|_| !gone.next().unwrap_or(false));
}

/// The parts of pages that belong to one VMA each: neighbours that look alike were joined.
fn along<'a>(rows: &'a [VmaRow], pages: &VmaRow) -> impl Iterator<Item = VmaRow> + use<'a> {
    let range = pages.range;
    let from = rows.partition_point(|row| row.range.end() <= range.start());
    let there = rows.iter().skip(from).take_while(move |row| row.range.start() < range.end());
    there.filter_map(move |row| row.clip(range.intersect(row.range)?))
}

/// Whether pages that only `b` has are an end of a VMA of which `a` has all the rest.
fn resized(a: &[VmaRow], b: &[VmaRow], added: &VmaRow) -> Option<Delta> {
    let to = b.get(b.partition_point(|row| row.range.end() <= added.range.start()))?;
    let there = a.get(a.partition_point(|row| row.range.end() <= to.range.start())..)?;
    let mut there = there.iter().take_while(|row| row.range.start() < to.range.end());
    let from = there.find(|row| !row.range.intersects(added.range))?;
    let rest = to.range.len().0.checked_sub(added.range.len().0)?;
    let is_rest = to.range.covers(from.range) && to.range.covers(added.range) && from.range.len().0 == rest;
    (is_rest && from.same_attributes(to)).then(|| Delta::Resized { from: from.clone(), to: to.clone() })
}

/// What a VMA is, wherever it lies.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Class {
    kind: Kind,
    name: Vec<u8>,
    sharing: Sharing,
    /// The place in a file; 0 without one.
    offset: u64,
    /// `None` where it does not count.
    prot: Option<Prot>,
    /// `None` where it does not count.
    size: Option<u64>,
}

impl Class {
    fn of(row: &VmaRow, kind: Kind, with_prot: bool, with_size: bool) -> Class {
        Class {
            kind,
            name: row.name_bytes().to_vec(),
            sharing: row.sharing,
            offset: if row.has_file() { row.offset } else { 0 },
            prot: with_prot.then_some(row.prot),
            size: with_size.then(|| row.range.len().0),
        }
    }
}

/// Takes out memory without a file of which both have as much in all: which of it lie next to each other, and so are one
/// VMA, is a matter of addresses.
fn cut_otherwise<'a>(first: &mut [Option<(&'a VmaRow, Kind)>], second: &mut [Option<(&'a VmaRow, Kind)>]) {
    let class = |place: &Option<(&VmaRow, Kind)>| {
        let (row, kind) = place.as_ref().filter(|(row, _)| !row.has_file())?;
        Some((Class::of(row, *kind, true, false), row.range.len().0))
    };
    let mut sums: FxHashMap<Class, (u64, u64)> = FxHashMap::default();
    for (class, size) in first.iter().filter_map(class) {
        let sum = sums.entry(class).or_default();
        sum.0 = sum.0.saturating_add(size);
    }
    for (class, size) in second.iter().filter_map(class) {
        let sum = sums.entry(class).or_default();
        sum.1 = sum.1.saturating_add(size);
    }
    for place in first.iter_mut().chain(second) {
        if class(place).and_then(|(class, _)| sums.get(&class)).is_some_and(|sum| sum.0 == sum.1) {
            *place = None;
        }
    }
}

/// Compares the maps of two runs of a program, whose addresses differ: rows are the same when they have the same kind,
/// name, place in their file, protection and size, or, without a file, when there is as much of them in all. What is left
/// is paired by all of that but the protection, then by all but the size, each in address order; what is left then was added or removed.
pub fn compare_runs(a: Side<'_>, b: Side<'_>) -> Vec<Delta> {
    let mut left: [Vec<Option<(&VmaRow, Kind)>>; 2] = [a, b].map(|side| {
        let kinds = side.kinds.iter().copied().chain(std::iter::repeat(Kind::Anonymous));
        side.rows.iter().zip(kinds).map(Some).collect()
    });
    let mut deltas = Vec::new();
    for (with_prot, with_size) in [(true, true), (false, true), (true, false)] {
        let [first, second] = &mut left;
        let mut places: FxHashMap<Class, Vec<usize>> = FxHashMap::default();
        for (index, place) in first.iter().enumerate().rev() {
            if let Some((row, kind)) = place {
                places.entry(Class::of(row, *kind, with_prot, with_size)).or_default().push(index);
            }
        }
        for place in second.iter_mut() {
            let Some((to, kind)) = *place else { continue };
            let same = places.get_mut(&Class::of(to, kind, with_prot, with_size)).and_then(Vec::pop);
            let Some((from, _)) = same.and_then(|index| first.get_mut(index)).and_then(Option::take) else {
                continue;
            };
            *place = None;
            let (from, to) = (from.clone(), to.clone());
            match (with_prot, with_size) {
                (true, true) => {}
                (_, true) => deltas.push(Delta::Altered { from, to }),
                (..) => deltas.push(Delta::Resized { from, to }),
            }
        }
        if with_prot && with_size {
            cut_otherwise(first, second);
        }
    }
    let [first, second] = left;
    deltas.extend(first.into_iter().flatten().map(|(row, _)| Delta::Removed(row.clone())));
    deltas.extend(second.into_iter().flatten().map(|(row, _)| Delta::Added(row.clone())));
    deltas
}

impl Delta {
    /// Where it is: in the second map, or in the first where the second does not have it.
    pub fn range(&self) -> AddrRange {
        match self {
            Delta::Added(row) | Delta::Removed(row) => row.range,
            Delta::Altered { to, .. } | Delta::Resized { to, .. } | Delta::Moved { to, .. } => to.range,
        }
    }
}
