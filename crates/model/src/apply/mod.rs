//! What each event does to a map: one file for each family of calls.
//!
//! Every function predicts pages exactly where the man page allows it and asks about the rest. A call that failed may
//! have changed the map all the same (munmap running into a sealed VMA leaves it split; mprotect over a hole changes
//! what lies before it), so its range is always read again.

mod aio;
mod brk;
mod differing;
mod first;
mod lock;
mod madvise;
mod mmap;
mod mprotect;
mod mremap;
mod munmap;
mod observed;
mod policy;
mod prctl;
mod remap_file_pages;
mod seal;
mod shadow_stack;
mod shm;
mod userfaultfd;

pub(crate) use observed::is_vma;

use crate::change::{Change, Few};
use crate::interval::{IntervalMap, Piece};
use crate::space::{AddressSpace, Applied, Origin};
use smallvec::{SmallVec, smallvec};
use vmatlas_event::{Addr, AddrRange, Bytes, Event, Op, Outcome, PageSize, Seq, VmaRow};

/// Applies one event; see [`AddressSpace::apply`].
pub(crate) fn apply(space: &mut AddressSpace, event: &Event) -> Applied {
    match &event.op {
        Op::Snapshot { reason, rows } => return observed::snapshot(space, event.seq, *reason, rows),
        Op::Observed { rows, asked, .. } => return observed::answer(space, event.seq, *asked, rows),
        _ => {}
    }
    space.forget_questions();
    let mut edit = Edit::new(space, event.seq);
    if edit.space.rules.any_grows() && !matches!(event.op, Op::Brk { .. }) {
        for range in affected_ranges(&event.op, event.outcome, edit.space.page) {
            edit.look_below_growing(range);
        }
    }
    match (&event.op, event.outcome) {
        (op, Outcome::Failed(_)) => edit.ask_again(argument_ranges(op, edit.space.page)),
        // It may have moved the break, or not.
        (Op::Brk { .. } | Op::Other { .. }, Outcome::NoReturn) => edit.space.brk = None,
        (_, Outcome::NoReturn) => {}
        (&Op::Mmap { len, prot, flags, offset, .. }, Outcome::Done(at)) => {
            mmap::apply(&mut edit, Addr(at), len, prot, flags, offset);
        }
        (&Op::Munmap { addr, len }, Outcome::Done(_)) => munmap::apply(&mut edit, addr, len),
        (&Op::Mremap { old, old_len, new_len, flags, .. }, Outcome::Done(at)) => {
            mremap::apply(&mut edit, old, old_len, Addr(at), new_len, flags);
        }
        (&Op::Mprotect { addr, len, prot, pkey }, Outcome::Done(_)) => {
            mprotect::apply(&mut edit, addr, len, prot, pkey.is_some())
        }
        (&Op::Brk { addr }, Outcome::Done(at)) => brk::apply(&mut edit, addr, Addr(at)),
        (&Op::Madvise { addr, len, advice }, Outcome::Done(_)) => {
            madvise::apply(&mut edit, addr, len, advice)
        }
        (Op::Shmat { .. }, Outcome::Done(_)) => shm::attach(&mut edit),
        (&Op::Shmdt { addr }, Outcome::Done(_)) => shm::detach(&mut edit, addr),
        (&Op::Mlock { addr, len, .. } | &Op::Munlock { addr, len }, Outcome::Done(_)) => {
            lock::apply(&mut edit, addr, len)
        }
        (Op::Mlockall { .. } | Op::Munlockall, Outcome::Done(_)) => lock::all(&mut edit),
        (&Op::Mseal { addr, len, .. }, Outcome::Done(_)) => seal::apply(&mut edit, addr, len),
        (&Op::Mbind { addr, len, .. } | &Op::SetMempolicyHomeNode { addr, len, .. }, Outcome::Done(_)) => {
            policy::apply(&mut edit, addr, len)
        }
        (&Op::RemapFilePages { addr, len, .. }, Outcome::Done(_)) => {
            remap_file_pages::apply(&mut edit, addr, len)
        }
        (&Op::Prctl { option, args }, Outcome::Done(_)) => prctl::apply(&mut edit, option, args),
        (&Op::ArchPrctl { .. }, Outcome::Done(_)) => prctl::arch(&mut edit),
        (&Op::Personality { persona }, Outcome::Done(_)) => prctl::personality(&mut edit, persona),
        (&Op::MapShadowStack { len, .. }, Outcome::Done(at)) => shadow_stack::apply(&mut edit, Addr(at), len),
        (Op::IoSetup { .. }, Outcome::Done(_)) => aio::setup(&mut edit),
        (Op::IoDestroy { .. }, Outcome::Done(_)) => aio::destroy(&mut edit),
        (&Op::Ioctl { fd, request, .. }, Outcome::Done(_)) => userfaultfd::apply(&mut edit, fd, request),
        (&Op::ProcessMadvise { advice, .. }, Outcome::Done(_)) => madvise::of_process(&mut edit, advice),
        (Op::Other { .. }, Outcome::Done(_)) => edit.ask(AddrRange::ALL),
        _ => {}
    }
    edit.finish()
}

