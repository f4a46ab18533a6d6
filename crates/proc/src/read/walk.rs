//! Walking the page tables of a process without stalling it.
//!
//! PAGEMAP_SCAN holds the target's mmap lock for reading while it walks: one call over 6 GiB stalled a target that maps
//! memory for 55 ms, slices with a pause after each for 0.7 ms. A slice here is bounded twice: by the pages it may
//! report (4,096 take about 130 us), and by a range that grows while slices are quick and shrinks when one was slow,
//! since empty page tables cost time but are not reported. A 1 TiB reservation is then a few calls, not 65,536. Each
//! VMA costs time too, touched or not (one call over 60,000 of them took 20 ms), so a slice covers 512 at most.

use crate::parse::pagemap;
use crate::read::error::{ErrorKind, ProcError};
use crate::read::process::Process;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};
use vmatlas_event::{Addr, AddrRange, PageSize, VmaRow};
use vmatlas_sys::{PageRun, PageTraits, pagemap_scan};

/// How a walk bounds itself.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// The longest that one call may hold the target's mmap lock; slices aim at a quarter of it.
    pub hold: Duration,
    /// Pages that one slice may report.
    pub max_pages: u64,
    /// The pause after slices that together took a quarter of [`Budget::hold`].
    pub pause: Duration,
    /// Only this way, for tests and for `--method`; `None` takes the best there is.
    pub method: Option<Method>,
}

impl Budget {
    /// Slices that hold the target for at most about this long.
    pub fn of_hold(hold: Duration) -> Budget {
        Budget { hold, ..Budget::default() }
    }

    /// What one slice, or several short ones before a pause, may take.
    fn slice(&self) -> Duration {
        self.hold / 4
    }
}

impl Default for Budget {
    fn default() -> Budget {
        let (hold, pause) = (Duration::from_millis(1), Duration::from_micros(100));
        Budget { hold, max_pages: 4096, pause, method: None }
    }
}

/// Which way the pages were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// PAGEMAP_SCAN (Linux 6.7).
    PagemapScan,
    /// Entries of /proc/PID/pagemap: shared zero pages are counted as resident, huge pages are not told apart.
    PagemapEntries,
}

impl Method {
    /// The name in JSON and options; it never changes.
    pub const fn id(self) -> &'static str {
        match self {
            Method::PagemapScan => "pagemap-scan",
            Method::PagemapEntries => "pagemap-entries",
        }
    }
}

/// What a walk cost, the target and us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalkCost {
    /// How the pages were read.
    pub method: Method,
    /// Wall time, pauses included.
    pub time: Duration,
    /// Calls made.
    pub calls: u64,
    /// The longest single call: an upper bound of how long the target's mmap lock was held.
    pub longest_hold: Duration,
}

/// Walks the present and swapped pages of `rows`, which must be in address order, and gives each run of pages to
/// `found` in address order.
///
/// A run can cross VMAs, and can lie where no row is: what was mapped after the map was read.
///
/// # Errors
/// By kind; [`ErrorKind::Gone`] also when the process replaced its address space meanwhile.
pub fn walk(
    process: &Process,
    rows: &[VmaRow],
    budget: Budget,
    found: &mut dyn FnMut(PageRun),
) -> Result<WalkCost, ProcError> {
    let pagemap = process.open_file("pagemap")?;
    let mut walker = Walker {
        process,
        page: vmatlas_sys::page_size(),
        budget,
        held: Duration::ZERO,
        span: FIRST_SPAN,
        cost: WalkCost {
            method: budget.method.unwrap_or(Method::PagemapScan),
            time: Duration::ZERO,
            calls: 0,
            longest_hold: Duration::ZERO,
        },
    };
    let start = Instant::now();
    match walker.cost.method {
        Method::PagemapScan => match walker.scan(&pagemap, rows, found) {
            Err(error) if error.kind() == ErrorKind::Unsupported && budget.method.is_none() => {
                walker.cost.method = Method::PagemapEntries;
                walker.entries(&pagemap, rows, found)?;
            }
            answer => answer?,
        },
        Method::PagemapEntries => walker.entries(&pagemap, rows, found)?,
    }
    process.still_there()?;
    walker.cost.time = start.elapsed();
    Ok(walker.cost)
}

/// The first slice covers this much: its page tables, all empty, take about as long as a slice may.
const FIRST_SPAN: u64 = 16 << 20;
/// A slice covers at most this many VMAs.
pub(super) const MOST_VMAS: usize = 512;

