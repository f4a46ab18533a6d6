//! States kept as plain rows, and replay begun from them.

use crate::apply::Ranges;
use crate::overlap::REMEMBERED;
use crate::rules::Rules;
use crate::space::{AddressSpace, Origin};
use crate::spaces::{Living, Spaces};
use vmatlas_event::{Keyframe, MmId, MonoNs, PageSize, Seq, SpaceState};

impl Spaces {
    /// The state of all address spaces after the event `after`, which was left at `at`; `None` while a call waits for
    /// the kernel's answer, and then a later event will do.
    ///
    /// It has all that decides what later events do: rows, origins, break, peak, rules, users, and the latest calls of
    /// address spaces with several users, which a later call may overlap. It has no [`Tally`](crate::Tally), and neither
    /// the page size nor [`Spaces::distrust`], which are the same for all of a recording.
    pub fn keyframe(&self, after: Seq, at: MonoNs) -> Option<Keyframe> {
        if self.is_waiting() {
            return None;
        }
        let mut spaces: Vec<SpaceState> = self.spaces.iter().map(|(mm, living)| living.state(*mm)).collect();
        spaces.sort_unstable_by_key(|state| state.mm);
        Some(Keyframe { after, at, spaces })
    }

    /// The states that `keyframe` holds; `distrust` as in [`Spaces::distrust`], for those that come later.
    ///
    /// A keyframe that contradicts itself is taken all the same: of rows that overlap the later one counts, and of two
    /// states of one address space too.
    pub fn from_keyframe(page: PageSize, distrust: bool, keyframe: &Keyframe) -> Spaces {
        let mut spaces = Spaces::new(page);
        spaces.distrust(distrust);
        spaces.spaces =
            keyframe.spaces.iter().map(|state| (state.mm, Living::from_state(page, state))).collect();
        spaces
    }
}

impl Living {
    fn state(&self, mm: MmId) -> SpaceState {
        let space = &self.space;
        let mut users: Vec<_> = self.users.values().copied().collect();
        users.sort_unstable_by_key(|task| task.tid);
        SpaceState {
            mm,
            users,
            rows: space.vmas.iter().cloned().collect(),
            origins: space.origins.iter().map(|origin| (origin.range, origin.seq)).collect(),
            brk: space.brk,
            peak: space.peak,
            grows: space.rules.grows().to_vec(),
            distrust: space.rules.distrust(),
            userfaultfds: space.rules.userfaultfds().to_vec(),
            recent: self.recent.iter().map(|(left, ranges)| (*left, ranges.to_vec())).collect(),
        }
    }

    fn from_state(page: PageSize, state: &SpaceState) -> Living {
        let mut space = AddressSpace::new(page);
        for row in state.rows.iter().filter(|row| !row.range.is_empty()) {
            space.put(row.clone());
        }
        for (range, seq) in &state.origins {
            space.origins.put(Origin { range: *range, seq: *seq });
        }
        space.brk = state.brk;
        space.peak = state.peak.max(space.size());
        space.rules = Rules::kept(state.grows.clone(), state.distrust, state.userfaultfds.clone());
        let recent = state.recent.iter().rev().take(REMEMBERED).rev();
        Living {
            space,
            users: state.users.iter().map(|task| (task.tid, *task)).collect(),
            recent: recent.map(|(left, ranges)| (*left, Ranges::from_slice(ranges))).collect(),
        }
    }
}
