//! Page faults among the other events: each after what its task did before it, and before what it did after it.
//!
//! Rings are emptied at each stop before anything is told of it, so the faults of the stopped task come in the order of
//! its program. Those of other tasks come as they are found, with one exception: one that happened while a call of the same
//! address space was under way may be a touch of what the call mapped. It waits for the end of that call, and is told after
//! it; before it, where the call unmapped the page, or its own task does something else meanwhile.

use super::{Engine, Wiring};
use crate::error::TraceError;
use crate::faults::{Fault, FaultWatch, Faults, MOST_HELD, MOST_WITH_STACKS, Told};
use rustc_hash::FxHashSet;
use std::time::Duration;
use vmatlas_event::{Addr, AddrRange, FaultCounts, MmId, MonoNs, Op, Outcome, Source, Stopped, TaskId, Tid};
use vmatlas_sys::now;
use vmatlas_sys::ptrace::{self, event};

/// Rings are emptied after this long even if no task stops, so that lines and recordings are not old.
pub(super) const EMPTIED_EVERY: Duration = Duration::from_millis(100);

/// What the engine knows of page faults.
#[derive(Debug)]
pub(super) struct Touches {
    faults: Faults,
    /// Faults that wait for a call that was under way.
    held: Vec<(MmId, Fault)>,
    /// Tasks that have executed a program and whose stop has not come yet, and what they faulted since.
    executing: FxHashSet<Tid>,
    after_exec: Vec<Fault>,
    /// Faults of tasks that nobody has told of yet: the kernel touches a new task's memory for it before its first stop.
    unborn: Vec<Fault>,
    counts: FaultCounts,
    /// What the kernel has accounted to tasks, those that have ended or were left, less what came before us.
    accounted: i128,
    /// Whether some task could not be asked.
    is_incomplete: bool,
    /// Whose a loss is: that of the first program.
    owner: Option<(TaskId, MmId)>,
}

impl Engine {
    /// Watches the faults of a program that was started and has not been executed.
    pub(crate) fn watch_faults(&mut self, watch: FaultWatch, tid: Tid) -> Result<(), TraceError> {
        let mut faults = Faults::begin(watch)?;
        faults.watch(tid, true)?;
        self.touches = Some(Box::new(Touches::new(faults)));
        Ok(())
    }

    /// The same for a running program, while all its tasks are held.
    pub(crate) fn watch_running(
        &mut self,
        watch: FaultWatch,
        wiring: &mut Wiring<'_>,
    ) -> Result<(), TraceError> {
        let mut touches = Touches::new(Faults::begin(watch)?);
        let mut all: Vec<(Tid, Option<TaskId>)> =
            self.tasks.iter().map(|(tid, task)| (*tid, Some(task.id))).collect();
        // Those that one of them has made just now: they stand before their first instruction, and are taken in later.
        let making = self.queue.iter().filter_map(|(tid, status)| match status {
            vmatlas_sys::WaitStatus::Stopped { event: event::FORK | event::VFORK | event::CLONE, .. } => {
                ptrace::event_message(*tid).ok().map(|message| Tid(message as i32))
            }
            _ => None,
        });
        let new: FxHashSet<Tid> = making.chain(self.early.keys().copied()).collect();
        all.extend(new.into_iter().filter(|tid| !self.tasks.contains_key(tid)).map(|tid| (tid, None)));
        for (tid, id) in all {
            touches.faults.watch(tid, false)?;
            if let Some(id) = id {
                touches.account(wiring.kernel.faults_of(id), -1);
            }
        }
        touches.owner = self.tasks.values().min_by_key(|task| task.id.tid).map(|task| (task.id, task.mm));
        self.touches = Some(Box::new(touches));
        Ok(())
    }

    /// Waits until a task stops, a ring fills, or it is time to look; `false` where no rings are there.
    pub(super) fn wait_with_faults(&mut self, most: Duration, wiring: &mut Wiring<'_>) -> bool {
        if self.touches.is_none() {
            return false;
        }
        self.tell_faults(wiring);
        self.touches.iter().for_each(|touches| touches.faults.wait(most.min(EMPTIED_EVERY)));
        true
    }

