//! Which physical frames stand behind a process's pages, and who else maps them.
//!
//! The pages come from [`walk`]; for them alone the entries of /proc/PID/pagemap are read (the kernel drops the
//! target's mmap lock after every 2 MiB of them), and for their frames /proc/kpagecount and /proc/kpageflags, which
//! belong to no process and hold nobody. Those two need CAP_SYS_ADMIN, frame numbers too; whether a page is mapped here
//! alone (bit 56 of its entry) everybody is told who may read the map.
//!
//! The rules are those of smaps (`fs/proc/task_mmu.c: smaps_account()`): the proportional share divides each page by
//! its map count, rounded down; what no other page table maps is private. Bit 56 says so for each page, with one
//! exception: a huge page has one answer, that of its first page (on Linux 6.18 and before 6.12), though a child that
//! wrote to a part of it shares the rest. There the map counts decide where they are told. They are precise unless the
//! kernel keeps none for the pages of a large one (CONFIG_NO_PAGE_MAPCOUNT, where kpagecount gives an average and smaps
//! asks what bit 56 asks); that shows where the first page's count and bit disagree.

mod reader;

use crate::read::error::ProcError;
use crate::read::process::Process;
use crate::read::residency::{Residency, RowCounts, is_hugetlb};
use crate::read::walk::{Budget, WalkCost, has_pages, walk};
use reader::Reader;
use std::time::Duration;
use vmatlas_event::{Addr, Bytes, FrameCounts, Share, VmaRow};
use vmatlas_sys::{PageRun, PageTraits};

pub use crate::parse::kpageflags::KpageFlags;
pub use crate::parse::pagemap::PagemapEntry;

/// One page of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Where it is mapped.
    pub addr: Addr,
    /// What the walk said of its run: zero and huge pages are told here, and only by PAGEMAP_SCAN.
    pub traits: PageTraits,
    /// Its entry, read a moment later: it may no longer be present.
    pub entry: PagemapEntry,
    /// Its frame; `None` where it is not present, or the frame is hidden from us.
    pub frame: Option<Frame>,
}

/// The physical frame of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its number.
    pub pfn: u64,
    /// How many page tables map it, in all processes; an average over a large page under CONFIG_NO_PAGE_MAPCOUNT.
    pub mapcount: u64,
    /// What it is.
    pub flags: KpageFlags,
}

/// Why frames are not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoFrames {
    /// Frame numbers or /proc/kpage* are not for us.
    Hidden,
    /// This kernel has no /proc/kpage* (CONFIG_PROC_PAGE_MONITOR), or they cannot be read.
    Unknown,
}

/// What reading frames cost, the walk apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameCost {
    /// Wall time in reads of pagemap and /proc/kpage*, pauses included.
    pub time: Duration,
    /// Reads of pagemap.
    pub pagemap_reads: u64,
    /// Reads of /proc/kpagecount and /proc/kpageflags.
    pub frame_reads: u64,
    /// Bytes of all of them.
    pub bytes: u64,
    /// The longest read of pagemap: an upper bound of how long the target's mmap lock was held for it.
    pub longest_hold: Duration,
}

/// What a visit found about itself.
#[derive(Clone, Copy, Debug)]
pub struct Visited {
    /// What the walk cost.
    pub walk: WalkCost,
    /// What the rest cost.
    pub cost: FrameCost,
    /// Why no frames were told; `None` where they were.
    pub why: Option<NoFrames>,
}

/// Visits the pages of `rows` (in address order) that `wanted` takes by what the walk says of their run, in address
/// order, with their frames where we may know them. A page can lie where no row is: mapped after the map was read.
///
/// # Errors
/// Those of [`walk`].
pub fn visit(
    process: &Process,
    rows: &[VmaRow],
    budget: Budget,
    wanted: &mut dyn FnMut(&PageRun) -> bool,
    found: &mut dyn FnMut(&Page),
) -> Result<Visited, ProcError> {
    let mut reader = Reader::open(process, budget)?;
    let mut failed = None;
    let walk = walk(process, rows, budget, &mut |run| {
        if failed.is_none() && wanted(&run) {
            failed = reader.add(run, found).err();
        }
    })?;
    match failed.map_or_else(|| reader.flush(found), Err) {
        Ok(()) => {}
        // A process that executes another program meanwhile has nothing where its old pages were.
        Err(error) => return Err(process.still_there().err().unwrap_or(error)),
    }
    let cost = reader.cost();
    // Frames are read between the walk's slices.
    let walk = WalkCost { time: walk.time.saturating_sub(cost.time), ..walk };
    Ok(Visited { walk, cost, why: reader.why() })
}

/// Who maps the pages of one row, as bit 56 of their entries tells everybody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mapped {
    /// Mapped here and nowhere else (USS; smaps: Private_*).
    pub alone: Bytes,
    /// Mapped by others too (smaps: Shared_*).
    pub shared: Bytes,
}

