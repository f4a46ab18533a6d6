//! Records in the kernel's order.
//!
//! A record comes when its call returns, and has the number that the call got under the lock: a later one may be there
//! first. Numbers are dense, so that a missing one is waited for, and one that is not coming was lost.

use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::ops::Range;
use vmatlas_event::{MmId, MonoNs, Tid};
use vmatlas_sys::bpf::{CallStack, Head, Record};

/// So long a missing number is waited for that no call under way has.
const PATIENCE_NS: u64 = 20_000_000;
/// And so long one whose call is under way: it may fill gigabytes of memory before it returns.
const LONG_PATIENCE_NS: u64 = 2_000_000_000;
/// So many records are kept back for it at most.
const MOST_WAITING: usize = 200_000;

/// Records that wait hold at most so many bytes of stacks.
const STACKS: usize = 64 << 20;

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A record.
    Record(Record),
    /// So many records are lost for ever, between this moment and the next record.
    Lost(u64),
    /// Some come later, when what came after them has been told.
    Late,
}

/// Records that wait for earlier ones.
#[derive(Debug, Default)]
pub(super) struct Order {
    waiting: BTreeMap<u64, Record>,
    /// The number that comes next.
    next: u64,
    /// Since when it is missing.
    missing_since: Option<MonoNs>,
    /// Numbers that were waited for long enough; they may still come.
    late: BTreeMap<u64, MonoNs>,
    /// Of the lost ones, those that are told.
    lost: u64,
    /// Of those, the ones whose numbers are still to come: nothing came after them yet.
    ahead: u64,
    /// How many bytes of stacks wait.
    stacks: usize,
    /// Whether nothing is waited for any more.
    is_ending: bool,
}

pub(super) fn head(record: &Record) -> Option<&Head> {
    match record {
        Record::Call(head, _)
        | Record::Forked(head, _)
        | Record::Execed(head, _)
        | Record::Ended(head, _)
        | Record::Nothing(head)
        | Record::Other(head)
        | Record::Came(head) => Some(head),
        Record::Named(..)
        | Record::Faulted(..)
        | Record::Accounted(..)
        | Record::Settled(..)
        | Record::Major(_) => None,
    }
}

fn stack_size(record: &Record) -> usize {
    match record {
        Record::Call(_, call) => call.stack.as_deref().map_or(0, CallStack::size),
        _ => 0,
    }
}

impl Order {
    pub(super) fn new() -> Order {
        Order { next: 1, ..Order::default() }
    }

    /// Takes a record; names have no place here. Stacks that would be too much to keep are dropped.
    pub(super) fn put(&mut self, mut record: Record) {
        if let Record::Call(_, call) = &mut record {
            call.stack = call.stack.take().filter(|stack| self.stacks + stack.size() <= STACKS);
        }
        self.stacks += stack_size(&record);
        if let Some(order) = head(&record).map(|head| head.order) {
            self.waiting.insert(order, record);
        }
    }

    /// The number that comes next: all before it were told, or will not come in their order.
    pub(super) fn reached(&self) -> u64 {
        self.next
    }

    /// The next record, unless an earlier one may still come. `lost` is how many were lost so far by the kernel's word;
    /// `is_under_way` says whether a call with one of these numbers has not returned.
    pub(super) fn next(
        &mut self,
        now: MonoNs,
        lost: u64,
        is_under_way: &dyn Fn(Range<u64>) -> bool,
    ) -> Option<Next> {
        let (&first, _) = self.waiting.first_key_value()?;
        if first <= self.next {
            let record = self.waiting.remove(&first)?;
            self.stacks = self.stacks.saturating_sub(stack_size(&record));
            self.late.remove(&first);
            self.next = self.next.max(first + 1);
            self.missing_since = None;
            return Some(Next::Record(record));
        }
        let missing = first - self.next;
        let untold = lost.saturating_sub(self.lost);
        if untold + self.ahead >= missing + self.late.len() as u64 && !is_under_way(self.next..first) {
            // All that is missing is lost.
            let fresh = missing.saturating_sub(self.ahead);
            self.ahead = self.ahead.saturating_sub(missing);
            self.lost += fresh;
            self.skip_to(first);
            return if fresh == 0 { self.next(now, lost, is_under_way) } else { Some(Next::Lost(fresh)) };
        }
        let since = *self.missing_since.get_or_insert(now);
        let waited = now.0.saturating_sub(since.0);
        let is_patient = waited < PATIENCE_NS
            || waited < LONG_PATIENCE_NS
                && self.waiting.len() < MOST_WAITING
                && is_under_way(self.next..first);
        if is_patient && !self.is_ending {
            return None;
        }
        let told = lost.saturating_sub(self.lost);
        self.late.extend((self.next..first).map(|number| (number, now)));
        self.skip_to(first);
        match told {
            0 => Some(Next::Late),
            told => {
                self.lost += told;
                Some(Next::Lost(told))
            }
        }
    }

