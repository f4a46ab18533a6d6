//! Reads that can be left: a thread of their own, and a deadline.
//!
//! A read of another process can wait for ever: its mmap lock may be held by a task that sleeps, its memory or its
//! files may belong to a userfaultfd or a FUSE server that does not answer. Such a wait cannot be interrupted, only
//! left: the thread that waits stays behind (and ends with us), and the caller goes on with an error.

use crate::read::error::{ErrorKind, ProcError};
use crate::read::process::Process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};
use vmatlas_event::Pid;

/// How long a single call may take before a read is left, unless asked otherwise.
pub const LIMIT: Duration = Duration::from_secs(5);

/// Counts the calls of a read that came back: while it moves, a long read is not a stuck one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Beat(Arc<AtomicU64>);

impl Beat {
    /// A call came back.
    pub(crate) fn tick(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Does `work` in a thread of its own and leaves it when none of its calls came back for `limit`.
///
/// # Errors
/// [`ErrorKind::TimedOut`] when it was left; else what `work` says.
pub fn run<T: Send + 'static>(
    process: &Process,
    limit: Duration,
    work: impl FnOnce(&Process) -> Result<T, ProcError> + Send + 'static,
) -> Result<T, ProcError> {
    let own = process.clone();
    watched(process.pid(), process.beat(), limit, move || work(&own))
}

/// As [`run`], for work that has no open process yet.
pub(crate) fn watched<T: Send + 'static>(
    pid: Pid,
    beat: &Beat,
    limit: Duration,
    work: impl FnOnce() -> Result<T, ProcError> + Send + 'static,
) -> Result<T, ProcError> {
    const LOOKS: u32 = 16;
    let (sender, receiver) = mpsc::channel();
    let worker = move || {
        // Nobody listens any more when we were left.
        let _ = sender.send(work());
    };
    thread::Builder::new()
        .name("read".to_owned())
        .spawn(worker)
        .map_err(|e| ProcError::io(pid, std::path::Path::new("/proc"), e))?;
    let mut seen = beat.count();
    let mut since = Instant::now();
    loop {
        match receiver.recv_timeout((limit / LOOKS).max(Duration::from_millis(1))) {
            Ok(answer) => return answer,
            // Its thread panicked, which is a fault of ours and was told already.
            Err(RecvTimeoutError::Disconnected) => return Err(ProcError::new(ErrorKind::Io, pid)),
            Err(RecvTimeoutError::Timeout) => {
                let now = beat.count();
                if now != seen {
                    (seen, since) = (now, Instant::now());
                } else if since.elapsed() >= limit {
                    return Err(ProcError::new(ErrorKind::TimedOut, pid));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ProcRoot;

    fn me() -> Process {
        ProcRoot::system().process(vmatlas_sys::self_pid()).unwrap()
    }

    /// Checks that an answer and an error come through, and that work which never comes back is left in time.
    #[test]
    fn what_never_comes_back_is_left() {
        assert_eq!(run(&me(), LIMIT, |p| Ok(p.pid())).unwrap(), vmatlas_sys::self_pid());
        let error =
            run(&me(), LIMIT, |p| Err::<(), _>(ProcError::new(ErrorKind::Gone, p.pid()))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Gone);
        let (_kept, never) = mpsc::channel::<()>();
        let start = Instant::now();
        let stuck = move |_: &Process| Ok(never.recv().ok());
        let error = run(&me(), Duration::from_millis(50), stuck).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    }

    /// Checks that a read which takes longer than the limit in all, call after call, is not left.
    #[test]
    fn a_long_read_is_no_stuck_one() {
        let long = |p: &Process| {
            for _ in 0..30 {
                thread::sleep(Duration::from_millis(20));
                p.beat().tick();
            }
            Ok(7)
        };
        assert_eq!(run(&me(), Duration::from_millis(300), long).unwrap(), 7);
    }
}
