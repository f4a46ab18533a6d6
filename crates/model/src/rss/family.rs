//! Processes that belong together: which physical pages they share, and which they have copied since they were forked.
//!
//! You give every page of every member with the number of its frame; you get the memory of the family as one (a frame
//! that three members map counts once), who shares with whom, and for each member how much of what it inherited is
//! still its parent's. Frames are known to root alone; without them there is no family sheet, only sums that count
//! shared pages several times.

use super::sets::Sets;
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
    pages_of_newest: u64,
    parents: Vec<Option<usize>>,
    /// Which set of members maps a frame, and what it belongs to.
    frames: FxHashMap<u64, (u32, PageClass)>,
    sets: Sets,
    /// The anonymous pages of each member that others may have inherited or did inherit, by address.
    anonymous: Vec<FxHashMap<u64, u64>>,
    copies: Vec<Copies>,
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
    /// By who maps them, most first; at most [`MOST_SETS`] of them.
    pub sharing: Vec<SharedBy>,
    /// How many sets of more than one member there are.
    pub shared_sets: u64,
    /// What more than one member maps, each frame once.
    pub shared: Bytes,
    /// What each member alone maps: it goes when the member ends.
    pub alone: Vec<Bytes>,
    /// What each member maps and others of the family map too.
    pub with_others: Vec<Bytes>,
    /// Per member and VMA, in the order they were added.
    pub copies: Vec<Copies>,
}

