//! What each event does to a map: one file for each family of calls.
//!
//! Every function predicts pages exactly where the man page allows it and asks about the rest. A call that failed may
//! have changed the map all the same (munmap running into a sealed VMA leaves it split; mprotect over a hole changes
//! what lies before it), so its range is always read again.

mod brk;
mod madvise;
mod mmap;
mod mprotect;
mod mremap;
mod munmap;
mod observed;
mod shm;

use crate::change::Change;
use crate::space::{AddressSpace, Applied, Origin};
use vmatlas_event::{Addr, AddrRange, Bytes, Event, Op, Outcome, PageSize, Seq, VmaRow};

/// Applies one event; see [`AddressSpace::apply`].
pub(crate) fn apply(space: &mut AddressSpace, event: &Event) -> Applied {
    match &event.op {
        Op::Snapshot { rows, .. } => return observed::snapshot(space, event.seq, rows),
        Op::Observed { rows, asked, .. } => return observed::answer(space, event.seq, *asked, rows),
        _ => {}
    }
    let mut edit = Edit::new(space, event.seq);
    match (&event.op, event.outcome) {
        (op, Outcome::Failed(_)) => edit.ask_again(argument_ranges(op, edit.space.page)),
        (_, Outcome::NoReturn) => {}
        (&Op::Mmap { len, prot, flags, offset, .. }, Outcome::Done(at)) => {
            mmap::apply(&mut edit, Addr(at), len, prot, flags, offset);
        }
        (&Op::Munmap { addr, len }, Outcome::Done(_)) => munmap::apply(&mut edit, addr, len),
        (&Op::Mremap { old, old_len, new_len, flags, .. }, Outcome::Done(at)) => {
            mremap::apply(&mut edit, old, old_len, Addr(at), new_len, flags);
        }
        (&Op::Mprotect { addr, len, prot, .. }, Outcome::Done(_)) => {
            mprotect::apply(&mut edit, addr, len, prot)
        }
        (&Op::Brk { addr }, Outcome::Done(at)) => brk::apply(&mut edit, addr, Addr(at)),
        (&Op::Madvise { addr, len, advice }, Outcome::Done(_)) => {
            madvise::apply(&mut edit, addr, len, advice)
        }
        (&Op::Shmat { .. }, Outcome::Done(at)) => shm::attach(&mut edit, Addr(at)),
        (&Op::Shmdt { addr }, Outcome::Done(_)) => shm::detach(&mut edit, addr),
        (Op::Other { .. }, Outcome::Done(_)) => edit.ask(AddrRange::ALL),
        _ => {}
    }
    edit.finish()
}

/// The ranges a call was about, whole pages; nothing for a call without one.
fn argument_ranges(op: &Op, page: PageSize) -> Vec<AddrRange> {
    let span = |addr: Addr, len: Bytes| pages_of(page, addr, len);
    match *op {
        // Without MAP_FIXED a failed mmap has touched nothing.
        Op::Mmap { addr, len, flags, .. } if flags.has(vmatlas_event::MapFlags::FIXED) => {
            vec![span(addr, len)]
        }
        Op::Munmap { addr, len } | Op::Mprotect { addr, len, .. } => vec![span(addr, len)],
        Op::Madvise { addr, len, advice } if advice.changes_vmas() => vec![span(addr, len)],
        Op::Mremap { old, old_len, new, new_len, flags } => {
            const MREMAP_FIXED: u64 = 2;
            let mut ranges = vec![span(old, old_len)];
            if flags & MREMAP_FIXED != 0 {
                ranges.push(span(new, new_len));
            }
            ranges
        }
        Op::Other { .. } => vec![AddrRange::ALL],
        _ => Vec::new(),
    }
}

