//! The cgroup's view of the same bytes, and why it is another number.

use super::Sheet;
use vmatlas_event::{Bytes, CgroupMemory};

/// A memory cgroup and how many processes it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupFigures {
    /// What it is charged for.
    pub memory: CgroupMemory,
    /// How many processes it has, those of its children included; `None` where that was not counted.
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
        let stat = &self.memory.stat;
        let mut reasons = Vec::new();
        if let Some(others) = self.members.and_then(|n| n.checked_sub(1)).filter(|n| *n > 0) {
            reasons.push(Reason::OtherMembers(others));
        }
        match stat.file.zip(stat.file_mapped) {
            Some((file, mapped)) if file > mapped => {
                reasons.push(Reason::UnmappedCache(Bytes(file.0 - mapped.0)));
            }
            Some(_) => {}
            None if stat.file.is_some_and(|file| file.0 > 0) => reasons.push(Reason::CacheMayBeUnmapped),
            None => {}
        }
        if let Some(kernel) = stat.kernel.or(stat.pagetables).filter(|k| k.0 > 0) {
            reasons.push(Reason::Kernel(kernel));
        }
        let more_than = |ours: Bytes, theirs: Option<Bytes>| {
            theirs.and_then(|theirs| ours.0.checked_sub(theirs.0)).filter(|n| *n > 0).map(Bytes)
        };
        reasons.extend(more_than(pages.of_files(), stat.file).map(Reason::ChargedElsewhere));
        reasons.extend(more_than(pages.anonymous, stat.anon).map(Reason::AnonymousElsewhere));
        reasons
    }
}

#[cfg(test)]
mod tests {
    use super::super::KernelFigures;
    use super::super::tests::{row, vma};
    use super::*;
    use crate::kind::Kind;
    use vmatlas_event::CgroupVersion;

    /// Checks that each reason is given when the figures show it, and none when nothing is known.
    #[test]
    fn reasons_follow_from_figures() {
        let vmas = [vma(0x1000, 0x4000)];
        let sheet = Sheet::new([row(&vmas[0], Kind::Heap, 0x4000)], KernelFigures::default());
        let mut memory = CgroupMemory::new(CgroupVersion::V2, b"/x".to_vec());
        let nothing = CgroupFigures { memory: memory.clone(), members: None };
        memory.stat.file = Some(Bytes(0x9000));
        memory.stat.file_mapped = Some(Bytes(0x1000));
        memory.stat.kernel = Some(Bytes(0x2000));
        memory.stat.anon = Some(Bytes(0x3000));
        let figures = CgroupFigures { memory, members: Some(3) };
        let expected = [
            Reason::OtherMembers(2),
            Reason::UnmappedCache(Bytes(0x8000)),
            Reason::Kernel(Bytes(0x2000)),
            Reason::AnonymousElsewhere(Bytes(0x1000)),
        ];
        assert_eq!(figures.reasons(&sheet), expected);
        assert_eq!(nothing.reasons(&sheet), []);
    }
}
