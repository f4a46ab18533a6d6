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
        Some(signed(after, before))
    }
}

/// One less the other; as far as it can be told where a saved figure is beyond all memory.
fn signed(a: Bytes, b: Bytes) -> i64 {
    let size = i64::try_from(a.0.abs_diff(b.0)).unwrap_or(i64::MAX);
    if a < b { -size } else { size }
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
        signed(self.kernel, self.ours)
    }

    /// How large it is.
    pub fn size(self) -> Bytes {
        Bytes(self.kernel.0.abs_diff(self.ours.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks signs, and that figures beyond all memory have a difference too.
    #[test]
    fn differences_have_a_sign() {
        let difference = |kernel, ours| Difference { kernel: Bytes(kernel), ours: Bytes(ours) }.signed();
        assert_eq!((difference(3, 1), difference(1, 3), difference(2, 2)), (2, -2, 0));
        assert_eq!((difference(u64::MAX, 1), difference(0, u64::MAX)), (i64::MAX, -i64::MAX));
        assert_eq!(difference(u64::MAX, 1 << 63), i64::MAX);
    }
}
