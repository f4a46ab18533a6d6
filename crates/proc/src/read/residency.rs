//! How much of each VMA is in physical memory, without stalling the process.
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
use vmatlas_event::{Addr, AddrRange, Bytes, PageCounts, PageSize, VmaRow};
use vmatlas_sys::{PageRun, PageTraits, QueryMode, pagemap_scan, procmap_query};

/// How the reader bounds itself.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Pages that one slice may report.
    pub max_pages: u64,
    /// A slice that takes longer makes the next one smaller.
    pub slice: Duration,
    /// The pause after slices that together took [`Budget::slice`].
    pub pause: Duration,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { max_pages: 4096, slice: Duration::from_micros(250), pause: Duration::from_micros(100) }
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

/// The pages of each row that was asked for.
#[derive(Clone, Debug)]
pub struct Residency {
    /// One entry for each row; `None` where the kernel has no page table for it (`[vsyscall]`).
    pub per_row: Vec<Option<PageCounts>>,
    /// How they were read.
    pub method: Method,
    /// Wall time, pauses included.
    pub time: Duration,
    /// Calls made.
    pub calls: u64,
    /// The longest single call: an upper bound of how long the target's mmap lock was held.
    pub longest_hold: Duration,
}

/// Reads the pages of `rows`, which must be in address order.
///
/// # Errors
/// By kind; [`ErrorKind::Gone`] also when the process replaced its address space meanwhile.
pub fn read(process: &Process, rows: &[VmaRow], budget: Budget) -> Result<Residency, ProcError> {
    let pagemap = process.open_file("pagemap")?;
    let mut reader = Reader {
        process,
        page: vmatlas_sys::page_size(),
        budget,
        held: Duration::ZERO,
        span: FIRST_SPAN,
        out: Residency {
            per_row: vec![None; rows.len()],
            method: Method::PagemapScan,
            time: Duration::ZERO,
            calls: 0,
            longest_hold: Duration::ZERO,
        },
    };
    let start = Instant::now();
    match reader.scan(&pagemap, rows) {
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            reader.out.method = Method::PagemapEntries;
            reader.entries(&pagemap, rows)?;
        }
        answer => answer?,
    }
    process.still_there()?;
    reader.out.time = start.elapsed();
    Ok(reader.out)
}

/// The first slice covers this much: its page tables, all empty, take about as long as [`Budget::slice`] allows.
const FIRST_SPAN: u64 = 16 << 20;
/// A slice covers at most this many VMAs.
const MOST_VMAS: usize = 512;

struct Reader<'a> {
    process: &'a Process,
    page: PageSize,
    budget: Budget,
    /// Time held since the last pause.
    held: Duration,
    /// How many bytes the next slice may cover.
    span: u64,
    out: Residency,
}

/// The kernel's pseudo mapping of old system calls is no VMA and has no page tables.
fn has_pages(row: &VmaRow) -> bool {
    row.special() != Some(b"vsyscall")
}

