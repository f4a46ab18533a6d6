//! How tasks and address spaces come and go: fork, exec, exit.

use super::{Engine, Shared, Wiring};
use crate::task::Task;
use vmatlas_event::{ForkKind, MmId, MonoNs, Op, Outcome, Pid, SnapshotReason, TaskId, Tid};
use vmatlas_sys::ptrace::{self, event};
use vmatlas_sys::{WaitStatus, now, same_address_space};

impl Engine {
    /// Takes a task in.
    pub(crate) fn add(&mut self, task: Task) {
        self.use_space(task.mm);
        self.tasks.insert(task.id.tid, task);
    }

    fn use_space(&mut self, mm: MmId) {
        self.spaces.entry(mm).or_insert_with(Shared::new).users += 1;
    }

    /// One task less in an address space; whether it was the last.
    fn leave_space(&mut self, mm: MmId) -> bool {
        let Some(shared) = self.spaces.get_mut(&mm) else { return true };
        shared.users -= 1;
        if shared.users > 0 {
            return false;
        }
        self.spaces.remove(&mm);
        true
    }

    pub(super) fn forked(&mut self, tid: Tid, event: i32, wiring: &mut Wiring<'_>) {
        self.tell_faults_of(tid, wiring);
        let (Ok(message), Some(parent)) = (ptrace::event_message(tid), self.tasks.get(&tid)) else {
            self.go_on(tid, 0);
            return;
        };
        let child = Tid(message as i32);
        let (parent_id, parent_mm, known) = (parent.id, parent.mm, parent.known);
        // It may have been taken in already; or it was killed and reaped, and nothing of it was ever seen.
        let (id, mm, shared) = match self.tasks.get(&child) {
            Some(adopted) => (adopted.id, adopted.mm, adopted.mm == parent_mm),
            None => {
                let started = wiring.kernel.start_time(child);
                if started.is_none() {
                    self.go_on(tid, 0);
                    return;
                }
                let pid = wiring.kernel.process_of(child).unwrap_or(Pid(child.0));
                // Where kcmp(2) is missing, the kind of event tells: only vfork and threads share.
                let shared = same_address_space(tid, child).unwrap_or(event != event::FORK);
                if !shared && !self.follow {
                    // Its own map is nobody's business here.
                    match self.early.remove(&child) {
                        Some(_) => drop(ptrace::detach(child, 0)),
                        None => drop(self.strangers.insert(child)),
                    }
                    self.go_on(tid, 0);
                    return;
                }
                let mm = if shared { parent_mm } else { self.new_mm() };
                let id = TaskId { pid, tid: child, started };
                self.add(Task { unread_copy: known && !shared, ..Task::new(id, mm, known) });
                (id, mm, shared)
            }
        };
        if event == event::VFORK
            && let Some(parent) = self.tasks.get_mut(&tid)
        {
            parent.vforked = Some(child);
        }
        let kind = match (id.pid == parent_id.pid, shared) {
            (true, _) => ForkKind::Thread,
            (false, true) => ForkKind::SharedProcess,
            (false, false) => ForkKind::Process,
        };
        if known {
            let at = now();
            let op = Op::Fork { kind, child: id, child_mm: mm };
            let next = self.send(wiring.sink, parent_id, parent_mm, (at, at), op, Outcome::Done(message));
            self.answer(next, parent_id, parent_mm, wiring);
            self.tell_faults_of_new(child, wiring);
        }
        if self.early.remove(&child).is_some() {
            self.first_stop(child, wiring);
        }
        self.go_on(tid, 0);
    }

    /// Takes in tasks whose creator does not tell of them: SIGKILL or another thread's exec ended it before it could.
    ///
    /// A creator that lives tells within microseconds; one that is only late still tells who it was, see `forked`. Who
    /// the creator may have been, /proc does not say for sure: a subreaper adopts, and a thread's process lives on.
    pub(super) fn adopt(&mut self, wiring: &mut Wiring<'_>) {
        const PATIENCE_NS: u64 = 20_000_000;
        if self.early.is_empty() {
            return;
        }
        let at = now();
        let waited = |since: MonoNs| at.0.saturating_sub(since.0) > PATIENCE_NS;
        let orphans: Vec<Tid> =
            self.early.iter().filter(|(_, since)| waited(**since)).map(|(t, _)| *t).collect();
        for child in orphans {
            self.early.remove(&child);
            let pid = wiring.kernel.process_of(child).unwrap_or(Pid(child.0));
            let shares = |task: &&Task| same_address_space(task.id.tid, child).unwrap_or(false);
            let sharer = self.tasks.values().find(shares).map(|task| (task.mm, task.known));
            let (mm, known) = sharer.unwrap_or_else(|| (self.new_mm(), true));
            let id = TaskId { pid, tid: child, started: wiring.kernel.start_time(child) };
            self.add(Task { is_stopped: true, ..Task::new(id, mm, known) });
            if known {
                self.snapshot(id, mm, SnapshotReason::Attach, wiring);
                self.tell_faults_of_new(child, wiring);
            }
            self.go_on(child, 0);
        }
    }

    /// A new task that was stopped before its creator told of it.
    fn first_stop(&mut self, tid: Tid, wiring: &mut Wiring<'_>) {
        if let Some(task) = self.tasks.get_mut(&tid) {
            task.is_stopped = true;
        }
        self.read_copy(tid, wiring);
        self.go_on(tid, 0);
    }

