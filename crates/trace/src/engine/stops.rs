//! What each stop means.

use super::{EIO, Engine, Wiring, later};
use crate::decode::{ARCH_X86_64, decode, decode_returned};
use crate::error::TraceError;
use crate::task::Call;
use vmatlas_event::{
    MonoNs, Op, Outcome, Registers, SnapshotReason, Source, StackFrom, StackId, Stopped, Tid,
};
use vmatlas_sys::now;
use vmatlas_sys::ptrace::{self, Resume, SYSCALL_STOP, SyscallStop, event};

const SIGTRAP: i32 = 5;

impl Engine {
    /// Deals with a stop and lets the task go on.
    ///
    /// # Errors
    /// [`TraceError::TooOld`] when the kernel cannot tell system calls.
    pub(crate) fn stopped(
        &mut self,
        tid: Tid,
        signal: i32,
        event: i32,
        wiring: &mut Wiring<'_>,
    ) -> Result<(), TraceError> {
        if event != event::SECCOMP {
            // Before anything is told of this stop. At the entry of a call nothing is.
            self.tell_faults(wiring);
        }
        let Some(task) = self.tasks.get_mut(&tid) else {
            if self.strangers.remove(&tid) {
                let _ = ptrace::detach(tid, 0);
                return Ok(());
            }
            // Its creator has not told of it yet (thread storm): it waits.
            self.early.insert(tid, now());
            return Ok(());
        };
        task.is_stopped = true;
        task.is_blocked = false;
        match (event, signal) {
            (event::SECCOMP, _) => {
                if task.unread_copy {
                    self.read_copy(tid, wiring);
                }
                self.enter(tid, now());
            }
            (0, SYSCALL_STOP) if self.filtered => {
                // An error: it was killed at this stop. It stays in the call, which its end tells.
                if let Ok(returned) = ptrace::returned(tid) {
                    match decode_returned(&returned, || arch_of(tid)) {
                        Some((op, outcome)) => self.left(tid, op, outcome, Some(returned.registers), wiring),
                        // A marked call that is none of memory has returned all the same.
                        None => task.call = None,
                    }
                }
                self.go_on(tid, 0);
                self.tell_many(wiring.sink);
            }
            (0, SYSCALL_STOP) => return self.syscall_stop(tid, wiring),
            (event::FORK | event::VFORK | event::CLONE, _) => self.forked(tid, event, wiring),
            (event::EXEC, _) => self.executed(tid, wiring),
            (event::EXIT, _) => self.exiting(tid, wiring),
            (event::STOP, SIGTRAP) => {
                // A new task's first stop, one that we interrupted, or one continued after a group-stop.
                self.read_copy(tid, wiring);
                self.go_on(tid, 0);
            }
            (event::STOP, _) => {
                let is_root = task.id.pid == self.root;
                // A group-stop: stay in it, but hear of SIGCONT.
                self.resume(tid, Resume::Listen, 0);
                if let Some(job) = wiring.job.filter(|_| is_root) {
                    // Any thread of it: the first one may have ended long ago.
                    job.stop_too();
                }
            }
            (0, signal) => self.go_on(tid, signal),
            _ => self.go_on(tid, 0),
        }
        Ok(())
    }

    /// A task stands before a marked call: it makes it, or waits for others.
    ///
    /// The filter marks memory calls only, and the return tells all about them: nothing to read here.
    fn enter(&mut self, tid: Tid, at: MonoNs) {
        if self.tasks.get(&tid).map(|task| task.mm).is_some_and(|mm| !self.park(tid, mm)) {
            self.make_call(tid, at);
        }
    }

    /// A task makes the call it stands before.
    pub(super) fn make_call(&mut self, tid: Tid, at: MonoNs) {
        let filtered = self.filtered;
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        // Without a filter the call was read when the task came to it.
        task.call = if filtered { Some(Call { entered: at, op: None }) } else { task.parked.take() };
        self.resume(tid, Resume::ToSyscall, 0);
    }

