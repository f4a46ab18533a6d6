//! The tracer's state and its loop: one stop after the other, events out, answers in.
//!
//! `faults` puts page faults between the other events, `stops` says what each stop means, `lifecycle` how tasks and address spaces come and go, `ask` what the kernel is
//! asked, `later` which calls are told many at once, `again` which of them need not be asked about, `hold` how all tasks of an address space are kept still, `leave` how a running program is let go.

mod again;
mod ask;
mod faults;
pub(crate) use faults::takes_away;
mod hold;
mod later;
mod leave;
mod lifecycle;
mod stops;

use crate::task::Task;
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::VecDeque;
use std::time::Duration;
use vmatlas_event::{
    Errno, Event, Kernel, MmId, MonoNs, Next, Op, Outcome, Pid, Seq, Sink, SnapshotReason, Source, StackId,
    TaskId, Tid,
};
use vmatlas_sys::ptrace::{self, Resume};
use vmatlas_sys::signal::{Job, Wishes};
use vmatlas_sys::{WaitStatus, now, poll_my_children, sleep};

pub(crate) const EIO: Errno = Errno(5);
const ESRCH: Errno = Errno(3);

/// Who is asked, and who is told.
pub(crate) struct Wiring<'a> {
    pub(crate) kernel: &'a mut dyn Kernel,
    pub(crate) sink: &'a mut dyn Sink,
    /// The terminal's job, where the program belongs to one.
    pub(crate) job: Option<&'a Job>,
}

/// What all traced tasks are, and what has been seen of them.
#[derive(Debug)]
pub(crate) struct Engine {
    /// Whether a seccomp filter marks memory calls; else every system call stops.
    pub(crate) filtered: bool,
    /// Whether the model shall be compared with the kernel after every memory call.
    pub(crate) check: bool,
    /// Whether the sink is to walk the stack after every memory call.
    pub(crate) stacks: bool,
    /// Whether child processes are followed; those that share the map always are.
    pub(crate) follow: bool,
    /// The process a job stops with.
    pub(crate) root: Pid,
    pub(crate) tasks: FxHashMap<Tid, Task>,
    /// Tasks whose first stop came before their creator told of them, and when.
    early: FxHashMap<Tid, MonoNs>,
    spaces: FxHashMap<MmId, Shared>,
    /// Children that are not followed, until their first stop: then they are let go.
    strangers: FxHashSet<Tid>,
    /// Stops that were seen while tasks were being held, to be dealt with in this order.
    queue: VecDeque<(Tid, WaitStatus)>,
    /// Tasks that wait before a memory call for another one of the same address space to end, and since when.
    parked: VecDeque<(Tid, MonoNs)>,
    /// While leaving: tasks that stand still, and the signal each is owed.
    leaving: Option<FxHashMap<Tid, i32>>,
    /// Where page faults are watched.
    touches: Option<Box<faults::Touches>>,
    /// Where calls may be told a moment after they were made.
    later: Option<Box<later::Later>>,
    next_mm: u32,
    seq: u64,
    muted: bool,
}

/// An address space that traced tasks use.
#[derive(Debug)]
struct Shared {
    users: u32,
    /// When its whole map is to be read again.
    due: MonoNs,
    /// Whether a call of unknown effect was made: its task ended inside it.
    unclear: bool,
    /// Whether the model has wanted to know more of a call than was asked when it returned.
    asks_more: bool,
    /// The task that returned from a call last and when, and when the last other one did.
    left: (Tid, MonoNs, MonoNs),
}

impl Shared {
    /// Used by nobody yet, and never read.
    fn new() -> Shared {
        let left = (Tid(0), MonoNs(0), MonoNs(0));
        Shared { users: 0, due: MonoNs(u64::MAX), unclear: false, asks_more: false, left }
    }

    /// A task returned from a call.
    fn left(&mut self, tid: Tid, at: MonoNs) {
        let (last, since, before) = self.left;
        self.left = (tid, at, if last == tid { before } else { since });
    }

    /// When a task other than this one returned from a call last.
    fn others_left(&self, tid: Tid) -> MonoNs {
        let (last, since, before) = self.left;
        if last == tid { before } else { since }
    }
}

impl Engine {
    pub(crate) fn new(root: Pid, filtered: bool) -> Engine {
        Engine {
            filtered,
            check: false,
            stacks: false,
            follow: true,
            root,
            tasks: FxHashMap::default(),
            early: FxHashMap::default(),
            strangers: FxHashSet::default(),
            spaces: FxHashMap::default(),
            queue: VecDeque::new(),
            parked: VecDeque::new(),
            leaving: None,
            touches: None,
            later: None,
            next_mm: 0,
            seq: 0,
            muted: false,
        }
    }

    /// Whether a task is left to be traced.
    pub(crate) fn has_tasks(&self) -> bool {
        !(self.tasks.is_empty() && self.early.is_empty())
    }

