//! The model beside the kernel's map, at random moments at which the processes of an address space stand still.
//!
//! Nothing else stops them, so SIGSTOP does, for less than a millisecond: each task ends the call it is in, all records are
//! taken, the map is read and compared, and SIGCONT lets them go on.

use super::watch::{State, Task, Watch};
use crate::engine::Wiring;
use std::time::Duration;
use vmatlas_event::{MmId, MonoNs, Pid, SnapshotReason, Tid};
use vmatlas_sys::{kill, now};

const SIGSTOP: i32 = 19;
const SIGCONT: i32 = 18;
/// The longest time between two comparisons.
const MOST_NS: u64 = 1_500_000;
/// So long a task may take to stand still: it may fill memory first, or wait for a processor.
const STOPS_WITHIN_NS: u64 = 300_000_000;

/// When to compare next.
#[derive(Debug)]
pub(super) struct Moments {
    random: u64,
    /// `None` while a comparison is under way.
    next: Option<MonoNs>,
}

impl Moments {
    pub(super) fn new() -> Moments {
        Moments { random: now().0 | 1, next: Some(MonoNs(0)) }
    }

    /// How long until the next comparison.
    pub(super) fn wait(&self) -> Duration {
        Duration::from_nanos(self.next.map_or(0, |next| next.0.saturating_sub(now().0)))
    }

    fn is_now(&self) -> bool {
        self.next.is_some_and(|next| next <= now())
    }

    /// A random number (xorshift64).
    fn draw(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

impl Watch {
    /// Whether it is time to compare: what was not told yet is told when the program stands still.
    pub(super) fn is_time_to_compare(&self) -> bool {
        self.moments.as_ref().is_some_and(Moments::is_now)
    }

    /// Compares one address space, when it is time.
    pub(super) fn compare_now_and_then(&mut self, wiring: &mut Wiring<'_>) {
        let Some(moments) = self.moments.as_mut().filter(|moments| moments.is_now()) else { return };
        moments.next = None;
        let random = moments.draw();
        let mut known: Vec<MmId> =
            self.tasks.values().filter(|task| task.known).map(|task| task.mm).collect();
        known.sort_unstable();
        known.dedup();
        let at = usize::try_from(random >> 32).unwrap_or(0).checked_rem(known.len());
        if let Some(mm) = at.and_then(|at| known.get(at)) {
            self.compare(*mm, wiring);
        }
        if let Some(moments) = &mut self.moments {
            moments.next = Some(MonoNs(now().0.saturating_add(random % MOST_NS)));
        }
    }

    /// Stops the processes that share an address space, and compares.
    fn compare(&mut self, mm: MmId, wiring: &mut Wiring<'_>) {
        let tasks: Vec<Task> = self.tasks.values().filter(|task| task.mm == mm).copied().collect();
        let mut pids: Vec<Pid> = tasks.iter().map(|task| task.id.pid).collect();
        pids.sort_unstable();
        pids.dedup();
        // One that has ended may have left its number to a process that is none of ours.
        pids.retain(|pid| {
            let first = tasks.iter().find(|task| task.id.tid.0 == pid.0);
            let started = wiring.kernel.start_time(Tid(pid.0));
            *pid == self.root
                || first.is_some_and(|task| task.id.started.is_some() && task.id.started == started)
        });
        pids.retain(|pid| kill(*pid, SIGSTOP).is_ok());
        let are_still = pids.iter().all(|pid| self.stands_still(*pid));
        let start = now();
        loop {
            self.tell(wiring);
            // A call of another process that is not over holds up those that got their numbers after it.
            if !are_still || !self.order.has(mm) || now().0.saturating_sub(start.0) > STOPS_WITHIN_NS {
                break;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        if are_still && !pids.is_empty() {
            self.compare_stopped(mm, wiring);
        }
        for pid in pids {
            // One that was killed meanwhile goes on no more.
            let _ = kill(pid, SIGCONT);
        }
    }

    fn compare_stopped(&mut self, mm: MmId, wiring: &mut Wiring<'_>) {
        let Some(space) = self.spaces.get_mut(&mm) else { return };
        let is_comparable = space.state == State::Known && !space.is_vague;
        match (is_comparable, space.due) {
            // Where a call got no answer the model knows that it does not know.
            (true, None | Some(SnapshotReason::Unclear | SnapshotReason::Reconcile)) => {
                self.read(mm, SnapshotReason::Check, wiring);
            }
            (_, reason) => {
                self.read(mm, reason.unwrap_or(SnapshotReason::Unclear), wiring);
            }
        }
    }

    /// Waits until every task of a process is stopped; whether they are. One that waits for its child of vfork(2) never is, and
    /// changes nothing.
    fn stands_still(&self, pid: Pid) -> bool {
        let start = now();
        loop {
            let states = states(pid);
            let is_still = |(tid, state): &(Tid, char)| match state {
                'T' | 't' | 'Z' | 'X' => true,
                'D' => self.probe.is_forking(*tid),
                _ => false,
            };
            if states.iter().all(is_still) {
                return !states.is_empty();
            }
            if now().0.saturating_sub(start.0) > STOPS_WITHIN_NS {
                return false;
            }
            std::thread::sleep(Duration::from_micros(50));
        }
    }
}

/// The tasks of a process and their states; see proc_pid_stat(5).
fn states(pid: Pid) -> Vec<(Tid, char)> {
    let state = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.ok()?;
        let tid = Tid(entry.file_name().to_str()?.parse().ok()?);
        let text = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        Some((tid, text.rsplit_once(") ")?.1.chars().next()?))
    };
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    tasks.filter_map(state).collect()
}
