//! Who mapped an address, and what happened to it since: followed through moves, and through forks into the parent.

use super::{How, Timeline, TimelineError, Tree, events_after};
use crate::change::Change;
use crate::faults::{changes_no_map, page_of};
use crate::progress::Done;
use crate::space::{AddressSpace, Origin};
use crate::spaces::Spaces;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use vmatlas_event::{
    Addr, AddrRange, Event, EventSource, MmId, MonoNs, Op, Outcome, PageSize, Seq, TaskId, VmaRow,
};

/// So many chapters are kept: the first half and the last half.
const KEPT: usize = 2000;

/// So many moves (mremap(2)) of an address space are followed, the latest.
const MOVES: usize = 500_000;

/// So many neighbours in one VMA are told apart, half of them on each side.
const NEIGHBOURS: usize = 64;

/// The history of one address up to a moment.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    /// The VMA that holds it now; `None` where nothing is mapped.
    pub row: Option<VmaRow>,
    /// The event that mapped it.
    pub origin: Option<Seq>,
    /// The parts of the VMA by the events that mapped them, in address order: neighbours that the kernel has merged.
    pub neighbours: Vec<Origin>,
    /// Every event since it was mapped that changed a range holding it; since the first event where nothing is mapped.
    pub chapters: Vec<Chapter>,
    /// The first fault on this page since it was mapped, of those that were recorded; then how many there were.
    pub first_fault: Option<Event>,
    /// How many faults on this page were recorded since it was mapped.
    pub faults: u64,
    /// How many chapters in the middle were left out.
    pub left_out: u64,
    /// Whether it was told to its end, and all moves were followed.
    pub is_complete: bool,
}

/// One event in the history of an address.
#[derive(Clone, Debug, PartialEq)]
pub struct Chapter {
    /// The event, without rows.
    pub event: Event,
    /// The address space it happened in: that of a parent before a fork.
    pub mm: MmId,
    /// Where the pages were then, before the event.
    pub addr: Addr,
    /// What it did.
    pub what: What,
    /// What it did to the whole map, the kernel's answers included; nothing for a snapshot, which replaces all of it.
    pub change: Change,
    /// Whether the kernel confirmed what could not be predicted.
    pub confirmed: bool,
    /// The VMA before.
    pub before: Option<VmaRow>,
    /// The VMA after.
    pub after: Option<VmaRow>,
}

/// What an event did to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// It mapped new pages there.
    Mapped,
    /// It unmapped them.
    Unmapped,
    /// It changed what may be done with them, or what file they are of.
    Altered,
    /// It moved them to this address.
    Moved(Addr),
    /// The address space was copied into this one.
    Forked(MmId),
    /// Only the VMA's boundaries or its label are others.
    Bounds,
    /// It acted on the pages (madvise(2)); the map is the same.
    Advised,
}

/// Up to which event pages were where, the latest first.
struct Place {
    until: Seq,
    mm: MmId,
    addr: Addr,
    what: What,
}

impl<S: EventSource> Timeline<S> {
    /// The history of `addr` in `mm`, up to this moment. The timeline stays where it is.
    ///
    /// It reads the events since the page was mapped twice, and replays them once: a page that was mapped long ago takes
    /// as long as that. `progress` is told of each event that is replayed and answers whether to go on.
    ///
    /// # Errors
    /// Those of the source, events out of order, and [`TimelineError::NoSuchSpace`] where `mm` does not live now.
    pub fn history(
        &mut self,
        mm: MmId,
        addr: Addr,
        mut progress: impl FnMut(Seq) -> bool,
    ) -> Result<History, TimelineError<S::Error>> {
        let now = self.position().seq;
        let space = self.space(mm).ok_or(TimelineError::NoSuchSpace(mm))?;
        let row = space.vma_at(addr).cloned();
        let origin = row.as_ref().and(space.origin_of(addr));
        let neighbours = row.as_ref().map(|row| neighbours(space, row.range, addr)).unwrap_or_default();
        let mut history = History {
            row,
            origin,
            neighbours,
            chapters: Vec::new(),
            first_fault: None,
            faults: 0,
            left_out: 0,
            is_complete: true,
        };
        let Some(now) = now else { return Ok(history) };
        let chain = chain(self.tree()?, mm);
        let first = origin.or_else(|| chain.last().map(|(_, first)| *first)).unwrap_or(Seq(0));
        let (mut places, followed) = self.places(&chain, addr, first, now)?;
        let (mut spaces, begun) = match first.0.checked_sub(1) {
            Some(before) => {
                let keyframe = self.keyframe(Seq(before))?;
                self.state_of(keyframe)
            }
            None => self.state_of(None),
        };
        let mut goes_on = true;
        let page = self.page;
        let mut reader = Reader { waiting: FxHashMap::default(), history: &mut history };
        events_after(&mut self.source, begun.seq, |event| {
            if event.seq > now {
                return false;
            }
            while places.len() > 1 && places.last().is_some_and(|place| place.until < event.seq) {
                places.pop();
            }
            let Some(place) = places.last() else { return false };
            if changes_no_map(&event) {
                if event.seq >= first {
                    reader.touch(event, place, page);
                }
                return true;
            }
            if event.seq < first {
                spaces.event(&event);
            } else {
                reader.read(&mut spaces, &event, place);
            }
            goes_on = progress(event.seq);
            goes_on
        })?;
        history.is_complete = goes_on && followed;
        Ok(history)
    }

