//! Keeping all tasks of an address space still, to compare the model with the kernel.
//!
//! With `check`, calls of one address space are made one after the other: a task that comes to a memory call while
//! another one is inside of one waits before it. Not for long: the other may wait for what this one does next
//! (userfaultfd, FUSE).

use super::{Engine, Wiring};
use vmatlas_event::{AddrRange, MmId, MonoNs, Op, Outcome, SnapshotReason, TaskId, Tid};
use vmatlas_sys::ptrace;
use vmatlas_sys::{WaitStatus, now, poll_my_children, sleep};

const NS_PER_MS: u64 = 1_000_000;
/// How long a task waits before its call for another call to end.
const PARKED_NS: u64 = NS_PER_MS;
/// How long tasks are given to stop: one in an uninterruptible wait does not, and does not change the map either.
const HOLD_NS: u64 = 50 * NS_PER_MS;

impl Engine {
    /// Whether a task that came to a memory call shall wait before it; then it is not to be resumed.
    pub(super) fn park(&mut self, tid: Tid, mm: MmId) -> bool {
        if !self.check || self.leaving.is_some() || self.spaces.get(&mm).is_none_or(|shared| shared.users < 2)
        {
            return false;
        }
        let is_busy =
            |(other, task): (&Tid, &crate::task::Task)| *other != tid && task.mm == mm && task.call.is_some();
        let waits = self.tasks.iter().any(is_busy);
        if waits {
            self.parked.push_back((tid, now()));
        }
        waits
    }

    /// Lets the first of the parked tasks go on whose call has nothing to wait for, and those that waited too long.
    pub(super) fn unpark(&mut self) {
        if self.parked.is_empty() {
            return;
        }
        let at = now();
        let mut next = 0;
        while let Some(&(tid, since)) = self.parked.get(next) {
            let Some(mm) = self.tasks.get(&tid).map(|task| task.mm) else {
                self.parked.remove(next);
                continue;
            };
            let is_late = at.0.saturating_sub(since.0) > PARKED_NS;
            let is_free = !self.tasks.values().any(|task| task.mm == mm && task.call.is_some());
            if is_late || is_free {
                self.parked.remove(next);
                self.make_call(tid, at);
            } else {
                next += 1;
            }
        }
    }

    /// Compares the model with the kernel, while every task of the address space is held.
    pub(super) fn compare(&mut self, id: TaskId, mm: MmId, wiring: &mut Wiring<'_>) {
        if !self.check || self.muted {
            return;
        }
        self.hold(mm, Some(id.tid));
        // A call that is not over may be in the map already, in part: the next comparison will see it.
        if !self.in_flight(id, mm).is_empty() || self.spaces.get(&mm).is_some_and(|shared| shared.unclear) {
            return;
        }
        // The pages by the text of maps, the boundaries by PROCMAP_QUERY.
        for rows in [wiring.kernel.all_vmas(id), wiring.kernel.vmas_in(id, AddrRange::ALL)] {
            let Ok(rows) = rows else { return };
            let at = now();
            let op = Op::Snapshot { reason: SnapshotReason::Check, rows };
            self.send(wiring.sink, id, mm, (at, at), op, Outcome::Done(0));
        }
    }

    /// Stops every task of an address space but one; whether all of them are still.
    ///
    /// Their stops are dealt with afterwards, as if they had come then.
    pub(super) fn hold(&mut self, mm: MmId, except: Option<Tid>) -> bool {
        if self.spaces.get(&mm).is_none_or(|shared| shared.users < 2) && except.is_some() {
            return true;
        }
        let moving: Vec<Tid> = self
            .tasks
            .iter()
            .filter(|(tid, task)| task.mm == mm && Some(**tid) != except && self.can_move(task))
            .map(|(tid, _)| *tid)
            .collect();
        self.hold_these(&moving)
    }

    /// Stops these tasks; whether all of them are still.
    pub(super) fn hold_these(&mut self, moving: &[Tid]) -> bool {
        for tid in moving {
            // One that is gone tells its end by itself.
            let _ = ptrace::interrupt(*tid);
        }
        let start = now();
        let is_moving =
            |engine: &Engine, tid: &Tid| engine.tasks.get(tid).is_some_and(|task| engine.can_move(task));
        let is_over = |at: MonoNs| at.0.saturating_sub(start.0) > HOLD_NS;
        let mut left = moving.to_vec();
        loop {
            left.retain(|tid| is_moving(self, tid));
            if left.is_empty() {
                return true;
            }
            match poll_my_children() {
                Ok(Some((tid, status))) => {
                    if let Some(task) = self.tasks.get_mut(&tid) {
                        // One that has ended moves no more either, and has no map to read.
                        task.is_stopped = !matches!(status, WaitStatus::Continued);
                        task.is_exiting |= matches!(status, WaitStatus::Exited(_) | WaitStatus::Signaled(_));
                    }
                    self.queue.push_back((tid, status));
                }
                Ok(None) if is_over(now()) => {
                    for tid in left {
                        if let Some(task) = self.tasks.get_mut(&tid) {
                            task.is_blocked = true;
                        }
                    }
                    return false;
                }
                Ok(None) => sleep(super::LOOK_AGAIN),
                Err(_) => return false,
            }
        }
    }

    /// Whether a task may change its map at any moment: it is not stopped, and not waiting for a child of vfork(2).
    pub(super) fn can_move(&self, task: &crate::task::Task) -> bool {
        let is_waiting = |child: Tid| self.tasks.get(&child).is_some_and(|child| child.mm == task.mm);
        !task.is_stopped && !task.is_blocked && !task.vforked.is_some_and(is_waiting)
    }
}
