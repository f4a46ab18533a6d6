//! What the kernel is asked: ranges after a call, whole maps now and then.

use super::{Engine, Wiring};
use vmatlas_event::{AddrRange, MmId, MonoNs, Next, Op, Outcome, SnapshotReason, TaskId};
use vmatlas_sys::now;

/// A whole map is read again after at least this long.
const RECONCILE_NS: u64 = 1_000_000_000;
/// And so rarely that reading takes at most this part of the time.
const RECONCILE_SHARE: u64 = 100;

impl Engine {
    /// Reads the whole map of a stopped task and tells it; whether there was one to read.
    pub(super) fn snapshot(
        &mut self,
        id: TaskId,
        mm: MmId,
        reason: SnapshotReason,
        wiring: &mut Wiring<'_>,
    ) -> bool {
        if self.muted {
            return true;
        }
        let start = now();
        // A task that was killed meanwhile has no map; its end is told by itself.
        let Ok(rows) = wiring.kernel.all_vmas(id) else { return false };
        let at = now();
        if let Some(shared) = self.spaces.get_mut(&mm) {
            let cost = at.0.saturating_sub(start.0);
            shared.due = MonoNs(at.0 + RECONCILE_NS.max(cost.saturating_mul(RECONCILE_SHARE)));
        }
        self.send(wiring.sink, id, mm, (at, at), Op::Snapshot { reason, rows }, Outcome::Done(0));
        true
    }

    /// Reads the map of every address space once, of the first of its tasks that still has one.
    pub(super) fn read_each(
        &mut self,
        wiring: &mut Wiring<'_>,
        mut read: impl FnMut(&mut Engine, TaskId, MmId, &mut Wiring<'_>) -> bool,
    ) {
        let mut tasks: Vec<(MmId, bool, TaskId)> = self
            .tasks
            .values()
            .filter(|task| task.known)
            .map(|task| (task.mm, task.is_exiting || !task.is_stopped, task.id))
            .collect();
        tasks.sort_by_key(|(mm, is_worse, id)| (*mm, *is_worse, id.tid));
        let mut done = None;
        for (mm, _, id) in tasks {
            // A first task that has ended while others go on shows no map any more: then the next one does.
            if done != Some(mm) && read(self, id, mm, wiring) {
                done = Some(mm);
            }
        }
    }

    /// Reads the whole map of a task that is stopped after a call, when it is time.
    pub(super) fn reconcile(&mut self, id: TaskId, mm: MmId, at: MonoNs, wiring: &mut Wiring<'_>) {
        let Some(shared) = self.spaces.get(&mm).filter(|shared| at >= shared.due) else { return };
        // A call that another task is inside of may be in the map already: later, then.
        if shared.users > 1 && !self.in_flight(id, mm).is_empty() {
            return;
        }
        let reason = if shared.unclear { SnapshotReason::Unclear } else { SnapshotReason::Reconcile };
        self.snapshot(id, mm, reason, wiring);
        if let Some(shared) = self.spaces.get_mut(&mm) {
            shared.unclear = false;
        }
    }

    /// Asks the kernel what the sink wants to know, while the task is stopped.
    pub(super) fn answer(&mut self, next: Next, id: TaskId, mm: MmId, wiring: &mut Wiring<'_>) {
        let Next::Ask(ranges) = next else { return };
        for asked in ranges {
            let rows = match asked {
                AddrRange::ALL => wiring.kernel.all_vmas(id),
                range => wiring.kernel.vmas_in(id, range),
            };
            // Only a killed task does not answer; its end follows, and the sink closes what it had open.
            let Ok(rows) = rows else { return };
            let in_flight = self.in_flight(id, mm);
            let at = now();
            let op = Op::Observed { rows, asked, late: false, in_flight };
            self.send(wiring.sink, id, mm, (at, at), op, Outcome::Done(0));
        }
    }

    /// Other tasks of this address space that are inside a memory call now.
    pub(super) fn in_flight(&self, id: TaskId, mm: MmId) -> Vec<TaskId> {
        if self.spaces.get(&mm).is_none_or(|shared| shared.users < 2) {
            return Vec::new();
        }
        let inside = |task: &&crate::task::Task| task.mm == mm && task.call.is_some() && task.id != id;
        self.tasks.values().filter(inside).map(|task| task.id).collect()
    }
}
