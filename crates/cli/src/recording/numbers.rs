//! Numbers of events in a recording: marks come between those that a tracer has numbered.

use super::loss::Loss;
use std::borrow::Cow;
use vmatlas_event::{Event, Keyframe, Look, MonoNs, NewStacks, Op, Outcome, PageRow, Seq, Source};
use vmatlas_record::{Queue, RecordError};

/// A queue to the writer, and what is needed to put marks between the events that go to it.
pub(super) struct Numbered {
    pub(super) queue: Option<Queue>,
    /// How many marks were written: the numbers of events are larger by so many than their tracer says.
    marks: u64,
    /// Marks that wait until the event in hand is written, or a loss is over.
    waiting: Vec<(String, MonoNs)>,
    /// Whether an event has its number and is not yet written.
    in_hand: bool,
    /// The last event, for the task and the address space that a mark names: those that a reader knows already.
    last: Option<Event>,
    /// Events that are being lost: the disk is slower than the program.
    loss: Option<Loss>,
    /// How many were lost in all.
    lost: u64,
    /// What of stacks is new and had no room yet.
    stacks: NewStacks,
}

impl Numbered {
    pub(super) fn new(queue: Queue) -> Numbered {
        Numbered {
            queue: Some(queue),
            marks: 0,
            waiting: Vec::new(),
            in_hand: false,
            last: None,
            loss: None,
            lost: 0,
            stacks: NewStacks::default(),
        }
    }

    /// Takes what of stacks is new, before the first event that names it.
    pub(super) fn stacks(&mut self, new: NewStacks) {
        self.stacks.append(new);
    }

    /// Writes what of stacks is new; whether nothing of it is left, so that events may name it.
    fn write_stacks(&mut self) -> bool {
        if let Some(queue) = self.queue.as_ref().filter(|_| !self.stacks.is_empty()) {
            self.stacks = queue.stacks(std::mem::take(&mut self.stacks)).unwrap_or_default();
        }
        self.stacks.is_empty()
    }

    /// Whether anything is still written.
    pub(super) fn is_open(&self) -> bool {
        self.queue.as_ref().is_some_and(Queue::is_open)
    }

    /// The event with its number in the recording; no mark is written before it is.
    pub(super) fn number<'a>(&mut self, event: &'a Event) -> Cow<'a, Event> {
        self.in_hand = true;
        match self.marks {
            0 => Cow::Borrowed(event),
            marks => Cow::Owned(Event { seq: Seq(event.seq.0.saturating_add(marks)), ..event.clone() }),
        }
    }

    /// Writes an event that has its number. `state` gives the state after it, where a keyframe can be taken; `is_due` says
    /// that one is wanted. Whether one was taken.
    pub(super) fn event(
        &mut self,
        event: &Event,
        is_due: bool,
        state: impl FnOnce() -> Option<Keyframe>,
    ) -> bool {
        self.in_hand = false;
        self.keep_last(event);
        let is_told = self.write_stacks();
        let Some(queue) = &self.queue else { return false };
        let mut has_keyframe = false;
        match &mut self.loss {
            None if is_told && queue.event(event) => {
                // The state is not made for a queue without room for it.
                let keyframe = if is_due && queue.has_room() { state() } else { None };
                has_keyframe = keyframe.is_some_and(|keyframe| queue.keyframe(keyframe));
            }
            None => self.loss = Some(Loss::new(event)),
            Some(loss) => {
                loss.add(event);
                // Replay goes on from this state: the loss lasts until there is one.
                if is_told
                    && queue.has_room()
                    && let Some(keyframe) = state()
                {
                    queue.loss(&loss.event(), Some(keyframe));
                    has_keyframe = true;
                    self.lost = self.lost.saturating_add(loss.count());
                    self.loss = None;
                }
            }
        }
        self.write_marks();
        has_keyframe
    }

    /// Writes a look whose events are written, and a keyframe after it; whether there was room for it.
    pub(super) fn look(&mut self, look: &Look, pages: &[PageRow], keyframe: Option<Keyframe>) -> bool {
        let Some(queue) = self.queue.as_ref().filter(|_| self.loss.is_none()) else { return false };
        let is_taken = queue.look(look, pages);
        if let Some(keyframe) = keyframe.filter(|_| is_taken) {
            // Replay is only slower without it.
            queue.keyframe(keyframe);
        }
        is_taken
    }

    /// Why nothing is written any more; told once.
    pub(super) fn take_failure(&mut self) -> Option<RecordError> {
        self.queue.as_ref()?.take_failure()
    }

    /// Says what was being lost to the end; how many were lost in all.
    pub(super) fn end_loss(&mut self, state: impl FnOnce(Seq, MonoNs) -> Option<Keyframe>) -> u64 {
        if let (Some(loss), Some(queue)) = (self.loss.take(), &self.queue) {
            let event = loss.event();
            queue.loss(&event, state(event.seq, event.left));
            self.lost = self.lost.saturating_add(loss.count());
        }
        self.write_marks();
        self.lost
    }

    /// Takes a mark, made at this time.
    pub(super) fn mark(&mut self, name: String, at: MonoNs) {
        self.waiting.push((name, at));
        self.write_marks();
    }

    fn keep_last(&mut self, event: &Event) {
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
    }

    fn write_marks(&mut self) {
        if self.in_hand || self.loss.is_some() || self.waiting.is_empty() {
            return;
        }
        let (Some(last), Some(queue)) = (self.last.as_mut(), &self.queue) else { return };
        let mut waiting = std::mem::take(&mut self.waiting).into_iter();
        while let Some((name, at)) = waiting.next() {
            // Times in a recording do not go back.
            let moment = at.max(last.left);
            let seq = Seq(last.seq.0.saturating_add(1));
            let mark = Op::Mark { name: name.clone() };
            let event = Event { seq, entered: moment, left: moment, op: mark, ..last.clone() };
            if !queue.event(&event) {
                // There is no room: with the next event.
                self.waiting.push((name, at));
                self.waiting.extend(waiting);
                return;
            }
            self.marks += 1;
            *last = event;
        }
    }
}
