//! Whether a recording agrees with itself: replay against every snapshot and every keyframe.

use super::{Timeline, TimelineError, checked, events_after};
use crate::check::Difference;
use crate::progress::Tally;
use crate::spaces::Spaces;
use vmatlas_event::{Event, EventSource, Keyframe, MmId, MonoNs, Op, Seq, SnapshotReason};

/// So many differences are kept; all are counted.
const KEPT: usize = 16;

/// What a whole replay found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verified {
    /// Events that were replayed.
    pub events: u64,
    /// Events known to be lost, as far as they were counted.
    pub lost: u64,
    /// How well the models and the snapshots agreed, counted as when the program ran.
    pub tally: Tally,
    /// Snapshots that the model could be compared with: those of a map that it knew.
    pub compared: u64,
    /// Those that contradicted it: about some page, or, where all tasks were held, about a boundary.
    pub different: u64,
    /// Keyframes that replay could be compared with.
    pub keyframes: u64,
    /// Those that were not the state of the replay.
    pub wrong_keyframes: u64,
    /// The first of them.
    pub first: Vec<Wrong>,
}

/// A place where a recording contradicts itself.
#[derive(Clone, Debug, PartialEq)]
pub enum Wrong {
    /// A snapshot.
    Snapshot {
        /// Its event.
        seq: Seq,
        /// Whose map it shows.
        mm: MmId,
        /// The first place that differs, where it was taken to compare.
        difference: Option<Box<Difference>>,
    },
    /// A keyframe.
    Keyframe {
        /// The last event it contains.
        after: Seq,
        /// The first address space that differs; `None` where a call was waiting for its answer.
        mm: Option<MmId>,
    },
}

impl<S: EventSource> Timeline<S> {
    /// Replays everything from the first event on. The timeline stays where it is. `progress` is told of each event and
    /// answers whether to go on.
    ///
    /// # Errors
    /// Those of the source, and events out of order.
    pub fn verify(
        &mut self,
        mut progress: impl FnMut(Seq) -> bool,
    ) -> Result<Verified, TimelineError<S::Error>> {
        let mut keyframes = self.keyframe_places()?;
        let mut replay = Replay { spaces: self.nothing(), at: None, found: Verified::default() };
        // The event that came after the last keyframe: it is not read again, however many keyframes there are.
        let mut held: Option<Event> = None;
        let mut goes_on = true;
        // The source can give events or a keyframe, not both at a time: one stretch up to each keyframe.
        while goes_on {
            let stop = keyframes.pop();
            let is_later = |event: &Event| stop.is_some_and(|stop| event.seq > stop);
            if held.as_ref().is_some_and(is_later) {
                // No event of this keyframe's number was there.
                continue;
            }
            if let Some(event) = held.take() {
                replay.event(&event);
                goes_on = progress(event.seq);
            }
            let mut is_end = false;
            if goes_on && stop.is_none_or(|stop| replay.at.is_none_or(|(seq, _)| seq < stop)) {
                is_end = true;
                events_after(&mut self.source, replay.at.map(|(seq, _)| seq), |event| {
                    if is_later(&event) {
                        (held, is_end) = (Some(event), false);
                        return false;
                    }
                    replay.event(&event);
                    goes_on = progress(event.seq);
                    let is_last = stop == Some(event.seq) || !goes_on;
                    is_end &= !is_last;
                    !is_last
                })?;
            }
            let Some(stop) = stop else { break };
            if goes_on && replay.at.is_some_and(|(seq, _)| seq == stop) {
                // One that is damaged is none; the source knows of it.
                let kept = self.source.keyframe_of(stop).map_err(TimelineError::Source)?;
                if let Some(kept) = checked(kept, stop)? {
                    replay.keyframe(stop, &kept);
                }
            }
            if is_end {
                // Nothing can be compared with keyframes that come later.
                break;
            }
        }
        let Replay { spaces, mut found, .. } = replay;
        found.tally = spaces.tally();
        Ok(found)
    }

    /// After which events keyframes were taken, the latest first.
    fn keyframe_places(&mut self) -> Result<Vec<Seq>, TimelineError<S::Error>> {
        let mut places = Vec::new();
        let mut at = self.source.last();
        while let Some(seq) = at {
            let place = self.source.keyframe_place(seq).map_err(TimelineError::Source)?;
            // A source that does not go back would have us ask for ever.
            let Some(place) = place.filter(|place| *place <= seq) else { break };
            places.push(place);
            at = place.0.checked_sub(1).map(Seq);
        }
        Ok(places)
    }
}

/// The replay that a recording is compared with.
struct Replay {
    spaces: Spaces,
    /// The last event, and when it was left.
    at: Option<(Seq, MonoNs)>,
    found: Verified,
}

impl Replay {
    /// Replays an event.
    fn event(&mut self, event: &Event) {
        let (spaces, found) = (&mut self.spaces, &mut self.found);
        let before = spaces.tally();
        let progressed = spaces.event(event);
        found.events += 1;
        self.at = Some((event.seq, event.left));
        if let Op::Lost { count, .. } = event.op {
            // One at least, where nobody could count them.
            found.lost = found.lost.saturating_add(count.unwrap_or(1));
        }
        if let Op::Snapshot { reason, .. } = event.op {
            let now = spaces.tally();
            let is_wrong = now.drift > before.drift || now.differences > before.differences;
            found.compared += u64::from(is_compared(reason));
            found.different += u64::from(is_wrong);
            if is_wrong && found.first.len() < KEPT {
                let difference = progressed.difference;
                found.first.push(Wrong::Snapshot { seq: event.seq, mm: event.mm, difference });
            }
        }
    }

    /// Compares a keyframe with the state after its last event.
    fn keyframe(&mut self, after: Seq, kept: &Keyframe) {
        let (spaces, found) = (&self.spaces, &mut self.found);
        let left = self.at.map_or(MonoNs(0), |(_, left)| left);
        found.keyframes += 1;
        if (kept.after, kept.at) == (after, left) && spaces.is_state(kept) {
            return;
        }
        found.wrong_keyframes += 1;
        if found.first.len() < KEPT {
            let mm = spaces.keyframe(after, left).and_then(|now| first_different(&now, kept));
            found.first.push(Wrong::Keyframe { after, mm });
        }
    }
}

/// Whether such a snapshot is of a map that the model knew.
fn is_compared(reason: SnapshotReason) -> bool {
    match reason {
        SnapshotReason::Exec
        | SnapshotReason::Fork
        | SnapshotReason::Attach
        | SnapshotReason::Watch
        | SnapshotReason::Unclear => false,
        SnapshotReason::Request
        | SnapshotReason::Reconcile
        | SnapshotReason::Last
        | SnapshotReason::Check => true,
    }
}

fn first_different(a: &Keyframe, b: &Keyframe) -> Option<MmId> {
    let mut pairs = a.spaces.iter().zip(&b.spaces);
    let differs = pairs.find(|(a, b)| a != b).map(|(a, b)| a.mm.min(b.mm));
    let longer = if a.spaces.len() > b.spaces.len() { a } else { b };
    differs.or_else(|| longer.spaces.get(a.spaces.len().min(b.spaces.len())).map(|state| state.mm))
}