impl Reader<'_> {
    /// Accounts for a call and pauses when enough time was held; returns the call's own time.
    fn spent(&mut self, since: Instant) -> Duration {
        let took = since.elapsed();
        self.out.calls += 1;
        self.out.longest_hold = self.out.longest_hold.max(took);
        self.held += took;
        if self.held >= self.budget.slice {
            vmatlas_sys::sleep(self.budget.pause);
            self.held = Duration::ZERO;
        }
        took
    }

    fn scan(&mut self, pagemap: &File, rows: &[VmaRow]) -> Result<(), ProcError> {
        const SMALLEST_SPAN: u64 = 2 << 20;
        const LARGEST_SPAN: u64 = 1 << 46;
        let mut runs = vec![PageRun::default(); 1024];
        let mut counts = RowCounts::new(self, rows);
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
            for run in &runs[..step.runs] {
                counts.add(run);
            }
            if took > self.budget.slice {
                self.span = (self.span / 2).max(SMALLEST_SPAN);
            } else if took < self.budget.slice / 4 {
                self.span = (self.span * 4).min(LARGEST_SPAN);
            }
            if step.next <= at {
                break;
            }
            at = step.next;
        }
        self.out.per_row = counts.finish();
        Ok(())
    }

    fn entries(&mut self, pagemap: &File, rows: &[VmaRow]) -> Result<(), ProcError> {
        const ENTRIES: u64 = 4096;
        const ENTRY: u64 = 8;
        let path = self.process.path_of("pagemap");
        let page = self.page.bytes();
        let mut buffer = vec![0u8; (ENTRIES * ENTRY) as usize];
        for (row, slot) in rows.iter().zip(0..).filter(|(row, _)| has_pages(row)) {
            let mut counts = PageCounts::default();
            let mut at = row.range.start().0;
            while at < row.range.end().0 {
                let want = ((row.range.end().0 - at) / page).min(ENTRIES) * ENTRY;
                let since = Instant::now();
                let n = pagemap
                    .read_at(&mut buffer[..want as usize], at / page * ENTRY)
                    .map_err(|e| self.process.io(&path, e))?;
                self.spent(since);
                if n == 0 {
                    return Err(ProcError::new(ErrorKind::Gone, self.process.pid()));
                }
                for entry in pagemap::entries(&buffer[..n]) {
                    counts.resident += Bytes(if entry.present() { page } else { 0 });
                    counts.swapped += Bytes(if entry.swapped() { page } else { 0 });
                }
                at += n as u64 / ENTRY * page;
            }
            self.out.per_row[slot] = Some(counts);
        }
        Ok(())
    }
}

/// Sums runs into rows: both come in address order, so one cursor is enough.
struct RowCounts<'a> {
    rows: &'a [VmaRow],
    process: &'a Process,
    base_page: u64,
    cursor: usize,
    counts: Vec<PageCounts>,
    hugetlb: Option<(usize, bool)>,
}

