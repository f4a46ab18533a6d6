//! The proportional (PSS) and the unique (USS) size of many processes, by our own sum.
//!
//! Page tables say which pages are there ([`walk`]), pagemap which frame each has and whether it is mapped here alone,
//! and /proc/kpagecount how many page tables map a shared one. Libraries are the same frames in every process, so counts
//! are kept from process to process: what was counted a moment ago is not asked again. smaps_rollup tells the same in
//! one call, but holds the target for all of it (about 9 ms for each GiB).

use crate::parse::pagemap;
use crate::parse::smaps::{self, Field};
use crate::read::error::{ErrorKind, ProcError};
use crate::read::process::Process;
use crate::read::residency::is_hugetlb;
use crate::read::root::ProcRoot;
use crate::read::snapshot::MapsReader;
use crate::read::walk::{Budget, walk};
use crate::read::whole;
use rustc_hash::FxHashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};
use vmatlas_event::{Addr, Bytes, Share, VmaRow};
use vmatlas_sys::PageRun;

/// How a process's resident pages are shared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shares {
    /// Each page divided by how many page tables map it; `None` where frames are hidden from us.
    pub pss: Option<Bytes>,
    /// What no other page table maps.
    pub uss: Bytes,
    /// How many VMAs were read; `None` for smaps_rollup, which does not tell.
    pub vmas: Option<u64>,
    /// The longest single call that may have held the target's mmap lock.
    pub longest_hold: Duration,
}

/// Sums the shares of one process after another.
#[derive(Debug)]
pub struct ShareReader {
    /// /proc/kpagecount; `None` where we may not read it.
    counts: Option<File>,
    known: FxHashMap<u64, u64>,
    maps: MapsReader,
    entries: Vec<u8>,
    buffer: Vec<u8>,
    page: u64,
}

const ENTRY: u64 = 8;
/// One read of pagemap covers at most so many pages.
const MOST_PAGES: u64 = 4096;
/// Neighbouring runs are read in one call when at most so many pages lie between.
const GAP: u64 = 256;

impl ShareReader {
    /// For the processes of this /proc.
    pub fn new(root: &ProcRoot) -> ShareReader {
        ShareReader {
            counts: File::open(root.path().join("kpagecount")).ok(),
            known: FxHashMap::default(),
            maps: MapsReader::new(),
            entries: Vec::new(),
            buffer: Vec::new(),
            page: vmatlas_sys::page_size().bytes(),
        }
    }

    /// Whether proportional sizes can be summed at all: /proc/kpagecount is open to us.
    pub fn can_share(&self) -> bool {
        self.counts.is_some()
    }

    /// Sums one process by its pages, in slices.
    ///
    /// # Errors
    /// By kind.
    pub fn read(&mut self, process: &Process) -> Result<Shares, ProcError> {
        whole::read(process, |process| self.read_once(process))
    }

    fn read_once(&mut self, process: &Process) -> Result<Shares, ProcError> {
        let maps = self.maps.read(process)?;
        let rows = maps.rows;
        let mut runs: Vec<PageRun> = Vec::new();
        let cost = walk(process, &rows, Budget::default(), &mut |run| {
            // What swap holds has no frame; zero pages are nobody's.
            if run.traits.present() && !run.traits.zero() {
                runs.push(run);
            }
        })?;
        drop_hugetlb(process, &rows, &mut runs);
        let pagemap = process.open_file("pagemap")?;
        let (mut pss, mut uss, mut longest) = (Share::default(), 0, cost.longest_hold);
        let mut hidden = false;
        let mut rest = runs.as_slice();
        while !rest.is_empty() {
            let group = self.group(rest);
            let took = self.read_entries(process, &pagemap, group)?;
            longest = longest.max(took);
            let start = group.first().map_or(0, |run| run.start);
            for run in group {
                let from = ((run.start - start) / self.page * ENTRY) as usize;
                let len = ((run.end - run.start) / self.page * ENTRY) as usize;
                // A long run that stands alone may be longer than one read.
                let bytes = self.entries.get(from..from + len).unwrap_or_default();
                let mut sums = Sums {
                    page: self.page,
                    counts: self.counts.as_ref(),
                    known: &mut self.known,
                    buffer: &mut self.buffer,
                };
                let (share, alone, all) = sums.of(bytes, run.traits.huge());
                pss += share;
                uss += alone;
                hidden |= !all;
            }
            rest = rest.get(group.len()..).unwrap_or_default();
        }
        let vmas = rows.iter().filter(|row| row.special() != Some(b"vsyscall")).count() as u64;
        Ok(Shares {
            pss: (!hidden).then(|| pss.bytes()),
            uss: Bytes(uss),
            vmas: Some(vmas),
            longest_hold: longest,
        })
    }

