//! A program that runs already.
//!
//! No seccomp filter: one that is in place cannot be taken away again, and its calls would fail without us. Every system
//! call stops the program instead, and we may leave at any moment.

use crate::End;
use crate::engine::{Engine, Wiring};
use crate::error::TraceError;
use crate::faults::FaultWatch;
use crate::task::Task;
use std::time::Duration;
use vmatlas_event::{Errno, Kernel, KernelError, MmId, MonoNs, Pid, Sink, TaskId, Tid};
use vmatlas_sys::ptrace::{self, Options};
use vmatlas_sys::signal::Wishes;
use vmatlas_sys::{WaitStatus, now, same_address_space};

const EPERM: Errno = Errno(1);
const ESRCH: Errno = Errno(3);

/// What to attach to, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Attach {
    /// The process.
    pub pid: Pid,
    /// Whether its children are watched too, those it has and those it will have. Children that share its map (vfork,
    /// CLONE_VM) are watched in any case, as long as they do.
    pub follow: bool,
    /// When to leave again; `None` for when it ends or somebody says so.
    pub duration: Option<Duration>,
    /// Whether the model shall be compared with the kernel after every memory call.
    pub check: bool,
    /// Whether the sink is to walk the stack after every memory call.
    pub stacks: bool,
    /// Whether page faults are watched, and how.
    pub faults: Option<FaultWatch>,
}

/// A running program that we have become the tracer of; it stands still until [`Attached::run`].
#[derive(Debug)]
pub struct Attached {
    attach: Attach,
    engine: Engine,
    wishes: Wishes,
}

impl Attached {
    /// Becomes the tracer of all threads, and of all children where they are to be followed.
    ///
    /// # Errors
    /// [`TraceError::Gone`] when there is no such process, [`TraceError::NotPermitted`] when we may not, or another
    /// tracer has it, or [`TraceError::System`].
    pub fn start(attach: Attach, kernel: &mut dyn Kernel) -> Result<Attached, TraceError> {
        // Before the first task is stopped: from then on we must not be ended without letting it go.
        let wishes = Wishes::begin();
        let mut engine = Engine::new(attach.pid, false);
        engine.check = attach.check;
        engine.stacks = attach.stacks;
        engine.follow = attach.follow;
        let mut attached = Attached { attach, engine, wishes };
        attached.seize_process(attach.pid, kernel)?;
        if attach.follow {
            let mut waiting = vec![attach.pid];
            let mut seen = vec![attach.pid];
            while let Some(pid) = waiting.pop() {
                for child in
                    kernel.children(pid).into_iter().filter(|child| !seen.contains(child)).collect::<Vec<_>>()
                {
                    // One that ended meanwhile, or that another tracer has, is not followed.
                    if attached.seize_process(child, kernel).is_ok() {
                        waiting.push(child);
                    }
                    seen.push(child);
                }
            }
        }
        Ok(attached)
    }

    fn seize_process(&mut self, pid: Pid, kernel: &mut dyn Kernel) -> Result<(), TraceError> {
        let options = Options { exit_kill: false, seccomp: false };
        let error = |errno: Errno| match errno {
            EPERM => TraceError::NotPermitted { errno },
            ESRCH => TraceError::Gone { pid },
            errno => TraceError::System { what: "attaching", errno },
        };
        let mut mm: Option<MmId> = None;
        let mut refused = None;
        loop {
            let threads = kernel.threads(pid).map_err(|e| match e {
                KernelError::Gone => TraceError::Gone { pid },
                KernelError::NotPermitted => TraceError::NotPermitted { errno: EPERM },
                KernelError::Unsupported | KernelError::Other(_) => {
                    TraceError::System { what: "listing threads", errno: ESRCH }
                }
            })?;
            // A thread that is followed already has told of the others it made.
            let new: Vec<Tid> =
                threads.into_iter().filter(|tid| !self.engine.tasks.contains_key(tid)).collect();
            let before = self.engine.tasks.len();
            for tid in new {
                match ptrace::seize(tid, options) {
                    Ok(()) => {}
                    // It ended meanwhile, or (the first one) long ago while others go on.
                    Err(ESRCH) => continue,
                    // Another thread of it that we have made it ours; or it is a first thread that has ended while others
                    // go on, which is refused like one that is not ours to trace: then the others tell.
                    Err(EPERM) if mm.is_some() || tid.0 == pid.0 => {
                        refused = Some(EPERM);
                        continue;
                    }
                    Err(errno) => return Err(error(errno)),
                }
                let shares =
                    |task: &&Task| same_address_space(task.id.tid, tid).unwrap_or(task.id.pid == pid);
                let space = mm.or_else(|| self.engine.tasks.values().find(shares).map(|task| task.mm));
                let space = space.unwrap_or_else(|| self.engine.new_mm());
                mm = Some(space);
                let id = TaskId { pid, tid, started: kernel.start_time(tid) };
                self.engine.add(Task::new(id, space, true));
            }
            if self.engine.tasks.len() == before {
                break;
            }
        }
        if mm.is_none() { Err(error(refused.unwrap_or(ESRCH))) } else { Ok(()) }
    }

    /// Watches until the program ends, the time is over, or somebody says so (SIGINT, SIGTERM, SIGHUP); then lets it go:
    /// there is no end then.
    ///
    /// # Errors
    /// [`TraceError::TooOld`] when the kernel cannot tell system calls; the program is let go first.
    pub fn run(mut self, kernel: &mut dyn Kernel, sink: &mut dyn Sink) -> Result<Option<End>, TraceError> {
        let mut wiring = Wiring { kernel, sink, job: None };
        let until = self
            .attach
            .duration
            .map(|d| MonoNs(now().0.saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX))));
        self.engine.begin_attached(&mut wiring);
        let begun = match self.attach.faults {
            Some(watch) => self.engine.watch_running(watch, &mut wiring),
            None => Ok(()),
        };
        let watched = begun.and_then(|()| self.watch(until, &mut wiring));
        match watched {
            Ok(Some(end)) => {
                self.engine.end_faults(&mut wiring);
                Ok(Some(end))
            }
            Ok(None) => self.engine.leave(&mut wiring).map(|()| None),
            Err(error) => {
                let _ = self.engine.leave(&mut wiring);
                Err(error)
            }
        }
    }

    fn watch(&mut self, until: Option<MonoNs>, wiring: &mut Wiring<'_>) -> Result<Option<End>, TraceError> {
        // A first thread that had ended before we came is not ours, and the last thread ends as the process does.
        let (mut end, mut last) = (None, None);
        while self.engine.has_tasks() {
            let Ok(next) = self.engine.next_stop_unless(&self.wishes, until, wiring) else { break };
            match next {
                None => return Ok(None),
                Some((tid, WaitStatus::Stopped { signal, event })) => {
                    self.engine.stopped(tid, signal, event, wiring)?;
                }
                Some((_, WaitStatus::Continued)) => {}
                Some((tid, status)) => {
                    last = End::of(status);
                    if tid.0 == self.attach.pid.0 {
                        end = last;
                    }
                    self.engine.exited(tid, status, wiring);
                }
            }
        }
        Ok(Some(end.or(last).unwrap_or(End::Exited(0))))
    }
}