/// The ranges a call was about, whole pages; nothing for a call without one.
pub(crate) fn argument_ranges(op: &Op, page: PageSize) -> Ranges {
    let span = |addr: Addr, len: Bytes| pages_of(page, addr, len);
    match *op {
        // Without MAP_FIXED a failed mmap has touched nothing.
        Op::Mmap { addr, len, flags, .. } if flags.has(vmatlas_event::MapFlags::FIXED) => {
            smallvec![mmap::cleared(addr, len, flags, page)]
        }
        Op::Munmap { addr, len }
        | Op::Mprotect { addr, len, .. }
        | Op::Mlock { addr, len, .. }
        | Op::Munlock { addr, len }
        | Op::Mseal { addr, len, .. }
        | Op::Mbind { addr, len, .. }
        | Op::SetMempolicyHomeNode { addr, len, .. }
        | Op::RemapFilePages { addr, len, .. } => smallvec![span(addr, len)],
        Op::Prctl { option, args } => prctl::range(option, args, page).into_iter().collect(),
        // Without SHM_REMAP a failed shmat has touched nothing; with it the segment's size is unknown.
        Op::Shmat { flags, .. } if flags & shm::REMAP != 0 => smallvec![AddrRange::ALL],
        Op::Mlockall { .. } | Op::Munlockall | Op::Ioctl { .. } => smallvec![AddrRange::ALL],
        Op::ProcessMadvise { advice, .. } if advice.changes_vmas() => smallvec![AddrRange::ALL],
        Op::Madvise { addr, len, advice } if advice.changes_vmas() => smallvec![span(addr, len)],
        Op::Mremap { old, old_len, new, new_len, flags } => {
            const MREMAP_FIXED: u64 = 2;
            let mut ranges: Ranges = smallvec![span(old, old_len)];
            // Without MREMAP_FIXED the new place of a failed call is nobody's.
            if flags & MREMAP_FIXED != 0 {
                ranges.push(span(new, new_len));
            }
            ranges
        }
        Op::Other { .. } => smallvec![AddrRange::ALL],
        _ => Ranges::new(),
    }
}

/// The ranges a call acted on, by its arguments and result; everything where these do not tell how far it reached.
pub(crate) fn affected_ranges(op: &Op, outcome: Outcome, page: PageSize) -> Ranges {
    let at = match outcome {
        Outcome::Done(value) => Addr(value),
        Outcome::Failed(_) | Outcome::NoReturn => return argument_ranges(op, page),
    };
    match *op {
        Op::Mmap { len, .. } => smallvec![pages_of(page, at, len)],
        Op::Mremap { old, old_len, new_len, .. } => {
            smallvec![pages_of(page, old, old_len), pages_of(page, at, new_len)]
        }
        // Where the break was before, the call does not say: two that move it at a time always overlap. What else is
        // below the break, the program and its data, is few.
        Op::Brk { .. } => smallvec![pages_of(page, Addr(0), Bytes(at.0))],
        Op::Shmat { .. }
        | Op::Shmdt { .. }
        | Op::IoSetup { .. }
        | Op::IoDestroy { .. }
        | Op::ArchPrctl { .. } => smallvec![AddrRange::ALL],
        Op::MapShadowStack { len, .. } => smallvec![pages_of(page, at, len)],
        _ => argument_ranges(op, page),
    }
}

/// The whole pages that `[addr, addr + len)` touches; cut at the end of the address space.
fn pages_of(page: PageSize, addr: Addr, len: Bytes) -> AddrRange {
    let start = page.floor(addr);
    let end = addr.checked_add(len).and_then(|end| page.ceil(end)).unwrap_or(Addr(u64::MAX));
    AddrRange::new(start, end).unwrap_or(AddrRange::ALL)
}

/// A few ranges: a call acts on one or two.
pub(crate) type Ranges = SmallVec<[AddrRange; 2]>;

