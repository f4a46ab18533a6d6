//! Processes that belong together: which physical pages they share, and which they have copied since they were forked.
//!
//! You give every page of every member with the number of its frame; you get the memory of the family as one (a frame
//! that three members map counts once), who shares with whom, and for each member how much of what it inherited is
//! still its parent's. Frames are known to root alone; without them there is no family sheet, only sums that count
//! shared pages several times.

use rustc_hash::FxHashMap;
use vmatlas_event::{Addr, Bytes};

/// What a page belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageClass {
    /// No file and no shared object: a write after fork makes it a copy.
    Anonymous,
    /// A file.
    File,
    /// tmpfs, memfd, shared anonymous or System V memory.
    Shmem,
}

/// One page of one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FamilyPage {
    /// Where it is mapped.
    pub addr: Addr,
    /// Its frame's number.
    pub frame: u64,
    /// What it belongs to.
    pub class: PageClass,
    /// Which row of the member's map it lies in.
    pub row: u32,
}

/// Collects the pages of all members, one member after the other.
#[derive(Debug)]
pub struct FamilyPages {
    page: Bytes,
    limit: u64,
    pages: u64,
    parents: Vec<Option<usize>>,
    /// Which set of members maps a frame, and what it belongs to.
    frames: FxHashMap<u64, (u32, PageClass)>,
    sets: Sets,
    /// The anonymous pages of each member that others may have inherited or did inherit, by address.
    anonymous: Vec<FxHashMap<u64, u64>>,
    copies: Vec<Copies>,
}

/// Sets of members, each with a small number; adding a member to a set gives another.
#[derive(Debug, Default)]
struct Sets {
    members: Vec<Vec<usize>>,
    with: FxHashMap<(u32, usize), u32>,
}

impl Sets {
    /// The set with one more member, which must be the newest: members come one after the other.
    fn with(&mut self, set: Option<u32>, member: usize) -> u32 {
        if let Some(id) = set
            && self.members.get(id as usize).is_some_and(|m| m.last() == Some(&member))
        {
            return id;
        }
        let key = (set.map_or(u32::MAX, |id| id), member);
        if let Some(id) = self.with.get(&key) {
            return *id;
        }
        let mut members = set.and_then(|id| self.members.get(id as usize).cloned()).unwrap_or_default();
        members.push(member);
        let id = self.members.len() as u32;
        self.members.push(members);
        self.with.insert(key, id);
        id
    }
}

/// Memory that the same members map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedBy {
    /// The members, by the number they were added with.
    pub members: Vec<usize>,
    /// How much: each frame once.
    pub bytes: Bytes,
    /// The part of it that belongs to no file: shared since a fork, or by KSM.
    pub anonymous: Bytes,
}

/// What became of the anonymous pages that a member may have inherited, in one VMA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copies {
    /// The member.
    pub member: usize,
    /// Which row of its map.
    pub row: u32,
    /// The same frame as the parent's at the same address: not copied yet.
    pub same: Bytes,
    /// Another frame than the parent's at the same address: copied by a write of either, or touched by both since.
    pub different: Bytes,
    /// The parent has no page there: touched here alone since, or given back by the parent.
    pub alone: Bytes,
}

/// The memory of the family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Family {
    /// All frames, each once.
    pub unique: Bytes,
    /// The part of it that is shared memory (shmem).
    pub shmem: Bytes,
    /// By who maps them, most first.
    pub sharing: Vec<SharedBy>,
    /// Per member and VMA, in the order they were added.
    pub copies: Vec<Copies>,
}

/// The family has more pages than may be collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyPages;

impl FamilyPages {
    /// For pages of this size, at most `limit` of them: each takes up to 50 bytes here.
    pub fn new(page: Bytes, limit: u64) -> FamilyPages {
        FamilyPages {
            page,
            limit,
            pages: 0,
            parents: Vec::new(),
            frames: FxHashMap::default(),
            sets: Sets::default(),
            anonymous: Vec::new(),
            copies: Vec::new(),
        }
    }

    /// Begins a member, whose pages follow; its parent, if that is a member, must have come before.
    pub fn member(&mut self, parent: Option<usize>) -> usize {
        self.parents.push(parent.filter(|p| *p < self.parents.len()));
        self.anonymous.push(FxHashMap::default());
        self.parents.len() - 1
    }

    /// Adds a page of the newest member; rows must come in order.
    ///
    /// # Errors
    /// [`TooManyPages`] beyond the limit: nothing of the family may be told then.
    pub fn add(&mut self, page: FamilyPage) -> Result<(), TooManyPages> {
        let Some(member) = self.parents.len().checked_sub(1) else { return Ok(()) };
        self.pages += 1;
        if self.pages > self.limit {
            return Err(TooManyPages);
        }
        let set = self.frames.get(&page.frame).map(|(set, _)| *set);
        let set = self.sets.with(set, member);
        self.frames.insert(page.frame, (set, page.class));
        if page.class != PageClass::Anonymous {
            return Ok(());
        }
        self.anonymous[member].insert(page.addr.0, page.frame);
        if let Some(parent) = self.parents[member] {
            let theirs = self.anonymous[parent].get(&page.addr.0).copied();
            let bytes = self.page;
            let copies = self.copies_of(member, page.row);
            match theirs {
                Some(frame) if frame == page.frame => copies.same += bytes,
                Some(_) => copies.different += bytes,
                None => copies.alone += bytes,
            }
        }
        Ok(())
    }

