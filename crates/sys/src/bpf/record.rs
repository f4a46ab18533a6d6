//! What the programs tell.

mod parse;

pub(super) use parse::parse;

use super::CallStack;
use vmatlas_event::{Addr, AddrRange, Dev, MmId, MonoNs, Outcome, Pid, Prot, Sharing, Tid};

/// What every record begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The address space.
    pub space: MmId,
    /// The process.
    pub pid: Pid,
    /// The thread.
    pub tid: Tid,
    /// Dense numbers, in the kernel's order where calls of one address space overlap: one that is missing was lost, or its
    /// call is not over yet. 0 for names.
    pub order: u64,
    /// When.
    pub at: MonoNs,
}

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A call returned.
    Call(Head, Call),
    /// A task was made.
    Forked(Head, Forked),
    /// A program was executed; the head has the new address space.
    Execed(Head, Execed),
    /// A task ended.
    Ended(Head, Ended),
    /// What a name in rows stands for; comes before the first record that needs it.
    Named(NameKey, Named),
    /// A number without an event.
    Nothing(Head),
    /// A page fault; its order is a number of its own.
    Faulted(Head, Faulted),
    /// What the kernel has accounted to a task that ends, or (`true`) has executed a program.
    Accounted(Head, Accounted, bool),
    /// The same, when nothing more can be accounted to its last fault.
    Settled(Head, Accounted),
    /// The fault that its task is in was major, and was accounted just now.
    Major(Head),
    /// Somebody took the lock of the address space for writing without a call that is told of; the head says who.
    Other(Head),
    /// A process came into the cgroup that is watched; the head says which.
    Came(Head),
}

/// A page fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faulted {
    /// The address touched.
    pub addr: Addr,
    /// The instruction that touched it; `None` where the kernel did.
    pub ip: Option<Addr>,
    /// Tells address spaces apart while they live, also where `space` of the head is still that of the former program.
    pub map: u64,
    /// What is known of how it ended.
    pub ended: FaultEnd,
    /// Its call stack, where that was wanted and there was room.
    pub stack: Option<Box<CallStack>>,
}

/// Page faults that the kernel has accounted to a task since it was made (`min_flt` and `maj_flt`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accounted {
    /// All of them.
    pub all: u64,
    /// Those that had to wait for a disk, modulo 2^32.
    pub majors: u32,
}

/// How a page fault ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultEnd {
    /// The page was there, without waiting for a disk.
    Minor,
    /// It had to wait for a disk.
    Major,
    /// It was told when it began: what had been accounted to its task before. What has been when the task is told of next
    /// tells the end.
    Unknown(Accounted),
}

/// How good the rows of a call are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The map was locked: not all of it could be looked at.
    pub is_busy: bool,
    /// There was more than is told.
    pub is_cut: bool,
    /// Whether the call took the lock for writing: one that did not has changed no VMA.
    pub took_lock: bool,
}

/// A call that returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// When it was entered; `None` where that was not seen.
    pub entered: Option<MonoNs>,
    /// Its number.
    pub nr: u64,
    /// Whether it is one of 32 bits.
    pub is_32: bool,
    /// Its arguments.
    pub args: [u64; 6],
    /// How it ended.
    pub outcome: Outcome,
    /// What was looked at: `rows` are all that is mapped here.
    pub seen: AddrRange,
    /// The VMAs in `seen`.
    pub rows: Vec<Row>,
    /// As they were after the record with this number, and before the next one of a change; `None` where the map changed
    /// while it was looked at.
    pub version: Option<u64>,
    /// How good they are.
    pub answer: Answer,
    /// The call stack, where one was asked for, of 64-bit code, and there was room in the ring.
    pub stack: Option<Box<CallStack>>,
}

/// How a task was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// A process with a copy of the address space.
    Process,
    /// A process that shares it.
    SharedProcess,
    /// A thread.
    Thread,
}

/// A task that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forked {
    /// Its process.
    pub pid: Pid,
    /// Its number.
    pub tid: Tid,
    /// Its address space.
    pub space: MmId,
    /// When it started, in nanoseconds since boot.
    pub started: u64,
    /// How.
    pub how: How,
}

/// A program that was executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execed {
    /// The address space that was left.
    pub old_space: MmId,
    /// The number of the thread that called execve(2).
    pub old_tid: Tid,
    /// When the process started, in nanoseconds since boot.
    pub started: u64,
    /// What its faults have as theirs ([`Faulted::map`]).
    pub map: u64,
    /// How many VMAs there are.
    pub map_count: u32,
    /// Those that were found, in no order, some of them twice.
    pub rows: Vec<Row>,
}

/// A task that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its exit status, or `None` when a signal ended it.
    pub status: Option<i32>,
    /// The signal.
    pub signal: Option<i32>,
}

/// Which text a row has: of a file by its place, of a special mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NameKey {
    id: u64,
    inode: u64,
    dev: u32,
}

/// A text of rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The path or name; `None` where it is too long.
    pub text: Option<Vec<u8>>,
}

/// A VMA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its addresses.
    pub range: AddrRange,
    /// What it allows.
    pub prot: Prot,
    /// Private or shared.
    pub sharing: Sharing,
    /// Into the file, in pages.
    pub pgoff: u64,
    /// The file's device.
    pub dev: Dev,
    /// The file's inode.
    pub inode: u64,
    /// Which text it has; `None` for none.
    pub name: Option<NameKey>,
    /// Whether its file has no name any more.
    pub is_deleted: bool,
    /// Whether it is (of) the heap.
    pub is_heap: bool,
    /// Whether it is the first stack.
    pub is_stack: bool,
}
