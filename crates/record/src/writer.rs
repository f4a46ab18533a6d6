//! The writer: events in, a recording on disk out.

use crate::error::RecordError;
use crate::files::{self, Last};
use crate::meta::{FORMAT, Meta, Outcome, VERSION};
use crate::open::{MANY, Open};
use crate::seal::{self, Sealing};
use crate::store;
use crate::tail::TailWriter;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use vmatlas_event::{Event, FrameId, Keyframe, Look, MonoNs, NewStacks, Op, PageRow, Source, Symbol};

/// What to do where something is already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It is an error.
    Refuse,
    /// A recording is replaced; anything else is an error.
    Replace,
}

/// Sizes and times of a writer.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// What to do where something is already.
    pub existing: Existing,
    /// How large the tail grows before it is sealed, in bytes.
    pub rotate_at: u64,
    /// How long an event may wait before it is flushed, in nanoseconds.
    pub flush_after: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options { existing: Existing::Refuse, rotate_at: 64 << 20, flush_after: 500_000_000 }
    }
}

/// Writes a recording; it turns itself off at its first error, and what was written stays valid.
pub struct Writer {
    folder: PathBuf,
    meta: Meta,
    options: Options,
    open: Option<Open>,
    failure: Option<RecordError>,
    events: u64,
    lost: u64,
    keyframes: u64,
    sealer: Option<Sealer>,
    sealing: Arc<Sealing>,
    /// Held to say that a writer is at work.
    lock: Option<File>,
}

/// The thread that makes segments of tails, so that the program does not wait for it.
struct Sealer {
    numbers: Sender<u32>,
    thread: JoinHandle<Result<(), RecordError>>,
}

impl Sealer {
    fn start(folder: &Path, sealing: Arc<Sealing>) -> io::Result<Sealer> {
        let (numbers, wanted) = channel();
        let folder = folder.to_owned();
        let work = move || wanted.iter().try_for_each(|number| seal::seal(&folder, number, &sealing));
        let start = || std::thread::Builder::new().name("seal".to_owned()).spawn(work);
        Ok(Sealer { numbers, thread: vmatlas_sys::signal::shielded(start)? })
    }
}

impl Writer {
    /// Makes the folder and the first files.
    ///
    /// # Errors
    /// [`RecordError::Exists`] where something is there (a symbolic link too), [`RecordError::NotOurs`] where that shall be
    /// replaced and is no recording, [`RecordError::Io`] otherwise.
    pub fn create(folder: &Path, meta: Meta, options: Options) -> Result<Writer, RecordError> {
        if options.existing == Existing::Replace {
            files::remove_recording(folder)?;
        }
        files::create_folder(folder)?;
        let lock = store::lock(folder);
        let meta = Meta { format: FORMAT.to_owned(), version: VERSION, end: None, ..meta };
        let sealing = Arc::new(Sealing::default());
        let made = files::write_json(&folder.join("meta.json"), &meta, Last::Kill)
            .and_then(|()| Open::new(folder, MonoNs(meta.started)))
            .and_then(|open| {
                Ok((
                    open,
                    Sealer::start(folder, Arc::clone(&sealing)).map_err(|e| RecordError::io(folder, e))?,
                ))
            });
        match made {
            Ok((open, sealer)) => Ok(Writer {
                folder: folder.to_owned(),
                meta,
                options,
                open: Some(open),
                failure: None,
                events: 0,
                lost: 0,
                keyframes: 0,
                sealer: Some(sealer),
                sealing,
                lock,
            }),
            Err(error) => {
                // A recording without anything in it would only be in the way.
                drop(lock);
                let _ = files::remove_recording(folder);
                let _ = fs::remove_dir(folder);
                Err(error)
            }
        }
    }

    /// Says what became known after the start: the program's own process.
    pub fn set_pid(&mut self, pid: i32) {
        self.meta.pid = Some(pid);
        if self.open.is_some() {
            let written = files::write_json(&self.folder.join("meta.json"), &self.meta, Last::Kill);
            self.check(written);
        }
    }

    /// Takes one event, in order.
    pub fn event(&mut self, event: &Event) {
        let Some(open) = &mut self.open else { return };
        let now = event.left.max(event.entered);
        // A look is flushed as a whole.
        let is_whole = event.source != Source::Observed;
        let due = is_whole && now.0.saturating_sub(open.flushed.0) >= self.options.flush_after;
        let mut written = open.event(event);
        self.events += 1;
        if let Op::Lost { count, .. } = event.op {
            // One at least, where nobody could count them.
            self.lost = self.lost.saturating_add(count.unwrap_or(1));
        }
        if written.is_ok() && (due || open.events.len() >= MANY) {
            written = open.flush(now);
        }
        let written = written.map_err(|e| self.tail_error(e));
        let written = written.and_then(|()| if is_whole { self.rotate() } else { Ok(()) });
        self.check(written);
    }

