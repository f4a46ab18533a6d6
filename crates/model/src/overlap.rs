//! Calls of one address space that overlap in time: which came first, nobody says.

use crate::apply::{Ranges, affected_ranges};
use crate::change::{Change, Replaced};
use crate::space::Taken;
use crate::spaces::Spaces;
use smallvec::SmallVec;
use vmatlas_event::{Addr, AddrRange, Event, Op, Source};

/// So many calls of one address space are remembered, to tell which overlapped.
pub(crate) const REMEMBERED: usize = 128;

impl Spaces {
    /// Asks again about a call that overlapped another one in time and range: neither the order of entry nor that of
    /// exit is the kernel's own (exit order was wrong in 2 to 84 of 100 such pairs).
    ///
    /// What grows down no answer tells: whatever one of them may have left growing counts as that from now on.
    pub(crate) fn overlapping(
        &mut self,
        event: &Event,
        change: &Change,
        ask: &mut Vec<AddrRange>,
    ) -> Option<Change> {
        let page = self.page;
        let living = self.living(event.mm);
        // Calls that BPF tells of come in the kernel's order: they were numbered under the lock.
        if living.users.len() < 2 || event.source == Source::Bpf {
            return None;
        }
        let mut own = affected_ranges(&event.op, event.outcome, page);
        // What a break that moved down has cut lies above its result. (Seen: another thread's mmap there, told first though
        // it came second, was taken away again.)
        if let Some(Replaced { before: Some(before), .. }) = change.brk {
            own.extend(AddrRange::new(Addr(0), page.ceil(before).unwrap_or(Addr(u64::MAX))));
        }
        // Sorted by the time of leaving, nearly: another task's event may have come a little late.
        let others = || living.recent.iter().rev().take_while(|(left, _)| *left > event.entered);
        // What one of two calls did may have gone on with what the other one moved (mremap), so all ranges of both are
        // unclear, and with them those of a third that meets them.
        let mut unclear = own.clone();
        let mut met: SmallVec<[bool; 8]> = others().map(|_| false).collect();
        loop {
            let known = unclear.len();
            for ((_, ranges), met) in others().zip(&mut met) {
                if !*met && ranges.iter().any(|r| unclear.iter().any(|u| u.intersects(*r))) {
                    *met = true;
                    unclear.extend(ranges.iter().copied());
                }
            }
            if unclear.len() == known {
                break;
            }
        }
        // A call that waited for long (for pages, for a processor) may have overlapped more than are remembered.
        let is_beyond = met.len() == REMEMBERED;
        let mut grows = None;
        if is_beyond || met.iter().any(|met| *met) {
            // Two ranges are those of a move. (What a call that was told earlier took from a place that one told later has
            // moved away before is not known any more.)
            let both = |ranges: &Ranges| match ranges[..] {
                [from, to] => Some((from, to)),
                _ => None,
            };
            let all_met = others().zip(&met).filter(|(_, met)| **met);
            let moves: SmallVec<[_; 2]> = all_met.filter_map(|((_, ranges), _)| both(ranges)).collect();
            let lost = change.rules.as_ref().map_or(&[][..], |rules| rules.before.grows());
            grows = living.space.may_grow(lost, &moves);
            living.space.taken =
                Some(Box::new(Taken { rows: change.before.clone(), origins: change.origins_before.clone() }));
            self.tally.conflicts += 1;
            // From where the break moved, its call does not say, and the prediction took the latest word for it.
            if is_beyond || matches!(event.op, Op::Brk { .. }) {
                unclear = Ranges::from_slice(&[AddrRange::ALL]);
            }
            for range in unclear {
                if !range.is_empty() && !ask.iter().any(|asked| asked.covers(range)) {
                    ask.push(range);
                }
            }
        }
        let living = self.living(event.mm);
        if living.recent.len() == REMEMBERED {
            living.recent.pop_front();
        }
        living.recent.push_back((event.left, own));
        grows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::tests::{PAGE, World, done, mmap};
    use crate::space::tests::{anon, r};
    use vmatlas_event::{
        Bytes, MmId, MonoNs, Name, Outcome, Pid, Prot, ProtArg, SnapshotReason, TaskId, Tid, VmaRow,
    };

    /// A second thread of the process.
    fn second_thread(world: &mut World) -> TaskId {
        let child = TaskId { pid: Pid(1), tid: Tid(2), started: None };
        let kind = vmatlas_event::ForkKind::Thread;
        world.send(Op::Fork { kind, child, child_mm: MmId(1) }, Outcome::Done(2));
        child
    }

    /// A heap of these pages.
    fn heap(a: u64, b: u64) -> VmaRow {
        VmaRow { name: Some(Name::new(b"[heap]")), ..anon(a, b, Prot::RW) }
    }

    /// Checks that a call which overlapped another in time and range is asked about even where its effect is exact.
    #[test]
    fn overlapping_calls_are_read_again() {
        let mut world = World::with(vec![anon(1, 9, Prot::RW)]);
        let timed = |world: &mut World, tid, entered, left, op, outcome| {
            let event = world.event(op, outcome);
            let task = TaskId { tid: Tid(tid), ..event.task };
            Event { entered: MonoNs(entered), left: MonoNs(left), task, ..event }
        };
        second_thread(&mut world);
        // One thread's munmap is seen late: the other one got the same address meanwhile.
        let mmap = timed(&mut world, 1, 10, 20, mmap(2, 3, 0x22), done(3));
        let munmap = timed(
            &mut world,
            2,
            5,
            30,
            Op::Munmap { addr: Addr(3 * PAGE), len: Bytes(2 * PAGE) },
            Outcome::Done(0),
        );
        assert_eq!(world.spaces.event(&mmap).ask, [r(3, 5)]);
        assert_eq!(world.spaces.event(&munmap).ask, [r(3, 5)]);
        assert_eq!(world.spaces.tally().conflicts, 1);
        // Later calls have nothing to do with them.
        let later = timed(
            &mut world,
            2,
            40,
            50,
            Op::Munmap { addr: Addr(3 * PAGE), len: Bytes(2 * PAGE) },
            Outcome::Done(0),
        );
        assert!(world.spaces.event(&later).ask.is_empty());
    }

    /// Checks that calls that move the break at the same time are asked about and no contradiction, whatever they say.
    #[test]
    fn a_break_moved_by_two_is_asked_about() {
        let mut world = World::with(vec![anon(1, 2, Prot::RW), heap(10, 12)]);
        world.call(Op::Brk { addr: Addr(0) }, done(12), &[]);
        let second = second_thread(&mut world);
        let mut brk = |task, (entered, left), in_flight: &[TaskId], to, rows: &[VmaRow]| {
            let event = world.event(Op::Brk { addr: Addr(to * PAGE) }, done(to));
            let event = Event { entered: MonoNs(entered), left: MonoNs(left), task, ..event };
            let ask = world.spaces.event(&event).ask;
            for asked in &ask {
                let rows = rows.iter().filter(|r| r.range.intersects(*asked)).cloned().collect();
                let op = Op::Observed { rows, asked: *asked, late: false, in_flight: in_flight.to_vec() };
                let answer = Event { task, ..world.event(op, Outcome::Done(0)) };
                world.spaces.event(&answer);
            }
            !ask.is_empty()
        };
        let first = TaskId { tid: Tid(1), ..second };
        // The kernel grew it to 14 and then to 13; we hear of it the other way round.
        let now = [anon(1, 2, Prot::RW), heap(10, 14)];
        assert!(brk(first, (10, 20), &[second], 13, &now));
        assert!(brk(second, (15, 25), &[], 14, &now));
        // Where it is now nobody knows: no prediction, so nothing to contradict.
        assert!(brk(first, (30, 40), &[], 15, &[anon(1, 2, Prot::RW), heap(10, 15)]));
        assert!(brk(first, (50, 60), &[], 16, &[anon(1, 2, Prot::RW), heap(10, 16)]));
        assert_eq!(world.rows(), [anon(1, 2, Prot::RW), heap(10, 16)]);
        assert_eq!((world.spaces.tally().drift, world.spaces.tally().conflicts), (0, 1));
    }

    /// Checks that a call which overlapped a move is read again where the pages went too, not only where it acted.
    #[test]
    fn what_a_move_took_along_is_read_again() {
        let mut world = World::with(vec![anon(1, 9, Prot::RW)]);
        let second = second_thread(&mut world);
        let pages = Bytes(2 * PAGE);
        let mremap = Op::Mremap {
            old: Addr(3 * PAGE),
            old_len: pages,
            new_len: pages,
            flags: 3,
            new: Addr(20 * PAGE),
        };
        let mremap = Event { entered: MonoNs(10), left: MonoNs(20), ..world.event(mremap, done(20)) };
        world.spaces.event(&mremap);
        // The kernel made the protection first, and told us last.
        let mprotect = Op::Mprotect { addr: Addr(3 * PAGE), len: pages, prot: ProtArg(1), pkey: None };
        let mprotect = world.event(mprotect, Outcome::Done(0));
        let mprotect = Event { entered: MonoNs(5), left: MonoNs(30), task: second, ..mprotect };
        let ask = world.spaces.event(&mprotect).ask;
        assert!(ask.contains(&r(3, 5)) && ask.contains(&r(20, 22)), "{ask:?}");
        assert_eq!(world.spaces.tally().conflicts, 1);
    }

    /// Checks that a call which lasted while others made more than are remembered is asked about, with everything.
    #[test]
    fn a_call_that_outlasts_what_is_remembered_is_asked_about() {
        for (others, expected) in [(REMEMBERED as u64 - 1, vec![]), (REMEMBERED as u64, vec![AddrRange::ALL])]
        {
            let mut world = World::with(vec![anon(1, 9, Prot::RW)]);
            let second = second_thread(&mut world);
            let munmap = |page| Op::Munmap { addr: Addr(page * PAGE), len: Bytes(PAGE) };
            for n in 0..others {
                let event = world.event(munmap(100), Outcome::Done(0));
                let event = Event { entered: MonoNs(10 + n), left: MonoNs(11 + n), ..event };
                assert!(world.spaces.event(&event).ask.is_empty());
            }
            let event = world.event(munmap(200), Outcome::Done(0));
            let long = Event { entered: MonoNs(5), left: MonoNs(5000), task: second, ..event };
            assert_eq!(world.spaces.event(&long).ask, expected);
        }
    }

    /// Checks that a break which moved down overlaps what another thread mapped where the heap was.
    #[test]
    fn a_cut_heap_meets_what_was_mapped_there() {
        let mut world = World::with(vec![anon(1, 2, Prot::RW), heap(10, 12)]);
        world.call(Op::Brk { addr: Addr(0) }, done(12), &[]);
        let second = second_thread(&mut world);
        world.call(Op::Brk { addr: Addr(20 * PAGE) }, done(20), &[heap(10, 20)]);
        // The kernel cut the heap to 11 pages first, and we hear of the mmap first.
        let map = world.event(mmap(1, 1, 0x32), done(15));
        let map = Event { entered: MonoNs(10), left: MonoNs(20), ..map };
        world.spaces.event(&map);
        let cut = world.event(Op::Brk { addr: Addr(11 * PAGE) }, done(11));
        let cut = Event { entered: MonoNs(10), left: MonoNs(30), task: second, ..cut };
        assert_eq!(world.spaces.event(&cut).ask, [AddrRange::ALL]);
        assert_eq!(world.spaces.tally().conflicts, 1);
    }

    /// Checks that what a call made growing grows on, whichever of two overlapping calls the kernel made last.
    #[test]
    fn what_may_grow_is_known_whichever_came_last() {
        let fixed_growing = |page| mmap(page, 2, 0x132);
        let munmap = |page: u64| Op::Munmap { addr: Addr(page * PAGE), len: Bytes(2 * PAGE) };
        let moved = |from: u64, to: u64| {
            let (old, new, len) = (Addr(from * PAGE), Addr(to * PAGE), Bytes(2 * PAGE));
            Op::Mremap { old, old_len: len, new_len: len, flags: 3, new }
        };
        let low = anon(1, 2, Prot::RW);
        let at = |start| vec![low.clone(), anon(start, start + 2, Prot::RW)];
        // Told in this order, made in the other one; then it has grown by two pages.
        for (first, second, now) in [
            ((fixed_growing(26), done(26)), (munmap(26), Outcome::Done(0)), at(26)),
            ((moved(26, 40), done(40)), (fixed_growing(26), done(26)), at(40)),
            (
                (fixed_growing(26), done(26)),
                (moved(26, 40), done(40)),
                [at(26), at(40)[1..].to_vec()].concat(),
            ),
        ] {
            let mut world = World::with(at(26));
            let other = second_thread(&mut world);
            let mut made = |(entered, left), task, (op, outcome): (Op, Outcome), rows: &[VmaRow]| {
                let event = world.event(op, outcome);
                let event = Event { entered: MonoNs(entered), left: MonoNs(left), task, ..event };
                for asked in world.spaces.event(&event).ask {
                    let rows = rows.iter().filter(|row| row.range.intersects(asked)).cloned().collect();
                    let op = Op::Observed { rows, asked, late: false, in_flight: vec![] };
                    let answer = Event { task, ..world.event(op, Outcome::Done(0)) };
                    world.spaces.event(&answer);
                }
            };
            let task = TaskId { tid: Tid(1), ..other };
            made((10, 20), task, first, &now);
            made((5, 30), other, second, &now);
            assert_eq!(world.rows(), now);
            let mut rows = now;
            rows[1].range =
                AddrRange::new(Addr(rows[1].range.start().0 - 2 * PAGE), rows[1].range.end()).unwrap();
            let found = world.send(Op::Snapshot { reason: SnapshotReason::Check, rows }, Outcome::Done(0));
            assert_eq!(found.difference, None);
        }
    }

    /// Checks that pages which an overlapping munmap should have taken away are those of the mmap that was told before it, and
    /// others those of the answer.
    #[test]
    fn what_came_after_a_munmap_keeps_its_call() {
        let made = |now: VmaRow| {
            let mut world = World::with(vec![anon(1, 2, Prot::RW)]);
            let other = second_thread(&mut world);
            let map = world.event(mmap(3, 3, 0x22), done(26));
            let map = Event { entered: MonoNs(10), left: MonoNs(20), ..map };
            world.spaces.event(&map);
            let munmap = Op::Munmap { addr: Addr(26 * PAGE), len: Bytes(3 * PAGE) };
            let munmap = world.event(munmap, Outcome::Done(0));
            let munmap = Event { entered: MonoNs(5), left: MonoNs(30), task: other, ..munmap };
            assert_eq!(world.spaces.event(&munmap).ask, [r(26, 29)]);
            let op = Op::Observed { rows: vec![now], asked: r(26, 29), late: false, in_flight: vec![] };
            let answer = Event { task: other, ..world.event(op, Outcome::Done(0)) };
            let done = world.spaces.event(&answer).done.unwrap();
            let space = world.spaces.get(MmId(1)).unwrap().clone();
            // Taken back and made again it is the same.
            let mut again = space.clone();
            again.undo(&done.change);
            assert_eq!(again.origin_of(Addr(26 * PAGE)), Some(map.seq));
            again.redo(&done.change);
            let origins = |space: &crate::AddressSpace| space.origins().cloned().collect::<Vec<_>>();
            assert_eq!(origins(&again), origins(&space));
            (map.seq, answer.seq, space)
        };
        let (map, _, space) = made(anon(26, 29, Prot::RW));
        assert_eq!([26, 28].map(|page| space.origin_of(Addr(page * PAGE))), [Some(map); 2]);
        let (map, answer, space) = made(anon(27, 30, Prot::RW));
        let origins = [26, 27, 28, 29].map(|page| space.origin_of(Addr(page * PAGE)));
        assert_eq!(origins, [None, Some(map), Some(map), Some(answer)]);
        let (_, answer, space) = made(anon(26, 29, Prot::READ));
        assert_eq!(space.origin_of(Addr(26 * PAGE)), Some(answer));
    }
}