    /// Where the pages at `addr` were from the event `first` on: the last one is the earliest. And whether all moves
    /// were looked at.
    fn places(
        &mut self,
        chain: &[(MmId, Seq)],
        addr: Addr,
        first: Seq,
        now: Seq,
    ) -> Result<(Vec<Place>, bool), TimelineError<S::Error>> {
        let mut moves: VecDeque<(Seq, MmId, AddrRange, Addr)> = VecDeque::new();
        let mut followed = true;
        let page = self.page;
        events_after(&mut self.source, first.0.checked_sub(1).map(Seq), |event| {
            if let (&Op::Mremap { old, old_len, new_len, .. }, Outcome::Done(to)) = (&event.op, event.outcome)
                && old.0 != to
                && event.seq <= now
                && chain.iter().any(|(mm, _)| *mm == event.mm)
                && let Some(kept) = page.round_up(old_len.min(new_len))
                && let Some(range) = AddrRange::from_len(Addr(to), kept)
            {
                if moves.len() == MOVES {
                    moves.pop_front();
                    followed = false;
                }
                moves.push_back((event.seq, event.mm, range, old));
            }
            event.seq < now
        })?;
        let Some((mm, born)) = chain.first() else { return Ok((Vec::new(), followed)) };
        let mut places = vec![Place { until: now, mm: *mm, addr, what: What::Bounds }];
        let (mut here, mut born, mut addr) = (*mm, *born, addr);
        let mut parents = chain.iter().skip(1);
        let mut moves = moves.into_iter().rev().peekable();
        loop {
            match moves.next_if(|(seq, ..)| *seq > born) {
                Some((seq, mm, range, old)) if mm == here && range.contains(addr) => {
                    let to = addr;
                    addr = Addr(old.0.wrapping_add(addr.0 - range.start().0));
                    places.push(Place { until: seq, mm, addr, what: What::Moved(to) });
                }
                Some(_) => {}
                None => {
                    let Some((parent, parent_born)) = parents.next().filter(|_| born >= first) else { break };
                    places.push(Place { until: born, mm: *parent, addr, what: What::Forked(here) });
                    (here, born) = (*parent, *parent_born);
                }
            }
        }
        Ok((places, followed))
    }
}

/// An address space, that which it was copied from, and so on, each with its first event.
fn chain(tree: &Tree, mm: MmId) -> Vec<(MmId, Seq)> {
    let mut chain: Vec<(MmId, Seq)> = Vec::new();
    let mut node = tree.get(mm);
    // A tree that contradicts itself may go round: a parent is there before its child.
    while let Some(this) = node.filter(|node| chain.last().is_none_or(|(_, first)| node.first < *first)) {
        chain.push((this.mm, this.first));
        node = this.parent.filter(|_| this.how == How::Forked).and_then(|parent| tree.get(parent));
    }
    if chain.is_empty() {
        chain.push((mm, Seq(0)));
    }
    chain
}

