//! Events that were lost: what was known before counts no more.

use crate::change::Change;
use crate::progress::Progress;
use crate::spaces::Spaces;
use vmatlas_event::{Event, Keyframe};

impl Spaces {
    /// Goes on from the state after the loss, which whoever lost the events has kept; without one nothing is known any more.
    ///
    /// Of the calls that waited for their answers the first one is told; that others are missing is told by the loss.
    pub(crate) fn lose(&mut self, event: &Event, state: Option<&Keyframe>) -> Progress {
        let unanswered = self.give_up();
        let after = state.map(|state| Spaces::from_keyframe(self.page, self.distrust, state).spaces);
        let before = std::mem::replace(&mut self.spaces, after.unwrap_or_default());
        if let Some(effects) = &mut self.effects {
            before.into_iter().for_each(|(mm, living)| effects.went(mm, living));
            self.spaces.keys().for_each(|mm| effects.came(*mm));
        }
        Progress { unanswered, done: self.done(event, Change::default()), ..Progress::default() }
    }
}
