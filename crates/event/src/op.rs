//! What happened: decoded memory calls, and what happens to tasks and address spaces.

use crate::{
    Addr, AddrRange, Advice, Bytes, Keyframe, MapFlags, MmId, MonoNs, OpKind, ProtArg, TaskId, VmaRow,
};

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
    /// mlock(2), and mlock2(2) with its flags.
    Mlock {
        /// Where.
        addr: Addr,
        /// How much.
        len: Bytes,
        /// MLOCK_*; `None` for mlock(2).
        flags: Option<u64>,
    },
    /// munlock(2).
    Munlock {
        /// Where.
        addr: Addr,
        /// How much.
        len: Bytes,
    },
    /// mlockall(2).
    Mlockall {
        /// MCL_*.
        flags: u64,
    },
    /// munlockall(2).
    Munlockall,
    /// mseal(2).
    Mseal {
        /// Where.
        addr: Addr,
        /// How much.
        len: Bytes,
        /// Reserved; 0.
        flags: u64,
    },
    /// mbind(2); the nodes lie in the program's memory and are not read.
    Mbind {
        /// Where.
        addr: Addr,
        /// How much.
        len: Bytes,
        /// MPOL_* with its mode flags.
        mode: u64,
        /// MPOL_MF_*.
        flags: u64,
    },
    /// set_mempolicy_home_node(2).
    SetMempolicyHomeNode {
        /// Where.
        addr: Addr,
        /// How much.
        len: Bytes,
        /// The node.
        node: u64,
        /// Reserved; 0.
        flags: u64,
    },
    /// remap_file_pages(2).
    RemapFilePages {
        /// Where.
        addr: Addr,
        /// How much.
        len: Bytes,
        /// Must be 0.
        prot: ProtArg,
        /// The page of the file that comes first there.
        pgoff: u64,
        /// MAP_NONBLOCK or 0.
        flags: MapFlags,
    },
    /// prctl(2) with an option about memory: PR_SET_VMA, PR_SET_MM, PR_SET_MEMORY_MERGE.
    Prctl {
        /// PR_*.
        option: i32,
        /// The other arguments.
        args: [u64; 4],
    },
    /// arch_prctl(2) with a code that maps something: a vdso, a shadow stack.
    ArchPrctl {
        /// ARCH_*.
        code: u64,
        /// Its argument.
        addr: u64,
    },
    /// map_shadow_stack(2).
    MapShadowStack {
        /// The hint.
        addr: Addr,
        /// How much.
        len: Bytes,
        /// SHADOW_STACK_*.
        flags: u64,
    },
    /// io_setup(2): maps a ring; where, it writes to the program's memory.
    IoSetup {
        /// How many events the ring shall hold.
        events: u64,
    },
    /// io_destroy(2): unmaps the ring.
    IoDestroy {
        /// The context, which is the ring's address.
        ctx: Addr,
    },
    /// ioctl(2) that registers memory with userfaultfd(2) or takes it back; the range lies in the program's memory.
    Ioctl {
        /// The descriptor.
        fd: i32,
        /// UFFDIO_REGISTER or UFFDIO_UNREGISTER.
        request: u64,
        /// Where the range is described.
        arg: Addr,
    },
    /// process_madvise(2); the ranges lie in the program's memory.
    ProcessMadvise {
        /// The process, ours or another.
        pidfd: i32,
        /// Where the ranges are described.
        iovec: Addr,
        /// How many there are.
        count: u64,
        /// MADV_*.
        advice: Advice,
    },
    /// personality(2): READ_IMPLIES_EXEC changes what later calls do.
    Personality {
        /// The flags and the execution domain.
        persona: u64,
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
    /// A seccomp filter was installed by the program itself (seccomp(2), prctl(2) with PR_SET_SECCOMP).
    Seccomp {
        /// SECCOMP_FILTER_FLAG_*; 8 asks for a supervisor, which can answer memory calls, or let them run, unseen.
        flags: u64,
    },
    /// A task of a running program that the tracer has joined; the envelope has its address space.
    Joined,
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
    /// A page fault that was dealt with. It changes no map.
    Fault {
        /// The address touched.
        addr: Addr,
        /// The instruction that touched it; `None` where the kernel did, for the program: inside a system call.
        ip: Option<Addr>,
        /// Whether it had to wait for a disk.
        major: bool,
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
        /// Tasks of the same address space that were inside a memory call at that moment; the asking task itself where
        /// somebody may have changed the map of whom no call tells.
        in_flight: Vec<TaskId>,
    },
    /// Events that were lost. With [`Source::Perf`](crate::Source::Perf) in the envelope they were page faults, and the map
    /// is known as before.
    Lost {
        /// How many, where known.
        count: Option<u64>,
        /// From when.
        from: MonoNs,
        /// Until when.
        to: MonoNs,
        /// The state after them, where it is known: what follows goes on from there. Without it nothing is known any more.
        state: Option<Box<Keyframe>>,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SnapshotReason {
    /// The program was started or replaced itself.
    Exec,
    /// A process was forked.
    Fork,
    /// The tracer joined a running process.
    Attach,
    /// The first look at an address space that nobody traces.
    Watch,
    /// A call's effect could not be told otherwise.
    Unclear,
    /// Somebody asked.
    Request,
    /// A moment had passed: what changed without a call becomes known.
    Reconcile,
    /// The last task of the address space is about to end, or the tracer to leave.
    Last,
    /// Every task of the address space is held, to compare the model with the kernel.
    Check,
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
            Op::Mlock { flags: None, .. } => OpKind::Mlock,
            Op::Mlock { flags: Some(_), .. } => OpKind::Mlock2,
            Op::Munlock { .. } => OpKind::Munlock,
            Op::Mlockall { .. } => OpKind::Mlockall,
            Op::Munlockall => OpKind::Munlockall,
            Op::Mseal { .. } => OpKind::Mseal,
            Op::Mbind { .. } => OpKind::Mbind,
            Op::SetMempolicyHomeNode { .. } => OpKind::SetMempolicyHomeNode,
            Op::RemapFilePages { .. } => OpKind::RemapFilePages,
            Op::Prctl { .. } => OpKind::Prctl,
            Op::ArchPrctl { .. } => OpKind::ArchPrctl,
            Op::MapShadowStack { .. } => OpKind::MapShadowStack,
            Op::IoSetup { .. } => OpKind::IoSetup,
            Op::IoDestroy { .. } => OpKind::IoDestroy,
            Op::Ioctl { .. } => OpKind::Ioctl,
            Op::ProcessMadvise { .. } => OpKind::ProcessMadvise,
            Op::Personality { .. } => OpKind::Personality,
            Op::Other { .. } => OpKind::Other,
            Op::Seccomp { .. } => OpKind::Seccomp,
            Op::Joined => OpKind::Joined,
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
    pub fn is_call(&self) -> bool {
        // Calls come first in `OpKind`.
        self.kind() <= OpKind::Other
    }

    /// Whether it can change where VMAs lie or what they allow; advice on pages cannot.
    pub fn changes_vmas(&self) -> bool {
        match self {
            Op::Madvise { advice, .. } | Op::ProcessMadvise { advice, .. } => advice.changes_vmas(),
            _ => true,
        }
    }
}