    /// Tells all faults that have happened by now, but for those that have to wait for something.
    pub(super) fn tell_faults(&mut self, wiring: &mut Wiring<'_>) {
        let Some(touches) = self.touches.as_mut().filter(|touches| !touches.faults.is_empty()) else {
            return;
        };
        let mut batch = touches.faults.take(now());
        let under_way: Vec<(MmId, Tid, MonoNs)> = self
            .tasks
            .values()
            .filter_map(|task| Some((task.mm, task.id.tid, task.call.as_ref()?.entered)))
            .collect();
        for told in batch.drain(..) {
            match told {
                Told::Fault(fault) => self.take_fault(fault, &under_way, wiring),
                Told::Exec { tid, .. } => {
                    // One that is not watched has no stop either that would end this.
                    if let Some(touches) = self.touches.as_mut().filter(|_| self.tasks.contains_key(&tid)) {
                        touches.executing.insert(tid);
                    }
                }
                Told::Lost { count, from, to } => self.tell_loss(count, from, to, wiring),
            }
        }
        if let Some(touches) = &mut self.touches {
            touches.faults.give_back(batch);
        }
    }

    fn take_fault(&mut self, mut fault: Fault, under_way: &[(MmId, Tid, MonoNs)], wiring: &mut Wiring<'_>) {
        let Some(touches) = &mut self.touches else { return };
        let Some(task) = self.tasks.get(&fault.tid) else {
            touches.keep_unborn(fault);
            return;
        };
        if !task.known || !touches.executing.is_empty() && touches.executing.contains(&fault.tid) {
            touches.after_exec.push(fault);
            return;
        }
        let waits = under_way
            .iter()
            .any(|(mm, tid, entered)| *mm == task.mm && *tid != fault.tid && *entered <= fault.at);
        if waits && touches.held.len() < MOST_HELD {
            if touches.held.len() >= MOST_WITH_STACKS && fault.stack.take().is_some() {
                wiring.sink.stack_lost();
            }
            touches.held.push((task.mm, fault));
            return;
        }
        let (id, mm) = (task.id, task.mm);
        self.tell_fault_of((id, mm), fault, wiring);
    }

    fn tell_fault(&mut self, fault: Fault, wiring: &mut Wiring<'_>) {
        let Some(touches) = &mut self.touches else { return };
        let Some(task) = self.tasks.get(&fault.tid) else {
            touches.counts.of_others += 1;
            return;
        };
        let (id, mm) = (task.id, task.mm);
        self.tell_fault_of((id, mm), fault, wiring);
    }

    fn tell_fault_of(&mut self, (id, mm): (TaskId, MmId), fault: Fault, wiring: &mut Wiring<'_>) {
        let Some(touches) = &mut self.touches else { return };
        let Fault { at, addr, ip, is_major, stack, .. } = fault;
        let count = if is_major { &mut touches.counts.major } else { &mut touches.counts.minor };
        *count += 1;
        let op = Op::Fault { addr, ip, major: is_major };
        let stack = stack.filter(|_| !self.muted).and_then(|stack| {
            let (registers, stack) = (&stack.registers, stack.from());
            wiring.sink.stack(&Stopped { task: id, mm, registers, stack, at })
        });
        let (from, times) = ((Source::Perf, stack), (at, at));
        self.send_from(wiring.sink, from, (id, mm), times, (op, Outcome::Done(0)));
    }

    fn tell_loss(&mut self, count: u64, from: MonoNs, to: MonoNs, wiring: &mut Wiring<'_>) {
        let Some((id, mm)) = self.touches.as_ref().and_then(|touches| touches.owner) else { return };
        let op = Op::Lost { count: Some(count), from, to, state: None };
        let from = (Source::Perf, None);
        self.send_from(wiring.sink, from, (id, mm), (to, to), (op, Outcome::Done(0)));
    }

    /// A call is about to be told: what its own task touched before it goes first, and what others touched before it took
    /// the pages away.
    pub(super) fn tell_faults_before(&mut self, call: &super::later::Call, wiring: &mut Wiring<'_>) {
        let (tid, mm, entered) = (call.id.tid, call.mm, call.times.0);
        self.release(wiring, |of, fault| {
            let is_over = || {
                takes_away(&call.op, call.outcome, fault.addr)
                    || fault.at < entered && maps(&call.op, call.outcome, fault.addr)
            };
            fault.tid == tid || *of == mm && is_over()
        });
    }

