//! What the kernel itself counts of a process, to be compared with our sum.

use vmatlas_event::Bytes;

/// The kernel's figures; `None` where one was not read or is not told.
///
/// Sources: proc_pid_status(5), smaps_rollup (proc_pid_smaps(5)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelFigures {
    /// VmRSS before the pages were read.
    pub rss_before: Option<Bytes>,
    /// VmRSS after they were read.
    pub rss_after: Option<Bytes>,
    /// RssAnon: of no file.
    pub anonymous: Option<Bytes>,
    /// RssFile: of files.
    pub file: Option<Bytes>,
    /// RssShmem: of shared memory.
    pub shmem: Option<Bytes>,
    /// Rss of smaps_rollup: the kernel's own walk.
    pub rollup: Option<Bytes>,
    /// Given back with MADV_FREE and not yet taken (LazyFree of smaps_rollup).
    pub lazy_free: Option<Bytes>,
    /// Pss of smaps_rollup.
    pub pss: Option<Bytes>,
    /// VmSwap.
    pub swap: Option<Bytes>,
    /// Swap of smaps_rollup, which counts shared memory too.
    pub rollup_swap: Option<Bytes>,
    /// VmPTE: page tables.
    pub page_tables: Option<Bytes>,
    /// HugetlbPages: outside of VmRSS.
    pub hugetlb: Option<Bytes>,
    /// VmLck: locked address space.
    pub locked: Option<Bytes>,
    /// VmHWM: the most that was ever resident.
    pub peak: Option<Bytes>,
}

impl KernelFigures {
    /// How much VmRSS moved while we read: what the process itself changed meanwhile, at least.
    pub fn moved(&self) -> Option<i64> {
        let (before, after) = self.rss_before.zip(self.rss_after)?;
        Some(after.0 as i64 - before.0 as i64)
    }
}

/// A figure of the kernel beside ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The kernel's.
    pub kernel: Bytes,
    /// Our sum.
    pub ours: Bytes,
}

impl Difference {
    /// The kernel's less ours: positive when the kernel counts more.
    pub fn signed(self) -> i64 {
        self.kernel.0 as i64 - self.ours.0 as i64
    }

    /// How large it is.
    pub fn size(self) -> Bytes {
        Bytes(self.kernel.0.abs_diff(self.ours.0))
    }
}
