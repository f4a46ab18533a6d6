//! How a watched program ended.

use vmatlas_sys::WaitStatus;

/// How the program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It exited with this status.
    Exited(i32),
    /// This signal ended it.
    Signaled(i32),
}

impl End {
    pub(crate) fn of(status: WaitStatus) -> Option<End> {
        match status {
            WaitStatus::Exited(status) => Some(End::Exited(status)),
            WaitStatus::Signaled(signal) => Some(End::Signaled(signal)),
            WaitStatus::Stopped { .. } | WaitStatus::Continued => None,
        }
    }

    /// The status a shell gives it: its own, or 128 + N for a signal.
    pub fn shell_status(self) -> i32 {
        match self {
            End::Exited(status) => status,
            End::Signaled(signal) => 128 + signal,
        }
    }
}
