//! How much of a VMA is in physical memory.

use crate::Bytes;

/// Pages of one VMA at one moment, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageCounts {
    /// In physical memory and counted in RSS: present, not the shared zero page, not hugetlb.
    pub resident: Bytes,
    /// In swap.
    pub swapped: Bytes,
    /// The part of `resident` that is mapped by transparent huge pages.
    pub huge: Bytes,
    /// Present in hugetlb pages, which the kernel does not count in RSS.
    pub hugetlb: Bytes,
}

impl std::ops::AddAssign for PageCounts {
    fn add_assign(&mut self, other: PageCounts) {
        self.resident += other.resident;
        self.swapped += other.swapped;
        self.huge += other.huge;
        self.hugetlb += other.hugetlb;
    }
}
