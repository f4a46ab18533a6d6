//! Time travel: the address spaces of a recording at any moment.
//!
//! You give a [`Timeline`] an [`EventSource`]; it brings the model to any [`Moment`]: from the latest keyframe before it
//! by replay of the events between, or by taking back and making again what is near. Its memory is that of the model
//! and of a window of events, whatever the length of the recording.
//!
//! # What a moment is
//!
//! The state after an event and after the kernel's answers to it: no moment shows half a call. A number that is not in
//! the recording means the last event before it, and so does that of a page fault, which changes no map: no moment is after
//! one, and steps go over them. Events whose numbers do not grow are an error; numbers that are
//! missing are none (a damaged part was left out), and what follows is told as the model tells it.

mod behind;
mod compare;
mod history;
mod layout;
mod moment;
mod seek;
#[cfg(test)]
mod tests;
mod tree;
mod verify;
mod window;

pub use compare::{Delta, Side, compare, compare_runs, compare_spaces};
pub use history::{Chapter, History, What};
pub use layout::{same_layout, share_origins};
pub use moment::{Moment, Spot, Whose};
pub use tree::{How, SpaceNode, Tenancy, Tree};
pub use verify::{Verified, Wrong};
pub(crate) use window::Effects;

use crate::space::AddressSpace;
use crate::spaces::Spaces;
use behind::Behind;
use std::collections::VecDeque;
use std::fmt;
use vmatlas_event::{Event, EventSource, Keyframe, MmId, MonoNs, PageSize, Pid, Seq};
use window::{Place, Window};

/// Why a moment cannot be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimelineError<E> {
    /// The source could not be read.
    Source(E),
    /// An event has a number that is not larger than that of the one before it.
    OutOfOrder {
        /// The number before it.
        after: Seq,
        /// Its own.
        found: Seq,
    },
    /// A keyframe contains events that are later than it may.
    BadKeyframe {
        /// It was asked for at this event.
        asked: Seq,
        /// Its last event.
        after: Seq,
    },
    /// There is no such moment in the recording.
    NoSuchMoment,
    /// There is no such process in the recording.
    NoSuchProcess(Pid),
    /// There is no such address space in the recording.
    NoSuchSpace(MmId),
}

impl<E: fmt::Display> fmt::Display for TimelineError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TimelineError::Source(error) => error.fmt(f),
            TimelineError::OutOfOrder { after, found } => {
                write!(f, "event {found} comes after event {after}")
            }
            TimelineError::BadKeyframe { asked, after } => {
                write!(f, "the keyframe for event {asked} contains event {after}")
            }
            TimelineError::NoSuchMoment => f.write_str("there is no such moment"),
            TimelineError::NoSuchProcess(pid) => write!(f, "there is no process {pid}"),
            TimelineError::NoSuchSpace(mm) => write!(f, "there is no address space {mm}"),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for TimelineError<E> {}

/// So many parts of what the first events need are prepared at most.
const FIRST_PARTS: usize = 64;

/// Where a timeline is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The last event that has happened; `None` before the first.
    pub seq: Option<Seq>,
    /// When it was left.
    pub at: MonoNs,
    /// How long after the first event was entered.
    pub since_start: MonoNs,
}

/// The address spaces of a recording at a moment that can be chosen.
#[derive(Debug)]
pub struct Timeline<S: EventSource> {
    source: S,
    page: PageSize,
    distrust: bool,
    start: MonoNs,
    window: Window,
    /// Events that follow the window, read already.
    ahead: VecDeque<Event>,
    /// What comes before the window, on its way.
    behind: Option<Behind>,
    /// A window that was left: its memory is given back bit by bit.
    left: Option<Window>,
    tree: Option<Tree>,
}

