//! What `run` and `attach` have in common: a live model, a line for each call, sums for the end.

use crate::args::WatchArgs;
use crate::complain;
use crate::context::{Context, Stream};
use crate::failure::{Failure, OWN_FAILURE};
use crate::faults::FaultTally;
use crate::filter::Filter;
use crate::jit::Jits;
use crate::log::{Log, Patience};
use crate::recording::{Live, PageSnapshots, Recorder, Subject};
use crate::stacks;
use crate::texts;
use anyhow::anyhow;
use std::fmt::Display;
use std::path::Path;
use vmatlas_event::{Addr, Event, FaultCounts, MmId, Next, Op, Pid, Sink, StackId, Stopped};
use vmatlas_model::{Difference, Done, Spaces, Summary, fault_place};
use vmatlas_proc::ProcRoot;
use vmatlas_stack::Walker;
use vmatlas_view::run::{LineOptions, SummaryContext, summary_json, write_summary};
use vmatlas_view::{Style, check, escape};

/// The consumer of events.
pub(crate) struct Watcher<'a> {
    pub(crate) spaces: Spaces,
    summary: Summary,
    filter: Filter,
    recorder: Option<Recorder>,
    /// Where page snapshots are wanted.
    pages: Option<PageSnapshots>,
    /// Where call stacks are wanted.
    walker: Option<Walker>,
    /// How many there was no room for.
    stacks_lost: u64,
    /// The names of frames that were shown.
    names: Live,
    /// Code made at run time.
    jits: Jits,
    /// The program itself.
    root: Option<Pid>,
    faults: Option<FaultTally>,
    args: &'a WatchArgs,
    context: &'a Context,
    options: LineOptions,
    log: Log,
    /// The last call, for the report of a difference.
    last_call: Option<Event>,
    /// The first difference that a check found.
    difference: Option<String>,
    /// How often the lock of a map was taken by somebody of whom no event tells; where that can be seen.
    others: Option<u64>,
    /// How many processes were not watched, where there is a bound.
    untracked: Option<u64>,
}

