//! Looks at a process that nobody traces: when each was, and what it found of the pages.

use crate::{AddrRange, Backing, Bytes, MmId, MonoNs, PageCounts, Seq};

/// One look: the map and the pages of a process, read once. What happened between two looks was not seen.
///
/// The map is told by events: a [`Snapshot`](crate::Op::Snapshot) at the first look at an address space, later one
/// [`Observed`](crate::Op::Observed) for each part that changed, or an empty one where none did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Its first event.
    pub first: Seq,
    /// Its last event: the map after it is the map of this look.
    pub seq: Seq,
    /// Whose map it is.
    pub mm: MmId,
    /// When it began.
    pub at: MonoNs,
    /// How long it took, in nanoseconds: map, pages, and the pauses between.
    pub took: u64,
    /// Which pages belong to it.
    pub extent: Extent,
    /// How pages were read.
    pub method: PageSource,
    /// How many [`PageRow`]s belong to it.
    pub rows: u64,
    /// How many VMAs there were.
    pub vmas: u64,
    /// Their size.
    pub size: Bytes,
    /// The sum of what is resident, where all of it is known.
    pub resident: Option<Bytes>,
    /// The part of it that belongs to no file.
    pub anonymous: Option<Bytes>,
    /// The sum of what is in swap.
    pub swapped: Option<Bytes>,
    /// Whether nothing at all of the machine's memory was in swap: then no shared object was.
    pub swap_is_empty: bool,
    /// How many looks were due since the one before, and were left out because that one took too long.
    pub late: u64,
    /// The longest that one call of it may have held the process, in nanoseconds.
    pub hold: u64,
    /// The CPU time of who looks, since it began to, in nanoseconds.
    pub cpu: u64,
}

impl Look {
    /// When it had ended.
    pub fn end(&self) -> MonoNs {
        MonoNs(self.at.0.saturating_add(self.took))
    }
}

/// Which pages belong to a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Extent {
    /// Those of every VMA.
    Whole,
    /// Those of VMAs that are new, or whose figures are others than at the look before.
    Changed,
}

/// How pages were read; not all ways tell everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PageSource {
    /// PAGEMAP_SCAN.
    PagemapScan,
    /// Entries of /proc/PID/pagemap: zero pages are among the resident ones, and no sizes are told.
    PagemapEntries,
    /// The sums of /proc/PID/smaps: zero pages are not told.
    Smaps,
}

/// The pages of one VMA at a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRow {
    /// The whole VMA.
    pub range: AddrRange,
    /// What stands behind them.
    pub backing: Backing,
    /// How many there are; `None` where the kernel does not tell.
    pub pages: Option<PageCounts>,
}
