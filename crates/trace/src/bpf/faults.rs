//! Page faults among the other records: by time, and in the order of each task's program.
//!
//! A fault has no number of the mmap lock. But whatever its task did before was told to the kernel's rings before it, and a
//! call that returned before another one was entered has the smaller number: so a fault is told before the first record of
//! its own task that is later, and before any other call that was entered later. One that happened inside of another task's
//! call follows that call, for it may be a touch of what the call has just mapped; unless the call took the page away.

use super::begun::Begun;
use super::order::head;
use super::watch::{State, Watch};
use crate::decode::{ARCH_I386, ARCH_X86_64, decode};
use crate::engine::{Wiring, takes_away};
use crate::faults::{MOST_HELD, MOST_WITH_STACKS};
use std::collections::VecDeque;
use vmatlas_event::{
    Addr, AddrRange, FaultCounts, Grown, Kernel, MapFlags, MmId, MonoNs, Op, Outcome, Source, Stopped,
    TaskId, Tid,
};
use vmatlas_sys::bpf::{Call, Execed, FaultEnd, Faulted, Head, Record};
use vmatlas_sys::now;
use vmatlas_sys::perf::{Event, Faults, Options};
use vmatlas_sys::ptrace::Entry;

/// So long a fault waits for a call that may have made its page and has not returned, or for the word of its task.
pub(super) const PATIENCE_NS: u64 = 20_000_000;

/// What is known of page faults.
#[derive(Debug, Default)]
pub(super) struct Touches {
    /// What is told when it begins and has not ended.
    pub(super) begun: Begun,
    /// Taken and not told yet, by time.
    pub(super) pending: VecDeque<(Head, Faulted)>,
    counts: FaultCounts,
    /// Those of the program's own process before its first exec: ours.
    before: u64,
    /// Whether that exec was taken.
    is_begun: bool,
    /// When the last one happened that was told.
    last: MonoNs,
    /// Those that waited too long beside too many others: lost too.
    dropped: u64,
    /// Of the lost ones, those that are told.
    lost: u64,
    /// Count each entry of the fault handler.
    handled: Vec<Event>,
    is_uncounted: bool,
    /// What the kernel has accounted to the tasks, less what came before us.
    accounted: i128,
    is_incomplete: bool,
    grown: Option<Grown>,
    is_grown_unknown: bool,
}

impl Touches {
    /// Counts a task, and all that it will make, from its next exec on or at once.
    pub(super) fn count(&mut self, tid: Tid, on_exec: bool) {
        let options =
            Options { cpu: None, kernel: true, on_exec, sampled: false, execs: false, stacks: None };
        match Event::open(tid, Faults::All, options) {
            Ok(event) => {
                self.is_uncounted |= !on_exec && event.enable().is_err();
                self.handled.push(event);
            }
            Err(_) => self.is_uncounted = true,
        }
    }

    /// Takes what the kernel has accounted to a task, before us (-1) or to its end (1).
    pub(super) fn account(&mut self, faults: Option<u64>, sign: i128) {
        match faults {
            Some(faults) => self.accounted += sign * i128::from(faults),
            None => self.is_incomplete = true,
        }
    }
}

impl Watch {
    /// Takes the faults that are there.
    pub(super) fn collect_faults(&mut self) {
        let Watch { probe, touches: Some(touches), tasks, .. } = self else { return };
        let before = touches.pending.len();
        probe.take_faults(|record| match record {
            Record::Faulted(head, faulted) => touches.pending.extend(touches.begun.begin(head, faulted)),
            Record::Settled(head, accounted) => {
                touches.pending.extend(touches.begun.settle(head.tid, accounted));
            }
            Record::Major(head) => touches.begun.mark_major(head.tid),
            Record::Accounted(head, accounted, is_exec) => {
                touches.pending.extend(touches.begun.settle(head.tid, accounted));
                // What came before the program's exec is not its own; a second one may be taken before the first is told.
                let is_first = !touches.is_begun && tasks.get(&head.tid).is_some_and(|task| !task.known);
                match is_exec {
                    true if is_first => {
                        touches.is_begun = true;
                        touches.account(Some(accounted.all), -1);
                    }
                    true => {}
                    false => touches.account(Some(accounted.all), 1),
                }
            }
            _ => {}
        });
        if touches.pending.len() > before {
            // Times are taken before there is room in the ring.
            touches.pending.make_contiguous().sort_by_key(|(head, _)| head.at);
        }
    }