    /// How many were lost behind all that came, by the kernel's word; told once.
    pub(super) fn lost_behind(&mut self, lost: u64) -> u64 {
        let untold = lost.saturating_sub(self.lost);
        if !self.waiting.is_empty() || untold == 0 {
            return 0;
        }
        self.lost = lost;
        self.ahead += untold;
        untold
    }

    /// Whether all losses are told.
    pub(super) fn has_told(&self, lost: u64) -> bool {
        lost <= self.lost
    }

    /// From now on a missing record is not waited for.
    pub(super) fn wait_no_more(&mut self) {
        self.is_ending = true;
    }

    /// What was lost and not told of, when nothing more comes.
    pub(super) fn end(&mut self, lost: u64) -> u64 {
        let untold = lost.saturating_sub(self.lost);
        self.lost = lost.max(self.lost);
        untold
    }

    /// Whether a call is missing that got its number before others that came already: the order is not the kernel's then.
    pub(super) fn is_broken(&mut self, now: MonoNs) -> bool {
        self.late.retain(|_, since| now.0.saturating_sub(since.0) < LONG_PATIENCE_NS);
        !self.late.is_empty()
    }

    /// Whether no record waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether a record of this address space waits, or one that leads away from it.
    pub(super) fn has(&self, space: MmId) -> bool {
        let is_of = |record: &Record| match record {
            Record::Execed(head, exec) => head.space == space || exec.old_space == space,
            record => head(record).is_some_and(|head| head.space == space),
        };
        self.waiting.values().any(is_of)
    }

    /// Whether a record of this task waits that is earlier than a moment.
    pub(super) fn has_earlier(&self, tid: Tid, at: MonoNs) -> bool {
        self.waiting.values().filter_map(head).any(|head| head.tid == tid && head.at < at)
    }

    /// Of the records that wait, when the first one of each task was made, and the first call of each address space entered.
    pub(super) fn earliest(&self) -> (FxHashMap<Tid, MonoNs>, FxHashMap<MmId, MonoNs>) {
        let (mut by_tid, mut by_space) = (FxHashMap::default(), FxHashMap::default());
        for record in self.waiting.values() {
            let Some(head) = head(record) else { continue };
            let entered = match record {
                Record::Call(_, call) => call.entered.unwrap_or(head.at),
                _ => head.at,
            };
            let first: &mut MonoNs = by_tid.entry(head.tid).or_insert(head.at);
            *first = head.at.min(*first);
            let first: &mut MonoNs = by_space.entry(head.space).or_insert(entered);
            *first = entered.min(*first);
        }
        (by_tid, by_space)
    }

