//! Who asked: the memory of an address space by the places in the program that its calls came from.
//!
//! Each page has one origin (the event that made it) and each event one site, so the sums over all sites are the sizes of
//! the whole map. Three figures are kept apart: what was asked for (calls), what was touched (faults that were
//! recorded), and what is there now; a fault is not a page (the kernel maps up to 16 file pages for one, and 512 with a
//! huge page).

use crate::apply::is_vma;
use crate::change::PageChange;
use crate::copies::Toucher;
use crate::progress::Done;
use crate::space::AddressSpace;
use crate::spaces::Spaces;
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::BTreeMap;
use vmatlas_event::{
    Addr, AddrRange, Bytes, Event, MmId, Op, OpKind, PageSize, Pid, Seq, SnapshotReason, StackId, VmaRow,
};

/// Where a call came from, as well as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Site {
    /// The call stack of it.
    Stack(StackId),
    /// No stack was taken: the process and the call.
    Call(Pid, OpKind),
    /// No call: it was found when a map was read.
    Found(SnapshotReason),
    /// A part of the recording that would tell is missing.
    Unknown,
}

/// What came from one site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SiteSum {
    /// Memory calls made there, those that failed included.
    pub calls: u64,
    /// Bytes that they mapped, in all; what was unmapped since is contained.
    pub asked: Bytes,
    /// Bytes of it that are mapped now.
    pub mapped: Bytes,
    /// VMAs that its calls made, less those that they removed: over all sites, the VMAs there are.
    pub vmas: i64,
    /// Page faults that were recorded in memory of it, in all.
    pub faults: u64,
    /// Pages of it that are mapped now and on which a fault was recorded.
    pub touched: Bytes,
    /// Resident bytes of what is mapped; `None` where pages were not read, or do not tell whose they are.
    pub resident: Option<Bytes>,
}

/// The sums while events are taken.
#[derive(Debug)]
pub struct Sites {
    mm: MmId,
    page: PageSize,
    sums: FxHashMap<Site, SiteSum>,
    /// Which site the origins of living memory have.
    by_seq: FxHashMap<Seq, Site>,
    /// When so many are known, those that nothing has any more are forgotten.
    forget_at: usize,
    /// Pages with a recorded fault, and whose they were.
    touched: BTreeMap<u64, Site>,
    /// Who caused the faults in memory of each site, and how many.
    touchers: FxHashMap<(Site, Toucher), u64>,
}

const FORGET_AT: usize = 1 << 16;

impl Sites {
    /// For one address space; events of all are to be given, for it may be a copy of another.
    pub fn new(mm: MmId, page: PageSize) -> Sites {
        Sites {
            mm,
            page,
            sums: FxHashMap::default(),
            by_seq: FxHashMap::default(),
            forget_at: FORGET_AT,
            touched: BTreeMap::new(),
            touchers: FxHashMap::default(),
        }
    }

    /// Who caused the faults in memory of each site, and how many each: most first.
    pub fn touchers(&self) -> BTreeMap<Site, Vec<(Toucher, u64)>> {
        let mut all: BTreeMap<Site, Vec<(Toucher, u64)>> = BTreeMap::new();
        for ((site, toucher), faults) in &self.touchers {
            all.entry(*site).or_default().push((*toucher, *faults));
        }
        all.values_mut().for_each(|of| of.sort_by_key(|(who, faults)| (std::cmp::Reverse(*faults), *who)));
        all
    }

    /// Takes an event that `spaces` have taken.
    pub fn add(&mut self, done: &Done, spaces: &Spaces) {
        let event = &done.event;
        let site = match (&event.op, event.stack) {
            (Op::Snapshot { reason, .. }, _) => Site::Found(*reason),
            // What has no call of its own was found when its map was read.
            (Op::Observed { .. }, _) => Site::Found(SnapshotReason::Reconcile),
            (Op::Fault { addr, .. }, _) => return self.fault(*addr, event, spaces),
            // What it tells of is the map that was left.
            (Op::Exec { .. }, _) => return,
            (_, Some(stack)) => Site::Stack(stack),
            (op, None) => Site::Call(event.task.pid, op.kind()),
        };
        let made: u64 =
            done.change.origins_after.iter().filter(|o| o.seq == event.seq).map(|o| o.range.len().0).sum();
        if made > 0 {
            self.by_seq.insert(event.seq, site);
        }
        if event.mm == self.mm {
            let vmas = vmas_in(&done.change.after) - vmas_in(&done.change.before);
            if event.op.is_call() || made > 0 || vmas != 0 {
                let sum = self.sums.entry(site).or_default();
                if event.op.is_call() {
                    sum.calls += 1;
                    sum.asked += Bytes(made);
                }
                sum.vmas += vmas;
            }
            self.forget_touched(done);
        }
        if self.by_seq.len() >= self.forget_at {
            self.forget(spaces);
        }
    }