    /// Tells the faults that came before what a record tells.
    pub(super) fn tell_faults_before(&mut self, record: &Record, wiring: &mut Wiring<'_>) {
        let Some(of) = head(record).copied().filter(|_| self.touches.is_some()) else { return };
        // What others touched before a call was entered cannot be what it mapped, and their own calls until then have
        // smaller numbers. A fork and an exec have theirs long before they are told: there only the task's own go first.
        let (entered, op) = match record {
            Record::Call(_, call) => (call.entered.unwrap_or(MonoNs(0)), of_call(call)),
            _ => (MonoNs(0), None),
        };
        if let Some((op, outcome)) = &op {
            self.ask_for_taken(of, |addr| covers(op, *outcome, addr), wiring);
        }
        if !self.has_faults() {
            return;
        }
        let mut staying = VecDeque::new();
        while let Some((head, faulted)) = self.next_fault(of.at) {
            let is_own = head.tid == of.tid;
            let is_taken = || op.as_ref().is_some_and(|(op, outcome)| covers(op, *outcome, faulted.addr));
            let goes = is_own
                || head.at < entered
                || head.space == of.space && is_taken() && !self.order.has_earlier(head.tid, head.at);
            match goes {
                true => staying.extend(self.tell_fault(head, faulted, head.space, wiring)),
                false => staying.push_back((head, faulted)),
            }
        }
        self.put_back(staying);
    }

    /// The same for an exec. What the task touches in its new address space before that has a number is told afterwards:
    /// it is given back.
    pub(super) fn tell_faults_before_exec(
        &mut self,
        of: Head,
        execed: &Execed,
        wiring: &mut Wiring<'_>,
    ) -> Vec<(Head, Faulted)> {
        let mut later = Vec::new();
        let mut staying = VecDeque::new();
        while let Some((head, faulted)) = self.next_fault(of.at) {
            let is_own = head.tid == of.tid || head.tid == execed.old_tid;
            if is_own && head.space == execed.old_space && faulted.map == execed.map {
                later.push((head, faulted));
            } else if is_own || head.pid == of.pid || head.space == execed.old_space {
                staying.extend(self.tell_fault(head, faulted, head.space, wiring));
            } else {
                staying.push_back((head, faulted));
            }
        }
        self.put_back(staying);
        later
    }

    /// The exec was told: what its task had touched before follows.
    pub(super) fn tell_faults_after_exec(
        &mut self,
        of: Head,
        faults: Vec<(Head, Faulted)>,
        wiring: &mut Wiring<'_>,
    ) {
        let is_first = self.touches.as_ref().is_some_and(|touches| touches.counts.told() == 0);
        if let Some(touches) = self.touches.as_mut().filter(|_| is_first) {
            // Of what was accounted before, these are the program's.
            touches.accounted += faults.len() as i128;
        }
        for (head, faulted) in faults {
            self.tell_fault(Head { tid: of.tid, ..head }, faulted, of.space, wiring);
        }
    }

