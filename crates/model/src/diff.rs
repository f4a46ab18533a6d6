//! What is different between two lists of rows, page by page.

use crate::change::PageChange;
use vmatlas_event::{AddrRange, VmaRow};

/// Compares two lists of rows, each in address order without overlaps, and tells what happened to the pages.
///
/// Boundaries that moved without any page changing are no difference here. Pages in `fresh` count as new even where
/// they look the same: a MAP_FIXED over a mapping of the same kind leaves nothing of it.
pub fn page_changes(before: &[VmaRow], after: &[VmaRow], fresh: &[AddrRange]) -> Vec<PageChange> {
    let mut out: Vec<PageChange> = Vec::new();
    let (mut i, mut j) = (0, 0);
    let mut at = match (before.first(), after.first()) {
        (None, None) => return out,
        (a, b) => {
            let start = |row: Option<&VmaRow>| row.map_or(u64::MAX, |r| r.range.start().0);
            start(a).min(start(b))
        }
    };
    loop {
        while before.get(i).is_some_and(|r| r.range.end().0 <= at) {
            i += 1;
        }
        while after.get(j).is_some_and(|r| r.range.end().0 <= at) {
            j += 1;
        }
        let next = |row: Option<&VmaRow>| {
            row.map_or(u64::MAX, |r| if r.range.start().0 > at { r.range.start().0 } else { r.range.end().0 })
        };
        let fresh_edge = fresh
            .iter()
            .flat_map(|f| [f.start().0, f.end().0])
            .filter(|edge| *edge > at)
            .min()
            .unwrap_or(u64::MAX);
        let end = next(before.get(i)).min(next(after.get(j))).min(fresh_edge);
        if i >= before.len() && j >= after.len() {
            return out;
        }
        let Some(piece) = AddrRange::new(vmatlas_event::Addr(at), vmatlas_event::Addr(end)) else {
            return out;
        };
        let is_fresh = fresh.iter().any(|f| f.covers(piece));
        let old = before.get(i).and_then(|r| r.clip(piece));
        let new = after.get(j).and_then(|r| r.clip(piece));
        match (old, new) {
            (None, None) => {}
            (Some(old), None) => add(&mut out, PageChange::Removed(old)),
            (None, Some(new)) => add(&mut out, PageChange::Added(new)),
            (Some(old), Some(new)) if is_fresh || !same_pages(&old, &new) => {
                add(&mut out, PageChange::Removed(old));
                add(&mut out, PageChange::Added(new));
            }
            (Some(old), Some(new)) if old.prot != new.prot => {
                add(&mut out, PageChange::Altered { from: old, to: new })
            }
            _ => {}
        }
        at = end;
    }
}

/// Whether two lists of rows say the same of every page; only where one VMA ends may differ.
pub(crate) fn same_coverage(before: &[VmaRow], after: &[VmaRow]) -> bool {
    let (mut i, mut j) = (0, 0);
    // Up to where both lists are known to agree.
    let mut at = 0u64;
    loop {
        let (Some(a), Some(b)) = (before.get(i), after.get(j)) else {
            return i == before.len() && j == after.len();
        };
        let starts = (a.range.start().0.max(at), b.range.start().0.max(at));
        let offset_at = |row: &VmaRow| row.offset.wrapping_add(starts.0.wrapping_sub(row.range.start().0));
        let same_file = !a.has_file() || offset_at(a) == offset_at(b);
        if starts.0 != starts.1 || !a.same_attributes(b) || !same_file {
            return false;
        }
        at = a.range.end().0.min(b.range.end().0);
        i += usize::from(a.range.end().0 == at);
        j += usize::from(b.range.end().0 == at);
    }
}

/// Whether the same thing is mapped, whatever may be done with it.
fn same_pages(a: &VmaRow, b: &VmaRow) -> bool {
    a.sharing == b.sharing && a.dev == b.dev && a.inode == b.inode && a.offset == b.offset
}

