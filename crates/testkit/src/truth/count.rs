//! How often each step was done and failed, forked children included.

use super::StepKind;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use vmatlas_event::Errno;
use vmatlas_sys::playground::SharedTally;

const KINDS: usize = StepKind::ALL.len();

/// The counts of a process.
#[derive(Debug)]
pub struct Counts(SharedTally<{ 2 * KINDS }>);

impl Counts {
    /// All zero.
    ///
    /// # Errors
    /// ENOMEM.
    pub fn new() -> Result<Counts, Errno> {
        SharedTally::new().map(Counts)
    }

    /// Counts one.
    pub(super) fn add(&self, kind: StepKind, done: bool) {
        self.0.counters()[2 * kind as usize + usize::from(!done)].fetch_add(1, Ordering::Relaxed);
    }

    /// Done and failed ones of a kind.
    pub fn of(&self, kind: StepKind) -> (u64, u64) {
        let count = |at: usize| {
            let counter: &AtomicU64 = &self.0.counters()[at];
            counter.load(Ordering::Relaxed)
        };
        (count(2 * kind as usize), count(2 * kind as usize + 1))
    }

    /// How many memory calls were made.
    pub fn calls(&self) -> u64 {
        StepKind::ALL
            .iter()
            .filter(|(kind, _)| kind.is_call())
            .map(|(kind, _)| self.of(*kind))
            .map(|(a, b)| a + b)
            .sum()
    }
}

impl fmt::Display for Counts {
    /// One line: `calls=N` and for each kind `word=done/failed`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "calls={}", self.calls())?;
        for (kind, word) in StepKind::ALL {
            match self.of(kind) {
                (0, 0) => {}
                (done, failed) => write!(f, " {word}={done}/{failed}")?,
            }
        }
        Ok(())
    }
}