    /// Tells what happened until `until`, but for what may belong after a record that is still to come.
    pub(super) fn tell_faults_until(&mut self, until: MonoNs, wiring: &mut Wiring<'_>) {
        if self.has_faults() {
            let (by_tid, by_space) = self.order.earliest();
            let mut staying = VecDeque::new();
            while let Some((head, faulted)) = self.next_fault(until) {
                // Whether it is of the program that is being executed, only the word of the exec tells.
                let is_known = self.tasks.get(&head.tid).is_none_or(|task| task.known);
                let is_old = until.0.saturating_sub(head.at.0) > PATIENCE_NS;
                let is_shared = self.spaces.get(&head.space).is_some_and(|space| space.users > 1);
                let waits = !is_known
                    || by_tid.get(&head.tid).is_some_and(|at| *at < head.at)
                    || by_space.get(&head.space).is_some_and(|entered| *entered <= head.at)
                    || is_shared && !is_old;
                match waits {
                    true => staying.push_back((head, faulted)),
                    false => staying.extend(self.tell_fault(head, faulted, head.space, wiring)),
                }
            }
            self.put_back(staying);
        }
        self.tell_lost_faults(wiring);
    }

    fn has_faults(&self) -> bool {
        self.touches.as_ref().is_some_and(|touches| !touches.pending.is_empty())
    }

    /// The next fault that happened until then.
    fn next_fault(&mut self, until: MonoNs) -> Option<(Head, Faulted)> {
        let pending = &mut self.touches.as_mut()?.pending;
        pending.pop_front_if(|(head, _)| head.at <= until)
    }

    fn put_back(&mut self, mut staying: VecDeque<(Head, Faulted)>) {
        let Some(touches) = &mut self.touches else { return };
        let many = staying.len().saturating_sub(MOST_HELD);
        touches.dropped += staying.drain(..many).len() as u64;
        let without = staying.len().saturating_sub(MOST_WITH_STACKS);
        staying.iter_mut().take(without).for_each(|(_, faulted)| faulted.stack = None);
        while let Some(fault) = staying.pop_back() {
            touches.pending.push_front(fault);
        }
    }

    /// Tells a fault of an address space, or gives it back where it has to wait.
    fn tell_fault(
        &mut self,
        head: Head,
        faulted: Faulted,
        mm: MmId,
        wiring: &mut Wiring<'_>,
    ) -> Option<(Head, Faulted)> {
        let touches = self.touches.as_mut()?;
        let task = self.tasks.get(&head.tid).filter(|task| task.mm == mm && task.id.pid == head.pid);
        let is_awaited = self.spaces.get(&mm).is_some_and(|space| space.state == State::Awaited);
        match task {
            Some(task) if !task.known => {
                touches.before += 1;
                return None;
            }
            Some(_) if is_awaited => return Some((head, faulted)),
            // The record that tells of its task may wait for an earlier one.
            None if !self.order.is_empty() || now().0.saturating_sub(head.at.0) < PATIENCE_NS => {
                return Some((head, faulted));
            }
            None => {
                touches.counts.of_others += 1;
                return None;
            }
            Some(_) => {}
        }
        let id = task.map(|task| task.id)?;
        touches.last = head.at;
        let major = faulted.ended == FaultEnd::Major;
        let count = if major { &mut touches.counts.major } else { &mut touches.counts.minor };
        *count += 1;
        let op = Op::Fault { addr: faulted.addr, ip: faulted.ip, major };
        let stack = match faulted.stack {
            Some(stack) => {
                let (registers, stack) = (&stack.registers, stack.from());
                wiring.sink.stack(&Stopped { task: id, mm, registers, stack, at: head.at })
            }
            None => {
                if self.has_stacks {
                    wiring.sink.stack_lost();
                }
                None
            }
        };
        let (from, times) = ((Source::Perf, stack), (head.at, head.at));
        self.send_with(wiring.sink, from, (id, mm), times, (op, Outcome::Done(0)));
        None
    }

    fn tell_lost_faults(&mut self, wiring: &mut Wiring<'_>) {
        let Some(told) = self.probe.faults_told() else { return };
        let Some(touches) = &mut self.touches else { return };
        let lost = told.lost.saturating_add(touches.dropped).saturating_add(touches.begun.unknown);
        let count = lost.saturating_sub(touches.lost);
        if count == 0 {
            return;
        }
        touches.lost = lost;
        let (from, to) = (touches.last, now());
        let of_root = || (TaskId { pid: self.root, tid: Tid(self.root.0), started: None }, MmId(0));
        let (id, mm) = self.last.map_or_else(of_root, |(id, mm, _)| (id, mm));
        let op = Op::Lost { count: Some(count), from, to, state: None };
        self.send_with(wiring.sink, (Source::Perf, None), (id, mm), (to, to), (op, Outcome::Done(0)));
    }

