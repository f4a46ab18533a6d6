//! The looks of `watch`, one after the other, each when it is due.

mod taking;

use super::look::Looker;
use super::tell::Lines;
use crate::complain;
use crate::context::Context;
use crate::recording::Recorder;
use crate::target::explain;
use crate::texts;
use anyhow::Result;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use vmatlas_event::{Bytes, MmId, MonoNs, Op, PageRow};
use vmatlas_model::Spaces;
use vmatlas_proc::read::whole::Identity;
use vmatlas_proc::{Budget, ErrorKind, Maps, Method, ProcError, Process};
use vmatlas_sys::signal::Wishes;
use vmatlas_view::looks::Looks;

/// How often somebody asks whether the process still lives, where looks are far apart.
const PATIENCE: Duration = Duration::from_millis(500);
/// So many looks in a row may go unanswered: each leaves a thread that waits.
const MOST_UNANSWERED: u32 = 3;
/// Why it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Somebody wished so, or the time is over.
    Asked,
    /// The process has ended.
    Process,
    /// It cannot be read any more, or nothing can be written; that was told.
    Failed,
}

/// A process being watched.
pub(super) struct Watching<'a> {
    process: Process,
    recorder: Recorder,
    budget: Budget,
    context: &'a Context,
    looker: Looker,
    spaces: Spaces,
    mm: MmId,
    identity: Option<Identity>,
    /// The last look.
    maps: Arc<Maps>,
    pages: Arc<Vec<PageRow>>,
    /// What it came to.
    totals: Totals,
    /// The next event, as a tracer would number it.
    next: u64,
    /// Rows written since all pages were.
    since_whole: u64,
    /// Looks that were due and left out since the last one.
    late: u64,
    unanswered: u32,
    lines: Option<Lines>,
    is_verbose: bool,
    sums: Sums,
}

/// Sums over all VMAs that have pages; `None` where one of them is not known.
#[derive(Clone, Copy, Default)]
struct Totals {
    vmas: u64,
    size: Bytes,
    resident: Option<Bytes>,
    anonymous: Option<Bytes>,
    swapped: Option<Bytes>,
}

/// What the end line tells.
#[derive(Default)]
struct Sums {
    looks: u64,
    late: u64,
    hold: u64,
    start: MonoNs,
    end: MonoNs,
}

