//! What a whole run came to: calls by kind, bytes, peak, the largest.

use crate::progress::Done;
use crate::space::Origin;
use std::collections::BTreeMap;
use vmatlas_event::{Bytes, Event, Op, OpKind, Outcome, Seq, SnapshotReason};

/// How often one call was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallCount {
    /// All of them.
    pub calls: u64,
    /// Those that returned an error.
    pub failed: u64,
    /// Bytes they mapped.
    pub mapped: Bytes,
    /// Bytes they unmapped.
    pub unmapped: Bytes,
}

/// One of the calls that mapped most.
#[derive(Clone, Debug, PartialEq)]
pub struct Largest {
    /// How much it mapped.
    pub mapped: Bytes,
    /// The call.
    pub event: Event,
}

/// Sums over all calls of a run.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// By call.
    pub calls: BTreeMap<OpKind, CallCount>,
    /// The five that mapped most, most first; equal ones in the order they were made.
    pub largest: Vec<Largest>,
    /// The largest virtual size that any one address space had.
    pub peak: Bytes,
    /// Processes seen.
    pub processes: u64,
    /// Threads seen, first threads not counted.
    pub threads: u64,
    /// Programs executed.
    pub execs: u64,
    /// What was mapped before anybody looked; `None` where we saw it all from its start.
    pub before: Option<Before>,
    /// Seccomp filters the program installed itself: what they refuse is not seen.
    pub filters: u64,
    /// Those of them with a supervisor, which can also let memory calls run unseen.
    pub supervised: u64,
    attach_seqs: Vec<Seq>,
}

/// What has no origin that we know: it was there when we came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Before {
    /// How many VMAs.
    pub vmas: u64,
    /// How many bytes.
    pub mapped: Bytes,
    /// How many of these were unmapped since.
    pub unmapped: Bytes,
}

impl Summary {
    /// Adds a finished event.
    pub fn add(&mut self, done: &Done) {
        const MOST: usize = 5;
        match &done.event.op {
            vmatlas_event::Op::Fork { kind: vmatlas_event::ForkKind::Thread, .. } => self.threads += 1,
            vmatlas_event::Op::Fork { .. } => self.processes += 1,
            vmatlas_event::Op::Exec { .. } => self.execs += 1,
            Op::Seccomp { flags } if matches!(done.event.outcome, Outcome::Done(_)) => {
                const NEW_LISTENER: u64 = 8;
                self.filters += 1;
                self.supervised += u64::from(flags & NEW_LISTENER != 0);
            }
            _ => {}
        }
        if let Op::Snapshot { reason: SnapshotReason::Attach, rows } = &done.event.op {
            let before = self.before.get_or_insert_default();
            before.vmas += rows.len() as u64;
            before.mapped += rows.iter().map(|row| row.range.len()).sum();
            self.attach_seqs.push(done.event.seq);
        } else if let Some(before) = &mut self.before {
            let known = &self.attach_seqs;
            let bytes = |origins: &[Origin]| -> u64 {
                origins.iter().filter(|o| known.contains(&o.seq)).map(|o| o.range.len().0).sum()
            };
            // The end of the process is no call that unmapped it.
            if done.event.op.is_call() {
                let (old, new) = (bytes(&done.change.origins_before), bytes(&done.change.origins_after));
                before.unmapped += Bytes(old.saturating_sub(new));
            }
        }
        if !done.event.op.is_call() {
            return;
        }
        let (mapped, unmapped) = done.bytes();
        let count = self.calls.entry(done.event.op.kind()).or_default();
        count.calls += 1;
        count.failed += u64::from(matches!(done.event.outcome, Outcome::Failed(_)));
        count.mapped += mapped;
        count.unmapped += unmapped;
        if mapped.0 > 0 {
            let at = self.largest.partition_point(|l| l.mapped >= mapped);
            if at < MOST {
                self.largest.insert(at, Largest { mapped, event: done.event.clone() });
                self.largest.truncate(MOST);
            }
        }
    }

    /// Takes note of an address space's size.
    pub fn seen_size(&mut self, size: Bytes) {
        self.peak = self.peak.max(size);
    }

    /// All calls together.
    pub fn total(&self) -> CallCount {
        self.calls.values().fold(CallCount::default(), |sum, c| CallCount {
            calls: sum.calls + c.calls,
            failed: sum.failed + c.failed,
            mapped: sum.mapped + c.mapped,
            unmapped: sum.unmapped + c.unmapped,
        })
    }
}
