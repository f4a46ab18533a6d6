//! Walking the page tables of a process without stalling it.
//!
//! PAGEMAP_SCAN holds the target's mmap lock for reading while it walks: one call over 6 GiB stalled a target that maps
//! memory for 55 ms. So it is asked for slices, with a pause after each in which a waiting task of the target gets the
//! lock (35 us: with shorter ones it gets fewer rounds done, longer ones cost the reader more time). What a slice may cost
//! is bounded three times, by pages reported, by VMAs (touched or not, each costs time) and
//! by the range (empty page tables are not reported), and each bound follows the measured time per slice. A 1 TiB
//! reservation is then a few calls, not 65,536.

use crate::parse::pagemap;
use crate::read::error::{ErrorKind, ProcError};
use crate::read::process::Process;
use crate::read::whole::is_alive;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};
use vmatlas_event::{Addr, AddrRange, PageSize, VmaRow};
use vmatlas_sys::{PageRun, PageTraits, pagemap_scan};

/// How a walk bounds itself.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// The longest that one call may hold the target's mmap lock; slices aim at a quarter of it, because a task that
    /// maps and unmaps waits for two slices, and some take longer than they should.
    pub hold: Duration,
    /// Pages that the first slice may report.
    pub max_pages: u64,
    /// The pause after slices that together took as long as a slice should.
    pub pause: Duration,
    /// Only this way, for tests and for `--method`; `None` takes the best there is.
    pub method: Option<Method>,
    /// How many threads may read at the same time; more than there are cores are not used.
    pub threads: usize,
    /// Whether pauses are slept even where they end late by as much: for somebody who looks often and waits for none.
    pub sleeps: bool,
}

impl Budget {
    /// Slices that hold the target for at most about this long.
    pub fn of_hold(hold: Duration) -> Budget {
        Budget { hold, ..Budget::default() }
    }

    /// What one slice, or several short ones before a pause, should take. Slices that VMAs end are nearer to what they
    /// should take, and so many that more pauses are felt: 60,000 VMAs took 1.22 times what one scan takes, and 1.30 with a
    /// quarter of the hold; with a third, a target of 12 GiB waited up to 1.3 ms longer instead of 0.6.
    fn aim(&self, ended: Ended) -> Duration {
        // No call takes less: slices that can never be quick enough stay small, and small ones over terabytes never end.
        const LEAST: Duration = Duration::from_micros(20);
        (self.hold / if ended == Ended::Vmas { 3 } else { 4 }).max(LEAST)
    }
}

impl Default for Budget {
    fn default() -> Budget {
        let (hold, pause) = (Duration::from_millis(1), Duration::from_micros(35));
        Budget { hold, max_pages: 4096, pause, method: None, threads: 1, sleeps: false }
    }
}

/// Which way the pages were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// PAGEMAP_SCAN (Linux 6.7).
    PagemapScan,
    /// Entries of /proc/PID/pagemap: shared zero pages are counted as resident, huge pages are not told apart.
    PagemapEntries,
    /// The sums of /proc/PID/smaps, which hold the target for as long as they take; there are no runs of pages.
    Smaps,
}

impl Method {
    /// All of them, the best first.
    pub const ALL: [Method; 3] = [Method::PagemapScan, Method::PagemapEntries, Method::Smaps];

    /// The name in JSON and options; it never changes.
    pub const fn id(self) -> &'static str {
        match self {
            Method::PagemapScan => "pagemap-scan",
            Method::PagemapEntries => "pagemap-entries",
            Method::Smaps => "smaps",
        }
    }

    /// The one of that name.
    pub fn from_id(id: &str) -> Option<Method> {
        Method::ALL.into_iter().find(|method| method.id() == id)
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
    /// Bytes that the kernel gave us.
    pub bytes: u64,
    /// The longest single call: an upper bound of how long the target's mmap lock was held.
    pub longest_hold: Duration,
}

impl WalkCost {
    /// Nothing spent yet.
    pub(crate) fn none(method: Method) -> WalkCost {
        WalkCost { method, time: Duration::ZERO, calls: 0, bytes: 0, longest_hold: Duration::ZERO }
    }
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
    let pagemap = &process.open_file("pagemap")?;
    let start = Instant::now();
    let method = budget.method.unwrap_or(Method::PagemapScan);
    let mut walker = Walker {
        process,
        page: vmatlas_sys::page_size(),
        budget,
        pagemap,
        held: Duration::ZERO,
        bounds: Bounds::first(&budget),
        cost: WalkCost::none(method),
    };
    let exact = vmatlas_sys::sched::exact_sleep();
    let done = match method {
        Method::PagemapScan => match walker.scan(rows, found) {
            Err(error) if error.kind() == ErrorKind::Unsupported && budget.method.is_none() => {
                walker.cost.method = Method::PagemapEntries;
                walker.entries(rows, found)
            }
            answer => answer,
        },
        Method::PagemapEntries => walker.entries(rows, found),
        Method::Smaps => Err(ProcError::new(ErrorKind::Unsupported, process.pid())),
    };
    drop(exact);
    done?;
    process.still_there()?;
    // A scan of an address space that was replaced finds nothing and does not fail.
    if !is_alive(pagemap) {
        return Err(ProcError::new(ErrorKind::Gone, process.pid()));
    }
    walker.cost.time = start.elapsed();
    Ok(walker.cost)
}

