//! What is known of the pages of a VMA.

use crate::Bytes;

/// Pages of one VMA at one moment, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageCounts {
    /// In physical memory and counted in RSS: present, not the shared zero page, not hugetlb.
    pub resident: Bytes,
    /// The part of `resident` that belongs to no file and no shared object (smaps: Anonymous).
    pub anonymous: Bytes,
    /// In swap; pages of shared memory in swap are not among them, the page tables do not hold them.
    pub swapped: Bytes,
    /// The part of `resident` that is mapped by transparent huge pages.
    pub huge: Bytes,
    /// Present in hugetlb pages, which the kernel does not count in RSS.
    pub hugetlb: Bytes,
    /// Mapped to the shared page of zeros, small or huge, which costs no memory.
    pub zero: Bytes,
}

impl PageCounts {
    /// The part of `resident` that belongs to a file or a shared object.
    pub fn of_files(self) -> Bytes {
        Bytes(self.resident.0.saturating_sub(self.anonymous.0))
    }
}

impl std::ops::AddAssign for PageCounts {
    fn add_assign(&mut self, other: PageCounts) {
        self.resident += other.resident;
        self.anonymous += other.anonymous;
        self.swapped += other.swapped;
        self.huge += other.huge;
        self.hugetlb += other.hugetlb;
        self.zero += other.zero;
    }
}

/// A proportional share in bytes with 12 binary places, as the kernel keeps it (`fs/proc/task_mmu.c`: PSS_SHIFT).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(pub u64);

impl Share {
    /// A page of this size that `count` page tables map.
    pub fn of_page(page: u64, count: u64) -> Share {
        Share((page << 12) / count.max(1))
    }

    /// So many whole bytes; the largest share there is when they are more than it can hold.
    pub fn of_bytes(bytes: Bytes) -> Share {
        Share(bytes.0.saturating_mul(1 << 12))
    }

    /// Whole bytes.
    pub fn bytes(self) -> Bytes {
        Bytes(self.0 >> 12)
    }
}

impl std::ops::AddAssign for Share {
    /// Saturates, as [`Bytes`] do: what was saved of a process can hold any number.
    fn add_assign(&mut self, other: Share) {
        self.0 = self.0.saturating_add(other.0);
    }
}

/// What the physical frames behind one VMA's resident pages are, in bytes; as a rule only root may know.
///
/// Sources: /proc/kpagecount and /proc/kpageflags (`Documentation/admin-guide/mm/pagemap.rst`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameCounts {
    /// The proportional share: each page divided by how many page tables map it.
    pub pss: Share,
    /// Mapped here alone (USS; smaps: Private_*).
    pub private: Bytes,
    /// Mapped by others too (smaps: Shared_*).
    pub shared: Bytes,
    /// Merged with equal pages by KSM.
    pub ksm: Bytes,
    /// On an active LRU list.
    pub active: Bytes,
    /// Marked as used since reclaim last looked.
    pub referenced: Bytes,
    /// Not the same as on disk, by the frame's own flag: a page table may know of a write that the frame does not.
    pub dirty: Bytes,
    /// Given back with MADV_FREE and not yet taken.
    pub lazy_free: Bytes,
    /// Not to be reclaimed (mlock(2)).
    pub unevictable: Bytes,
}

impl std::ops::AddAssign for FrameCounts {
    fn add_assign(&mut self, other: FrameCounts) {
        self.pss += other.pss;
        self.private += other.private;
        self.shared += other.shared;
        self.ksm += other.ksm;
        self.active += other.active;
        self.referenced += other.referenced;
        self.dirty += other.dirty;
        self.lazy_free += other.lazy_free;
        self.unevictable += other.unevictable;
    }
}
