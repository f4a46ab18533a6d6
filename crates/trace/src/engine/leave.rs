//! Joining a running program, and letting it go as it was before we came.

use super::{Engine, LOOK_AGAIN, Wiring};
use crate::error::TraceError;
use rustc_hash::FxHashMap;
use vmatlas_event::{MmId, Op, Outcome, SnapshotReason, TaskId, Tid};
use vmatlas_sys::ptrace;
use vmatlas_sys::{WaitStatus, now, poll_my_children, sleep};

/// How long tasks are given to stop. One that does not (vfork, an uninterruptible wait) is let go by our end.
const PATIENCE_NS: u64 = 1_000_000_000;

impl Engine {
    /// Stops every task of a program that was joined, reads each map, and lets them go on.
    ///
    /// A call that one of them was in has ended by then, or will start anew: what it does is seen from its beginning.
    pub(crate) fn begin_attached(&mut self, wiring: &mut Wiring<'_>) {
        let at = now();
        let tasks: Vec<(TaskId, MmId)> = self.tasks.values().map(|task| (task.id, task.mm)).collect();
        for (id, mm) in tasks {
            self.send(wiring.sink, id, mm, (at, at), Op::Joined, Outcome::Done(0));
        }
        self.read_all(SnapshotReason::Attach, wiring);
        // Their stops are in the queue, and let them go on.
    }

    /// Holds every task and reads the map of every address space.
    pub(super) fn read_all(&mut self, reason: SnapshotReason, wiring: &mut Wiring<'_>) {
        let moving: Vec<Tid> =
            self.tasks.iter().filter(|(_, task)| self.can_move(task)).map(|(tid, _)| *tid).collect();
        self.hold_these(&moving);
        self.read_each(wiring, |engine, id, mm, wiring| {
            // A call that somebody is inside of may be in the map already, and its event comes after it.
            let is_unclear = engine.tasks.values().any(|task| task.mm == mm && task.call.is_some());
            let reason = if is_unclear { SnapshotReason::Unclear } else { reason };
            engine.snapshot(id, mm, reason, wiring)
        });
    }

    /// Stops every task, reads each map for the last time, and detaches.
    ///
    /// # Errors
    /// [`TraceError::TooOld`] when the kernel cannot tell system calls.
    pub(crate) fn leave(&mut self, wiring: &mut Wiring<'_>) -> Result<(), TraceError> {
        // From here on a task that would be resumed stands still instead.
        self.leaving = Some(FxHashMap::default());
        for (tid, _) in std::mem::take(&mut self.parked) {
            self.go_on(tid, 0);
        }
        for tid in self.tasks.keys() {
            // One in group-stop tells it once more; one that is stopped already is in the queue.
            let _ = ptrace::interrupt(*tid);
        }
        let start = now();
        while self.is_any_moving() && now().0.saturating_sub(start.0) < PATIENCE_NS {
            let stop = match self.queue.pop_front() {
                Some(stop) => Some(stop),
                None => poll_my_children().unwrap_or(None),
            };
            match stop {
                Some((tid, WaitStatus::Stopped { signal, event })) => {
                    self.stopped(tid, signal, event, wiring)?
                }
                Some((_, WaitStatus::Continued)) => {}
                Some((tid, status)) => self.exited(tid, status, wiring),
                None => sleep(LOOK_AGAIN),
            }
        }
        self.read_each(wiring, |engine, id, mm, wiring| engine.read_last(id, mm, wiring));
        self.end_faults(wiring);
        let still = self.leaving.take().unwrap_or_default();
        for (tid, signal) in still.into_iter().chain(self.early.keys().map(|tid| (*tid, 0))) {
            // One that SIGKILL took needs nothing.
            let _ = ptrace::detach(tid, signal);
        }
        self.tasks.clear();
        self.early.clear();
        Ok(())
    }

    fn is_any_moving(&self) -> bool {
        let still = |tid: &Tid| self.leaving.as_ref().is_some_and(|still| still.contains_key(tid));
        // A stop that is in the queue is one that is not dealt with yet.
        let is_queued = |tid: &Tid| self.queue.iter().any(|(queued, _)| queued == tid);
        self.tasks.iter().any(|(tid, task)| !still(tid) && (self.can_move(task) || is_queued(tid)))
    }
}
