//! Two maps side by side: which rows of the later one are new, grown or altered, always by ranges, never by lines.

use vmatlas_event::{AddrRange, Bytes, VmaRow};
use vmatlas_model::{PageChange, page_changes};

/// What happened to the pages of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Nothing.
    Same,
    /// All of it is new.
    New,
    /// It holds pages that were there, and this many new ones.
    Grew(Bytes),
    /// It lost this much.
    Shrank(Bytes),
    /// It allows something else now.
    Altered,
    /// It is a piece of a row that was longer; no page of it is different.
    Split,
    /// It was several rows.
    Merged,
    /// It is gone: a row of the earlier map.
    Gone,
}

/// A row with its mark, and which row of its own map it is.
#[derive(Clone, Debug)]
pub(crate) struct Marked {
    /// The row.
    pub row: VmaRow,
    /// What happened to it.
    pub mark: Mark,
    /// Its number in the later map; in the earlier one for a row that is gone.
    pub index: usize,
}

/// The later map with marks, rows that are gone among them, in address order.
pub(crate) fn marked(before: &[VmaRow], after: &[VmaRow]) -> Vec<Marked> {
    let changes = page_changes(before, after, &[]);
    let overlap = |row: &VmaRow, ranges: &mut dyn Iterator<Item = AddrRange>| -> Bytes {
        ranges.filter_map(|r| r.intersect(row.range)).map(AddrRange::len).sum()
    };
    let added = |row: &VmaRow| overlap(row, &mut changes.iter().filter_map(added_range));
    let removed = |row: &VmaRow| overlap(row, &mut changes.iter().filter_map(removed_range));
    let were = |row: &VmaRow| before.iter().filter(|old| old.range.intersects(row.range)).count();
    let pieces = |old: &VmaRow| after.iter().filter(|row| row.range.intersects(old.range)).count();
    let is_piece = |row: &VmaRow| before.iter().any(|old| old.range.intersects(row.range) && pieces(old) > 1);
    let mut out: Vec<Marked> = Vec::new();
    for (index, row) in after.iter().enumerate() {
        let new = added(row);
        let is_altered = changes.iter().any(|change| match change {
            PageChange::Altered { to, .. } => to.range.intersects(row.range),
            _ => false,
        });
        let lost: Bytes = before.iter().filter(|old| old.range.intersects(row.range)).map(removed).sum();
        let mark = match (new, lost) {
            (Bytes(0), Bytes(0)) if were(row) > 1 => Mark::Merged,
            (Bytes(0), Bytes(0)) if is_altered => Mark::Altered,
            (Bytes(0), _) if is_piece(row) => Mark::Split,
            (Bytes(0), Bytes(0)) => Mark::Same,
            (Bytes(0), lost) => Mark::Shrank(lost),
            (new, _) if new == row.range.len() => Mark::New,
            (new, _) => Mark::Grew(new),
        };
        out.push(Marked { row: row.clone(), mark, index });
    }
    for (index, row) in before.iter().enumerate() {
        if removed(row) == row.range.len() && !row.range.is_empty() {
            out.push(Marked { row: row.clone(), mark: Mark::Gone, index });
        } else if pieces(row) > 1 {
            // The hole is what was done: it has a line between the pieces.
            let holes = changes.iter().filter_map(removed_range).filter_map(|range| row.clip(range));
            out.extend(holes.map(|row| Marked { row, mark: Mark::Gone, index }));
        }
    }
    out.sort_by_key(|m| (m.row.range.start(), m.mark != Mark::Gone));
    out
}

fn added_range(change: &PageChange) -> Option<AddrRange> {
    if let PageChange::Added(row) = change { Some(row.range) } else { None }
}

fn removed_range(change: &PageChange) -> Option<AddrRange> {
    if let PageChange::Removed(row) = change { Some(row.range) } else { None }
}

/// A run of a list: shown, or folded away because nothing happens in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Run {
    /// Items from the first to before the second.
    Shown(std::ops::Range<usize>),
    /// As many items, not shown.
    Folded(usize),
}

