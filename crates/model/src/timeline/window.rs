//! The events around a moment, each with what it did, so that steps back and forward need no replay.

use crate::change::Change;
use crate::spaces::{Living, Spaces};
use smallvec::SmallVec;
use std::collections::VecDeque;
use vmatlas_event::{Event, MmId, MonoNs, Op, Seq};

/// How much memory what the window remembers may take, nearly: some 30,000 calls.
const BUDGET: usize = 16 << 20;

/// So many entries the budget allows, nearly.
const MOST_ENTRIES: usize = 1 << 16;

/// So many events may belong together because one waits for its answer while others go on.
const LONGEST_GROUP: u32 = 1024;

/// What one event did to address spaces, so that it can be taken back and made again.
#[derive(Debug, Default)]
pub(crate) struct Effects(SmallVec<[Effect; 1]>);

#[derive(Debug)]
enum Effect {
    /// The map of one changed.
    Changed(MmId, Box<Change>),
    /// One came or went. Here is what is not there now: it before it came, or after it went.
    Swapped(MmId, Option<Box<Living>>),
}

impl Effects {
    pub(crate) fn came(&mut self, mm: MmId) {
        self.0.push(Effect::Swapped(mm, None));
    }

    pub(crate) fn went(&mut self, mm: MmId, living: Living) {
        self.0.push(Effect::Swapped(mm, Some(Box::new(living))));
    }

    pub(crate) fn changed(&mut self, mm: MmId, change: Change) {
        if !change.is_nothing() {
            self.0.push(Effect::Changed(mm, Box::new(change)));
        }
    }

    /// Whether a map is another one for it: that of `of`, or any.
    fn is_visible(&self, of: Option<MmId>) -> bool {
        self.0.iter().any(|effect| match effect {
            Effect::Changed(mm, change) => of.is_none_or(|of| of == *mm) && !change.is_empty(),
            Effect::Swapped(mm, _) => of.is_none_or(|of| of == *mm),
        })
    }

    /// Nearly.
    fn bytes(&self) -> usize {
        let held = |effect: &Effect| match effect {
            Effect::Changed(_, change) => size_of::<Change>() + change.bytes(),
            Effect::Swapped(_, living) => living.as_ref().map_or(0, |living| living.space.bytes()),
        };
        self.0.iter().map(held).sum::<usize>() + size_of::<Entry>()
    }
}

impl Effect {
    fn swap(spaces: &mut Spaces, mm: MmId, other: &mut Option<Box<Living>>) {
        let there = spaces.spaces.remove(&mm).map(Box::new);
        if let Some(living) = std::mem::replace(other, there) {
            spaces.spaces.insert(mm, *living);
        }
    }

    fn undo(&mut self, spaces: &mut Spaces) {
        match self {
            Effect::Swapped(mm, other) => Effect::swap(spaces, *mm, other),
            Effect::Changed(mm, change) => {
                if let Some(living) = spaces.spaces.get_mut(mm) {
                    living.space.undo(change);
                }
            }
        }
    }

    fn redo(&mut self, spaces: &mut Spaces) {
        match self {
            Effect::Swapped(mm, other) => Effect::swap(spaces, *mm, other),
            Effect::Changed(mm, change) => {
                if let Some(living) = spaces.spaces.get_mut(mm) {
                    living.space.redo(change);
                }
            }
        }
    }
}

/// A place between two events: after this one, which was left at that time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// `None` before the first.
    pub(crate) seq: Option<Seq>,
    pub(crate) at: MonoNs,
}

#[derive(Debug)]
struct Entry {
    seq: Seq,
    at: MonoNs,
    /// Whether nothing waits for an answer after it: a moment is after such an event and no other.
    is_settled: bool,
    effects: Effects,
}

/// The model at a moment, and the latest events that led to it and beyond.
///
/// What no change tells (who waits for an answer, which calls may overlap) is that after the last entry, wherever the
/// moment is: it is needed only where an event is applied that is not among the entries, and that is there.
#[derive(Debug)]
pub(crate) struct Window {
    spaces: Spaces,
    /// Where the first entry begins: nothing waits for an answer there.
    base: Place,
    entries: VecDeque<Entry>,
    /// How many of the entries are made, the others are undone.
    made: usize,
    bytes: usize,
    group: u32,
}

impl Window {
    pub(crate) fn new(spaces: Spaces, base: Place) -> Window {
        // Room for all of them at once: it takes no memory until it is used, and to move them later takes a millisecond.
        let entries = VecDeque::with_capacity(if cfg!(test) { 0 } else { MOST_ENTRIES });
        Window { spaces, base, entries, made: 0, bytes: 0, group: 0 }
    }

    pub(crate) fn spaces(&self) -> &Spaces {
        &self.spaces
    }

    /// Where the moment is.
    pub(crate) fn place(&self) -> Place {
        self.place_after(self.made)
    }

    /// Where the first entry begins.
    pub(crate) fn base(&self) -> Place {
        self.base
    }

    /// Where the last entry ends.
    pub(crate) fn frontier(&self) -> Place {
        self.place_after(self.entries.len())
    }

