//! Events and keyframes of an opened recording, again in their order.

use crate::error::RecordError;
use crate::loading::Loading;
use crate::place::Place;
use crate::reader::{KeyframeRow, Reader, Unit};
use crate::sealed::Segment;
use crate::table;
use std::sync::PoisonError;
use vmatlas_event::{Event, EventSource, Keyframe, Seq};

/// So many rows of a keyframe are read at a time, where it is asked for in parts.
const PART: usize = 512;

/// So many events before the end of a part the next one is prepared.
const AHEAD: u64 = 2048;

impl Reader {
    fn events_of(
        &self,
        unit: usize,
        from: Seq,
        previous: &mut Option<u64>,
        found: &mut dyn FnMut(Event) -> bool,
    ) -> Result<bool, RecordError> {
        let mut place = self.place(unit, from)?;
        // The keyframe that was taken right after a loss.
        let state = |seq: u64| {
            let after = self.keyframe_before(Seq(seq)).filter(|(_, keyframe)| keyframe.after == seq);
            after.map(|(number, keyframe)| self.load(number, keyframe)).transpose()
        };
        let is_end = place.events(from.0, &self.known, &state, previous, found)?;
        if !is_end {
            self.places.keep(place);
        }
        Ok(is_end)
    }

    /// A place in a part from which the events from `from` on are read.
    fn place(&self, unit: usize, from: Seq) -> Result<Place, RecordError> {
        let first = match self.units.get(unit) {
            Some(Unit::Sealed(segment)) => segment.seal.first,
            _ => None,
        };
        if let Some(place) = self.places.take(unit, from.0, first) {
            return Ok(place);
        }
        let start = i64::try_from(from.0).unwrap_or(i64::MAX);
        let rows = self.batches(unit, &table::ROWS, start)?;
        let in_flight = self.batches(unit, &table::IN_FLIGHT, start)?;
        Ok(Place::new(unit, from.0, self.batches(unit, &table::EVENTS, start)?, rows, in_flight))
    }

    /// Does a small part of what reading the events of a part from `from` on needs; whether nothing is left to do now, or
    /// it failed, which whoever reads is told.
    fn prepare_unit(&self, unit: usize, segment: &Segment, from: Seq) -> bool {
        for table in [&table::EVENTS, &table::ROWS, &table::IN_FLIGHT] {
            if !self.is_known(unit, segment, table) {
                return self.file(unit, segment, table).is_err();
            }
        }
        let Ok(mut place) = self.place(unit, from) else { return true };
        let is_ready = place.prepare(&self.known, &|seq| self.prepare_state(seq));
        self.places.keep(place);
        is_ready
    }

    fn load(&self, number: usize, wanted: KeyframeRow) -> Result<Keyframe, RecordError> {
        let mut loading =
            self.take_early(wanted).unwrap_or_else(|| self.after_keyframes.begin(number, wanted));
        let read = loading.read(self, usize::MAX);
        let keyframe = read.and_then(|_| loading.keyframe());
        // Also where it cannot be read: the next one is not looked for from the beginning.
        self.after_keyframes.keep(loading);
        keyframe
    }

    /// The last event that the latest keyframe contains which contains none after `at`.
    pub fn place_before(&self, at: Seq) -> Option<Seq> {
        self.keyframe_before(at).map(|(_, keyframe)| Seq(keyframe.after))
    }

    /// The number and the place of the latest keyframe that contains no event after `at`.
    pub(crate) fn keyframe_before(&self, at: Seq) -> Option<(usize, KeyframeRow)> {
        let number = self.keyframes.partition_point(|k| k.after <= at.0).checked_sub(1)?;
        Some((number, *self.keyframes.get(number)?))
    }
}

impl EventSource for Reader {
    type Error = RecordError;

    fn events(&mut self, from: Seq, found: &mut dyn FnMut(Event) -> bool) -> Result<(), RecordError> {
        let mut previous = None;
        let end = self.units.len();
        for unit in self.reach.partition_point(|reach| *reach < from.0)..end {
            let (last, damage) = match self.units.get(unit) {
                Some(Unit::Sealed(segment)) => (segment.seal.last, None),
                Some(Unit::Tail { tail, last, .. }) => (*last, tail.damage.clone()),
                _ => (Some(u64::MAX), None),
            };
            if last.is_some_and(|last| last >= from.0) && !self.events_of(unit, from, &mut previous, found)? {
                return Ok(());
            }
            // The end of the last tail is where recording stopped; elsewhere something is missing in between.
            if let Some(damage) = damage.filter(|_| unit + 1 < end) {
                return Err(RecordError::Damaged(damage));
            }
        }
        Ok(())
    }

    fn keyframe(&mut self, at: Seq) -> Result<Option<Keyframe>, RecordError> {
        self.keyframe_before(at).map(|(number, wanted)| self.load(number, wanted)).transpose()
    }

    fn keyframe_part(&mut self, at: Seq) -> Result<Option<Option<Keyframe>>, RecordError> {
        let Some((number, wanted)) = self.keyframe_before(at) else { return Ok(Some(None)) };
        let begun = self.loading.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut loading = begun.filter(|l| l.is_of(wanted)).unwrap_or_else(|| Loading::new(number, wanted));
        if loading.read(self, PART)? {
            return loading.keyframe().map(|keyframe| Some(Some(keyframe)));
        }
        *self.loading.lock().unwrap_or_else(PoisonError::into_inner) = Some(loading);
        Ok(None)
    }

    fn prepare(&mut self, from: Seq) -> bool {
        for (number, unit) in self.units.iter().enumerate() {
            let Unit::Sealed(segment) = unit else { continue };
            let Some(last) = segment.seal.last.filter(|last| *last >= from.0) else { continue };
            if !self.prepare_unit(number, segment, from) {
                return false;
            }
            // What follows is near.
            return match self.units.get(number + 1) {
                Some(Unit::Sealed(next)) if last - from.0 < AHEAD => {
                    self.prepare_unit(number + 1, next, Seq(0))
                }
                _ => true,
            };
        }
        true
    }

    fn keyframe_place(&mut self, at: Seq) -> Result<Option<Seq>, RecordError> {
        Ok(self.place_before(at))
    }

    fn landmarks(&mut self, found: &mut dyn FnMut(Event) -> bool) -> Result<(), RecordError> {
        self.each_landmark(found)
    }

    fn last(&self) -> Option<Seq> {
        self.last
    }
}
