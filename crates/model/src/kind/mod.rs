//! What a VMA is for: image, heap, stack, ... Our own classes, never the kernel's.

use vmatlas_event::{Addr, Dev, PageSize, Tid, VmaRow};

/// What a VMA is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A program or shared library, its bss included.
    Image,
    /// The heap that brk(2) grows.
    Heap,
    /// An arena of glibc's malloc outside the brk heap.
    MallocArena,
    /// Memory of another allocator: jemalloc, tcmalloc, mimalloc, pymalloc, musl...
    Allocator,
    /// A heap that a runtime collects: Go, the JVM, V8...
    ManagedHeap,
    /// The stack of a thread that is not the first.
    ThreadStack,
    /// The first thread's stack.
    MainStack,
    /// Inaccessible pages that guard a stack or another VMA.
    Guard,
    /// A file that is not an image.
    MappedFile,
    /// Memory that processes can share: shared anonymous, memfd, tmpfs, System V.
    Shared,
    /// Private anonymous memory whose purpose is not known.
    Anonymous,
    /// Address space that is only reserved (PROT_NONE).
    Reserved,
    /// hugetlb pages.
    Huge,
    /// Code made at run time.
    Jit,
    /// Provided by the kernel: vdso, vvar, vsyscall, uprobes.
    Kernel,
    /// A device's memory, or a ring shared with the kernel (perf, io_uring, packet sockets).
    Device,
    /// A ring of asynchronous I/O contexts (io_setup(2)).
    Aio,
}

/// How sure a verdict is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Confidence {
    /// The kernel or the runtime itself names it.
    Named,
    /// A file, a thread's stack pointer or a runtime's known layout shows it.
    Evidence,
    /// It looks like it.
    Guess,
}

/// What is known of a process beside its map.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// The size of a base page.
    pub page: PageSize,
    /// The program's file; `None` where it is hidden.
    pub exe: Option<(Dev, u64)>,
    /// The program's path, bytes of any kind; empty where it is hidden.
    pub exe_path: Vec<u8>,
    /// Threads and, where they sleep, their stack pointers; empty for a saved map.
    pub threads: Vec<(Tid, Option<Addr>)>,
    /// Where the brk heap starts; `None` where it is hidden.
    pub start_brk: Option<Addr>,
}

/// A verdict on one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What it is for.
    pub kind: Kind,
    /// How sure that is.
    pub confidence: Confidence,
}

/// Says of each row what it is for; `rows` is a whole map in address order, the answer has one verdict for each.
pub fn classify(rows: &[VmaRow], _evidence: &Evidence) -> Vec<Verdict> {
    rows.iter().map(|_| Verdict { kind: Kind::Anonymous, confidence: Confidence::Guess }).collect()
}
