//! `vmatlas run`: a program, its memory calls, and what each changed.

use crate::args::RunArgs;
use crate::complain;
use crate::context::{Context, Stream, is_terminal};
use crate::log::{Form, Log, When};
use crate::texts;
use anyhow::anyhow;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;
use vmatlas_event::{Event, Next, Op, Pid, Sink};
use vmatlas_model::{Done, Spaces, Summary};
use vmatlas_proc::{ProcKernel, ProcRoot};
use vmatlas_trace::{Launch, TraceError, Tracer};
use vmatlas_view::run::{LineOptions, SummaryContext, summary_json, write_summary};
use vmatlas_view::{Style, escape};

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
        TraceError::TooOld => (OWN_FAILURE, texts::TRACE_TOO_OLD.get(lang).to_owned()),
        TraceError::NulByte { program } => (OWN_FAILURE, texts::NUL_BYTE.fill(lang, &[("program", program)])),
        TraceError::System { what, errno } => {
            let why = vmatlas_sys::errno_text(*errno);
            (OWN_FAILURE, texts::SYSTEM.fill(lang, &[("what", what), ("why", &why)]))
        }
    };
    Failure { code, message }
}

fn watch(args: &RunArgs, context: &Context) -> Result<i32, Failure> {
    if args.output.is_some() {
        let message = texts::OPTION_NOT_YET.fill(context.lang, &[("name", &"-o")]);
        return Err(Failure { code: crate::USAGE, message });
    }
    let path = std::env::var_os("PATH");
    let mut launch = Launch::new(&args.command, path.as_deref()).map_err(|e| failure(&e, context))?;
    launch.same_cpu = args.same_cpu;
    launch.is_job = true;
    let options = LineOptions {
        lang: context.lang,
        style: if args.log.is_some() { Style::default() } else { context.style(Stream::Stderr) },
        start: vmatlas_sys::now(),
        columns: if args.log.is_some() { None } else { context.columns(Stream::Stderr) },
        errno_name: vmatlas_sys::errno_name,
        signal_name: vmatlas_sys::signal::name,
    };
    let log = open_log(args, options, context)?;
    let tracer = Tracer::start(&launch).map_err(|e| failure(&e, context))?;
    let mut watcher = Watcher {
        spaces: Spaces::new(vmatlas_sys::page_size()),
        summary: Summary::default(),
        root: tracer.pid(),
        args,
        options,
        log,
    };
    watcher.spaces.read_may_imply_exec(vmatlas_sys::read_implies_exec());
    let mut kernel = ProcKernel::new(ProcRoot::system());
    let end = tracer.run(&launch, &mut kernel, &mut watcher).map_err(|e| failure(&e, context))?;
    let program = args.command.first().map(|p| escape::terminal(p.as_encoded_bytes())).unwrap_or_default();
    let lost = watcher.finish(program, end.shell_status());
    if let Some(why) = lost {
        let path = args.log.as_deref().or(args.jsonl.as_deref()).unwrap_or(Path::new("-"));
        let values: [(&str, &dyn std::fmt::Display); 2] = [("path", &path.display()), ("why", &why)];
        complain(context, &texts::CANNOT_WRITE.fill(context.lang, &values));
    }
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
}

impl Sink for Watcher<'_> {
    fn event(&mut self, event: &Event) -> Next {
        if event.seq.0 == 0 {
            self.options.start = event.entered;
            self.log.start(event.entered);
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
        if !self.args.count && self.is_wanted(done) {
            self.log.event(done);
        }
    }

    fn is_wanted(&self, done: &Done) -> bool {
        let event = &done.event;
        if self.args.no_children && event.task.pid != self.root {
            return false;
        }
        let is_call = event.op.is_call();
        // Advice that acts on pages only leaves the map as it is: counted, and shown when asked for.
        let pages_only = !event.op.changes_vmas();
        if pages_only && !self.args.expr.contains(&event.op.kind()) {
            return false;
        }
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

    fn finish(self, program: String, status: i32) -> Option<io::Error> {
        let context = SummaryContext { program, drift: self.spaces.tally().drift };
        let mut text = String::new();
        if self.args.jsonl.is_some() {
            let value = summary_json(&self.summary, &context, &self.options, status);
            text = format!("{value}\n");
        } else {
            if !self.args.count {
                text.push('\n');
            }
            // Writing to a String does not fail.
            let _ = write_summary(&mut text, &self.summary, &context, &self.options);
        }
        self.log.finish(&text)
    }
}

fn open_log(args: &RunArgs, options: LineOptions, context: &Context) -> Result<Log, Failure> {
    let file = args.log.as_deref().or(args.jsonl.as_deref()).filter(|path| *path != Path::new("-"));
    let form = if args.jsonl.is_some() { Form::JsonLines } else { Form::Text };
    let (out, when): (Option<File>, When) = match file {
        Some(path) => {
            let file = File::create(path).map_err(|e| {
                let values: [(&str, &dyn std::fmt::Display); 2] = [("path", &path.display()), ("why", &e)];
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
    Ok(Log::new(out, when, form, options))
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