/// The frames of each row that was asked for.
#[derive(Clone, Debug)]
pub struct Frames {
    /// One entry for each row; `None` where the frames are not told, or the row has no page table (`[vsyscall]`).
    pub per_row: Vec<Option<FrameCounts>>,
    /// One entry for each row, told without privileges too; `None` where the row has no page table, or has huge pages
    /// whose frames are not told.
    pub mapped: Vec<Option<Mapped>>,
    /// Why frames are not told; `None` where they were.
    pub why: Option<NoFrames>,
    /// The pages themselves, counted in the same walk.
    pub pages: Residency,
    /// What the rest cost.
    pub cost: FrameCost,
}

/// Reads the pages of `rows`, which must be in address order, and the frames behind the resident ones. As in smaps, zero pages and
/// hugetlb are left out.
///
/// # Errors
/// Those of [`visit`].
pub fn read(process: &Process, rows: &[VmaRow], budget: Budget) -> Result<Frames, ProcError> {
    let size = vmatlas_sys::page_size().bytes();
    let mut sums = vec![RowSums::default(); rows.len()];
    // Pages come in address order, as rows do.
    let mut index = 0;
    let mut hugetlb = HugetlbRows::new(process);
    let mut huge_page = HugePage::default();
    let mut count = |page: &Page| {
        while rows.get(index).is_some_and(|row| row.range.end() <= page.addr) {
            index += 1;
        }
        let Some(row) = rows.get(index).filter(|row| row.range.contains(page.addr)) else { return };
        let is_left_out = match page.frame {
            Some(frame) => frame.flags.zero() || frame.flags.hugetlb(),
            None => page.traits.huge() && hugetlb.holds(index, row),
        };
        if let Some(sums) = sums.get_mut(index)
            && !is_left_out
            && page.entry.present()
        {
            sums.add(page, Bytes(size), huge_page.is_private(page));
        }
    };
    let mut pages = RowCounts::new(process, rows);
    let wanted = &mut |run: &PageRun| {
        pages.add(run);
        run.traits.present() && !run.traits.zero()
    };
    let visited = visit(process, rows, budget, wanted, &mut count)?;
    let rows_and_sums = || rows.iter().zip(&sums).map(|(row, sums)| (has_pages(row), sums));
    Ok(Frames {
        per_row: rows_and_sums().map(|(has, s)| (has && !s.lacks_frames).then_some(s.frames)).collect(),
        mapped: rows_and_sums().map(|(has, s)| (has && !s.is_unclear).then_some(s.mapped)).collect(),
        why: visited.why,
        pages: Residency { per_row: pages.finish(), cost: visited.walk },
        cost: visited.cost,
    })
}

#[derive(Clone, Copy, Default)]
struct RowSums {
    frames: FrameCounts,
    lacks_frames: bool,
    mapped: Mapped,
    is_unclear: bool,
}

impl RowSums {
    fn add(&mut self, page: &Page, size: Bytes, private: bool) {
        let part = if private { &mut self.mapped.alone } else { &mut self.mapped.shared };
        *part += size;
        let Some(Frame { mapcount, flags, .. }) = page.frame else {
            self.lacks_frames = true;
            self.is_unclear |= page.traits.huge();
            return;
        };
        let frames = &mut self.frames;
        // Mapped here alone, whatever an average over a large page says.
        frames.pss += Share::of_page(size.0, if private { 1 } else { mapcount });
        for (part, is_so) in [
            (&mut frames.private, private),
            (&mut frames.shared, !private),
            (&mut frames.ksm, flags.ksm()),
            (&mut frames.active, flags.active()),
            (&mut frames.referenced, flags.referenced()),
            (&mut frames.dirty, flags.dirty()),
            (&mut frames.lazy_free, flags.lazy_free()),
            (&mut frames.unevictable, flags.unevictable()),
        ] {
            if is_so {
                *part += size;
            }
        }
    }
}

/// What the first page of a huge page said; pages come in order.
#[derive(Default)]
struct HugePage {
    /// Which one, by address.
    number: Option<u64>,
    /// Whether its map counts are precise.
    is_precise: bool,
}

impl HugePage {
    fn is_private(&mut self, page: &Page) -> bool {
        const HUGE: u64 = 2 << 20;
        let exclusive = page.entry.exclusive();
        let Some(frame) = page.frame.filter(|_| page.traits.huge()) else { return exclusive };
        let number = page.addr.0 / HUGE;
        if self.number != Some(number) {
            self.number = Some(number);
            self.is_precise = exclusive == (frame.mapcount == 1);
        }
        if self.is_precise { frame.mapcount < 2 } else { exclusive }
    }
}

/// Whether huge pages of a row are hugetlb's; the last answer is kept.
struct HugetlbRows<'a> {
    process: &'a Process,
    last: Option<(usize, bool)>,
}

impl<'a> HugetlbRows<'a> {
    fn new(process: &'a Process) -> HugetlbRows<'a> {
        HugetlbRows { process, last: None }
    }

    fn holds(&mut self, index: usize, row: &VmaRow) -> bool {
        match self.last {
            Some((known, answer)) if known == index => answer,
            _ => {
                let answer = is_hugetlb(self.process, row);
                self.last = Some((index, answer));
                answer
            }
        }
    }
}
