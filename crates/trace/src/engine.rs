//! The loop: one stop after the other, events out, answers in.

use crate::decode::{ARCH_X86_64, decode, decode_returned};
use crate::error::TraceError;
use crate::filter::memory_calls;
use crate::launch::Launch;
use crate::task::{Call, Task};
use rustc_hash::FxHashMap;
use std::time::Duration;
use vmatlas_event::{
    AddrRange, Errno, Event, ForkKind, Kernel, MmId, MonoNs, Next, Op, Outcome, Pid, Seq, Sink,
    SnapshotReason, Source, TaskId, Tid,
};
use vmatlas_sys::ptrace::{self, Options, Resume, SYSCALL_STOP, SyscallStop, event};
use vmatlas_sys::signal::{Inherited, Job};
use vmatlas_sys::{
    ExecFailure, Program, Spawned, WaitStatus, now, poll_my_children, same_address_space, sleep, spawn,
    wait_my_children,
};

const EPERM: Errno = Errno(1);
const ESRCH: Errno = Errno(3);
const ENOENT: Errno = Errno(2);
const ENOTDIR: Errno = Errno(20);
const EIO: Errno = Errno(5);
const SIGTRAP: i32 = 5;

/// How the program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It exited with this status.
    Exited(i32),
    /// This signal ended it.
    Signaled(i32),
}

impl End {
    /// The status a shell gives it: its own, or 128 + N for a signal.
    pub fn shell_status(self) -> i32 {
        match self {
            End::Exited(status) => status,
            End::Signaled(signal) => 128 + signal,
        }
    }
}

/// A program that was started and waits to be run.
///
/// It belongs to the thread that started it: ptrace(2) ties tracees to the tracing thread.
#[derive(Debug)]
pub struct Tracer {
    name: String,
    root: Pid,
    spawned: Spawned,
    filtered: bool,
    is_job: bool,
    tasks: FxHashMap<Tid, Task>,
    /// Tasks whose first stop came before their creator told of them, and when.
    early: FxHashMap<Tid, MonoNs>,
    users: FxHashMap<MmId, u32>,
    next_mm: u32,
    seq: u64,
    muted: bool,
}

impl Tracer {
    /// Starts the program and stops it before its first instruction.
    ///
    /// # Errors
    /// [`TraceError::NotPermitted`] when it cannot be traced (another tracer has us already), or
    /// [`TraceError::System`].
    pub fn start(launch: &Launch) -> Result<Tracer, TraceError> {
        Tracer::start_with(launch, true)
    }

    fn start_with(launch: &Launch, filtered: bool) -> Result<Tracer, TraceError> {
        if launch.same_cpu {
            vmatlas_sys::sched::stay_on_this_cpu()
                .map_err(|errno| TraceError::System { what: "sharing one processor", errno })?;
        }
        let filter = memory_calls();
        let program = Program {
            path: &launch.path,
            args: &launch.args,
            env: None,
            filter: filtered.then_some(&filter),
            signals: Inherited::now(),
            fds: &launch.fds,
        };
        let spawned =
            spawn(&program).map_err(|errno| TraceError::System { what: "starting a process", errno })?;
        let tid = Tid(spawned.pid.0);
        let options = Options { exit_kill: true, seccomp: filtered };
        if let Err(errno) = ptrace::seize(tid, options) {
            let pid = spawned.pid;
            // It waits for a word that never comes: with our end of the pipe closed it exits.
            drop(spawned);
            let _ = vmatlas_sys::wait_for(pid);
            return Err(match errno {
                EPERM => TraceError::NotPermitted { errno },
                errno => TraceError::System { what: "tracing the program", errno },
            });
        }
        let id = TaskId { pid: spawned.pid, tid, started: None };
        let before_exec = MmId(0);
        let task = Task { id, mm: before_exec, call: None, known: false, unread_copy: false };
        Ok(Tracer {
            name: launch.name.clone(),
            root: spawned.pid,
            spawned,
            filtered,
            is_job: launch.is_job,
            tasks: FxHashMap::from_iter([(tid, task)]),
            early: FxHashMap::default(),
            users: FxHashMap::from_iter([(before_exec, 1)]),
            next_mm: 1,
            seq: 0,
            muted: false,
        })
    }

