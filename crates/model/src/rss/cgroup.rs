//! The cgroup's view of the same bytes, and why it is another number.

use super::Sheet;
use vmatlas_event::Bytes;

/// What a memory cgroup counts (`Documentation/admin-guide/cgroup-v2.rst`, `cgroup-v1/memory.rst`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CgroupFigures {
    /// 1 or 2.
    pub version: u8,
    /// Its path below the controller's mount, bytes of any kind.
    pub path: Vec<u8>,
    /// All it is charged for (memory.current, memory.usage_in_bytes).
    pub current: Option<Bytes>,
    /// Its limit; `None` where there is none.
    pub limit: Option<Bytes>,
    /// Of no file.
    pub anonymous: Option<Bytes>,
    /// Page cache, shared memory included.
    pub file: Option<Bytes>,
    /// tmpfs, memfd, shared anonymous and System V memory.
    pub shmem: Option<Bytes>,
    /// The part of the page cache that somebody maps.
    pub mapped: Option<Bytes>,
    /// Page tables.
    pub page_tables: Option<Bytes>,
    /// All memory of the kernel on its behalf: page tables, stacks, slabs, sockets.
    pub kernel: Option<Bytes>,
    /// In swap.
    pub swap: Option<Bytes>,
    /// How many processes it has, those of its children included.
    pub members: Option<u64>,
}

/// A reason why the cgroup's figure and the process's are not the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The cgroup has other members too.
    OtherMembers(u64),
    /// Page cache that nobody maps.
    UnmappedCache(Bytes),
    /// Page cache and shared memory, of which part may be unmapped; how much is not known.
    CacheMayBeUnmapped,
    /// Memory of the kernel, which no RSS counts.
    Kernel(Bytes),
    /// Less file memory is charged than the process maps: others, who touched it first, are charged.
    ChargedElsewhere(Bytes),
    /// Less anonymous memory is charged than the process has: it was charged before the process came here.
    AnonymousElsewhere(Bytes),
}

impl CgroupFigures {
    /// Why this is not the resident size of the sheet, the surest reasons first.
    pub fn reasons(&self, sheet: &Sheet) -> Vec<Reason> {
        let pages = sheet.sum.pages;
        let mut reasons = Vec::new();
        if let Some(others) = self.members.and_then(|n| n.checked_sub(1)).filter(|n| *n > 0) {
            reasons.push(Reason::OtherMembers(others));
        }
        match self.file.zip(self.mapped) {
            Some((file, mapped)) if file > mapped => {
                reasons.push(Reason::UnmappedCache(Bytes(file.0 - mapped.0)));
            }
            Some(_) => {}
            None if self.file.is_some_and(|file| file.0 > 0) => reasons.push(Reason::CacheMayBeUnmapped),
            None => {}
        }
        if let Some(kernel) = self.kernel.or(self.page_tables).filter(|k| k.0 > 0) {
            reasons.push(Reason::Kernel(kernel));
        }
        let more_than = |ours: Bytes, theirs: Option<Bytes>| {
            theirs.and_then(|theirs| ours.0.checked_sub(theirs.0)).filter(|n| *n > 0).map(Bytes)
        };
        reasons.extend(more_than(pages.of_files(), self.file).map(Reason::ChargedElsewhere));
        reasons.extend(more_than(pages.anonymous, self.anonymous).map(Reason::AnonymousElsewhere));
        reasons
    }
}

#[cfg(test)]
mod tests {
    use super::super::KernelFigures;
    use super::super::tests::{row, vma};
    use super::*;
    use crate::kind::Kind;

    /// Checks that each reason is given when the figures show it, and none when nothing is known.
    #[test]
    fn reasons_follow_from_figures() {
        let vmas = [vma(0x1000, 0x4000)];
        let sheet = Sheet::new([row(&vmas[0], Kind::Heap, 0x4000)], KernelFigures::default());
        let figures = CgroupFigures {
            members: Some(3),
            file: Some(Bytes(0x9000)),
            mapped: Some(Bytes(0x1000)),
            kernel: Some(Bytes(0x2000)),
            anonymous: Some(Bytes(0x3000)),
            ..CgroupFigures::default()
        };
        let expected = [
            Reason::OtherMembers(2),
            Reason::UnmappedCache(Bytes(0x8000)),
            Reason::Kernel(Bytes(0x2000)),
            Reason::AnonymousElsewhere(Bytes(0x1000)),
        ];
        assert_eq!(figures.reasons(&sheet), expected);
        assert_eq!(CgroupFigures::default().reasons(&sheet), []);
    }
}
