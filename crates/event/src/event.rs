//! The envelope: one thing that happened, when, to whom, and how it ended.

use crate::{MmId, MonoNs, Op, Seq, StackId, TaskId};

/// An error number of the kernel, positive as in errno(3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Errno(pub i32);

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It returned this.
    Done(u64),
    /// It returned an error; the map may have changed all the same.
    Failed(Errno),
    /// The task ended inside it; what it did is unknown.
    NoReturn,
}

/// Who saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A ptrace(2) stop.
    Ptrace,
    /// A BPF record.
    Bpf,
    /// A perf_event_open(2) record.
    Perf,
    /// Read from /proc, not seen happening.
    Observed,
}

/// One thing that happened, with its envelope.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Order of arrival at the sink.
    pub seq: Seq,
    /// When the call was entered, or the thing was seen.
    pub entered: MonoNs,
    /// When the call was left; equal to `entered` where there is only one moment.
    pub left: MonoNs,
    /// The task it happened in.
    pub task: TaskId,
    /// The address space it happened to.
    pub mm: MmId,
    /// What happened.
    pub op: Op,
    /// How it ended.
    pub outcome: Outcome,
    /// The call stack, where one was taken.
    pub stack: Option<StackId>,
    /// Who saw it.
    pub source: Source,
}
