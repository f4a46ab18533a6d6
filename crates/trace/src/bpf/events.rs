//! What each record means.

use super::watch::{State, Task, Watch};
use crate::End;
use crate::decode::{ARCH_I386, ARCH_X86_64, decode};
use crate::engine::Wiring;
use vmatlas_event::{
    AddrRange, ForkKind, MmId, MonoNs, Next, Op, Outcome, SnapshotReason, Source, StackId, StartTime,
    Stopped, TaskId, Tid,
};
use vmatlas_sys::bpf::{Call, Ended, Execed, Forked, Head, How, Record};
use vmatlas_sys::ptrace::Entry;
use vmatlas_sys::{now, ticks_per_second};

/// A start time as /proc has it.
fn started(ns: u64) -> Option<StartTime> {
    Some(StartTime(ns / (1_000_000_000 / ticks_per_second())))
}

impl Watch {
    pub(super) fn record(&mut self, record: Record, wiring: &mut Wiring<'_>) {
        let touched = match &record {
            Record::Execed(head, execed) => self.tell_faults_before_exec(*head, execed, wiring),
            record => {
                self.tell_faults_before(record, wiring);
                Vec::new()
            }
        };
        match record {
            Record::Call(head, call) => self.call(head, &call, wiring),
            Record::Forked(head, forked) => self.forked(head, forked, wiring),
            Record::Execed(head, execed) => {
                self.executed(head, &execed, wiring);
                self.tell_faults_after_exec(head, touched, wiring);
            }
            Record::Ended(head, ended) => self.ended(head, ended, wiring),
            Record::Other(head) => self.other(head, wiring),
            Record::Came(head) => self.came(head.pid, wiring),
            // Those of faults come by a ring of their own.
            Record::Named(..)
            | Record::Nothing(_)
            | Record::Faulted(..)
            | Record::Accounted(..)
            | Record::Settled(..)
            | Record::Major(_) => {}
        }
    }

    /// Somebody may have changed the map without a call of ours: what it is now, only reading it tells.
    fn other(&mut self, head: Head, wiring: &mut Wiring<'_>) {
        // It was told when the lock was taken, not when the change was made.
        const DONE_WITHIN_NS: u64 = 2_000_000;
        let Some(space) = self.spaces.get_mut(&head.space) else { return };
        space.told = space.told.max(head.order);
        space.changed = true;
        if space.state == State::Awaited {
            return;
        }
        space.is_vague = true;
        space.not_before = space.not_before.max(MonoNs(head.at.0.saturating_add(DONE_WITHIN_NS)));
        wiring.sink.other_change(head.space);
        self.due(head.space, SnapshotReason::Unclear);
    }

    /// Who it was. One that nobody told of is taken in: the word of it was lost, or came before us.
    fn task_of(&mut self, head: Head, wiring: &mut Wiring<'_>) -> Option<Task> {
        if let Some(task) = self.tasks.get(&head.tid).filter(|task| task.mm == head.space) {
            return Some(*task);
        }
        if !self.follow && !self.spaces.contains_key(&head.space) {
            return None;
        }
        let id = TaskId { pid: head.pid, tid: head.tid, started: wiring.kernel.start_time(head.tid) };
        if let Some(task) = self.tasks.get(&head.tid) {
            self.gone(task.id.tid, (None, None), wiring);
        }
        let task = Task { id, mm: head.space, known: true };
        self.add(task, State::Unknown);
        if self.spaces.get(&head.space).is_some_and(|space| space.state == State::Unknown) {
            self.due(head.space, SnapshotReason::Unclear);
        }
        self.join(task, wiring);
        Some(task)
    }

    /// Tells of a task that was there before.
    pub(super) fn join(&mut self, task: Task, wiring: &mut Wiring<'_>) {
        let at = now();
        self.send(wiring.sink, (task.id, task.mm), (at, at), Op::Joined, Outcome::Done(0));
    }

