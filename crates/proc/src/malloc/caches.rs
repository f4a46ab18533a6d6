//! The caches of free chunks that threads keep (tcache).
//!
//! A cache is a chunk like any other. The first thread of an arena has its own at the start of the arena's first heap
//! (of the main thread as a rule: up to 2.41 it is made before the first allocation is served); the others are only
//! found by each thread's own storage, which is not read.

use crate::malloc::heaps::Heaps;
use crate::malloc::layout::{CHUNK_FD, CHUNK_SIZE, FLAGS, IS_MMAPPED, PREV_INUSE, State, is_chunk};
use crate::malloc::lists::Links;
use crate::malloc::memory::Reader;
use crate::malloc::report::{Figure, FreeChunks, Unknown};
use vmatlas_event::Addr;

/// How a tcache_perthread_struct is laid out, told apart by the size of its chunk.
struct Shape {
    chunk: u64,
    bins: u64,
    /// Bytes of one counter.
    counter: u64,
    /// The counters say how much room is left, not how many there are.
    room: bool,
}

/// 2.26 to 2.29, 2.30 to 2.41, and from 2.42 on, where 12 bins for large chunks follow the 64.
const SHAPES: [Shape; 3] = [
    Shape { chunk: 0x250, bins: 64, counter: 1, room: false },
    Shape { chunk: 0x290, bins: 64, counter: 2, room: false },
    Shape { chunk: 0x300, bins: 76, counter: 2, room: true },
];
/// Bins for one size each.
const SMALL: u64 = 64;

/// The chunks in the cache that is the chunk at `at`; `None` when that is no cache.
pub(super) fn cache(
    reader: &mut Reader<'_>,
    state: &State,
    at: u64,
    heaps: &Heaps,
) -> Figure<Option<FreeChunks>> {
    let head = reader.word(at.wrapping_add(CHUNK_SIZE))?;
    let Some(shape) = SHAPES.iter().find(|shape| shape.chunk == head & !FLAGS) else { return Ok(None) };
    let in_use = |head: u64| head & PREV_INUSE != 0;
    if head & IS_MMAPPED != 0 || !heaps.hold(at, shape.chunk + CHUNK_FD) {
        return Ok(None);
    }
    if !in_use(reader.word(at + shape.chunk + CHUNK_SIZE)?) {
        return Ok(None);
    }
    for links in Links::of(state) {
        match read(reader, shape, at, heaps, *links) {
            Err(Unknown::Inconsistent(_)) => {}
            answer => return answer.map(Some),
        }
    }
    Ok(None)
}

fn read(reader: &mut Reader<'_>, shape: &Shape, at: u64, heaps: &Heaps, links: Links) -> Figure<FreeChunks> {
    let counters = at + CHUNK_FD;
    let entries = counters + shape.bins * shape.counter;
    let mut all = FreeChunks::default();
    let mut room = 0;
    for bin in 0..shape.bins {
        let offset = bin * shape.counter;
        let word = reader.word(counters + offset / 8 * 8)?;
        let counter = word.to_le() >> (offset % 8 * 8) & ((1 << (shape.counter * 8)) - 1);
        let most = if shape.room { u64::from(u16::MAX) } else { counter };
        let chunks = list(reader, bin, entries + bin * 8, most, heaps, links)?;
        let wrong = Unknown::Inconsistent(Addr(at));
        if shape.room {
            // Every bin for small chunks has the same room in all.
            room = if bin == 0 { counter + chunks.count } else { room };
            if bin < SMALL && counter + chunks.count != room {
                return Err(wrong);
            }
        } else if chunks.count != counter {
            return Err(wrong);
        }
        all.join(chunks);
    }
    Ok(all)
}

fn list(
    reader: &mut Reader<'_>,
    bin: u64,
    first: u64,
    most: u64,
    heaps: &Heaps,
    links: Links,
) -> Figure<FreeChunks> {
    let mut chunks = FreeChunks::default();
    let mut memory = reader.word(first)?;
    while memory != 0 {
        let wrong = Unknown::Inconsistent(Addr(memory));
        let chunk = memory.wrapping_sub(CHUNK_FD);
        if !is_chunk(memory) || !heaps.hold(chunk, 32) || chunks.count >= most {
            return Err(wrong);
        }
        let [head, link] = reader.words(chunk + CHUNK_SIZE)?;
        let size = head & !FLAGS;
        let fits = if bin < SMALL { size == 32 + 16 * bin } else { size > 1024 };
        if !fits || head & IS_MMAPPED != 0 || !heaps.hold(chunk, size) {
            return Err(wrong);
        }
        chunks.add(size);
        memory = links.reveal(memory, link);
    }
    Ok(chunks)
}
