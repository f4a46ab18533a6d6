//! Events and keyframes of an opened recording, again in their order.

use crate::batch::Row;
use crate::cursor::Cursor;
use crate::error::RecordError;
use crate::flat;
use crate::flat::Lookup;
use crate::keyframe;
use crate::reader::{KeyframeRow, Reader, Unit};
use crate::table::{self, Table};
use crate::unflat::{self, Attached};
use std::collections::BTreeMap;
use vmatlas_event::{Event, EventSource, Keyframe, MmId, MonoNs, Seq, SpaceState};

impl Reader {
    fn events_of(
        &self,
        unit: usize,
        from: Seq,
        previous: &mut Option<u64>,
        found: &mut dyn FnMut(Event) -> bool,
    ) -> Result<bool, RecordError> {
        let start = i64::try_from(from.0).unwrap_or(i64::MAX);
        let mut rows = Cursor::new(self.batches(unit, &table::ROWS, start)?);
        let mut in_flight = Cursor::new(self.batches(unit, &table::IN_FLIGHT, start)?);
        for batch in self.batches(unit, &table::EVENTS, start)? {
            let batch = batch?;
            for row in (0..batch.len()).map(|row| batch.row(row)) {
                let seq = row.bits(flat::SEQ)?;
                if seq < from.0 {
                    continue;
                }
                if previous.is_some_and(|previous| previous >= seq) {
                    return Err(row.wrong(flat::SEQ));
                }
                *previous = Some(seq);
                let (row_count, task_count) = unflat::attached(row)?;
                let mut attached = Attached::default();
                if row_count > 0 {
                    rows.take(seq, row_count, row, &mut |r| {
                        attached.rows.push(keyframe::vma(r, &self.known)?);
                        Ok(())
                    })?;
                }
                if task_count > 0 {
                    in_flight.take(seq, task_count, row, &mut |r| {
                        let task = r.get(1).and_then(|id| self.known.task(id)).ok_or_else(|| r.wrong(1))?;
                        attached.in_flight.push(task);
                        Ok(())
                    })?;
                }
                if unflat::is_loss(row) {
                    // The keyframe that was taken right after it.
                    let after = self.keyframes.partition_point(|k| k.after <= seq);
                    let kept = after.checked_sub(1).and_then(|index| self.keyframes.get(index));
                    let kept = kept.filter(|k| k.after == seq).map(|k| self.load(*k)).transpose()?;
                    attached.state = kept.map(Box::new);
                }
                if !found(unflat::event(row, attached, &self.known)?) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn load(&self, wanted: KeyframeRow) -> Result<Keyframe, RecordError> {
        let after = wanted.after as i64;
        let mut spaces: BTreeMap<MmId, (SpaceState, u64, u64)> = BTreeMap::new();
        self.each(wanted, &table::STATES, &mut |row| {
            let (state, rows, parts) = keyframe::state(row)?;
            spaces.insert(state.mm, (state, rows, parts));
            Ok(())
        })?;
        self.each(wanted, &table::STATE_ROWS, &mut |row| {
            let (state, rows, _) = spaces.get_mut(&keyframe::owner(row)?).ok_or_else(|| row.wrong(0))?;
            if state.rows.len() as u64 >= *rows {
                return Err(row.wrong(0));
            }
            state.rows.push(keyframe::vma(row, &self.known)?);
            Ok(())
        })?;
        self.each(wanted, &table::STATE_PARTS, &mut |row| {
            let (state, _, parts) =
                spaces.get_mut(&keyframe::part_owner(row)?).ok_or_else(|| row.wrong(0))?;
            *parts = parts.checked_sub(1).ok_or_else(|| row.wrong(0))?;
            keyframe::add_part(row, state, &self.known)
        })?;
        let whole =
            spaces.values().all(|(state, rows, parts)| state.rows.len() as u64 == *rows && *parts == 0);
        let rows: u64 = spaces.values().map(|(_, rows, _)| *rows).sum();
        if !whole || spaces.len() as u64 != wanted.spaces || rows != wanted.rows {
            let what = format!("the keyframe after event {after} is not whole");
            return Err(RecordError::damaged("keyframes", None, what));
        }
        let spaces = spaces.into_values().map(|(state, _, _)| state).collect();
        Ok(Keyframe { after: Seq(wanted.after), at: MonoNs(wanted.at), spaces })
    }

    /// Each row of a keyframe in one of its tables.
    fn each(
        &self,
        wanted: KeyframeRow,
        table: &'static Table,
        found: &mut dyn FnMut(Row<'_>) -> Result<(), RecordError>,
    ) -> Result<(), RecordError> {
        let after = wanted.after as i64;
        for batch in self.batches(wanted.unit, table, after)? {
            let batch = batch?;
            for row in (0..batch.len()).map(|row| batch.row(row)) {
                match row.need::<i64>(0)? {
                    key if key < after => {}
                    key if key > after => return Ok(()),
                    _ => found(row)?,
                }
            }
        }
        Ok(())
    }
}

impl EventSource for Reader {
    type Error = RecordError;

    fn events(&mut self, from: Seq, found: &mut dyn FnMut(Event) -> bool) -> Result<(), RecordError> {
        let mut previous = None;
        let end = self.units.len();
        for unit in 0..end {
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
        let after = self.keyframes.partition_point(|k| k.after <= at.0);
        let Some(wanted) = after.checked_sub(1).and_then(|index| self.keyframes.get(index)) else {
            return Ok(None);
        };
        self.load(*wanted).map(Some)
    }

    fn last(&self) -> Option<Seq> {
        self.last
    }
}
