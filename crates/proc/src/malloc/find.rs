//! Finding the arenas without debug symbols.
//!
//! A malloc_state has 127 bins, and an empty bin points to itself: nothing else looks like it. The main arena is a
//! variable of libc, so it is searched for in libc's data; the others are linked from it (`next`, a circle) and lie at
//! the start of heaps, aligned to 64 MiB. Where the data cannot be read, a heap leads to the circle too.

use crate::malloc::areas::Areas;
use crate::malloc::layout::{HEAP_INFOS, HEAP_MAX, Layout, STATES, State, is_chunk};
use crate::malloc::memory::Reader;
use crate::malloc::report::{Figure, Unknown};
use rustc_hash::FxHashSet;
use vmatlas_event::Addr;

/// The arenas of a process.
pub(super) struct Found {
    pub(super) layout: Layout,
    pub(super) main: State,
    pub(super) others: Vec<State>,
    /// Why there may be more.
    pub(super) missing: Option<Unknown>,
}

/// What a search ends with.
pub(super) enum Search {
    Arenas(Box<Found>),
    /// A main arena that was never used.
    Unused,
    Nothing(Unknown),
}

/// Arenas that are followed at most; glibc makes 8 for each processor.
const MOST_ARENAS: usize = 1 << 16;
/// Data that is searched at most.
const MOST_DATA: u64 = 64 << 20;

/// A piece of data that is in memory.
pub(super) struct Piece {
    pub(super) start: u64,
    pub(super) words: Vec<u64>,
}

/// Reads the parts of libc's data that are in memory.
pub(super) fn read_data(reader: &mut Reader<'_>, areas: &Areas) -> Result<Vec<Piece>, Unknown> {
    const BLOCK: u64 = 4096;
    let mut pieces: Vec<Piece> = Vec::new();
    let mut total = 0;
    for range in &areas.data {
        let mut whole = false;
        for block in (range.start().0..range.end().0).step_by(BLOCK as usize) {
            total += BLOCK;
            if total > MOST_DATA {
                return Ok(pieces);
            }
            match reader.words::<{ BLOCK as usize / 8 }>(block) {
                Ok(words) if whole => pieces.last_mut().into_iter().for_each(|p| p.words.extend(words)),
                Ok(words) => pieces.push(Piece { start: block, words: words.to_vec() }),
                Err(Unknown::NotResident(_) | Unknown::Unreadable(_)) => {
                    whole = false;
                    continue;
                }
                Err(why) => return Err(why),
            }
            whole = true;
        }
    }
    Ok(pieces)
}

/// Searches for the arenas.
pub(super) fn search(reader: &mut Reader<'_>, areas: &Areas, data: &[Piece]) -> Search {
    let mut untouched = false;
    let mut open: Option<Found> = None;
    let mut why = if data.is_empty() { Unknown::NotResident(first_data(areas)) } else { Unknown::NotFound };
    for layout in STATES {
        for at in data.iter().flat_map(|piece| candidates(piece, layout)) {
            match read_state(reader, at, layout) {
                Ok(state) if state.is_untouched() => untouched = true,
                Ok(state) if state.is_plausible(&|at| areas.hold(at)) => {
                    if state.is_initial() && state.next() == state.at {
                        untouched = true;
                        continue;
                    }
                    // The bins of one layout look like those of the other from a different start; the circle closes
                    // at the true one only.
                    let found = follow(reader, areas, state);
                    if found.missing.is_none() {
                        return Search::Arenas(Box::new(found));
                    }
                    open.get_or_insert(found);
                }
                Ok(_) => {}
                Err(reason) => why = reason,
            }
        }
    }
    if let Some(found) = open.filter(|_| !untouched) {
        return Search::Arenas(Box::new(found));
    }
    match by_heaps(reader, areas) {
        Ok(Some(found)) => Search::Arenas(Box::new(found)),
        Ok(None) if untouched => Search::Unused,
        Ok(None) => Search::Nothing(if areas.data.is_empty() { Unknown::NotFound } else { why }),
        Err(reason) => Search::Nothing(reason),
    }
}

fn first_data(areas: &Areas) -> Addr {
    areas.data.first().map_or(Addr(0), |range| range.start())
}

