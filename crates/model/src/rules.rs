//! What no row of a map shows and yet decides what calls and faults do.

use vmatlas_event::{Addr, AddrRange};

/// Such rules of one address space.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// What grows down when it is touched below its start (VM_GROWSDOWN), in no order: a process has one such VMA, its
    /// stack, and hardly ever another.
    grows: Vec<AddrRange>,
    /// Whether a call's arguments and result are not enough to predict anything: a task may have asked (personality(2))
    /// for whatever is readable to be executable too, or a supervisor may answer calls that the kernel never made.
    distrust: bool,
    /// Descriptors of userfaultfd(2) that memory was registered with: when the last one of such a file is closed, by
    /// whomever, what was split for it merges again without a call of this process.
    userfaultfds: Vec<i32>,
    /// What they were before they were changed; see [`Rules::take_before`].
    before: Option<Box<Rules>>,
}

impl Rules {
    pub(crate) fn new(distrust: bool) -> Rules {
        Rules { distrust, ..Rules::default() }
    }

    /// Those of a state that was kept.
    pub(crate) fn kept(grows: Vec<AddrRange>, distrust: bool, userfaultfds: Vec<i32>) -> Rules {
        Rules { grows, distrust, userfaultfds, before: None }
    }

    pub(crate) fn grows(&self) -> &[AddrRange] {
        &self.grows
    }

    pub(crate) fn userfaultfds(&self) -> &[i32] {
        &self.userfaultfds
    }

    pub(crate) fn distrust(&self) -> bool {
        self.distrust
    }

    pub(crate) fn set_distrust(&mut self) {
        if !self.distrust {
            self.remember();
            self.distrust = true;
        }
    }

    pub(crate) fn has_userfaultfd(&self) -> bool {
        !self.userfaultfds.is_empty()
    }

    /// Memory was registered with this one.
    pub(crate) fn add_userfaultfd(&mut self, fd: i32) {
        if !self.userfaultfds.contains(&fd) {
            self.remember();
            self.userfaultfds.push(fd);
        }
    }

    /// Somebody closed one; which, nobody says.
    pub(crate) fn lose_userfaultfd(&mut self) {
        self.remember();
        self.userfaultfds.pop();
    }

    /// None is left: a forked copy is registered with none.
    pub(crate) fn forget_userfaultfds(&mut self) {
        if self.has_userfaultfd() {
            self.remember();
            self.userfaultfds.clear();
        }
    }

    /// From now on these pages grow down.
    pub(crate) fn grow(&mut self, range: AddrRange) {
        if !self.grows.contains(&range) {
            self.remove(range);
            self.remember();
            self.grows.push(range);
        }
    }

    /// These pages are no more, or others.
    pub(crate) fn remove(&mut self, range: AddrRange) {
        if !self.grows.iter().any(|r| r.intersects(range)) {
            return;
        }
        self.remember();
        let rest = |r: AddrRange| {
            let below = AddrRange::new(r.start(), range.start().min(r.end()));
            [below, AddrRange::new(range.end().max(r.start()), r.end())]
        };
        self.grows = self.grows.iter().flat_map(|r| rest(*r)).flatten().filter(|r| !r.is_empty()).collect();
    }

    /// The parts inside `range` that grow.
    pub(crate) fn growing_in(&self, range: AddrRange) -> Vec<AddrRange> {
        self.grows.iter().filter_map(|r| r.intersect(range)).collect()
    }

    pub(crate) fn any_grows(&self) -> bool {
        !self.grows.is_empty()
    }

    pub(crate) fn grows_at(&self, addr: Addr) -> bool {
        self.grows.iter().any(|r| r.contains(addr))
    }

    /// What they were when this was last asked, if they are different now.
    pub(crate) fn take_before(&mut self) -> Option<Rules> {
        let before = *self.before.take()?;
        (before != *self).then_some(before)
    }

    fn remember(&mut self) {
        if self.before.is_none() {
            self.before = Some(Box::new(self.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::tests::r;

    /// Checks that what is unmapped in the middle grows no more, that its rest does, and that the past is kept.
    #[test]
    fn the_middle_goes() {
        let mut rules = Rules::default();
        rules.grow(r(10, 20));
        assert_eq!(rules.take_before(), Some(Rules::default()));
        let before = rules.clone();
        rules.remove(r(12, 15));
        rules.remove(r(40, 50));
        let grows_at = |page: u64| rules.grows_at(Addr(page << 12));
        assert_eq!([11, 12, 14, 15, 19, 20].map(grows_at), [true, false, false, true, true, false]);
        assert_eq!(rules.growing_in(r(0, 16)), [r(10, 12), r(15, 16)]);
        assert_eq!(rules.take_before(), Some(before));
        rules.remove(r(40, 50));
        assert_eq!(rules.take_before(), None);
    }
}
