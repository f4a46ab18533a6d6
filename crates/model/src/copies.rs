//! Copy-on-write after a fork: who touched pages that parent and child shared.
//!
//! No event says "copied". What is known: a page of private anonymous memory had a recorded fault, so it was there; then the
//! address space was forked, which leaves the page to both, write-protected; then a fault on it was recorded on one side. A
//! read would not have faulted. The kernel then made a copy, or gave the page to the one that was left where the other side
//! had unmapped it, had ended, or had made its own copy. So the pages counted here are those whose sharing was broken: at
//! least as many as were copied. Memory that was filled before anybody looked, in advance, or around another page is missing,
//! and private pages of files are left out, for which a fault may be the first one.

use crate::change::PageChange;
use crate::progress::Done;
use crate::spaces::Spaces;
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::BTreeMap;
use vmatlas_event::{Addr, AddrRange, Advice, Event, ForkKind, MmId, Op, PageSize, Pid, Sharing, StackId};

/// So many pages are remembered at most, of all address spaces.
const MOST: usize = 16 << 20;

/// Who touched a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Toucher {
    /// The call stack of the touch.
    Stack(StackId),
    /// No stack was taken: the instruction.
    At(Addr),
    /// The kernel, for the program.
    Kernel,
}

impl Toucher {
    /// Who it was in this event; `None` where it is no fault.
    pub fn of(event: &Event) -> Option<Toucher> {
        match (&event.op, event.stack) {
            (Op::Fault { .. }, Some(stack)) => Some(Toucher::Stack(stack)),
            (Op::Fault { ip: Some(ip), .. }, None) => Some(Toucher::At(*ip)),
            (Op::Fault { ip: None, .. }, None) => Some(Toucher::Kernel),
            _ => None,
        }
    }
}

/// Who broke the sharing of pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Breaker {
    /// The address space it happened in.
    pub mm: MmId,
    /// A process that uses it.
    pub pid: Pid,
    /// Whether it is the side that was forked off; its parent otherwise.
    pub is_child: bool,
    /// Who touched the pages.
    pub by: Toucher,
}

/// Pages of one address space, by their numbers.
#[derive(Clone, Debug, Default)]
struct Known {
    /// Those that are there: a fault was recorded, or the parent had one.
    there: FxHashSet<u64>,
    /// Those of them that another address space has too, and whether this one is the copy.
    shared: FxHashMap<u64, bool>,
}

impl Known {
    fn len(&self) -> usize {
        self.there.len() + self.shared.len()
    }

    fn forget(&mut self, range: AddrRange, page: PageSize) {
        let (first, end) = (range.start().0 / page.bytes(), range.end().0.div_ceil(page.bytes()));
        if (end - first) as usize > self.there.len() {
            self.there.retain(|page| !(first..end).contains(page));
            self.shared.retain(|page, _| !(first..end).contains(page));
            return;
        }
        for page in first..end {
            self.there.remove(&page);
            self.shared.remove(&page);
        }
    }
}

/// The sums while events are taken.
#[derive(Debug)]
pub struct Copies {
    page: PageSize,
    known: FxHashMap<MmId, Known>,
    /// So many pages are known at most.
    there: usize,
    pages: BTreeMap<Breaker, u64>,
    forks: u64,
    is_complete: bool,
}

impl Copies {
    /// Knowing nothing yet.
    pub fn new(page: PageSize) -> Copies {
        let known = FxHashMap::default();
        Copies { page, known, there: 0, pages: BTreeMap::new(), forks: 0, is_complete: true }
    }

