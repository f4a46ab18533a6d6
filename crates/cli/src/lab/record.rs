//! `vmatlas lab NAME -o REC`: the process of an experiment, recorded as `run -o` records a program.

use crate::context::Context;
use crate::recording::{Recorder, Subject};
use anyhow::Result;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vmatlas_event::{Event, Op, Pid};
use vmatlas_lab::{Info, Tap};
use vmatlas_model::Spaces;
use vmatlas_record::End;

/// A recording, filled on the tracer's thread.
pub(super) struct Recording {
    shared: Arc<Mutex<Option<Shared>>>,
}

struct Shared {
    recorder: Recorder,
    spaces: Spaces,
    context: Context,
    root: Option<Pid>,
    status: Option<i32>,
}

fn lock(shared: &Mutex<Option<Shared>>) -> MutexGuard<'_, Option<Shared>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Recording {
    /// Makes the folder.
    pub(super) fn create(path: PathBuf, force: bool, info: &Info, context: &Context) -> Result<Recording> {
        let subject = Subject {
            how: "lab",
            backend: "ptrace",
            program: format!("vmatlas lab {}", info.name),
            args: None,
            distrust: vmatlas_sys::read_implies_exec(),
            interval: None,
            faults: false,
        };
        let recorder = Recorder::create(path, force, subject, context)?;
        let mut spaces = Spaces::new(vmatlas_sys::page_size());
        spaces.distrust(vmatlas_sys::read_implies_exec());
        let shared = Shared { recorder, spaces, context: *context, root: None, status: None };
        Ok(Recording { shared: Arc::new(Mutex::new(Some(shared))) })
    }

    /// What the experiment's tracer gives its events to.
    pub(super) fn tap(&self) -> Tap {
        let shared = self.shared.clone();
        Box::new(move |event| {
            if let Some(shared) = lock(&shared).as_mut() {
                shared.event(event);
            }
        })
    }

    /// Seals it.
    pub(super) fn finish(self, context: &Context) {
        let Some(shared) = lock(&self.shared).take() else { return };
        let tally = shared.spaces.tally();
        let end = End {
            at: vmatlas_sys::now().0,
            status: shared.status,
            calls: tally.calls,
            drift: tally.drift,
            ..End::default()
        };
        let Shared { recorder, spaces, .. } = shared;
        recorder.finish(end, &spaces, context);
    }
}

impl Shared {
    fn event(&mut self, event: &Event) {
        if self.root.is_none() {
            self.recorder.root(event.task.pid);
        }
        let root = *self.root.get_or_insert(event.task.pid);
        if let Op::Exit { status, signal, .. } = &event.op
            && event.task.pid == root
        {
            // As a shell tells it.
            self.status = status.or(signal.map(|signal| 128 + signal));
        }
        let event = self.recorder.number(event).into_owned();
        self.spaces.event(&event);
        self.recorder.event(&event, &self.spaces, &self.context);
    }
}
