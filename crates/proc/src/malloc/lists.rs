//! Walking the lists of free chunks. Every link is checked before it is followed.

use crate::malloc::heaps::Heaps;
use crate::malloc::layout::{
    BINS, CHUNK_FD, CHUNK_SIZE, FASTBINS, FLAGS, IS_MMAPPED, MIN_CHUNK, PREV_INUSE, State, is_chunk,
};
use crate::malloc::memory::Reader;
use crate::malloc::report::{Figure, FreeChunks, Unknown};
use vmatlas_event::{Addr, AddrRange, PageSize};

/// The chunks in bins, and the whole pages inside them.
pub(super) struct Binned {
    pub(super) chunks: FreeChunks,
    pub(super) pages: Vec<AddrRange>,
}

/// Walks all bins of an arena.
pub(super) fn bins(reader: &mut Reader<'_>, state: &State, heaps: &Heaps, page: PageSize) -> Figure<Binned> {
    let mut found = Binned { chunks: FreeChunks::default(), pages: Vec::new() };
    for index in 1..BINS {
        let own = state.layout.bin_at(state.at, index);
        let (first, last) = state.bin(index);
        let (mut before, mut at) = (own, first);
        while at != own {
            let size = free_chunk(reader, at, before, index, heaps)?;
            found.chunks.add(size);
            if found.chunks.bytes.0 > heaps.bytes() {
                return Err(Unknown::Inconsistent(Addr(at)));
            }
            found.pages.extend(whole_pages(page, at, size));
            before = at;
            at = reader.word(at + CHUNK_FD)?;
        }
        if before != last {
            return Err(Unknown::Inconsistent(Addr(last)));
        }
    }
    Ok(found)
}

/// The size of a free chunk that is linked behind `before`.
///
/// The link back makes circles impossible: a chunk that is reached twice would have two chunks before it.
fn free_chunk(reader: &mut Reader<'_>, at: u64, before: u64, bin: u64, heaps: &Heaps) -> Figure<u64> {
    let wrong = Unknown::Inconsistent(Addr(at));
    if !is_chunk(at) || !heaps.hold(at, MIN_CHUNK) {
        return Err(wrong);
    }
    let [head, _fd, back] = reader.words(at + CHUNK_SIZE)?;
    let size = head & !FLAGS;
    let fits = match bin {
        1 => true,
        2..64 => size == bin * 16,
        _ => size >= 1024,
    };
    let sound = head & PREV_INUSE != 0 && head & IS_MMAPPED == 0 && is_chunk(size) && size >= MIN_CHUNK;
    // The chunk behind says again how large this one is, and that it is free; there always is one.
    if !fits || !sound || back != before || !heaps.hold(at, size.saturating_add(CHUNK_FD)) {
        return Err(wrong);
    }
    let [foot, next_head] = reader.words(at + size)?;
    if foot == size && next_head & PREV_INUSE == 0 { Ok(size) } else { Err(wrong) }
}

/// The whole pages in a chunk.
pub(super) fn whole_pages(page: PageSize, at: u64, size: u64) -> Option<AddrRange> {
    let start = page.ceil(Addr(at))?;
    let end = page.floor(Addr(at.checked_add(size)?));
    (start < end).then(|| AddrRange::new(start, end)).flatten()
}

/// How links of singly linked lists are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Links {
    /// Mixed with their own address (PROTECT_PTR, from 2.32).
    Protected,
    /// As they are.
    Plain,
}

impl Links {
    /// The link that is stored as `word` at `at`.
    pub(super) fn reveal(self, at: u64, word: u64) -> u64 {
        match self {
            Links::Protected => at >> 12 ^ word,
            Links::Plain => word,
        }
    }

    /// What to try; a list that was read in the wrong way leads out of the heap at its first link.
    pub(super) fn of(state: &State) -> &'static [Links] {
        if state.layout.may_be_plain() { &[Links::Protected, Links::Plain] } else { &[Links::Protected] }
    }
}

/// Walks the fastbins of an arena.
pub(super) fn fast(reader: &mut Reader<'_>, state: &State, heaps: &Heaps) -> Figure<FreeChunks> {
    let mut why = Unknown::NotFound;
    for links in Links::of(state) {
        match fast_with(reader, state, heaps, *links) {
            Err(reason @ Unknown::Inconsistent(_)) => why = reason,
            answer => return answer,
        }
    }
    Err(why)
}

fn fast_with(reader: &mut Reader<'_>, state: &State, heaps: &Heaps, links: Links) -> Figure<FreeChunks> {
    let mut chunks = FreeChunks::default();
    for index in 0..FASTBINS {
        let size = MIN_CHUNK + 16 * index as u64;
        let mut at = state.fast(index);
        // More chunks than the arena has room for are a circle.
        while at != 0 {
            let wrong = Unknown::Inconsistent(Addr(at));
            if !is_chunk(at) || !heaps.hold(at, size) || chunks.bytes.0 > heaps.bytes() {
                return Err(wrong);
            }
            let [head, link] = reader.words(at + CHUNK_SIZE)?;
            if head & !FLAGS != size || head & IS_MMAPPED != 0 {
                return Err(wrong);
            }
            chunks.add(size);
            if chunks.count.is_multiple_of(1 << 16) {
                reader.in_time()?;
            }
            at = links.reveal(at + CHUNK_FD, link);
        }
    }
    Ok(chunks)
}
