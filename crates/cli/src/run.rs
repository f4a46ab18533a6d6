//! `vmatlas run`: a program, its memory calls, and what each changed.

use crate::args::RunArgs;
use crate::complain;
use crate::context::{Context, Stream, is_terminal};
use crate::texts;
use anyhow::anyhow;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use vmatlas_event::{Event, Next, Op, Pid, Sink};
use vmatlas_model::{Done, Spaces, Summary};
use vmatlas_proc::{ProcKernel, ProcRoot};
use vmatlas_trace::{Launch, TraceError, Tracer};
use vmatlas_view::run::{LineOptions, SummaryContext, summary_json, write_line, write_summary};
use vmatlas_view::{Style, escape, json};

const OWN_FAILURE: u8 = 125;
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

pub(crate) fn run(args: RunArgs, context: &Context) -> ExitCode {
    match watch(&args, context) {
        Ok(status) => ExitCode::from(status as u8),
        Err(Failure { code, message }) => {
            complain(context, &message);
            ExitCode::from(code)
        }
    }
}

/// Why there is no status of the program to end with.
struct Failure {
    code: u8,
    message: String,
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure { code: OWN_FAILURE, message: format!("{error:#}") }
    }
}

fn failure(error: &TraceError, context: &Context) -> Failure {
    let lang = context.lang;
    let (code, message) = match error {
        TraceError::NotFound { program } => (NOT_FOUND, texts::NOT_FOUND.fill(lang, &[("program", program)])),
        TraceError::NotExecutable { program, errno } => {
            let why = vmatlas_sys::errno_text(*errno);
            (NOT_EXECUTABLE, texts::NOT_EXECUTABLE.fill(lang, &[("program", program), ("why", &why)]))
        }
        TraceError::NotPermitted { .. } => (OWN_FAILURE, texts::TRACE_NOT_PERMITTED.get(lang).to_owned()),
        other => (OWN_FAILURE, other.to_string()),
    };
    Failure { code, message }
}

fn watch(args: &RunArgs, context: &Context) -> Result<i32, Failure> {
    let path = std::env::var_os("PATH");
    let mut launch = Launch::new(&args.command, path.as_deref()).map_err(|e| failure(&e, context))?;
    launch.same_cpu = args.same_cpu;
    launch.is_job = true;
    let log = Log::open(args, context)?;
    let tracer = Tracer::start(&launch).map_err(|e| failure(&e, context))?;
    let options = LineOptions {
        lang: context.lang,
        style: if args.log.is_some() { Style::default() } else { context.style(Stream::Stderr) },
        start: vmatlas_sys::now(),
        columns: if args.log.is_some() { None } else { context.columns(Stream::Stderr) },
        errno_name: vmatlas_sys::errno_name,
        signal_name: vmatlas_sys::signal::name,
    };
    let mut watcher = Watcher {
        spaces: Spaces::new(vmatlas_sys::page_size()),
        summary: Summary::default(),
        root: tracer.pid(),
        args,
        options,
        log,
        line: String::new(),
    };
    let mut kernel = ProcKernel::new(ProcRoot::system());
    let end = tracer.run(&launch, &mut kernel, &mut watcher).map_err(|e| failure(&e, context))?;
    let program = args.command.first().map(|p| escape::terminal(p.as_encoded_bytes())).unwrap_or_default();
    watcher.finish(program, end.shell_status());
    Ok(end.shell_status())
}

/// The consumer of events: a live model, a line for each call, sums for the end.
struct Watcher<'a> {
    spaces: Spaces,
    summary: Summary,
    root: Pid,
    args: &'a RunArgs,
    options: LineOptions,
    log: Log,
    line: String,
}

impl Sink for Watcher<'_> {
    fn event(&mut self, event: &Event) -> Next {
        if event.seq.0 == 0 {
            self.options.start = event.entered;
        }
        let progress = self.spaces.event(event);
        for done in progress.unanswered.iter().chain(&progress.done) {
            self.done(done);
        }
        if progress.ask.is_empty() { Next::Go } else { Next::Ask(progress.ask) }
    }
}