    pub(super) fn executed(&mut self, tid: Tid, wiring: &mut Wiring<'_>) {
        let at = now();
        let former = ptrace::event_message(tid).map_or(tid, |message| Tid(message as i32));
        self.tell_faults_of(former, wiring);
        let touched = self.take_faults_after_exec(tid);
        let Some(old) = self.tasks.get(&former).or_else(|| self.tasks.get(&tid)) else {
            self.leave_faults(&touched);
            self.go_on(tid, 0);
            return;
        };
        let (pid, old_mm) = (old.id.pid, old.mm);
        // An exec ends all other threads; the leader among them (and the calling one, which takes the leader's
        // number) without a word.
        let ended: Vec<Tid> = self
            .tasks
            .iter()
            .filter(|(t, task)| task.id.pid == pid && **t != former)
            .map(|(t, _)| *t)
            .collect();
        for other in ended {
            self.gone(other, (None, None), wiring);
        }
        if !self.follow && pid != self.root {
            // It shared the map of the process we watch, and has another one now.
            self.gone(former, (None, None), wiring);
            self.leave_faults(&touched);
            let _ = ptrace::detach(tid, 0);
            return;
        }
        if let Some(task) = self.tasks.remove(&former) {
            wiring.kernel.forget(task.id);
        }
        self.leave_space(old_mm);
        let mm = self.new_mm();
        let id = TaskId { pid, tid, started: wiring.kernel.start_time(tid) };
        wiring.kernel.forget(id);
        self.add(Task { is_stopped: true, ..Task::new(id, mm, true) });
        let next = self.send(wiring.sink, id, mm, (at, at), Op::Exec { old_mm }, Outcome::Done(0));
        self.answer(next, id, mm, wiring);
        self.snapshot(id, mm, SnapshotReason::Exec, wiring);
        self.tell_faults_after_exec((id, mm), touched, wiring);
        self.go_on(tid, 0);
    }

    /// A task is about to end, its map still there: the last one's is read, to see whether we missed something.
    pub(super) fn exiting(&mut self, tid: Tid, wiring: &mut Wiring<'_>) {
        self.account_faults(tid, wiring);
        if let Some(task) = self.tasks.get_mut(&tid) {
            task.is_exiting = true;
            let (id, mm, known) = (task.id, task.mm, task.known);
            let is_left = |task: &Task| task.mm == mm && !task.is_exiting;
            if known && !self.tasks.values().any(is_left) {
                self.read_last(id, mm, wiring);
            }
        }
        self.go_on(tid, 0);
    }

    /// Reads a map for the last time, of a task that stands still.
    pub(super) fn read_last(&mut self, id: TaskId, mm: MmId, wiring: &mut Wiring<'_>) -> bool {
        let is_unclear = self.spaces.get(&mm).is_none_or(|shared| shared.unclear)
            || self.tasks.values().any(|task| task.mm == mm && task.call.is_some());
        let reason = if is_unclear { SnapshotReason::Unclear } else { SnapshotReason::Last };
        self.snapshot(id, mm, reason, wiring)
    }

    pub(crate) fn exited(&mut self, tid: Tid, status: WaitStatus, wiring: &mut Wiring<'_>) {
        self.tell_faults(wiring);
        self.early.remove(&tid);
        self.strangers.remove(&tid);
        let how = match status {
            WaitStatus::Exited(status) => (Some(status), None),
            WaitStatus::Signaled(signal) => (None, Some(signal)),
            _ => (None, None),
        };
        self.gone(tid, how, wiring);
    }

    /// A task is no more: tells what call it was in, and its end.
    fn gone(&mut self, tid: Tid, (status, signal): (Option<i32>, Option<i32>), wiring: &mut Wiring<'_>) {
        self.forget_faults(tid, wiring);
        let Some(task) = self.tasks.remove(&tid) else { return };
        if let Some(still) = &mut self.leaving {
            still.remove(&tid);
        }
        wiring.kernel.forget(task.id);
        let last = self.leave_space(task.mm);
        if !task.known {
            return;
        }
        let at = now();
        if let Some(call) = task.call {
            // It ended inside a memory call; which one, only its return would have told.
            let op = call.op.unwrap_or(Op::Other { arch: 0, nr: 0, args: [0; 6] });
            self.send(wiring.sink, task.id, task.mm, (call.entered, at), op, Outcome::NoReturn);
            if let Some(shared) = self.spaces.get_mut(&task.mm) {
                shared.unclear = true;
                shared.due = at;
            }
            // What it did of it stays with the processes that share the map. Its own ends with it, or is executing
            // another program: what /proc shows of that is not this map any more.
            let shares = |other: &&Task| other.mm == task.mm && other.id.pid != task.id.pid;
            if let Some(sharer) = self.tasks.values().find(shares).map(|other| other.id) {
                self.snapshot(sharer, task.mm, SnapshotReason::Unclear, wiring);
            }
        }
        self.tell_faults_after(task.mm, wiring);
        let op = Op::Exit { status, signal, last };
        self.send(wiring.sink, task.id, task.mm, (at, at), op, Outcome::Done(0));
    }
}
