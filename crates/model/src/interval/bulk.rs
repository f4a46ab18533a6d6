//! Many pieces at once: a whole map that comes, goes or is taken back costs little more than a copy of it.

use super::{IntervalMap, MOST, Piece, Place, ROOM};
use vmatlas_event::{Addr, AddrRange};

/// So many pieces may stay as they are for each one that is exchanged: with more of them, one by one is faster.
const KEPT: usize = 8;

impl<P: Piece> IntervalMap<P> {
    /// Puts `new` in place of `old`, both in address order, and makes the chunks from the first to the last of them anew.
    ///
    /// Does nothing and answers `false` where one by one is faster, or the outcome would depend on the order: where a piece
    /// of `old` is not there as it is, or one of `new` would meet another that stays.
    pub(crate) fn exchange(&mut self, old: &[P], new: &[P]) -> bool {
        let both = || [old, new].into_iter().flatten().map(Piece::range);
        let Some(span) = both().reduce(AddrRange::hull) else { return true };
        let from = self.first_above(span.start()).chunk;
        let reaching = self.ends.partition_point(|end| *end < span.end()).saturating_add(1);
        let to = reaching.clamp(from, self.chunks.len().max(from));
        if (to - from) * MOST > KEPT * (old.len() + new.len()) || !self.can_exchange(from..to, old, new) {
            return false;
        }
        let chunks = if from == to {
            new.chunks(MOST).map(<[P]>::to_vec).collect()
        } else {
            let mut gone = old.iter().map(Piece::range).peekable();
            let there = self.chunks.drain(from..to).flatten();
            let mut kept = there.filter(|piece| gone.next_if_eq(&piece.range()).is_none()).peekable();
            let mut come = new.iter().peekable();
            chunks_of(std::iter::from_fn(|| match (kept.peek(), come.peek()) {
                (Some(stays), Some(comes)) if stays.range() < comes.range() => kept.next(),
                (_, Some(_)) => come.next().cloned(),
                _ => kept.next(),
            }))
        };
        let ends: Vec<Addr> =
            chunks.iter().filter_map(|chunk| chunk.last()).map(|p| p.range().end()).collect();
        self.ends.splice(from..to, ends);
        self.chunks.splice(from..from, chunks);
        self.len = self.len - old.len() + new.len();
        self.hint = Place::default();
        true
    }

    /// Whether all of `old` are in these chunks as they are, and `new` would meet none that stays.
    fn can_exchange(&self, chunks: std::ops::Range<usize>, old: &[P], new: &[P]) -> bool {
        let (Some(gone), Some(come)) = (ordered(old), ordered(new)) else { return false };
        let (mut gone, mut come) = (gone.peekable(), come.peekable());
        for piece in self.chunks.get(chunks).into_iter().flatten().flatten() {
            let range = piece.range();
            if gone.next_if_eq(&range).is_some() {
                continue;
            }
            while come.next_if(|new| new.end() <= range.start()).is_some() {}
            if come.peek().is_some_and(|new| new.intersects(range)) {
                return false;
            }
        }
        gone.peek().is_none()
    }
}

/// The ranges of pieces in address order; `None` where they are not in order, or one is empty.
fn ordered<P: Piece>(pieces: &[P]) -> Option<impl Iterator<Item = AddrRange> + '_> {
    let is_ordered = pieces.is_sorted_by(|a, b| a.range().end() <= b.range().start());
    let ranges = || pieces.iter().map(Piece::range);
    (is_ordered && !ranges().any(AddrRange::is_empty)).then(ranges)
}

/// Full chunks of pieces in address order: a map that is read comes in order and leaves no gap to fill later.
fn chunks_of<P>(mut pieces: impl Iterator<Item = P>) -> Vec<Vec<P>> {
    let mut chunks = Vec::new();
    loop {
        let mut chunk = Vec::with_capacity(MOST);
        chunk.extend(pieces.by_ref().take(MOST));
        if chunk.is_empty() {
            return chunks;
        }
        if chunk.capacity() - chunk.len() > 2 * ROOM {
            chunk.shrink_to(chunk.len() + ROOM);
        }
        chunks.push(chunk);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Tagged, is_sound, r};
    use super::*;
    use proptest::prelude::*;

    fn map_of(pieces: &[Tagged]) -> IntervalMap<Tagged> {
        let mut map = IntervalMap::default();
        pieces.iter().for_each(|piece| map.put(piece.clone()));
        map
    }

    fn pieces(map: &IntervalMap<Tagged>) -> Vec<Tagged> {
        map.iter().cloned().collect()
    }

    proptest! {
        /// Checks that pieces exchanged at once are those exchanged one by one, and that they can be taken back; and that
        /// nothing happens where the order of old and new would count.
        #[test]
        fn at_once_is_as_one_by_one(
            slots in proptest::collection::vec((0u8..4, 0u8..3, any::<bool>()), 1..700),
            odd in 0u8..6,
        ) {
            let at = |slot: usize, tag| Tagged(r(slot as u64 * 4, slot as u64 * 4 + 3), tag);
            let (mut there, mut old, mut new) = (vec![], vec![], vec![]);
            for (slot, (before, after, goes)) in slots.iter().enumerate() {
                let goes = *goes || *before == 0;
                there.extend((*before > 0).then(|| at(slot, *before)));
                old.extend((*before > 0 && goes).then(|| at(slot, *before)));
                new.extend((*after > 0 && goes).then(|| at(slot, *after)));
            }
            match odd {
                // Not there, out of order, over one that stays.
                0 => old.push(at(slots.len(), 1)),
                1 => new.reverse(),
                2 => new.extend(there.iter().rev().find(|piece| !old.contains(piece)).cloned()),
                _ => {}
            }
            let mut map = map_of(&there);
            let mut slow = map.clone();
            if map.exchange(&old, &new) {
                old.iter().for_each(|piece| slow.remove(piece.0, |_| ()));
                new.iter().for_each(|piece| slow.put(piece.clone()));
                prop_assert_eq!(pieces(&map), pieces(&slow));
                prop_assert!(is_sound(&map));
                let is_back = map.exchange(&new, &old);
                prop_assert!(is_sound(&map));
                prop_assert_eq!(pieces(&map), if is_back { there } else { pieces(&slow) });
            } else {
                prop_assert_eq!(pieces(&map), there);
            }
        }
    }

    /// Checks that what is in order and exact is done at once, in maps of many chunks: all of it, and a part in the middle.
    #[test]
    fn what_is_exact_is_done_at_once() {
        let piece = |i: u64, tag| Tagged(r(i * 10, i * 10 + 5), tag);
        let all = |tag| (0..1000).map(|i| piece(i, tag)).collect::<Vec<_>>();
        let mut map = IntervalMap::default();
        assert!(map.exchange(&[], &all(1)) && is_sound(&map));
        assert!(map.exchange(&all(1)[300..600], &all(2)[310..320]) && is_sound(&map));
        assert_eq!(map.len(), 710);
        assert!(map.exchange(&all(2)[310..320], &all(1)[300..600]));
        assert_eq!(pieces(&map), all(1));
        // Two of a thousand: one by one.
        assert!(!map.exchange(&[piece(1, 1), piece(998, 1)], &[]));
        assert!(map.exchange(&all(1), &[]) && map.is_empty() && is_sound(&map));
        assert!(map.exchange(&[], &[]));
    }
}
