//! What memory belongs to an arena.

use crate::malloc::areas::{Areas, joined};
use crate::malloc::layout::{
    CHUNK_SIZE, FLAGS, HEAP_MAX, IS_MMAPPED, MIN_CHUNK, PREV_INUSE, State, is_chunk,
};
use crate::malloc::memory::Reader;
use crate::malloc::report::{Figure, Unknown};
use vmatlas_event::{Addr, AddrRange};

/// The memory of one arena, ascending.
#[derive(Clone, Debug, Default)]
pub(super) struct Heaps {
    pub(super) ranges: Vec<AddrRange>,
}

impl Heaps {
    /// Whether `size` bytes from `at` on lie in one heap.
    pub(super) fn hold(&self, at: u64, size: u64) -> bool {
        let Some(end) = at.checked_add(size) else { return false };
        let index = self.ranges.partition_point(|heap| heap.end().0 <= at);
        self.ranges.get(index).is_some_and(|heap| heap.start().0 <= at && end <= heap.end().0)
    }

    /// All of it; no list of free chunks is larger.
    pub(super) fn bytes(&self) -> u64 {
        self.ranges.iter().map(|heap| heap.len()).sum::<vmatlas_event::Bytes>().0
    }

    /// Those of several arenas.
    pub(super) fn joined<'a>(all: impl Iterator<Item = &'a Heaps>) -> Heaps {
        Heaps { ranges: joined(all.flat_map(|heaps| heaps.ranges.iter().copied())) }
    }
}

/// The memory of an arena and the size of its top.
pub(super) fn of(reader: &mut Reader<'_>, areas: &Areas, state: &State, main: bool) -> Figure<(Heaps, u64)> {
    if state.is_initial() {
        return if state.system() == 0 { Ok((Heaps::default(), 0)) } else { Err(wrong(state.at)) };
    }
    let top = state.top();
    let head = reader.word(top.wrapping_add(CHUNK_SIZE))?;
    let size = head & !FLAGS;
    let sound = head & PREV_INUSE != 0 && head & IS_MMAPPED == 0 && is_chunk(size) && size >= MIN_CHUNK;
    let end = top.checked_add(size).filter(|_| sound && size <= state.system()).ok_or(wrong(top))?;
    let heaps = match (main, state.noncontiguous()) {
        (true, true) => Heaps { ranges: areas.all().to_vec() },
        (true, false) => contiguous(areas, state, end)?,
        (false, _) => linked(reader, areas, state, end)?,
    };
    if heaps.hold(top, size) { Ok((heaps, size)) } else { Err(wrong(top)) }
}

/// The brk heap: all that the arena got ends with its top.
fn contiguous(areas: &Areas, state: &State, end: u64) -> Figure<Heaps> {
    end.checked_sub(state.system())
        .and_then(|start| AddrRange::new(Addr(start), Addr(end)))
        .filter(|range| areas.cover(*range))
        .map(|range| Heaps { ranges: vec![range] })
        .ok_or(wrong(state.at))
}

/// The heaps of another arena, from the last, which holds top, to the first, which holds the arena.
fn linked(reader: &mut Reader<'_>, areas: &Areas, state: &State, end: u64) -> Figure<Heaps> {
    let mut heaps = Vec::new();
    let mut total = 0u64;
    let mut heap = state.top() & !(HEAP_MAX - 1);
    loop {
        reader.in_time()?;
        let [arena, previous, size, accessible] = reader.words(heap)?;
        let range = AddrRange::from_len(Addr(heap), vmatlas_event::Bytes(size)).ok_or(wrong(heap))?;
        total = total.saturating_add(size);
        let sound = arena == state.at
            && (1..=HEAP_MAX).contains(&size)
            && size <= accessible
            && accessible <= HEAP_MAX
            && areas.cover(range)
            && previous.is_multiple_of(HEAP_MAX)
            // A circle of heaps would soon be more than the arena has.
            && total <= state.system();
        let top_ends_it = !heaps.is_empty() || range.end().0 == end;
        if !sound || !top_ends_it {
            return Err(wrong(heap));
        }
        heaps.push(range);
        if previous == 0 {
            break;
        }
        heap = previous;
    }
    // Touching heaps stay apart: no chunk crosses from one to the next.
    heaps.sort_unstable();
    if heap == state.at & !(HEAP_MAX - 1) && total == state.system() {
        Ok(Heaps { ranges: heaps })
    } else {
        Err(wrong(state.at))
    }
}

fn wrong(at: u64) -> Unknown {
    Unknown::Inconsistent(Addr(at))
}
