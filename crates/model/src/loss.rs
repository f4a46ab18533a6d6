//! Events that were lost: what was known before counts no more.

use crate::change::Change;
use crate::progress::Progress;
use crate::spaces::Spaces;
use crate::unclear::Unclear;
use vmatlas_event::{Event, Keyframe};

impl Spaces {
    /// Goes on from the state after the loss, which whoever lost the events has kept; without one nothing is known any more.
    ///
    /// Of the calls that waited for their answers the first one is told; that others are missing is told by the loss.
    pub(crate) fn lose(&mut self, event: &Event, state: Option<&Keyframe>) -> Progress {
        let unanswered = self.give_up();
        let mut after =
            state.map(|state| Spaces::from_keyframe(self.page, self.distrust, state.clone()).spaces);
        // What was lost may have left it unclear, which no keyframe tells: no drift is told until the next reading.
        let states = after.iter_mut().flat_map(|spaces| spaces.values_mut());
        states.for_each(|living| living.unclear = Unclear::everywhere());
        let before = std::mem::replace(&mut self.spaces, after.unwrap_or_default());
        if let Some(effects) = &mut self.effects {
            before.into_iter().for_each(|(mm, living)| effects.went(mm, living));
            self.spaces.keys().for_each(|mm| effects.came(*mm));
        }
        Progress { unanswered, done: self.done(event, Change::default()), ..Progress::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmatlas_event::*;

    fn event(seq: u64, op: Op) -> Event {
        Event {
            seq: Seq(seq),
            entered: MonoNs(seq),
            left: MonoNs(seq),
            task: TaskId { pid: Pid(1), tid: Tid(1), started: None },
            mm: MmId(1),
            op,
            outcome: Outcome::Done(0),
            stack: None,
            source: Source::Observed,
        }
    }

    fn lost(seq: u64, state: Option<Keyframe>) -> Event {
        event(seq, Op::Lost { count: Some(3), from: MonoNs(1), to: MonoNs(2), state: state.map(Box::new) })
    }

    /// Checks that after a loss nothing is known, or that which was kept, whatever was known before, and that a call that
    /// waited for its answer is told once and waits no more.
    #[test]
    fn after_a_loss_what_was_kept_counts() {
        let page = PageSize::new(4096).unwrap();
        let snapshot = |reason| Op::Snapshot { reason, rows: Vec::new() };
        let mut kept = Spaces::new(page);
        kept.event(&event(9, Op::Joined));
        let kept = kept.keyframe(Seq(9), MonoNs(9)).unwrap();
        let mut spaces = Spaces::new(page);
        spaces.event(&event(0, snapshot(SnapshotReason::Exec)));
        let call = spaces.event(&event(1, Op::Brk { addr: Addr(0x5000) }));
        assert!(!call.ask.is_empty() && spaces.is_waiting());
        let told = spaces.event(&lost(9, Some(kept.clone())));
        assert!(told.unanswered.is_some() && told.done.is_some() && !spaces.is_waiting());
        assert_eq!(spaces.keyframe(Seq(9), MonoNs(9)), Some(kept));
        spaces.event(&lost(12, None));
        assert_eq!(spaces.alive(), []);
    }
}
