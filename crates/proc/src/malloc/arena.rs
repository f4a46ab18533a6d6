//! One arena: its memory, its lists, and whether it stood still meanwhile.

use crate::malloc::areas::{Areas, joined};
use crate::malloc::find::read_state;
use crate::malloc::heaps::{self, Heaps};
use crate::malloc::layout::State;
use crate::malloc::lists::{self, whole_pages};
use crate::malloc::memory::Reader;
use crate::malloc::report::{ArenaReport, Figure, Unknown};
use vmatlas_event::{Addr, Bytes, PageSize};

/// Threads that there can be at most (kernel/pid: PID_MAX_LIMIT).
const MOST_THREADS: u64 = 1 << 22;

/// Looks into an arena; its memory too, where it is known.
pub(super) fn look(
    reader: &mut Reader<'_>,
    areas: &Areas,
    state: &State,
    main: bool,
    page: PageSize,
) -> (ArenaReport, Figure<Heaps>) {
    let wrong = Unknown::Inconsistent(Addr(state.at));
    let attached = state.attached_threads();
    let memory = heaps::of(reader, areas, state, main);
    let mut report = ArenaReport {
        at: Addr(state.at),
        main,
        heaps: memory.as_ref().map(|(heaps, _)| heaps.ranges.clone()).map_err(|why| *why),
        attached_threads: if attached <= MOST_THREADS { Ok(attached) } else { Err(wrong) },
        system: memory.as_ref().map(|_| Bytes(state.system())).map_err(|why| *why),
        top: memory.as_ref().map(|(_, top)| Bytes(*top)).map_err(|why| *why),
        bins: Err(wrong),
        fast: Err(wrong),
        free_ranges: Err(wrong),
        steady: false,
    };
    let (heaps, top) = match memory {
        Ok(memory) => memory,
        Err(why) => {
            (report.bins, report.fast, report.free_ranges) = (Err(why), Err(why), Err(why));
            report.steady = is_steady(reader, state);
            return (report, Err(why));
        }
    };
    report.fast = lists::fast(reader, state, &heaps);
    match lists::bins(reader, state, &heaps, page) {
        Ok(binned) => {
            report.bins = Ok(binned.chunks);
            let top = whole_pages(page, state.top(), top).filter(|_| !state.is_initial());
            report.free_ranges = Ok(joined(binned.pages.into_iter().chain(top)));
        }
        Err(why) => (report.bins, report.free_ranges) = (Err(why), Err(why)),
    }
    // Lists that are longer than the arena are from different moments.
    if let (Ok(system), Ok(free)) = (report.system, report.free())
        && free > system
    {
        (report.bins, report.fast, report.free_ranges) = (Err(wrong), Err(wrong), Err(wrong));
    }
    report.steady = is_steady(reader, state);
    (report, Ok(heaps))
}

/// Whether the malloc_state is still what it was.
fn is_steady(reader: &mut Reader<'_>, state: &State) -> bool {
    read_state(reader, state.at, state.layout).is_ok_and(|now| now.same_figures(state))
}
