//! The lines of a watched program, on their way out.
//!
//! On a terminal, or where the program writes too, each line goes out at once, so that it stands where it happened.
//! Elsewhere lines are collected, and written when there are many or a moment has passed. Lines are made at once in
//! both cases: handing the events to another thread cost the waiting program more than making the line did.

use crate::args::WatchArgs;
use crate::context::{Context, Stream, is_terminal};
use crate::failure::Failure;
use crate::texts;
use anyhow::anyhow;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use vmatlas_event::{Event, MonoNs};
use vmatlas_model::{Done, FaultPlace};
use vmatlas_view::run::{LineOptions, push_line};
use vmatlas_view::stack::{self, ShownStack};
use vmatlas_view::{escape, faults, json};

/// When lines go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// Each as it happens.
    AtOnce,
    /// When many have come together, or a moment has passed.
    Later,
    /// By a thread of its own, a moment later; what it cannot get rid of is lost.
    Losing,
}

/// What happens when nobody reads our lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// The program waits, as for any output of its own: no line is lost.
    Waiting,
    /// The program goes on; lines are lost, and that is said: it is not ours to hold.
    Losing,
}

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// For a person.
    Text,
    /// One JSON object.
    JsonLines,
}

/// Where events become lines.
pub(crate) struct Log {
    writer: Arc<Writer>,
    when: When,
}

struct Writer {
    /// Taken before `lines`, never after: writing can take long, and making lines must not wait for it.
    out: Mutex<Out>,
    lines: Mutex<Lines>,
}

struct Out {
    file: Option<File>,
    /// The first error of writing.
    failed: Option<io::Error>,
}

struct Lines {
    form: Form,
    options: LineOptions,
    text: String,
    lost: u64,
}

/// A lock that a panicking thread left is as good as any: what it guards is text.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Log {
    /// Opens what lines are written to.
    pub(crate) fn open(
        args: &WatchArgs,
        options: LineOptions,
        context: &Context,
        patience: Patience,
    ) -> Result<Log, Failure> {
        let file = args.log.as_deref().or(args.jsonl.as_deref()).filter(|path| *path != Path::new("-"));
        let form = if args.jsonl.is_some() { Form::JsonLines } else { Form::Text };
        let (out, when): (Option<File>, When) = match file {
            Some(path) => {
                let file = File::create(path).map_err(|e| {
                    let values: [(&str, &dyn std::fmt::Display); 2] =
                        [("path", &path.display()), ("why", &e)];
                    anyhow!(texts::CANNOT_WRITE.fill(context.lang, &values))
                })?;
                (Some(file), When::Later)
            }
            // A descriptor of our own: the program cannot close it, and exec closes it for the program.
            None => match io::stderr().as_fd().try_clone_to_owned() {
                Ok(fd) => {
                    let at_once = is_terminal(Stream::Stderr) || shares_output();
                    (Some(File::from(fd)), if at_once { When::AtOnce } else { When::Later })
                }
                // No standard error at all: nothing to write to.
                Err(_) => (None, When::Later),
            },
        };
        let when = if patience == Patience::Losing { When::Losing } else { when };
        Ok(Log::new(out, when, form, options))
    }

    /// Without a file lines go nowhere.
    pub(crate) fn new(out: Option<File>, when: When, form: Form, options: LineOptions) -> Log {
        let out = Mutex::new(Out { file: out, failed: None });
        let lines = Mutex::new(Lines { form, options, text: String::new(), lost: 0 });
        let writer = Arc::new(Writer { out, lines });
        if when != When::AtOnce {
            let weak = Arc::downgrade(&writer);
            let work = move || {
                while let Some(writer) = weak.upgrade() {
                    writer.flush();
                    drop(writer);
                    std::thread::sleep(Duration::from_millis(100));
                }
            };
            // Without the thread lines only wait until there are many.
            let start = || std::thread::Builder::new().name("lines".to_owned()).spawn(work);
            let _ = vmatlas_sys::signal::shielded(start);
        }
        Log { writer, when }
    }

    /// Whether each line goes out as it happens.
    pub(crate) fn is_at_once(&self) -> bool {
        self.when == When::AtOnce
    }

    /// When time began.
    pub(crate) fn start(&self, start: MonoNs) {
        lock(&self.writer.lines).options.start = start;
    }

    /// Takes a line of our own.
    pub(crate) fn note(&self, text: &str) {
        self.add(|lines| {
            let text = escape::terminal(text.as_bytes());
            // Writing to a String does not fail.
            let _ = std::fmt::Write::write_fmt(&mut lines.text, format_args!("vmatlas: {text}\n"));
        });
    }

    /// Takes one event, and its call stack where there is one.
    pub(crate) fn event(&self, done: &Done, stack: Option<&ShownStack>) {
        self.add(|lines| lines.event(done, stack));
    }

    /// Takes a page fault, what it met, and its call stack where there is one.
    pub(crate) fn fault(&self, event: &Event, place: &FaultPlace<'_>, stack: Option<&ShownStack>) {
        self.add(|lines| lines.fault(event, place, stack));
    }

    fn add(&self, add: impl FnOnce(&mut Lines)) {
        const MANY: usize = 64 * 1024;
        const TOO_MANY: usize = 16 << 20;
        let mut lines = lock(&self.writer.lines);
        if self.when == When::Losing && lines.text.len() >= TOO_MANY {
            lines.lost += 1;
            return;
        }
        add(&mut lines);
        let is_time = match self.when {
            When::AtOnce => true,
            When::Later => lines.text.len() >= MANY,
            When::Losing => false,
        };
        drop(lines);
        if is_time {
            self.writer.flush();
        }
    }

    /// How many lines were lost because nobody read them.
    pub(crate) fn lost(&self) -> u64 {
        lock(&self.writer.lines).lost
    }

    /// Writes what is left, and a last text; the first error, when lines were lost to one.
    ///
    /// Nobody reading them any more is none (EPIPE).
    pub(crate) fn finish(&self, text: &str) -> Option<io::Error> {
        lock(&self.writer.lines).text.push_str(text);
        self.writer.flush();
        lock(&self.writer.out).failed.take().filter(|e| e.kind() != ErrorKind::BrokenPipe)
    }
}