/// The ranges a call acted on, by its arguments and result; for a segment or heap only where it starts.
pub(crate) fn affected_ranges(op: &Op, outcome: Outcome, page: PageSize) -> Vec<AddrRange> {
    let at = match outcome {
        Outcome::Done(value) => Addr(value),
        Outcome::Failed(_) | Outcome::NoReturn => return argument_ranges(op, page),
    };
    match *op {
        Op::Mmap { len, .. } => vec![pages_of(page, at, len)],
        Op::Mremap { old, old_len, new_len, .. } => {
            vec![pages_of(page, old, old_len), pages_of(page, at, new_len)]
        }
        Op::Brk { addr } if addr.0 != 0 => vec![pages_of(page, at, Bytes(1))],
        Op::Shmat { .. } => vec![pages_of(page, at, Bytes(1))],
        Op::Shmdt { addr } => vec![pages_of(page, addr, Bytes(1))],
        _ => argument_ranges(op, page),
    }
}

/// The whole pages that `[addr, addr + len)` touches; cut at the end of the address space.
fn pages_of(page: PageSize, addr: Addr, len: Bytes) -> AddrRange {
    let start = page.floor(addr);
    let end = addr.checked_add(len).and_then(|end| page.ceil(end)).unwrap_or(Addr(u64::MAX));
    AddrRange::new(start, end).unwrap_or(AddrRange::ALL)
}

/// A change being made: remembers what every window looked like before the first touch.
struct Edit<'a> {
    space: &'a mut AddressSpace,
    seq: Seq,
    change: Change,
    windows: Vec<AddrRange>,
    origin_windows: Vec<AddrRange>,
    ask: Vec<AddrRange>,
}

impl<'a> Edit<'a> {
    fn new(space: &'a mut AddressSpace, seq: Seq) -> Edit<'a> {
        Edit {
            space,
            seq,
            change: Change::default(),
            windows: Vec::new(),
            origin_windows: Vec::new(),
            ask: Vec::new(),
        }
    }

    /// Remembers the rows that meet `range` before they change. Windows must not overlap but by being equal.
    fn open(&mut self, range: AddrRange) {
        let fresh_rows = self.space.rows(range);
        let window = fresh_rows.iter().fold(range, |w, row| w.hull(row.range));
        if self.windows.iter().any(|w| w.covers(window)) {
            return;
        }
        let new = |row: &VmaRow| !self.windows.iter().any(|w| w.intersects(row.range));
        self.change.before.extend(fresh_rows.iter().filter(|r| new(r)).cloned());
        self.windows.push(window);
        let origins: Vec<Origin> = self.space.origins.meeting(range).cloned().collect();
        let window = origins.iter().fold(range, |w, o| w.hull(o.range));
        let new = |o: &Origin| !self.origin_windows.iter().any(|w| w.intersects(o.range));
        self.change.origins_before.extend(origins.iter().filter(|o| new(o)).cloned());
        self.origin_windows.push(window);
    }

    /// Unmaps.
    fn clear(&mut self, range: AddrRange) {
        self.open(range);
        self.space.take(range);
        self.space.origins.take(range);
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
        self.change.fresh.push(range);
    }

    /// Asks the kernel about a range.
    fn ask(&mut self, range: AddrRange) {
        if !range.is_empty() {
            self.ask.push(range);
        }
    }

    fn ask_again(&mut self, ranges: Vec<AddrRange>) {
        for range in ranges {
            self.ask(range);
        }
    }

    fn finish(mut self) -> Applied {
        self.change.after = after(&self.windows, |w| self.space.vmas.meeting(w).cloned().collect());
        self.change.origins_after =
            after(&self.origin_windows, |w| self.space.origins.meeting(w).cloned().collect());
        self.change.before.sort_by_key(|row| row.range);
        self.change.origins_before.sort_by_key(|o| o.range);
        Applied { change: self.change.settled(), ask: self.ask, drifted: false }
    }
}

/// What the windows hold now, each piece once.
fn after<P: crate::Piece>(windows: &[AddrRange], meeting: impl Fn(AddrRange) -> Vec<P>) -> Vec<P> {
    let mut pieces: Vec<P> = windows.iter().flat_map(|w| meeting(*w)).collect();
    pieces.sort_by_key(|p| p.range());
    pieces.dedup_by_key(|p| p.range());
    pieces
}

#[cfg(test)]
mod tests;
