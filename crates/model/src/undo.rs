//! Changes taken back and made again: what moving through time is made of.

use crate::change::{Change, Replaced};
use crate::interval::{IntervalMap, Piece};
use crate::rules::Rules;
use crate::space::AddressSpace;
use vmatlas_event::{AddrRange, Bytes, VmaRow};

/// So many pieces are worth a look at whether they can be exchanged at once.
pub(crate) const MANY: usize = if cfg!(test) { 4 } else { 256 };

impl AddressSpace {
    /// Takes back the latest change: everything is as it was before it.
    pub fn undo(&mut self, change: &Change) {
        self.replace_rows(&change.after, &change.before);
        replace(&mut self.origins, &change.origins_after, &change.origins_before);
        if let Some(brk) = change.brk {
            self.brk = brk.before;
        }
        if let Some(peak) = change.peak {
            self.peak = peak.before;
        }
        if let Some(rules) = &change.rules {
            self.rules = rules.before.clone();
        }
    }

    /// Makes a change again that was undone, or that another model of the same space made.
    pub fn redo(&mut self, change: &Change) {
        self.replace_rows(&change.before, &change.after);
        replace(&mut self.origins, &change.origins_before, &change.origins_after);
        if let Some(brk) = change.brk {
            self.brk = brk.after;
        }
        if let Some(peak) = change.peak {
            self.peak = peak.after;
        }
        if let Some(rules) = &change.rules {
            self.rules = rules.after.clone();
        }
    }

    /// From now on nobody knows where the break is.
    pub(crate) fn forget_break(&mut self) -> Change {
        Change { brk: Replaced::new(self.brk.take(), None), ..Change::default() }
    }

    /// From now on these places may grow down too, and so may what a move has taken from them.
    pub(crate) fn may_grow(
        &mut self,
        places: &[AddrRange],
        moves: &[(AddrRange, AddrRange)],
    ) -> Option<Change> {
        places.iter().for_each(|place| self.rules.grow(*place));
        for (from, to) in moves {
            for place in self.rules.growing_in(*from) {
                let at = to.start().checked_add(Bytes(place.start().0 - from.start().0));
                let moved = at.and_then(|at| AddrRange::from_len(at, place.len())?.intersect(*to));
                moved.into_iter().for_each(|moved| self.rules.grow(moved));
            }
        }
        let before = self.rules.take_before()?;
        let rules = Some(Box::new(Replaced { before, after: self.rules.clone() }));
        Some(Change { rules, ..Change::default() })
    }

    /// The end of it: everything goes. Undone in a new address space, everything comes back.
    pub(crate) fn end(self) -> Change {
        Change {
            before: self.vmas.into_pieces().collect(),
            origins_before: self.origins.into_pieces().collect(),
            brk: Replaced::new(self.brk, None),
            peak: Replaced::new(self.peak, Bytes(0)),
            rules: Some(Box::new(Replaced { before: self.rules, after: Rules::default() })),
            ..Change::default()
        }
    }

    /// Puts rows in place of rows that are there.
    pub(crate) fn replace_rows(&mut self, old: &[VmaRow], new: &[VmaRow]) {
        if self.replace_many(old, new) {
            return;
        }
        for row in old {
            self.clear(row.range);
        }
        for row in new {
            self.put(row.clone());
        }
    }
}

