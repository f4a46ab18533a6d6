//! What an event did to a map.

use crate::Piece;
use crate::diff::page_changes;
use crate::rules::Rules;
use crate::space::Origin;
use smallvec::SmallVec;
use vmatlas_event::{Addr, AddrRange, Bytes, VmaRow};

/// A few pieces of a map: one mostly, which then needs no memory of its own.
pub type Few<P> = SmallVec<[P; 1]>;

/// Rows of the map replaced by rows: enough to do it again, to undo it, and to tell what happened.
///
/// It holds what is different and nothing else, so [`AddressSpace::undo`](crate::AddressSpace::undo) and
/// [`redo`](crate::AddressSpace::redo) cost what the call itself did, however large the map is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Change {
    /// Rows that went, in address order.
    pub before: Few<VmaRow>,
    /// Rows that came in their place, in address order.
    pub after: Few<VmaRow>,
    /// Origins that went.
    pub origins_before: Few<Origin>,
    /// Origins that came.
    pub origins_after: Few<Origin>,
    /// Pages that are new even where something equal was mapped before.
    pub fresh: SmallVec<[AddrRange; 2]>,
    /// Pages that kept their content and got another address (mremap(2)): from, to.
    pub moved: Option<(AddrRange, AddrRange)>,
    /// The program break, where it is another one now; `None` inside where nobody knew it.
    pub brk: Option<Replaced<Option<Addr>>>,
    /// The largest virtual size so far, where it is another one now.
    pub peak: Option<Replaced<Bytes>>,
    /// The rules that no row shows, where they are others now.
    pub rules: Option<Box<Replaced<Rules>>>,
}

/// A value that took the place of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replaced<T> {
    /// The old one.
    pub before: T,
    /// The new one.
    pub after: T,
}

impl<T: Copy + PartialEq> Replaced<T> {
    /// `None` where both are the same.
    pub(crate) fn new(before: T, after: T) -> Option<Replaced<T>> {
        (before != after).then_some(Replaced { before, after })
    }

    /// One replacement, then another.
    fn then(first: Option<Self>, second: Option<Self>) -> Option<Self> {
        match (first, second) {
            (Some(first), Some(second)) => Replaced::new(first.before, second.after),
            (first, second) => first.or(second),
        }
    }
}

/// What happened to some pages.
#[derive(Clone, Debug, PartialEq)]
pub enum PageChange {
    /// They are mapped now.
    Added(VmaRow),
    /// They are not mapped any more.
    Removed(VmaRow),
    /// They allow something else now.
    Altered {
        /// As it was.
        from: VmaRow,
        /// As it is.
        to: VmaRow,
    },
    /// They are the same pages at another address.
    Moved {
        /// Where they were.
        from: AddrRange,
        /// Where they are.
        to: AddrRange,
    },
}

impl Change {
    /// Whether nothing about the map is different: no page, and no boundary.
    pub fn is_empty(&self) -> bool {
        self.before == self.after && self.fresh.is_empty() && self.moved.is_none()
    }

    /// Whether there is nothing to undo.
    pub(crate) fn is_nothing(&self) -> bool {
        self.is_empty()
            && self.origins_before == self.origins_after
            && self.brk.is_none()
            && self.peak.is_none()
            && self.rules.is_none()
    }

    /// How much memory it takes beside its own size, nearly.
    pub(crate) fn bytes(&self) -> usize {
        fn outside<A: smallvec::Array>(list: &SmallVec<A>) -> usize {
            if list.spilled() { list.capacity() * size_of::<A::Item>() } else { 0 }
        }
        outside(&self.before)
            + outside(&self.after)
            + outside(&self.origins_before)
            + outside(&self.origins_after)
            + outside(&self.fresh)
            + self.rules.as_ref().map_or(0, |rules| size_of_val(&**rules))
    }

