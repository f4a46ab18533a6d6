//! What comes before the window: made ready in small parts while steps go back, so that none of them waits for all of it.

use super::window::{Place, Window};
use super::{Timeline, checked, events_after};
use crate::faults::changes_no_map;
use crate::keyframe::Building;
use vmatlas_event::{Event, EventSource, Op, Seq};

/// It is begun when so few entries can still be taken back.
const NEAR: usize = if cfg!(test) { 4 } else { 4096 };

/// So many parts are prepared with a step: there are some dozens, and all must be done when the window ends.
const PREPARED: usize = 4;

/// So many rows of a keyframe are taken in with a step, and so many events replayed.
const ROWS: usize = if cfg!(test) { 3 } else { 2048 };
const EVENTS: usize = if cfg!(test) { 2 } else { 128 };

/// An event with so many rows is replayed with a step of its own.
const LARGE: usize = if cfg!(test) { 3 } else { 512 };

/// The window that ends where another one begins, on its way.
#[derive(Debug)]
pub(crate) struct Behind {
    /// Its last event: that before the first one of the other window.
    end: Seq,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The keyframe that it begins with is read.
    Reading,
    /// It is taken in.
    Building(Box<Building>, Place),
    /// Events are replayed; a large one that was read may wait for its turn.
    Replaying(Box<Window>, Option<Event>),
    Ready(Box<Window>),
    /// The source failed, or contradicts itself; whoever really goes there is told of it.
    Failed,
}

impl<S: EventSource> Timeline<S> {
    /// Does a part of what a step back over the beginning of the window needs, where that is near.
    pub(super) fn make_ready(&mut self) {
        if self.window.made() <= NEAR
            && let Some(base) = self.window.base().seq
        {
            self.advance(base);
        }
    }

    /// The window that ends after `here`, all that is left to do for it done; `None` where that failed.
    pub(super) fn ready(&mut self, here: Seq) -> Option<Window> {
        while !self.advance(here) {}
        match self.behind.take()?.state {
            State::Ready(window) => Some(*window),
            _ => None,
        }
    }

    /// Does one part; whether nothing is left to do.
    fn advance(&mut self, end: Seq) -> bool {
        let begun = self.behind.take().filter(|behind| behind.end == end);
        let state = begun.map_or(State::Reading, |behind| behind.state);
        let state = match state {
            State::Reading => self.read_part(end),
            State::Building(mut building, place) => match building.go_on(ROWS) {
                true => State::Replaying(Box::new(Window::new(building.finish(), place)), None),
                false => State::Building(building, place),
            },
            State::Replaying(window, held) => self.replay_part(window, held, end),
            done => done,
        };
        let is_done = matches!(state, State::Ready(_) | State::Failed);
        self.behind = Some(Behind { end, state });
        is_done
    }

    fn read_part(&mut self, end: Seq) -> State {
        let Some(before) = end.0.checked_sub(1).map(Seq) else {
            return State::Replaying(Box::new(self.empty()), None);
        };
        match self.source.keyframe_part(before) {
            Ok(None) => State::Reading,
            Ok(Some(keyframe)) => match checked::<S::Error>(keyframe, before) {
                Ok(Some(keyframe)) => {
                    let place = Place { seq: Some(keyframe.after), at: keyframe.at };
                    State::Building(Box::new(Building::new(self.page, self.distrust, keyframe)), place)
                }
                Ok(None) => State::Replaying(Box::new(self.empty()), None),
                Err(_) => State::Failed,
            },
            Err(_) => State::Failed,
        }
    }

    /// A window before the first event.
    fn empty(&self) -> Window {
        Window::new(self.nothing(), Place { seq: None, at: self.start })
    }

    fn replay_part(&mut self, mut window: Box<Window>, held: Option<Event>, end: Seq) -> State {
        let mut count = 0;
        let mut large = None;
        let mut at = window.frontier().seq;
        let read = match held {
            Some(event) => {
                at = Some(event.seq);
                window.apply(&event, None);
                count = EVENTS;
                Ok(())
            }
            None => {
                let next = Seq(at.map_or(0, |at| at.0.saturating_add(1)));
                if !(0..PREPARED).any(|_| self.source.prepare(next)) {
                    return State::Replaying(window, None);
                }
                events_after(&mut self.source, at, |event| {
                    if event.seq > end {
                        return false;
                    }
                    if count > 0 && is_large(&event) {
                        large = Some(event);
                        return false;
                    }
                    at = Some(event.seq);
                    if !changes_no_map(&event) {
                        window.apply(&event, None);
                        count += if is_large(&event) { EVENTS } else { 1 };
                    }
                    count < EVENTS && event.seq < end
                })
            }
        };
        let goes_on = large.is_some() || count >= EVENTS && at < Some(end);
        match read {
            Ok(()) if goes_on => State::Replaying(window, large),
            // It ends where the other one begins, and nothing there is half done.
            Ok(()) if at == Some(end) && window.is_settled() => State::Ready(window),
            _ => State::Failed,
        }
    }
}

fn is_large(event: &Event) -> bool {
    match &event.op {
        Op::Snapshot { rows, .. } | Op::Observed { rows, .. } => rows.len() >= LARGE,
        Op::Lost { state, .. } => state.is_some(),
        _ => false,
    }
}
