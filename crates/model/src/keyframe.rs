//! States kept as plain rows, and replay begun from them.

use crate::apply::Ranges;
use crate::overlap::REMEMBERED;
use crate::rules::Rules;
use crate::space::{AddressSpace, Origin};
use crate::spaces::{Living, Spaces};
use crate::undo::MANY;
use vmatlas_event::{AddrRange, Bytes, Keyframe, MmId, MonoNs, PageSize, Seq, SpaceState, TaskId, VmaRow};

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

    /// Whether `keyframe` holds what [`Spaces::keyframe`] would: found without making one, so that it takes no longer than
    /// `keyframe` is large.
    pub(crate) fn is_state(&self, keyframe: &Keyframe) -> bool {
        let states = &keyframe.spaces;
        !self.is_waiting()
            && states.len() == self.spaces.len()
            && states.is_sorted_by(|a, b| a.mm < b.mm)
            && states.iter().all(|state| self.spaces.get(&state.mm).is_some_and(|living| living.is(state)))
    }

    /// The states that `keyframe` holds; `distrust` as in [`Spaces::distrust`], for those that come later.
    ///
    /// A keyframe that contradicts itself is taken all the same: of rows that overlap the later one counts, and of two
    /// states of one address space too.
    pub fn from_keyframe(page: PageSize, distrust: bool, keyframe: Keyframe) -> Spaces {
        let mut building = Building::new(page, distrust, keyframe);
        building.go_on(usize::MAX);
        building.finish()
    }
}

/// States that are made of a keyframe, some rows at a time.
#[derive(Debug)]
pub(crate) struct Building {
    spaces: Spaces,
    states: std::vec::IntoIter<SpaceState>,
    /// One that is not whole: its rows and origins that are still to come.
    open: Option<Half>,
}

#[derive(Debug)]
struct Half {
    mm: MmId,
    living: Living,
    rows: std::vec::IntoIter<VmaRow>,
    origins: std::vec::IntoIter<(AddrRange, Seq)>,
    peak: Bytes,
}

impl Building {
    pub(crate) fn new(page: PageSize, distrust: bool, keyframe: Keyframe) -> Building {
        let mut spaces = Spaces::new(page);
        spaces.distrust(distrust);
        Building { spaces, states: keyframe.spaces.into_iter(), open: None }
    }

    /// Takes about `parts` rows and origins; whether those were the last.
    pub(crate) fn go_on(&mut self, parts: usize) -> bool {
        let mut left = parts;
        while left > 0 {
            let Some(half) = &mut self.open else {
                let Some(state) = self.states.next() else { return true };
                self.open = Some(Half::new(self.spaces.page, state));
                continue;
            };
            if !half.go_on(&mut left) {
                continue;
            }
            if let Some(Half { mm, mut living, peak, .. }) = self.open.take() {
                living.space.peak = peak.max(living.space.size());
                self.spaces.spaces.insert(mm, living);
            }
        }
        false
    }

    pub(crate) fn finish(self) -> Spaces {
        self.spaces
    }
}

impl Half {
    fn new(page: PageSize, state: SpaceState) -> Half {
        let mut space = AddressSpace::new(page);
        space.brk = state.brk;
        space.rules = Rules::kept(state.grows, state.distrust, state.userfaultfds);
        let recent = state.recent.iter().rev().take(REMEMBERED).rev();
        let living = Living {
            space,
            users: state.users.iter().map(|task| (task.tid, *task)).collect(),
            recent: recent.map(|(left, ranges)| (*left, Ranges::from_slice(ranges))).collect(),
            unclear: Default::default(),
        };
        let (rows, origins) = (state.rows.into_iter(), state.origins.into_iter());
        Half { mm: state.mm, living, rows, origins, peak: state.peak }
    }

    /// Whether nothing is still to come.
    fn go_on(&mut self, left: &mut usize) -> bool {
        let space = &mut self.living.space;
        let count = self.rows.len().min(*left);
        if space.replace_many(&[], self.rows.as_slice().get(..count).unwrap_or_default()) {
            *left -= count;
            self.rows.by_ref().take(count).for_each(drop);
        }
        let count = if self.rows.len() == 0 { self.origins.len().min(*left) } else { 0 };
        let origins = self.origins.as_slice().iter().take(count);
        let origins: Vec<Origin> = origins.map(|(range, seq)| Origin { range: *range, seq: *seq }).collect();
        if count >= MANY && space.origins.exchange(&[], &origins) {
            *left -= count;
            self.origins.by_ref().take(count).for_each(drop);
        }
        while *left > 0 {
            *left -= 1;
            if let Some(row) = self.rows.next() {
                if !row.range.is_empty() {
                    space.put(row);
                }
            } else if let Some((range, seq)) = self.origins.next() {
                space.origins.put(Origin { range, seq });
            } else {
                return true;
            }
        }
        false
    }
}

impl Living {
    /// Whether [`Living::state`] is this.
    fn is(&self, state: &SpaceState) -> bool {
        let space = &self.space;
        let SpaceState { mm: _, users, rows, origins, brk, peak, grows, distrust, userfaultfds, recent } =
            state;
        // Most that differ do so in what is looked at first.
        (*brk, *peak, *distrust) == (space.brk, space.peak, space.rules.distrust())
            && *userfaultfds == space.rules.userfaultfds()
            && users.len() == self.users.len()
            && *users == self.users_in_order()
            && space.vmas.iter().eq(rows)
            && space.origins.iter().map(|origin| (origin.range, origin.seq)).eq(origins.iter().copied())
            && *grows == space.rules.grows()
            && self
                .recent
                .iter()
                .map(|(left, ranges)| (*left, &ranges[..]))
                .eq(recent.iter().map(|(left, ranges)| (*left, &ranges[..])))
    }

    fn users_in_order(&self) -> Vec<TaskId> {
        let mut users: Vec<_> = self.users.values().copied().collect();
        users.sort_unstable_by_key(|task| task.tid);
        users
    }

    fn state(&self, mm: MmId) -> SpaceState {
        let space = &self.space;
        SpaceState {
            mm,
            users: self.users_in_order(),
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
}