/// So many sets of members are listed; a database of hundreds of workers has more of them than it has pages.
pub const MOST_SETS: usize = 1000;

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
            pages_of_newest: 0,
            parents: Vec::new(),
            frames: FxHashMap::default(),
            sets: Sets::default(),
            anonymous: Vec::new(),
            copies: Vec::new(),
        }
    }

    /// Begins a member, whose pages follow; its parent, if that is a member, must have come before.
    pub fn member(&mut self, parent: Option<usize>) -> usize {
        self.pages_of_newest = 0;
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
        self.pages_of_newest += 1;
        if self.pages > self.limit {
            return Err(TooManyPages);
        }
        let set = self.frames.get(&page.frame).map(|(set, _)| *set);
        let set = self.sets.with(set, member as u32);
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

    /// Which rows of the newest member have pages that it may have inherited.
    pub fn rows_of_newest(&self) -> impl Iterator<Item = u32> + '_ {
        let newest = self.parents.len().checked_sub(1);
        self.copies.iter().rev().take_while(move |c| Some(c.member) == newest).map(|c| c.row)
    }

    /// Takes the newest member out again, with all its pages: it ended while it was read.
    pub fn forget_newest(&mut self) {
        let Some(member) = self.parents.len().checked_sub(1) else { return };
        self.parents.pop();
        self.anonymous.pop();
        self.copies.retain(|c| c.member != member);
        let sets = &self.sets;
        self.frames.retain(|_, (set, _)| {
            let rest = sets.without(*set, member as u32);
            *set = rest.unwrap_or(*set);
            rest.is_some()
        });
        self.sets.forget(member as u32);
        self.pages = self.pages.saturating_sub(std::mem::take(&mut self.pages_of_newest));
    }

    /// The sums.
    pub fn finish(self) -> Family {
        let bytes = |pages: u64| Bytes(pages.saturating_mul(self.page.0));
        // Pages, and the anonymous among them, by their set.
        let mut own = vec![(0u64, 0u64); self.sets.len()];
        let mut shmem = 0;
        for (set, class) in self.frames.values() {
            if let Some((all, anonymous)) = own.get_mut(*set as usize) {
                *all += 1;
                *anonymous += u64::from(*class == PageClass::Anonymous);
            }
            shmem += u64::from(*class == PageClass::Shmem);
        }
        let (mut alone, mut all) = (vec![0u64; self.parents.len()], vec![0u64; self.parents.len()]);
        let (mut shared, mut shared_sets) = (0, 0);
        // A set has a larger number than the one that it was made of, so each is passed on when it is complete.
        let mut with_larger: Vec<u64> = own.iter().map(|(pages, _)| *pages).collect();
        for (id, rest, member) in self.sets.each_from_the_last() {
            let member = member as usize;
            let (pages, in_all) = (own[id].0, with_larger[id]);
            all[member] += in_all;
            match rest {
                Some(rest) => {
                    with_larger[rest as usize] += in_all;
                    shared += pages;
                    shared_sets += u64::from(pages > 0);
                }
                None => alone[member] += pages,
            }
        }
        let mut largest: Vec<u32> = (0..own.len() as u32).filter(|id| own[*id as usize].0 > 0).collect();
        largest.sort_by_key(|id| (std::cmp::Reverse(own[*id as usize].0), *id));
        largest.truncate(MOST_SETS);
        let sharing = largest.into_iter().map(|id| SharedBy {
            members: self.sets.members(id),
            bytes: bytes(own[id as usize].0),
            anonymous: bytes(own[id as usize].1),
        });
        Family {
            unique: bytes(self.frames.len() as u64),
            shmem: bytes(shmem),
            sharing: sharing.collect(),
            shared_sets,
            shared: bytes(shared),
            with_others: all.iter().zip(&alone).map(|(all, alone)| bytes(all - alone)).collect(),
            alone: alone.into_iter().map(bytes).collect(),
            copies: self.copies,
        }
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
        assert_eq!((family.shared, family.shmem), (Bytes(2 * 4096), PAGE));
        assert_eq!(
            (family.alone[parent], family.alone[child], family.alone[stranger]),
            (PAGE, Bytes(2 * 4096), Bytes(0))
        );
        assert_eq!(family.with_others, [Bytes(2 * 4096), Bytes(2 * 4096), PAGE]);
        assert_eq!(family.shared_sets, 2);
        let all = SharedBy { members: vec![0, 1, 2], bytes: PAGE, anonymous: Bytes(0) };
        assert!(family.sharing.contains(&all), "{:?}", family.sharing);
        let copies = Copies { member: child, row: 2, same: PAGE, different: PAGE, alone: PAGE };
        assert_eq!(family.copies, [copies]);
    }

    /// Checks that a member that is taken out again leaves nothing behind, and that the next one takes its number.
    #[test]
    fn a_member_can_be_forgotten() {
        let collect = |forget: bool| {
            let mut pages = FamilyPages::new(PAGE, 4);
            let parent = pages.member(None);
            pages.add(page(0x1_0000, 1, true)).unwrap();
            pages.add(page(0x2_0000, 2, false)).unwrap();
            if forget {
                pages.member(Some(parent));
                pages.add(page(0x1_0000, 1, true)).unwrap();
                pages.add(page(0x3_0000, 3, true)).unwrap();
                pages.forget_newest();
            }
            let child = pages.member(Some(parent));
            pages.add(page(0x1_0000, 4, true)).unwrap();
            assert_eq!((child, pages.rows_of_newest().collect::<Vec<_>>()), (1, vec![1]));
            pages.add(page(0x2_0000, 2, false)).unwrap();
            pages.finish()
        };
        let (with, without) = (collect(true), collect(false));
        assert_eq!((with.unique, with.shmem), (without.unique, without.shmem));
        assert_eq!((&with.alone, &with.with_others), (&without.alone, &without.with_others));
        assert_eq!((with.alone, with.copies), (vec![PAGE, PAGE], without.copies));
    }

    /// Checks hundreds of members that map random parts of one shared memory, as the workers of a database do: sets of
    /// members must not grow with the product of pages and members.
    #[test]
    fn many_members_with_random_parts() {
        let (members, frames) = (300u64, 2000u64);
        let mut pages = FamilyPages::new(PAGE, 1 << 24);
        let mut random = 1u64;
        let mut mapped = vec![0u64; members as usize];
        for member in 0..members {
            pages.member(None);
            for frame in 0..frames {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                if random >> 63 == 0 {
                    pages.add(page(frame << 12, frame, false)).unwrap();
                    mapped[member as usize] += 1;
                }
            }
        }
        let family = pages.finish();
        assert_eq!(family.sharing.len(), MOST_SETS);
        assert!(family.shared_sets as usize > MOST_SETS);
        let all: Vec<u64> =
            family.alone.iter().zip(&family.with_others).map(|(a, b)| (*a + *b).0 / 4096).collect();
        assert_eq!(all, mapped);
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