    /// Takes an event that `spaces` have taken; all of them are to be given.
    pub fn add(&mut self, done: &Done, spaces: &Spaces) {
        let event = &done.event;
        match event.op {
            Op::Fault { addr, .. } => return self.fault(event, addr, spaces),
            Op::Fork { kind: ForkKind::Process, child_mm, .. } => self.fork(event.mm, child_mm),
            // A child of vfork leaves one that its parent still has.
            Op::Exec { old_mm } if spaces.get(old_mm).is_none() => drop(self.known.remove(&old_mm)),
            Op::Exit { last: true, .. } => drop(self.known.remove(&event.mm)),
            // Of a part that is missing nobody knows what it did.
            Op::Lost { .. } => {
                self.is_complete = false;
                if !crate::faults::changes_no_map(event) {
                    self.known.clear();
                }
            }
            Op::Madvise { addr, len, advice } if gives_back(advice) => {
                let range = AddrRange::from_len(addr, self.page.round_up(len).unwrap_or(len));
                if let Some((known, range)) = self.known.get_mut(&event.mm).zip(range) {
                    known.forget(range, self.page);
                }
            }
            _ => {}
        }
        let Some(known) = self.known.get_mut(&event.mm) else { return };
        for change in &done.pages {
            match change {
                PageChange::Removed(row) | PageChange::Added(row) => known.forget(row.range, self.page),
                PageChange::Moved { from, to } => {
                    known.forget(*from, self.page);
                    known.forget(*to, self.page);
                }
                PageChange::Altered { .. } => {}
            }
        }
    }

    fn fork(&mut self, parent: MmId, child: MmId) {
        self.forks += 1;
        let total: usize = self.known.values().map(Known::len).sum();
        let Some(known) = self.known.get_mut(&parent) else { return };
        if total.saturating_add(2 * known.there.len()) > MOST {
            self.is_complete = false;
            return;
        }
        let mut copy = known.clone();
        for page in &known.there {
            known.shared.entry(*page).or_insert(false);
            copy.shared.insert(*page, true);
        }
        self.known.insert(child, copy);
    }

    fn fault(&mut self, event: &Event, addr: Addr, spaces: &Spaces) {
        let page = addr.0 / self.page.bytes();
        let row = spaces.get(event.mm).and_then(|space| space.vma_at(addr));
        let is_private = row.is_some_and(|row| row.sharing == Sharing::Private && !row.has_file());
        if !is_private {
            return;
        }
        let known = self.known.entry(event.mm).or_default();
        if let (Some(is_child), Some(by)) = (known.shared.remove(&page), Toucher::of(event)) {
            let breaker = Breaker { mm: event.mm, pid: event.task.pid, is_child, by };
            *self.pages.entry(breaker).or_default() += 1;
        }
        if self.there < MOST {
            self.there += usize::from(known.there.insert(page));
        } else {
            // How many there are now, only counting tells: those that went were not taken off.
            self.there = self.known.values().map(Known::len).sum();
            self.is_complete &= self.there < MOST;
        }
    }

    /// How many pages each has taken out of their sharing, most first.
    pub fn sorted(&self) -> Vec<(Breaker, u64)> {
        let mut all: Vec<(Breaker, u64)> = self.pages.iter().map(|(who, pages)| (*who, *pages)).collect();
        all.sort_by_key(|(who, pages)| (std::cmp::Reverse(*pages), *who));
        all
    }

    /// How many forks made a copy of an address space.
    pub fn forks(&self) -> u64 {
        self.forks
    }

    /// Whether nothing is missing that was to be recorded.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// The size of a page.
    pub fn page(&self) -> PageSize {
        self.page
    }
}