    /// Puts a recorded fault to whoever mapped the page.
    fn fault(&mut self, addr: Addr, event: &Event, spaces: &Spaces) {
        if event.mm != self.mm {
            return;
        }
        let origin = spaces.get(event.mm).and_then(|space| space.origin_of(addr));
        let site = self.site_of(origin);
        self.sums.entry(site).or_default().faults += 1;
        // As many as there are stacks, and without stacks as there are instructions that touch.
        const MOST: usize = 1 << 20;
        if let Some(toucher) = Toucher::of(event)
            && (self.touchers.len() < MOST || self.touchers.contains_key(&(site, toucher)))
        {
            *self.touchers.entry((site, toucher)).or_default() += 1;
        }
        self.touched.insert(addr.0 / self.page.bytes(), site);
    }

    fn site_of(&self, origin: Option<Seq>) -> Site {
        origin.and_then(|seq| self.by_seq.get(&seq)).copied().unwrap_or(Site::Unknown)
    }

    /// Pages that are new or no more were not touched.
    fn forget_touched(&mut self, done: &Done) {
        if self.touched.is_empty() {
            return;
        }
        let mut lost: Vec<AddrRange> = Vec::new();
        for change in &done.pages {
            match change {
                PageChange::Removed(row) | PageChange::Added(row) => lost.push(row.range),
                // They keep what is in them, but whether a fault was recorded at the new address nobody can say.
                PageChange::Moved { from, to } => lost.extend([*from, *to]),
                PageChange::Altered { .. } => {}
            }
        }
        let page = self.page.bytes();
        for range in lost {
            let pages = range.start().0 / page..range.end().0.div_ceil(page);
            let gone: Vec<u64> = self.touched.range(pages).map(|(page, _)| *page).collect();
            for page in gone {
                self.touched.remove(&page);
            }
        }
    }

    /// Keeps only what living memory has.
    fn forget(&mut self, spaces: &Spaces) {
        let mut living: FxHashSet<Seq> = FxHashSet::default();
        for space in spaces.alive().into_iter().filter_map(|mm| spaces.get(mm)) {
            living.extend(space.origins().map(|origin| origin.seq));
        }
        self.by_seq.retain(|seq, _| living.contains(seq));
        self.forget_at = (self.by_seq.len() * 2).max(FORGET_AT);
    }

    /// The sums of what is there now, by sites.
    ///
    /// `resident` gives the resident bytes of a VMA, or of the part of it that is of one origin, by its range; `None` where they
    /// are not known.
    pub fn finish(
        mut self,
        space: &AddressSpace,
        resident: &dyn Fn(AddrRange) -> Option<Bytes>,
    ) -> BTreeMap<Site, SiteSum> {
        let mut mapped: BTreeMap<Site, (u64, Option<u64>)> = BTreeMap::new();
        for row in space.vmas().filter(is_vma) {
            // How much of it is of each site, and what of that is resident where that is known by itself.
            let mut parts: BTreeMap<Site, (u64, Option<u64>)> = BTreeMap::new();
            for origin in space.origins_in(row.range) {
                let Some(range) = origin.range.intersect(row.range) else { continue };
                let (len, known) = parts.entry(self.site_of(Some(origin.seq))).or_insert((0, Some(0)));
                *len += range.len().0;
                *known = known.zip(resident(range)).map(|(sum, here)| sum + here.0);
            }
            let here = resident(row.range).map(|bytes| bytes.0);
            let is_one = parts.len() == 1;
            for (site, (len, known)) in parts {
                let part = match here {
                    _ if known.is_some() => known,
                    Some(0) => Some(0),
                    Some(all) if all == row.range.len().0 => Some(len),
                    // Whole VMAs are counted: of several parts nobody says which one is resident.
                    Some(all) if is_one => Some(all),
                    _ => None,
                };
                let (mapped, resident) = mapped.entry(site).or_insert((0, Some(0)));
                *mapped += len;
                *resident = resident.zip(part).map(|(a, b)| a + b);
            }
        }
        for (site, (len, resident)) in mapped {
            let sum = self.sums.entry(site).or_default();
            sum.mapped = Bytes(len);
            sum.resident = resident.map(Bytes);
        }
        for site in self.touched.values() {
            if let Some(sum) = self.sums.get_mut(site) {
                sum.touched += Bytes(self.page.bytes());
            }
        }
        // Those of the parent at the fork, and of what the beginning of a damaged recording would tell.
        let counted: i64 = self.sums.values().map(|sum| sum.vmas).sum();
        let inherited = space.vmas().filter(is_vma).count() as i64 - counted;
        if inherited != 0 {
            self.sums.entry(Site::Found(SnapshotReason::Fork)).or_default().vmas += inherited;
        }
        self.sums.into_iter().collect()
    }
}

/// How many of these are VMAs: `[vsyscall]` is none.
fn vmas_in(rows: &[VmaRow]) -> i64 {
    rows.iter().filter(is_vma).count() as i64
}

#[cfg(test)]
mod tests;