impl<'a> Watcher<'a> {
    /// Opens what lines are written to.
    pub(crate) fn new(
        args: &'a WatchArgs,
        context: &'a Context,
        patience: Patience,
        subject: Subject,
    ) -> Result<Watcher<'a>, Failure> {
        if !ProcRoot::system().has_our_numbers() {
            return Err(anyhow!(texts::OTHER_PROC.get(context.lang)).into());
        }
        let options = LineOptions {
            lang: context.lang,
            style: if args.log.is_some() { Style::default() } else { context.style(Stream::Stderr) },
            start: vmatlas_sys::now(),
            columns: if args.log.is_some() { None } else { context.columns(Stream::Stderr) },
            errno_name: vmatlas_sys::errno_name,
            signal_name: vmatlas_sys::signal::name,
        };
        let distrust = subject.distrust;
        let subject_backend = subject.backend;
        let log = Log::open(args, options, context, patience)?;
        let recorder = match &args.output {
            Some(path) => Some(Recorder::create(path.clone(), args.force, subject, context)?),
            None => None,
        };
        let mut spaces = Spaces::new(vmatlas_sys::page_size());
        spaces.distrust(distrust);
        let faults = args.jsonl.is_some();
        let filter =
            Filter { calls: args.expr.clone(), min_size: args.min_size, faults, ..Filter::default() };
        let faults = args.watched_faults().map(|_| FaultTally::default());
        let others = (subject_backend == "bpf").then_some(0);
        Ok(Watcher {
            spaces,
            summary: Summary::default(),
            filter,
            recorder,
            pages: args.pages.then(|| PageSnapshots::new(context.proc_root())),
            walker: args.stacks.unwinding().map(Walker::by),
            stacks_lost: 0,
            names: Live::new(),
            jits: Jits::default(),
            root: None,
            faults,
            args,
            context,
            options,
            log,
            last_call: None,
            difference: None,
            others,
            untracked: others,
        })
    }

    /// Says something of ours before the first line, where lines go; nothing where only a program reads them.
    pub(crate) fn note(&self, text: &str) {
        if self.args.is_quiet() || self.args.jsonl.is_some() {
            return;
        }
        match self.args.log {
            Some(_) => self.log.note(text),
            None => complain(self.context, text),
        }
    }

    /// Says which process is the program itself.
    pub(crate) fn root(&mut self, pid: Pid) {
        self.root = Some(pid);
        if self.args.no_children {
            self.filter.pid = Some(pid);
        }
        if let Some(recorder) = &self.recorder {
            recorder.root(pid);
        }
    }

    /// A page fault changes no map: the model is only asked what it met.
    fn fault(&mut self, event: &Event) {
        if let Some(recorder) = &mut self.recorder {
            if let Some(walker) = self.walker.as_mut().filter(|_| event.stack.is_some()) {
                recorder.stacks(walker.take_new());
            }
            recorder.event(event, &self.spaces, self.context);
        }
        if let Some(faults) = &mut self.faults {
            faults.fault(event, &self.spaces);
        }
        if !self.args.count && !self.args.is_quiet() && self.filter.wants_event(event) {
            let place = self.spaces.get(event.mm).zip(fault_address(event));
            let place = place.map(|(space, addr)| fault_place(space, addr)).unwrap_or_default();
            let stack = self.walker.as_ref().zip(event.stack);
            let mut made = |frame| self.jits.live(event.mm, frame);
            let stack = stack.and_then(|(walker, id)| stacks::walked(walker, &mut self.names, &mut made, id));
            self.log.fault(event, &place, stack.as_ref());
        }
    }

    fn done(&mut self, done: &Done) {
        self.summary.add(done);
        if let Some(faults) = &mut self.faults {
            faults.made(done, &self.spaces);
        }
        if let Some(space) = self.spaces.get(done.event.mm) {
            self.summary.seen_size(space.peak());
        }
        if !self.args.count && !self.args.is_quiet() && self.filter.wants(done) {
            let stack = self.walker.as_ref().zip(done.event.stack);
            let mut made = |frame| self.jits.live(done.event.mm, frame);
            let stack = stack.and_then(|(walker, id)| stacks::walked(walker, &mut self.names, &mut made, id));
            self.log.event(done, stack.as_ref());
        }
    }

    /// What is kept of stacks for an address space goes with it.
    fn forget_space(&mut self, event: &Event) {
        let (mm, goes_on) = match event.op {
            Op::Exit { last: true, .. } => (event.mm, false),
            Op::Exec { old_mm } => (old_mm, true),
            _ => return,
        };
        if let Some(pages) = &mut self.pages {
            pages.forget(mm);
        }
        let Some(walker) = &mut self.walker else { return };
        walker.forget(mm);
        // A child of vfork leaves one that its parent still has.
        if self.spaces.get(mm).is_none() {
            self.jits.ended(mm, walker, goes_on);
        }
    }

    /// Records the pages of a map that was just read, where that is wanted and its time has come.
    fn snapshot_pages(&mut self, event: &Event) {
        let (Some(pages), Some(recorder)) = (&mut self.pages, &mut self.recorder) else { return };
        let Some(space) = self.spaces.get(event.mm) else { return };
        if let Some((look, rows)) = pages.take(event, space, self.context) {
            // Without room for it nothing is known of these pages.
            let _ = recorder.look(&look, &rows, None, self.context);
        }
    }

    fn finish_recording(&mut self, status: Option<i32>) {
        let Some(recorder) = self.recorder.take() else { return self.jits.tell(self.context) };
        let tally = self.spaces.tally();
        let end = vmatlas_record::End {
            at: vmatlas_sys::now().0,
            status,
            calls: tally.calls,
            drift: tally.drift,
            others: self.others,
            untracked: self.untracked,
            faults: self.faults.as_ref().and_then(FaultTally::counts).map(Into::into),
            ..vmatlas_record::End::default()
        };
        if let Some(walker) = &mut self.walker {
            recorder.stacks(walker.take_new());
            let made = std::mem::take(&mut self.jits).finish(walker, self.context);
            recorder.symbols(stacks::names(walker, self.root, made, self.context));
        }
        recorder.finish(end, &self.spaces, self.context);
    }

    /// Tells the first difference at once; the program goes on all the same.
    fn differs(&mut self, difference: &Difference) {
        if self.difference.is_none() {
            let text = check::difference(difference, self.last_call.as_ref(), &self.options);
            crate::report(self.context, &text);
            self.difference = Some(text);
        }
    }

    /// Writes the summary; the exit status is `status`, or 3 when the model was not the kernel.
    pub(crate) fn finish(mut self, program: &[u8], status: Option<i32>) -> i32 {
        self.finish_recording(status);
        let status = status.unwrap_or(0);
        let context = SummaryContext {
            program: escape::terminal(program),
            tally: self.spaces.tally(),
            difference: self.difference.clone(),
            others: self.others,
            untracked: self.untracked,
            faults: self.faults.as_ref().and_then(FaultTally::report),
        };
        if self.args.is_quiet()
            && let Some(untracked) = self.untracked.filter(|untracked| *untracked > 0)
        {
            let text = vmatlas_view::texts::UNTRACKED.fill(self.context.lang, &[("n", &untracked)]);
            complain(self.context, &text);
        }
        if self.args.is_quiet()
            && let Some(lost) = context.faults.as_ref().map(|f| f.counts.lost).filter(|lost| *lost > 0)
        {
            let text = vmatlas_view::faults::texts::LOST.fill(self.context.lang, &[("n", &lost)]);
            complain(self.context, &text);
        }
        let mut text = String::new();
        if self.args.is_quiet() {
            // The recording holds it.
        } else if self.args.jsonl.is_some() {
            let value = summary_json(&self.summary, &context, &self.options, status);
            text = format!("{value}\n");
        } else {
            if !self.args.count {
                text.push('\n');
            }
            // Writing to a String does not fail.
            let _ = write_summary(&mut text, &self.summary, &context, &self.options);
        }
        let lost = self.walker.as_ref().map_or(0, Walker::lost);
        if lost > 0 {
            complain(self.context, &texts::STACKS_LOST.fill(self.context.lang, &[("n", &lost)]));
        }
        if self.stacks_lost > 0 {
            let values: [(&str, &dyn Display); 1] = [("n", &self.stacks_lost)];
            complain(self.context, &texts::STACKS_MISSED.fill(self.context.lang, &values));
        }
        let lost = self.log.lost();
        if lost > 0 {
            complain(self.context, &texts::LINES_LOST.fill(self.context.lang, &[("n", &lost)]));
        }
        if let Some(why) = self.log.finish(&text) {
            let path = self.args.log.as_deref().or(self.args.jsonl.as_deref()).unwrap_or(Path::new("-"));
            let values: [(&str, &dyn Display); 2] = [("path", &path.display()), ("why", &why)];
            complain(self.context, &texts::CANNOT_WRITE.fill(self.context.lang, &values));
        }
        let tally = self.spaces.tally();
        if self.args.check && tally.calls > 0 && tally.compared == 0 {
            complain(self.context, texts::NOTHING_COMPARED.get(self.context.lang));
            return OWN_FAILURE.into();
        }
        if self.difference.is_some() { crate::DIFFERENT.into() } else { status }
    }
}