    fn call(&mut self, head: Head, call: &Call, wiring: &mut Wiring<'_>) {
        let arch = if call.is_32 { ARCH_I386 } else { ARCH_X86_64 };
        let Some(op) = decode(&Entry { arch, nr: call.nr, args: call.args }) else { return };
        let Some(task) = self.task_of(head, wiring).filter(|task| task.known) else { return };
        let Some(space) = self.spaces.get_mut(&task.mm) else { return };
        if call.answer.took_lock {
            space.told = space.told.max(head.order);
            space.changed = true;
        }
        let state = space.state;
        if state == State::Awaited {
            return;
        }
        let is_attach = matches!(op, Op::Shmat { .. });
        let times = (call.entered.unwrap_or(head.at), head.at);
        let stack = self.stack(task, head.at, call, wiring);
        let from = (Source::Bpf, stack);
        let next = self.send_with(wiring.sink, from, (task.id, task.mm), times, (op, call.outcome));
        let Next::Ask(ranges) = next else { return };
        if state == State::Unknown {
            return;
        }
        for asked in ranges {
            // A new segment: how long it is, only its row tells.
            let asked = match call.rows.first() {
                Some(row) if is_attach && asked == AddrRange::ALL => row.range,
                _ => asked,
            };
            if !self.answer_seen(task, call, asked) && !self.answer_late(task, asked, wiring) {
                self.due(task.mm, SnapshotReason::Unclear);
            }
        }
    }

    /// Has the stack of a call walked, before its event: the map that the sink knows then is the one the stack was made in.
    fn stack(&self, task: Task, at: MonoNs, call: &Call, wiring: &mut Wiring<'_>) -> Option<StackId> {
        if !self.has_stacks {
            return None;
        }
        let Some(stack) = &call.stack else {
            wiring.sink.stack_lost();
            return None;
        };
        let (registers, from) = (&stack.registers, stack.from());
        wiring.sink.stack(&Stopped { task: task.id, mm: task.mm, registers, stack: from, at })
    }

    fn forked(&mut self, head: Head, forked: Forked, wiring: &mut Wiring<'_>) {
        let Some(parent) = self.task_of(head, wiring) else { return };
        let id = TaskId { pid: forked.pid, tid: forked.tid, started: started(forked.started) };
        match self.tasks.get(&forked.tid) {
            // It was there already when its process was joined.
            Some(task) if task.id == id && task.mm == forked.space => return,
            // The end of an earlier task with its number was lost.
            Some(_) => self.gone(forked.tid, (None, None), wiring),
            None => {}
        }
        let parent_state = self.spaces.get(&parent.mm).map_or(State::Unknown, |space| space.state);
        self.add(Task { id, mm: forked.space, known: parent.known }, parent_state);
        if !parent.known {
            return;
        }
        let kind = match forked.how {
            How::Process => ForkKind::Process,
            How::SharedProcess => ForkKind::SharedProcess,
            How::Thread => ForkKind::Thread,
        };
        let op = Op::Fork { kind, child: id, child_mm: forked.space };
        let outcome = Outcome::Done(u64::from(forked.tid.0.unsigned_abs()));
        self.send(wiring.sink, (parent.id, parent.mm), (head.at, head.at), op, outcome);
        if forked.how == How::Process {
            // A copy but for what fork leaves out and merges differently.
            self.due(forked.space, SnapshotReason::Fork);
            if let Some(space) = self.spaces.get_mut(&forked.space) {
                space.is_vague = true;
            }
        }
    }

    fn executed(&mut self, head: Head, execed: &Execed, wiring: &mut Wiring<'_>) {
        let former = execed.old_tid;
        if !self.follow && head.pid != self.root {
            // It shared the map of the process that is watched, and has another one now.
            self.probe.forget(head.pid);
            let of_it: Vec<Tid> =
                self.tasks.values().filter(|task| task.id.pid == head.pid).map(|task| task.id.tid).collect();
            for tid in of_it {
                self.gone(tid, (None, None), wiring);
            }
            return;
        }
        // All other threads have ended; the words of their ends came before, but for those that were lost.
        let is_other = |task: &&Task| task.id.pid == head.pid && task.id.tid != former;
        let others: Vec<Tid> = self.tasks.values().filter(is_other).map(|task| task.id.tid).collect();
        for tid in others {
            self.gone(tid, (None, None), wiring);
        }
        if let Some(task) = self.tasks.remove(&former) {
            wiring.kernel.forget(task.id);
            self.leave_space(task.mm);
        }
        let id = TaskId { pid: head.pid, tid: head.tid, started: started(execed.started) };
        wiring.kernel.forget(id);
        let mm = head.space;
        self.add(Task { id, mm, known: true }, State::Known);
        let times = (head.at, head.at);
        self.send(wiring.sink, (id, mm), times, Op::Exec { old_mm: execed.old_space }, Outcome::Done(0));
        match self.names.whole(execed) {
            Some(mut rows) => {
                rows.extend(self.vsyscall.clone());
                let op = Op::Snapshot { reason: SnapshotReason::Exec, rows };
                self.send(wiring.sink, (id, mm), times, op, Outcome::Done(0));
            }
            None => {
                if let Some(space) = self.spaces.get_mut(&mm) {
                    space.state = State::Unknown;
                }
                self.due(mm, SnapshotReason::Exec);
            }
        }
    }