/// Addresses in a piece where a malloc_state may be: the last bin, which is never used, points to itself, or nothing was
/// initialised and only `next` does.
fn candidates(piece: &Piece, layout: Layout) -> impl Iterator<Item = u64> + '_ {
    let size = (layout.size() / 8) as usize;
    let (last, next) = ((layout.bins / 8) as usize + 252, (layout.next() / 8) as usize);
    piece.words.windows(size).enumerate().filter_map(move |(index, words)| {
        let at = piece.start.wrapping_add(8 * index as u64);
        let own = layout.bin_at(at, 127);
        let word = |offset: usize| words.get(offset).copied().unwrap_or_default();
        let used = word(last) == own && word(last + 1) == own;
        let untouched = word(next) == at && word(next + 2) == 1 && word(last) == 0;
        (used || untouched).then_some(at)
    })
}

/// A malloc_state as it is now.
pub(super) fn read_state(reader: &mut Reader<'_>, at: u64, layout: Layout) -> Figure<State> {
    let mut bytes = vec![0; layout.size() as usize];
    reader.fresh(at, &mut bytes)?;
    State::new(at, layout, &bytes).ok_or(Unknown::Inconsistent(Addr(at)))
}

/// Follows the circle from the main arena.
fn follow(reader: &mut Reader<'_>, areas: &Areas, main: State) -> Found {
    let mut found = Found { layout: main.layout, others: Vec::new(), missing: None, main };
    let mut seen = FxHashSet::default();
    let mut at = found.main.next();
    while at != found.main.at {
        if !seen.insert(at) || seen.len() > MOST_ARENAS {
            found.missing = Some(Unknown::Inconsistent(Addr(at)));
            break;
        }
        match read_other(reader, areas, at, found.layout) {
            Ok(state) => {
                found.layout = state.layout;
                at = state.next();
                found.others.push(state);
            }
            Err(why) => {
                found.missing = Some(why);
                break;
            }
        }
    }
    found
}

/// An arena that is not the main one: it lies behind the heap_info of its first heap, which points back to it.
fn read_other(reader: &mut Reader<'_>, areas: &Areas, at: u64, layout: Layout) -> Figure<State> {
    let wrong = Unknown::Inconsistent(Addr(at));
    let heap_info = at % HEAP_MAX;
    let fits = layout.heap_info.map_or(HEAP_INFOS.contains(&heap_info), |known| known == heap_info);
    if !fits || !areas.hold(at) || reader.word(at - heap_info)? != at {
        return Err(wrong);
    }
    let layout = Layout { heap_info: Some(heap_info), ..layout };
    let state = read_state(reader, at, layout)?;
    if state.is_plausible(&|at| areas.hold(at)) { Ok(state) } else { Err(wrong) }
}

/// Looks for a heap, and from there for the main arena: the one in the circle that lies in no heap.
fn by_heaps(reader: &mut Reader<'_>, areas: &Areas) -> Result<Option<Found>, Unknown> {
    let mut looks = 0;
    for area in areas.all() {
        let mut heap = area.start().0.next_multiple_of(HEAP_MAX);
        while heap < area.end().0 && looks < MOST_ARENAS {
            looks += 1;
            reader.in_time()?;
            let arena = match reader.word(heap) {
                Ok(arena) => arena,
                Err(why @ (Unknown::NotPermitted | Unknown::Deadline | Unknown::TooMuch)) => return Err(why),
                Err(_) => 0,
            };
            if let Some(found) = from_heap(reader, areas, arena) {
                return Ok(Some(found));
            }
            heap = heap.saturating_add(HEAP_MAX);
        }
    }
    Ok(None)
}

fn from_heap(reader: &mut Reader<'_>, areas: &Areas, arena: u64) -> Option<Found> {
    for layout in STATES {
        let Ok(mut state) = read_other(reader, areas, arena, layout) else { continue };
        let mut seen = FxHashSet::default();
        while seen.insert(state.at) && seen.len() < MOST_ARENAS {
            match read_other(reader, areas, state.next(), state.layout) {
                Ok(next) => state = next,
                Err(_) if is_chunk(state.next()) => {
                    let main = read_state(reader, state.next(), state.layout).ok()?;
                    return main.is_plausible(&|at| areas.hold(at)).then(|| follow(reader, areas, main));
                }
                Err(_) => return None,
            }
        }
    }
    None
}
