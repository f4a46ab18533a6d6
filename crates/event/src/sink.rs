//! How a producer of events, their consumer and the kernel are joined.

use crate::{AddrRange, Errno, Event, FaultCounts, MmId, StackId, StartTime, Stopped, TaskId, Tid, VmaRow};
use std::fmt;

/// What a consumer wants after an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Go on.
    Go,
    /// Keep the task stopped, read these ranges, send the answers as [`Op::Observed`](crate::Op::Observed), then go on.
    Ask(Vec<AddrRange>),
    /// Watch no further; the program itself goes on or is ended as the producer's options say.
    Stop,
}

/// A consumer of events: a live model, a recorder, or both.
pub trait Sink {
    /// Takes one event, in order of `seq`.
    fn event(&mut self, event: &Event) -> Next;

    /// Whether events may be told a moment later than they happened, many at once: less work for each.
    fn is_patient(&self) -> bool {
        false
    }

    /// Walks the stack of a thread whose memory call has returned: before the call's event, where stacks are wanted.
    fn stack(&mut self, _at: &Stopped<'_>) -> Option<StackId> {
        None
    }

    /// A call's stack was wanted and could not be kept: the events came faster than they were taken.
    fn stack_lost(&mut self) {}

    /// Takes what page faults came to, after the last event; only where they were watched.
    fn fault_counts(&mut self, _counts: &FaultCounts) {}

    /// Hears that somebody took the lock of an address space for writing whom no event tells of; where that can be seen (BPF).
    fn other_change(&mut self, _mm: MmId) {}

    /// Hears how many processes could not be watched because too many were, after the last event; not called where there is none.
    fn untracked(&mut self, _count: u64) {}
}

impl<F: FnMut(&Event) -> Next> Sink for F {
    fn event(&mut self, event: &Event) -> Next {
        self(event)
    }
}

/// What the kernel says of a stopped task's map; implemented over /proc, and by fakes in tests.
pub trait Kernel {
    /// Every VMA that meets `range`, whole, in address order.
    ///
    /// # Errors
    /// [`KernelError`] by kind; an empty answer means that nothing is mapped there.
    fn vmas_in(&mut self, task: TaskId, range: AddrRange) -> Result<Vec<VmaRow>, KernelError>;

    /// Whether reading a range costs less than reading everything; told after the first was read.
    fn reads_ranges(&self) -> bool {
        true
    }

    /// Every VMA, in address order.
    ///
    /// # Errors
    /// [`KernelError`] by kind.
    fn all_vmas(&mut self, task: TaskId) -> Result<Vec<VmaRow>, KernelError>;

    /// When a task started; `None` when it is gone already.
    fn start_time(&mut self, tid: Tid) -> Option<StartTime>;

    /// Whether a task executes a program, and will go on: it is no thread of the kernel, and has neither ended nor begun to.
    /// `true` where that cannot be told.
    fn runs_program(&mut self, _tid: Tid) -> bool {
        true
    }

    /// Which process a task belongs to; `None` when it is gone already.
    fn process_of(&mut self, tid: Tid) -> Option<crate::Pid>;

    /// The threads of a process.
    ///
    /// # Errors
    /// [`KernelError`] by kind.
    fn threads(&mut self, pid: crate::Pid) -> Result<Vec<Tid>, KernelError>;

    /// The children of a process, those of all its threads; none where that cannot be told.
    fn children(&mut self, pid: crate::Pid) -> Vec<crate::Pid>;

    /// How many page faults the kernel has accounted to one thread since it began; `None` where that cannot be told.
    fn faults_of(&mut self, _task: TaskId) -> Option<u64> {
        None
    }

    /// Tells that `task` now has another address space (exec) or has ended, so that what was kept open for it can go.
    fn forget(&mut self, task: TaskId);
}

/// Why the kernel did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelError {
    /// The task has ended.
    Gone,
    /// We are not allowed to look.
    NotPermitted,
    /// This kernel cannot be asked that.
    Unsupported,
    /// Another error.
    Other(Errno),
}

impl fmt::Display for KernelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KernelError::Gone => f.write_str("the task has ended"),
            KernelError::NotPermitted => f.write_str("not permitted"),
            KernelError::Unsupported => f.write_str("this kernel cannot be asked that"),
            KernelError::Other(errno) => write!(f, "error {}", errno.0),
        }
    }
}

impl std::error::Error for KernelError {}