/// Whether pages are not there any more after this advice, or may not be: MADV_DONTNEED, FREE, REMOVE, PAGEOUT,
/// DONTNEED_LOCKED, GUARD_INSTALL.
fn gives_back(advice: Advice) -> bool {
    [4, 8, 9, 21, 24, 102].contains(&advice.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::tests::anon;
    use vmatlas_event::{Bytes, MonoNs, Outcome, Prot, Seq, SnapshotReason, Source, TaskId, Tid};

    const PAGE: u64 = 4096;

    struct Run {
        spaces: Spaces,
        copies: Copies,
        seq: u64,
    }

    impl Run {
        fn new() -> Run {
            let page = PageSize::new(PAGE).unwrap();
            let mut run = Run { spaces: Spaces::new(page), copies: Copies::new(page), seq: 0 };
            let rows = vec![anon(10, 20, Prot::RW)];
            run.event(1, Op::Snapshot { reason: SnapshotReason::Exec, rows }, None);
            run
        }

        fn event(&mut self, mm: u32, op: Op, stack: Option<u32>) {
            let task = TaskId { pid: Pid(mm as i32), tid: Tid(mm as i32), started: None };
            let (seq, at) = (Seq(self.seq), MonoNs(self.seq));
            let stack = stack.map(StackId);
            let (outcome, source) = (Outcome::Done(0), Source::Perf);
            let event = Event { seq, entered: at, left: at, task, mm: MmId(mm), op, outcome, stack, source };
            self.seq += 1;
            let progress = self.spaces.event(&event);
            for done in progress.unanswered.iter().chain(&progress.done) {
                self.copies.add(done, &self.spaces);
            }
        }

        fn touch(&mut self, mm: u32, page: u64, stack: u32) {
            let op = Op::Fault { addr: Addr(page * PAGE + 8), ip: Some(Addr(0x42)), major: false };
            self.event(mm, op, Some(stack));
        }

        fn fork(&mut self, mm: u32, child: u32) {
            let pid = Pid(child as i32);
            let task = TaskId { pid, tid: Tid(pid.0), started: None };
            self.event(mm, Op::Fork { kind: ForkKind::Process, child: task, child_mm: MmId(child) }, None);
        }

        fn sums(&self) -> Vec<(u32, bool, Toucher, u64)> {
            let sorted = self.copies.sorted().into_iter();
            sorted.map(|(who, pages)| (who.mm.0, who.is_child, who.by, pages)).collect()
        }
    }

    /// Checks that the exec of a child of vfork leaves what is known of the address space that it shared.
    #[test]
    fn a_child_of_vfork_takes_nothing_along() {
        let mut run = Run::new();
        run.touch(1, 10, 1);
        let child = TaskId { pid: Pid(3), tid: Tid(3), started: None };
        run.event(1, Op::Fork { kind: ForkKind::SharedProcess, child, child_mm: MmId(1) }, None);
        run.event(3, Op::Exec { old_mm: MmId(1) }, None);
        run.fork(1, 2);
        run.touch(2, 10, 2);
        assert_eq!(run.sums(), [(2, true, Toucher::Stack(StackId(2)), 1)]);
    }

    /// Checks that touches after a fork of pages that were there before it count on either side, each page once, and that
    /// pages which were not there, or whose first touch comes after the fork, do not.
    #[test]
    fn sharing_is_broken_by_either_side() {
        let mut run = Run::new();
        for page in 10..15 {
            run.touch(1, page, 1);
        }
        run.fork(1, 2);
        for page in [10, 11, 11, 12, 16] {
            run.touch(2, page, 2);
        }
        run.touch(1, 10, 3);
        run.touch(1, 17, 3);
        let (two, three) = (Toucher::Stack(StackId(2)), Toucher::Stack(StackId(3)));
        assert_eq!(run.sums(), [(2, true, two, 3), (1, false, three, 1)]);
        assert_eq!((run.copies.forks(), run.copies.is_complete()), (1, true));
    }

    /// Checks that what was given back or unmapped meanwhile is new when it is touched, and that a second fork shares again.
    #[test]
    fn what_was_given_back_is_no_copy() {
        let mut run = Run::new();
        for page in 10..14 {
            run.touch(1, page, 1);
        }
        run.fork(1, 2);
        let (addr, len) = (Addr(10 * PAGE), Bytes(2 * PAGE));
        run.event(1, Op::Madvise { addr, len, advice: Advice(4) }, None);
        run.event(2, Op::Munmap { addr, len }, None);
        (10..13).for_each(|page| run.touch(1, page, 4));
        run.fork(1, 3);
        run.touch(1, 12, 4);
        assert_eq!(run.sums(), [(1, false, Toucher::Stack(StackId(4)), 2)]);
    }
}
