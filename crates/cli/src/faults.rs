//! Page faults of `run` and `attach`: the options, and the sums for the end.

use crate::args::parse_size;
use crate::context::Context;
use crate::texts;
use clap::Args;
use std::fmt::Display;
use vmatlas_event::{Bytes, Errno, Event, FaultCounts, OpKind, Unwinding};
use vmatlas_model::{Done, FaultSums, Spaces};
use vmatlas_trace::FaultWatch;
use vmatlas_view::faults::FaultReport;

/// The options.
#[derive(Args, Debug)]
pub(crate) struct FaultArgs {
    /// Watch page faults too: their sums by what had mapped the pages at the end; '-e fault' and --jsonl show each;
    /// with --stacks the call stack of each, with BPF also what the resident size came from
    #[arg(long)]
    faults: bool,
    /// Room of each CPU's ring of faults, with BPF of the one ring (a small one loses some)
    #[arg(long, value_name = "SIZE", value_parser = parse_size, requires = "faults", hide_short_help = true)]
    faults_ring: Option<Bytes>,
}

impl FaultArgs {
    /// What to watch; naming faults among the calls to show asks for them too.
    pub(crate) fn watch(&self, shown: &[OpKind], stacks: Option<Unwinding>) -> Option<FaultWatch> {
        let is_asked = self.faults || shown.contains(&OpKind::Fault);
        is_asked.then_some(FaultWatch { ring: self.faults_ring, stacks })
    }
}

/// What faults came to so far.
#[derive(Default)]
pub(crate) struct FaultTally {
    sums: FaultSums,
    counts: Option<FaultCounts>,
}

impl FaultTally {
    /// Takes a finished event that is no fault.
    pub(crate) fn made(&mut self, done: &Done, spaces: &Spaces) {
        self.sums.made(done, spaces);
    }

    /// Takes a fault.
    pub(crate) fn fault(&mut self, event: &Event, spaces: &Spaces) {
        self.sums.fault(event, spaces);
    }

    /// Takes the figures of the end.
    pub(crate) fn counted(&mut self, counts: FaultCounts) {
        self.counts = Some(counts);
    }

    /// The figures of the end; `None` where nothing was watched to its end.
    pub(crate) fn counts(&self) -> Option<FaultCounts> {
        self.counts
    }

    /// All of it; `None` where nothing was watched to its end.
    pub(crate) fn report(&self) -> Option<FaultReport> {
        let counts = self.counts?;
        Some(FaultReport { counts, touched: self.sums.sorted().into_iter().cloned().collect() })
    }
}

/// Why faults cannot be watched, with the command that permits it where there is one.
pub(crate) fn refused(errno: Errno, context: &Context) -> String {
    const NOT_PERMITTED: [i32; 2] = [1, 13];
    let why = vmatlas_sys::errno_text(errno);
    if !NOT_PERMITTED.contains(&errno.0) {
        return texts::NO_FAULTS.fill(context.lang, &[("why", &why)]);
    }
    let level = std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").unwrap_or_default();
    let values: [(&str, &dyn Display); 2] = [("why", &why), ("level", &level.trim())];
    texts::FAULTS_REFUSED.fill(context.lang, &values)
}
