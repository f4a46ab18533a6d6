//! Places in the events of a part where reading stopped, so that it goes on there without a search.

use crate::batch::Batch;
use crate::cursor::{Batches, Cursor};
use crate::error::RecordError;
use crate::flat::{self, Lookup as _};
use crate::known::Known;
use crate::maps::{Maps, Prepared};
use crate::unflat::{self, Attached};
use std::sync::{Mutex, PoisonError};
use vmatlas_event::{Event, Keyframe};

/// An event so near after a place is reached by leaving out those between.
const NEAR: u64 = 1024;
/// So many places are kept: where steps go on, and where what came before is read; each in one part and in the next.
const KEPT: usize = 4;

/// So many events after a place are looked at ahead of time: more than are read at a time for steps and for replay.
const LOOKED_AT: usize = 256;
/// So many rows of maps are decoded at a time then.
const PART: usize = 512;

/// A place in the events of a part.
pub(crate) struct Place {
    pub(crate) unit: usize,
    /// All events with smaller numbers are behind it.
    next: u64,
    /// The last event that it came by.
    previous: Option<u64>,
    events: Batches,
    batch: Option<Batch>,
    at: usize,
    /// The batch after it, where that was read already; nothing inside where there is none.
    following: Option<Option<Result<Batch, RecordError>>>,
    /// How many rows of these two were looked at, so that what belongs to them can be decoded ahead.
    looked: usize,
    rows: Maps,
    in_flight: Cursor,
}

impl Place {
    /// Before the first event whose number is at least `from`; the three tables begin no later than there.
    pub(crate) fn new(unit: usize, from: u64, events: Batches, rows: Batches, in_flight: Batches) -> Place {
        Place {
            unit,
            next: from,
            previous: None,
            events,
            batch: None,
            at: 0,
            following: None,
            looked: 0,
            rows: Maps::new(rows),
            in_flight: Cursor::new(in_flight),
        }
    }

    /// Does a small part of what the next events need; whether nothing is left to do now. `state` does so for the keyframe
    /// that was taken right after a loss.
    pub(crate) fn prepare(&mut self, known: &Known, state: &dyn Fn(u64) -> bool) -> bool {
        self.events.prepare()
            && self.rows.prepare()
            && self.in_flight.prepare()
            && self.look_ahead(known, state)
    }

    /// Decodes some of what belongs to events that are near; whether nothing is left to do now, or something is wrong, which
    /// whoever reads is told.
    fn look_ahead(&mut self, known: &Known, state: &dyn Fn(u64) -> bool) -> bool {
        let mut left = PART;
        let length = self.batch.as_ref().map_or(0, Batch::len);
        self.looked = self.looked.max(self.at);
        while self.looked < self.at + LOOKED_AT {
            let batch = match self.looked.checked_sub(length) {
                None => self.batch.as_ref().map(|batch| (batch, self.looked)),
                Some(index) => {
                    if self.following.is_none() {
                        self.following = Some(self.events.next());
                        return false;
                    }
                    let following =
                        self.following.as_ref().and_then(|following| following.as_ref()?.as_ref().ok());
                    following.filter(|batch| index < batch.len()).map(|batch| (batch, index))
                }
            };
            let Some(row) = batch.map(|(batch, index)| batch.row(index)) else { break };
            let (Ok(seq), Ok((count, _))) = (row.bits(flat::SEQ), unflat::attached(row)) else { break };
            // What belongs to those before may not have been read.
            if seq >= self.next {
                if count > 0 {
                    match self.rows.prepare_rows(seq, count, known, &mut left) {
                        Prepared::Whole => {}
                        Prepared::Part => return false,
                        Prepared::Stuck => break,
                    }
                }
                if unflat::is_loss(row) && !state(seq) {
                    return false;
                }
            }
            self.looked += 1;
        }
        // What was decoded just now may have made room for more to be prepared.
        left == PART
    }

    /// Gives the events from `from` on, none of which has a number that is not larger than `previous`; whether `found`
    /// wants more, and so whether this is the end of the part. `state` gives the keyframe that was taken right after a loss.
    pub(crate) fn events(
        &mut self,
        from: u64,
        known: &Known,
        state: &dyn Fn(u64) -> Result<Option<Keyframe>, RecordError>,
        previous: &mut Option<u64>,
        found: &mut dyn FnMut(Event) -> bool,
    ) -> Result<bool, RecordError> {
        *previous = (*previous).max(self.previous);
        loop {
            let Some(batch) = self.batch.as_ref().filter(|batch| self.at < batch.len()) else {
                self.looked = self.looked.saturating_sub(self.batch.as_ref().map_or(0, Batch::len));
                let following = self.following.take().unwrap_or_else(|| self.events.next());
                let Some(batch) = following else { return Ok(true) };
                self.batch = Some(batch?);
                self.at = 0;
                continue;
            };
            let row = batch.row(self.at);
            self.at += 1;
            let seq = row.bits(flat::SEQ)?;
            if seq < from {
                continue;
            }
            if previous.is_some_and(|previous| previous >= seq) {
                return Err(row.wrong(flat::SEQ));
            }
            *previous = Some(seq);
            self.previous = Some(seq);
            self.next = seq.saturating_add(1);
            let (row_count, task_count) = unflat::attached(row)?;
            let mut attached = Attached::default();
            if row_count > 0 {
                attached.rows = self.rows.take(seq, row_count, row, known)?;
            }
            if task_count > 0 {
                self.in_flight.take(seq, task_count, row, &mut |r| {
                    let task = r.get(1).and_then(|id| known.task(id)).ok_or_else(|| r.wrong(1))?;
                    attached.in_flight.push(task);
                    Ok(())
                })?;
            }
            if unflat::is_loss(row) {
                attached.state = state(seq)?.map(Box::new);
            }
            if !found(unflat::event(row, attached, known)?) {
                return Ok(false);
            }
        }
    }
}

/// The places that were left last, the latest one at the end.
#[derive(Default)]
pub(crate) struct Places(Mutex<Vec<Place>>);

impl Places {
    /// Takes one that is at `from` or so near before it that reading goes on there, in a part that begins with event `first`.
    pub(crate) fn take(&self, unit: usize, from: u64, first: Option<u64>) -> Option<Place> {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_near = |place: &Place| {
            let is_before = place.next <= from && from - place.next < NEAR;
            // One at the very beginning of the part, where all of it is wanted.
            let is_begin = place.next == 0 && first.is_some_and(|first| from <= first);
            place.unit == unit && (is_before || is_begin)
        };
        let at = places.iter().rposition(is_near)?;
        Some(places.remove(at))
    }

    pub(crate) fn keep(&self, place: Place) {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if places.len() >= KEPT {
            places.remove(0);
        }
        places.push(place);
    }
}
