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
    /// Where the last piece of each chunk ends: dense, so that finding a chunk reads little memory.
    ends: Vec<Addr>,
    len: usize,
    /// Where something was sought last. One call looks several times for the same place, and so does the next call
    /// often; it may be wrong, so it is checked before it is believed.
    hint: Place,
}

/// The most pieces in a chunk.
const MOST: usize = 64;

/// How much room a chunk gets when it is full. Doubling would leave a quarter of all memory unused.
const ROOM: usize = 8;

/// A place in the list: a chunk, and an index in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    chunk: usize,
    index: usize,
}

impl<P> Default for IntervalMap<P> {
    fn default() -> Self {
        IntervalMap { chunks: Vec::new(), ends: Vec::new(), len: 0, hint: Place::default() }
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

    /// All of them, in address order, nothing left.
    pub fn into_pieces(self) -> impl Iterator<Item = P> {
        self.chunks.into_iter().flatten()
    }

    /// The piece that holds `addr`.
    pub fn at(&self, addr: Addr) -> Option<&P> {
        self.get(self.first_above(addr)).filter(|p| p.range().contains(addr))
    }

    /// The pieces that share an address with `range`, whole, in address order.
    pub fn meeting(&self, range: AddrRange) -> impl Iterator<Item = &P> {
        let mut place = self.first_above(range.start());
        std::iter::from_fn(move || {
            let chunk = self.chunks.get(place.chunk)?;
            let piece = chunk.get(place.index).filter(|p| p.range().intersects(range))?;
            place = self.after(place);
            Some(piece)
        })
    }

    /// Remembers the place of `addr`, so that what is asked of it next finds it at once.
    pub fn seek(&mut self, addr: Addr) {
        self.hint = self.first_above(addr);
    }

    /// The last piece that ends at or below `addr`, or holds it.
    pub fn last_below(&self, addr: Addr) -> Option<&P> {
        let place = self.first_above(addr);
        if let Some(piece) = self.get(place).filter(|p| p.range().start() < addr) {
            return Some(piece);
        }
        match place.index.checked_sub(1) {
            Some(index) => self.get(Place { index, ..place }),
            None => self.chunks.get(place.chunk.checked_sub(1)?)?.last(),
        }
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

    /// The next place.
    fn after(&self, Place { chunk, index }: Place) -> Place {
        match self.chunks.get(chunk) {
            Some(pieces) if index + 1 >= pieces.len() => Place { chunk: chunk + 1, index: 0 },
            _ => Place { chunk, index: index + 1 },
        }
    }

    /// The first piece that ends above `addr`: the first that can hold it or lie above it.
    fn first_above(&self, addr: Addr) -> Place {
        // A map that is read comes in order.
        if self.ends.last().is_none_or(|end| *end <= addr) {
            return Place { chunk: self.chunks.len(), index: 0 };
        }
        for place in [self.hint, self.after(self.hint)] {
            if self.is_first_above(place, addr) {
                return place;
            }
        }
        let chunk = self.ends.partition_point(|end| *end <= addr);
        let index = self.chunks.get(chunk).map_or(0, |c| c.partition_point(|p| p.range().end() <= addr));
        Place { chunk, index }
    }

    /// Whether a place, from whatever time, is the one that [`IntervalMap::first_above`] looks for.
    fn is_first_above(&self, place: Place, addr: Addr) -> bool {
        let Some(chunk) = self.chunks.get(place.chunk) else { return false };
        let is_above = chunk.get(place.index).is_some_and(|p| p.range().end() > addr);
        let end_before = match (place.index.checked_sub(1), place.chunk.checked_sub(1)) {
            (Some(index), _) => chunk.get(index).map(|p| p.range().end()),
            (None, Some(chunk)) => self.ends.get(chunk).copied(),
            (None, None) => None,
        };
        is_above && end_before.is_none_or(|end| end <= addr)
    }

    /// Puts a piece at a place that is free for it.
    fn insert(&mut self, place: Place, piece: P) {
        self.len += 1;
        let mut place = place;
        let is_past = place.chunk == self.chunks.len();
        if is_past {
            // Past the end there is no chunk: the last one takes it. A full one stays full, since a map that is read
            // comes in order and leaves no gap to fill later.
            match self.chunks.last() {
                Some(last) if last.len() < MOST => {
                    place = Place { chunk: place.chunk - 1, index: last.len() };
                }
                _ => {
                    self.chunks.push(Vec::new());
                    self.ends.push(piece.range().end());
                }
            }
        } else if self.chunks[place.chunk].len() >= MOST {
            place = self.split_chunk(place);
        }
        self.hint = place;
        let pieces = &mut self.chunks[place.chunk];
        if pieces.len() == pieces.capacity() {
            // What is put at the end is followed by more.
            let room = if is_past { pieces.len().clamp(ROOM, MOST / 2) } else { ROOM };
            pieces.reserve_exact(room);
        }
        pieces.insert(place.index, piece);
        if place.index + 1 == pieces.len() {
            self.ends[place.chunk] = pieces[place.index].range().end();
        }
    }

    /// Makes two chunks of a full one, and tells where a place of it is then.
    fn split_chunk(&mut self, Place { chunk, index }: Place) -> Place {
        const HALF: usize = MOST / 2;
        let lower = &mut self.chunks[chunk];
        let upper = lower.split_off(HALF);
        lower.shrink_to(HALF + ROOM);
        let end = lower[HALF - 1].range().end();
        self.chunks.insert(chunk + 1, upper);
        self.ends.insert(chunk, end);
        if index <= HALF { Place { chunk, index } } else { Place { chunk: chunk + 1, index: index - HALF } }
    }

    fn remove_each(&mut self, range: AddrRange, mut gone: impl FnMut(P)) {
        if range.is_empty() {
            return;
        }
        self.split_at(range.start());
        self.split_at(range.end());
        let from = self.first_above(range.start());
        self.hint = from;
        let mut chunk = from.chunk;
        let mut index = from.index;
        let mut emptied = 0;
        while let Some(pieces) = self.chunks.get_mut(chunk) {
            let inside = pieces[index..].iter().take_while(|p| p.range().end() <= range.end()).count();
            let is_last = index + inside < pieces.len();
            self.len -= inside;
            pieces.drain(index..index + inside).for_each(&mut gone);
            match pieces.last() {
                Some(last) => self.ends[chunk] = last.range().end(),
                None => emptied += 1,
            }
            if pieces.capacity() - pieces.len() > 2 * ROOM {
                pieces.shrink_to(pieces.len() + ROOM);
            }
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
            self.ends.drain(first..first + emptied);
        }
        // What is left of the chunks that were cut may be little.
        self.join(from.chunk);
        self.join(from.chunk.wrapping_sub(1));
    }

    /// Makes one chunk of two that hold little: a map that shrank has no more chunks than one that grew.
    fn join(&mut self, chunk: usize) {
        let Some([lower, upper]) = self.chunks.get_mut(chunk..).and_then(|c| c.first_chunk_mut::<2>()) else {
            return;
        };
        if lower.len() + upper.len() <= MOST / 2 {
            lower.reserve_exact(upper.len());
            lower.append(upper);
            self.chunks.remove(chunk + 1);
            self.ends.remove(chunk);
        }
    }
}

mod bulk;
#[cfg(test)]
mod tests;
