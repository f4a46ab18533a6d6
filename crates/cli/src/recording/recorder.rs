//! The recorder of `run -o` and `attach -o`: it never holds the program up for an error of its own.

use super::explain;
use crate::complain;
use crate::context::Context;
use crate::texts;
use anyhow::Result;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use vmatlas_event::{Event, Pid};
use vmatlas_model::Spaces;
use vmatlas_record::{End, Existing, Meta, Options, Writer};

/// A keyframe is due after so many events.
const KEYFRAME_EVERY: u64 = 5_000;

/// What recording needs to know of the command.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) how: &'static str,
    pub(crate) program: String,
    pub(crate) args: Option<Vec<String>>,
    pub(crate) distrust: bool,
}

/// A recording being made.
pub(crate) struct Recorder {
    writer: Arc<Mutex<Option<Writer>>>,
    since_keyframe: u64,
    events: u64,
}

fn lock(writer: &Mutex<Option<Writer>>) -> MutexGuard<'_, Option<Writer>> {
    writer.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Recorder {
    /// Makes the folder, before anything is started.
    pub(crate) fn create(
        path: PathBuf,
        force: bool,
        subject: Subject,
        context: &Context,
    ) -> Result<Recorder> {
        let (kernel, arch) = vmatlas_sys::hostname_release();
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let meta = Meta {
            vmatlas: env!("CARGO_PKG_VERSION").to_owned(),
            host: host.trim_end().to_owned(),
            kernel,
            arch,
            page_size: vmatlas_sys::page_size().bytes(),
            program: subject.program,
            args: subject.args,
            how: subject.how.to_owned(),
            started: vmatlas_sys::now().0,
            clock_offset: vmatlas_sys::realtime_offset(),
            backend: "ptrace".to_owned(),
            distrust: subject.distrust,
            ..Meta::default()
        };
        let existing = if force { Existing::Replace } else { Existing::Refuse };
        let writer = Writer::create(&path, meta, Options { existing, ..Options::default() })
            .map_err(|error| explain(&error, context))?;
        let writer = Arc::new(Mutex::new(Some(writer)));
        let weak = Arc::downgrade(&writer);
        let work = move || {
            while let Some(writer) = weak.upgrade() {
                if let Some(writer) = lock(&writer).as_mut() {
                    writer.tick(vmatlas_sys::now());
                }
                drop(writer);
                std::thread::sleep(Duration::from_millis(200));
            }
        };
        // Without the thread what waits is flushed with the next event.
        let start = || std::thread::Builder::new().name("flush".to_owned()).spawn(work);
        let _ = vmatlas_sys::signal::shielded(start);
        Ok(Recorder { writer, since_keyframe: 0, events: 0 })
    }

    /// Says which process is the program itself.
    pub(crate) fn root(&self, pid: Pid) {
        if let Some(writer) = lock(&self.writer).as_mut() {
            writer.set_pid(pid.0);
        }
    }

    /// Takes an event that the model has taken.
    pub(crate) fn event(&mut self, event: &Event, spaces: &Spaces, context: &Context) {
        self.events += 1;
        self.since_keyframe += 1;
        let keyframe =
            (self.since_keyframe >= KEYFRAME_EVERY).then(|| spaces.keyframe(event.seq, event.left)).flatten();
        let failure = match lock(&self.writer).as_mut() {
            Some(writer) => {
                writer.event(event);
                if let Some(keyframe) = keyframe {
                    writer.keyframe(&keyframe);
                    self.since_keyframe = 0;
                }
                writer.take_failure()
            }
            None => None,
        };
        if let Some(error) = failure {
            self.tell(&error, context);
        }
    }

    fn tell(&self, error: &vmatlas_record::RecordError, context: &Context) {
        complain(context, &texts::REC_STOPPED.fill(context.lang, &[("why", &explain(error, context))]));
    }

    /// Seals it.
    pub(crate) fn finish(self, end: End, context: &Context) {
        let writer = lock(&self.writer).take();
        if let Some(Err(error)) = writer.map(|writer| writer.finish(end)) {
            self.tell(&error, context);
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // What was to be watched could not be started: a recording of nothing would only be in the way.
        if self.events == 0
            && let Some(writer) = lock(&self.writer).take()
        {
            writer.discard();
        }
    }
}