fn replace<P: Piece>(map: &mut IntervalMap<P>, old: &[P], new: &[P]) {
    if old.len() + new.len() >= MANY && map.exchange(old, new) {
        return;
    }
    for piece in old {
        map.remove(piece.range(), |_| ());
    }
    for piece in new {
        map.put(piece.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Rules;
    use crate::space::Origin;
    use crate::space::tests::{anon, r};
    use proptest::prelude::*;
    use vmatlas_event::{
        Addr, AddrRange, Advice, Dev, Errno, Event, MapFlags, MmId, MonoNs, Name, Op, Outcome, PageSize, Pid,
        Prot, ProtArg, Seq, SnapshotReason, Source, TaskId, Tid,
    };

    const PAGE: u64 = 4096;
    /// Everything happens below this page.
    const PAGES: u64 = 48;

    /// All that a space is.
    #[derive(Debug, PartialEq)]
    struct State {
        vmas: Vec<VmaRow>,
        origins: Vec<Origin>,
        brk: Option<Addr>,
        size: Bytes,
        peak: Bytes,
        rules: Rules,
    }

    fn state(space: &AddressSpace) -> State {
        State {
            vmas: space.vmas().cloned().collect(),
            origins: space.origins.iter().cloned().collect(),
            brk: space.brk,
            size: space.size(),
            peak: space.peak(),
            rules: space.rules.clone(),
        }
    }

    fn event(seq: u64, op: Op, outcome: Outcome) -> Event {
        let task = TaskId { pid: Pid(1), tid: Tid(1), started: None };
        let (entered, left) = (MonoNs(seq), MonoNs(seq));
        Event {
            seq: Seq(seq),
            entered,
            left,
            task,
            mm: MmId(1),
            op,
            outcome,
            stack: None,
            source: Source::Ptrace,
        }
    }

    /// Rows in address order from (gap, length, what it is).
    fn rows() -> impl Strategy<Value = Vec<VmaRow>> {
        proptest::collection::vec((0u64..4, 1u64..6, 0u8..7), 0..10).prop_map(|parts| {
            let mut at = 0;
            let mut rows = Vec::new();
            for (gap, len, kind) in parts {
                let (start, end) = (at + gap, at + gap + len);
                at = end;
                let row = anon(start, end, if kind % 2 == 0 { Prot::RW } else { Prot::READ });
                rows.push(match kind {
                    0 | 1 => row,
                    2 | 3 => {
                        VmaRow { dev: Dev { major: 8, minor: 1 }, inode: 7, offset: start * PAGE, ..row }
                    }
                    4 => VmaRow { name: Some(Name::new(b"[heap]")), ..row },
                    5 => VmaRow { name: Some(Name::new(b"[stack]")), ..row },
                    _ => VmaRow { name: Some(Name::new(b"[anon:x]")), ..row },
                });
            }
            if at % 5 == 4 {
                let vsyscall = anon(PAGES + 40, PAGES + 41, Prot::EXEC);
                rows.push(VmaRow { name: Some(Name::new(b"[vsyscall]")), ..vsyscall });
            }
            rows
        })
    }

    fn range() -> impl Strategy<Value = (Addr, Bytes)> {
        (0..PAGES, 0u64..12).prop_map(|(page, pages)| (Addr(page * PAGE), Bytes(pages * PAGE)))
    }

    /// A call, the place it may have got, and what the kernel might answer.
    fn call() -> impl Strategy<Value = (Op, Outcome)> {
        let mapped = (
            range(),
            0u64..8,
            prop_oneof![Just(0x22), Just(0x32), Just(0x132), Just(0x01), Just(0x11), Just(0x40032)],
        )
            .prop_map(|((addr, len), prot, flags)| {
                let (prot, flags) = (ProtArg(prot), MapFlags(flags));
                let offset = if flags.0 & 0x20 == 0 { addr.0 } else { 0 };
                (Op::Mmap { addr, len, prot, flags, fd: 3, offset }, addr.0)
            });
        let moved = (range(), range(), prop_oneof![Just(0), Just(1), Just(3), Just(5)], any::<bool>())
            .prop_map(|((old, old_len), (new, new_len), flags, stays)| {
                let at = if stays { old.0 } else { new.0 };
                (Op::Mremap { old, old_len, new_len, flags, new }, at)
            });
        let protect = (range(), 0u64..8)
            .prop_map(|((addr, len), prot)| (Op::Mprotect { addr, len, prot: ProtArg(prot), pkey: None }, 0));
        let brk = (0..PAGES * PAGE).prop_map(|at| (Op::Brk { addr: Addr(at) }, at));
        let advise = range().prop_map(|(addr, len)| (Op::Madvise { addr, len, advice: Advice(16) }, 0));
        let attribute = (range(), 0u8..6).prop_map(|((addr, len), which)| {
            let op = match which {
                0 => Op::Mlock { addr, len, flags: None },
                1 => Op::Mseal { addr, len, flags: 0 },
                2 => Op::Mbind { addr, len, mode: 0, flags: 0 },
                3 => Op::Prctl { option: 35, args: [0; 4] },
                4 => Op::IoDestroy { ctx: addr },
                _ => Op::Personality { persona: 0x40_0000 },
            };
            (op, 0)
        });
        let op = prop_oneof![
            1 => attribute,
            4 => mapped,
            4 => range().prop_map(|(addr, len)| (Op::Munmap { addr, len }, 0)),
            4 => protect,
            4 => moved,
            2 => brk,
            1 => advise,
            1 => range().prop_map(|(addr, _)| (Op::Shmat { id: 1, addr, flags: 0 }, addr.0)),
            1 => range().prop_map(|(addr, _)| (Op::Shmdt { addr }, 0)),
        ];
        (op, 0u8..8).prop_map(|((op, at), how)| match how {
            0 => (op, Outcome::Failed(Errno(12))),
            1 => (op, Outcome::NoReturn),
            _ => (op, Outcome::Done(at)),
        })
    }

    fn anything() -> impl Strategy<Value = (Op, Outcome)> {
        let answer = (rows(), range(), any::<bool>()).prop_map(|(mut rows, (start, len), whole)| {
            let asked = if whole { AddrRange::ALL } else { AddrRange::from_len(start, len).unwrap() };
            rows.retain(|row| row.range.intersects(asked));
            (Op::Observed { rows, asked, late: false, in_flight: vec![] }, Outcome::Done(0))
        });
        let snapshot = (rows(), any::<bool>()).prop_map(|(rows, is_check)| {
            let reason = if is_check { SnapshotReason::Check } else { SnapshotReason::Request };
            (Op::Snapshot { reason, rows }, Outcome::Done(0))
        });
        prop_oneof![6 => call(), 2 => answer, 1 => snapshot]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        /// Checks that changes taken back one by one, latest first, give every earlier state, and made again every
        /// later one; and that all of them as one change do so in one step.
        #[test]
        fn every_state_comes_back(events in proptest::collection::vec(anything(), 1..40)) {
            let mut space = AddressSpace::new(PageSize::FOUR_KIB);
            let mut states = vec![state(&space)];
            let mut changes = Vec::new();
            for (seq, (op, outcome)) in (0..).zip(events) {
                changes.push(space.apply(&event(seq, op, outcome)).change);
                states.push(state(&space));
            }
            for (change, earlier) in changes.iter().zip(&states).rev() {
                space.undo(change);
                prop_assert_eq!(&state(&space), earlier, "undone: {:?}", change);
            }
            for (change, later) in changes.iter().zip(&states[1..]) {
                space.redo(change);
                prop_assert_eq!(&state(&space), later, "made again: {:?}", change);
            }
            let whole = changes.into_iter().reduce(Change::then).unwrap();
            space.undo(&whole);
            prop_assert_eq!(&state(&space), &states[0]);
            space.redo(&whole);
            prop_assert_eq!(&state(&space), states.last().unwrap());
        }
    }

    /// Checks that a change in a map of 60,000 VMAs holds the rows it touched and no others.
    #[test]
    fn a_change_is_as_large_as_what_it_did() {
        let mut space = AddressSpace::new(PageSize::FOUR_KIB);
        let rows = (0..60_000).map(|i| anon(2 * i, 2 * i + 1, Prot::RW)).collect();
        space.apply(&event(0, Op::Snapshot { reason: SnapshotReason::Request, rows }, Outcome::Done(0)));
        let op = Op::Munmap { addr: r(30_000, 30_006).start(), len: r(30_000, 30_006).len() };
        let change = space.apply(&event(1, op, Outcome::Done(0))).change;
        assert_eq!((change.before.len(), change.after.len()), (3, 0));
        assert_eq!((change.origins_before.len(), change.origins_after.len()), (3, 0));
    }

    /// Checks that the end of an address space, undone in a new one, gives all of it back, and that a break nobody
    /// knows any more is known again.
    #[test]
    fn ends_can_be_taken_back() {
        let mut space = AddressSpace::new(PageSize::FOUR_KIB);
        let rows = vec![anon(1, 3, Prot::RW), anon(3, 5, Prot::READ)];
        space.apply(&event(0, Op::Snapshot { reason: SnapshotReason::Exec, rows }, Outcome::Done(0)));
        space.apply(&event(1, Op::Brk { addr: Addr(0) }, Outcome::Done(9 * PAGE)));
        let op = Op::Munmap { addr: Addr(2 * PAGE), len: Bytes(PAGE) };
        space.apply(&event(2, op, Outcome::Done(0)));
        let then = state(&space);
        let forgotten = space.forget_break();
        assert_eq!(space.brk, None);
        space.undo(&forgotten);
        assert_eq!(state(&space), then);
        let mut new = AddressSpace::new(PageSize::FOUR_KIB);
        new.undo(&space.end());
        assert_eq!(state(&new), then);
    }
}
