//! Which events are shown.

use vmatlas_event::{Bytes, Op, OpKind, Outcome, Pid};
use vmatlas_model::Done;

/// What is asked for of the calls.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    /// Only these calls; all where there is none.
    pub(crate) calls: Vec<OpKind>,
    /// Only calls that mapped or unmapped at least this much.
    pub(crate) min_size: Option<Bytes>,
    /// Only this process.
    pub(crate) pid: Option<Pid>,
    /// Only what returned an error.
    pub(crate) failed: bool,
}

impl Filter {
    pub(crate) fn wants(&self, done: &Done) -> bool {
        let event = &done.event;
        if self.pid.is_some_and(|pid| event.task.pid != pid) {
            return false;
        }
        if self.failed && !matches!(event.outcome, Outcome::Failed(_)) {
            return false;
        }
        let is_call = event.op.is_call();
        let is_named = self.calls.contains(&event.op.kind());
        // Advice that acts on pages only leaves the map as it is: counted, and shown when asked for.
        if !is_named && (!self.calls.is_empty() || !event.op.changes_vmas()) {
            return false;
        }
        match self.min_size {
            Some(min) if is_call => {
                let (added, removed) = done.bytes();
                added.max(removed) >= min
            }
            Some(_) => false,
            None => is_call || !matches!(event.op, Op::Observed { .. }),
        }
    }
}