    /// What happened to the pages; empty when only boundaries or labels are different, or nothing.
    pub fn pages(&self) -> Vec<PageChange> {
        let Some((from, to)) = self.moved else {
            return page_changes(&self.before, &self.after, &self.fresh);
        };
        // What was at the new place is gone, also where it looked like what came.
        let fresh: SmallVec<[AddrRange; 4]> = self.fresh.iter().copied().chain([to]).collect();
        let changes = page_changes(&self.before, &self.after, &fresh);
        // The move itself shows as removed here and added there: say it as one, and keep what it grew, shrank or hit.
        let kept = from.len().0.min(to.len().0);
        let part = |r: AddrRange| AddrRange::from_len(r.start(), Bytes(kept));
        let (Some(from_kept), Some(to_kept)) = (part(from), part(to)) else { return changes };
        let mut out = vec![PageChange::Moved { from: from_kept, to: to_kept }];
        for change in changes {
            let (rest, of): (Vec<AddrRange>, fn(VmaRow) -> PageChange) = match &change {
                PageChange::Added(row) => (minus(row.range, to_kept), PageChange::Added),
                PageChange::Removed(row) => (minus(row.range, from_kept), PageChange::Removed),
                _ => (Vec::new(), PageChange::Added),
            };
            match change {
                PageChange::Added(row) | PageChange::Removed(row) => {
                    out.extend(rest.into_iter().filter_map(|r| row.clip(r)).map(of));
                }
                other => out.push(other),
            }
        }
        out
    }

    /// The two changes as one: this one, then `later`.
    pub fn then(mut self, later: Change) -> Change {
        compose((&mut self.before, &mut self.after), (later.before, later.after));
        compose(
            (&mut self.origins_before, &mut self.origins_after),
            (later.origins_before, later.origins_after),
        );
        self.fresh.extend(later.fresh);
        self.moved = self.moved.or(later.moved);
        self.brk = Replaced::then(self.brk, later.brk);
        self.peak = Replaced::then(self.peak, later.peak);
        self.rules = match (self.rules, later.rules) {
            (Some(first), Some(second)) => {
                Some(Box::new(Replaced { before: first.before, after: second.after }))
            }
            (first, second) => first.or(second),
        };
        self.settle();
        self
    }

    /// Drops rows that are the same on both sides, but for those with fresh pages.
    pub(crate) fn settle(&mut self) {
        let fresh = &self.fresh;
        drop_equal(&mut self.before, &mut self.after, |row| fresh.iter().any(|f| f.intersects(row.range)));
        drop_equal(&mut self.origins_before, &mut self.origins_after, |_| false);
    }
}

fn minus(range: AddrRange, cut: AddrRange) -> Vec<AddrRange> {
    [
        AddrRange::new(range.start(), cut.start().min(range.end())),
        AddrRange::new(cut.end().max(range.start()), range.end()),
    ]
    .into_iter()
    .flatten()
    .filter(|r| !r.is_empty())
    .collect()
}

/// What the second step consumed of the first one's result never shows outside.
fn compose<P: PartialEq + Piece>((before, after): (&mut Few<P>, &mut Few<P>), second: (Few<P>, Few<P>)) {
    if second.0.is_empty() && second.1.is_empty() {
        return;
    }
    let mut consumed = second.0;
    drop_equal(after, &mut consumed, |_| false);
    before.extend(consumed);
    after.extend(second.1);
    before.sort_by_key(Piece::range);
    after.sort_by_key(Piece::range);
}