/// Whether two rows follow each other as parts of one that was cut.
pub(crate) fn goes_on(last: &VmaRow, next: &VmaRow) -> bool {
    let offset_goes_on = !last.has_file() || last.offset.wrapping_add(last.range.len().0) == next.offset;
    last.range.end() == next.range.start()
        && last.same_attributes(next)
        && last.name == next.name
        && offset_goes_on
}

/// Adds a change, joined to an earlier one that it continues (an address step can cut what happened in one go).
fn add(out: &mut Vec<PageChange>, change: PageChange) {
    let join = |last: &VmaRow, next: &VmaRow| -> Option<VmaRow> {
        goes_on(last, next).then(|| VmaRow { range: last.range.hull(next.range), ..last.clone() })
    };
    for earlier in out.iter_mut().rev().take(2) {
        let joined = match (&*earlier, &change) {
            (PageChange::Added(a), PageChange::Added(b)) => join(a, b).map(PageChange::Added),
            (PageChange::Removed(a), PageChange::Removed(b)) => join(a, b).map(PageChange::Removed),
            (PageChange::Altered { from, to }, PageChange::Altered { from: from2, to: to2 }) => {
                match (join(from, from2), join(to, to2)) {
                    (Some(from), Some(to)) => Some(PageChange::Altered { from, to }),
                    _ => None,
                }
            }
            _ => None,
        };
        if let Some(joined) = joined {
            *earlier = joined;
            return;
        }
    }
    out.push(change);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::tests::{anon, r};
    use vmatlas_event::Prot;

    /// Checks that a merge alone changes no page.
    #[test]
    fn a_moved_boundary_changes_no_page() {
        let before = [anon(1, 3, Prot::RW), anon(3, 5, Prot::RW)];
        assert_eq!(page_changes(&before, &[anon(1, 5, Prot::RW)], &[]), []);
        assert_eq!(page_changes(&[], &[], &[]), []);
    }

    /// Checks the quick comparison against the full one, on lists that agree and lists that do not.
    #[test]
    fn the_quick_comparison_agrees_with_the_full_one() {
        let file = |a, b, offset: u64| VmaRow { inode: 7, offset, ..anon(a, b, Prot::READ) };
        let lists: [&[VmaRow]; 9] = [
            &[],
            &[anon(1, 3, Prot::RW), anon(3, 5, Prot::RW)],
            &[anon(1, 5, Prot::RW)],
            &[anon(1, 5, Prot::READ)],
            &[anon(1, 4, Prot::RW)],
            &[anon(1, 3, Prot::RW), anon(4, 5, Prot::RW)],
            &[file(1, 5, 0x2000)],
            &[file(1, 3, 0x2000), file(3, 5, 0x4000)],
            &[file(1, 3, 0x2000), file(3, 5, 0x3000)],
        ];
        for a in lists {
            for b in lists {
                assert_eq!(same_coverage(a, b), page_changes(a, b, &[]).is_empty(), "{a:?} {b:?}");
            }
        }
    }

    /// Checks that growth of a neighbour is told as the added part alone.
    #[test]
    fn growth_is_the_added_part() {
        let changes = page_changes(&[anon(1, 3, Prot::RW)], &[anon(1, 9, Prot::RW)], &[r(3, 9)]);
        assert_eq!(changes, [PageChange::Added(anon(3, 9, Prot::RW))]);
    }

    /// Checks that pages mapped afresh over equal ones are removed and added, each in one piece.
    #[test]
    fn fresh_pages_replace_equal_ones() {
        let changes =
            page_changes(&[anon(1, 3, Prot::RW), anon(3, 9, Prot::RW)], &[anon(1, 9, Prot::RW)], &[r(2, 5)]);
        assert_eq!(
            changes,
            [PageChange::Removed(anon(2, 5, Prot::RW)), PageChange::Added(anon(2, 5, Prot::RW))]
        );
    }

    /// Checks that a protection change over a hole is two alterations.
    #[test]
    fn alterations_stop_at_holes() {
        let before = [anon(1, 3, Prot::RW), anon(5, 7, Prot::RW)];
        let after = [anon(1, 3, Prot::READ), anon(5, 7, Prot::READ)];
        assert_eq!(page_changes(&before, &after, &[]).len(), 2);
    }
}
