//! Sets of members that share pages.

use rustc_hash::FxHashMap;

/// Sets of members, each with a small number; adding a member to a set gives another. A set is kept as another one and
/// the member that came last, so that sets of hundreds of members (the workers of a database) take no more than others.
#[derive(Debug, Default)]
pub(super) struct Sets {
    /// The set without its newest member, and that member.
    nodes: Vec<(Option<u32>, u32)>,
    with: FxHashMap<(Option<u32>, u32), u32>,
}

impl Sets {
    /// The set with one more member, which must be the newest: members come one after the other.
    pub(super) fn with(&mut self, set: Option<u32>, member: u32) -> u32 {
        match set.and_then(|id| self.nodes.get(id as usize)) {
            Some((_, newest)) if *newest == member => return set.unwrap_or_default(),
            _ => {}
        }
        let nodes = &mut self.nodes;
        *self.with.entry((set, member)).or_insert_with(|| {
            nodes.push((set, member));
            nodes.len() as u32 - 1
        })
    }

    /// The set without this member, which must be the newest of all.
    pub(super) fn without(&self, set: u32, member: u32) -> Option<u32> {
        match self.nodes.get(set as usize) {
            Some((rest, newest)) if *newest == member => *rest,
            _ => Some(set),
        }
    }

    /// Takes out all sets with this member, which must be the newest of all.
    pub(super) fn forget(&mut self, member: u32) {
        while let Some(last) = self.nodes.pop_if(|(_, newest)| *newest == member) {
            self.with.remove(&last);
        }
    }

    /// Ascending.
    pub(super) fn members(&self, set: u32) -> Vec<usize> {
        let mut members = Vec::new();
        let mut at = Some(set);
        while let Some((rest, member)) = at.and_then(|id| self.nodes.get(id as usize)) {
            members.push(*member as usize);
            at = *rest;
        }
        members.reverse();
        members
    }

    /// How many sets there are; their numbers are smaller.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Each set with what it was made of: another set, whose number is smaller, and its newest member.
    pub(super) fn each_from_the_last(&self) -> impl Iterator<Item = (usize, Option<u32>, u32)> + '_ {
        self.nodes.iter().enumerate().rev().map(|(id, (rest, member))| (id, *rest, *member))
    }
}
