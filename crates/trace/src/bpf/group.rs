//! The processes of a cgroup: those that are in it or below it, and those that come.

use super::watch::{State, Task, Watch};
use super::{Bpf, vsyscall};
use crate::engine::Wiring;
use std::time::Duration;
use vmatlas_event::{Kernel, MmId, MonoNs, Pid, Sink};
use vmatlas_sys::now;
use vmatlas_sys::signal::Wishes;

/// A cgroup that is being watched.
#[derive(Debug)]
pub struct BpfGroup {
    watch: Watch,
    wishes: Wishes,
}

impl Bpf {
    /// Begins to watch these processes, which are in the cgroup that the programs were loaded for, and all that they make.
    /// What comes into the cgroup from now on is told by the programs; so list the processes after loading them.
    pub fn group(self, processes: &[Pid], kernel: &mut dyn Kernel) -> BpfGroup {
        let wishes = Wishes::begin();
        let mut watch = Watch::new(self.probe, Pid(0), true);
        watch.has_stacks = self.has_stacks;
        // What we do to watch ourselves would be watched again, without end.
        for pid in processes.iter().filter(|pid| **pid != vmatlas_sys::self_pid()) {
            // One that ended meanwhile is not watched.
            let _ = watch.take_in(*pid, kernel);
        }
        watch.vsyscall = vsyscall(kernel);
        BpfGroup { watch, wishes }
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
        }
        self.watch.turn(&mut wiring);
        self.watch.read_last(&mut wiring);
        self.watch.end(&mut wiring);
    }
}

impl Watch {
    /// A process came into the cgroup: it is watched from now on.
    pub(super) fn came(&mut self, pid: Pid, wiring: &mut Wiring<'_>) {
        let is_there = pid == vmatlas_sys::self_pid() || self.tasks.values().any(|task| task.id.pid == pid);
        if is_there || self.take_in(pid, wiring.kernel).is_err() {
            return;
        }
        let is_new = |task: &&Task| {
            let state = self.spaces.get(&task.mm).map(|space| space.state);
            task.id.pid == pid && state == Some(State::Awaited)
        };
        let mut tasks: Vec<Task> = self.tasks.values().filter(is_new).copied().collect();
        tasks.sort_by_key(|task| task.id.tid);
        for task in tasks {
            self.join(task, wiring);
        }
    }
}
