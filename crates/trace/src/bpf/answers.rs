//! What the programs saw of the map when a call returned, told where it belongs.
//!
//! When a call looks at the map others may have changed it since its own change. The programs say after which change the map
//! was seen, and so the answer is told behind that one's event: there it is exact, whoever was faster.

use super::watch::{State, Task, Watch};
use crate::engine::Wiring;
use vmatlas_event::{AddrRange, MmId, Op, Outcome, SnapshotReason, VmaRow};
use vmatlas_sys::bpf::Call;
use vmatlas_sys::now;

/// An answer that waits for the events before it.
#[derive(Debug)]
pub(super) struct Held {
    /// The number of the change after which it is true.
    version: u64,
    task: Task,
    asked: AddrRange,
    rows: Vec<VmaRow>,
}

impl Watch {
    /// Answers a question about a call with what the programs saw when it returned; whether they saw enough.
    pub(super) fn answer_seen(&mut self, task: Task, call: &Call, asked: AddrRange) -> bool {
        let Some(version) = call.version.filter(|_| call.seen.covers(asked)) else { return false };
        // A call that takes the lock for reading gets its number after it has looked.
        let is_over = self.spaces.get(&task.mm).is_none_or(|space| version < space.told);
        if is_over || self.order.is_broken(now()) {
            return false;
        }
        let rows = call.rows.iter().filter(|row| row.range.intersects(asked));
        let rows = rows.map(|row| self.names.row(row)).collect();
        self.held.push(Held { version, task, asked, rows });
        true
    }

    /// Tells the answers that belong before the event with this number.
    pub(super) fn answer_before(&mut self, number: u64, wiring: &mut Wiring<'_>) {
        if self.held.is_empty() {
            return;
        }
        let (due, held): (Vec<Held>, Vec<Held>) =
            std::mem::take(&mut self.held).into_iter().partition(|held| held.version < number);
        self.held = held;
        for Held { task, asked, rows, .. } in due {
            let Some(space) = self.spaces.get(&task.mm).filter(|space| space.state == State::Known) else {
                continue;
            };
            // It may have in it what somebody changed of whom no call tells: that is no contradiction.
            let in_flight = if space.is_vague { vec![task.id] } else { Vec::new() };
            let at = self.last.map_or_else(now, |(_, _, at)| at);
            let op = Op::Observed { rows, asked, late: false, in_flight };
            self.send(wiring.sink, (task.id, task.mm), (at, at), op, Outcome::Done(0));
        }
    }

    /// The order of the records is not the kernel's any more: nothing is known until the maps are read again.
    pub(super) fn know_nothing(&mut self) {
        self.held.clear();
        for space in self.spaces.values_mut().filter(|space| space.state != State::Awaited) {
            space.state = State::Unknown;
        }
        let spaces: Vec<MmId> = self.spaces.keys().copied().collect();
        for mm in spaces {
            self.due(mm, SnapshotReason::Unclear);
        }
    }
}
