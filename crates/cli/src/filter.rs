//! Which events are shown.

use vmatlas_event::{Bytes, Event, Op, OpKind, Outcome, Pid};
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
    /// Page faults too: where each event is wanted, or they are named among the calls.
    pub(crate) faults: bool,
}

impl Filter {
    pub(crate) fn wants(&self, done: &Done) -> bool {
        self.wants_event(&done.event)
            && match self.min_size {
                Some(min) if done.event.op.is_call() => {
                    let (added, removed) = done.bytes();
                    added.max(removed) >= min
                }
                Some(_) => false,
                None => true,
            }
    }

    /// The same by what the event is alone, whatever it did.
    pub(crate) fn wants_event(&self, event: &Event) -> bool {
        if matches!(event.op, Op::Fault { .. }) && !self.shows_faults() {
            return false;
        }
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
        is_call || !matches!(event.op, Op::Observed { .. })
    }

    /// Whether page faults are shown at all.
    pub(crate) fn shows_faults(&self) -> bool {
        let is_named = self.calls.contains(&OpKind::Fault);
        is_named || self.faults && self.calls.is_empty() && self.min_size.is_none()
    }
}
