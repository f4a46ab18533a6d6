//! A recording read as far as it goes: where it is damaged it ends, and what was met is remembered.

use crate::progress::Progress;
use std::collections::HashSet;
use std::fmt;
use vmatlas_event::{Event, EventSource, Keyframe, MonoNs, Seq};
use vmatlas_record::{Damage, Reader, RecordError};

/// So many damaged keyframes are gone around; then replay begins with the first event.
const TRIES: usize = 16;

/// A recording that ends where its damage begins.
pub(crate) struct Lenient {
    reader: Reader,
    /// Met while reading, and not known when it was opened.
    met: Vec<Damage>,
    /// All damage known so far.
    known: HashSet<Damage>,
    /// The last event before the damage.
    end: Option<Seq>,
    progress: Progress,
}

impl fmt::Debug for Lenient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lenient").field("folder", &self.reader.folder()).finish_non_exhaustive()
    }
}

impl Lenient {
    pub(crate) fn new(reader: Reader, progress: Progress) -> Lenient {
        let known = reader.damage().iter().cloned().collect();
        Lenient { reader, met: Vec::new(), known, end: None, progress }
    }

    pub(crate) fn reader(&self) -> &Reader {
        &self.reader
    }

    /// All damage known so far.
    pub(crate) fn damage(&self) -> impl Iterator<Item = &Damage> {
        self.reader.damage().iter().chain(&self.met)
    }

    fn note(&mut self, damage: Damage) {
        // Each of an enemy's million keyframes may be damaged in its own way.
        if self.known.insert(damage.clone()) {
            self.met.push(damage);
        }
    }

    /// Notes damage; other errors stay errors.
    fn go_on(&mut self, result: Result<(), RecordError>) -> Result<(), RecordError> {
        match result {
            Err(RecordError::Damaged(damage)) => {
                self.note(damage);
                Ok(())
            }
            result => result,
        }
    }

    /// Finds where the damage begins, so that nothing after it is taken for the end.
    fn find_end(&mut self) -> Result<(), RecordError> {
        let mut end = None;
        let last = self.reader.last().map_or(0, |last| last.0);
        let progress = &mut self.progress;
        let read = self.reader.events(Seq(0), &mut |event| {
            progress.tick(event.seq.0, last);
            end = Some(event.seq);
            true
        });
        progress.clear();
        self.end = end;
        self.go_on(read)
    }
}

impl EventSource for Lenient {
    type Error = RecordError;

    fn events(&mut self, from: Seq, found: &mut dyn FnMut(Event) -> bool) -> Result<(), RecordError> {
        let last = self.reader.last().map_or(0, |last| last.0);
        let progress = &mut self.progress;
        let read = self.reader.events(from, &mut |event| {
            progress.tick(event.seq.0, last);
            found(event)
        });
        // Something may be written next.
        progress.clear();
        self.go_on(read)
    }

    fn keyframe(&mut self, at: Seq) -> Result<Option<Keyframe>, RecordError> {
        let mut at = self.end.map_or(at, |end| at.min(end));
        for _ in 0..TRIES {
            match self.reader.keyframe(at) {
                Err(RecordError::Damaged(damage)) => self.note(damage),
                result => return result,
            }
            let tried = self.reader.place_before(at);
            let Some(before) = tried.and_then(|after| after.0.checked_sub(1)) else { break };
            at = Seq(before);
        }
        Ok(None)
    }

    fn keyframe_of(&mut self, after: Seq) -> Result<Option<Keyframe>, RecordError> {
        if self.end.is_some_and(|end| after > end) {
            return Ok(None);
        }
        match self.reader.keyframe_of(after) {
            Err(RecordError::Damaged(damage)) => self.note(damage),
            result => return result,
        }
        Ok(None)
    }

    fn keyframe_part(&mut self, at: Seq) -> Result<Option<Option<Keyframe>>, RecordError> {
        let wanted = self.end.map_or(at, |end| at.min(end));
        match self.reader.keyframe_part(wanted) {
            Err(RecordError::Damaged(damage)) => self.note(damage),
            result => return result,
        }
        self.keyframe(at).map(Some)
    }

    fn keyframe_place(&mut self, at: Seq) -> Result<Option<Seq>, RecordError> {
        // One that is damaged has its place all the same: that it is damaged is found where it is read.
        Ok(self.reader.place_before(self.end.map_or(at, |end| at.min(end))))
    }

    fn last(&self) -> Option<Seq> {
        self.end.or(self.reader.last())
    }

    fn at_time(&mut self, at: MonoNs) -> Result<Option<Seq>, RecordError> {
        match self.reader.at_time(at) {
            Err(RecordError::Damaged(damage)) => self.note(damage),
            result => return Ok(result?.map(|seq| self.end.map_or(seq, |end| seq.min(end)))),
        }
        let mut best = None;
        self.events(Seq(0), &mut |event| {
            let is_past = event.left > at;
            best = if is_past { best } else { Some(event.seq) };
            !is_past
        })?;
        Ok(best)
    }

    fn landmarks(&mut self, found: &mut dyn FnMut(Event) -> bool) -> Result<(), RecordError> {
        match self.reader.landmarks(found) {
            Err(RecordError::Damaged(damage)) => self.note(damage),
            result => return result,
        }
        self.find_end()
    }
}
