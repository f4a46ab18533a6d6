//! Page faults that were told when they began: what has become of them.
//!
//! The kernel adds one to its task's count at the end of a fault that is dealt with (mm/memory.c:mm_account_fault()), and the
//! programs tell that count with each fault, and before anything else can add to it. So the next word of a task tells how its
//! last fault ended: at most one of each task waits here. Where a task says no more for a while its count is read of /proc.

use super::faults::PATIENCE_NS;
use super::watch::Watch;
use crate::engine::Wiring;
use rustc_hash::FxHashMap;
use vmatlas_event::{Addr, MonoNs, Tid};
use vmatlas_sys::bpf::{Accounted, FaultEnd, Faulted, Head};
use vmatlas_sys::now;

/// A fault that was dealt with, and how.
pub(super) type Ended = (Head, Faulted);

/// So long nobody is asked again whose fault has not ended.
const ASK_AGAIN_NS: u64 = 20_000_000;

/// The last fault of a task.
#[derive(Debug)]
struct Last {
    head: Head,
    faulted: Faulted,
    before: Accounted,
    is_major: bool,
    asked: Option<MonoNs>,
}

/// The faults that have not ended, as far as is known.
#[derive(Debug, Default)]
pub(super) struct Begun {
    last: FxHashMap<Tid, Last>,
    /// Those that were not dealt with: they ended in a signal, or were begun anew.
    pub(super) failed: u64,
    /// Those of which nobody will ever know.
    pub(super) unknown: u64,
}

impl Begun {
    /// Takes a fault, which tells how the one before has ended: gives back what is known to be dealt with.
    pub(super) fn begin(&mut self, head: Head, faulted: Faulted) -> Option<Ended> {
        let FaultEnd::Unknown(before) = faulted.ended else { return Some((head, faulted)) };
        let ended = self.settle(head.tid, before);
        self.last.insert(head.tid, Last { head, faulted, before, is_major: false, asked: None });
        ended
    }

    /// The kernel's own word that the fault of a task was dealt with and had to wait for a disk.
    pub(super) fn mark_major(&mut self, tid: Tid) {
        if let Some(last) = self.last.get_mut(&tid) {
            last.is_major = true;
        }
    }

    /// So much was accounted to a task before anything else than its last fault could be: gives that back where it was dealt with.
    pub(super) fn settle(&mut self, tid: Tid, now: Accounted) -> Option<Ended> {
        let last = self.last.remove(&tid)?;
        // The word of a major one may have found no room.
        let majors = now.majors.wrapping_sub(last.before.majors);
        let more = now.all.checked_sub(last.before.all);
        let is_major = last.is_major || majors > 0 && more == Some(majors.into());
        self.end(last, more, is_major)
    }

    fn end(&mut self, last: Last, more: Option<u64>, is_major: bool) -> Option<Ended> {
        match more {
            Some(0) if !is_major => self.failed += 1,
            // A count that becomes less is that of another task, which has got its number.
            None => self.unknown += 1,
            Some(_) => {
                let ended = if is_major { FaultEnd::Major } else { FaultEnd::Minor };
                return Some((last.head, Faulted { ended, ..last.faulted }));
            }
        }
        None
    }

    /// Whose count is to be read at this moment, and when its fault began, of those that `is_wanted`.
    pub(super) fn due(&mut self, now: MonoNs, is_wanted: impl Fn(&Head) -> bool) -> Vec<(Tid, MonoNs)> {
        let is_due = |asked: MonoNs| now.0.saturating_sub(asked.0) >= ASK_AGAIN_NS;
        let due =
            self.last.values_mut().filter(|last| last.asked.is_none_or(is_due) && is_wanted(&last.head));
        due.map(|last| {
            last.asked = Some(now);
            (last.head.tid, last.head.at)
        })
        .collect()
    }

    /// What was read, where all that the task had told by then was taken since, and the fault is its last one still.
    pub(super) fn answer(&mut self, (tid, began): (Tid, MonoNs), all: u64) -> Option<Ended> {
        let is_it = |last: &&Last| last.head.at == began && all > last.before.all;
        self.last.get(&tid).filter(is_it)?;
        let last = self.last.remove(&tid)?;
        let is_major = last.is_major;
        self.end(last, Some(1), is_major)
    }

    /// Nobody tells anything any more: those that are left, of which `is_there` says whether their task is.
    pub(super) fn give_up(&mut self, is_there: impl Fn(&Head) -> bool) {
        for (_, last) in self.last.drain() {
            // What a task is in, whose count was just read, is not dealt with.
            let count = if is_there(&last.head) { &mut self.failed } else { &mut self.unknown };
            *count += 1;
        }
    }
}

impl Watch {
    /// Reads what has become of faults whose task has told nothing since: those of which a call of another task could have
    /// taken the page, and those that began some time ago.
    pub(super) fn ask_for_ends(&mut self, wiring: &mut Wiring<'_>) {
        let at = now();
        let Watch { touches: Some(touches), spaces, .. } = self else { return };
        let asked = touches.begun.due(at, |head| {
            let is_shared = spaces.get(&head.space).is_some_and(|space| space.users > 1);
            is_shared || at.0.saturating_sub(head.at.0) > PATIENCE_NS
        });
        self.ask(&asked, wiring);
    }

