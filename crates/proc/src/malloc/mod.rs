//! Inside glibc's malloc: its arenas, and what in them is free, read from outside.
//!
//! The commonest answer to "the program freed it, why is it still in memory" is that malloc keeps it: chunks that are
//! free for the program lie between chunks in use, or above them in `top`, and their pages stay. [`look`] finds them in
//! a living process that is neither stopped nor asked for anything; [`inspect`] is the same over any [`TargetMemory`].
//!
//! The memory of another program is hostile input and changes while it is read. So each pointer is checked before it is
//! followed, a chunk is believed only when its neighbours agree, and every loop is bounded by the size of the arena, by
//! time and by bytes. What does not fit makes a figure unknown, with the place and the reason; never a guess. Nothing
//! is read that is not in memory already, because reading it would bring it there.
//!
//! Known limits: 64-bit little-endian programs; one libc per process (dlmopen(3) can load more); heaps of 64 MiB
//! (glibc.malloc.hugetlb=2 makes larger ones); memory tagging (glibc.mem.tagging) hides the links.

mod areas;
mod arena;
mod caches;
mod find;
mod heaps;
mod layout;
mod lists;
mod live;
mod mapped;
mod memory;
mod parameters;
mod report;
#[cfg(test)]
mod tests;
mod totals;

pub use layout::Layout;
pub use live::{ResidentMemory, look};
pub use memory::{Limits, TargetMemory, Unread};
pub use report::{
    ArenaReport, Figure, FreeChunks, GlibcReport, MallocCost, MappedChunks, Presence, ThreadCaches, Unknown,
};

use areas::Areas;
use find::{Found, Search};
use heaps::Heaps;
use layout::State;
use memory::Reader;
use std::time::Instant;
use vmatlas_event::{PageSize, VmaRow};

/// Looks once into the malloc of the program that has this map and this memory.
pub fn inspect(
    memory: &mut dyn TargetMemory,
    rows: &[VmaRow],
    page: PageSize,
    limits: Limits,
) -> GlibcReport {
    let mut reader = Reader::new(memory, limits, Instant::now());
    let areas = Areas::new(rows);
    let mut report = match find::read_data(&mut reader, &areas) {
        Err(why) => GlibcReport::without(Presence::NotFound(why)),
        Ok(data) => match find::search(&mut reader, &areas, &data) {
            Search::Nothing(why) => GlibcReport::without(Presence::NotFound(why)),
            Search::Unused => GlibcReport::without(Presence::Unused),
            Search::Arenas(found) => arenas(&mut reader, &areas, &data, *found, page),
        },
    };
    report.cost = reader.cost();
    report
}

fn arenas(
    reader: &mut Reader<'_>,
    areas: &Areas,
    data: &[find::Piece],
    found: Found,
    page: PageSize,
) -> GlibcReport {
    let mut report = GlibcReport::without(Presence::Found);
    report.layout = Some(found.layout);
    report.missing_arenas = found.missing;
    let states: Vec<State> =
        std::iter::once(found.main).chain(found.others).map(|state| state.with(found.layout)).collect();
    let mut memory: Vec<(usize, Heaps)> = Vec::new();
    for (index, state) in states.iter().enumerate() {
        let (arena, heaps) = arena::look(reader, areas, state, index == 0, page);
        report.arenas.push(arena);
        memory.extend(heaps.ok().map(|heaps| (index, heaps)));
    }
    report.thread_caches = thread_caches(reader, &states, &memory, &report.arenas);
    let contiguous = states.first().is_some_and(|main| !main.noncontiguous());
    let brk = memory.first().filter(|(index, _)| *index == 0 && contiguous);
    if let Some(start) = brk.and_then(|(_, heaps)| heaps.ranges.first()) {
        report.mapped = parameters::mapped(data, start.start().0);
        let taken = Heaps::joined(memory.iter().map(|(_, heaps)| heaps)).ranges;
        report.mapped_at = report.mapped.and_then(|told| mapped::find(reader, areas, &taken, told, page));
    }
    report
}

fn thread_caches(
    reader: &mut Reader<'_>,
    states: &[State],
    memory: &[(usize, Heaps)],
    arenas: &[ArenaReport],
) -> ThreadCaches {
    // A thread can keep chunks of any arena.
    let all = Heaps::joined(memory.iter().map(|(_, heaps)| heaps));
    let mut caches = ThreadCaches {
        found: 0,
        of: arenas.iter().map(|arena| arena.attached_threads).sum(),
        chunks: Ok(FreeChunks::default()),
    };
    for (index, heaps) in memory {
        let Some(state) = states.get(*index) else { continue };
        let Some(first) = heaps.ranges.first().filter(|_| *index > 0 || !state.noncontiguous()) else {
            continue;
        };
        let main = first.start().0.next_multiple_of(layout::ALIGN);
        let at = if *index == 0 { main } else { state.layout.first_chunk(state.at) };
        match caches::cache(reader, state, at, &all) {
            Ok(None) => {}
            Ok(Some(chunks)) => {
                caches.found += 1;
                caches.chunks = caches.chunks.map(|mut all| {
                    all.join(chunks);
                    all
                });
            }
            Err(why) => caches.chunks = Err(why),
        }
    }
    if caches.found == 0 && caches.chunks.is_ok() {
        caches.chunks = Err(Unknown::NotFound);
    }
    caches
}
