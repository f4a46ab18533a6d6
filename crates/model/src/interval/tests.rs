use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tagged(pub(super) AddrRange, pub(super) u8);

impl Piece for Tagged {
    fn range(&self) -> AddrRange {
        self.0
    }
    fn clip(&self, range: AddrRange) -> Option<Tagged> {
        self.0.intersect(range).map(|r| Tagged(r, self.1))
    }
}

pub(super) fn r(a: u64, b: u64) -> AddrRange {
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

/// Checks what must hold of the chunks whatever happened.
pub(super) fn is_sound(map: &IntervalMap<Tagged>) -> bool {
    let ends: Vec<Addr> = map.chunks.iter().filter_map(|c| c.last()).map(|p| p.0.end()).collect();
    let sizes = map.chunks.iter().all(|c| (1..=MOST).contains(&c.len()));
    let pieces: Vec<&Tagged> = map.iter().collect();
    let in_order = pieces.windows(2).all(|w| w[0].0.end() <= w[1].0.start());
    ends == map.ends && sizes && in_order && pieces.len() == map.len
}

/// Bytes that a model takes for each piece here, of a row and of its origin.
fn bytes_per_piece(map: &IntervalMap<Tagged>) -> usize {
    // Of a chunk itself, its end, and what the allocator takes.
    const CHUNK: usize = size_of::<Vec<Tagged>>() + size_of::<Addr>() + 16;
    let piece = size_of::<VmaRow>() + size_of::<crate::Origin>();
    let room: usize = map.chunks.iter().map(Vec::capacity).sum();
    (room * piece + map.chunks.len() * CHUNK * 2) / map.len
}

/// Checks that a VMA takes at most 160 bytes, in a map that was read, that grew and that shrank at random places.
#[test]
fn a_piece_takes_little_memory() {
    const PIECES: u64 = 60_000;
    let piece = |i: u64| Tagged(r(i * 2, i * 2 + 1), 0);
    // Every number once, in no order: the factor has nothing in common with the count.
    let shuffled = || (0..PIECES).map(|i| i * 37_813 % PIECES);
    let mut map = IntervalMap::default();
    (0..PIECES).for_each(|i| map.put(piece(i)));
    let read = bytes_per_piece(&map);
    let mut map = IntervalMap::default();
    shuffled().for_each(|i| map.put(piece(i)));
    let grown = bytes_per_piece(&map);
    shuffled().take(50_000).for_each(|i| map.remove(piece(i).0, |_| ()));
    let shrunk = bytes_per_piece(&map);
    assert!(map.len() == 10_000 && is_sound(&map));
    assert!(read <= 100 && grown <= 120 && shrunk <= 160, "{read} {grown} {shrunk}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Checks that a map of many chunks finds everything, wherever it was cut, filled and emptied before.
    #[test]
    fn many_chunks_stay_sound(
        ops in proptest::collection::vec((0u64..2000, prop_oneof![Just(1u64), 2u64..9, 0u64..700], 0u8..4), 1..60)
    ) {
        const CELLS: usize = 2800;
        let mut map = IntervalMap::default();
        let mut cells = [0u8; CELLS];
        for start in (0..2000).step_by(4) {
            map.put(Tagged(r(start, start + 2), 7));
            cells[start as usize..start as usize + 2].fill(7);
        }
        for (start, len, tag) in ops {
            let range = r(start, start + len);
            let slice = &mut cells[start as usize..(start + len) as usize];
            match tag {
                0 => { map.remove(range, |_| ()); slice.fill(0); }
                1 => map.seek(Addr(start)),
                // Many small ones, so that chunks fill up.
                2 => for addr in start..start + len {
                    map.put(Tagged(r(addr, addr + 1), 2));
                    cells[addr as usize] = 2;
                },
                tag => { map.put(Tagged(range, tag)); slice.fill(tag); }
            }
            prop_assert!(is_sound(&map));
            for addr in [0, start.saturating_sub(1), start, start + len, start + len + 1] {
                prop_assert_eq!(map.at(Addr(addr)).map_or(0, |p| p.1), cells[addr as usize]);
            }
        }
        for (addr, cell) in (0u64..).zip(cells) {
            prop_assert_eq!(map.at(Addr(addr)).map_or(0, |p| p.1), cell);
        }
    }

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
                let below = cells[..addr as usize].iter().rposition(|c| *c != 0).map(|cell| cell as u64);
                let last = map.last_below(Addr(addr)).map(|p| p.range().end().0.min(addr) - 1);
                prop_assert_eq!(last, below);
                let hits = map.meeting(r(addr, addr + 1)).count();
                prop_assert_eq!(hits, usize::from(cell != 0));
            }
            let met: Vec<_> = map.meeting(r(0, 96)).cloned().collect();
            prop_assert_eq!(met.len(), map.len());
        }
    }
}
