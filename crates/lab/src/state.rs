//! One look at the subject while it waits: map, pages, sizes, faults, page frames.

use std::os::unix::fs::FileExt;
use vmatlas_event::{AddrRange, Bytes, PageCounts, VmaRow};
use vmatlas_model::{PageChange, page_changes};
use vmatlas_proc::parse::pagemap;
use vmatlas_proc::read::residency;
use vmatlas_proc::{Budget, MapsReader, ProcError, Process};

/// All that an experiment compares between two moments.
#[derive(Clone, Debug)]
pub struct State {
    /// The map.
    pub rows: Vec<VmaRow>,
    /// The same as the kernel wrote it.
    pub raw: Vec<u8>,
    /// The pages of each row; `None` for [vsyscall], which has none.
    pub pages: Vec<Option<PageCounts>>,
    /// Virtual size as the kernel counts it (VmSize).
    pub virtual_size: Bytes,
    /// All pages of all rows.
    pub total: PageCounts,
    /// Page faults so far that needed no reading from a disk.
    pub minor_faults: u64,
    /// Page faults so far that did.
    pub major_faults: u64,
    /// Whether this kernel cannot tell the shared zero page apart, so that it is counted as resident.
    pub zero_pages_counted: bool,
}

impl State {
    pub(crate) fn read(process: &Process) -> Result<State, ProcError> {
        let raw = process.read_file("maps")?;
        let rows = MapsReader::new().read(process)?.rows;
        let residency = residency::read(process, &rows, Budget::default())?;
        let total = sum(residency.per_row.iter().flatten());
        let stat = process.stat()?;
        let own: Bytes =
            rows.iter().filter(|r| r.special() != Some(b"vsyscall")).map(|r| r.range.len()).sum();
        Ok(State {
            virtual_size: process.status()?.vm_size.unwrap_or(own),
            rows,
            raw,
            zero_pages_counted: residency.counts_zero_pages(),
            pages: residency.per_row,
            total,
            minor_faults: stat.minor_faults,
            major_faults: stat.major_faults,
        })
    }

    /// What is different in `after`, page by page.
    pub fn changes(&self, after: &State) -> Vec<PageChange> {
        page_changes(&self.rows, &after.rows, &[])
    }

    /// The resident pages, huge ones too, of the VMAs that meet `range`; and the range of these VMAs.
    pub(crate) fn resident_around(&self, range: AddrRange) -> (Bytes, AddrRange) {
        let met = || self.rows.iter().zip(&self.pages).filter(|(row, _)| row.range.intersects(range));
        let counts = sum(met().filter_map(|(_, pages)| pages.as_ref()));
        (counts.resident + counts.hugetlb, met().fold(range, |hull, (row, _)| hull.hull(row.range)))
    }

    /// The row that holds an address.
    pub fn row_at(&self, addr: vmatlas_event::Addr) -> Option<&VmaRow> {
        self.rows.iter().find(|row| row.range.contains(addr))
    }
}

fn sum<'a>(counts: impl Iterator<Item = &'a PageCounts>) -> PageCounts {
    counts.fold(PageCounts::default(), |mut sum, pages| {
        sum += *pages;
        sum
    })
}

/// The pages of one range of the subject, whatever VMA it is part of.
pub(crate) fn pages_of(
    process: &Process,
    rows: &[VmaRow],
    range: AddrRange,
) -> Result<PageCounts, ProcError> {
    let parts: Vec<VmaRow> = rows.iter().filter_map(|row| row.clip(range)).collect();
    let residency = residency::read(process, &parts, Budget::default())?;
    Ok(sum(residency.per_row.iter().flatten()))
}

/// Pages of a range that are present, with their frames: (page of the range, frame number where we may know it).
pub(crate) type Frames = Vec<(u64, Option<u64>)>;

/// The first `most` present pages of a range, out of its first `look` pages.
pub(crate) fn frames_of(
    process: &Process,
    range: AddrRange,
    look: u64,
    most: usize,
) -> Result<Frames, ProcError> {
    const ENTRY: u64 = 8;
    let page = vmatlas_sys::page_size().bytes();
    let pagemap_file = process.open_file("pagemap")?;
    let mut buffer = vec![0u8; (look.min(range.len().0 / page) * ENTRY) as usize];
    let at = range.start().0 / page * ENTRY;
    // What cannot be read is not there to be drawn; the counts come from elsewhere.
    let n = pagemap_file.read_at(&mut buffer, at).unwrap_or(0);
    let present = pagemap::entries(&buffer[..n]).zip(0u64..).filter(|(entry, _)| entry.present());
    Ok(present.map(|(entry, index)| (index, entry.pfn())).take(most).collect())
}

/// One page, as /proc/PID/pagemap has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PageSeen {
    /// Whether there is a frame behind it, the zero page's among them.
    pub present: bool,
    /// Which one; `None` where that is hidden from us.
    pub pfn: Option<u64>,
    /// Whether nobody else maps the frame.
    pub exclusive: bool,
    /// Whether it is in swap.
    pub swapped: bool,
    /// Whether it belongs to a file or a shared object.
    pub file: bool,
}

/// The pages of a range, in order; what is not mapped is not present. For areas of an experiment, which are small: no
/// more than 65,536 pages.
pub(crate) fn pages_seen(process: &Process, range: AddrRange) -> Result<Vec<PageSeen>, ProcError> {
    const ENTRY: u64 = 8;
    const MOST: u64 = 65_536;
    let page = vmatlas_sys::page_size().bytes();
    let pagemap_file = process.open_file("pagemap")?;
    let mut buffer = vec![0u8; ((range.len().0 / page).min(MOST) * ENTRY) as usize];
    let n = pagemap_file.read_at(&mut buffer, range.start().0 / page * ENTRY).unwrap_or(0);
    // What was not read stays "not present".
    buffer.get_mut(n..).unwrap_or_default().fill(0);
    let seen = |entry: pagemap::PagemapEntry| PageSeen {
        present: entry.present(),
        pfn: entry.pfn(),
        exclusive: entry.exclusive(),
        swapped: entry.swapped(),
        file: entry.file(),
    };
    Ok(pagemap::entries(&buffer).map(seen).collect())
}
