//! The processes of a cgroup: those that are in it or below it, and those that come.

use super::watch::{Task, Watch};
use super::{Bpf, vsyscall};
use crate::engine::Wiring;
use rustc_hash::FxHashSet;
use std::fmt;
use std::time::Duration;
use vmatlas_event::{Kernel, MmId, MonoNs, Pid, Sink};
use vmatlas_sys::now;
use vmatlas_sys::signal::Wishes;

/// After a loss who came may be among the lost: so long after one listing the next one follows.
const LIST_EVERY_NS: u64 = 200_000_000;

/// Lists the processes that are in a cgroup now.
pub type Members = Box<dyn FnMut() -> Vec<Pid>>;

/// A cgroup that is being watched.
pub struct BpfGroup {
    watch: Watch,
    wishes: Wishes,
    members: Members,
    /// When they were listed.
    listed: MonoNs,
}

impl fmt::Debug for BpfGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BpfGroup").field("watch", &self.watch).finish_non_exhaustive()
    }
}

impl Bpf {
    /// Begins to watch the members of the cgroup that the programs were loaded for, and all that they make. What comes into it from now on is
    /// told by the programs; they are listed again where the word of that may have been lost.
    pub fn group(self, mut members: Members, kernel: &mut dyn Kernel) -> BpfGroup {
        let wishes = Wishes::begin();
        let mut watch = Watch::new(self.probe, Pid(0), true);
        watch.has_stacks = self.has_stacks;
        let listed = now();
        // What we do to watch ourselves would be watched again, without end.
        for pid in members().into_iter().filter(|pid| *pid != vmatlas_sys::self_pid()) {
            // One that ended meanwhile is not watched, and a thread of the kernel has no map.
            let _ = watch.take_in(pid, kernel);
        }
        watch.vsyscall = vsyscall(kernel);
        BpfGroup { watch, wishes, members, listed }
    }
}

impl BpfGroup {
    /// Watches until the time is over, the sink wants no more, or somebody says so (SIGINT, SIGTERM, SIGHUP): an empty cgroup may
    /// fill again.
    pub fn run(mut self, duration: Option<Duration>, kernel: &mut dyn Kernel, sink: &mut dyn Sink) {
        const TURN: Duration = Duration::from_millis(5);
        let mut wiring = Wiring { kernel, sink, job: None };
        let until =
            duration.map(|d| MonoNs(now().0.saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX))));
        self.watch.begin(&mut wiring);
        while !self.wishes.is_to_end() && !self.watch.muted && until.is_none_or(|until| now() < until) {
            if self.wishes.take_look() {
                let spaces: Vec<MmId> = self.watch.spaces.keys().copied().collect();
                spaces.into_iter().for_each(|mm| self.watch.due(mm, vmatlas_event::SnapshotReason::Request));
            }
            self.wishes.wait(TURN);
            self.watch.turn(&mut wiring);
            self.list_after_loss(&mut wiring);
        }
        self.watch.turn(&mut wiring);
        self.watch.read_last(&mut wiring);
        self.watch.end(&mut wiring);
    }

    /// Takes in who came unheard.
    fn list_after_loss(&mut self, wiring: &mut Wiring<'_>) {
        let at = now();
        if !self.watch.has_unheard || at.0.saturating_sub(self.listed.0) < LIST_EVERY_NS {
            return;
        }
        (self.watch.has_unheard, self.listed) = (false, at);
        let known: FxHashSet<Pid> = self.watch.tasks.values().map(|task| task.id.pid).collect();
        for pid in (self.members)() {
            if !known.contains(&pid) {
                self.watch.came(pid, wiring);
            }
        }
    }
}

impl Watch {
    /// A process came into the cgroup: it is watched from now on.
    pub(super) fn came(&mut self, pid: Pid, wiring: &mut Wiring<'_>) {
        let is_there = pid == vmatlas_sys::self_pid() || self.tasks.values().any(|task| task.id.pid == pid);
        if is_there || self.take_in(pid, wiring.kernel).is_err() {
            return;
        }
        let mut tasks: Vec<Task> = self.tasks.values().filter(|task| task.id.pid == pid).copied().collect();
        tasks.sort_by_key(|task| task.id.tid);
        for task in tasks {
            self.join(task, wiring);
        }
    }
}