fn neighbours(space: &AddressSpace, range: AddrRange, addr: Addr) -> Vec<Origin> {
    let below = AddrRange::new(range.start(), addr).into_iter().flat_map(|part| space.origins_in(part));
    let skipped = below.count().saturating_sub(NEIGHBOURS / 2);
    space.origins_in(range).skip(skipped).take(NEIGHBOURS).cloned().collect()
}

/// What is at an address.
#[derive(Clone, PartialEq)]
struct Page {
    row: Option<VmaRow>,
    origin: Option<Seq>,
}

impl Page {
    fn of(spaces: &Spaces, mm: MmId, addr: Addr) -> Page {
        let space = spaces.get(mm);
        let row = space.and_then(|space| space.vma_at(addr)).cloned();
        Page { row, origin: space.and_then(|space| space.origin_of(addr)) }
    }
}

/// Reads events and writes chapters.
struct Reader<'a> {
    /// What was at the address before a call that waits for its answer.
    waiting: FxHashMap<TaskId, Page>,
    history: &'a mut History,
}

impl Reader<'_> {
    /// Takes note of a fault on the page.
    fn touch(&mut self, event: Event, place: &Place, page: PageSize) {
        let Op::Fault { addr, .. } = event.op else { return };
        if event.mm == place.mm && page_of(page, addr) == page_of(page, place.addr) {
            self.history.faults += 1;
            self.history.first_fault.get_or_insert(event);
        }
    }

    fn read(&mut self, spaces: &mut Spaces, event: &Event, place: &Place) {
        let fork = match (place.what, &event.op) {
            (What::Forked(child), Op::Fork { child_mm, .. }) => {
                child == *child_mm && place.until == event.seq
            }
            _ => false,
        };
        if event.mm != place.mm {
            spaces.event(event);
            return;
        }
        let before = Page::of(spaces, place.mm, place.addr);
        let progress = spaces.event(event);
        if let Some(done) = progress.unanswered {
            let before = self.waiting.remove(&done.event.task).unwrap_or_else(|| before.clone());
            self.write(spaces, *done, before, place, false);
        }
        match progress.done {
            Some(done) => {
                let before = self.waiting.remove(&done.event.task).unwrap_or(before);
                self.write(spaces, *done, before, place, fork);
            }
            None if !progress.ask.is_empty() => {
                self.waiting.insert(event.task, before);
            }
            None => {}
        }
    }

    fn write(&mut self, spaces: &Spaces, done: Done, before: Page, place: &Place, fork: bool) {
        let Done { mut event, mut change, confirmed, .. } = done;
        let after = Page::of(spaces, place.mm, place.addr);
        let is_move = matches!(event.op, Op::Mremap { .. }) && place.until == event.seq;
        let what = match (&before.row, &after.row) {
            _ if fork => place.what,
            _ if is_move => place.what,
            (Some(_), None) => What::Unmapped,
            (None, None) => return,
            (None, Some(_)) => What::Mapped,
            (Some(_), Some(_)) if before.origin != after.origin => What::Mapped,
            (Some(a), Some(b)) if a.prot != b.prot || a.sharing != b.sharing || !a.same_attributes(b) => {
                What::Altered
            }
            (a, b) if a != b => What::Bounds,
            _ if is_advice(&event, place.addr) => What::Advised,
            _ => return,
        };
        match &mut event.op {
            Op::Snapshot { rows, .. } => {
                *rows = Vec::new();
                change = Change::default();
            }
            Op::Observed { rows, .. } => *rows = Vec::new(),
            _ => {}
        }
        if self.history.chapters.len() >= KEPT {
            self.history.chapters.remove(KEPT / 2);
            self.history.left_out += 1;
        }
        let (mm, addr) = (place.mm, place.addr);
        let (before, after) = (before.row, after.row);
        self.history.chapters.push(Chapter { event, mm, addr, what, change, confirmed, before, after });
    }
}

fn is_advice(event: &Event, at: Addr) -> bool {
    match (&event.op, event.outcome) {
        (&Op::Madvise { addr, len, .. }, Outcome::Done(_)) => {
            AddrRange::from_len(addr, len).is_some_and(|range| range.contains(at))
        }
        _ => false,
    }
}

impl Chapter {
    /// When the event was left.
    pub fn at(&self) -> MonoNs {
        self.event.left
    }
}
