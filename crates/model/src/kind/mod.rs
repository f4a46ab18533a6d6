//! What a VMA is for: image, heap, stack, ... Our own classes, never the kernel's.
//!
//! You give the rows of a whole map and what else is known of the process; you get one [`Verdict`] for each row: the
//! kind, how sure that is, and what it rests on. The kernel does not record purpose, so this is knowledge of programs:
//! each rule names the source file it comes from. Rules run from the surest to the vaguest, and a row keeps the first
//! verdict it gets (`sheet.rs`).
//!
//! Everything in a map is chosen by the target: names are bytes, a file can be called `[heap]`, a suffix ` (deleted)`
//! proves nothing. A hostile program can therefore earn any verdict for its own memory, but never make this panic or
//! run for longer than O(n log n).

mod facts;
mod files;
mod glibc;
mod hints;
#[cfg(test)]
mod hostile;
mod jit;
mod jvm;
mod names;
mod runtimes;
mod sheet;
mod stacks;
mod unlabelled;
mod why;

use facts::Facts;
pub use hints::{Runtime, RuntimeHint, runtime_hints};
use sheet::Sheet;
pub use unlabelled::Unlabelled;
use vmatlas_event::{Addr, Dev, PageSize, Tid, VmaRow};
pub use why::Why;

/// What a VMA is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A program or shared library, its bss included.
    Image,
    /// The heap that brk(2) grows.
    Heap,
    /// Memory of glibc's malloc outside the brk heap: its arenas, their unused rest included.
    MallocArena,
    /// Memory of another allocator: jemalloc, tcmalloc, mimalloc, pymalloc, scudo...
    Allocator,
    /// A heap that a runtime collects (Go, the JVM, V8...) and what belongs to it, its unused rest included.
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
    /// Code made at run time, the address space kept for it included.
    Jit,
    /// Provided by the kernel: vdso, vvar, vsyscall, uprobes.
    Kernel,
    /// A device's memory, or a ring shared with the kernel (perf, io_uring, packet sockets).
    Device,
    /// A ring of asynchronous I/O contexts (io_setup(2)).
    Aio,
}

impl Kind {
    /// Every kind, in the order in which totals show them.
    pub const ALL: [Kind; 17] = [
        Kind::Image,
        Kind::Heap,
        Kind::MallocArena,
        Kind::Allocator,
        Kind::ManagedHeap,
        Kind::ThreadStack,
        Kind::MainStack,
        Kind::Guard,
        Kind::MappedFile,
        Kind::Shared,
        Kind::Anonymous,
        Kind::Reserved,
        Kind::Huge,
        Kind::Jit,
        Kind::Kernel,
        Kind::Device,
        Kind::Aio,
    ];

    /// The name in JSON and in filters; it never changes.
    pub const fn id(self) -> &'static str {
        match self {
            Kind::Image => "image",
            Kind::Heap => "heap",
            Kind::MallocArena => "malloc-arena",
            Kind::Allocator => "allocator",
            Kind::ManagedHeap => "managed-heap",
            Kind::ThreadStack => "thread-stack",
            Kind::MainStack => "main-stack",
            Kind::Guard => "guard",
            Kind::MappedFile => "mapped-file",
            Kind::Shared => "shared",
            Kind::Anonymous => "anonymous",
            Kind::Reserved => "reserved",
            Kind::Huge => "huge",
            Kind::Jit => "jit",
            Kind::Kernel => "kernel",
            Kind::Device => "device",
            Kind::Aio => "aio",
        }
    }

    /// The kind of that [`id`](Kind::id), letter for letter; `None` when there is none.
    ///
    /// ```
    /// use vmatlas_model::kind::Kind;
    /// assert_eq!(Kind::from_id("thread-stack"), Some(Kind::ThreadStack));
    /// assert_eq!(Kind::from_id("Heap"), None);
    /// ```
    pub fn from_id(id: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.id() == id)
    }
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

impl Confidence {
    /// The name in JSON; it never changes.
    pub const fn id(self) -> &'static str {
        match self {
            Confidence::Named => "named",
            Confidence::Evidence => "evidence",
            Confidence::Guess => "guess",
        }
    }
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
    /// What stands in for the kernel's labels where the source has none, as a core file; `None` where it has them.
    pub unlabelled: Option<Unlabelled>,
}

impl Evidence {
    /// Nothing is known but the page size: a saved map.
    pub fn none(page: PageSize) -> Evidence {
        Evidence {
            page,
            exe: None,
            exe_path: Vec::new(),
            threads: Vec::new(),
            start_brk: None,
            unlabelled: None,
        }
    }
}

/// A verdict on one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What it is for.
    pub kind: Kind,
    /// How sure that is.
    pub confidence: Confidence,
    /// What it rests on.
    pub why: Why,
}

