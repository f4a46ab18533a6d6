//! Who and when: tasks, address spaces, sequence numbers, times.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// A process: the kernel's tgid, as seen from our own PID namespace.
    Pid(i32)
}
id! {
    /// One thread: the kernel's pid, as seen from our own PID namespace.
    Tid(i32)
}
id! {
    /// When a task started, in clock ticks since boot (field 22 of proc_pid_stat(5)); tells a reused PID from the old one.
    StartTime(u64)
}
id! {
    /// An address space, numbered by us: new at launch, attach, exec and fork; shared by CLONE_VM.
    ///
    /// The kernel's own mm pointer is reused at once (302 processes were seen on 3 pointers), so it is no identity.
    MmId(u32)
}
id! {
    /// The place of an event in its recording: the order of arrival at the sink, from 0.
    Seq(u64)
}
id! {
    /// An interned call stack of a recording.
    StackId(u32)
}
id! {
    /// An interned frame of call stacks of a recording.
    FrameId(u32)
}
id! {
    /// A file with code, as one version of it was mapped; interned per recording.
    ModuleId(u32)
}
id! {
    /// CLOCK_MONOTONIC in nanoseconds.
    MonoNs(u64)
}

/// A task for as long as the machine runs: PID, TID and start time together are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId {
    /// The process.
    pub pid: Pid,
    /// The thread; equal to the process's PID for its first thread.
    pub tid: Tid,
    /// When it started; `None` where /proc could not be read in time.
    pub started: Option<StartTime>,
}