impl Sink for Watcher<'_> {
    fn event(&mut self, event: &Event) -> Next {
        let numbered = self.recorder.as_ref().map(|recorder| recorder.number(event));
        let event = numbered.as_deref().unwrap_or(event);
        if event.seq.0 == 0 {
            self.options.start = event.entered;
            self.log.start(event.entered);
        }
        if let Op::Fault { .. } = event.op {
            self.fault(event);
            return Next::Go;
        }
        if self.args.check && event.op.is_call() {
            self.last_call = Some(event.clone());
        }
        let progress = self.spaces.event(event);
        if let Some(recorder) = &mut self.recorder {
            if let Some(walker) = self.walker.as_mut().filter(|_| event.stack.is_some()) {
                recorder.stacks(walker.take_new());
            }
            recorder.event(event, &self.spaces, self.context);
        }
        self.snapshot_pages(event);
        self.forget_space(event);
        for done in progress.unanswered.iter().chain(&progress.done) {
            self.done(done);
        }
        if let Some(difference) = &progress.difference {
            self.differs(difference);
        }
        if progress.ask.is_empty() { Next::Go } else { Next::Ask(progress.ask) }
    }

    fn is_patient(&self) -> bool {
        // Where each line goes out at once, it stands where it happened.
        self.args.count || self.args.is_quiet() || !self.log.is_at_once()
    }

    fn stack(&mut self, at: &Stopped<'_>) -> Option<StackId> {
        let space = self.spaces.get(at.mm)?;
        let walker = self.walker.as_mut()?;
        let stack = walker.walk(at, &stacks::MapOf(space));
        if walker.has_new_code() {
            self.jits.met(at.mm, at.task, space);
        }
        stack
    }

    fn stack_lost(&mut self) {
        self.stacks_lost += 1;
    }

    fn other_change(&mut self, _mm: MmId) {
        self.others = self.others.map(|others| others + 1);
    }

    fn untracked(&mut self, count: u64) {
        self.untracked = self.untracked.map(|untracked| untracked + count);
    }

    fn fault_counts(&mut self, counts: &FaultCounts) {
        if let Some(faults) = &mut self.faults {
            faults.counted(*counts);
        }
    }
}

/// Where a fault was.
fn fault_address(event: &Event) -> Option<Addr> {
    match event.op {
        Op::Fault { addr, .. } => Some(addr),
        _ => None,
    }
}
