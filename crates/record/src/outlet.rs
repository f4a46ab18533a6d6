//! Where the queue's thread brings what it takes: the writer, or in tests one that is stuck.

use crate::error::RecordError;
use crate::meta::Outcome;
use crate::writer::Writer;
use vmatlas_event::{Event, FrameId, Keyframe, Look, MonoNs, NewStacks, PageRow, Symbol};

/// Where the thread brings what it takes.
pub(crate) trait Outlet: Send + 'static {
    fn event(&mut self, event: &Event);
    fn keyframe(&mut self, keyframe: &Keyframe);
    fn look(&mut self, look: &Look, pages: &[PageRow]);
    fn stacks(&mut self, new: &NewStacks);
    fn symbols(&mut self, symbols: &[(FrameId, Vec<Symbol>)]);
    fn set_pid(&mut self, pid: i32);
    /// Called now and then, after each look.
    fn tick(&mut self, now: MonoNs);
    /// The first error, once.
    fn take_failure(&mut self) -> Option<RecordError>;
    fn finish(self, end: Outcome) -> Result<(), RecordError>;
    fn discard(self);
}

impl Outlet for Writer {
    fn event(&mut self, event: &Event) {
        Writer::event(self, event);
    }

    fn keyframe(&mut self, keyframe: &Keyframe) {
        Writer::keyframe(self, keyframe);
    }

    fn look(&mut self, look: &Look, pages: &[PageRow]) {
        Writer::look(self, look, pages);
    }

    fn stacks(&mut self, new: &NewStacks) {
        Writer::stacks(self, new);
    }

    fn symbols(&mut self, symbols: &[(FrameId, Vec<Symbol>)]) {
        Writer::symbols(self, symbols);
    }

    fn set_pid(&mut self, pid: i32) {
        Writer::set_pid(self, pid);
    }

    fn tick(&mut self, now: MonoNs) {
        Writer::tick(self, now);
    }

    fn take_failure(&mut self) -> Option<RecordError> {
        Writer::take_failure(self)
    }

    fn finish(self, end: Outcome) -> Result<(), RecordError> {
        Writer::finish(self, end)
    }

    fn discard(self) {
        Writer::discard(self);
    }
}