    fn ended(&mut self, head: Head, ended: Ended, wiring: &mut Wiring<'_>) {
        if head.pid == self.root {
            self.root_end = ended.status.map(End::Exited).or(ended.signal.map(End::Signaled));
        }
        if let Some(task) = self.tasks.get(&head.tid)
            && task.id.pid == head.pid
        {
            self.gone_at(head.tid, head.at, (ended.status, ended.signal), wiring);
        }
        if !self.tasks.values().any(|task| task.id.pid == head.pid) {
            self.probe.forget(head.pid);
        }
    }

    /// One task less in an address space; whether it was the last.
    fn leave_space(&mut self, mm: MmId) -> bool {
        let Some(space) = self.spaces.get_mut(&mm) else { return true };
        space.users = space.users.saturating_sub(1);
        if space.users > 0 {
            return false;
        }
        self.leave_touched(mm);
        self.spaces.remove(&mm);
        true
    }

    pub(super) fn gone(&mut self, tid: Tid, how: (Option<i32>, Option<i32>), wiring: &mut Wiring<'_>) {
        self.gone_at(tid, now(), how, wiring);
    }

    fn gone_at(
        &mut self,
        tid: Tid,
        at: MonoNs,
        (status, signal): (Option<i32>, Option<i32>),
        wiring: &mut Wiring<'_>,
    ) {
        let Some(task) = self.tasks.remove(&tid) else { return };
        wiring.kernel.forget(task.id);
        let last = self.leave_space(task.mm);
        if task.known {
            let op = Op::Exit { status, signal, last };
            self.send(wiring.sink, (task.id, task.mm), (at, at), op, Outcome::Done(0));
        }
    }

    /// Records were lost: nothing is known any more, until the maps are read again.
    pub(super) fn lose(&mut self, count: u64, wiring: &mut Wiring<'_>) {
        let at = now();
        let (task, mm, from) = self.last.unwrap_or_else(|| {
            let id = TaskId { pid: self.root, tid: Tid(self.root.0), started: None };
            (id, MmId(0), at)
        });
        let op = Op::Lost { count: Some(count), from, to: at, state: None };
        self.send(wiring.sink, (task, mm), (at, at), op, Outcome::Done(0));
        self.has_lost = true;
        self.has_unheard = true;
        self.know_nothing();
        let mut tasks: Vec<Task> = self.tasks.values().filter(|task| task.known).copied().collect();
        tasks.sort_by_key(|task| task.id.tid);
        for task in tasks {
            self.join(task, wiring);
        }
    }

    /// Looks, once a second after a loss or the program's own end, which tasks have ended: their words may be among the lost.
    pub(super) fn look_for_tasks(&mut self, wiring: &mut Wiring<'_>) {
        const EVERY_NS: u64 = 1_000_000_000;
        let at = now();
        let is_needed = self.has_lost || self.root_end.is_some();
        if !is_needed || at.0.saturating_sub(self.looked.0) < EVERY_NS {
            return;
        }
        self.looked = at;
        let ended: Vec<Tid> = self
            .tasks
            .values()
            .filter(|task| {
                wiring
                    .kernel
                    .start_time(task.id.tid)
                    .is_none_or(|at| task.id.started.is_some_and(|s| s != at))
            })
            .map(|task| task.id.tid)
            .collect();
        // Those whose ends are on their way tell more.
        if !ended.is_empty() && self.collect() && !self.spaces.keys().any(|mm| self.order.has(*mm)) {
            ended.into_iter().for_each(|tid| self.gone(tid, (None, None), wiring));
        }
    }
}