    fn skip_to(&mut self, next: u64) {
        self.next = next;
        self.missing_since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmatlas_event::Pid;

    fn record(order: u64) -> Record {
        Record::Nothing(Head { space: MmId(1), pid: Pid(1), tid: Tid(1), order, at: MonoNs(order) })
    }

    fn numbers(order: &mut Order, now: u64, lost: u64) -> Vec<i64> {
        let mut all = Vec::new();
        while let Some(next) = order.next(MonoNs(now), lost, &|numbers| numbers.contains(&UNDER_WAY)) {
            match next {
                Next::Record(record) => all.push(head(&record).unwrap().order as i64),
                Next::Lost(count) => all.push(-(count as i64)),
                Next::Late => {}
            }
        }
        all
    }

    /// The number of a call that takes long.
    const UNDER_WAY: u64 = 10;

    /// Checks that a call that is under way is waited for as long as that takes, but not for ever.
    #[test]
    fn a_call_under_way_is_waited_for() {
        let mut order = Order { next: UNDER_WAY, ..Order::default() };
        order.put(record(UNDER_WAY + 1));
        assert_eq!(numbers(&mut order, 0, 0), []);
        assert_eq!(numbers(&mut order, LONG_PATIENCE_NS - 1, 0), []);
        assert_eq!(order.reached(), UNDER_WAY);
        assert_eq!(numbers(&mut order, LONG_PATIENCE_NS, 0), [11]);
        assert!(order.is_broken(MonoNs(LONG_PATIENCE_NS)));
        order.put(record(UNDER_WAY));
        assert_eq!(numbers(&mut order, LONG_PATIENCE_NS, 0), [10]);
        assert!(!order.is_broken(MonoNs(LONG_PATIENCE_NS)));
    }

    /// Checks that at the end nothing is waited for, so that what came after a call which is still under way is told.
    #[test]
    fn at_the_end_what_waits_is_told() {
        let mut order = Order { next: UNDER_WAY, ..Order::default() };
        [11, 12].into_iter().for_each(|n| order.put(record(n)));
        assert_eq!(numbers(&mut order, 0, 0), []);
        order.wait_no_more();
        assert_eq!(numbers(&mut order, 0, 0), [11, 12]);
        assert_eq!(order.end(0), 0);
    }

    /// Checks that records come in the order of their numbers, and that an earlier one is waited for.
    #[test]
    fn the_order_is_that_of_the_numbers() {
        let mut order = Order::new();
        order.put(record(2));
        assert_eq!(numbers(&mut order, 0, 0), []);
        assert!(order.has(MmId(1)) && !order.has(MmId(2)));
        order.put(record(1));
        order.put(record(3));
        assert_eq!(numbers(&mut order, 1, 0), [1, 2, 3]);
    }

    /// Checks that a call which takes long is not waited for without end, comes when it comes, and does not count as lost.
    #[test]
    fn long_calls_come_late() {
        let mut order = Order::new();
        [1, 3, 4].into_iter().for_each(|n| order.put(record(n)));
        assert_eq!(numbers(&mut order, 0, 0), [1]);
        assert_eq!(numbers(&mut order, PATIENCE_NS, 0), [3, 4]);
        order.put(record(2));
        order.put(record(5));
        assert_eq!(numbers(&mut order, PATIENCE_NS, 0), [2, 5]);
        assert_eq!(order.end(0), 0);
    }

    /// Checks that as many are told as lost as the kernel has lost, and at once where nothing else can be missing.
    #[test]
    fn what_is_lost_is_counted() {
        let mut order = Order::new();
        [1, 4, 5].into_iter().for_each(|n| order.put(record(n)));
        assert_eq!(numbers(&mut order, 0, 2), [1, -2, 4, 5]);
        order.put(record(9));
        // One of three is lost, and nobody knows which.
        assert_eq!(numbers(&mut order, 0, 3), []);
        assert_eq!(numbers(&mut order, PATIENCE_NS, 3), [-1, 9]);
        assert_eq!(order.end(5), 2);
        assert_eq!(order.end(5), 0);
    }

    /// Checks that what is lost behind all that came is told at once, and not a second time when something comes after it; and
    /// that a call which is under way is not taken for a lost one.
    #[test]
    fn what_is_lost_last_is_told_at_once() {
        let mut order = Order::new();
        order.put(record(1));
        assert_eq!(numbers(&mut order, 0, 1), [1]);
        assert!(!order.has_told(1));
        assert_eq!((order.lost_behind(1), order.lost_behind(1)), (1, 0));
        assert!(order.has_told(1));
        order.put(record(3));
        assert_eq!(numbers(&mut order, 0, 1), [3]);
        [5, 6, 7, 8, 9].into_iter().for_each(|n| order.put(record(n)));
        assert_eq!(numbers(&mut order, 0, 2), [-1, 5, 6, 7, 8, 9]);
        order.put(record(UNDER_WAY + 1));
        assert_eq!(order.lost_behind(3), 0);
        assert_eq!(numbers(&mut order, 0, 3), []);
        order.put(record(UNDER_WAY));
        assert_eq!(numbers(&mut order, 0, 3), [10, 11]);
        assert_eq!(order.lost_behind(3), 1);
    }
}