    /// A stop before or after any system call, where no filter marks those of memory.
    fn syscall_stop(&mut self, tid: Tid, wiring: &mut Wiring<'_>) -> Result<(), TraceError> {
        match ptrace::syscall_stop(tid) {
            Ok(SyscallStop::Entry(entry)) => {
                let at = now();
                self.read_copy(tid, wiring);
                if let Some(op) = decode(&entry)
                    && let Some(task) = self.tasks.get_mut(&tid)
                {
                    task.parked = Some(Call { entered: at, op: Some(op) });
                    self.enter(tid, at);
                    return Ok(());
                }
            }
            Ok(SyscallStop::Exit(result)) => {
                let op = self.tasks.get_mut(&tid).and_then(|task| task.call.as_mut()?.op.take());
                if let Some(op) = op {
                    let outcome = result.map_or_else(Outcome::Failed, Outcome::Done);
                    let registers = if self.stacks { ptrace::registers(tid).ok() } else { None };
                    self.left(tid, op, outcome, registers, wiring);
                }
            }
            Err(EIO) => return Err(TraceError::TooOld),
            // Gone, or nothing to tell.
            Ok(SyscallStop::None) | Err(_) => {}
        }
        self.go_on(tid, 0);
        Ok(())
    }

    /// A memory call returned.
    fn left(
        &mut self,
        tid: Tid,
        op: Op,
        outcome: Outcome,
        registers: Option<Registers>,
        wiring: &mut Wiring<'_>,
    ) {
        let left = now();
        if let Some(task) = self.tasks.get_mut(&tid)
            && let Some(call) = task.call.take()
            && task.known
        {
            let (id, mm) = (task.id, task.mm);
            let returned = later::Call { id, mm, times: (call.entered, left), op, outcome };
            let returned = self.keep(returned, registers.as_ref(), wiring);
            if let Some(shared) = self.spaces.get_mut(&mm) {
                shared.left(tid, left);
            }
            let Some(call) = returned else { return };
            self.tell_faults_before(&call, wiring);
            // Before the event: the map that the sink knows then is the one the stack was made in.
            self.tell_kept(wiring.sink);
            let stack = self.walk(&call, registers.as_ref(), wiring);
            let later::Call { times, op, .. } = call;
            let from = (Source::Ptrace, stack);
            let next = self.send_from(wiring.sink, from, (id, mm), times, (op, outcome));
            self.answer(next, id, mm, wiring);
            self.tell_faults_after(mm, wiring);
            self.compare(id, mm, wiring);
            self.reconcile(id, mm, left, wiring);
            self.unpark();
        }
    }

    /// Has the sink walk the stack of a call that has just returned, where that is wanted.
    pub(super) fn walk(
        &self,
        call: &later::Call,
        registers: Option<&Registers>,
        wiring: &mut Wiring<'_>,
    ) -> Option<StackId> {
        let registers = registers.filter(|_| self.stacks && !self.muted)?;
        let (task, mm, at) = (call.id, call.mm, call.times.1);
        wiring.sink.stack(&Stopped { task, mm, registers, stack: StackFrom::Thread, at })
    }

    /// A forked map is a copy but for what fork leaves out (MADV_DONTFORK) and merges differently: read it once.
    pub(super) fn read_copy(&mut self, tid: Tid, wiring: &mut Wiring<'_>) {
        let Some(task) = self.tasks.get_mut(&tid) else { return };
        if std::mem::take(&mut task.unread_copy) {
            let (id, mm) = (task.id, task.mm);
            self.snapshot(id, mm, SnapshotReason::Fork, wiring);
        }
    }
}

/// How a task made the call it has just returned from; a kernel that cannot tell has no 32-bit calls either (UML).
fn arch_of(tid: Tid) -> Option<u32> {
    match ptrace::syscall_arch(tid) {
        Err(EIO) => Some(ARCH_X86_64),
        answer => answer.ok(),
    }
}
