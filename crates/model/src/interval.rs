//! Pieces that do not overlap, by address: the one place where anything is split.

use std::collections::BTreeMap;
use std::ops::Bound;
use vmatlas_event::{Addr, AddrRange, VmaRow};

/// Something that holds a range of addresses and can be cut.
pub trait Piece: Clone {
    /// The addresses it holds; never empty.
    fn range(&self) -> AddrRange;
    /// The part of it inside `range`; `None` when they do not meet.
    fn clip(&self, range: AddrRange) -> Option<Self>;
}

impl Piece for VmaRow {
    fn range(&self) -> AddrRange {
        self.range
    }
    fn clip(&self, range: AddrRange) -> Option<VmaRow> {
        VmaRow::clip(self, range)
    }
}

/// Pieces in address order, none overlapping another.
#[derive(Clone, Debug)]
pub struct IntervalMap<P> {
    // Keyed by end: the first piece that meets a range is then the first whose key is above the range's start, so one
    // search finds them all. No two pieces end at one place.
    pieces: BTreeMap<Addr, P>,
}

impl<P: Piece> Default for IntervalMap<P> {
    fn default() -> Self {
        IntervalMap { pieces: BTreeMap::new() }
    }
}

impl<P: Piece> IntervalMap<P> {
    /// How many pieces there are.
    pub fn len(&self) -> usize {
        self.pieces.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// All of them, in address order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &P> {
        self.pieces.values()
    }

    /// The piece that holds `addr`.
    pub fn at(&self, addr: Addr) -> Option<&P> {
        self.above(addr).next().filter(|p| p.range().contains(addr))
    }

    /// The pieces that share an address with `range`, whole, in address order.
    pub fn meeting(&self, range: AddrRange) -> impl Iterator<Item = &P> {
        self.above(range.start()).take_while(move |p| p.range().intersects(range))
    }

    /// The pieces that end above `addr`.
    fn above(&self, addr: Addr) -> impl Iterator<Item = &P> {
        self.pieces.range((Bound::Excluded(addr), Bound::Unbounded)).map(|(_, p)| p)
    }

    /// Cuts the piece that holds `addr` in two there; does nothing between pieces.
    pub fn split_at(&mut self, addr: Addr) {
        let Some((_, piece)) = self.pieces.range_mut((Bound::Excluded(addr), Bound::Unbounded)).next() else {
            return;
        };
        let range = piece.range();
        if range.start() >= addr {
            return;
        }
        let halves = (AddrRange::new(range.start(), addr), AddrRange::new(addr, range.end()));
        if let (Some(low), Some(high)) = halves
            && let (Some(low), Some(high)) = (piece.clip(low), piece.clip(high))
        {
            // The upper half keeps the end, and so its place.
            *piece = high;
            self.pieces.insert(addr, low);
        }
    }

    /// Takes everything inside `range` out, cutting pieces that reach over its ends; in address order.
    pub fn take(&mut self, range: AddrRange) -> Vec<P> {
        if range.is_empty() {
            return Vec::new();
        }
        self.split_at(range.start());
        self.split_at(range.end());
        let inside = (Bound::Excluded(range.start()), Bound::Included(range.end()));
        self.pieces.extract_if(inside, |_, _| true).map(|(_, p)| p).collect()
    }

    /// Removes everything inside `range`, cutting pieces that reach over its ends, and shows each to `seen`.
    pub fn remove(&mut self, range: AddrRange, mut seen: impl FnMut(&P)) {
        if range.is_empty() {
            return;
        }
        self.split_at(range.start());
        self.split_at(range.end());
        let inside = (Bound::Excluded(range.start()), Bound::Included(range.end()));
        self.pieces.extract_if(inside, |_, _| true).for_each(|(_, p)| seen(&p));
    }

    /// Puts a piece in, in place of whatever is there.
    pub fn put(&mut self, piece: P) {
        let range = piece.range();
        if range.is_empty() {
            return;
        }
        if self.meeting(range).next().is_some() {
            self.take(range);
        }
        self.pieces.insert(range.end(), piece);
    }

    /// Changes the pieces inside `range`, cut at its ends.
    pub fn update(&mut self, range: AddrRange, mut change: impl FnMut(&mut P)) {
        if range.is_empty() {
            return;
        }
        self.split_at(range.start());
        self.split_at(range.end());
        let inside = (Bound::Excluded(range.start()), Bound::Included(range.end()));
        self.pieces.range_mut(inside).for_each(|(_, p)| change(p));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Tagged(AddrRange, u8);

    impl Piece for Tagged {
        fn range(&self) -> AddrRange {
            self.0
        }
        fn clip(&self, range: AddrRange) -> Option<Tagged> {
            self.0.intersect(range).map(|r| Tagged(r, self.1))
        }
    }

    fn r(a: u64, b: u64) -> AddrRange {
        AddrRange::new(Addr(a), Addr(b)).unwrap()
    }

    /// Checks that taking the middle leaves both ends, cut.
    #[test]
    fn the_middle_is_taken_and_the_ends_stay() {
        let mut map = IntervalMap::default();
        map.put(Tagged(r(10, 20), 1));
        assert_eq!(map.take(r(12, 15)), [Tagged(r(12, 15), 1)]);
        let left: Vec<_> = map.iter().cloned().collect();
        assert_eq!(left, [Tagged(r(10, 12), 1), Tagged(r(15, 20), 1)]);
        assert_eq!(map.at(Addr(13)), None);
        assert_eq!(map.take(r(12, 15)), []);
    }

    proptest! {
        /// Checks every operation against an array with one cell for each address.
        #[test]
        fn equals_an_array_of_cells(ops in proptest::collection::vec((0u64..64, 0u64..20, 0u8..4), 1..60)) {
            let mut map = IntervalMap::default();
            let mut cells = [0u8; 96];
            for (start, len, tag) in ops {
                let range = r(start, start + len);
                let slice = &mut cells[start as usize..(start + len) as usize];
                match tag {
                    0 => { map.take(range); slice.fill(0); }
                    3 => {
                        map.update(range, |p: &mut Tagged| p.1 = 9);
                        slice.iter_mut().filter(|c| **c != 0).for_each(|c| *c = 9);
                    }
                    tag => { map.put(Tagged(range, tag)); slice.fill(tag); }
                }
                for (addr, cell) in (0u64..).zip(cells) {
                    prop_assert_eq!(map.at(Addr(addr)).map_or(0, |p| p.1), cell);
                    let hits = map.meeting(r(addr, addr + 1)).count();
                    prop_assert_eq!(hits, usize::from(cell != 0));
                }
                let met: Vec<_> = map.meeting(r(0, 96)).cloned().collect();
                prop_assert_eq!(met.len(), map.len());
            }
        }
    }
}
