//! `vmatlas watch`: looks at the map and the pages of a process, one after the other, kept in a recording.

mod look;
mod tell;
mod watching;

use crate::args::{parse_duration, parse_method};
use crate::context::Context;
use crate::recording::{Recorder, Subject};
use crate::target::{self, explain};
use crate::texts;
use anyhow::{Result, anyhow};
use clap::Args;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use vmatlas_event::Pid;
use vmatlas_proc::{Budget, Method};
use vmatlas_sys::signal::Wishes;
use watching::Watching;

/// Looks that are nearer to each other have the same name.
const LEAST_INTERVAL: Duration = Duration::from_millis(2);

#[derive(Args, Debug)]
pub(crate) struct WatchProcessArgs {
    /// A PID or a process name
    #[arg(value_name = "PID|NAME", required_unless_present = "pid")]
    target: Option<OsString>,
    /// The process by its PID
    #[arg(short, long, value_name = "PID", conflicts_with = "target")]
    pid: Option<i32>,
    /// Record into this new folder
    #[arg(short, long, value_name = "REC")]
    output: PathBuf,
    /// How long after one look the next one is due (1s, 250ms, 1m)
    #[arg(short, long, value_name = "TIME", default_value = "1s", value_parser = parse_interval)]
    interval: Duration,
    /// End after this long (10, 1.5s, 500ms, 2m)
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    duration: Option<Duration>,
    /// Replace a recording that is there
    #[arg(long)]
    force: bool,
    /// One line for each look, and what it cost at the end
    #[arg(short, long)]
    verbose: bool,
    /// The longest that a single call of ours may hold the process (1ms, 250us)
    #[arg(long, value_name = "TIME", default_value = "1ms", value_parser = parse_duration)]
    budget: Duration,
    /// Read the pages with so many threads at a time, for large processes where cores are idle
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..))]
    threads: u8,
    /// How to read which pages are resident: pagemap-scan, pagemap-entries or smaps (else the best there is)
    #[arg(long, value_name = "HOW", value_parser = parse_method, hide_short_help = true)]
    method: Option<Method>,
}

/// What a person should know before watching a process.
pub(crate) const NOTES: &str = "\
    Nothing is traced and nothing stopped: what happens between two looks is not seen, and who mapped what is not known. \
    Only what changed is written. 'vmatlas show REC@1s' shows the look at (or before) that time, 'rss', 'diff', 'log', \
    'info', 'why' and 'origins' work on it too; which pages are resident is known at looks only. SIGUSR1 to vmatlas makes it look at \
    once. ^C, SIGTERM, the end of --duration or of the process end it.\n\n\
    Exit status: 0; 1 when the process can no longer be read, or nothing can be written any more.";

fn parse_interval(text: &str) -> Result<Duration, String> {
    let interval = parse_duration(text)?;
    match interval >= LEAST_INTERVAL {
        true => Ok(interval),
        false => Err("2ms or longer".to_owned()),
    }
}

pub(crate) fn run(args: &WatchProcessArgs, context: &Context) -> Result<ExitCode> {
    let root = context.proc_root();
    let process = match (&args.target, args.pid) {
        (_, Some(pid)) => target::by_pid(&root, Pid(pid), context)?,
        (Some(name), None) => target::open(&root, name, context)?,
        (None, None) => return Err(anyhow!(texts::BAD_PID.fill(context.lang, &[("pid", &"")]))),
    };
    if process.pid() == vmatlas_sys::self_pid() {
        return Err(anyhow!(texts::ATTACH_SELF.get(context.lang)));
    }
    let name = process.stat().map_err(|error| explain(&error, context))?.comm;
    let subject = Subject {
        how: "watch",
        backend: "none",
        program: String::from_utf8_lossy(&name).into_owned(),
        args: None,
        distrust: false,
        interval: Some(args.interval),
        faults: false,
    };
    // Each look makes the same lists: 8 % of its time were page faults of our own (60,000 VMAs).
    vmatlas_sys::keep_freed_memory();
    // Before any thread is started: the signals that end us are taken by the loop alone.
    let wishes = Wishes::begin();
    let recorder = Recorder::create(args.output.clone(), args.force, subject, context)?;
    recorder.root(process.pid());
    let threads = usize::from(args.threads);
    let budget = Budget { method: args.method, threads, sleeps: true, ..Budget::of_hold(args.budget) };
    let mut watching = Watching::new(process, recorder, budget, args.verbose, context);
    // Where the first look fails there is nothing to keep: the folder goes with the recorder.
    watching.first_look()?;
    let ended = watching.go_on(args.interval, args.duration, &wishes);
    Ok(watching.finish(args.interval, ended))
}
