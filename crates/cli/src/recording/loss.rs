//! Events that the disk was too slow for.

use vmatlas_event::{Event, MmId, MonoNs, Op, Outcome, Seq, Source, TaskId};

/// Events that are being lost, and the last of them.
#[derive(Debug)]
pub(super) struct Loss {
    count: u64,
    from: MonoNs,
    to: MonoNs,
    /// When the last one was left.
    left: MonoNs,
    seq: Seq,
    task: TaskId,
    mm: MmId,
}

impl Loss {
    pub(super) fn new(event: &Event) -> Loss {
        let Event { seq, entered, left, task, mm, .. } = *event;
        Loss { count: 1, from: entered, to: left, left, seq, task, mm }
    }

    pub(super) fn add(&mut self, event: &Event) {
        self.count = self.count.saturating_add(1);
        self.from = self.from.min(event.entered);
        self.to = self.to.max(event.left);
        (self.seq, self.left) = (event.seq, event.left);
        (self.task, self.mm) = (event.task, event.mm);
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// What is written in their place, with the number of the last of them.
    pub(super) fn event(&self) -> Event {
        Event {
            seq: self.seq,
            entered: self.left,
            left: self.left,
            task: self.task,
            mm: self.mm,
            op: Op::Lost { count: Some(self.count), from: self.from, to: self.to, state: None },
            outcome: Outcome::Done(0),
            stack: None,
            source: Source::Observed,
        }
    }
}
