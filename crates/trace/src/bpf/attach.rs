//! A program that runs already.

use super::watch::{State, Task, Watch};
use super::{Bpf, FIRST_SPACE, vsyscall};
use crate::engine::Wiring;
use crate::error::TraceError;
use crate::{Attach, End};
use std::time::Duration;
use vmatlas_event::{Errno, Kernel, KernelError, MmId, MonoNs, Pid, Sink, SnapshotReason, TaskId, Tid};
use vmatlas_sys::now;
use vmatlas_sys::signal::Wishes;

const EPERM: Errno = Errno(1);
const ESRCH: Errno = Errno(3);

/// A running program that is being watched.
#[derive(Debug)]
pub struct BpfAttached {
    attach: Attach,
    watch: Watch,
    wishes: Wishes,
}

impl Bpf {
    /// Begins to watch a process, and its children where they are to be followed.
    ///
    /// # Errors
    /// [`TraceError::Gone`] when there is no such process, [`TraceError::NotPermitted`] when we may not read its map,
    /// [`TraceError::Bpf`] or [`TraceError::System`].
    pub fn attach(self, attach: Attach, kernel: &mut dyn Kernel) -> Result<BpfAttached, TraceError> {
        let wishes = Wishes::begin();
        let mut watch = Watch::new(self.probe, attach.pid, attach.follow);
        watch.has_stacks = self.has_stacks;
        let mut attached = BpfAttached { attach, watch, wishes };
        attached.watch.take_in(attach.pid, kernel)?;
        let mut waiting = vec![attach.pid];
        let mut seen = vec![attach.pid];
        while let Some(pid) = waiting.pop().filter(|_| attach.follow) {
            for child in kernel.children(pid) {
                // One that ended meanwhile is not followed.
                if !seen.contains(&child) {
                    seen.push(child);
                    if attached.watch.take_in(child, kernel).is_ok() {
                        waiting.push(child);
                    }
                }
            }
        }
        attached.watch.vsyscall = vsyscall(kernel);
        Ok(attached)
    }
}

impl BpfAttached {
    /// Watches until the program ends, the time is over, or somebody says so (SIGINT, SIGTERM, SIGHUP): there is no end then.
    ///
    /// # Errors
    /// None so far.
    pub fn run(mut self, kernel: &mut dyn Kernel, sink: &mut dyn Sink) -> Result<Option<End>, TraceError> {
        const TURN: Duration = Duration::from_millis(5);
        let mut wiring = Wiring { kernel, sink, job: None };
        let until = self
            .attach
            .duration
            .map(|d| MonoNs(now().0.saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX))));
        self.watch.begin(&mut wiring);
        while self.watch.has_tasks() {
            if self.wishes.is_to_end() || until.is_some_and(|until| now() >= until) {
                self.watch.turn(&mut wiring);
                self.watch.read_last(&mut wiring);
                self.watch.end(&mut wiring);
                return Ok(None);
            }
            if self.wishes.take_look() {
                let spaces: Vec<MmId> = self.watch.spaces.keys().copied().collect();
                spaces.into_iter().for_each(|mm| self.watch.due(mm, SnapshotReason::Request));
            }
            self.wishes.wait(TURN);
            self.watch.turn(&mut wiring);
        }
        self.watch.end(&mut wiring);
        Ok(Some(self.watch.root_end.unwrap_or(End::Exited(0))))
    }
}

impl Watch {
    /// Watches all threads of a process.
    ///
    /// Threads that have begun to end are left out: they may have told their ends before, and would stay for ever. A process that has
    /// no others is gone, and a kernel thread never was one.
    pub(super) fn take_in(&mut self, pid: Pid, kernel: &mut dyn Kernel) -> Result<(), TraceError> {
        let first = kernel.threads(pid).map_err(|error| match error {
            KernelError::Gone => TraceError::Gone { pid },
            KernelError::NotPermitted => TraceError::NotPermitted { errno: EPERM },
            KernelError::Unsupported | KernelError::Other(_) => {
                TraceError::System { what: "listing threads", errno: ESRCH }
            }
        })?;
        // Its threads have one address space; one that has ended has none, as others that have.
        let one = first.into_iter().find(|tid| kernel.runs_program(*tid)).ok_or(TraceError::Gone { pid })?;
        let is_shared = |task: &&Task| vmatlas_sys::same_address_space(task.id.tid, one).unwrap_or(false);
        let known = self.tasks.values().find(is_shared);
        let mm = match known.map(|task| task.mm) {
            Some(mm) => mm,
            None => {
                let mm = self.next_space;
                // More than a million have no numbers left.
                if mm >= FIRST_SPACE {
                    return Err(TraceError::System { what: "numbering processes", errno: Errno(7) });
                }
                self.next_space = MmId(mm.0 + 1);
                mm
            }
        };
        if let Err(error) = self.probe.watch(pid, mm, self.follow) {
            // It may be met more than once.
            self.untracked.insert(pid);
            return Err(TraceError::Bpf(error));
        }
        // Those that come from now on are told, and the ends of those that have not begun to end.
        let all = kernel.threads(pid).unwrap_or_default();
        let (tids, ending): (Vec<Tid>, Vec<Tid>) = all.into_iter().partition(|tid| kernel.runs_program(*tid));
        if tids.is_empty() {
            // Nobody who gets its number is to be taken for it.
            self.probe.forget(pid);
            return Err(TraceError::Gone { pid });
        }
        if let Some(touches) = self.touches.as_mut().filter(|_| !ending.is_empty()) {
            // Whether what the kernel has accounted to them is told, nobody knows.
            touches.account(None, 1);
        }
        for tid in tids {
            let id = TaskId { pid, tid, started: kernel.start_time(tid) };
            self.add(Task { id, mm, known: true }, State::Awaited);
            self.count_running(id, kernel);
        }
        if self.spaces.get(&mm).is_some_and(|space| space.state == State::Awaited) {
            self.due(mm, SnapshotReason::Attach);
        }
        Ok(())
    }

    /// Tells who is there, and what the maps are.
    pub(super) fn begin(&mut self, wiring: &mut Wiring<'_>) {
        // What was told before the threads were listed is in the list.
        let mut tasks: Vec<Task> = self.tasks.values().copied().collect();
        tasks.sort_by_key(|task| (task.mm, task.id.tid));
        for task in tasks {
            self.join(task, wiring);
        }
    }
}