impl Watcher<'_> {
    fn done(&mut self, done: &Done) {
        self.summary.add(done);
        if let Some(space) = self.spaces.get(done.event.mm) {
            self.summary.seen_size(space.peak());
        }
        if self.args.count || !self.is_wanted(done) {
            return;
        }
        self.line.clear();
        // Writing to a String does not fail.
        let _ = match self.args.jsonl {
            Some(_) => {
                let value = json::event(done, self.options.errno_name);
                std::fmt::Write::write_fmt(&mut self.line, format_args!("{value}\n"))
            }
            None => write_line(&mut self.line, done, &self.options),
        };
        self.log.write(&self.line);
    }

    fn is_wanted(&self, done: &Done) -> bool {
        let event = &done.event;
        if self.args.no_children && event.task.pid != self.root {
            return false;
        }
        let is_call = event.op.is_call();
        if !self.args.expr.is_empty() && !self.args.expr.contains(&event.op.kind()) {
            return false;
        }
        match self.args.min_size {
            Some(min) if is_call => {
                let (added, removed) = done.bytes();
                added.max(removed) >= min
            }
            Some(_) => false,
            None => is_call || !matches!(event.op, Op::Observed { .. }),
        }
    }

    fn finish(mut self, program: String, status: i32) {
        let context = SummaryContext { program, drift: self.spaces.drift() };
        self.line.clear();
        if self.args.jsonl.is_some() {
            let value = summary_json(&self.summary, &context, &self.options, status);
            let _ = std::fmt::Write::write_fmt(&mut self.line, format_args!("{value}\n"));
        } else {
            if !self.args.count {
                self.line.push('\n');
            }
            let _ = write_summary(&mut self.line, &self.summary, &context, &self.options);
        }
        self.log.write(&self.line);
        self.log.flush();
    }
}

/// Where lines go. On a terminal, or where the program writes too, each line goes out at once, so that it stands where
/// it happened; elsewhere lines are collected, and written when there are many or some time has passed.
struct Log {
    shared: Arc<Mutex<Buffer>>,
    at_once: bool,
}

struct Buffer {
    out: Box<dyn Write + Send>,
    text: Vec<u8>,
}

impl Buffer {
    fn flush(&mut self) {
        // Nobody to read our lines is no reason to disturb the program.
        let _ = self.out.write_all(&self.text);
        self.text.clear();
    }
}

impl Log {
    fn open(args: &RunArgs, context: &Context) -> Result<Log, Failure> {
        let file = args.log.as_deref().or(args.jsonl.as_deref()).filter(|path| *path != Path::new("-"));
        let (out, at_once): (Box<dyn Write + Send>, bool) = match file {
            Some(path) => {
                let file = File::create(path).map_err(|e| {
                    let values: [(&str, &dyn std::fmt::Display); 2] =
                        [("path", &path.display()), ("why", &e)];
                    anyhow!(texts::CANNOT_WRITE.fill(context.lang, &values))
                })?;
                (Box::new(file), false)
            }
            None => {
                // A descriptor of our own: the program cannot close it, and exec closes it for the program.
                let own = io::stderr().as_fd().try_clone_to_owned();
                match own {
                    Ok(fd) => (Box::new(File::from(fd)), is_terminal(Stream::Stderr) || shares_output()),
                    // No standard error at all: nothing to write to.
                    Err(_) => (Box::new(io::sink()), false),
                }
            }
        };
        let shared = Arc::new(Mutex::new(Buffer { out, text: Vec::new() }));
        if !at_once {
            let weak = Arc::downgrade(&shared);
            let flusher = move || {
                while let Some(shared) = weak.upgrade() {
                    if let Ok(mut buffer) = shared.lock()
                        && !buffer.text.is_empty()
                    {
                        buffer.flush();
                    }
                    drop(shared);
                    std::thread::sleep(Duration::from_millis(100));
                }
            };
            // Without the thread lines only wait longer.
            let _ = std::thread::Builder::new().name("flush".to_owned()).spawn(flusher);
        }
        Ok(Log { shared, at_once })
    }

    fn write(&self, line: &str) {
        const MANY: usize = 32 * 1024;
        let Ok(mut buffer) = self.shared.lock() else { return };
        buffer.text.extend_from_slice(line.as_bytes());
        if self.at_once || buffer.text.len() >= MANY {
            buffer.flush();
        }
    }

    fn flush(&self) {
        if let Ok(mut buffer) = self.shared.lock() {
            buffer.flush();
        }
    }
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
