//! Whole maps, read while nothing changes them.
//!
//! Nobody is held, so a reading counts only where no call of the address space was under way: no task is inside of one
//! afterwards, and no record of one waits. Then the map is what it was after the last event that was told.

use super::watch::{Space, State, Task, Watch};
use crate::engine::Wiring;
use vmatlas_event::{AddrRange, KernelError, MmId, MonoNs, Op, Outcome, SnapshotReason, VmaRow};
use vmatlas_sys::now;

const NS_PER_MS: u64 = 1_000_000;
/// A map is read again after at least this long where calls were made.
const RECONCILE_NS: u64 = 1_000 * NS_PER_MS;
/// And so rarely that reading takes at most this part of the time.
const RECONCILE_SHARE: u64 = 100;
/// A reading that came to nothing is tried again after this long, and so many times what it took.
const AGAIN_NS: u64 = 5 * NS_PER_MS;
const AGAIN_SHARE: u64 = 30;
/// So long the first reading waits for a moment at which nothing changes.
const GIVE_UP_NS: u64 = 2_000 * NS_PER_MS;

impl Watch {
    /// Has a whole map read as soon as that can be.
    pub(super) fn due(&mut self, mm: MmId, reason: SnapshotReason) {
        let Some(space) = self.spaces.get_mut(&mm) else { return };
        // The first reason is the one to be told, but that time has passed.
        if space.due.is_none_or(|due| due == SnapshotReason::Reconcile) {
            space.due = Some(reason);
        }
    }

    /// Reads the maps that are due.
    pub(super) fn read_due(&mut self, wiring: &mut Wiring<'_>) {
        let at = now();
        let is_old = |space: &Space| space.changed && at.0.saturating_sub(space.read.0) > RECONCILE_NS;
        for space in self.spaces.values_mut().filter(|space| space.due.is_none() && is_old(space)) {
            space.due = Some(SnapshotReason::Reconcile);
        }
        let is_due = |space: &Space| space.due.is_some() && space.not_before <= at;
        let mut due: Vec<MmId> =
            self.spaces.iter().filter(|(_, space)| is_due(space)).map(|(mm, _)| *mm).collect();
        due.sort_unstable();
        for mm in due {
            if let Some(reason) = self.spaces.get(&mm).and_then(|space| space.due) {
                self.read(mm, reason, wiring);
            }
        }
    }

    /// Reads a whole map and tells it, if nothing changes it meanwhile; whether that was so.
    pub(super) fn read(&mut self, mm: MmId, reason: SnapshotReason, wiring: &mut Wiring<'_>) -> bool {
        // A first thread that ended before the others shows no map: then the next one does.
        let mut tasks: Vec<Task> =
            self.tasks.values().filter(|task| task.mm == mm && task.known).copied().collect();
        tasks.sort_by_key(|task| (task.id.tid.0 != task.id.pid.0, task.id.tid));
        let start = now();
        let read = tasks.iter().find_map(|task| match wiring.kernel.all_vmas(task.id) {
            Ok(rows) => Some((task.id, rows)),
            Err(_) => None,
        });
        let at = now();
        let cost = at.0.saturating_sub(start.0);
        let is_quiet = self.is_quiet(mm);
        let Some(space) = self.spaces.get_mut(&mm) else { return false };
        if !is_quiet && space.state == State::Awaited && at.0.saturating_sub(space.read.0) > GIVE_UP_NS {
            // It never rests: better something that is nearly true than nothing.
            if let Some((id, rows)) = read {
                (space.due, space.state) = (Some(SnapshotReason::Unclear), State::Unknown);
                self.send(wiring.sink, (id, mm), (at, at), Op::Snapshot { reason, rows }, Outcome::Done(0));
            }
            return false;
        }
        // Whoever asked for it, what was not known before is no drift.
        let is_unknown = space.state == State::Unknown || space.is_vague;
        let reason = match reason {
            SnapshotReason::Request if is_unknown => SnapshotReason::Unclear,
            reason => reason,
        };
        let (Some((id, rows)), true) = (read, is_quiet) else {
            space.not_before = MonoNs(at.0 + AGAIN_NS.max(cost.saturating_mul(AGAIN_SHARE)));
            return false;
        };
        *space = Space {
            due: None,
            not_before: MonoNs(at.0 + cost.saturating_mul(RECONCILE_SHARE)),
            read: at,
            changed: false,
            state: State::Known,
            is_vague: false,
            ..*space
        };
        self.send(wiring.sink, (id, mm), (at, at), Op::Snapshot { reason, rows }, Outcome::Done(0));
        true
    }

    /// Answers a question about a call by reading now; whether the map was still what it was after the call.
    pub(super) fn answer_late(&mut self, task: Task, asked: AddrRange, wiring: &mut Wiring<'_>) -> bool {
        if !self.collect() || self.order.has(task.mm) || self.order.is_broken(now()) {
            return false;
        }
        let rows: Result<Vec<VmaRow>, KernelError> = match asked {
            AddrRange::ALL => wiring.kernel.all_vmas(task.id),
            range => wiring.kernel.vmas_in(task.id, range),
        };
        let at = now();
        let Ok(rows) = rows else { return false };
        if !self.is_quiet(task.mm) {
            return false;
        }
        let is_vague = self.spaces.get(&task.mm).is_some_and(|space| space.is_vague);
        let in_flight = if is_vague { vec![task.id] } else { Vec::new() };
        let op = Op::Observed { rows, asked, late: true, in_flight };
        self.send(wiring.sink, (task.id, task.mm), (at, at), op, Outcome::Done(0));
        true
    }

    /// Whether nothing has changed a map since the last event of it that was told.
    fn is_quiet(&mut self, mm: MmId) -> bool {
        let is_inside = |task: &Task| task.mm == mm && self.probe.is_inside(task.id.tid);
        if self.tasks.values().any(is_inside) {
            return false;
        }
        // A call that has ended is in the ring, or lost.
        self.order.has_told(self.probe.lost())
            && self.collect()
            && !self.order.has(mm)
            && !self.order.is_broken(now())
    }

    /// Reads every map for the last time, as well as that goes while the program runs on.
    pub(super) fn read_last(&mut self, wiring: &mut Wiring<'_>) {
        const TRIES: u32 = 50;
        let mut spaces: Vec<MmId> = self.spaces.keys().copied().collect();
        spaces.sort_unstable();
        for mm in spaces {
            for _ in 0..TRIES {
                let state = self.spaces.get(&mm).map(|space| (space.state, space.is_vague));
                let reason = match state {
                    None | Some((State::Awaited, _)) => break,
                    Some((State::Unknown, _) | (State::Known, true)) => SnapshotReason::Unclear,
                    Some((State::Known, false)) => SnapshotReason::Last,
                };
                if self.read(mm, reason, wiring) {
                    break;
                }
                self.turn(wiring);
            }
        }
    }
}
