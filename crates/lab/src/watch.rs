//! What our own tracer saw of the subject: its map at exec, its memory calls in order, and the live model.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vmatlas_event::{Event, MmId, Next, Op, Pid, Sink, SnapshotReason, VmaRow};
use vmatlas_model::{Done, Spaces};

/// Shared between the tracer's thread, which fills it, and the experiment, which reads it.
///
/// The tracer handles the exit stop of a call before the subject can go on and reply: whoever has the reply finds
/// every earlier call here.
#[derive(Clone)]
pub(crate) struct Watch(Arc<Mutex<Seen>>);

/// Takes every event of the first subject too, in order, on the tracer's thread: a recording.
pub type Tap = Box<dyn FnMut(&Event) + Send>;

struct Seen {
    spaces: Spaces,
    /// The subject itself; its children are traced too.
    root: Option<Pid>,
    tap: Option<Tap>,
    mm: Option<MmId>,
    at_exec: Option<Vec<VmaRow>>,
    calls: Vec<Done>,
    /// Why nothing is seen; `None` while tracing.
    blind: Option<String>,
}

impl Watch {
    pub(crate) fn new(tap: Option<Tap>) -> Watch {
        let spaces = Spaces::new(vmatlas_sys::page_size());
        let (calls, root) = (Vec::new(), None);
        Watch(Arc::new(Mutex::new(Seen { spaces, root, tap, mm: None, at_exec: None, calls, blind: None })))
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // A thread that panicked while holding it left plain values behind.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells that the subject runs untraced.
    pub(crate) fn blinded(&self, why: String) {
        self.seen().blind = Some(why);
    }

    /// Why there are no calls to see; `None` when there are.
    pub(crate) fn blind(&self) -> Option<String> {
        self.seen().blind.clone()
    }

    /// How many calls there were so far.
    pub(crate) fn count(&self) -> usize {
        self.seen().calls.len()
    }

    /// The calls from number `from` on.
    pub(crate) fn calls(&self, from: usize) -> Vec<Done> {
        self.seen().calls.get(from..).unwrap_or_default().to_vec()
    }

    /// The map the kernel made at exec, before the program's first instruction.
    pub(crate) fn at_exec(&self) -> Option<Vec<VmaRow>> {
        self.seen().at_exec.clone()
    }

    /// The model's map now.
    pub(crate) fn model(&self) -> Option<Vec<VmaRow>> {
        let seen = self.seen();
        let space = seen.spaces.get(seen.mm?)?;
        Some(space.vmas().cloned().collect())
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

impl Sink for Watch {
    fn event(&mut self, event: &Event) -> Next {
        let mut seen = self.seen();
        if let Some(tap) = &mut seen.tap {
            tap(event);
        }
        if let Op::Snapshot { reason: SnapshotReason::Exec, rows } = &event.op
            && *seen.root.get_or_insert(event.task.pid) == event.task.pid
        {
            seen.mm = Some(event.mm);
            seen.at_exec = Some(rows.clone());
            seen.calls.clear();
        }
        let progress = seen.spaces.event(event);
        let mm = seen.mm;
        let done = progress.unanswered.into_iter().chain(progress.done);
        seen.calls.extend(
            done.filter(|done| done.event.op.is_call() && Some(done.event.mm) == mm).map(|done| *done),
        );
        if progress.ask.is_empty() { Next::Go } else { Next::Ask(progress.ask) }
    }
}
