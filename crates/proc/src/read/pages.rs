//! Page by page: what each page of a process is, and the frame behind it.

use crate::read::error::ProcError;
use crate::read::frames::{self, Page, Visited};
use crate::read::process::Process;
use crate::read::residency::is_hugetlb;
use crate::read::walk::Budget;
use std::cell::Cell;
use vmatlas_event::{PageInfo, PageState, VmaRow};

/// Gives each present, swapped or guard page of `rows` (in address order) to `found`, with the number of its row, in
/// address order. Nothing is kept: a process may be larger than our memory. Once `found` says `false`, no more pages are
/// read, only walked past.
///
/// # Errors
/// Those of [`frames::visit`].
pub fn visit(
    process: &Process,
    rows: &[VmaRow],
    budget: Budget,
    found: &mut dyn FnMut(usize, PageInfo) -> bool,
) -> Result<Visited, ProcError> {
    let mut runs_at = 0;
    let mut pages_at = 0;
    let goes_on = Cell::new(true);
    let mut hugetlb: Option<(usize, bool)> = None;
    let wanted = &mut |run: &vmatlas_sys::PageRun| {
        while rows.get(runs_at).is_some_and(|row| row.range.end().0 <= run.start) {
            runs_at += 1;
        }
        // The walk crosses what lies between the rows.
        goes_on.get() && rows.get(runs_at).is_some_and(|row| row.range.start().0 < run.end)
    };
    frames::visit(process, rows, budget, wanted, &mut |page| {
        if !goes_on.get() {
            return;
        }
        while rows.get(pages_at).is_some_and(|row| row.range.end() <= page.addr) {
            pages_at += 1;
        }
        let Some(row) = rows.get(pages_at).filter(|row| row.range.contains(page.addr)) else { return };
        let huge = page.traits.huge();
        let is_hugetlb = huge
            && match (page.frame, hugetlb) {
                (Some(frame), _) => frame.flags.hugetlb(),
                (None, Some((known, answer))) if known == pages_at => answer,
                (None, _) => {
                    let answer = is_hugetlb(process, row);
                    hugetlb = Some((pages_at, answer));
                    answer
                }
            };
        goes_on.set(found(pages_at, info(page, is_hugetlb)));
    })
}

/// The entry was read after the walk, and is believed where the two differ.
fn info(page: &Page, is_hugetlb: bool) -> PageInfo {
    let (entry, traits) = (page.entry, page.traits);
    let is_zero = page.frame.map_or(traits.zero(), |frame| frame.flags.zero());
    let state = match () {
        () if entry.guard() => PageState::Guard,
        () if entry.swapped() => PageState::Swapped,
        () if !entry.present() => PageState::NotPresent,
        () if is_zero => PageState::Zero,
        () if is_hugetlb => PageState::Hugetlb,
        () if entry.file() => PageState::File,
        () => PageState::Anonymous,
    };
    let has_frame = state.has_frame();
    // A huge page has one bit for all of its pages, the answer of the first; the map count is each page's own.
    let alone = match (page.frame, traits.huge()) {
        (Some(frame), true) => Some(frame.mapcount < 2),
        (None, true) => None,
        (_, false) => Some(entry.exclusive()),
    };
    PageInfo {
        addr: page.addr,
        state,
        huge: traits.huge() && entry.present(),
        alone: alone.filter(|_| has_frame),
        pfn: entry.pfn().filter(|_| has_frame || state == PageState::Zero),
        mapped: page.frame.map(|frame| frame.mapcount).filter(|_| has_frame),
        flags: page.frame.map(|frame| frame.flags.0).filter(|_| entry.present()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::frames::{Frame, KpageFlags, PagemapEntry};
    use vmatlas_event::Addr;
    use vmatlas_sys::PageTraits;

    const PRESENT: u64 = 1 << 63;
    const FILE: u64 = 1 << 61;
    const EXCLUSIVE: u64 = 1 << 56;

    fn page(traits: u64, entry: u64, frame: Option<(u64, u64)>) -> PageInfo {
        let entry = PagemapEntry(entry);
        let frame = frame.map(|(mapcount, flags)| Frame { pfn: 7, mapcount, flags: KpageFlags(flags) });
        let page = Page { addr: Addr(0x1000), traits: PageTraits(traits), entry, frame };
        info(&page, false)
    }

    /// Checks what a page is called by its entry and its frame, and that what is hidden is none and never 0.
    #[test]
    fn pages_are_told_apart() {
        let hidden = page(1 << 3, PRESENT | EXCLUSIVE, None);
        assert_eq!((hidden.state, hidden.alone), (PageState::Anonymous, Some(true)));
        assert_eq!((hidden.pfn, hidden.mapped, hidden.flags), (None, None, None));
        let told = page(1 << 3 | 1 << 2, PRESENT | FILE | 7, Some((3, 1 << 5)));
        assert_eq!((told.state, told.alone), (PageState::File, Some(false)));
        assert_eq!((told.pfn, told.mapped, told.flags), (Some(7), Some(3), Some(1 << 5)));
        assert_eq!(page(1 << 3 | 1 << 5, PRESENT, None).state, PageState::Zero);
        assert_eq!(page(1 << 4, 1 << 62, None).state, PageState::Swapped);
        assert_eq!(page(1 << 4 | 1 << 8, 1 << 62 | 1 << 58, None).state, PageState::Guard);
    }

    /// Checks that the entry, which was read later, is believed; and that a huge page without a frame says nothing of
    /// who else maps it.
    #[test]
    fn the_later_answer_is_believed() {
        assert_eq!(page(1 << 3, 0, None).state, PageState::NotPresent);
        assert_eq!(page(1 << 3, 1 << 62, None).state, PageState::Swapped);
        assert_eq!(page(1 << 3 | 1 << 5, PRESENT | 7, Some((1, 1 << 12))).state, PageState::Anonymous);
        assert_eq!(page(1 << 3 | 1 << 6, PRESENT | EXCLUSIVE, None).alone, None);
        assert_eq!(page(1 << 3 | 1 << 6, PRESENT | EXCLUSIVE | 7, Some((2, 0))).alone, Some(false));
    }
}