    /// A call was told: what waited for it follows, unless another one is under way that it has to wait for.
    pub(super) fn tell_faults_after(&mut self, mm: MmId, wiring: &mut Wiring<'_>) {
        if self.touches.as_ref().is_none_or(|touches| touches.held.is_empty()) {
            return;
        }
        let entered = |task: &crate::task::Task| Some(task.call.as_ref()?.entered).filter(|_| task.mm == mm);
        let first = self.tasks.values().filter_map(entered).min();
        self.release(wiring, |of, fault| *of == mm && first.is_none_or(|first| fault.at < first));
    }

    /// A task is about to be something else, or nothing: what it touched is told as its own.
    pub(super) fn tell_faults_of(&mut self, tid: Tid, wiring: &mut Wiring<'_>) {
        self.release(wiring, |_, fault| fault.tid == tid);
    }

    fn release(&mut self, wiring: &mut Wiring<'_>, goes: impl Fn(&MmId, &Fault) -> bool) {
        let Some(touches) = self.touches.as_mut().filter(|touches| !touches.held.is_empty()) else { return };
        let (going, staying) = std::mem::take(&mut touches.held).into_iter().partition(|(mm, f)| goes(mm, f));
        touches.held = staying;
        let going: Vec<(MmId, Fault)> = going;
        for (_, fault) in going {
            self.tell_fault(fault, wiring);
        }
    }

    /// A new task was told of: what was touched for it before follows.
    pub(super) fn tell_faults_of_new(&mut self, tid: Tid, wiring: &mut Wiring<'_>) {
        let Some(touches) = self.touches.as_mut().filter(|touches| !touches.unborn.is_empty()) else {
            return;
        };
        let (going, staying) =
            std::mem::take(&mut touches.unborn).into_iter().partition(|fault| fault.tid == tid);
        touches.unborn = staying;
        let going: Vec<Fault> = going;
        for fault in going {
            self.tell_fault(fault, wiring);
        }
    }

    /// What a task that stands after its exec has touched in its new address space, where it has the number `tid`.
    pub(super) fn take_faults_after_exec(&mut self, tid: Tid) -> Vec<Fault> {
        let Some(touches) = &mut self.touches else { return Vec::new() };
        touches.executing.remove(&tid);
        let (taken, staying) =
            std::mem::take(&mut touches.after_exec).into_iter().partition(|fault| fault.tid == tid);
        touches.after_exec = staying;
        taken
    }

    /// These are of a task that is not watched any more.
    pub(super) fn leave_faults(&mut self, faults: &[Fault]) {
        if let Some(touches) = &mut self.touches {
            touches.counts.of_others += faults.len() as u64;
        }
    }

    /// The exec of a task was told: what it touched in its new address space follows.
    pub(super) fn tell_faults_after_exec(
        &mut self,
        (id, mm): (TaskId, MmId),
        faults: Vec<Fault>,
        wiring: &mut Wiring<'_>,
    ) {
        for fault in faults {
            self.tell_fault(fault, wiring);
        }
        // Where its number was that of a first thread that had ended long before.
        self.tell_faults_of_new(id.tid, wiring);
        let Some(touches) = self.touches.as_mut().filter(|touches| touches.owner.is_none()) else { return };
        // What our own child did to get there counts for nobody; what was told is of the program already.
        touches.owner = Some((id, mm));
        touches.account(wiring.kernel.faults_of(id), -1);
        touches.accounted += i128::from(touches.counts.told());
    }

    /// A task stands before its end: the kernel's own count of it is final.
    pub(super) fn account_faults(&mut self, tid: Tid, wiring: &mut Wiring<'_>) {
        if let Some(touches) = &mut self.touches
            && let Some(task) = self.tasks.get_mut(&tid).filter(|task| !task.is_accounted)
        {
            task.is_accounted = true;
            touches.account(wiring.kernel.faults_of(task.id), 1);
        }
    }

    /// A task has ended: where it was not asked before, nobody can be asked any more.
    pub(super) fn forget_faults(&mut self, tid: Tid, wiring: &mut Wiring<'_>) {
        self.tell_faults_of(tid, wiring);
        let Some(touches) = &mut self.touches else { return };
        touches.executing.remove(&tid);
        let before = touches.after_exec.len();
        touches.after_exec.retain(|fault| fault.tid != tid);
        touches.counts.of_others += (before - touches.after_exec.len()) as u64;
        touches.is_incomplete |= self.tasks.get(&tid).is_some_and(|task| !task.is_accounted && task.known);
    }

