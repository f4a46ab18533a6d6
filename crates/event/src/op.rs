//! What happened: decoded memory calls, and what happens to tasks and address spaces.

use crate::{Addr, AddrRange, Advice, Bytes, MapFlags, MmId, MonoNs, ProtArg, TaskId, VmaRow};

/// A decoded call, or another thing that happened to an address space.
///
/// Arguments are as the program gave them: nothing rounded, unknown bits kept.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Op {
    /// mmap(2).
    Mmap {
        /// The hint, or the place with MAP_FIXED.
        addr: Addr,
        /// The length asked for.
        len: Bytes,
        /// PROT_*.
        prot: ProtArg,
        /// MAP_*.
        flags: MapFlags,
        /// The file descriptor; meaningless with MAP_ANONYMOUS.
        fd: i32,
        /// The offset into the file, in bytes.
        offset: u64,
    },
    /// munmap(2).
    Munmap {
        /// Where.
        addr: Addr,
        /// How much.
        len: Bytes,
    },
    /// mremap(2).
    Mremap {
        /// The old place.
        old: Addr,
        /// The old length; 0 duplicates a shared mapping.
        old_len: Bytes,
        /// The new length.
        new_len: Bytes,
        /// MREMAP_*: 1 MAYMOVE, 2 FIXED, 4 DONTUNMAP.
        flags: u64,
        /// The new place, with MREMAP_FIXED or as a hint with DONTUNMAP.
        new: Addr,
    },
    /// mprotect(2), and pkey_mprotect(2) with its key.
    Mprotect {
        /// Where.
        addr: Addr,
        /// How much.
        len: Bytes,
        /// PROT_*.
        prot: ProtArg,
        /// The protection key of pkey_mprotect(2); `None` for mprotect(2).
        pkey: Option<i32>,
    },
    /// brk(2): the outcome is the new break, or the unchanged one; it never fails.
    Brk {
        /// The break asked for; 0 only asks where it is.
        addr: Addr,
    },
    /// madvise(2).
    Madvise {
        /// Where.
        addr: Addr,
        /// How much.
        len: Bytes,
        /// MADV_*.
        advice: Advice,
    },
    /// shmat(2).
    Shmat {
        /// The segment's id.
        id: i32,
        /// The place, or 0.
        addr: Addr,
        /// SHM_*.
        flags: i32,
    },
    /// shmdt(2).
    Shmdt {
        /// Where the segment starts.
        addr: Addr,
    },
    /// A memory call this version stops at but has no name for: the map must be read again.
    Other {
        /// AUDIT_ARCH_* of the call.
        arch: u32,
        /// Its number there.
        nr: u64,
        /// Its raw arguments.
        args: [u64; 6],
    },
    /// A task appeared.
    Fork {
        /// How.
        kind: ForkKind,
        /// Who; the envelope has its creator.
        child: TaskId,
        /// The child's address space: the creator's own where it is shared.
        child_mm: MmId,
    },
    /// execve(2) replaced the address space: the envelope has the new one.
    Exec {
        /// The one that the task left.
        old_mm: MmId,
    },
    /// A task ended.
    Exit {
        /// Its exit status, or `None` when a signal ended it.
        status: Option<i32>,
        /// The signal that ended it.
        signal: Option<i32>,
        /// Whether it was the last task of its address space.
        last: bool,
    },
    /// A page fault.
    Fault {
        /// The address touched.
        addr: Addr,
    },
    /// The whole map as the kernel showed it.
    Snapshot {
        /// Why it was taken.
        reason: SnapshotReason,
        /// Every VMA, in address order.
        rows: Vec<VmaRow>,
    },
    /// The kernel's answer to [`Next::Ask`](crate::Next::Ask).
    Observed {
        /// Every VMA that meets `asked`, whole, in address order.
        rows: Vec<VmaRow>,
        /// What was asked.
        asked: AddrRange,
        /// Whether the task had gone on before the answer was taken.
        late: bool,
        /// Tasks of the same address space that were inside a memory call at that moment.
        in_flight: Vec<TaskId>,
    },
    /// Events that were lost.
    Lost {
        /// How many, where known.
        count: Option<u64>,
        /// From when.
        from: MonoNs,
        /// Until when.
        to: MonoNs,
    },
    /// A moment named by a person.
    Mark {
        /// The name.
        name: String,
    },
}

