//! `vmatlas log`: the lines of a recorded run, as `run` would have written them.

use super::kinds::Kinds;
use super::names::Names;
use crate::args::{parse_addr, parse_call, parse_kind, parse_size};
use crate::complain;
use crate::context::{Context, Stream, is_terminal};
use crate::filter::Filter;
use crate::output::{Pen, quiet};
use crate::progress::{self, Of, Progress};
use crate::stacks;
use anyhow::Result;
use clap::Args;
use std::fmt::Write;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use vmatlas_event::{
    Addr, AddrRange, Bytes, Event, EventSource, MonoNs, Op, OpKind, PageSize, Pid, Seq, Tid,
};
use vmatlas_model::kind::Kind;
use vmatlas_model::{Done, Spaces, fault_place};
use vmatlas_view::run::{LineOptions, push_line};
use vmatlas_view::stack;
use vmatlas_view::{faults, json};

#[derive(Args, Debug)]
pub(crate) struct LogArgs {
    /// The recording
    #[arg(value_name = "REC")]
    pub(crate) recording: PathBuf,
    /// Only these calls (mmap, munmap, mremap, brk, mprotect, ...), or page faults (fault), which are shown only so
    #[arg(short = 'e', long, value_name = "CALL,...", value_delimiter = ',', value_parser = parse_call)]
    pub(crate) expr: Vec<OpKind>,
    /// Only this process
    #[arg(short, long, value_name = "PID")]
    pub(crate) pid: Option<i32>,
    /// Only this thread
    #[arg(long, value_name = "TID")]
    pub(crate) tid: Option<i32>,
    /// Only calls that mapped or unmapped at least this much
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) min_size: Option<Bytes>,
    /// Only what acted on this address, or on some of these
    #[arg(long, value_name = "ADDR|ADDR-ADDR", value_parser = parse_addrs)]
    pub(crate) addr: Option<AddrRange>,
    /// Only what acted on memory of these kinds (heap, malloc-arena, thread-stack, ... as in 'show --json')
    #[arg(long, value_name = "KIND,...", value_delimiter = ',', value_parser = parse_kind)]
    pub(crate) kind: Vec<Kind>,
    /// Only from this time on, in seconds as the lines have them
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub(crate) from: Option<u64>,
    /// Only until this time
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub(crate) to: Option<u64>,
    /// Only what returned an error
    #[arg(long)]
    pub(crate) failed: bool,
    /// The call stack below each line, or in each object, where one was recorded
    #[arg(long)]
    pub(crate) stacks: bool,
    /// One JSON object per event instead of lines
    #[arg(long)]
    pub(crate) jsonl: bool,
}

/// Seconds as nanoseconds.
fn parse_seconds(text: &str) -> Result<u64, String> {
    let seconds = text.strip_suffix('s').unwrap_or(text).parse::<f64>().ok();
    let time = seconds.and_then(|s| std::time::Duration::try_from_secs_f64(s).ok());
    time.and_then(|t| u64::try_from(t.as_nanos()).ok()).ok_or_else(|| "seconds such as 1.25".to_owned())
}

/// One address, or those from one up to before another.
fn parse_addrs(text: &str) -> Result<AddrRange, String> {
    let range = match text.split_once('-') {
        Some((start, end)) => AddrRange::new(parse_addr(start)?, parse_addr(end)?),
        None => {
            let start = parse_addr(text)?;
            AddrRange::new(start, Addr(start.0.saturating_add(1)))
        }
    };
    range
        .filter(|range| !range.is_empty())
        .ok_or_else(|| "the first address is to be below the second".to_owned())
}

/// What shows one event after another.
struct Lines<'a> {
    args: &'a LogArgs,
    filter: Filter,
    kinds: Kinds,
    page: PageSize,
    options: LineOptions,
    pen: Pen<io::StdoutLock<'static>>,
    text: String,
    progress: Progress,
    /// Where they are wanted.
    stacks: Option<Names>,
}