/// What the next slice may cover at most.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    pages: u64,
    vmas: u64,
    span: u64,
}

impl Bounds {
    /// Pages: 4,096 take about 130 us. The span's page tables, all empty, take about as long as a slice may.
    fn first(budget: &Budget) -> Bounds {
        Bounds { pages: budget.max_pages, vmas: 512, span: 16 << 20 }
    }

    /// Follows the time that a slice took: quickly down, slowly up, and up only where this bound ended the slice. What
    /// was quick because it held little says nothing of how long more takes.
    fn follow(&mut self, ended: Ended, took: Duration, aim: Duration) {
        let (bound, least, most) = match ended {
            Ended::Pages => (&mut self.pages, 256, 1 << 16),
            Ended::Vmas => (&mut self.vmas, 16, 1 << 13),
            Ended::Span => (&mut self.span, 2 << 20, 1 << 46),
        };
        if took > aim {
            *bound = (*bound / 2).max(least);
        } else if took < aim / 4 && ended == Ended::Span {
            *bound = bound.saturating_mul(4).min(most);
        } else if took < aim * 3 / 4 {
            *bound = (*bound + *bound / 4).min(most);
        }
    }
}

/// What ended a slice.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    Pages,
    Vmas,
    Span,
}

struct Walker<'a> {
    process: &'a Process,
    page: PageSize,
    budget: Budget,
    pagemap: &'a File,
    /// Time held since the last pause.
    held: Duration,
    bounds: Bounds,
    cost: WalkCost,
}

/// The kernel's pseudo mapping of old system calls is no VMA and has no page tables.
pub(crate) fn has_pages(row: &VmaRow) -> bool {
    row.special() != Some(b"vsyscall")
}

impl Walker<'_> {
    /// Accounts for a call and pauses when enough time was held; returns the call's own time.
    fn spent(&mut self, since: Instant, bytes: usize) -> Duration {
        let took = since.elapsed();
        self.process.beat().tick();
        self.cost.calls += 1;
        self.cost.bytes += bytes as u64;
        self.cost.longest_hold = self.cost.longest_hold.max(took);
        self.held += took;
        took
    }

    /// Stays away from the lock when enough time was held. What we did since `free`, when the last call came back, is part
    /// of the pause; a short rest of it is not slept, because a sleep ends late by about as much. Neither is one after a slice
    /// that VMAs ended: those are so many that the late ends come to a tenth of the whole reading.
    fn pause(&mut self, free: Instant, ended: Ended) {
        if self.held * 4 < self.budget.aim(ended) * 3 {
            return;
        }
        let rest = self.budget.pause.saturating_sub(free.elapsed());
        if rest * 2 > self.budget.pause && (ended != Ended::Vmas || self.budget.sleeps) {
            vmatlas_sys::sleep(rest);
        }
        while free.elapsed() < self.budget.pause {
            std::thread::yield_now();
        }
        self.held = Duration::ZERO;
    }

    fn scan(&mut self, rows: &[VmaRow], found: &mut dyn FnMut(PageRun)) -> Result<(), ProcError> {
        // The whole answer of a slice fits: a call that stops because the vector is full is one more call.
        let mut runs = vec![PageRun::default(); 8192];
        let (Some(first), Some(last)) =
            (rows.iter().find(|r| has_pages(r)), rows.iter().rev().find(|r| has_pages(r)))
        else {
            return Ok(());
        };
        let mut at = first.range.start();
        let end = last.range.end();
        let mut row = 0;
        while at < end {
            row += rows[row..].iter().take_while(|row| row.range.end() <= at).count();
            let last_vma = rows.get(row + self.bounds.vmas as usize).map_or(end, |row| row.range.start());
            let span_end = Addr(at.0.saturating_add(self.bounds.span)).min(end);
            let stop = self.page.ceil(span_end.min(last_vma).max(Addr(at.0 + 1))).unwrap_or(end);
            let Some(slice) = AddrRange::new(at, stop) else { break };
            let since = Instant::now();
            let step = pagemap_scan(self.pagemap.as_fd(), slice, self.bounds.pages, &mut runs)
                .map_err(|e| ProcError::errno(self.process.pid(), &self.process.path_of("pagemap"), e))?;
            let took = self.spent(since, step.runs * size_of::<PageRun>());
            let free = Instant::now();
            let ended = match () {
                () if step.next < stop => Ended::Pages,
                () if last_vma < span_end => Ended::Vmas,
                () => Ended::Span,
            };
            self.bounds.follow(ended, took, self.budget.aim(ended));
            runs[..step.runs].iter().for_each(|run| found(*run));
            self.pause(free, ended);
            if step.next <= at {
                break;
            }
            at = step.next;
        }
        Ok(())
    }

    /// The kernel drops the lock after each 2 MiB of entries by itself. There is no way to ask it for what is there
    /// only: the entries of 1 TiB that nobody touched are 2 GiB of zeros, and are read, since skipping them could be wrong.
    fn entries(&mut self, rows: &[VmaRow], found: &mut dyn FnMut(PageRun)) -> Result<(), ProcError> {
        const ENTRIES: u64 = 8192;
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
                let n = self
                    .pagemap
                    .read_at(&mut buffer[..want as usize], at / page * ENTRY)
                    .map_err(|e| self.process.io(&path, e))?;
                self.spent(since, n);
                let free = Instant::now();
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
                self.pause(free, Ended::Pages);
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