/// Takes out what both lists have; both are in address order, so one pass is enough (a map has 60,000 rows).
fn drop_equal<P: PartialEq + Piece>(before: &mut Few<P>, after: &mut Few<P>, keep: impl Fn(&P) -> bool) {
    if before.is_empty() || after.is_empty() {
        return;
    }
    let mut equal: SmallVec<[bool; 8]> = SmallVec::from_elem(false, after.len());
    let mut at = 0;
    before.retain(|b| {
        while after.get(at).is_some_and(|a| a.range() < b.range()) {
            at += 1;
        }
        let is_equal = after.get(at) == Some(b) && !keep(b);
        if is_equal {
            equal[at] = true;
            at += 1;
        }
        !is_equal
    });
    let mut equal = equal.into_iter();
    after.retain(|_| !equal.next().unwrap_or(false));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::tests::{anon, r};
    use smallvec::smallvec;
    use vmatlas_event::Prot;

    /// Checks that a predicted row which the kernel's answer merged away does not show in the joined change.
    #[test]
    fn what_a_later_step_consumed_does_not_show() {
        let predicted = Change {
            after: smallvec![anon(3, 5, Prot::RW)],
            fresh: [r(3, 5)].into_iter().collect(),
            ..Change::default()
        };
        let observed = Change {
            before: smallvec![anon(1, 3, Prot::RW), anon(3, 5, Prot::RW)],
            after: smallvec![anon(1, 5, Prot::RW)],
            ..Change::default()
        };
        let joined = predicted.then(observed);
        assert_eq!(joined.before[..], [anon(1, 3, Prot::RW)]);
        assert_eq!(joined.after[..], [anon(1, 5, Prot::RW)]);
        assert_eq!(joined.pages(), [PageChange::Added(anon(3, 5, Prot::RW))]);
    }

    /// Checks that joining steps over many rows keeps exactly what differs, in address order.
    #[test]
    fn many_rows_settle_to_what_differs() {
        let rows =
            |prot: fn(u64) -> Prot| -> Few<VmaRow> { (0..60_000).map(|i| anon(i, i + 1, prot(i))).collect() };
        let all = |_| Prot::RW;
        let but_one = |i| if i == 31_337 { Prot::READ } else { Prot::RW };
        let step = |before: Few<VmaRow>, after: Few<VmaRow>| Change { before, after, ..Change::default() };
        let mut joined = step(rows(all), rows(but_one));
        joined.settle();
        assert_eq!(joined.before[..], [anon(31_337, 31_338, Prot::RW)]);
        assert_eq!(joined.after[..], [anon(31_337, 31_338, Prot::READ)]);
        let there_and_back = step(rows(all), rows(but_one)).then(step(rows(but_one), rows(all)));
        assert!(there_and_back.is_empty(), "{there_and_back:?}");
    }

    /// Checks that a move that grew is told as a move and an addition, and one that shrank as a move and a removal.
    #[test]
    fn moves_are_told_as_moves() {
        let change = Change {
            before: smallvec![anon(1, 3, Prot::RW)],
            after: smallvec![anon(10, 14, Prot::RW)],
            moved: Some((r(1, 3), r(10, 14))),
            ..Change::default()
        };
        assert_eq!(
            change.pages(),
            [PageChange::Moved { from: r(1, 3), to: r(10, 12) }, PageChange::Added(anon(12, 14, Prot::RW))]
        );
        let change = Change {
            before: smallvec![anon(1, 5, Prot::RW)],
            after: smallvec![anon(10, 12, Prot::RW)],
            moved: Some((r(1, 5), r(10, 12))),
            ..Change::default()
        };
        assert_eq!(
            change.pages(),
            [PageChange::Moved { from: r(1, 3), to: r(10, 12) }, PageChange::Removed(anon(3, 5, Prot::RW))]
        );
    }

    /// Checks that what a move replaced is told as removed, also where it looked like what came or only allowed less.
    #[test]
    fn a_move_removes_what_was_there() {
        for there in [Prot::RW, Prot::READ] {
            let change = Change {
                before: [anon(1, 3, Prot::RW), anon(10, 14, there)].into_iter().collect(),
                after: [anon(10, 12, Prot::RW), anon(12, 14, there)].into_iter().collect(),
                moved: Some((r(1, 3), r(10, 12))),
                ..Change::default()
            };
            let moved = PageChange::Moved { from: r(1, 3), to: r(10, 12) };
            assert_eq!(change.pages(), [moved, PageChange::Removed(anon(10, 12, there))]);
        }
    }
}