/// Which of `interesting.len()` items to show: those that are interesting with `around` neighbours on each side.
pub(crate) fn neighbourhood(interesting: &[bool], around: usize) -> Vec<Run> {
    let near = |i: usize| {
        let from = i.saturating_sub(around);
        let to = (i + around + 1).min(interesting.len());
        interesting[from..to].contains(&true)
    };
    let mut runs: Vec<Run> = Vec::new();
    for i in 0..interesting.len() {
        match (near(i), runs.last_mut()) {
            (true, Some(Run::Shown(range))) => range.end = i + 1,
            (true, _) => runs.push(Run::Shown(i..i + 1)),
            (false, Some(Run::Folded(n))) => *n += 1,
            (false, _) => runs.push(Run::Folded(1)),
        }
    }
    // "1 more" takes the line that the row itself would take.
    let mut at = 0;
    let mut out: Vec<Run> = Vec::new();
    for run in runs {
        let len = match &run {
            Run::Shown(range) => range.len(),
            Run::Folded(n) => *n,
        };
        let run = if run == Run::Folded(1) { Run::Shown(at..at + 1) } else { run };
        at += len;
        match (out.last_mut(), run) {
            (Some(Run::Shown(last)), Run::Shown(next)) if last.end == next.start => last.end = next.end,
            (_, run) => out.push(run),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmatlas_event::{Addr, Prot};

    fn anon(a: u64, b: u64, prot: Prot) -> VmaRow {
        VmaRow::anonymous(AddrRange::new(Addr(a << 12), Addr(b << 12)).unwrap(), prot)
    }

    fn marks(before: &[VmaRow], after: &[VmaRow]) -> Vec<Mark> {
        marked(before, after).iter().map(|m| m.mark).collect()
    }

    /// Checks the talk's trap: the same number of lines, and yet one of them grew; and the other answer, a line of its own.
    #[test]
    fn a_neighbour_that_grew_is_marked() {
        let before = [anon(1, 3, Prot::READ), anon(10, 12, Prot::RW)];
        let grown = [anon(1, 3, Prot::READ), anon(8, 12, Prot::RW)];
        assert_eq!(marks(&before, &grown), [Mark::Same, Mark::Grew(Bytes(0x2000))]);
        let own = [anon(1, 3, Prot::READ), anon(5, 7, Prot::RW), anon(10, 12, Prot::RW)];
        assert_eq!(marks(&before, &own), [Mark::Same, Mark::New, Mark::Same]);
        assert_eq!(marks(&before, &before), [Mark::Same, Mark::Same]);
    }

    /// Checks rows that go, shrink and change what they allow.
    #[test]
    fn what_went_is_marked() {
        let before = [anon(1, 3, Prot::READ), anon(10, 20, Prot::RW)];
        assert_eq!(marks(&before, &before[1..]), [Mark::Gone, Mark::Same]);
        assert_eq!(
            marks(&before, &[before[0].clone(), anon(10, 15, Prot::RW)]),
            [Mark::Same, Mark::Shrank(Bytes(0x5000))]
        );
        assert_eq!(marks(&before, &[anon(1, 3, Prot::RW), before[1].clone()]), [Mark::Altered, Mark::Same]);
    }

    /// Checks that a row with a hole is two pieces with the hole between them, that a row in pieces is told from a row that
    /// is altered, and that pieces that become one are told too.
    #[test]
    fn splits_and_merges_are_marked() {
        let whole = [anon(10, 20, Prot::RW)];
        let hole = [anon(10, 14, Prot::RW), anon(15, 20, Prot::RW)];
        assert_eq!(marks(&whole, &hole), [Mark::Split, Mark::Gone, Mark::Split]);
        let altered = [anon(10, 14, Prot::RW), anon(14, 15, Prot::READ), anon(15, 20, Prot::RW)];
        assert_eq!(marks(&whole, &altered), [Mark::Split, Mark::Altered, Mark::Split]);
        assert_eq!(marks(&altered, &whole), [Mark::Merged]);
    }

    /// Checks that neighbours are kept, far rows are folded, and a single row is never folded.
    #[test]
    fn far_rows_are_folded() {
        let list = |n: usize, at: &[usize]| (0..n).map(|i| at.contains(&i)).collect::<Vec<_>>();
        assert_eq!(neighbourhood(&list(10, &[5]), 1), [Run::Folded(4), Run::Shown(4..7), Run::Folded(3)]);
        assert_eq!(neighbourhood(&list(5, &[2]), 1), [Run::Shown(0..5)]);
        assert_eq!(neighbourhood(&list(6, &[]), 2), [Run::Folded(6)]);
        assert_eq!(neighbourhood(&[], 2), []);
    }
}
