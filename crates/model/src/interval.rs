//! Pieces that do not overlap, by address: the one place where anything is split.

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
///
/// A sorted list cut into chunks: finding a place is two binary searches, and putting something there moves at most a
/// chunk. A map has 20 pieces mostly, and a million sometimes; `BTreeMap` took three times as long for the former.
#[derive(Clone, Debug)]
pub struct IntervalMap<P> {
    /// No chunk is empty or has more than [`MOST`] pieces.
    chunks: Vec<Vec<P>>,
    len: usize,
}

/// The most pieces in a chunk.
const MOST: usize = 128;

/// A place in the list: a chunk, and an index in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    chunk: usize,
    index: usize,
}

impl<P> Default for IntervalMap<P> {
    fn default() -> Self {
        IntervalMap { chunks: Vec::new(), len: 0 }
    }
}

impl<P: Piece> IntervalMap<P> {
    /// How many pieces there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All of them, in address order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &P> {
        self.chunks.iter().flatten()
    }

    /// The piece that holds `addr`.
    pub fn at(&self, addr: Addr) -> Option<&P> {
        self.get(self.first_above(addr)).filter(|p| p.range().contains(addr))
    }

    /// The pieces that share an address with `range`, whole, in address order.
    pub fn meeting(&self, range: AddrRange) -> impl Iterator<Item = &P> {
        let place = self.first_above(range.start());
        let rest = self.chunks.get(place.chunk..).unwrap_or_default();
        let (first, rest) = match rest.split_first() {
            Some((first, rest)) => (&first[place.index..], rest),
            None => (&[][..], rest),
        };
        first.iter().chain(rest.iter().flatten()).take_while(move |p| p.range().intersects(range))
    }

    /// Cuts the piece that holds `addr` in two there; does nothing between pieces.
    pub fn split_at(&mut self, addr: Addr) {
        let place = self.first_above(addr);
        let Some(piece) = self.chunks.get_mut(place.chunk).and_then(|c| c.get_mut(place.index)) else {
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
            *piece = high;
            self.insert(place, low);
        }
    }

    /// Takes everything inside `range` out, cutting pieces that reach over its ends; in address order.
    pub fn take(&mut self, range: AddrRange) -> Vec<P> {
        let mut taken = Vec::new();
        self.remove_each(range, |piece| taken.push(piece));
        taken
    }

    /// Removes everything inside `range`, cutting pieces that reach over its ends, and shows each to `seen`.
    pub fn remove(&mut self, range: AddrRange, mut seen: impl FnMut(&P)) {
        self.remove_each(range, |piece| seen(&piece));
    }

    /// Puts a piece in, in place of whatever is there.
    pub fn put(&mut self, piece: P) {
        let range = piece.range();
        if range.is_empty() {
            return;
        }
        let mut place = self.first_above(range.start());
        if self.get(place).is_some_and(|p| p.range().intersects(range)) {
            self.remove_each(range, drop);
            place = self.first_above(range.start());
        }
        self.insert(place, piece);
    }

    /// Changes the pieces inside `range`, cut at its ends; they must keep their addresses.
    pub fn update(&mut self, range: AddrRange, mut change: impl FnMut(&mut P)) {
        if range.is_empty() {
            return;
        }
        self.split_at(range.start());
        self.split_at(range.end());
        let place = self.first_above(range.start());
        let mut skip = place.index;
        for chunk in self.chunks.iter_mut().skip(place.chunk) {
            for piece in chunk.iter_mut().skip(std::mem::take(&mut skip)) {
                if !piece.range().intersects(range) {
                    return;
                }
                change(piece);
            }
        }
    }

    fn get(&self, place: Place) -> Option<&P> {
        self.chunks.get(place.chunk)?.get(place.index)
    }

    /// The first piece that ends above `addr`: the first that can hold it or lie above it.
    fn first_above(&self, addr: Addr) -> Place {
        let ends_below = |piece: &P| piece.range().end() <= addr;
        let chunk = self.chunks.partition_point(|chunk| chunk.last().is_none_or(ends_below));
        let index = self.chunks.get(chunk).map_or(0, |chunk| chunk.partition_point(ends_below));
        Place { chunk, index }
    }

    /// Puts a piece at a place that is free for it.
    fn insert(&mut self, place: Place, piece: P) {
        self.len += 1;
        // Past the end there is no chunk: the last one takes it.
        let is_past = place.chunk == self.chunks.len();
        let chunk = if is_past { self.chunks.len().saturating_sub(1) } else { place.chunk };
        let Some(pieces) = self.chunks.get_mut(chunk) else {
            self.chunks.push(vec![piece]);
            return;
        };
        let index = if is_past { pieces.len() } else { place.index };
        pieces.insert(index, piece);
        if pieces.len() > MOST {
            let upper = pieces.split_off(MOST / 2);
            self.chunks.insert(chunk + 1, upper);
        }
    }

    fn remove_each(&mut self, range: AddrRange, mut gone: impl FnMut(P)) {
        if range.is_empty() {
            return;
        }
        self.split_at(range.start());
        self.split_at(range.end());
        let from = self.first_above(range.start());
        let mut chunk = from.chunk;
        let mut index = from.index;
        let mut emptied = 0;
        while let Some(pieces) = self.chunks.get_mut(chunk) {
            let end = index + pieces[index..].partition_point(|p| p.range().end() <= range.end());
            let is_last = end < pieces.len();
            self.len -= end - index;
            pieces.drain(index..end).for_each(&mut gone);
            emptied += usize::from(pieces.is_empty());
            if is_last {
                break;
            }
            chunk += 1;
            index = 0;
        }
        if emptied > 0 {
            // Those that became empty lie together, the first one after a chunk that kept something, or at `from`.
            let first = from.chunk + usize::from(self.chunks.get(from.chunk).is_some_and(|c| !c.is_empty()));
            self.chunks.drain(first..first + emptied);
        }
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

    /// Checks that chunks split, empty and vanish without losing a piece: a thousand pieces, holes cut through them.
    #[test]
    fn chunks_come_and_go() {
        let mut map = IntervalMap::default();
        for i in (0..1000).rev() {
            map.put(Tagged(r(i * 10, i * 10 + 5), 1));
        }
        assert!(map.chunks.len() > 5 && map.chunks.iter().all(|c| (1..=MOST).contains(&c.len())));
        assert_eq!((map.len(), map.iter().count()), (1000, 1000));
        // Over whole chunks, and cut at both ends.
        assert_eq!(map.take(r(1002, 8002)).len(), 701);
        assert!(map.chunks.iter().all(|c| !c.is_empty()));
        assert_eq!(map.len(), map.iter().count());
        let ends: Vec<u64> = map.iter().map(|p| p.0.end().0).collect();
        assert!(ends.is_sorted() && ends.contains(&1002) && ends.contains(&8005));
        map.remove(AddrRange::ALL, |_| ());
        assert!(map.is_empty() && map.chunks.is_empty());
        map.put(Tagged(r(1, 2), 3));
        assert_eq!(map.at(Addr(1)), Some(&Tagged(r(1, 2), 3)));
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