/// A change being made: remembers what every window looked like before the first touch.
struct Edit<'a> {
    space: &'a mut AddressSpace,
    seq: Seq,
    change: Change,
    windows: Ranges,
    origin_windows: Ranges,
    ask: Ranges,
    /// Whether what the arguments say is not enough for a prediction: the answer cannot contradict it then.
    guessed: bool,
}

impl<'a> Edit<'a> {
    fn new(space: &'a mut AddressSpace, seq: Seq) -> Edit<'a> {
        Edit {
            space,
            seq,
            change: Change::default(),
            windows: Ranges::new(),
            origin_windows: Ranges::new(),
            ask: Ranges::new(),
            guessed: false,
        }
    }

    /// Remembers what meets `range` before it changes.
    fn open(&mut self, range: AddrRange) {
        self.open_vmas(range);
        self.open_origins(range);
    }

    fn open_vmas(&mut self, range: AddrRange) {
        open(&mut self.space.vmas, range, &mut self.windows, &mut self.change.before);
    }

    fn open_origins(&mut self, range: AddrRange) {
        open(&mut self.space.origins, range, &mut self.origin_windows, &mut self.change.origins_before);
    }

    /// Unmaps.
    fn clear(&mut self, range: AddrRange) {
        self.open(range);
        self.space.clear(range);
        self.space.origins.remove(range, |_| ());
        self.space.rules.remove(range);
    }

    /// Maps a row that this event made, over whatever is there.
    fn map(&mut self, row: VmaRow) {
        let range = row.range;
        if range.is_empty() {
            return;
        }
        self.open(range);
        self.space.put(row);
        self.space.origins.put(Origin { range, seq: self.seq });
        self.space.rules.remove(range);
        self.change.fresh.push(range);
    }

    /// Has the hole below a VMA that grows down read, when a call acts on the hole or on the VMA's start: what it has
    /// grown by, without a call and unknown to us, the call may have cut.
    fn look_below_growing(&mut self, range: AddrRange) {
        if let Some(hole) = self.space.hole_below_growing(range)
            && !hole.is_empty()
        {
            self.guessed = true;
            self.space.holes.push(hole);
            self.ask(hole);
        }
    }

    /// Asks the kernel about a range if a VMA in it may have become one with a neighbour.
    ///
    /// Which pages were touched, which file is open, who was forked: whether look-alikes merge does not follow from the
    /// calls. But what does not look alike never merges, and what is cut is cut where the call says.
    fn ask_where_alike(&mut self, range: AddrRange) {
        if self.space.may_merge(range) {
            self.ask(range);
        }
    }

    /// Asks the kernel about a range.
    fn ask(&mut self, range: AddrRange) {
        if !range.is_empty() {
            self.ask.push(range);
        }
    }

    fn ask_again(&mut self, ranges: Ranges) {
        for range in ranges {
            self.ask(range);
        }
    }

    fn finish(mut self) -> Applied {
        now(&self.space.vmas, &self.windows, &mut self.change.after);
        now(&self.space.origins, &self.origin_windows, &mut self.change.origins_after);
        if self.windows.len() > 1 {
            self.change.before.sort_by_key(|row| row.range);
            self.change.origins_before.sort_by_key(|o| o.range);
        }
        self.change.settle();
        Applied { change: self.change, ask: self.ask, guessed: self.guessed, ..Applied::default() }
    }
}

/// Opens a window: the pieces that meet `range` go to `before`, but for those that an earlier window has already.
fn open<P: Piece>(map: &mut IntervalMap<P>, range: AddrRange, windows: &mut Ranges, before: &mut Few<P>) {
    if windows.iter().any(|w| w.covers(range)) {
        return;
    }
    map.seek(range.start());
    if range == AddrRange::ALL {
        before.reserve(map.len());
    }
    let mut window = range;
    for piece in map.meeting(range) {
        window = window.hull(piece.range());
        if !windows.iter().any(|w| w.intersects(piece.range())) {
            before.push(piece.clone());
        }
    }
    windows.push(window);
}

/// What the windows hold now, each piece once.
fn now<P: Piece>(map: &IntervalMap<P>, windows: &[AddrRange], after: &mut Few<P>) {
    if windows == [AddrRange::ALL] {
        after.reserve(map.len());
    }
    for window in windows {
        map.meeting(*window).for_each(|piece| after.push(piece.clone()));
    }
    if windows.len() > 1 {
        after.sort_by_key(Piece::range);
        after.dedup_by_key(|p| p.range());
    }
}

#[cfg(test)]
pub(crate) mod tests;
