//! What the tracer knows of each task.

use vmatlas_event::{MmId, MonoNs, Op, TaskId, Tid};
use vmatlas_sys::ptrace::Resume;

/// One traced task.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) id: TaskId,
    pub(crate) mm: MmId,
    /// The memory call it is inside of.
    pub(crate) call: Option<Call>,
    /// The memory call it stands before, where its entry tells what it is.
    pub(crate) parked: Option<Call>,
    /// Whether it has the map of a program that we know: not before its first exec.
    pub(crate) known: bool,
    /// Whether its map is a copy that was not read yet.
    pub(crate) unread_copy: bool,
    /// Whether it stands still: its last stop was told and it was not resumed.
    pub(crate) is_stopped: bool,
    /// Whether it is about to end.
    pub(crate) is_exiting: bool,
    /// Whether the kernel's count of its page faults was asked for before its end.
    pub(crate) is_accounted: bool,
    /// Whether it did not stop when it was told to: it waits for a child of vfork(2) that was there before us, or for
    /// something that cannot be interrupted.
    pub(crate) is_blocked: bool,
    /// The child of vfork(2) that it may be waiting for.
    pub(crate) vforked: Option<Tid>,
}

/// A memory call between its two stops.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) entered: MonoNs,
    /// What it is; `None` where only its return tells (see `decode_returned`).
    pub(crate) op: Option<Op>,
}

impl Task {
    /// A task that is inside no call.
    pub(crate) fn new(id: TaskId, mm: MmId, known: bool) -> Task {
        Task {
            id,
            mm,
            call: None,
            parked: None,
            known,
            unread_copy: false,
            is_stopped: false,
            is_exiting: false,
            is_accounted: false,
            is_blocked: false,
            vforked: None,
        }
    }

    /// How it goes on: to the exit of the call it is in, or to the next event.
    pub(crate) fn resume_how(&self, filtered: bool) -> Resume {
        if self.call.is_some() || !filtered { Resume::ToSyscall } else { Resume::Continue }
    }
}
