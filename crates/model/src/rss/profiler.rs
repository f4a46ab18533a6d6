//! Which lines a heap profiler's figure can contain.

use super::Sheet;
use crate::kind::Kind;
use vmatlas_event::Bytes;

/// Whether memory of a kind can be in the figure of a profiler that counts allocations (malloc, new, the runtime's own).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Containment {
    /// It is where allocations live.
    Can,
    /// Large allocations may be among it, other things too.
    Part,
    /// No allocator gives it out.
    Cannot,
}

impl Containment {
    /// The name in JSON; it never changes.
    pub const fn id(self) -> &'static str {
        match self {
            Containment::Can => "can",
            Containment::Part => "part",
            Containment::Cannot => "cannot",
        }
    }
}

/// Whether a profiler's figure can contain memory of this kind.
pub const fn containment(kind: Kind) -> Containment {
    match kind {
        Kind::Heap | Kind::MallocArena | Kind::Allocator | Kind::ManagedHeap => Containment::Can,
        // malloc takes large blocks from mmap(2) directly; an allocator may use huge pages.
        Kind::Anonymous | Kind::Huge => Containment::Part,
        Kind::Image
        | Kind::ThreadStack
        | Kind::MainStack
        | Kind::Guard
        | Kind::MappedFile
        | Kind::Shared
        | Kind::Reserved
        | Kind::Jit
        | Kind::Kernel
        | Kind::Device
        | Kind::Aio => Containment::Cannot,
    }
}

/// A profiler's total beside the sheet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProfilerView {
    /// What the profiler says.
    pub total: Bytes,
    /// Resident in lines that it can contain.
    pub can: Bytes,
    /// Resident in lines that it may contain in part.
    pub part: Bytes,
    /// Resident in lines that it cannot contain.
    pub cannot: Bytes,
}

impl ProfilerView {
    pub(super) fn new(sheet: &Sheet, total: Bytes, of_malloc: Bytes) -> ProfilerView {
        let resident = |wanted: Containment| {
            let lines = sheet.lines.iter().filter(|line| containment(line.kind) == wanted);
            lines.map(|line| line.amounts.pages.resident + line.amounts.pages.hugetlb).sum()
        };
        let (can, part) = (resident(Containment::Can), resident(Containment::Part));
        let of_malloc = of_malloc.min(part);
        ProfilerView {
            total,
            can: can + of_malloc,
            part: Bytes(part.0 - of_malloc.0),
            cannot: resident(Containment::Cannot),
        }
    }

    /// What heaps hold beyond the profiler's figure: free blocks, overhead, garbage not yet collected, what it did not
    /// see. At least the first, at most the second value; both 0 when the profiler counts all of it or more.
    pub fn beyond(&self) -> (Bytes, Bytes) {
        let less = |bytes: Bytes| Bytes(bytes.0.saturating_sub(self.total.0));
        (less(self.can), less(self.can + self.part))
    }

    /// How much of the profiler's figure cannot be resident at all: it counts what was asked for, not what was touched.
    pub fn not_resident(&self) -> Bytes {
        Bytes(self.total.0.saturating_sub((self.can + self.part).0))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{row, vma};
    use super::super::{KernelFigures, Sheet};
    use super::*;

    /// Checks that heaps can be in a profiler's figure, files cannot, and what is left over is told by both bounds.
    #[test]
    fn a_profiler_cannot_contain_files() {
        let vmas = [vma(0x1000, 0x1000), vma(0x4000, 0x8000), vma(0x10_0000, 0x20000)];
        let rows = [
            row(&vmas[0], Kind::MappedFile, 0x1000),
            row(&vmas[1], Kind::Heap, 0x8000),
            row(&vmas[2], Kind::Anonymous, 0x4000),
        ];
        let view = Sheet::new(rows, KernelFigures::default()).profiler(Bytes(0x6000), Bytes(0));
        assert_eq!((view.can, view.part, view.cannot), (Bytes(0x8000), Bytes(0x4000), Bytes(0x1000)));
        assert_eq!((view.beyond(), view.not_resident()), ((Bytes(0x2000), Bytes(0x6000)), Bytes(0)));
        let known = Sheet::new(rows, KernelFigures::default()).profiler(Bytes(0x6000), Bytes(0x3000));
        assert_eq!((known.can, known.part), (Bytes(0xb000), Bytes(0x1000)));
        let view = ProfilerView { total: Bytes(0x10_0000), ..view };
        assert_eq!((view.beyond(), view.not_resident()), ((Bytes(0), Bytes(0)), Bytes(0xf4000)));
    }
}