    /// Ends watching faults, tells the last ones, and what all of them came to.
    pub(crate) fn end_faults(&mut self, wiring: &mut Wiring<'_>) {
        let Some(touches) = &self.touches else { return };
        touches.faults.end();
        self.tell_faults(wiring);
        self.release(wiring, |_, _| true);
        for tid in self.tasks.keys().copied().collect::<Vec<_>>() {
            self.account_faults(tid, wiring);
        }
        let Some(touches) = &mut self.touches else { return };
        if let Some((count, from)) = touches.faults.last_loss() {
            self.tell_loss(count, from, now(), wiring);
        }
        let Some(touches) = self.touches.take() else { return };
        let mut counts = touches.counts;
        touches.faults.count(&mut counts);
        counts.of_others += (touches.after_exec.len() + touches.unborn.len()) as u64;
        counts.accounted = u64::try_from(touches.accounted).ok().filter(|_| !touches.is_incomplete);
        wiring.sink.fault_counts(&counts);
    }
}

impl Touches {
    fn new(faults: Faults) -> Touches {
        Touches {
            faults,
            held: Vec::new(),
            executing: FxHashSet::default(),
            after_exec: Vec::new(),
            unborn: Vec::new(),
            counts: FaultCounts::default(),
            accounted: 0,
            is_incomplete: false,
            owner: None,
        }
    }

    /// Keeps a fault of a task that is not known: it is told of before others have faulted thousands of times, or it is
    /// nobody that is watched.
    fn keep_unborn(&mut self, fault: Fault) {
        const MOST: usize = 4096;
        if self.unborn.len() >= MOST {
            self.counts.of_others += self.unborn.drain(..MOST / 2).len() as u64;
        }
        self.unborn.push(fault);
    }

    fn account(&mut self, faults: Option<u64>, sign: i128) {
        match faults {
            Some(faults) => self.accounted += sign * i128::from(faults),
            None => self.is_incomplete = true,
        }
    }
}

/// Whether a call that ended so has unmapped what was at an address.
pub(crate) fn takes_away(op: &Op, outcome: Outcome, addr: Addr) -> bool {
    let in_range =
        |start: Addr, len| AddrRange::from_len(start, len).is_some_and(|range| range.contains(addr));
    match (op, outcome) {
        (Op::Munmap { addr: start, len }, _) => in_range(*start, *len),
        (Op::Mremap { old, old_len, new_len, .. }, Outcome::Done(new)) => {
            in_range(*old, *old_len) && !in_range(Addr(new), *new_len)
        }
        (Op::Shmdt { .. } | Op::IoDestroy { .. }, Outcome::Done(_)) => true,
        _ => false,
    }
}

/// Whether a call that ended so has mapped an address: a touch from before it began was of something else. (Seen: a buffer that
/// was given back meanwhile by a call that was told later.)
fn maps(op: &Op, outcome: Outcome, addr: Addr) -> bool {
    let (&Op::Mmap { len, .. } | &Op::Mremap { new_len: len, .. }, Outcome::Done(at)) = (op, outcome) else {
        return false;
    };
    AddrRange::from_len(Addr(at), len).is_some_and(|range| range.contains(addr))
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmatlas_event::{Bytes, ProtArg};

    /// Checks which calls leave nothing where somebody touched, so that the touch must have come before.
    #[test]
    fn what_calls_take_away() {
        let done = Outcome::Done(0x9000);
        let munmap = Op::Munmap { addr: Addr(0x1000), len: Bytes(0x1000) };
        assert!(takes_away(&munmap, Outcome::Done(0), Addr(0x1fff)));
        assert!(!takes_away(&munmap, Outcome::Done(0), Addr(0x2000)));
        let mremap = Op::Mremap {
            old: Addr(0x1000),
            old_len: Bytes(0x2000),
            new_len: Bytes(0x3000),
            flags: 1,
            new: Addr(0),
        };
        assert!(takes_away(&mremap, done, Addr(0x1000)) && !takes_away(&mremap, done, Addr(0x9000)));
        assert!(!takes_away(&mremap, Outcome::Done(0x1000), Addr(0x1000)));
        let mprotect = Op::Mprotect { addr: Addr(0x1000), len: Bytes(0x1000), prot: ProtArg(0), pkey: None };
        assert!(!takes_away(&mprotect, Outcome::Done(0), Addr(0x1000)));
        assert!(maps(&mremap, done, Addr(0xbfff)) && !maps(&mremap, done, Addr(0x1000)));
        assert!(!maps(&mremap, Outcome::NoReturn, Addr(0x9000)) && !maps(&munmap, done, Addr(0x9000)));
    }
}