impl Writer {
    fn flush(&self) {
        let mut out = lock(&self.out);
        let text = std::mem::take(&mut lock(&self.lines).text);
        // An error is told at the end: it is no reason to disturb the program.
        if let Some(file) = &mut out.file
            && let Err(error) = write_patiently(file, text.as_bytes())
        {
            out.failed.get_or_insert(error);
        }
        // The room is used again, where nothing came meanwhile.
        let mut lines = lock(&self.lines);
        if lines.text.is_empty() {
            lines.text = text;
            lines.text.clear();
        }
    }
}

impl Lines {
    fn event(&mut self, done: &Done, stack: Option<&ShownStack>) {
        match self.form {
            Form::JsonLines => {
                let value = stack::with_stack(json::event(done, self.options.errno_name), stack);
                self.json(&value);
            }
            Form::Text => {
                push_line(&mut self.text, done, &self.options);
                if let Some(stack) = stack {
                    stack::push_lines(&mut self.text, stack, stack::INDENT, &self.options);
                }
            }
        }
    }

    fn fault(&mut self, event: &Event, place: &FaultPlace<'_>, stack: Option<&ShownStack>) {
        match self.form {
            Form::JsonLines => {
                let value = faults::event_json(event, place, self.options.errno_name);
                self.json(&stack::with_stack(value, stack));
            }
            Form::Text => {
                faults::push_line(&mut self.text, event, place, &self.options);
                if let Some(stack) = stack {
                    stack::push_lines(&mut self.text, stack, stack::INDENT, &self.options);
                }
            }
        }
    }

    fn json(&mut self, value: &serde_json::Value) {
        // Writing to a String does not fail.
        let _ = std::fmt::Write::write_fmt(&mut self.text, format_args!("{value}\n"));
    }
}

/// Writes all of it, also where writing does not wait: the program shares our standard error and can make it so
/// (O_NONBLOCK belongs to the open file, not to the descriptor).
fn write_patiently(file: &mut File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(e) if e.kind() == ErrorKind::WouldBlock => vmatlas_sys::wait_writable(file.as_fd()),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Whether standard error and standard output are one file, as after `2>&1`.
fn shares_output() -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |fd: io::Result<std::os::fd::OwnedFd>| {
        let meta = File::from(fd.ok()?).metadata().ok()?;
        Some((meta.dev(), meta.ino()))
    };
    let out = id(io::stdout().as_fd().try_clone_to_owned());
    out.is_some() && out == id(io::stderr().as_fd().try_clone_to_owned())
}
