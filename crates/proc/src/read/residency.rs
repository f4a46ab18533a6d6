//! How much of each VMA is in physical memory.

use crate::parse::smaps::{self, Field, SmapsFields};
use crate::read::error::ProcError;
use crate::read::parallel;
use crate::read::process::Process;
use crate::read::walk::{Budget, Method, WalkCost, has_pages, walk};
use std::os::fd::AsFd;
use std::time::Instant;
use vmatlas_event::{Addr, AddrRange, Bytes, PageCounts, VmaRow};
use vmatlas_sys::{PageRun, PageTraits, QueryMode, procmap_query};

/// The pages of each row that was asked for.
#[derive(Clone, Debug)]
pub struct Residency {
    /// One entry for each row; `None` where the kernel has no page table for it (`[vsyscall]`).
    pub per_row: Vec<Option<PageCounts>>,
    /// What reading them cost.
    pub cost: WalkCost,
}

impl Residency {
    /// Whether shared zero pages may be among the resident ones.
    pub fn counts_zero_pages(&self) -> bool {
        self.cost.method == Method::PagemapEntries
    }
}

/// Reads the pages of `rows`, which must be in address order.
///
/// # Errors
/// Those of [`walk`].
pub fn read(process: &Process, rows: &[VmaRow], budget: Budget) -> Result<Residency, ProcError> {
    if budget.method == Some(Method::Smaps) {
        return read_smaps(process, rows);
    }
    if budget.threads > 1 {
        return parallel::read(process, rows, budget);
    }
    let mut counts = RowCounts::new(process, rows);
    let cost = walk(process, rows, budget, &mut |run| counts.add(&run))?;
    Ok(Residency { per_row: counts.finish(), cost })
}

/// The sums of smaps: exact, but the target's mmap lock is held for all of a VMA at a time.
fn read_smaps(process: &Process, rows: &[VmaRow]) -> Result<Residency, ProcError> {
    use std::io::Read;
    let start = Instant::now();
    let mut cost = WalkCost::none(Method::Smaps);
    let (mut file, path) = (process.open_file("smaps")?, process.path_of("smaps"));
    let mut text = Vec::new();
    let mut buffer = vec![0u8; 1 << 16];
    loop {
        let since = Instant::now();
        let n = file.read(&mut buffer).map_err(|e| process.io(&path, e))?;
        process.beat().tick();
        cost.calls += 1;
        cost.bytes += n as u64;
        cost.longest_hold = cost.longest_hold.max(since.elapsed());
        if n == 0 {
            break;
        }
        text.extend_from_slice(&buffer[..n]);
    }
    if text.is_empty() {
        return Err(process.why_empty());
    }
    let entries = smaps::parse(&text).map_err(|e| ProcError::parse(process.pid(), &path, e))?;
    process.still_there()?;
    let mut entries = entries.iter().peekable();
    let mut per_row = Vec::with_capacity(rows.len());
    for row in rows {
        // Both texts come in address order; a row that changed between them is not told.
        while entries.next_if(|entry| entry.line.range.start() < row.range.start()).is_some() {}
        let same = entries.next_if(|entry| entry.line.range == row.range);
        per_row.push(same.filter(|_| has_pages(row)).and_then(|entry| counts_of(&entry.fields)));
    }
    cost.time = start.elapsed();
    Ok(Residency { per_row, cost })
}

/// `None` where the kernel does not tell a figure. smaps does not count the shared zero page anywhere, and leaves hugetlb
/// out of Rss as RSS does.
fn counts_of(fields: &SmapsFields) -> Option<PageCounts> {
    Some(PageCounts {
        resident: fields.get(Field::Rss)?,
        anonymous: fields.get(Field::Anonymous)?,
        swapped: fields.get(Field::Swap)?,
        huge: fields.get(Field::AnonHugePages)?
            + fields.get(Field::ShmemPmdMapped).unwrap_or_default()
            + fields.get(Field::FilePmdMapped).unwrap_or_default(),
        hugetlb: fields.get(Field::SharedHugetlb).unwrap_or_default()
            + fields.get(Field::PrivateHugetlb).unwrap_or_default(),
        zero: Bytes(0),
    })
}

/// Sums runs into rows: both come in address order, so one cursor is enough.
pub(super) struct RowCounts<'a> {
    rows: &'a [VmaRow],
    process: &'a Process,
    cursor: usize,
    /// As they will be given: a second list of them, made at the end, would be as many page faults of ours again.
    counts: Vec<Option<PageCounts>>,
    hugetlb: Option<(usize, bool)>,
}

