//! PAGEMAP_SCAN: runs of pages and what they are (Linux 6.7, `include/uapi/linux/fs.h`, `fs/proc/task_mmu.c`).

use crate::errno::check;
use std::os::fd::{AsRawFd, BorrowedFd};
use vmatlas_event::{Addr, AddrRange, Errno};

/// `struct pm_scan_arg`.
#[repr(C)]
#[derive(Default)]
struct ScanArg {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}
const _: () = assert!(size_of::<ScanArg>() == 96);

/// `_IOWR('f', 16, struct pm_scan_arg)`.
const PAGEMAP_SCAN: libc::c_ulong = 0xc060_6610;

/// What the pages of a run are (PAGE_IS_*).
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct PageTraits(pub u64);

impl PageTraits {
    const FILE: u64 = 1 << 2;
    const PRESENT: u64 = 1 << 3;
    const SWAPPED: u64 = 1 << 4;
    const PFNZERO: u64 = 1 << 5;
    const HUGE: u64 = 1 << 6;
    const GUARD: u64 = 1 << 8;

    /// The traits that an entry of the text interface (proc_pid_pagemap(5)) tells.
    pub fn of_entry(present: bool, swapped: bool, file: bool) -> PageTraits {
        let bit = |set: bool, bit: u64| if set { bit } else { 0 };
        PageTraits(bit(present, Self::PRESENT) | bit(swapped, Self::SWAPPED) | bit(file, Self::FILE))
    }

    /// In physical memory, zero pages and hugetlb included.
    pub fn present(self) -> bool {
        self.0 & Self::PRESENT != 0
    }

    /// In swap; guard markers (MADV_GUARD_INSTALL) look swapped to the kernel but are not.
    pub fn swapped(self) -> bool {
        self.0 & (Self::SWAPPED | Self::GUARD) == Self::SWAPPED
    }

    /// The shared page of zeros, small or huge, which costs no memory.
    pub fn zero(self) -> bool {
        self.0 & Self::PFNZERO != 0
    }

    /// Belongs to a file or shmem object.
    pub fn file(self) -> bool {
        self.0 & Self::FILE != 0
    }

    /// Mapped by a huge page: transparent or hugetlb.
    pub fn huge(self) -> bool {
        self.0 & Self::HUGE != 0
    }
}

impl std::fmt::Debug for PageTraits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// `struct page_region`: neighbouring pages of the same traits.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct PageRun {
    /// The first address.
    pub start: u64,
    /// The address after the last.
    pub end: u64,
    /// What the pages are.
    pub traits: PageTraits,
}
const _: () = assert!(size_of::<PageRun>() == 24);

/// What one call found.
#[derive(Clone, Copy, Debug)]
pub struct ScanStep {
    /// How many entries of the vector were filled.
    pub runs: usize,
    /// Where the next call should start; the end of the range when it is done.
    pub next: Addr,
}

/// Walks `range` and fills `runs` with present and swapped pages, stopping after `max_pages` of them or a full vector.
///
/// The kernel holds the target's mmap lock for reading meanwhile, so keep `max_pages` small: 4,096 take about 130 us.
///
/// # Errors
/// ENOTTY where the kernel has no PAGEMAP_SCAN, ESRCH when the address space is gone, EPERM when not allowed.
pub fn pagemap_scan(
    pagemap: BorrowedFd<'_>,
    range: AddrRange,
    max_pages: u64,
    runs: &mut [PageRun],
) -> Result<ScanStep, Errno> {
    let mut scan = |traits| scan(pagemap, range, max_pages, traits, runs);
    match scan(TRAITS | PageTraits::GUARD) {
        // Kernels without PAGE_IS_GUARD refuse the unknown bit; they cannot have guard markers in their answer either.
        Err(Errno(libc::EINVAL)) => scan(TRAITS),
        answer => answer,
    }
}

