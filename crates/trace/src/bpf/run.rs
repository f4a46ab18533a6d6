//! A program that we start.

use super::check::Moments;
use super::watch::{State, Task, Watch};
use super::{Bpf, vsyscall};
use crate::End;
use crate::engine::Wiring;
use crate::error::TraceError;
use crate::launch::Launch;
use vmatlas_event::{Grown, Kernel, MmId, Pid, Sink, TaskId, Tid};
use vmatlas_sys::privilege::Caps;
use vmatlas_sys::signal::{Inherited, Job};
use vmatlas_sys::{Program, Spawned, WaitStatus, poll_my_child, spawn, wait_for};

/// Records with a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Made by the programs.
    pub produced: u64,
    /// Taken by us.
    pub taken: u64,
}

/// A program that was started and waits to be run.
#[derive(Debug)]
pub struct BpfLaunched {
    name: String,
    is_job: bool,
    spawned: Spawned,
    watch: Watch,
}

impl Bpf {
    /// Starts a program, which waits before its first instruction.
    ///
    /// # Errors
    /// [`TraceError::System`] when no process can be made, [`TraceError::Bpf`].
    pub fn start(mut self, launch: &Launch) -> Result<BpfLaunched, TraceError> {
        let program = Program {
            path: &launch.path,
            args: &launch.args,
            env: launch.env.as_deref(),
            filter: None,
            user: launch.user.as_ref(),
            signals: Inherited::now(),
            fds: &launch.fds,
        };
        let spawned =
            spawn(&program).map_err(|errno| TraceError::System { what: "starting a process", errno })?;
        let pid = spawned.pid;
        let before_exec = MmId(0);
        if let Err(error) = self.probe.watch(pid, before_exec, true) {
            // It waits for a word that never comes: with our end of the pipe closed it exits.
            drop(spawned);
            let _ = wait_for(pid);
            return Err(TraceError::Bpf(error));
        }
        let mut watch = Watch::new(self.probe, pid, true);
        watch.has_stacks = self.has_stacks;
        watch.moments = launch.check.then(Moments::new);
        let id = TaskId { pid, tid: Tid(pid.0), started: None };
        if let Some(touches) = &mut watch.touches {
            touches.count(id.tid, true);
        }
        watch.add(Task { id, mm: before_exec, known: false }, State::Awaited);
        Ok(BpfLaunched { name: launch.name.clone(), is_job: launch.is_job, spawned, watch })
    }
}

impl BpfLaunched {
    /// The program's PID.
    pub fn pid(&self) -> Pid {
        self.watch.root
    }

    /// Which capabilities are needed from now on.
    pub fn needs(&self) -> Caps {
        self.watch.probe.needs()
    }

    /// Tells all that has happened until now, and reads no map for it: where the program stands still, the model is what the
    /// records have made it.
    pub fn tell(&mut self, kernel: &mut dyn Kernel, sink: &mut dyn Sink) {
        self.watch.tell(&mut Wiring { kernel, sink, job: None });
    }

    /// Reads the maps that are due.
    pub fn read_due(&mut self, kernel: &mut dyn Kernel, sink: &mut dyn Sink) {
        self.watch.read_due(&mut Wiring { kernel, sink, job: None });
    }

    /// Whether all that is known of an address space is certain but for boundaries: no call waits to be cleared up by a reading.
    pub fn is_certain(&self, mm: MmId) -> bool {
        use vmatlas_event::SnapshotReason::Reconcile;
        let space = self.watch.spaces.get(&mm);
        space.is_some_and(|space| space.state == State::Known && space.due.is_none_or(|due| due == Reconcile))
    }

    /// What the resident size of an address space has come to, where page faults are watched and it can be told.
    pub fn grown(&self, mm: MmId) -> Option<Grown> {
        self.watch.probe.resident(mm)
    }

    /// Why resident sizes cannot be told where faults can.
    pub fn grown_why(&self) -> Option<&str> {
        self.watch.probe.resident_why()
    }

    /// How many records were made, and how many of them were taken.
    pub fn counts(&self) -> Counts {
        Counts { produced: self.watch.probe.produced(), taken: self.watch.taken }
    }

    /// Lets the program run, which waits before its first instruction.
    pub fn go(&mut self, kernel: &mut dyn Kernel) {
        self.watch.vsyscall = vsyscall(kernel);
        self.spawned.go();
    }

    /// Runs the program until it and every process it started have ended.
    ///
    /// # Errors
    /// [`TraceError::NotFound`] and [`TraceError::NotExecutable`] when it could not be executed.
    pub fn run(&mut self, kernel: &mut dyn Kernel, sink: &mut dyn Sink) -> Result<End, TraceError> {
        let root = self.watch.root;
        let job = self.is_job.then(|| Job::begin(root));
        self.go(kernel);
        let mut end = None;
        let mut wiring = Wiring { kernel, sink, job: job.as_ref() };
        loop {
            self.watch.turn(&mut wiring);
            let has_tasks = self.watch.has_tasks();
            let status = match (end, has_tasks) {
                (Some(_), false) => break,
                (Some(_), true) => None,
                // Its last thread has told its end: it is on its way.
                // Somebody else may have waited for it.
                (None, false) => Some(wait_for(root).unwrap_or(WaitStatus::Exited(0))),
                (None, true) => poll_my_child(root).unwrap_or(Some(WaitStatus::Exited(0))),
            };
            match (status, &job) {
                // We have stopped it.
                (Some(WaitStatus::Stopped { .. }), _) if self.watch.moments.is_some() => {}
                (Some(WaitStatus::Stopped { .. }), Some(job)) => job.stop_too(),
                (Some(status), job) => {
                    end = end.or(End::of(status));
                    if let (Some(_), Some(job)) = (end, job) {
                        job.program_ended();
                    }
                }
                _ => {}
            }
            if end.is_some() && !self.watch.has_tasks() {
                break;
            }
            self.watch.wait();
        }
        self.watch.end(&mut wiring);
        drop(job);
        match self.spawned.failure() {
            None => Ok(end.unwrap_or(End::Exited(0))),
            Some(failure) => Err(TraceError::of_exec(failure, self.name.clone())),
        }
    }
}
