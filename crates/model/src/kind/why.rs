//! What a verdict rests on, for faces to say in any language.

use vmatlas_event::{Addr, Tid};

/// What a verdict rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// The kernel labels it (`[heap]`, `[vdso]`...).
    KernelLabel,
    /// The program itself named it (prctl(2) PR_SET_VMA_ANON_NAME), in words we know.
    RuntimeName,
    /// The program itself named it, in words we do not know.
    OtherName,
    /// The kernel made the file behind it (`/dev/zero (deleted)`, `/memfd:`, `/[aio]`...) and says so by its name.
    KernelFile,
    /// The path shows it (`/dev/...`).
    Path,
    /// It is the program's own file.
    ProgramFile,
    /// The file is mapped executable here or elsewhere in this map.
    CodeFile,
    /// The file is not mapped executable anywhere in this map.
    DataFile,
    /// A path without device and inode, as in a core file.
    PathAlone,
    /// Anonymous memory directly after the last writable part of an image.
    Bss,
    /// It lies between two parts of one image.
    InsideImage,
    /// It is where the program's brk heap starts.
    StartBrk,
    /// The first writable memory above the program, where the brk heap is.
    AboveProgram,
    /// The auxiliary vector points there.
    AuxVector,
    /// It lies directly below the vdso, where its data is.
    BelowVdso,
    /// The address of x86_64's old system calls.
    Vsyscall,
    /// This thread's stack pointer lies in it.
    StackPointer(Tid),
    /// It has the size of a thread stack and inaccessible pages directly below.
    StackLayout,
    /// It lies directly below the stack that starts here.
    BelowStack(Addr),
    /// A few inaccessible pages directly below writable ones.
    BelowWritable,
    /// An arena's heap of glibc starts here: aligned to 64 MiB, used from the start, the rest kept.
    ArenaLayout(Addr),
    /// The unused rest of the arena's heap that starts here.
    ArenaReserve(Addr),
    /// An address that Go's runtime asks for, whole arenas of 64 MiB.
    GoArena,
    /// In a Go program that loads no library: what its runtime keeps beside the arenas.
    GoOwn,
    /// Below 32 GiB in a JVM, where compressed pointers need the Java heap to be.
    JavaLow,
    /// Too big to be anything but the heap of this JVM.
    JavaBig,
    /// Address space kept by the JVM directly after its heap.
    JavaReserve,
    /// Directly after the JVM's class archive: class metadata.
    JavaClasses,
    /// A whole node of 64 MiB directly below the JVM's class archive: metaspace.
    JavaMetaspace,
    /// A table that stands to its rest as the Java heap to its own: the collector's.
    JavaTables,
    /// Executable memory without a file.
    Executable,
    /// Inaccessible memory around executable memory without a file.
    AroundExecutable,
    /// A chunk of V8's heap: aligned to 256 KiB, at an address V8 chose by chance.
    V8Chunk,
    /// At an address only mimalloc asks for.
    MimallocAddress,
    /// The process runs on another allocator and this has the size of its blocks.
    AllocatorLibrary,
    /// The process runs OpenBLAS and this is a whole number of its work buffers.
    OpenBlas,
    /// The process runs Python and this is a whole number of its arenas.
    Pymalloc,
    /// It cannot be accessed, and nothing else is known.
    NoAccess,
    /// It has no file and no name, and nothing else is known.
    NothingKnown,
}