struct Walker<'a> {
    process: &'a Process,
    page: PageSize,
    budget: Budget,
    /// Time held since the last pause.
    held: Duration,
    /// How many bytes the next slice may cover.
    span: u64,
    cost: WalkCost,
}

/// The kernel's pseudo mapping of old system calls is no VMA and has no page tables.
pub(crate) fn has_pages(row: &VmaRow) -> bool {
    row.special() != Some(b"vsyscall")
}

impl Walker<'_> {
    /// Accounts for a call and pauses when enough time was held; returns the call's own time.
    fn spent(&mut self, since: Instant) -> Duration {
        let took = since.elapsed();
        self.cost.calls += 1;
        self.cost.longest_hold = self.cost.longest_hold.max(took);
        self.held += took;
        if self.held >= self.budget.slice() {
            vmatlas_sys::sleep(self.budget.pause);
            self.held = Duration::ZERO;
        }
        took
    }

    fn scan(
        &mut self,
        pagemap: &File,
        rows: &[VmaRow],
        found: &mut dyn FnMut(PageRun),
    ) -> Result<(), ProcError> {
        const SMALLEST_SPAN: u64 = 2 << 20;
        const LARGEST_SPAN: u64 = 1 << 46;
        let mut runs = vec![PageRun::default(); 1024];
        let (Some(first), Some(last)) =
            (rows.iter().find(|r| has_pages(r)), rows.iter().rev().find(|r| has_pages(r)))
        else {
            return Ok(());
        };
        let path = self.process.path_of("pagemap");
        let mut at = first.range.start();
        let end = last.range.end();
        while at < end {
            let first = rows.partition_point(|row| row.range.end() <= at);
            let last_vma = rows.get(first + MOST_VMAS).map_or(end, |row| row.range.start());
            let stop = Addr(at.0.saturating_add(self.span).min(end.0)).min(last_vma).max(Addr(at.0 + 1));
            let stop = self.page.ceil(stop).unwrap_or(end);
            let Some(slice) = AddrRange::new(at, stop) else { break };
            let since = Instant::now();
            let step = pagemap_scan(pagemap.as_fd(), slice, self.budget.max_pages, &mut runs)
                .map_err(|e| ProcError::errno(self.process.pid(), &path, e))?;
            let took = self.spent(since);
            runs[..step.runs].iter().for_each(|run| found(*run));
            if took > self.budget.slice() {
                self.span = (self.span / 2).max(SMALLEST_SPAN);
            } else if took < self.budget.slice() / 4 {
                self.span = (self.span * 4).min(LARGEST_SPAN);
            }
            if step.next <= at {
                break;
            }
            at = step.next;
        }
        Ok(())
    }

    fn entries(
        &mut self,
        pagemap: &File,
        rows: &[VmaRow],
        found: &mut dyn FnMut(PageRun),
    ) -> Result<(), ProcError> {
        const ENTRIES: u64 = 4096;
        const ENTRY: u64 = 8;
        let path = self.process.path_of("pagemap");
        let page = self.page.bytes();
        let mut buffer = vec![0u8; (ENTRIES * ENTRY) as usize];
        for row in rows.iter().filter(|row| has_pages(row)) {
            let mut at = row.range.start().0;
            let mut run = PageRun::default();
            while at < row.range.end().0 {
                let want = ((row.range.end().0 - at) / page).min(ENTRIES) * ENTRY;
                let since = Instant::now();
                let n = pagemap
                    .read_at(&mut buffer[..want as usize], at / page * ENTRY)
                    .map_err(|e| self.process.io(&path, e))?;
                self.spent(since);
                if n < ENTRY as usize {
                    return Err(ProcError::new(ErrorKind::Gone, self.process.pid()));
                }
                for entry in pagemap::entries(&buffer[..n]) {
                    let traits = PageTraits::of_entry(entry.present(), entry.swapped(), entry.file());
                    if run.end == at && run.traits == traits {
                        run.end += page;
                    } else {
                        give(&run, found);
                        run = PageRun { start: at, end: at + page, traits };
                    }
                    at += page;
                }
            }
            give(&run, found);
        }
        Ok(())
    }
}

/// Passes on a run unless nothing is there.
fn give(run: &PageRun, found: &mut dyn FnMut(PageRun)) {
    if run.start < run.end && (run.traits.present() || run.traits.swapped()) {
        found(*run);
    }
}
