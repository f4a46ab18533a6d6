//! Where the model does not know what the kernel knows, because a question about a call got no answer.
//!
//! That happens where nobody is held while the kernel is asked (BPF). What is unclear is never called drift, and is clear again
//! when the whole map has been read.

use crate::apply::is_vma;
use crate::check::{Difference, Level, around};
use crate::diff::{page_changes, same_coverage};
use vmatlas_event::{Addr, AddrRange, Op, Outcome, VmaRow};

/// So many places are told apart; with more of them everything is unclear.
const MOST: usize = 64;

/// Places about which something is not known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unclear {
    /// Where pages may be other ones.
    pages: Vec<AddrRange>,
    /// Where VMAs may end elsewhere; pages are what the model says, unless they are among those above.
    boundaries: Vec<AddrRange>,
}

impl Unclear {
    /// Nothing is known for certain.
    pub(crate) fn everywhere() -> Unclear {
        Unclear { pages: vec![AddrRange::ALL], boundaries: Vec::new() }
    }

    /// Whether all is clear.
    pub(crate) fn is_empty(&self) -> bool {
        self.pages.is_empty() && self.boundaries.is_empty()
    }

    /// Takes in a range whose pages, or only whose boundaries, are unclear.
    pub(crate) fn add(&mut self, range: AddrRange, has_known_pages: bool) {
        let places = if has_known_pages { &mut self.boundaries } else { &mut self.pages };
        if places.iter().any(|place| place.covers(range)) {
            return;
        }
        places.retain(|place| !range.covers(*place));
        places.push(range);
        if places.len() > MOST {
            *places = vec![AddrRange::ALL];
        }
    }

    /// What was unclear `before` a call goes along where it is moved.
    pub(crate) fn follow(&mut self, before: &Unclear, op: &Op, outcome: Outcome) {
        let (&Op::Mremap { old, old_len, new_len, .. }, Outcome::Done(at)) = (op, outcome) else { return };
        // Without an old length shared pages are mapped a second time.
        let moved = if old_len.0 == 0 { new_len } else { old_len };
        let from = AddrRange::from_len(old, moved).unwrap_or(AddrRange::ALL);
        let to = AddrRange::from_len(Addr(at), new_len).unwrap_or(AddrRange::ALL);
        if before.pages.iter().any(|place| place.intersects(from)) {
            self.add(to, false);
        }
        if before.boundaries.iter().any(|place| touches(*place, from)) {
            self.add(to, true);
        }
    }

    /// Where the model's rows and the kernel's say different things that the model claims to know.
    pub(crate) fn difference<'a>(
        &self,
        model: impl Iterator<Item = &'a VmaRow>,
        kernel: &[VmaRow],
    ) -> Option<Difference> {
        let model: Vec<VmaRow> = model.filter(is_vma).cloned().collect();
        let kernel: Vec<VmaRow> = kernel.iter().filter(is_vma).cloned().collect();
        let (ours, theirs) = (outside(&model, &self.pages), outside(&kernel, &self.pages));
        let (level, at) = if same_coverage(&ours, &theirs) {
            let (ours, theirs) = (self.ends(&model), self.ends(&kernel));
            let at = ours.iter().find(|at| theirs.binary_search(at).is_err());
            let at = *at.or_else(|| theirs.iter().find(|at| ours.binary_search(at).is_err()))?;
            (Level::Boundaries, AddrRange::new(at, Addr(at.0.saturating_add(1)))?)
        } else {
            let at = page_changes(&ours, &theirs, &[]).into_iter().find_map(|change| match change {
                crate::PageChange::Added(row) | crate::PageChange::Removed(row) => Some(row.range),
                crate::PageChange::Altered { to, .. } => Some(to.range),
                crate::PageChange::Moved { .. } => None,
            });
            (Level::Coverage, at.unwrap_or(AddrRange::ALL))
        };
        Some(Difference { level, at, model: around(&model, at), kernel: around(&kernel, at) })
    }

    /// The addresses at which VMAs begin and end, but for those that are unclear, in order.
    fn ends(&self, rows: &[VmaRow]) -> Vec<Addr> {
        let unclear = || self.pages.iter().chain(&self.boundaries);
        let is_clear = |at: &Addr| !unclear().any(|place| place.start() <= *at && *at <= place.end());
        let mut ends: Vec<Addr> = rows.iter().flat_map(|row| [row.range.start(), row.range.end()]).collect();
        // Where one ends the next may begin.
        ends.dedup();
        ends.retain(is_clear);
        ends
    }
}