impl<S: EventSource> Timeline<S> {
    /// A timeline before the first event. `page` and `distrust` are those of the recording; see [`Spaces::distrust`].
    ///
    /// # Errors
    /// Those of the source: its first event is read.
    pub fn open(
        mut source: S,
        page: PageSize,
        distrust: bool,
    ) -> Result<Timeline<S>, TimelineError<S::Error>> {
        let mut start = MonoNs(0);
        source
            .events(Seq(0), &mut |event| {
                start = event.entered;
                false
            })
            .map_err(TimelineError::Source)?;
        let mut spaces = Spaces::new(page);
        spaces.distrust(distrust);
        let window = Window::new(spaces, Place { seq: None, at: start });
        let (ahead, behind, left, tree) = (VecDeque::new(), None, None, None);
        let mut timeline = Timeline { source, page, distrust, start, window, ahead, behind, left, tree };
        timeline.prepare_first();
        Ok(timeline)
    }

    /// Has the first events made ready, a large map among them mostly: no step comes before them that could do so.
    fn prepare_first(&mut self) {
        (0..FIRST_PARTS).any(|_| self.source.prepare(Seq(0)));
    }

    /// Where it is.
    pub fn position(&self) -> Position {
        let Place { seq, at } = self.window.place();
        Position { seq, at, since_start: MonoNs(at.0.saturating_sub(self.start.0)) }
    }

    /// When the first event was entered: times since the start are counted from here.
    pub fn start(&self) -> MonoNs {
        self.start
    }

    /// The number of the last event.
    pub fn last(&self) -> Option<Seq> {
        self.source.last()
    }

    /// The address spaces that live at this moment, in order.
    pub fn spaces(&self) -> Vec<MmId> {
        self.window.spaces().alive()
    }

    /// One of them.
    pub fn space(&self, mm: MmId) -> Option<&AddressSpace> {
        self.window.spaces().get(mm)
    }

    /// The source, for what it knows beside events; what is read from it moves nothing here.
    pub fn source(&mut self) -> &mut S {
        &mut self.source
    }

    /// The same, to be looked at only.
    pub fn source_ref(&self) -> &S {
        &self.source
    }

    /// The state before the first event.
    fn nothing(&self) -> Spaces {
        let mut spaces = Spaces::new(self.page);
        spaces.distrust(self.distrust);
        spaces
    }

    /// The latest keyframe that contains no event after `at`, if it keeps to that.
    fn keyframe(&mut self, at: Seq) -> Result<Option<Keyframe>, TimelineError<S::Error>> {
        let keyframe = self.source.keyframe(at).map_err(TimelineError::Source)?;
        checked(keyframe, at)
    }

    /// The state of a keyframe and the place after it; `None` is before the first event.
    fn state_of(&self, keyframe: Option<Keyframe>) -> (Spaces, Place) {
        match keyframe {
            Some(keyframe) => {
                let place = Place { seq: Some(keyframe.after), at: keyframe.at };
                (Spaces::from_keyframe(self.page, self.distrust, keyframe), place)
            }
            None => (self.nothing(), Place { seq: None, at: self.start }),
        }
    }
}

/// A keyframe that was asked for at an event, if it keeps to that.
fn checked<E>(keyframe: Option<Keyframe>, at: Seq) -> Result<Option<Keyframe>, TimelineError<E>> {
    match keyframe {
        Some(Keyframe { after, .. }) if after > at => Err(TimelineError::BadKeyframe { asked: at, after }),
        keyframe => Ok(keyframe),
    }
}

/// Gives the events after `after` to `found`, which answers whether to go on; an error where their numbers do not grow.
fn events_after<S: EventSource>(
    source: &mut S,
    after: Option<Seq>,
    mut found: impl FnMut(Event) -> bool,
) -> Result<(), TimelineError<S::Error>> {
    let (Some(from), mut last) = (after.map_or(Some(0), |seq| seq.0.checked_add(1)), after) else {
        return Ok(());
    };
    let mut disorder = None;
    source
        .events(Seq(from), &mut |event| {
            if let Some(after) = last.filter(|last| event.seq <= *last) {
                disorder = Some(TimelineError::OutOfOrder { after, found: event.seq });
                return false;
            }
            last = Some(event.seq);
            found(event)
        })
        .map_err(TimelineError::Source)?;
    disorder.map_or(Ok(()), Err)
}