impl<'a> RowCounts<'a> {
    pub(super) fn new(process: &'a Process, rows: &'a [VmaRow]) -> RowCounts<'a> {
        RowCounts::with_room(process, rows, Vec::new())
    }

    /// With the memory of a list that is not needed any more.
    pub(super) fn with_room(
        process: &'a Process,
        rows: &'a [VmaRow],
        mut counts: Vec<Option<PageCounts>>,
    ) -> RowCounts<'a> {
        counts.clear();
        counts.resize(rows.len(), Some(PageCounts::default()));
        RowCounts { rows, process, cursor: 0, counts, hugetlb: None }
    }

    pub(super) fn add(&mut self, run: &PageRun) {
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
        let Some(Some(counts)) = self.counts.get_mut(index) else { return };
        if traits.swapped() {
            counts.swapped += len;
        } else if hugetlb {
            counts.hugetlb += len;
        } else if traits.present() && traits.zero() {
            counts.zero += len;
        } else if traits.present() {
            counts.resident += len;
            if traits.huge() {
                counts.huge += len;
            }
            if !traits.file() {
                counts.anonymous += len;
            }
        }
    }

    fn is_hugetlb(&mut self, index: usize) -> bool {
        if let Some((known, answer)) = self.hugetlb
            && known == index
        {
            return answer;
        }
        let answer = is_hugetlb(self.process, &self.rows[index]);
        self.hugetlb = Some((index, answer));
        answer
    }

    pub(super) fn finish(mut self) -> Vec<Option<PageCounts>> {
        for (row, counts) in self.rows.iter().zip(&mut self.counts) {
            if !has_pages(row) {
                *counts = None;
            }
        }
        self.counts
    }
}

/// Whether huge pages of this row are hugetlb's, which RSS leaves out. Only file rows can be; the VMA's own page size
/// tells, and where the kernel cannot be asked the usual name does.
pub(super) fn is_hugetlb(process: &Process, row: &VmaRow) -> bool {
    let maps = || process.root().may_query().then(|| process.open_file("maps").ok()).flatten();
    row.has_file()
        && match maps().map(|maps| procmap_query(maps.as_fd(), row.range.start(), QueryMode::Covering)) {
            Some(Ok(Some(answer))) => answer.page_size > vmatlas_sys::page_size().bytes(),
            _ => row.name_bytes().starts_with(b"/anon_hugepage"),
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MapsReader, ProcRoot};
    use vmatlas_event::{MapFlags, Prot, ProtArg};
    use vmatlas_sys::mem::{Arena, Touch, touch};

    /// Of the arena alone, whatever the kernel merged it with: the tests beside this one map their own.
    fn counts_of(arena: &Arena, method: Method) -> PageCounts {
        let me = ProcRoot::system().process(vmatlas_sys::self_pid()).unwrap();
        let row = VmaRow::anonymous(arena.range(), Prot::RW);
        let residency = read(&me, &[row], Budget { method: Some(method), ..Budget::default() }).unwrap();
        residency.per_row[0].unwrap()
    }

    /// Checks that exactly the written pages are resident, that the zero page of a read is not, by both methods.
    #[test]
    fn written_pages_are_resident_and_read_ones_are_not() {
        const MIB: u64 = 1 << 20;
        let page = vmatlas_sys::page_size().bytes();
        let arena = Arena::new(Bytes(64 * MIB), ProtArg(3), MapFlags(2 | 0x4000)).unwrap();
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

    /// Checks that no page is reported twice where one call finds more runs than the kernel collects at a time (512).
    #[test]
    fn more_runs_than_the_kernel_collects_come_once() {
        const PAGES: u64 = 4 * 513;
        let page = vmatlas_sys::page_size().bytes();
        let arena = Arena::new(Bytes(PAGES * page), ProtArg(3), MapFlags(2 | 0x4000)).unwrap();
        arena.advise(arena.range().start(), arena.range().len(), 15).unwrap();
        let touched = (0..PAGES).step_by(3);
        touched.clone().for_each(|index| assert_eq!(touch(arena.range(), index, 1, Touch::Write), Ok(1)));
        let expected = Bytes(touched.count() as u64 * page);
        assert_eq!(counts_of(&arena, Method::PagemapScan).resident, expected);
        let pagemap = std::fs::File::open("/proc/self/pagemap").unwrap();
        let mut runs = vec![PageRun::default(); 1024];
        let step = vmatlas_sys::pagemap_scan(pagemap.as_fd(), arena.range(), 4096, &mut runs).unwrap();
        assert_eq!((step.runs, step.next), (684, Addr(runs[683].end).max(step.next)));
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
        assert!(residency.cost.calls >= 4, "{} calls", residency.cost.calls);
        arena.unmap(arena.range().start(), arena.range().len()).unwrap();
    }

    /// Checks that a budget which no call can keep is kept as well as can be, and does not make a walk endless.
    #[test]
    fn an_impossible_budget_comes_to_an_end() {
        let me = ProcRoot::system().process(vmatlas_sys::self_pid()).unwrap();
        let rows = MapsReader::new().read(&me).unwrap().rows;
        let budget = Budget::of_hold(std::time::Duration::from_nanos(1));
        let residency = read(&me, &rows, budget).unwrap();
        assert!(residency.cost.calls < 20_000, "{} calls", residency.cost.calls);
    }

    /// Checks that a huge reservation costs a few calls, not one for each 16 MiB of it.
    #[test]
    fn a_terabyte_reservation_is_a_few_calls() {
        let arena = Arena::new(Bytes(1 << 40), ProtArg(0), MapFlags(2 | 0x4000)).unwrap();
        let me = ProcRoot::system().process(vmatlas_sys::self_pid()).unwrap();
        let rows = MapsReader::new().read(&me).unwrap().rows;
        let residency = read(&me, &rows, Budget::default()).unwrap();
        assert!(residency.cost.calls < 2000, "{} calls", residency.cost.calls);
        arena.unmap(arena.range().start(), arena.range().len()).unwrap();
    }
}