    /// The program's PID.
    pub fn pid(&self) -> Pid {
        self.root
    }

    /// Runs the program until it and every process it started have ended.
    ///
    /// # Errors
    /// [`TraceError::NotFound`] and [`TraceError::NotExecutable`] when it could not be executed;
    /// [`TraceError::TooOld`] when the kernel cannot tell system calls.
    pub fn run(
        mut self,
        launch: &Launch,
        kernel: &mut dyn Kernel,
        sink: &mut dyn Sink,
    ) -> Result<End, TraceError> {
        let job = self.is_job.then(|| Job::begin(self.root));
        self.spawned.go();
        let mut end = None;
        // Not until there is no child left: the shell that became us may have had children, and they wait for our end.
        while !(self.tasks.is_empty() && self.early.is_empty()) {
            let Ok((tid, status)) = self.next_stop(kernel, sink) else { break };
            match status {
                WaitStatus::Exited(_) | WaitStatus::Signaled(_) => {
                    if tid.0 == self.root.0 {
                        end = Some(match status {
                            WaitStatus::Signaled(signal) => End::Signaled(signal),
                            WaitStatus::Exited(status) => End::Exited(status),
                            _ => End::Exited(0),
                        });
                        if let Some(job) = &job {
                            job.program_ended();
                        }
                    }
                    self.exited(tid, status, kernel, sink);
                }
                WaitStatus::Stopped { signal, event } => {
                    self.stopped(tid, signal, event, kernel, sink, job.as_ref())?;
                }
                WaitStatus::Continued => {}
            }
        }
        drop(job);
        match self.spawned.failure() {
            None => Ok(end.unwrap_or(End::Exited(0))),
            Some(ExecFailure::Exec(ENOENT | ENOTDIR)) => Err(TraceError::NotFound { program: self.name }),
            Some(ExecFailure::Exec(errno)) => Err(TraceError::NotExecutable { program: self.name, errno }),
            Some(ExecFailure::Filter(_)) if self.filtered => {
                // A kernel without seccomp filters: stop at every call instead.
                Tracer::start_with(launch, false)?.run(launch, kernel, sink)
            }
            Some(ExecFailure::Filter(errno) | ExecFailure::Setup(errno)) => {
                Err(TraceError::System { what: "preparing the program", errno })
            }
        }
    }

    fn stopped(
        &mut self,
        tid: Tid,
        signal: i32,
        event: i32,
        kernel: &mut dyn Kernel,
        sink: &mut dyn Sink,
        job: Option<&Job>,
    ) -> Result<(), TraceError> {
        let Some(task) = self.tasks.get_mut(&tid) else {
            // Its creator has not told of it yet (thread storm): it waits.
            self.early.insert(tid, now());
            return Ok(());
        };
        match (event, signal) {
            (event::SECCOMP, _) => {
                // The filter marks memory calls only, and the return tells all about them: nothing to read here.
                task.call = Some(Call { entered: now(), op: None });
                if task.unread_copy {
                    self.read_copy(tid, kernel, sink);
                }
                resume(tid, Resume::ToSyscall, 0);
                Ok(())
            }
            (0, SYSCALL_STOP) if self.filtered => {
                // An error: it was killed at this stop. It stays in the call, which `gone` tells.
                if let Ok(returned) = ptrace::returned(tid) {
                    let arch_of = || arch_of(tid);
                    if let Some((op, outcome)) = decode_returned(&returned, arch_of) {
                        self.left(tid, op, outcome, kernel, sink);
                    } else if let Some(task) = self.tasks.get_mut(&tid) {
                        // A marked call that is none of memory (ipc(2) for a semaphore) has returned all the same.
                        task.call = None;
                    }
                }
                self.go_on(tid, 0);
                Ok(())
            }
            (0, SYSCALL_STOP) => match ptrace::syscall_stop(tid) {
                Ok(SyscallStop::Entry(_)) => self.entered(tid, kernel, sink),
                Ok(SyscallStop::Exit(result)) => {
                    let op = self.tasks.get_mut(&tid).and_then(|task| task.call.as_mut()?.op.take());
                    if let Some(op) = op {
                        let outcome = result.map_or_else(Outcome::Failed, Outcome::Done);
                        self.left(tid, op, outcome, kernel, sink);
                    }
                    self.go_on(tid, 0);
                    Ok(())
                }
                Err(EIO) => Err(TraceError::TooOld),
                // Gone, or nothing to tell.
                Ok(SyscallStop::None) | Err(_) => {
                    self.go_on(tid, 0);
                    Ok(())
                }
            },
            (event::FORK | event::VFORK | event::CLONE, _) => {
                self.forked(tid, event, kernel, sink);
                Ok(())
            }
            (event::EXEC, _) => {
                self.executed(tid, kernel, sink);
                Ok(())
            }
            (event::STOP, SIGTRAP) => {
                self.first_stop(tid, kernel, sink);
                Ok(())
            }
            (event::STOP, _) => {
                // A group-stop: stay in it, but hear of SIGCONT.
                resume(tid, Resume::Listen, 0);
                if let Some(job) = job.filter(|_| task.id.pid == self.root) {
                    // Any thread of it: the first one may have ended long ago.
                    job.stop_too();
                }
                Ok(())
            }
            (0, signal) => {
                self.go_on(tid, signal);
                Ok(())
            }
            _ => {
                self.go_on(tid, 0);
                Ok(())
            }
        }
    }

