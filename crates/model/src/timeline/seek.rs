//! Moving through time: to an event, and by one change.

use super::window::Window;
use super::{Timeline, TimelineError, events_after};
use crate::change::Change;
use crate::faults::changes_no_map;
use vmatlas_event::{EventSource, Keyframe, MmId, Op, Seq};

/// An event so near is reached by replay, without a look for a keyframe.
const NEAR: u64 = 1000;

/// So many events before a place to which somebody goes are in the window, so that steps back from there are made while
/// what comes before them is made ready.
const MARGIN: u64 = if cfg!(test) { 3 } else { 256 };

/// So many entries of a window that was left are given back with a step.
const FADED: usize = 128;

/// So many events are read at a time when steps are made, and no more rows than these.
const AHEAD: usize = 64;
const AHEAD_ROWS: usize = 4096;

impl<S: EventSource> Timeline<S> {
    /// Goes to the moment after the event `to`: see [what a moment is](super).
    ///
    /// # Errors
    /// Those of the source, and what contradicts itself in it; the timeline is then at some moment that it could reach.
    pub fn seek_event(&mut self, to: Seq) -> Result<(), TimelineError<S::Error>> {
        let base = self.window.base().seq;
        let frontier = self.window.frontier().seq;
        if base.is_some_and(|base| base.0.saturating_add(MARGIN) > to.0) {
            self.restart(Seq(to.0.saturating_sub(MARGIN)))?;
        } else if frontier.map_or(0, |seq| seq.0).saturating_add(NEAR) < to.0
            && let Some(keyframe) = self.keyframe(Seq(to.0.saturating_sub(MARGIN)))?
            && frontier.is_none_or(|frontier| frontier < keyframe.after)
        {
            self.begin_with(Some(keyframe));
        }
        self.run_to(to)
    }

    /// The same from where the window is: no keyframe is looked for.
    pub(super) fn run_to(&mut self, to: Seq) -> Result<(), TimelineError<S::Error>> {
        while self.window.undo_group(Some(to), None).is_some() {}
        while self.window.next().is_some_and(|next| next <= to || !self.window.is_settled()) {
            self.window.redo(None);
        }
        if !self.window.is_at_frontier() {
            return Ok(());
        }
        while let Some(event) = self.ahead.pop_front() {
            if event.seq > to && self.window.is_settled_before(&event) {
                self.ahead.push_front(event);
                return Ok(());
            }
            self.window.apply(&event, None);
        }
        let (window, ahead) = (&mut self.window, &mut self.ahead);
        events_after(&mut self.source, window.place().seq, |event| {
            if changes_no_map(&event) {
                return event.seq <= to || !window.is_settled();
            }
            if event.seq > to && window.is_settled_before(&event) {
                ahead.push_back(event);
                return false;
            }
            window.apply(&event, None);
            true
        })
    }

    /// Goes to before the first event.
    pub fn rewind(&mut self) {
        while self.window.undo_group(None, None).is_some() {}
        if self.window.place().seq.is_some() {
            self.begin_with(None);
            self.prepare_first();
        }
    }

    /// Forgets what was near and begins at the latest keyframe that contains no event after `to`.
    pub(super) fn restart(&mut self, to: Seq) -> Result<(), TimelineError<S::Error>> {
        let keyframe = self.keyframe(to)?;
        self.begin_with(keyframe);
        Ok(())
    }

    fn begin_with(&mut self, keyframe: Option<Keyframe>) {
        self.behind = None;
        let (spaces, place) = self.state_of(keyframe);
        self.left = Some(std::mem::replace(&mut self.window, Window::new(spaces, place)));
        self.ahead.clear();
    }

    /// Goes on by one change: of `of`, or of any address space. Whether there was one; otherwise this is the end.
    ///
    /// # Errors
    /// Those of [`seek_event`](Timeline::seek_event).
    pub fn step_forward(&mut self, of: Option<MmId>) -> Result<bool, TimelineError<S::Error>> {
        let mut is_visible = false;
        self.fade();
        loop {
            match self.window.redo(of) {
                Some(shown) => is_visible |= shown,
                None => {
                    if self.ahead.is_empty() {
                        self.read_ahead()?;
                    }
                    let Some(event) = self.ahead.pop_front() else { return Ok(is_visible) };
                    is_visible |= self.window.apply(&event, of);
                    if let Some(last) = self.ahead.back() {
                        self.source.prepare(Seq(last.seq.0.saturating_add(1)));
                    }
                }
            }
            if is_visible && (self.window.is_settled() || self.is_settled_here()?) {
                return Ok(true);
            }
        }
    }

    /// Whether what comes next makes this a moment.
    fn is_settled_here(&mut self) -> Result<bool, TimelineError<S::Error>> {
        if !self.window.is_at_frontier() {
            return Ok(false);
        }
        if self.ahead.is_empty() {
            self.read_ahead()?;
        }
        Ok(self.ahead.front().is_none_or(|next| self.window.is_settled_before(next)))
    }

    fn read_ahead(&mut self) -> Result<(), TimelineError<S::Error>> {
        let ahead = &mut self.ahead;
        let mut rows_read = 0;
        let after = self.window.frontier().seq;
        let result = events_after(&mut self.source, after, |event| {
            if changes_no_map(&event) {
                return true;
            }
            rows_read += match &event.op {
                Op::Snapshot { rows, .. } | Op::Observed { rows, .. } => rows.len(),
                _ => 0,
            };
            ahead.push_back(event);
            ahead.len() < AHEAD && rows_read < AHEAD_ROWS
        });
        // What came before the error is good; it shows again when that is used up.
        if ahead.is_empty() { result } else { Ok(()) }
    }

    /// Goes back by one change: of `of`, or of any address space. Whether there was one; otherwise this is before the
    /// first event.
    ///
    /// # Errors
    /// Those of [`seek_event`](Timeline::seek_event).
    pub fn step_back(&mut self, of: Option<MmId>) -> Result<bool, TimelineError<S::Error>> {
        self.fade();
        loop {
            match self.window.undo_group(None, of) {
                Some(is_visible) => {
                    self.make_ready();
                    if is_visible {
                        return Ok(true);
                    }
                }
                None => {
                    let Some(here) = self.window.place().seq else { return Ok(false) };
                    self.enter_behind(here)?;
                }
            }
        }
    }

    /// Gives some memory of a window back that was left.
    fn fade(&mut self) {
        if self.left.as_mut().is_some_and(|left| left.fade(FADED)) {
            self.left = None;
        }
    }

    /// What the event before this moment did, the kernel's answers included, to each address space whose map is another
    /// one since: as it was told when the program ran. Nothing before the first event.
    ///
    /// # Errors
    /// Those of [`seek_event`](Timeline::seek_event).
    pub fn latest(&mut self) -> Result<Vec<(MmId, Change)>, TimelineError<S::Error>> {
        if let Some(changes) = self.window.latest() {
            return Ok(changes);
        }
        if let Some(here) = self.window.place().seq {
            self.enter_behind(here)?;
        }
        Ok(self.window.latest().unwrap_or_default())
    }

    /// Has the events that lead to `here` in the window, where nothing is in it.
    fn enter_behind(&mut self, here: Seq) -> Result<(), TimelineError<S::Error>> {
        if let Some(window) = self.ready(here) {
            self.left = Some(std::mem::replace(&mut self.window, window));
            self.ahead.clear();
            return Ok(());
        }
        match here.0.checked_sub(1) {
            Some(before) => self.restart(Seq(before))?,
            None => self.rewind(),
        }
        self.run_to(here)
    }
}