/// How a task came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ForkKind {
    /// A process with a copy of the address space.
    Process,
    /// A process that shares the address space (vfork, posix_spawn, CLONE_VM).
    SharedProcess,
    /// A thread.
    Thread,
}

/// Why a whole map was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SnapshotReason {
    /// The program was started or replaced itself.
    Exec,
    /// A process was forked.
    Fork,
    /// The tracer joined a running process.
    Attach,
    /// A call's effect could not be told otherwise.
    Unclear,
    /// Somebody asked.
    Request,
}

/// The name of an [`Op`] without its arguments, for filters and counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "each is the call of its name")]
pub enum OpKind {
    Mmap,
    Munmap,
    Mremap,
    Mprotect,
    PkeyMprotect,
    Brk,
    Madvise,
    Shmat,
    Shmdt,
    Other,
    Fork,
    Exec,
    Exit,
    Fault,
    Snapshot,
    Observed,
    Lost,
    Mark,
}

impl OpKind {
    /// The memory calls a person can select, in the order of the man pages.
    pub const CALLS: &[OpKind] = &[
        OpKind::Mmap,
        OpKind::Munmap,
        OpKind::Mremap,
        OpKind::Mprotect,
        OpKind::PkeyMprotect,
        OpKind::Brk,
        OpKind::Madvise,
        OpKind::Shmat,
        OpKind::Shmdt,
    ];

    /// The system call's name, or a word in the same style.
    pub const fn name(self) -> &'static str {
        match self {
            OpKind::Mmap => "mmap",
            OpKind::Munmap => "munmap",
            OpKind::Mremap => "mremap",
            OpKind::Mprotect => "mprotect",
            OpKind::PkeyMprotect => "pkey_mprotect",
            OpKind::Brk => "brk",
            OpKind::Madvise => "madvise",
            OpKind::Shmat => "shmat",
            OpKind::Shmdt => "shmdt",
            OpKind::Other => "other",
            OpKind::Fork => "fork",
            OpKind::Exec => "exec",
            OpKind::Exit => "exit",
            OpKind::Fault => "fault",
            OpKind::Snapshot => "snapshot",
            OpKind::Observed => "observed",
            OpKind::Lost => "lost",
            OpKind::Mark => "mark",
        }
    }
}

impl Op {
    /// The name without the arguments.
    pub const fn kind(&self) -> OpKind {
        match self {
            Op::Mmap { .. } => OpKind::Mmap,
            Op::Munmap { .. } => OpKind::Munmap,
            Op::Mremap { .. } => OpKind::Mremap,
            Op::Mprotect { pkey: None, .. } => OpKind::Mprotect,
            Op::Mprotect { pkey: Some(_), .. } => OpKind::PkeyMprotect,
            Op::Brk { .. } => OpKind::Brk,
            Op::Madvise { .. } => OpKind::Madvise,
            Op::Shmat { .. } => OpKind::Shmat,
            Op::Shmdt { .. } => OpKind::Shmdt,
            Op::Other { .. } => OpKind::Other,
            Op::Fork { .. } => OpKind::Fork,
            Op::Exec { .. } => OpKind::Exec,
            Op::Exit { .. } => OpKind::Exit,
            Op::Fault { .. } => OpKind::Fault,
            Op::Snapshot { .. } => OpKind::Snapshot,
            Op::Observed { .. } => OpKind::Observed,
            Op::Lost { .. } => OpKind::Lost,
            Op::Mark { .. } => OpKind::Mark,
        }
    }

    /// Whether it is a system call of the program, made for its memory.
    pub const fn is_call(&self) -> bool {
        matches!(
            self.kind(),
            OpKind::Mmap
                | OpKind::Munmap
                | OpKind::Mremap
                | OpKind::Mprotect
                | OpKind::PkeyMprotect
                | OpKind::Brk
                | OpKind::Madvise
                | OpKind::Shmat
                | OpKind::Shmdt
                | OpKind::Other
        )
    }
}