    /// Whether page faults are watched too.
    pub(crate) fn watches_faults(&self) -> bool {
        self.touches.is_some()
    }

    /// The next thing that happened to a task of ours.
    ///
    /// # Errors
    /// ECHILD when there is none left.
    pub(crate) fn next_stop(&mut self, wiring: &mut Wiring<'_>) -> Result<(Tid, WaitStatus), Errno> {
        loop {
            if let Some(stop) = self.poll(wiring)? {
                return Ok(stop);
            }
            if self.is_impatient() {
                // Somebody is about to stop: let it run.
                sleep(LOOK_AGAIN);
                continue;
            }
            if self.touches.is_none() {
                return self.wait_for_stop(wiring);
            }
            if let Some(stop) = poll_my_children()? {
                return Ok(stop);
            }
            self.wait_with_faults(faults::EMPTIED_EVERY, wiring);
        }
    }

    /// The same, unless `wishes` ends it first: then `None`.
    ///
    /// # Errors
    /// ECHILD when there is none left.
    pub(crate) fn next_stop_unless(
        &mut self,
        wishes: &Wishes,
        until: Option<MonoNs>,
        wiring: &mut Wiring<'_>,
    ) -> Result<Option<(Tid, WaitStatus)>, Errno> {
        const LONG: Duration = Duration::from_secs(3600);
        loop {
            let at = now();
            let left = until.map_or(LONG, |until| Duration::from_nanos(until.0.saturating_sub(at.0)));
            if left.is_zero() || wishes.is_to_end() {
                return Ok(None);
            }
            if wishes.take_look() {
                self.read_all(SnapshotReason::Request, wiring);
            }
            let stop = match self.queue.pop_front() {
                Some(stop) => Some(stop),
                None => poll_my_children()?,
            };
            self.adopt(wiring);
            self.unpark();
            if stop.is_some() {
                return Ok(stop);
            }
            let most = if self.is_impatient() { LOOK_AGAIN } else { left };
            if !self.wait_with_faults(most, wiring) {
                wishes.wait(most);
            }
        }
    }

    fn poll(&mut self, wiring: &mut Wiring<'_>) -> Result<Option<(Tid, WaitStatus)>, Errno> {
        if let Some(stop) = self.queue.pop_front() {
            return Ok(Some(stop));
        }
        if !self.is_impatient() {
            return Ok(None);
        }
        self.adopt(wiring);
        self.unpark();
        poll_my_children()
    }

    /// Whether something is to be done after a while even if no task stops.
    fn is_impatient(&self) -> bool {
        !(self.early.is_empty() && self.parked.is_empty())
    }

    fn send(
        &mut self,
        sink: &mut dyn Sink,
        task: TaskId,
        mm: MmId,
        (entered, left): (MonoNs, MonoNs),
        op: Op,
        outcome: Outcome,
    ) -> Next {
        self.send_from(sink, (Source::Ptrace, None), (task, mm), (entered, left), (op, outcome))
    }

    fn send_from(
        &mut self,
        sink: &mut dyn Sink,
        (source, stack): (Source, Option<StackId>),
        (task, mm): (TaskId, MmId),
        (entered, left): (MonoNs, MonoNs),
        (op, outcome): (Op, Outcome),
    ) -> Next {
        self.tell_kept(sink);
        if self.muted {
            return Next::Go;
        }
        let seq = Seq(self.seq);
        self.seq += 1;
        let event = Event { seq, entered, left, task, mm, op, outcome, stack, source };
        let next = sink.event(&event);
        self.muted = next == Next::Stop;
        next
    }

    /// A task goes on to its next event.
    fn go_on(&mut self, tid: Tid, signal: i32) {
        let how = self.tasks.get(&tid).map_or(Resume::Continue, |task| task.resume_how(self.filtered));
        self.resume(tid, how, signal);
    }

    fn resume(&mut self, tid: Tid, how: Resume, signal: i32) {
        if let Some(still) = &mut self.leaving {
            still.insert(tid, signal);
            return;
        }
        if let Some(task) = self.tasks.get_mut(&tid) {
            task.is_stopped = false;
        }
        match ptrace::resume(tid, how, signal) {
            // SIGKILL can take a stopped task away at any moment: then waiting tells its end.
            Ok(()) | Err(ESRCH) => {}
            // EIO for an invalid signal, EINVAL for LISTEN outside of a group-stop: go on without.
            Err(_) => {
                let _ = ptrace::resume(tid, Resume::Continue, 0);
            }
        }
    }

    pub(crate) fn new_mm(&mut self) -> MmId {
        let mm = MmId(self.next_mm);
        self.next_mm += 1;
        mm
    }
}

/// How long to wait for what happens within microseconds.
const LOOK_AGAIN: Duration = Duration::from_micros(50);