impl<'a> RowCounts<'a> {
    fn new(reader: &Reader<'a>, rows: &'a [VmaRow]) -> RowCounts<'a> {
        RowCounts {
            rows,
            process: reader.process,
            base_page: reader.page.bytes(),
            cursor: 0,
            counts: vec![PageCounts::default(); rows.len()],
            hugetlb: None,
        }
    }

    fn add(&mut self, run: &PageRun) {
        let Some(run_range) = AddrRange::new(Addr(run.start), Addr(run.end)) else { return };
        while self.rows.get(self.cursor).is_some_and(|row| row.range.end() <= run_range.start()) {
            self.cursor += 1;
        }
        let mut index = self.cursor;
        while let Some(part) = self.rows.get(index).map(|row| row.range) {
            if part.start() >= run_range.end() {
                break;
            }
            // A run can cross VMAs; what lies between them was mapped after the map was read.
            if let Some(part) = part.intersect(run_range) {
                self.count(index, part.len(), run.traits);
            }
            index += 1;
        }
    }

    fn count(&mut self, index: usize, len: Bytes, traits: PageTraits) {
        let hugetlb = traits.huge() && self.is_hugetlb(index);
        let counts = &mut self.counts[index];
        if traits.swapped() {
            counts.swapped += len;
        } else if hugetlb {
            counts.hugetlb += len;
        } else if traits.present() && !traits.zero() {
            counts.resident += len;
            if traits.huge() {
                counts.huge += len;
            }
        }
    }

    /// Whether huge pages of this row are hugetlb's, which RSS leaves out. Only file rows can be; the VMA's own page
    /// size tells, and where the kernel cannot be asked the usual name does.
    fn is_hugetlb(&mut self, index: usize) -> bool {
        if let Some((known, answer)) = self.hugetlb
            && known == index
        {
            return answer;
        }
        let row = &self.rows[index];
        let answer = row.has_file()
            && match self
                .process
                .open_file("maps")
                .ok()
                .map(|maps| procmap_query(maps.as_fd(), row.range.start(), QueryMode::Covering))
            {
                Some(Ok(Some(answer))) => answer.page_size > self.base_page,
                _ => row.name_bytes().starts_with(b"/anon_hugepage"),
            };
        self.hugetlb = Some((index, answer));
        answer
    }

    fn finish(self) -> Vec<Option<PageCounts>> {
        self.rows.iter().zip(self.counts).map(|(row, c)| has_pages(row).then_some(c)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MapsReader, ProcRoot};
    use vmatlas_event::{MapFlags, ProtArg};
    use vmatlas_sys::mem::{Arena, Touch, touch};

    fn counts_of(arena: &Arena, method: Method) -> PageCounts {
        let me = ProcRoot::system().process(vmatlas_sys::self_pid()).unwrap();
        let rows = MapsReader::new().read(&me).unwrap().rows;
        let residency = match method {
            Method::PagemapScan => read(&me, &rows, Budget::default()).unwrap(),
            Method::PagemapEntries => {
                let pagemap = me.open_file("pagemap").unwrap();
                let mut reader = Reader {
                    process: &me,
                    page: vmatlas_sys::page_size(),
                    budget: Budget::default(),
                    held: Duration::ZERO,
                    span: 0,
                    out: Residency {
                        per_row: vec![None; rows.len()],
                        method,
                        time: Duration::ZERO,
                        calls: 0,
                        longest_hold: Duration::ZERO,
                    },
                };
                reader.entries(&pagemap, &rows).unwrap();
                reader.out
            }
        };
        let mut sum = PageCounts::default();
        for (row, counts) in rows.iter().zip(&residency.per_row) {
            if row.range.intersects(arena.range()) {
                sum += counts.unwrap();
            }
        }
        sum
    }

    /// Checks that exactly the written pages are resident, that the zero page of a read is not, by both methods.
    #[test]
    fn written_pages_are_resident_and_read_ones_are_not() {
        const MIB: u64 = 1 << 20;
        let page = vmatlas_sys::page_size().bytes();
        // NORESERVE keeps it a VMA of its own, so that neighbours' pages do not count.
        let flags = MapFlags(2 | 0x4000);
        let arena = Arena::new(Bytes(64 * MIB), ProtArg(3), flags).unwrap();
        arena.advise(arena.range().start(), Bytes(64 * MIB), 15).unwrap();
        assert_eq!(touch(arena.range(), 3, 7, Touch::Write), Ok(7));
        assert_eq!(touch(arena.range(), 5000, 1, Touch::Write), Ok(1));
        assert_eq!(counts_of(&arena, Method::PagemapScan).resident, Bytes(8 * page));
        assert_eq!(counts_of(&arena, Method::PagemapEntries).resident, Bytes(8 * page));
        assert_eq!(touch(arena.range(), 9000, 4, Touch::Read), Ok(4));
        assert_eq!(counts_of(&arena, Method::PagemapScan).resident, Bytes(8 * page));
        assert_eq!(touch(arena.range(), u64::MAX, 1, Touch::Read), Ok(0));
        arena.unmap(arena.range().start(), arena.range().len()).unwrap();
    }

    /// Checks that many small VMAs are read in several slices, since each of them holds the target for a while.
    #[test]
    fn many_vmas_are_several_slices() {
        const VMAS: u64 = 4000;
        let page = vmatlas_sys::page_size().bytes();
        let arena = Arena::new(Bytes(VMAS * page), ProtArg(3), MapFlags(2 | 0x4000)).unwrap();
        for index in (1..VMAS).step_by(2) {
            let at = Addr(arena.range().start().0 + index * page);
            arena.protect(at, Bytes(page), ProtArg(1)).unwrap();
        }
        let me = ProcRoot::system().process(vmatlas_sys::self_pid()).unwrap();
        let rows = MapsReader::new().read(&me).unwrap().rows;
        assert!(rows.len() as u64 >= VMAS);
        let residency = read(&me, &rows, Budget::default()).unwrap();
        assert!(residency.calls >= VMAS / MOST_VMAS as u64, "{} calls", residency.calls);
        arena.unmap(arena.range().start(), arena.range().len()).unwrap();
    }

    /// Checks that a huge reservation costs a few calls, not one for each 16 MiB of it.
    #[test]
    fn a_terabyte_reservation_is_a_few_calls() {
        let arena = Arena::new(Bytes(1 << 40), ProtArg(0), MapFlags(2 | 0x4000)).unwrap();
        let me = ProcRoot::system().process(vmatlas_sys::self_pid()).unwrap();
        let rows = MapsReader::new().read(&me).unwrap().rows;
        let residency = read(&me, &rows, Budget::default()).unwrap();
        assert!(residency.calls < 2000, "{} calls", residency.calls);
        arena.unmap(arena.range().start(), arena.range().len()).unwrap();
    }
}