    /// How many entries are made: so many can be taken back.
    pub(crate) fn made(&self) -> usize {
        self.made
    }

    /// Gives memory back of one that nobody wants any more; whether that was the last of it.
    pub(crate) fn fade(&mut self, entries: usize) -> bool {
        self.entries.truncate(self.entries.len().saturating_sub(entries));
        self.entries.is_empty()
    }

    pub(crate) fn is_at_frontier(&self) -> bool {
        self.made == self.entries.len()
    }

    fn place_after(&self, count: usize) -> Place {
        let last = count.checked_sub(1).and_then(|index| self.entries.get(index));
        last.map_or(self.base, |entry| Place { seq: Some(entry.seq), at: entry.at })
    }

    /// Whether the moment is one: no call is half done.
    pub(crate) fn is_settled(&self) -> bool {
        self.made == 0 || self.entries.get(self.made - 1).is_none_or(|entry| entry.is_settled)
    }

    /// The end of a task waits for no answer that it will not get: the state before it is a moment.
    pub(crate) fn is_settled_before(&self, next: &Event) -> bool {
        self.is_settled() || matches!(next.op, Op::Exit { .. } | Op::Exec { .. })
    }

    /// The number of the next entry, where the moment is before the last one.
    pub(crate) fn next(&self) -> Option<Seq> {
        self.entries.get(self.made).map(|entry| entry.seq)
    }

    /// Takes the next event; only where [`is_at_frontier`](Window::is_at_frontier). Whether `of` shows it.
    pub(crate) fn apply(&mut self, event: &Event, of: Option<MmId>) -> bool {
        if self.is_settled_before(event)
            && let Some(last) = self.entries.back_mut()
        {
            last.is_settled = true;
            self.group = 0;
        }
        self.spaces.effects = Some(Effects::default());
        self.spaces.event(event);
        let effects = self.spaces.effects.take().unwrap_or_default();
        self.group += 1;
        let is_settled = !self.spaces.is_waiting() || self.group >= LONGEST_GROUP;
        if is_settled {
            self.group = 0;
        }
        let is_visible = effects.is_visible(of);
        self.bytes += effects.bytes();
        self.entries.push_back(Entry { seq: event.seq, at: event.left, is_settled, effects });
        self.made += 1;
        if self.bytes > BUDGET {
            self.forget();
        }
        is_visible
    }

    /// Forgets the oldest events until some memory is free, whole groups; little, since a step waits for it.
    fn forget(&mut self) {
        while self.bytes > BUDGET / 64 * 63 {
            let end = self.entries.iter().position(|entry| entry.is_settled);
            let Some(end) = end.filter(|end| end + 1 < self.entries.len()) else { return };
            for entry in self.entries.drain(..=end) {
                self.bytes = self.bytes.saturating_sub(entry.effects.bytes());
                self.base = Place { seq: Some(entry.seq), at: entry.at };
                self.made = self.made.saturating_sub(1);
            }
        }
    }

    /// Makes the next entry again; whether `of` shows it, `None` when there is none.
    pub(crate) fn redo(&mut self, of: Option<MmId>) -> Option<bool> {
        let entry = self.entries.get_mut(self.made)?;
        entry.effects.0.iter_mut().for_each(|effect| effect.redo(&mut self.spaces));
        self.made += 1;
        Some(entry.effects.is_visible(of))
    }

    /// The first of the entries that belong together and end here; `None` where nothing is made.
    fn group(&self) -> Option<usize> {
        let last = self.made.checked_sub(1)?;
        let before = (0..last).rev().find(|index| self.entries.get(*index).is_some_and(|e| e.is_settled));
        Some(before.map_or(0, |index| index + 1))
    }

    /// What the latest group of events did to each map; `None` where nothing is made.
    pub(crate) fn latest(&self) -> Option<Vec<(MmId, Change)>> {
        let mut changes: Vec<(MmId, Change)> = Vec::new();
        for entry in self.entries.range(self.group()?..self.made) {
            for effect in &entry.effects.0 {
                let (mm, change) = match effect {
                    Effect::Changed(mm, change) => (*mm, (**change).clone()),
                    // A copy begins with all that its parent has: no change of a map.
                    Effect::Swapped(_, None) => continue,
                    Effect::Swapped(mm, Some(living)) => (*mm, living.space.clone().end()),
                };
                match changes.iter_mut().find(|(known, _)| *known == mm) {
                    Some((_, known)) => *known = std::mem::take(known).then(change),
                    None => changes.push((mm, change)),
                }
            }
        }
        Some(changes)
    }

    /// Takes the latest group of events back that begins after `from`; whether `of` shows it, `None` when there is none.
    pub(crate) fn undo_group(&mut self, from: Option<Seq>, of: Option<MmId>) -> Option<bool> {
        let first = self.group()?;
        if from.is_some_and(|from| self.entries[first].seq <= from) {
            return None;
        }
        let mut is_visible = false;
        while self.made > first {
            self.made -= 1;
            let effects = &mut self.entries[self.made].effects;
            is_visible |= effects.is_visible(of);
            effects.0.iter_mut().rev().for_each(|effect| effect.undo(&mut self.spaces));
        }
        Some(is_visible)
    }
}
