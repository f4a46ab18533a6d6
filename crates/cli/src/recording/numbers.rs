//! Numbers of events in a recording: marks come between those that a tracer has numbered.

use std::borrow::Cow;
use vmatlas_event::{Event, Keyframe, Look, MonoNs, Op, Outcome, PageRow, Seq, Source};
use vmatlas_record::{RecordError, Writer};

/// A writer, and what is needed to put marks between the events that go to it.
pub(super) struct Numbered {
    pub(super) writer: Option<Writer>,
    /// How many marks were written: the numbers of events are larger by so many than their tracer says.
    marks: u64,
    /// Marks that wait until the event in hand is written.
    waiting: Vec<(String, MonoNs)>,
    /// Whether an event has its number and is not yet written.
    in_hand: bool,
    /// The last event, for the task and the address space that a mark names: those that a reader knows already.
    last: Option<Event>,
}

impl Numbered {
    pub(super) fn new(writer: Writer) -> Numbered {
        Numbered { writer: Some(writer), marks: 0, waiting: Vec::new(), in_hand: false, last: None }
    }

    /// Whether anything is still written.
    pub(super) fn is_open(&self) -> bool {
        self.writer.as_ref().is_some_and(Writer::is_open)
    }

    /// The event with its number in the recording; no mark is written before it is.
    pub(super) fn number<'a>(&mut self, event: &'a Event) -> Cow<'a, Event> {
        self.in_hand = true;
        match self.marks {
            0 => Cow::Borrowed(event),
            marks => Cow::Owned(Event { seq: Seq(event.seq.0.saturating_add(marks)), ..event.clone() }),
        }
    }

    /// Writes an event that has its number; why nothing is written any more.
    pub(super) fn event(&mut self, event: &Event, keyframe: Option<&Keyframe>) -> Option<RecordError> {
        self.in_hand = false;
        let mark = Op::Mark { name: String::new() };
        // Without what is large in it.
        self.last = Some(Event {
            seq: event.seq,
            entered: event.entered,
            left: event.left,
            task: event.task,
            mm: event.mm,
            op: mark,
            outcome: Outcome::Done(0),
            stack: None,
            source: Source::Observed,
        });
        let writer = self.writer.as_mut()?;
        writer.event(event);
        if let Some(keyframe) = keyframe {
            writer.keyframe(keyframe);
        }
        self.write_marks();
        self.writer.as_mut()?.take_failure()
    }

    /// Writes a look whose events are written; why nothing is written any more.
    pub(super) fn look(
        &mut self,
        look: &Look,
        pages: &[PageRow],
        keyframe: Option<&Keyframe>,
    ) -> Option<RecordError> {
        let writer = self.writer.as_mut()?;
        writer.look(look, pages);
        if let Some(keyframe) = keyframe {
            writer.keyframe(keyframe);
        }
        writer.take_failure()
    }

    /// Takes a mark, made at this time.
    pub(super) fn mark(&mut self, name: String, at: MonoNs) {
        self.waiting.push((name, at));
        self.write_marks();
    }

    fn write_marks(&mut self) {
        let (Some(last), Some(writer), false) = (self.last.as_mut(), self.writer.as_mut(), self.in_hand)
        else {
            return;
        };
        for (name, at) in self.waiting.drain(..) {
            last.seq = Seq(last.seq.0.saturating_add(1));
            // Times in a recording do not go back.
            let at = at.max(last.left);
            self.marks += 1;
            *last = Event { entered: at, left: at, op: Op::Mark { name }, ..last.clone() };
            writer.event(last);
        }
    }
}