/// Whether a scan tells guard markers from swapped pages (PAGE_IS_GUARD), tried on a page of nobody's.
///
/// # Errors
/// EINVAL where it does not, ENOTTY where the kernel has no PAGEMAP_SCAN.
pub fn pagemap_scan_tells_guards(pagemap: BorrowedFd<'_>) -> Result<(), Errno> {
    let Some(range) = AddrRange::from_len(Addr(0), vmatlas_event::Bytes(crate::page_size().bytes())) else {
        return Err(Errno(libc::EINVAL));
    };
    let mut runs = [PageRun::default()];
    scan(pagemap, range, 1, TRAITS | PageTraits::GUARD, &mut runs).map(|_| ())
}

const WANTED: u64 = PageTraits::PRESENT | PageTraits::SWAPPED;
const TRAITS: u64 = PageTraits::FILE | WANTED | PageTraits::PFNZERO | PageTraits::HUGE;

fn scan(
    pagemap: BorrowedFd<'_>,
    range: AddrRange,
    max_pages: u64,
    traits: u64,
    runs: &mut [PageRun],
) -> Result<ScanStep, Errno> {
    let mut arg = ScanArg {
        size: size_of::<ScanArg>() as u64,
        start: range.start().0,
        end: range.end().0,
        vec: runs.as_mut_ptr() as u64,
        vec_len: runs.len() as u64,
        max_pages,
        category_anyof_mask: WANTED,
        return_mask: traits,
        ..ScanArg::default()
    };
    // SAFETY: `arg` has the kernel's layout (asserted above); `runs` lives through the call and its length is given.
    let ret = unsafe { libc::ioctl(pagemap.as_raw_fd(), PAGEMAP_SCAN, &raw mut arg) };
    let filled = check(i64::from(ret))? as usize;
    let filled = filled.min(runs.len());
    // The kernel collects 512 runs at a time. Where it went on after that and came to the end of the range, walk_end
    // is left where the first 512 ended (fs/proc/task_mmu.c: do_pagemap_scan(), seen on 6.18), and runs that were
    // reported already would come again.
    let last = filled.checked_sub(1).and_then(|last| runs.get(last)).map_or(0, |run| run.end);
    Ok(ScanStep { runs: filled, next: Addr(arg.walk_end.max(last)) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mem::{Arena, Touch, touch};
    use std::os::fd::AsFd;
    use vmatlas_event::{Bytes, MapFlags, ProtArg};

    /// Checks more runs than the kernel gathers at a time: each is told once, however large the vector is.
    #[test]
    fn each_run_is_told_once() {
        let page = crate::page_size().bytes();
        let pagemap = std::fs::File::open("/proc/self/pagemap").unwrap();
        for pages in [511, 512, 513, 700, 1024, 1300] {
            let arena = Arena::new(Bytes(4096 * page), ProtArg(3), MapFlags(2 | 0x4000)).unwrap();
            arena.advise(arena.range().start(), arena.range().len(), 15).unwrap();
            for index in 0..pages {
                assert_eq!(touch(arena.range(), 2 * index, 1, Touch::Write), Ok(1));
            }
            let (mut told, mut at) = (Vec::new(), arena.range().start());
            let mut runs = vec![PageRun::default(); 4096];
            while at < arena.range().end() {
                let range = AddrRange::new(at, arena.range().end()).unwrap();
                let step = match pagemap_scan(pagemap.as_fd(), range, 1 << 20, &mut runs) {
                    Err(Errno(libc::ENOTTY)) => return,
                    answer => answer.unwrap(),
                };
                told.extend(runs[..step.runs].iter().map(|run| run.start));
                at = step.next;
            }
            let expected: Vec<u64> =
                (0..pages).map(|index| arena.range().start().0 + 2 * index * page).collect();
            assert_eq!(told, expected, "{pages} runs");
            arena.unmap(arena.range().start(), arena.range().len()).unwrap();
        }
    }
}
