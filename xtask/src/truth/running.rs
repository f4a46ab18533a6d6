//! Many subjects, several at a time, until enough calls were compared or one run failed.

use super::options::Options;
use super::programs::{Programs, Verdict};
use super::summary::Summary;
use anyhow::{Result, anyhow};
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The most calls of one process: a fresh one now and then tries the beginning of a map again.
const MOST_OF_A_CHUNK: u64 = 200_000;
/// Far more epochs than a chunk has, so that no two chunks play the same.
const EPOCHS_OF_A_CHUNK: u64 = 1_000_000;
/// The slowest that is still believed to get anywhere.
const CALLS_PER_SECOND: u64 = 200;
const AT_LEAST: Duration = Duration::from_secs(60);
const SHOW_EVERY: Duration = Duration::from_millis(500);

/// One process's share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) first_epoch: u64,
    pub(super) calls: u64,
}

/// A chunk that did not end well.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) chunk: Chunk,
    /// The epoch it was at last, where it got that far.
    pub(super) epoch: Option<u64>,
    /// Whether the subject made all its calls, so that any epoch may be the one that failed.
    pub(super) ran_to_its_end: bool,
    pub(super) verdict: Verdict,
}

/// What all chunks came to.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) sums: Summary,
    pub(super) failure: Option<Failure>,
}

impl Chunk {
    /// The arguments of the subject.
    pub(super) fn args(&self, options: &Options) -> Vec<String> {
        let numbers = [("--from", self.first_epoch), ("--calls", self.calls)];
        let mut args = common_args(options);
        args.extend(numbers.into_iter().flat_map(|(name, number)| [name.to_owned(), number.to_string()]));
        args
    }
}

/// The arguments that every run of the subject by seed has.
pub(super) fn common_args(options: &Options) -> Vec<String> {
    let mut args = vec!["--seed".to_owned(), options.seed.to_string()];
    if options.threads > 1 {
        args.extend(["--threads".to_owned(), options.threads.to_string()]);
    }
    if let Some(without) = &options.without {
        args.extend(["--without".to_owned(), without.clone()]);
    }
    args
}

/// What the workers share.
struct Shared<'a> {
    options: &'a Options,
    programs: &'a Programs,
    state: Mutex<State>,
    stop: AtomicBool,
}

#[derive(Default)]
struct State {
    next: u64,
    /// Calls of chunks that run.
    under_way: u64,
    /// Calls of chunks that ended.
    ended: u64,
    /// The progress files of chunks that run.
    progress: Vec<PathBuf>,
    workers: u64,
    outcome: Outcome,
}

pub(super) fn run_all(programs: &Programs, options: &Options) -> Result<Outcome> {
    let state = Mutex::new(State { workers: options.jobs, ..State::default() });
    let shared = Shared { options, programs, state, stop: AtomicBool::new(false) };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..options.jobs)
            .map(|job| {
                scope.spawn({
                    let shared = &shared;
                    move || {
                        let result = shared.work(job);
                        if result.is_err() {
                            shared.stop.store(true, Ordering::Relaxed);
                        }
                        shared.state().workers -= 1;
                        result
                    }
                })
            })
            .collect();
        shared.show_progress();
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| anyhow!("a worker panicked"))?)
    })?;
    Ok(shared.state.into_inner().unwrap_or_else(PoisonError::into_inner).outcome)
}

impl Shared<'_> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, job: u64) -> Result<()> {
        while let Some((chunk, progress)) = self.take() {
            let mut args = chunk.args(self.options);
            args.extend(["--progress".to_owned(), progress.display().to_string()]);
            let limit = AT_LEAST + Duration::from_secs(chunk.calls / CALLS_PER_SECOND);
            let verdict = self.programs.watch(&format!("job-{job}"), &args, limit, &self.stop)?;
            self.ended(chunk, &progress, verdict);
            let _ = fs::remove_file(&progress);
        }
        Ok(())
    }

    /// The next chunk, while there is something left to do.
    fn take(&self) -> Option<(Chunk, PathBuf)> {
        let mut state = self.state();
        let left = self.options.calls.saturating_sub(state.ended + state.under_way);
        if left == 0 || self.stop.load(Ordering::Relaxed) {
            return None;
        }
        let share = self.options.calls.div_ceil(self.options.jobs).min(MOST_OF_A_CHUNK);
        let chunk = Chunk { first_epoch: state.next * EPOCHS_OF_A_CHUNK, calls: share.min(left) };
        let progress = self.programs.scratch(&format!("chunk-{}", state.next), "progress");
        state.next += 1;
        state.under_way += chunk.calls;
        state.progress.push(progress.clone());
        Some((chunk, progress))
    }

    fn ended(&self, chunk: Chunk, progress: &PathBuf, verdict: Verdict) {
        let mut state = self.state();
        state.under_way -= chunk.calls;
        state.progress.retain(|file| file != progress);
        match &verdict {
            Verdict::Equal(sums) => {
                // A chunk that compared fewer than it should leaves the rest to others, but not for ever.
                let least = chunk.calls.div_ceil(10);
                let is_compared = !self.options.is_bpf && !self.options.is_unchecked;
                let done = if is_compared { sums.compared } else { Some(sums.total()) };
                state.ended += done.unwrap_or(chunk.calls).clamp(least, chunk.calls);
                state.outcome.sums += sums;
            }
            Verdict::Differs(sums, _) => state.outcome.sums += sums,
            Verdict::Broken(_) | Verdict::Stopped => {}
        }
        if matches!(verdict, Verdict::Differs(..) | Verdict::Broken(_)) {
            let at = read_progress(progress);
            let epoch = at.map(|(epoch, _)| epoch);
            let ran_to_its_end = at.is_some_and(|(_, calls)| calls >= chunk.calls);
            self.stop.store(true, Ordering::Relaxed);
            state.outcome.failure.get_or_insert(Failure { chunk, epoch, ran_to_its_end, verdict });
        }
    }

    /// A line that is written again and again, on a terminal only.
    fn show_progress(&self) {
        let start = Instant::now();
        let shows = io::stderr().is_terminal();
        let mut shown = Instant::now();
        while self.state().workers > 0 {
            thread::sleep(SHOW_EVERY / 10);
            if !shows || shown.elapsed() < SHOW_EVERY {
                continue;
            }
            shown = Instant::now();
            let (ended, files) = {
                let state = self.state();
                (state.ended, state.progress.clone())
            };
            let running: u64 = files.iter().filter_map(read_progress).map(|(_, calls)| calls).sum();
            let done = ended + running;
            let rate = done as f64 / start.elapsed().as_secs_f64();
            let left = self.options.calls.saturating_sub(done) as f64 / rate.max(1.0);
            eprint!("\r{done} of {} calls, {rate:.0}/s, {left:.0} s left   ", self.options.calls);
            let _ = io::stderr().flush();
        }
        if shows {
            eprint!("\r\x1b[K");
        }
    }
}

/// The epoch that a subject is at, and how many calls it has made before it.
fn read_progress(file: &PathBuf) -> Option<(u64, u64)> {
    let text = fs::read_to_string(file).ok()?;
    let mut numbers = text.lines().next()?.split_ascii_whitespace().map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}
