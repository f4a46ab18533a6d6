//! The recorder of `run -o`, `attach -o` and `watch -o`: it holds the program up neither for an error of its own nor for a slow
//! disk.

use super::explain;
use super::numbers::Numbered;
use crate::complain;
use crate::context::Context;
use crate::progress::{self, Of, Progress};
use crate::texts;
use anyhow::Result;
use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use vmatlas_event::{Event, FrameId, Look, MonoNs, NewStacks, Op, PageRow, Pid, Symbol};
use vmatlas_model::Spaces;
use vmatlas_record::{End, Existing, Marks, Meta, Options, Queue, RecordError, Writer};

/// A keyframe is due after so many events.
const KEYFRAME_EVERY: u64 = 5_000;

/// What recording needs to know of the command.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) how: &'static str,
    /// What tells of its calls: ptrace, bpf or none.
    pub(crate) backend: &'static str,
    pub(crate) program: String,
    pub(crate) args: Option<Vec<String>>,
    pub(crate) distrust: bool,
    /// How long after one look the next one is due, where nothing is traced.
    pub(crate) interval: Option<Duration>,
    /// Whether page faults are watched.
    pub(crate) faults: bool,
}

/// A recording being made.
pub(crate) struct Recorder {
    shared: Arc<Shared>,
    since_keyframe: u64,
    events: u64,
}