/// Says of each row what it is for; `rows` is a whole map in address order, the answer has one verdict for each.
///
/// Takes O(n log n) for n rows and threads, and allocates for files with executable pages only, never per row. Rows out
/// of order (a torn read) cost accuracy, nothing else.
///
/// ```
/// use vmatlas_event::{Addr, AddrRange, Dev, Name, PageSize, Prot, Sharing, VmaRow};
/// use vmatlas_model::kind::{Confidence, Evidence, Kind, classify};
/// let heap = VmaRow {
///     range: AddrRange::new(Addr(0x1000), Addr(0x2000)).unwrap(),
///     prot: Prot::RW,
///     sharing: Sharing::Private,
///     offset: 0,
///     dev: Dev::default(),
///     inode: 0,
///     name: Some(Name::new(b"[heap]")),
/// };
/// let verdict = classify(&[heap], &Evidence::none(PageSize::FOUR_KIB))[0];
/// assert_eq!((verdict.kind, verdict.confidence), (Kind::Heap, Confidence::Named));
/// ```
pub fn classify(rows: &[VmaRow], evidence: &Evidence) -> Vec<Verdict> {
    let facts = Facts::gather(rows, evidence);
    let mut sheet = Sheet::new(rows);
    names::labels(&mut sheet);
    unlabelled::kernels_own(&mut sheet, evidence);
    files::files(&mut sheet, &facts);
    files::bss(&mut sheet, &facts);
    files::brk(&mut sheet, evidence);
    unlabelled::heap(&mut sheet, &facts, evidence);
    // Go keeps goroutine stacks in its heap and the low addresses of a JVM are all its own, so both come before stack
    // pointers; so do arenas, which are known by their alignment, after what can look like one.
    runtimes::go(&mut sheet, &facts);
    let low_heap = jvm::low_heap(&mut sheet, &facts);
    runtimes::mimalloc(&mut sheet, &facts);
    glibc::arenas(&mut sheet, &facts);
    stacks::by_stack_pointer(&mut sheet, evidence);
    jvm::rest(&mut sheet, &facts, low_heap);
    jit::code(&mut sheet, &facts);
    runtimes::v8(&mut sheet, &facts);
    runtimes::go_own(&mut sheet, &facts);
    stacks::by_layout(&mut sheet);
    runtimes::allocators(&mut sheet, &facts);
    stacks::guards(&mut sheet);
    sheet.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmatlas_event::{AddrRange, Name, Prot, Sharing};

    /// A process of which only the map is known, as a saved one.
    /// One page with this protection (`rw-p`) and name (empty: none) and no file.
    pub(super) fn row(perms: &str, name: &str) -> VmaRow {
        let p = perms.as_bytes();
        VmaRow {
            range: AddrRange::new(Addr(0x1000), Addr(0x2000)).unwrap(),
            prot: Prot::new(p[0] == b'r', p[1] == b'w', p[2] == b'x'),
            sharing: if p[3] == b's' { Sharing::Shared } else { Sharing::Private },
            offset: 0,
            dev: Dev::default(),
            inode: 0,
            name: (!name.is_empty()).then(|| Name::new(name.as_bytes())),
        }
    }

    /// Rows from lines of maps without their padding.
    pub(super) fn parse(text: &str) -> Vec<VmaRow> {
        let hex = |s: &str| u64::from_str_radix(s, 16).unwrap();
        text.lines()
            .map(|line| {
                let field: Vec<&str> = line.trim_start().splitn(6, ' ').collect();
                let (start, end) = field[0].split_once('-').unwrap();
                let (major, minor) = field[3].split_once(':').unwrap();
                let mut row = row(field[1], field.get(5).unwrap_or(&""));
                row.range = AddrRange::new(Addr(hex(start)), Addr(hex(end))).unwrap();
                row.offset = hex(field[2]);
                row.dev = Dev { major: hex(major) as u32, minor: hex(minor) as u32 };
                row.inode = field[4].parse().unwrap();
                row
            })
            .collect()
    }

    pub(super) fn kinds_of(rows: &[VmaRow], evidence: &Evidence) -> Vec<Kind> {
        classify(rows, evidence).into_iter().map(|v| v.kind).collect()
    }

    pub(super) fn kinds(text: &str) -> Vec<Kind> {
        kinds_of(&parse(text), &Evidence::none(PageSize::FOUR_KIB))
    }

    pub(super) fn verdicts(text: &str) -> Vec<Verdict> {
        classify(&parse(text), &Evidence::none(PageSize::FOUR_KIB))
    }

    pub(super) fn kind_of(row: VmaRow) -> Kind {
        kinds_of(&[row], &Evidence::none(PageSize::FOUR_KIB))[0]
    }

    /// Checks that every kind has an identifier of its own that leads back to it.
    #[test]
    fn identifiers_go_both_ways() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_id(kind.id()), Some(kind));
        }
        assert_eq!(Kind::from_id(""), None);
    }
}