impl<'a> Watching<'a> {
    pub(super) fn new(
        process: Process,
        recorder: Recorder,
        budget: Budget,
        is_verbose: bool,
        context: &'a Context,
    ) -> Watching<'a> {
        Watching {
            process,
            recorder,
            budget,
            context,
            looker: Looker::default(),
            spaces: Spaces::new(vmatlas_sys::page_size()),
            mm: MmId(1),
            identity: None,
            maps: Arc::default(),
            pages: Arc::default(),
            totals: Totals::default(),
            next: 0,
            since_whole: 0,
            late: 0,
            unanswered: 0,
            lines: None,
            is_verbose,
            sums: Sums::default(),
        }
    }

    /// Looks for the first time; where only smaps can tell the pages, says so and reads that.
    pub(super) fn first_look(&mut self) -> Result<()> {
        let seen = self.looker.look(&self.process, self.budget, None);
        let seen = match seen {
            Err(error) if error.kind() == ErrorKind::Unsupported && self.budget.method.is_none() => {
                complain(self.context, texts::ONLY_SMAPS.get(self.context.lang));
                self.budget.method = Some(Method::Smaps);
                self.looker.look(&self.process, self.budget, None)
            }
            seen => seen,
        };
        let seen = seen.map_err(|error| explain(&error, self.context))?;
        self.sums.start = seen.at;
        self.lines = self.is_verbose.then(|| Lines::new(self.context, seen.at));
        self.take(seen);
        Ok(())
    }

    /// Looks at each whole interval since the first look, until there is a reason to end.
    pub(super) fn go_on(&mut self, interval: Duration, duration: Option<Duration>, wishes: &Wishes) -> Ended {
        let ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let (interval, start) = (ns(interval).max(1), self.sums.start.0);
        let until = duration.map(|duration| start.saturating_add(ns(duration)));
        let mut due = start.saturating_add(interval);
        loop {
            if !self.recorder.is_open() {
                return Ended::Failed;
            }
            if wishes.is_to_end() {
                return Ended::Asked;
            }
            let now = vmatlas_sys::now().0;
            if wishes.take_look() || now >= due && until.is_none_or(|until| due <= until) {
                if let Some(ended) = self.look() {
                    return ended;
                }
                let now = vmatlas_sys::now().0;
                if now >= due {
                    // Those that are past already are left out, never made one after the other.
                    let past = (now - due) / interval;
                    self.late += past;
                    self.sums.late += past;
                    due = due.saturating_add((past + 1).saturating_mul(interval));
                }
                continue;
            }
            if until.is_some_and(|until| now >= until) {
                return Ended::Asked;
            }
            let next = until.map_or(due, |until| until.min(due));
            wishes.wait(Duration::from_nanos(next - now).min(PATIENCE));
            if self.process.still_there().is_err() && self.find_again().is_none() {
                return Ended::Process;
            }
        }
    }

    /// Looks once; why it is the end, if it is.
    fn look(&mut self) -> Option<Ended> {
        let seen = self.looker.look(&self.process, self.budget, self.identity.as_ref());
        let seen = match seen {
            // The thread by which it was read may have ended while others go on.
            Err(error) if is_end(&error) => match self.find_again() {
                Some(()) => self.looker.look(&self.process, self.budget, self.identity.as_ref()),
                None => return Some(Ended::Process),
            },
            seen => seen,
        };
        let error = match seen {
            Ok(seen) => {
                self.unanswered = 0;
                self.take(seen);
                return None;
            }
            Err(error) => error,
        };
        if is_end(&error) {
            return Some(Ended::Process);
        }
        if error.kind() == ErrorKind::TimedOut && self.unanswered + 1 < MOST_UNANSWERED {
            self.unanswered += 1;
            self.late += 1;
            self.sums.late += 1;
            return None;
        }
        complain(self.context, &explain(&error, self.context).to_string());
        Some(Ended::Failed)
    }

    /// Opens the same process anew: by another of its threads, where its first one has ended.
    fn find_again(&mut self) -> Option<()> {
        let again = self.process.root().process(self.process.pid()).ok()?;
        if again.started() != self.process.started() || again.still_there().is_err() {
            return None;
        }
        self.process = again;
        Some(())
    }

    /// Ends the recording.
    pub(super) fn finish(mut self, interval: Duration, ended: Ended) -> ExitCode {
        let at = vmatlas_sys::now();
        if ended == Ended::Process {
            let event = self.envelope(Op::Exit { status: None, signal: None, last: true }, at, at);
            let event = self.recorder.number(&event);
            self.spaces.event(&event);
            self.recorder.event(&event, &self.spaces, self.context);
        }
        let is_written = self.recorder.is_open();
        let end = vmatlas_record::End { at: at.0, status: None, ..vmatlas_record::End::default() };
        self.recorder.finish(end, &self.spaces, self.context);
        let lang = self.context.lang;
        if self.is_verbose {
            let looks = Looks {
                count: self.sums.looks,
                interval: u64::try_from(interval.as_nanos()).ok(),
                late: self.sums.late,
                cpu: vmatlas_sys::cpu_time(),
                time: at.0.saturating_sub(self.sums.start.0),
                hold: self.sums.hold,
                ..Looks::default()
            };
            looks
                .end_lines(ended == Ended::Process, lang)
                .iter()
                .for_each(|line| complain(self.context, line));
        } else if self.sums.late > 0 {
            complain(self.context, &texts::WATCH_LATE.fill(lang, &[("n", &self.sums.late)]));
        }
        match ended {
            Ended::Asked | Ended::Process if is_written => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        }
    }
}

/// Whether an error means that the process, or the thread by which it is read, has ended.
fn is_end(error: &ProcError) -> bool {
    matches!(error.kind(), ErrorKind::Gone | ErrorKind::NoSuchProcess | ErrorKind::Zombie)
}