/// What the thread that takes marks has in common with who brings events. Marks are locked first; no file is touched while
/// the numbers are locked, so that a stuck disk holds nobody up.
struct Shared {
    marks: Mutex<Option<Marks>>,
    numbered: Mutex<Numbered>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Takes marks.
    fn tick(&self) {
        let mut marks = lock(&self.marks);
        let Some(marks) = marks.as_mut() else { return };
        for waiting in marks.waiting() {
            if !lock(&self.numbered).is_open() {
                return;
            }
            marks.take(waiting, &mut |name| lock(&self.numbered).mark(name, vmatlas_sys::now()));
        }
    }
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
            max_map_count: context.proc_root().max_map_count(),
            program: subject.program,
            args: subject.args,
            how: subject.how.to_owned(),
            started: vmatlas_sys::now().0,
            clock_offset: vmatlas_sys::realtime_offset(),
            backend: subject.backend.to_owned(),
            interval: subject.interval.map(|time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)),
            features: super::features::probe(subject.how, subject.backend, subject.faults),
            distrust: subject.distrust,
            ..Meta::default()
        };
        let existing = if force { Existing::Replace } else { Existing::Refuse };
        let writer = Writer::create(&path, meta, Options { existing, ..Options::default() })
            .map_err(|error| explain(&error, context))?;
        // Without the folder nobody can mark anything, and all else is as it was.
        let marks = Marks::create(&path).ok();
        let queue = Queue::start(writer).map_err(|error| explain(&error, context))?;
        let shared =
            Arc::new(Shared { marks: Mutex::new(marks), numbered: Mutex::new(Numbered::new(queue)) });
        let weak = Arc::downgrade(&shared);
        let work = move || {
            while let Some(shared) = weak.upgrade() {
                shared.tick();
                drop(shared);
                std::thread::sleep(Duration::from_millis(200));
            }
        };
        // Without the thread nobody can mark anything.
        let start = || std::thread::Builder::new().name("marks".to_owned()).spawn(work);
        let _ = vmatlas_sys::signal::shielded(start);
        Ok(Recorder { shared, since_keyframe: 0, events: 0 })
    }

    /// Says which process is the program itself.
    pub(crate) fn root(&self, pid: Pid) {
        if let Some(queue) = &lock(&self.shared.numbered).queue {
            queue.set_pid(pid.0);
        }
    }

    /// The event with the number that it has in the recording, where marks have numbers too. It is to be asked for before
    /// the model takes the event, and [`Recorder::event`] is to follow: no mark comes between.
    pub(crate) fn number<'a>(&self, event: &'a Event) -> Cow<'a, Event> {
        lock(&self.shared.numbered).number(event)
    }

    /// Takes what of stacks is new, before the first event that names it.
    pub(crate) fn stacks(&self, new: NewStacks) {
        if !new.is_empty() {
            lock(&self.shared.numbered).stacks(new);
        }
    }

    /// Takes an event that has its number and that the model has taken.
    pub(crate) fn event(&mut self, event: &Event, spaces: &Spaces, context: &Context) {
        self.events += 1;
        // A fault changes no state: replay does not even look at it.
        let is_fault = matches!(event.op, Op::Fault { .. });
        self.since_keyframe += u64::from(!is_fault);
        let is_due = self.since_keyframe >= KEYFRAME_EVERY && !is_fault;
        let state = || spaces.keyframe(event.seq, event.left);
        let mut numbered = lock(&self.shared.numbered);
        if numbered.event(event, is_due, state) {
            self.since_keyframe = 0;
        }
        let failure = numbered.take_failure();
        drop(numbered);
        if let Some(error) = failure {
            self.tell(&error, context);
        }
    }

    /// Takes a look after its events, and the pages that belong to it; with the models and the time of its last event a
    /// keyframe after it. Whether there was room for it.
    pub(crate) fn look(
        &mut self,
        look: &Look,
        pages: &[PageRow],
        keyframe: Option<(&Spaces, MonoNs)>,
        context: &Context,
    ) -> bool {
        let keyframe = keyframe.and_then(|(spaces, left)| spaces.keyframe(look.seq, left));
        if keyframe.is_some() {
            self.since_keyframe = 0;
        }
        let mut numbered = lock(&self.shared.numbered);
        let is_taken = numbered.look(look, pages, keyframe);
        let failure = numbered.take_failure();
        drop(numbered);
        if let Some(error) = failure {
            self.tell(&error, context);
        }
        is_taken
    }

    /// Takes the functions of frames, at the end: nobody is held by it.
    pub(crate) fn symbols(&self, symbols: Vec<(FrameId, Vec<Symbol>)>) {
        if let Some(queue) = lock(&self.shared.numbered).queue.as_ref().filter(|_| !symbols.is_empty()) {
            queue.symbols(symbols);
        }
    }

    /// Whether anything is still written.
    pub(crate) fn is_open(&self) -> bool {
        lock(&self.shared.numbered).is_open()
    }

    fn tell(&self, error: &RecordError, context: &Context) {
        complain(context, &texts::REC_STOPPED.fill(context.lang, &[("why", &explain(error, context))]));
    }

    /// Takes the last marks, seals it, and says what is missing. It waits for the disk: the program has ended, or was left.
    pub(crate) fn finish(self, end: End, spaces: &Spaces, context: &Context) {
        let marks = lock(&self.shared.marks).take();
        if let Some(marks) = marks {
            marks.close(&mut |name| lock(&self.shared.numbered).mark(name, vmatlas_sys::now()));
        }
        let mut numbered = lock(&self.shared.numbered);
        let lost = numbered.end_loss(|seq, left| spaces.keyframe(seq, left));
        let queue = numbered.queue.take();
        drop(numbered);
        let ended = queue.map_or(Ok(()), |queue| seal(queue, end, context));
        match ended {
            Err(error) => self.tell(&error, context),
            Ok(()) if lost > 0 => {
                complain(context, &texts::REC_LOST.fill(context.lang, &[("n", &lost)]));
            }
            Ok(()) => {}
        }
    }
}

/// Seals it, and says how far that is to a person who waits for it.
fn seal(queue: Queue, end: End, context: &Context) -> Result<(), RecordError> {
    let sealing = queue.sealing();
    let (before, _) = sealing.amounts();
    let mut progress = Progress::new(context, progress::SEALING, Of::Bytes);
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let work = || {
            while !is_done.load(Ordering::Acquire) {
                let (done, total) = sealing.amounts();
                progress.tick(done.saturating_sub(before), total.saturating_sub(before));
                std::thread::park_timeout(Duration::from_millis(100));
            }
            progress.end();
        };
        // Without the thread nothing is said.
        let start = || std::thread::Builder::new().name("progress".to_owned()).spawn_scoped(scope, work);
        let thread = vmatlas_sys::signal::shielded(start);
        let finished = queue.finish(end);
        is_done.store(true, Ordering::Release);
        if let Ok(thread) = thread {
            thread.thread().unpark();
        }
        finished
    })
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // What was to be watched could not be started: a recording of nothing would only be in the way.
        if self.events == 0
            && let Some(queue) = lock(&self.shared.numbered).queue.take()
        {
            queue.discard();
        }
    }
}