    fn entered(&mut self, tid: Tid, kernel: &mut dyn Kernel, sink: &mut dyn Sink) -> Result<(), TraceError> {
        let entered = now();
        match ptrace::syscall_stop(tid) {
            Ok(SyscallStop::Entry(entry)) => {
                let op = decode(&entry);
                if let Some(task) = self.tasks.get_mut(&tid) {
                    task.call = op.map(|op| Call { entered, op: Some(op) });
                }
            }
            Err(EIO) => return Err(TraceError::TooOld),
            _ => {}
        }
        self.read_copy(tid, kernel, sink);
        self.go_on(tid, 0);
        Ok(())
    }

    /// A memory call returned.
    fn left(&mut self, tid: Tid, op: Op, outcome: Outcome, kernel: &mut dyn Kernel, sink: &mut dyn Sink) {
        let left = now();
        if let Some(task) = self.tasks.get_mut(&tid)
            && let Some(call) = task.call.take()
            && task.known
        {
            let (id, mm) = (task.id, task.mm);
            let next = self.send(sink, id, mm, (call.entered, left), op, outcome);
            self.answer(next, id, mm, kernel, sink);
        }
    }

    fn forked(&mut self, tid: Tid, event: i32, kernel: &mut dyn Kernel, sink: &mut dyn Sink) {
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
                let started = kernel.start_time(child);
                if started.is_none() {
                    self.go_on(tid, 0);
                    return;
                }
                let pid = kernel.process_of(child).unwrap_or(Pid(child.0));
                // Where kcmp(2) is missing, the kind of event tells: only vfork and threads share.
                let shared = same_address_space(tid, child).unwrap_or(event != event::FORK);
                let mm = if shared { parent_mm } else { self.new_mm() };
                *self.users.entry(mm).or_default() += 1;
                let id = TaskId { pid, tid: child, started };
                self.tasks.insert(child, Task { id, mm, call: None, known, unread_copy: known && !shared });
                (id, mm, shared)
            }
        };
        let kind = match (id.pid == parent_id.pid, shared) {
            (true, _) => ForkKind::Thread,
            (false, true) => ForkKind::SharedProcess,
            (false, false) => ForkKind::Process,
        };
        if known {
            let at = now();
            let op = Op::Fork { kind, child: id, child_mm: mm };
            let next = self.send(sink, parent_id, parent_mm, (at, at), op, Outcome::Done(message));
            self.answer(next, parent_id, parent_mm, kernel, sink);
        }
        if self.early.remove(&child).is_some() {
            self.first_stop(child, kernel, sink);
        }
        self.go_on(tid, 0);
    }

    /// The next thing that happened to a task of ours.
    fn next_stop(
        &mut self,
        kernel: &mut dyn Kernel,
        sink: &mut dyn Sink,
    ) -> Result<(Tid, WaitStatus), Errno> {
        const LOOK_AGAIN: Duration = Duration::from_micros(50);
        while !self.early.is_empty() {
            self.adopt(kernel, sink);
            if let Some(stop) = poll_my_children()? {
                return Ok(stop);
            }
            // Its creator is about to stop: let it run.
            sleep(LOOK_AGAIN);
        }
        wait_my_children()
    }

    /// Takes in tasks whose creator does not tell of them: SIGKILL or another thread's exec ended it before it could.
    ///
    /// A creator that lives tells within microseconds; one that is only late still tells who it was, see `forked`. Who
    /// the creator may have been, /proc does not say for sure: a subreaper adopts, and a thread's process lives on.
    fn adopt(&mut self, kernel: &mut dyn Kernel, sink: &mut dyn Sink) {
        const PATIENCE_NS: u64 = 20_000_000;
        let at = now();
        let waited = |since: MonoNs| at.0.saturating_sub(since.0) > PATIENCE_NS;
        let orphans: Vec<Tid> =
            self.early.iter().filter(|(_, since)| waited(**since)).map(|(t, _)| *t).collect();
        for child in orphans {
            self.early.remove(&child);
            let pid = kernel.process_of(child).unwrap_or(Pid(child.0));
            let shares = |task: &&Task| same_address_space(task.id.tid, child).unwrap_or(false);
            let sharer = self.tasks.values().find(shares).map(|task| (task.mm, task.known));
            let (mm, known) = sharer.unwrap_or_else(|| (self.new_mm(), true));
            *self.users.entry(mm).or_default() += 1;
            let id = TaskId { pid, tid: child, started: kernel.start_time(child) };
            self.tasks.insert(child, Task { id, mm, call: None, known, unread_copy: false });
            if known {
                self.snapshot(id, mm, SnapshotReason::Attach, kernel, sink);
            }
            self.go_on(child, 0);
        }
    }

    /// A new task's first stop, or a task that was continued after a group-stop.
    fn first_stop(&mut self, tid: Tid, kernel: &mut dyn Kernel, sink: &mut dyn Sink) {
        self.read_copy(tid, kernel, sink);
        self.go_on(tid, 0);
    }

    /// A forked map is a copy but for what fork leaves out (MADV_DONTFORK) and merges differently: read it once.
    fn read_copy(&mut self, tid: Tid, kernel: &mut dyn Kernel, sink: &mut dyn Sink) {
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        if std::mem::take(&mut task.unread_copy) {
            let (id, mm) = (task.id, task.mm);
            self.snapshot(id, mm, SnapshotReason::Fork, kernel, sink);
        }
    }

    fn executed(&mut self, tid: Tid, kernel: &mut dyn Kernel, sink: &mut dyn Sink) {
        let at = now();
        let former = ptrace::event_message(tid).map_or(tid, |message| Tid(message as i32));
        let Some(old) = self.tasks.get(&former).or_else(|| self.tasks.get(&tid)) else {
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
            self.gone(other, (None, None), kernel, sink);
        }
        if let Some(task) = self.tasks.remove(&former) {
            kernel.forget(task.id);
        }
        self.leave(old_mm);
        let mm = self.new_mm();
        self.users.insert(mm, 1);
        let id = TaskId { pid, tid, started: kernel.start_time(tid) };
        kernel.forget(id);
        self.tasks.insert(tid, Task { id, mm, call: None, known: true, unread_copy: false });
        let next = self.send(sink, id, mm, (at, at), Op::Exec { old_mm }, Outcome::Done(0));
        self.answer(next, id, mm, kernel, sink);
        self.snapshot(id, mm, SnapshotReason::Exec, kernel, sink);
        self.go_on(tid, 0);
    }

    fn exited(&mut self, tid: Tid, status: WaitStatus, kernel: &mut dyn Kernel, sink: &mut dyn Sink) {
        self.early.remove(&tid);
        let how = match status {
            WaitStatus::Exited(status) => (Some(status), None),
            WaitStatus::Signaled(signal) => (None, Some(signal)),
            _ => (None, None),
        };
        self.gone(tid, how, kernel, sink);
    }

    /// A task is no more: tells what call it was in, and its end.
    fn gone(
        &mut self,
        tid: Tid,
        (status, signal): (Option<i32>, Option<i32>),
        kernel: &mut dyn Kernel,
        sink: &mut dyn Sink,
    ) {
        let Some(task) = self.tasks.remove(&tid) else { return };
        kernel.forget(task.id);
        let last = self.leave(task.mm);
        if !task.known {
            return;
        }
        let at = now();
        if let Some(call) = task.call {
            // It ended inside a memory call; which one, only its return would have told.
            let op = call.op.unwrap_or(Op::Other { arch: 0, nr: 0, args: [0; 6] });
            self.send(sink, task.id, task.mm, (call.entered, at), op, Outcome::NoReturn);
            // What it did of it stays with the processes that share the map. Its own ends with it, or is executing
            // another program: what /proc shows of that is not this map any more.
            let shares = |other: &&Task| other.mm == task.mm && other.id.pid != task.id.pid;
            if let Some(sharer) = self.tasks.values().find(shares).map(|other| other.id) {
                self.snapshot(sharer, task.mm, SnapshotReason::Unclear, kernel, sink);
            }
        }
        self.send(sink, task.id, task.mm, (at, at), Op::Exit { status, signal, last }, Outcome::Done(0));
    }

    fn snapshot(
        &mut self,
        id: TaskId,
        mm: MmId,
        reason: SnapshotReason,
        kernel: &mut dyn Kernel,
        sink: &mut dyn Sink,
    ) {
        // A task that was killed meanwhile has no map; its end is told by itself.
        let Ok(rows) = kernel.all_vmas(id) else { return };
        let at = now();
        self.send(sink, id, mm, (at, at), Op::Snapshot { reason, rows }, Outcome::Done(0));
    }

    /// Asks the kernel what the sink wants to know, while the task is stopped.
    fn answer(&mut self, next: Next, id: TaskId, mm: MmId, kernel: &mut dyn Kernel, sink: &mut dyn Sink) {
        let Next::Ask(ranges) = next else { return };
        for asked in ranges {
            let rows = match asked {
                AddrRange::ALL => kernel.all_vmas(id),
                range => kernel.vmas_in(id, range),
            };
            // Only a killed task does not answer; its end follows, and the sink closes what it had open.
            let Ok(rows) = rows else { return };
            let in_flight = self.in_flight(id, mm);
            let at = now();
            let op = Op::Observed { rows, asked, late: false, in_flight };
            self.send(sink, id, mm, (at, at), op, Outcome::Done(0));
        }
    }

    /// Other tasks of this address space that are inside a memory call now.
    fn in_flight(&self, id: TaskId, mm: MmId) -> Vec<TaskId> {
        if self.users.get(&mm).is_none_or(|n| *n < 2) {
            return Vec::new();
        }
        let inside = |task: &&Task| task.mm == mm && task.call.is_some() && task.id != id;
        self.tasks.values().filter(inside).map(|task| task.id).collect()
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
        if self.muted {
            return Next::Go;
        }
        let seq = Seq(self.seq);
        self.seq += 1;
        let event = Event { seq, entered, left, task, mm, op, outcome, stack: None, source: Source::Ptrace };
        let next = sink.event(&event);
        self.muted = next == Next::Stop;
        next
    }

    fn go_on(&mut self, tid: Tid, signal: i32) {
        let how = self.tasks.get(&tid).map_or(Resume::Continue, |task| task.resume_how(self.filtered));
        resume(tid, how, signal);
    }

    fn new_mm(&mut self) -> MmId {
        let mm = MmId(self.next_mm);
        self.next_mm += 1;
        mm
    }

    /// One task less in an address space; whether it was the last.
    fn leave(&mut self, mm: MmId) -> bool {
        let Some(users) = self.users.get_mut(&mm) else { return true };
        *users -= 1;
        if *users > 0 {
            return false;
        }
        self.users.remove(&mm);
        true
    }
}

/// How a task made the call it has just returned from; a kernel that cannot tell has no 32-bit calls either (UML).
fn arch_of(tid: Tid) -> Option<u32> {
    match ptrace::syscall_arch(tid) {
        Err(EIO) => Some(ARCH_X86_64),
        answer => answer.ok(),
    }
}

/// SIGKILL can take a stopped task away at any moment: then there is nothing to resume, and waiting tells its end.
fn resume(tid: Tid, how: Resume, signal: i32) {
    match ptrace::resume(tid, how, signal) {
        Ok(()) | Err(ESRCH) => {}
        // EIO for an invalid signal, EINVAL for LISTEN outside of a group-stop: go on without.
        Err(_) => {
            let _ = ptrace::resume(tid, Resume::Continue, 0);
        }
    }
}