    fn copies_of(&mut self, member: usize, row: u32) -> &mut Copies {
        let last = self.copies.last().map(|c| (c.member, c.row));
        if last != Some((member, row)) {
            let (same, different, alone) = (Bytes(0), Bytes(0), Bytes(0));
            self.copies.push(Copies { member, row, same, different, alone });
        }
        let at = self.copies.len() - 1;
        &mut self.copies[at]
    }

    /// The sums.
    pub fn finish(self) -> Family {
        let mut sums: FxHashMap<u32, (u64, u64)> = FxHashMap::default();
        let mut shmem = 0;
        for (set, class) in self.frames.values() {
            let (all, anon) = sums.entry(*set).or_default();
            *all += 1;
            *anon += u64::from(*class == PageClass::Anonymous);
            shmem += u64::from(*class == PageClass::Shmem);
        }
        let bytes = |pages: u64| Bytes(pages * self.page.0);
        let mut sharing: Vec<SharedBy> = sums
            .into_iter()
            .map(|(set, (all, anon))| SharedBy {
                members: self.sets.members[set as usize].clone(),
                bytes: bytes(all),
                anonymous: bytes(anon),
            })
            .collect();
        sharing.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.members.cmp(&b.members)));
        Family { unique: bytes(self.frames.len() as u64), shmem: bytes(shmem), sharing, copies: self.copies }
    }
}

impl Family {
    /// What a member alone maps: it goes when the member ends.
    pub fn alone(&self, member: usize) -> Bytes {
        self.sharing.iter().find(|s| s.members == [member]).map_or(Bytes(0), |s| s.bytes)
    }

    /// What a member maps and others of the family map too.
    pub fn shared_of(&self, member: usize) -> Bytes {
        let with = self.sharing.iter().filter(|s| s.members.len() > 1 && s.members.contains(&member));
        with.map(|s| s.bytes).sum()
    }

    /// What more than one member maps, each frame once.
    pub fn shared(&self) -> Bytes {
        self.sharing.iter().filter(|s| s.members.len() > 1).map(|s| s.bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: Bytes = Bytes(4096);

    fn page(addr: u64, frame: u64, anonymous: bool) -> FamilyPage {
        let class = if anonymous { PageClass::Anonymous } else { PageClass::Shmem };
        FamilyPage { addr: Addr(addr), frame, class, row: (addr >> 16) as u32 }
    }

    /// Checks a parent with two children: a shared library, inherited pages, one copied, one touched alone.
    #[test]
    fn frames_count_once_and_copies_are_told() {
        let mut pages = FamilyPages::new(PAGE, 100);
        let parent = pages.member(None);
        for p in [page(0x1_0000, 1, false), page(0x2_0000, 2, true), page(0x2_1000, 3, true)] {
            pages.add(p).unwrap();
        }
        let child = pages.member(Some(parent));
        for p in [
            page(0x1_0000, 1, false),
            page(0x2_0000, 2, true),
            page(0x2_1000, 4, true),
            page(0x2_2000, 5, true),
        ] {
            pages.add(p).unwrap();
        }
        let stranger = pages.member(None);
        pages.add(page(0x7_0000, 1, false)).unwrap();
        pages.add(page(0x8_0000, 1, false)).unwrap();
        let family = pages.finish();
        assert_eq!(family.unique, Bytes(5 * 4096));
        assert_eq!((family.shared(), family.shmem), (Bytes(2 * 4096), PAGE));
        assert_eq!(
            (family.alone(parent), family.alone(child), family.alone(stranger)),
            (PAGE, Bytes(2 * 4096), Bytes(0))
        );
        let all = SharedBy { members: vec![0, 1, 2], bytes: PAGE, anonymous: Bytes(0) };
        assert!(family.sharing.contains(&all), "{:?}", family.sharing);
        let copies = Copies { member: child, row: 2, same: PAGE, different: PAGE, alone: PAGE };
        assert_eq!(family.copies, [copies]);
    }

    /// Checks that more pages than allowed are an error, not a wrong sum.
    #[test]
    fn too_many_pages_are_refused() {
        let mut pages = FamilyPages::new(PAGE, 1);
        pages.member(Some(7));
        assert_eq!(pages.add(page(0x1000, 1, true)), Ok(()));
        assert_eq!(pages.add(page(0x2000, 2, true)), Err(TooManyPages));
    }
}
