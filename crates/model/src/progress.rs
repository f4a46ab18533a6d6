//! What an event came to, told to whoever sends events to the models.

use crate::apply::argument_ranges;
use crate::change::{Change, PageChange};
use crate::check::Difference;
use crate::faults::page_of;
use vmatlas_event::{AddrRange, Bytes, Event, Op, PageSize};

/// How well the models and the kernel agreed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Memory calls.
    pub calls: u64,
    /// Those the kernel was asked about.
    pub asked: u64,
    /// Whole maps that were read.
    pub snapshots: u64,
    /// Changes that no call made: a stack that grew, a page the kernel put there.
    pub observed: u64,
    /// Calls that overlapped another one of the same address space in time and range, and were read again for it.
    pub conflicts: u64,
    /// Answers of the kernel that contradicted a prediction about pages.
    pub drift: u64,
    /// Comparisons of a whole model with the kernel while all tasks were held: two for a call, by maps and by
    /// PROCMAP_QUERY.
    pub compared: u64,
    /// Those that found a difference.
    pub differences: u64,
}

/// An event and everything it did.
#[derive(Clone, Debug)]
pub struct Done {
    /// The event.
    pub event: Event,
    /// What it did to the map, the kernel's answers included.
    pub change: Change,
    /// What happened to the pages: [`Change::pages`] of it.
    pub pages: Vec<PageChange>,
    /// Whether the kernel confirmed what could not be predicted; `false` when the task was gone before it could be asked.
    pub confirmed: bool,
}

impl Done {
    pub(crate) fn new(event: Event, change: Change, confirmed: bool) -> Done {
        let pages = change.pages();
        Done { event, change, pages, confirmed }
    }

    /// How many bytes were mapped and unmapped, (added, removed).
    pub fn bytes(&self) -> (Bytes, Bytes) {
        let mut sums = (Bytes(0), Bytes(0));
        for change in &self.pages {
            match change {
                PageChange::Added(row) => sums.0 += row.range.len(),
                PageChange::Removed(row) => sums.1 += row.range.len(),
                PageChange::Altered { .. } | PageChange::Moved { .. } => {}
            }
        }
        sums
    }

    /// Where it acted: what happened to pages, and what a call was about; nothing where the call does not tell how far it reached.
    pub fn acted_on(&self, page: PageSize) -> Vec<AddrRange> {
        let mut ranges: Vec<AddrRange> = Vec::new();
        for change in &self.pages {
            match change {
                PageChange::Added(row) | PageChange::Removed(row) => ranges.push(row.range),
                PageChange::Altered { to, .. } => ranges.push(to.range),
                PageChange::Moved { from, to } => ranges.extend([*from, *to]),
            }
        }
        if let Op::Fault { addr, .. } = self.event.op {
            ranges.extend(AddrRange::from_len(page_of(page, addr), Bytes(page.bytes())));
        }
        let asked = argument_ranges(&self.event.op, page);
        ranges.extend(asked.into_iter().filter(|range| *range != AddrRange::ALL));
        ranges
    }
}

/// The result of [`Spaces::event`](crate::Spaces::event).
#[derive(Debug, Default)]
pub struct Progress {
    /// An earlier call of the same task that got no answer.
    pub unanswered: Option<Box<Done>>,
    /// The event, when nothing has to be asked (any more).
    pub done: Option<Box<Done>>,
    /// What the kernel must be asked, one `Observed` event for each range.
    pub ask: Vec<AddrRange>,
    /// What a [`SnapshotReason::Check`](vmatlas_event::SnapshotReason::Check) found to be different; the model has the kernel's rows from then on.
    pub difference: Option<Box<Difference>>,
}