/// Whether they meet or lie side by side: then their VMAs may be one.
fn touches(a: AddrRange, b: AddrRange) -> bool {
    a.start() <= b.end() && b.start() <= a.end()
}

/// The parts of rows that lie outside of some places.
fn outside(rows: &[VmaRow], places: &[AddrRange]) -> Vec<VmaRow> {
    let mut places = places.to_vec();
    places.sort_unstable();
    let mut parts = Vec::new();
    for row in rows {
        let mut from = row.range.start();
        for place in places.iter().filter(|place| place.intersects(row.range)) {
            parts.extend(AddrRange::new(from, place.start()).and_then(|range| row.clip(range)));
            from = from.max(place.end());
        }
        parts.extend(AddrRange::new(from, row.range.end()).and_then(|range| row.clip(range)));
    }
    parts.retain(|part| !part.range.is_empty());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::tests::{anon, r};
    use vmatlas_event::{Bytes, Prot};

    /// Checks that what differs where nothing is known is no difference, and that the same is one elsewhere.
    #[test]
    fn what_is_unclear_is_no_difference() {
        let model = [anon(1, 5, Prot::RW), anon(7, 9, Prot::READ)];
        let split = [anon(1, 3, Prot::RW), anon(3, 5, Prot::RW), anon(7, 9, Prot::READ)];
        let other = [anon(1, 2, Prot::RW), anon(2, 5, Prot::READ), anon(7, 9, Prot::READ)];
        let level = |unclear: &Unclear, kernel: &[VmaRow]| {
            unclear.difference(model.iter(), kernel).map(|difference| difference.level)
        };
        let mut unclear = Unclear::default();
        assert_eq!(level(&unclear, &model), None);
        assert_eq!(level(&unclear, &split), Some(Level::Boundaries));
        unclear.add(r(6, 9), false);
        assert_eq!(level(&unclear, &split), Some(Level::Boundaries));
        assert_eq!(level(&unclear, &model[..1]), None);
        unclear.add(r(3, 5), true);
        assert_eq!(level(&unclear, &split), None);
        assert_eq!(level(&unclear, &other), Some(Level::Coverage));
        unclear.add(r(2, 5), false);
        assert_eq!(level(&unclear, &other), None);
    }

    /// Checks that what is unclear is moved along, and that many places become all.
    #[test]
    fn what_is_unclear_moves_and_adds_up() {
        let mut unclear = Unclear::default();
        unclear.add(r(1, 3), false);
        let page = |n: u64| Bytes(n * 4096);
        let before = unclear.clone();
        for (old_len, to) in [(page(2), r(20, 22)), (page(0), r(30, 32))] {
            let (old, new, new_len) = (r(2, 4).start(), Addr(0), page(2));
            let op = Op::Mremap { old, old_len, new, new_len, flags: 1 };
            unclear.follow(&before, &op, Outcome::Done(to.start().0));
        }
        assert_eq!(unclear.pages, [r(1, 3), r(20, 22), r(30, 32)]);
        (0..200).for_each(|n| unclear.add(r(100 + 2 * n, 101 + 2 * n), true));
        assert_eq!(unclear.boundaries, [AddrRange::ALL]);
        assert!(Unclear::default().is_empty() && !Unclear::everywhere().is_empty());
    }
}