    /// The runs that are read in one call, at least one.
    fn group<'a>(&self, runs: &'a [PageRun]) -> &'a [PageRun] {
        let Some(first) = runs.first() else { return runs };
        let joined = |pair: &[PageRun]| match pair {
            [a, b] => {
                b.start.saturating_sub(a.end) <= GAP * self.page
                    && b.end - first.start <= MOST_PAGES * self.page
            }
            _ => false,
        };
        let len = 1 + runs.windows(2).take_while(|pair| joined(pair)).count();
        runs.get(..len).unwrap_or(runs)
    }

    /// Reads the entries of a group into `self.entries`, in calls of a bounded length.
    fn read_entries(
        &mut self,
        process: &Process,
        pagemap: &File,
        group: &[PageRun],
    ) -> Result<Duration, ProcError> {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { return Ok(Duration::ZERO) };
        let (page, bytes) = (self.page, (last.end - first.start) / self.page * ENTRY);
        self.entries.clear();
        self.entries.resize(bytes as usize, 0);
        let (mut longest, mut done) = (Duration::ZERO, 0);
        for part in self.entries.chunks_mut((MOST_PAGES * ENTRY) as usize) {
            let since = Instant::now();
            let n = pagemap
                .read_at(part, first.start / page * ENTRY + done)
                .map_err(|error| process.io(&process.path_of("pagemap"), error))?;
            longest = longest.max(since.elapsed());
            if n < part.len() {
                return Err(ProcError::new(ErrorKind::Gone, process.pid()));
            }
            done += n as u64;
        }
        Ok(longest)
    }
}

struct Sums<'a> {
    page: u64,
    counts: Option<&'a File>,
    known: &'a mut FxHashMap<u64, u64>,
    buffer: &'a mut Vec<u8>,
}

impl Sums<'_> {
    /// The share, what is mapped here alone, and whether every page's count was told.
    fn of(&mut self, bytes: &[u8], huge: bool) -> (Share, u64, bool) {
        let (mut share, mut alone, mut all) = (Share::default(), 0, true);
        let mut numbers: Vec<u64> = Vec::new();
        for entry in pagemap::entries(bytes).filter(|entry| entry.present()) {
            // A huge page has one answer for all its small ones, which may be shared in part: there counts decide.
            if entry.exclusive() && (!huge || self.counts.is_none()) {
                alone += self.page;
                share += Share::of_page(self.page, 1);
            } else {
                match entry.pfn() {
                    Some(pfn) => numbers.push(pfn),
                    None => all = false,
                }
            }
        }
        let unknown: Vec<u64> = numbers.iter().copied().filter(|pfn| !self.known.contains_key(pfn)).collect();
        self.ask(unknown);
        for pfn in numbers {
            match self.known.get(&pfn) {
                Some(count) => {
                    share += Share::of_page(self.page, *count);
                    alone += if *count <= 1 { self.page } else { 0 };
                }
                None => all = false,
            }
        }
        (share, alone, all)
    }

    /// Reads the counts of frames into `known`, neighbours in one call.
    fn ask(&mut self, mut numbers: Vec<u64>) {
        const NEAR: u64 = 32;
        const MOST: u64 = 4096;
        let Some(file) = self.counts.filter(|_| !numbers.is_empty()) else { return };
        numbers.sort_unstable();
        numbers.dedup();
        let mut rest = numbers.as_slice();
        while let Some(first) = rest.first() {
            let joined = |pair: &[u64]| match pair {
                [a, b] => b - a <= NEAR && b - first < MOST,
                _ => false,
            };
            let len = 1 + rest.windows(2).take_while(|pair| joined(pair)).count();
            let (group, others) = rest.split_at(len);
            rest = others;
            let span = ((group.last().unwrap_or(first) - first + 1) * ENTRY) as usize;
            self.buffer.resize(span, 0);
            let read =
                first.checked_mul(ENTRY).and_then(|at| file.read_at(self.buffer, at).ok()).unwrap_or(0);
            let counts = self.buffer.get(..read).unwrap_or_default().as_chunks::<{ ENTRY as usize }>().0;
            for pfn in group {
                if let Some(count) = counts.get((pfn - first) as usize) {
                    self.known.insert(*pfn, u64::from_ne_bytes(*count));
                }
            }
        }
    }
}

