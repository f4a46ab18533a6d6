//! A program that we start.

use crate::End;
use crate::engine::{Engine, Wiring};
use crate::error::TraceError;
use crate::filter::memory_calls;
use crate::launch::Launch;
use crate::task::Task;
use vmatlas_event::{Errno, Kernel, Pid, Sink, TaskId, Tid};
use vmatlas_sys::ptrace::{self, Options};
use vmatlas_sys::signal::{Inherited, Job, no_signal_of_stops};
use vmatlas_sys::{Program, Spawned, WaitStatus, spawn};

const EPERM: Errno = Errno(1);

/// A program that was started and waits to be run.
///
/// It belongs to the thread that started it: ptrace(2) ties tracees to the tracing thread.
#[derive(Debug)]
pub struct Tracer {
    name: String,
    spawned: Spawned,
    is_job: bool,
    engine: Engine,
}

impl Tracer {
    /// Starts the program and stops it before its first instruction.
    ///
    /// # Errors
    /// [`TraceError::NotPermitted`] when it cannot be traced (another tracer has us already), or
    /// [`TraceError::System`].
    pub fn start(launch: &Launch) -> Result<Tracer, TraceError> {
        // Tried beforehand: after this privileges may be given up, and no second child could become what this one is.
        let filtered = vmatlas_sys::probe::seccomp_can_trace().is_ok();
        if launch.same_cpu {
            vmatlas_sys::sched::stay_on_this_cpu()
                .map_err(|errno| TraceError::System { what: "sharing one processor", errno })?;
        }
        let filter = memory_calls();
        let program = Program {
            path: &launch.path,
            args: &launch.args,
            env: launch.env.as_deref(),
            filter: filtered.then_some(&filter),
            user: launch.user.as_ref(),
            signals: Inherited::now(),
            fds: &launch.fds,
        };
        let spawned =
            spawn(&program).map_err(|errno| TraceError::System { what: "starting a process", errno })?;
        let tid = Tid(spawned.pid.0);
        let mut engine = Engine::new(spawned.pid, filtered);
        engine.check = launch.check;
        engine.stacks = launch.stacks;
        let options = Options { exit_kill: true, seccomp: filtered };
        let begun = match launch.faults {
            Some(watch) => engine.watch_faults(watch, tid),
            None => Ok(()),
        };
        let begun = begun.and_then(|()| {
            ptrace::seize(tid, options).map_err(|errno| match errno {
                EPERM => TraceError::NotPermitted { errno },
                errno => TraceError::System { what: "tracing the program", errno },
            })
        });
        if let Err(error) = begun {
            let pid = spawned.pid;
            // It waits for a word that never comes: with our end of the pipe closed it exits.
            drop(spawned);
            let _ = vmatlas_sys::wait_for(pid);
            return Err(error);
        }
        let before_exec = engine.new_mm();
        let id = TaskId { pid: spawned.pid, tid, started: None };
        engine.add(Task::new(id, before_exec, false));
        Ok(Tracer { name: launch.name.clone(), spawned, is_job: launch.is_job, engine })
    }

    /// The program's PID.
    pub fn pid(&self) -> Pid {
        self.engine.root
    }

    /// Runs the program until it and every process it started have ended.
    ///
    /// # Errors
    /// [`TraceError::NotFound`] and [`TraceError::NotExecutable`] when it could not be executed;
    /// [`TraceError::TooOld`] when the kernel cannot tell system calls.
    pub fn run(mut self, kernel: &mut dyn Kernel, sink: &mut dyn Sink) -> Result<End, TraceError> {
        let root = self.engine.root;
        let job = self.is_job.then(|| Job::begin(root));
        if !self.engine.watches_faults() {
            // Waiting for stops and faults at once needs the signal.
            no_signal_of_stops();
        }
        if sink.is_patient() {
            self.engine.keep_calls();
        }
        self.spawned.go();
        let mut end = None;
        let mut wiring = Wiring { kernel, sink, job: job.as_ref() };
        // Not until there is no child left: the shell that became us may have had children, and they wait for our end.
        while self.engine.has_tasks() {
            let Ok((tid, status)) = self.engine.next_stop(&mut wiring) else { break };
            match status {
                WaitStatus::Exited(_) | WaitStatus::Signaled(_) => {
                    if tid.0 == root.0 {
                        end = End::of(status);
                        if let Some(job) = &job {
                            job.program_ended();
                        }
                    }
                    self.engine.exited(tid, status, &mut wiring);
                }
                WaitStatus::Stopped { signal, event } => {
                    self.engine.stopped(tid, signal, event, &mut wiring)?;
                }
                WaitStatus::Continued => {}
            }
        }
        self.engine.tell_kept(wiring.sink);
        self.engine.end_faults(&mut wiring);
        drop(job);
        match self.spawned.failure() {
            None => Ok(end.unwrap_or(End::Exited(0))),
            Some(failure) => Err(TraceError::of_exec(failure, self.name)),
        }
    }
}