pub(crate) fn run(args: &LogArgs, context: &Context) -> Result<ExitCode> {
    let context = &context.for_program(args.jsonl);
    let mut reader = super::open(&args.recording, context)?;
    if super::looks::is_watched(&reader) {
        return super::log_looks::run(reader, args, context);
    }
    let last = reader.last().map_or(0, |last| last.0);
    let page = PageSize::new(reader.meta().page_size).unwrap_or(vmatlas_sys::page_size());
    let mut spaces = Spaces::new(page);
    spaces.distrust(reader.meta().distrust);
    let options = context.lines(Stream::Stdout, MonoNs(reader.meta().started));
    let filter = Filter {
        calls: args.expr.clone(),
        min_size: args.min_size,
        pid: args.pid.map(Pid),
        failed: args.failed,
        faults: args.jsonl,
    };
    let pen = Pen::new(io::stdout().lock());
    let kinds = Kinds::new(args.kind.clone(), page);
    let stacks = if args.stacks { stacks::of(&reader, context) } else { None };
    let progress = Progress::new(context, progress::READING, Of::Events);
    let mut lines = Lines { args, filter, kinds, page, options, pen, text: String::new(), progress, stacks };
    let read = reader.events(Seq(0), &mut |event| {
        lines.progress.tick(event.seq.0, last);
        lines.event(&event, &mut spaces)
    });
    lines.progress.end();
    quiet(lines.pen.finish())?;
    for damage in reader.damage() {
        complain(context, &damage.to_string());
    }
    match read {
        Ok(()) => Ok(ExitCode::SUCCESS),
        // It is damage that was told already, or damage met only now.
        Err(error) => {
            let error = match error {
                vmatlas_record::RecordError::Damaged(damage) => anyhow::anyhow!(damage.to_string()),
                other => super::explain(&other, context),
            };
            let told = reader.damage().iter().any(|damage| damage.to_string() == error.to_string());
            if told { Ok(ExitCode::FAILURE) } else { Err(error) }
        }
    }
}

impl Lines<'_> {
    /// Replays an event; whether there is still somebody who reads, and something to come.
    fn event(&mut self, event: &Event, spaces: &mut Spaces) -> bool {
        if event.seq.0 == 0 {
            self.options.start = event.entered;
        }
        if matches!(event.op, Op::Fault { .. }) && !self.filter.shows_faults() {
            return true;
        }
        let progress = spaces.event(event);
        let mut dones = progress.unanswered.iter().chain(&progress.done);
        let written = dones.try_for_each(|done| self.done(done, spaces));
        let since = event.entered.0.saturating_sub(self.options.start.0);
        // Calls of other tasks may have been left earlier, but were not entered a second later.
        let is_past = self.args.to.is_some_and(|to| since > to.saturating_add(1_000_000_000));
        written.is_ok() && !is_past
    }

    fn done(&mut self, done: &Done, spaces: &Spaces) -> std::fmt::Result {
        // What kinds there are is learnt from all events, also from those that are not shown.
        let is_of_kind = self.kinds.meet(done, spaces);
        let since = done.event.left.0.saturating_sub(self.options.start.0);
        let wanted = self.args.from.is_none_or(|from| since >= from)
            && self.args.to.is_none_or(|to| since <= to)
            && self.args.tid.is_none_or(|tid| done.event.task.tid == Tid(tid))
            && self
                .args
                .addr
                .is_none_or(|addrs| done.acted_on(self.page).iter().any(|r| r.intersects(addrs)))
            && is_of_kind
            && self.filter.wants(done);
        if !wanted {
            return Ok(());
        }
        if is_terminal(Stream::Stdout) {
            // The lines are where it would be.
            self.progress.end();
        }
        self.text.clear();
        let stack = self.stacks.as_ref().zip(done.event.stack);
        let stack = stack.and_then(|(stacks, id)| stacks.stack(id));
        let place = match (&done.event.op, spaces.get(done.event.mm)) {
            (Op::Fault { addr, .. }, space) => {
                Some(space.map(|space| fault_place(space, *addr)).unwrap_or_default())
            }
            _ => None,
        };
        if self.args.jsonl {
            let value = match &place {
                Some(place) => faults::event_json(&done.event, place, self.options.errno_name),
                None => json::event(done, self.options.errno_name),
            };
            writeln!(self.text, "{}", stack::with_stack(value, stack.as_ref()))?;
        } else {
            match &place {
                Some(place) => faults::push_line(&mut self.text, &done.event, place, &self.options),
                None => push_line(&mut self.text, done, &self.options),
            }
            if let Some(stack) = stack {
                stack::push_lines(&mut self.text, &stack, stack::INDENT, &self.options);
            }
        }
        self.pen.write_str(&self.text)
    }
}