    /// The same for faults of others on pages that a call has taken away: what began before is told before it.
    pub(super) fn ask_for_taken(
        &mut self,
        of: Head,
        is_taken: impl Fn(Addr) -> bool,
        wiring: &mut Wiring<'_>,
    ) {
        let Some(touches) = &self.touches else { return };
        let is_wanted = |last: &&Last| {
            let head = &last.head;
            head.space == of.space && head.tid != of.tid && head.at <= of.at && is_taken(last.faulted.addr)
        };
        let wanted = touches.begun.last.values().filter(is_wanted);
        let asked: Vec<(Tid, MonoNs)> = wanted.map(|last| (last.head.tid, last.head.at)).collect();
        self.ask(&asked, wiring);
    }

    pub(super) fn ask(&mut self, asked: &[(Tid, MonoNs)], wiring: &mut Wiring<'_>) {
        let tasks = &self.tasks;
        let mut count =
            |which: &(Tid, MonoNs)| Some((*which, wiring.kernel.faults_of(tasks.get(&which.0)?.id)?));
        let answers: Vec<((Tid, MonoNs), u64)> = asked.iter().filter_map(&mut count).collect();
        if answers.is_empty() {
            return;
        }
        // What a task had told before its count was read says more.
        self.collect_faults();
        let Some(touches) = &mut self.touches else { return };
        for (which, all) in answers {
            touches.pending.extend(touches.begun.answer(which, all));
        }
        touches.pending.make_contiguous().sort_by_key(|(head, _)| head.at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmatlas_event::{MmId, Pid};

    fn fault(tid: i32, at: u64, all: u64, majors: u32) -> (Head, Faulted) {
        let head = Head { space: MmId(1), pid: Pid(1), tid: Tid(tid), order: at, at: MonoNs(at) };
        let ended = FaultEnd::Unknown(Accounted { all, majors });
        (head, Faulted { addr: Addr(at), ip: None, map: 0, ended, stack: None })
    }

    fn ended(ended: Option<Ended>) -> Option<(u64, FaultEnd)> {
        ended.map(|(head, faulted)| (head.at.0, faulted.ended))
    }

    /// Checks that the next fault of the same task tells how one ended, and that of another task does not.
    #[test]
    fn the_next_fault_tells() {
        let mut begun = Begun::default();
        let mut take = |(head, faulted)| ended(begun.begin(head, faulted));
        assert_eq!(take(fault(1, 10, 5, 0)), None);
        assert_eq!(take(fault(2, 11, 9, 9)), None);
        assert_eq!(take(fault(1, 12, 6, 0)), Some((10, FaultEnd::Minor)));
        // The second one failed, and the third one was major although no word of that came.
        assert_eq!(take(fault(1, 13, 6, 0)), None);
        assert_eq!(take(fault(1, 14, 7, 1)), Some((13, FaultEnd::Major)));
        assert_eq!((begun.failed, begun.unknown), (1, 0));
    }

    /// Checks that the kernel's word makes a fault major whatever else was accounted, and that a count which becomes less is
    /// another task's.
    #[test]
    fn majors_have_their_own_word() {
        let mut begun = Begun::default();
        let (head, faulted) = fault(1, 10, 5, 1);
        begun.begin(head, faulted);
        begun.mark_major(Tid(1));
        let settled = begun.settle(Tid(1), Accounted { all: 9, majors: 3 });
        assert_eq!(ended(settled), Some((10, FaultEnd::Major)));
        let (head, faulted) = fault(1, 11, 9, 3);
        begun.begin(head, faulted);
        assert_eq!(ended(begun.settle(Tid(1), Accounted { all: 2, majors: 0 })), None);
        assert_eq!((begun.failed, begun.unknown), (0, 1));
        assert_eq!(ended(begun.settle(Tid(1), Accounted::default())), None);
    }

    /// Checks that a count that was read tells of the fault it was read for alone, that nobody is asked all the time, and
    /// that what has not ended at the end is known or not by whether its task is there.
    #[test]
    fn counts_are_read_now_and_then() {
        let mut begun = Begun::default();
        for (head, faulted) in [fault(1, 10, 5, 0), fault(2, 11, 5, 0), fault(3, 12, 5, 0)] {
            begun.begin(head, faulted);
        }
        let is_wanted = |head: &Head| head.tid != Tid(3);
        let asked = begun.due(MonoNs(50), is_wanted);
        assert_eq!(asked.len(), 2);
        assert!(begun.due(MonoNs(60), is_wanted).is_empty());
        assert_eq!(begun.due(MonoNs(50 + ASK_AGAIN_NS), is_wanted).len(), 2);
        assert_eq!(ended(begun.answer((Tid(1), MonoNs(10)), 5)), None);
        assert_eq!(ended(begun.answer((Tid(2), MonoNs(9)), 7)), None);
        assert_eq!(ended(begun.answer((Tid(2), MonoNs(11)), 7)), Some((11, FaultEnd::Minor)));
        begun.give_up(|head| head.tid == Tid(1));
        assert_eq!((begun.failed, begun.unknown), (1, 1));
    }
}