    /// Takes a look whose events it has, and the pages that belong to it.
    pub fn look(&mut self, look: &Look, pages: &[PageRow]) {
        let Some(open) = &mut self.open else { return };
        let now = look.end();
        let due = now.0.saturating_sub(open.flushed.0) >= self.options.flush_after;
        let mut written = open.look(look, pages);
        if written.is_ok() && due {
            written = open.flush(now);
        }
        let written = written.map_err(|e| self.tail_error(e)).and_then(|()| self.rotate());
        self.check(written);
    }

    /// Takes what of stacks is new, before the first event that names it.
    pub fn stacks(&mut self, new: &NewStacks) {
        let Some(open) = &mut self.open else { return };
        let written = open.stacks(new).map_err(|e| self.tail_error(e));
        self.check(written);
    }

    /// Takes the functions that frames are in: each frame once, frames in order, the innermost of inlined functions first.
    pub fn symbols(&mut self, symbols: &[(FrameId, Vec<Symbol>)]) {
        let Some(open) = &mut self.open else { return };
        let written = symbols.iter().try_for_each(|(frame, symbols)| open.symbols(*frame, symbols));
        let written = written.map_err(|e| self.tail_error(e));
        self.check(written);
    }

    /// Takes the state of all address spaces after the events so far, and flushes.
    pub fn keyframe(&mut self, keyframe: &Keyframe) {
        let Some(open) = &mut self.open else { return };
        let written = open.keyframe(keyframe).and_then(|()| open.flush(open.flushed.max(keyframe.at)));
        self.keyframes += 1;
        let written = written.map_err(|e| self.tail_error(e)).and_then(|()| self.rotate());
        self.check(written);
    }

    /// Flushes what has waited long enough; to be called now and then.
    pub fn tick(&mut self, now: MonoNs) {
        let Some(open) = &mut self.open else { return };
        if now.0.saturating_sub(open.flushed.0) < self.options.flush_after {
            return;
        }
        let written = open.flush(now);
        let written = written.map_err(|e| self.tail_error(e)).and_then(|()| self.rotate());
        self.check(written);
    }

    /// How far sealing is, also for who looks from another thread while [`Writer::finish`] is at work.
    pub fn sealing(&self) -> Arc<Sealing> {
        Arc::clone(&self.sealing)
    }

    /// Where it writes.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether it still writes.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Why nothing is written any more; told once.
    pub fn take_failure(&mut self) -> Option<RecordError> {
        self.failure.take()
    }

    /// Seals what is there and says how it ended; a failure that was not yet taken is the error.
    ///
    /// # Errors
    /// The first error of writing. The tail then stays as it is, and is valid.
    pub fn finish(mut self, end: Outcome) -> Result<(), RecordError> {
        if let Some(mut open) = self.open.take() {
            match open.flush(MonoNs(end.at)) {
                Ok(()) => self.seal_later(open.number, open.tail.length),
                Err(error) => self.failure = Some(self.tail_error(error)),
            }
            drop(open);
            self.join();
            if self.failure.is_none() {
                let end = Outcome { events: self.events, keyframes: self.keyframes, lost: self.lost, ..end };
                self.meta.end = Some(end);
                let written =
                    files::write_json(&self.folder.join("meta.json"), &self.meta, Last::ThroughPowerLoss);
                self.check(written);
            }
        } else {
            self.join();
        }
        self.failure.take().map_or(Ok(()), Err)
    }

    /// Removes the recording: there was nothing to record.
    pub fn discard(mut self) {
        self.open = None;
        self.join();
        self.lock = None;
        let _ = files::remove_recording(&self.folder);
    }

    fn seal_later(&self, number: u32, length: u64) {
        self.sealing.total.fetch_add(length, Ordering::Relaxed);
        if let Some(sealer) = &self.sealer {
            // A thread that has ended has said why.
            let _ = sealer.numbers.send(number);
        }
    }

    fn join(&mut self) {
        let Some(Sealer { numbers, thread }) = self.sealer.take() else { return };
        drop(numbers);
        let panicked = || RecordError::io(&self.folder, io::Error::other("sealing failed"));
        let sealed = thread.join().unwrap_or_else(|_| Err(panicked()));
        self.check(sealed);
    }

    fn tail_error(&self, error: io::Error) -> RecordError {
        let number = self.open.as_ref().map_or(1, |open| open.number);
        RecordError::io(&seal::tail(&self.folder, number), error)
    }

    /// Starts a new tail where the old one is large.
    fn rotate(&mut self) -> Result<(), RecordError> {
        let Some(open) = self.open.as_mut().filter(|open| open.tail.length >= self.options.rotate_at) else {
            return Ok(());
        };
        // The rows of maps are written early when they are many: their events go to the same tail.
        if let Err(error) = open.flush(open.flushed) {
            return Err(self.tail_error(error));
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        let (full, length) = (open.number, open.tail.length);
        open.tail = TailWriter::create(&seal::tail(&self.folder, full + 1))?;
        open.number = full + 1;
        self.seal_later(full, length);
        Ok(())
    }

    fn check(&mut self, result: Result<(), RecordError>) {
        if let Err(error) = result {
            (self.open, self.lock) = (None, None);
            self.failure.get_or_insert(error);
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some(open) = &mut self.open {
            let _ = open.flush(open.flushed);
        }
        self.open = None;
        self.join();
    }
}