    /// An address space is no more, or watched no more.
    pub(super) fn leave_touched(&mut self, mm: MmId) {
        let Some(touches) = &mut self.touches else { return };
        if self.spaces.get(&mm).is_some_and(|space| space.state == State::Awaited) {
            return;
        }
        match self.probe.resident(mm) {
            Some(grown) => touches.grown = Some(touches.grown.unwrap_or_default().and(&grown)),
            // One without a size leaves the sum without one.
            None => touches.is_grown_unknown = true,
        }
    }

    /// Tells the last faults, and what all of them came to.
    pub(super) fn end_faults(&mut self, wiring: &mut Wiring<'_>) {
        if let Some(touches) = &self.touches {
            for event in &touches.handled {
                // One whose task is gone has ended itself.
                let _ = event.disable();
            }
        }
        self.collect_faults();
        let asked = self.touches.as_mut().map(|touches| touches.begun.due(MonoNs(u64::MAX), |_| true));
        self.ask(&asked.unwrap_or_default(), wiring);
        if let Some(touches) = &mut self.touches {
            touches.begun.give_up(|head| self.tasks.contains_key(&head.tid));
        }
        while let Some((head, faulted)) = self.next_fault(MonoNs(u64::MAX)) {
            if self.tell_fault(head, faulted, head.space, wiring).is_some()
                && let Some(touches) = &mut self.touches
            {
                touches.counts.of_others += 1;
            }
        }
        self.tell_lost_faults(wiring);
        let left: Vec<MmId> = self.spaces.keys().copied().collect();
        left.into_iter().for_each(|mm| self.leave_touched(mm));
        let Some(mut touches) = self.touches.take() else { return };
        for task in self.tasks.values() {
            touches.account(wiring.kernel.faults_of(task.id), 1);
        }
        let told = self.probe.faults_told().unwrap_or_default();
        let mut counts = touches.counts;
        counts.lost = touches.lost;
        counts.produced = told.produced.saturating_sub(touches.before + touches.begun.failed);
        counts.handled = match touches.is_uncounted {
            true => None,
            false => touches.handled.iter().map(|event| event.count().ok()).sum(),
        };
        // What was lost was accounted too; an end that was lost is a task less.
        let is_complete = !touches.is_incomplete && counts.lost == 0 && told.unaccounted == 0;
        counts.accounted = u64::try_from(touches.accounted).ok().filter(|_| is_complete);
        counts.with_kernel = true;
        (counts.ring, counts.ring_asked, counts.rings) = (told.ring, told.ring, 1);
        counts.grown = touches.grown.filter(|_| !touches.is_grown_unknown && told.overwritten == 0);
        wiring.sink.fault_counts(&counts);
    }

    /// Begins to count the faults of a task that is there already.
    pub(super) fn count_running(&mut self, id: TaskId, kernel: &mut dyn Kernel) {
        let Some(touches) = &mut self.touches else { return };
        touches.count(id.tid, false);
        touches.account(kernel.faults_of(id), -1);
    }
}

fn of_call(call: &Call) -> Option<(Op, Outcome)> {
    let arch = if call.is_32 { ARCH_I386 } else { ARCH_X86_64 };
    Some((decode(&Entry { arch, nr: call.nr, args: call.args })?, call.outcome))
}

/// Whether a call has unmapped what was at the page, or put something else there.
fn covers(op: &Op, outcome: Outcome, addr: Addr) -> bool {
    match (op, outcome) {
        (Op::Mmap { flags, len, .. }, Outcome::Done(at)) if flags.0 & MapFlags::FIXED != 0 => {
            AddrRange::from_len(Addr(at), *len).is_some_and(|range| range.contains(addr))
        }
        _ => takes_away(op, outcome, addr),
    }
}
