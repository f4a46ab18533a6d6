//! Waiting for children and tracees, ending them, ending ourselves.

use crate::errno::check;
use vmatlas_event::{Errno, Pid, Tid};

/// What waitpid(2) reported of one task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitStatus {
    /// It exited with this status.
    Exited(i32),
    /// This signal ended it.
    Signaled(i32),
    /// It is stopped: the signal, and above it the PTRACE_EVENT_* number (0 for none).
    Stopped {
        /// The stop signal; SIGTRAP|0x80 for a system-call stop.
        signal: i32,
        /// PTRACE_EVENT_*.
        event: i32,
    },
    /// It was continued.
    Continued,
}

fn decode(status: i32) -> WaitStatus {
    if libc::WIFEXITED(status) {
        WaitStatus::Exited(libc::WEXITSTATUS(status))
    } else if libc::WIFSIGNALED(status) {
        WaitStatus::Signaled(libc::WTERMSIG(status))
    } else if libc::WIFSTOPPED(status) {
        WaitStatus::Stopped { signal: libc::WSTOPSIG(status), event: status >> 16 }
    } else {
        WaitStatus::Continued
    }
}

fn wait_once(pid: i32, flags: i32) -> Result<Option<(Tid, WaitStatus)>, Errno> {
    let mut status = 0i32;
    let nothing = std::ptr::null_mut::<libc::rusage>();
    // Past libc, where waiting is a cancellation point: two atomic changes of state for each stop that nobody needs.
    // SAFETY: `status` is a valid place for the answer, and no usage is asked for.
    let tid = unsafe { libc::syscall(libc::SYS_wait4, pid, &raw mut status, flags, nothing) };
    match check(tid)? {
        0 => Ok(None),
        tid => Ok(Some((Tid(tid as i32), decode(status)))),
    }
}

fn wait(pid: i32, flags: i32) -> Result<Option<(Tid, WaitStatus)>, Errno> {
    loop {
        match wait_once(pid, flags) {
            Err(Errno(libc::EINTR)) => {}
            answer => return answer,
        }
    }
}

/// Waits for any child or tracee of the calling thread (never of another thread of ours).
///
/// # Errors
/// ECHILD when there is none left.
pub fn wait_my_children() -> Result<(Tid, WaitStatus), Errno> {
    match wait(-1, libc::__WALL | libc::__WNOTHREAD)? {
        Some(answer) => Ok(answer),
        None => Err(Errno(libc::ECHILD)),
    }
}

/// The same, until an [`Alarm`](crate::Alarm) rings or another signal is handled: then `None`.
///
/// # Errors
/// ECHILD when there is none left.
pub fn wait_my_children_or_alarm() -> Result<Option<(Tid, WaitStatus)>, Errno> {
    match wait_once(-1, libc::__WALL | libc::__WNOTHREAD) {
        Err(Errno(libc::EINTR)) => Ok(None),
        answer => answer,
    }
}

/// What [`wait_my_children`] would give now; `None` when nothing has happened yet.
///
/// # Errors
/// ECHILD when there is none left.
pub fn poll_my_children() -> Result<Option<(Tid, WaitStatus)>, Errno> {
    wait(-1, libc::__WALL | libc::__WNOTHREAD | libc::WNOHANG)
}

/// What happened to one child of ours since this was last asked: its end, a stop (which is no tracer's) or its going on.
///
/// # Errors
/// ECHILD when it is none of ours (any more).
pub fn poll_my_child(pid: Pid) -> Result<Option<WaitStatus>, Errno> {
    let flags = libc::__WALL | libc::WNOHANG | libc::WUNTRACED | libc::WCONTINUED;
    Ok(wait(pid.0, flags)?.map(|(_, status)| status))
}

/// Waits until one child of ours ends.
///
/// # Errors
/// ECHILD when it is none of ours.
pub fn wait_for(pid: Pid) -> Result<WaitStatus, Errno> {
    match wait(pid.0, libc::__WALL)? {
        Some((_, status)) => Ok(status),
        None => Err(Errno(libc::ECHILD)),
    }
}

/// Sends a signal to one process that we started.
///
/// # Errors
/// ESRCH when it is gone.
pub fn kill(pid: Pid, signal: i32) -> Result<(), Errno> {
    if pid.0 <= 0 {
        return Err(Errno(libc::ESRCH));
    }
    // SAFETY: kill takes two numbers; the PID is positive, so it names one process, never a group.
    check(i64::from(unsafe { libc::kill(pid.0, signal) })).map(|_| ())
}

/// Ends the calling process at once, without running anything of ours (no allocation, no exit handlers).
pub fn exit_now(status: i32) -> ! {
    // SAFETY: _exit never returns and runs no code of ours.
    unsafe { libc::_exit(status) }
}