/// Takes out huge pages of hugetlb, which smaps counts neither in Rss nor in Pss.
fn drop_hugetlb(process: &Process, rows: &[VmaRow], runs: &mut Vec<PageRun>) {
    let mut last: Option<(Addr, bool)> = None;
    runs.retain(|run| {
        if !run.traits.huge() {
            return true;
        }
        let index = rows.partition_point(|row| row.range.end().0 <= run.start);
        let Some(row) = rows.get(index) else { return true };
        let answer = match last {
            Some((start, answer)) if start == row.range.start() => answer,
            _ => is_hugetlb(process, row),
        };
        last = Some((row.range.start(), answer));
        !answer
    });
}

/// The kernel's own sums in smaps_rollup. It holds the target for all of the reading.
///
/// # Errors
/// By kind.
pub fn rollup(process: &Process) -> Result<Shares, ProcError> {
    let since = Instant::now();
    let text = process.read_file("smaps_rollup")?;
    let longest_hold = since.elapsed();
    let path = process.path_of("smaps_rollup");
    let entries = smaps::parse(&text).map_err(|error| ProcError::parse(process.pid(), &path, error))?;
    let fields = entries.into_iter().next().map(|entry| entry.fields).unwrap_or_default();
    let Some(uss) = fields.sum(&[Field::PrivateClean, Field::PrivateDirty]) else {
        return Err(process.why_empty());
    };
    Ok(Shares { pss: fields.get(Field::Pss), uss, vmas: None, longest_hold })
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmatlas_testkit::{Capability, need, need_root};

    /// Checks our sums against smaps_rollup of a process that stands still, within what rounding adds for each page.
    #[test]
    fn our_sum_is_the_kernels() {
        if !need_root("frame numbers and /proc/kpagecount") || !need(Capability::PagemapScan) {
            return;
        }
        let child = vmatlas_testkit::Tracee::start(std::process::Command::new("sleep").arg("60")).unwrap();
        let root = ProcRoot::system();
        let process = root.process(child.pid()).unwrap();
        let settled = || rollup(&process).is_ok_and(|shares| shares.uss.0 > 64 << 10);
        assert!(vmatlas_testkit::wait_until(settled, Duration::from_secs(10)));
        let mut reader = ShareReader::new(&root);
        let ours = reader.read(&process).unwrap();
        let kernels = rollup(&process).unwrap();
        // Other processes come and go, and with them the shares of libraries; what is private does not change.
        assert_eq!(ours.uss, kernels.uss);
        let (ours, kernels) = (ours.pss.unwrap().0, kernels.pss.unwrap().0);
        assert!(ours.abs_diff(kernels) <= kernels / 4, "{ours} {kernels}");
    }
}
