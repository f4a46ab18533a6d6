//! One address space: its VMAs as the kernel merges them, and where each page came from.

use crate::change::{Change, Few, Replaced};
use crate::check::Difference;
use crate::interval::{IntervalMap, Piece};
use crate::rules::Rules;
use crate::undo::MANY;
use smallvec::SmallVec;
use vmatlas_event::{Addr, AddrRange, Bytes, Event, PageSize, Seq, VmaRow};

/// Pages and the event that made them; never merged with others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The pages.
    pub range: AddrRange,
    /// The event that mapped them; a snapshot for what was there before anybody looked.
    pub seq: Seq,
}

impl Piece for Origin {
    fn range(&self) -> AddrRange {
        self.range
    }
    fn clip(&self, range: AddrRange) -> Option<Origin> {
        self.range.intersect(range).map(|range| Origin { range, seq: self.seq })
    }
}

/// The model of one address space.
#[derive(Clone, Debug)]
pub struct AddressSpace {
    pub(crate) page: PageSize,
    pub(crate) vmas: IntervalMap<VmaRow>,
    pub(crate) origins: IntervalMap<Origin>,
    /// The program break; `None` until the first brk(2) is seen.
    pub(crate) brk: Option<Addr>,
    pub(crate) rules: Rules,
    /// Holes into which something may have grown, that the kernel is being asked about.
    pub(crate) holes: Vec<AddrRange>,
    /// What the latest call has taken away, by the prediction, where it overlapped others.
    pub(crate) taken: Option<Box<Taken>>,
    size: Bytes,
    pub(crate) peak: Bytes,
}

/// What a call has taken away that overlapped others: what is there all the same was made after it.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    pub(crate) rows: Few<VmaRow>,
    pub(crate) origins: Few<Origin>,
}

/// The result of [`AddressSpace::apply`].
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// What the event did, as far as it can be predicted.
    pub change: Change,
    /// What the kernel must be asked to be sure.
    pub ask: SmallVec<[AddrRange; 2]>,
    /// Whether the arguments told too little: the answer to `ask` is news then, and cannot contradict.
    pub guessed: bool,
    /// Whether the kernel's answer contradicted the prediction about some page.
    pub drifted: bool,
    /// What VMAs had grown by, downwards and without a call.
    pub grown: Vec<AddrRange>,
    /// How many VMAs the kernel had put there without a call.
    pub uncalled: u64,
    /// What a [`SnapshotReason::Check`](vmatlas_event::SnapshotReason) found to be different.
    pub difference: Option<Box<Difference>>,
}

impl AddressSpace {
    /// An empty one.
    pub fn new(page: PageSize) -> AddressSpace {
        AddressSpace {
            page,
            vmas: IntervalMap::default(),
            origins: IntervalMap::default(),
            brk: None,
            rules: Rules::default(),
            holes: Vec::new(),
            taken: None,
            size: Bytes(0),
            peak: Bytes(0),
        }
    }

    /// An empty one, whose calls are to be asked about or not.
    pub(crate) fn distrusted(page: PageSize, distrust: bool) -> AddressSpace {
        AddressSpace { rules: Rules::new(distrust), ..AddressSpace::new(page) }
    }

    /// The VMAs in address order.
    pub fn vmas(&self) -> impl DoubleEndedIterator<Item = &VmaRow> {
        self.vmas.iter()
    }

    /// How many VMAs there are, the kernel's pseudo mapping `[vsyscall]` counted where it was seen.
    pub fn vma_count(&self) -> usize {
        self.vmas.len()
    }

    /// The VMA that holds `addr`.
    pub fn vma_at(&self, addr: Addr) -> Option<&VmaRow> {
        self.vmas.at(addr)
    }

    /// The next VMA above `addr`, where nothing is mapped there and it is a stack, or another that grows down: it may have
    /// grown to `addr` by now, which no call tells.
    pub fn vma_growing_to(&self, addr: Addr) -> Option<&VmaRow> {
        let from_here = AddrRange::new(addr, Addr(u64::MAX))?;
        let row = self.vmas.meeting(from_here).next()?;
        let start = row.range.start();
        let grows = row.special() == Some(b"stack") || self.rules.grows_at(start);
        (start > addr && grows).then_some(row)
    }

    /// The event that mapped `addr`.
    pub fn origin_of(&self, addr: Addr) -> Option<Seq> {
        self.origins.at(addr).map(|o| o.seq)
    }

    /// The virtual size now, as VmSize of proc_pid_status(5) counts it.
    pub fn size(&self) -> Bytes {
        self.size
    }

    /// The largest virtual size so far.
    pub fn peak(&self) -> Bytes {
        self.peak
    }

    /// The origins of what lies in `range`, in address order, whole: neighbours that are one VMA are told apart.
    pub fn origins_in(&self, range: AddrRange) -> impl Iterator<Item = &Origin> {
        self.origins.meeting(range)
    }

    /// All origins, in address order.
    pub fn origins(&self) -> impl Iterator<Item = &Origin> {
        self.origins.iter()
    }

    /// The program break; `None` where it is not known.
    pub fn brk(&self) -> Option<Addr> {
        self.brk
    }

    /// What it is now is what it begins with: no change tells of how it came to be so.
    pub(crate) fn begin(&mut self) {
        self.rules.take_before();
        self.forget_questions();
    }

    /// What was known of the questions about the latest call is of no interest any more.
    pub(crate) fn forget_questions(&mut self) {
        self.holes.clear();
        self.taken = None;
    }

    /// How much memory it takes, nearly.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<AddressSpace>()
            + self.vmas.len() * size_of::<VmaRow>()
            + self.origins.len() * size_of::<Origin>()
    }

    /// Applies an event to the map.
    ///
    /// The answer's `ask` names the ranges the prediction is not sure about. Give the kernel's answer back as an
    /// `Observed` event; until then the map holds the prediction.
    pub fn apply(&mut self, event: &Event) -> Applied {
        let (brk, peak) = (self.brk, self.peak);
        let mut applied = crate::apply::apply(self, event);
        self.peak = self.peak.max(self.size);
        applied.change.brk = Replaced::new(brk, self.brk);
        applied.change.peak = Replaced::new(peak, self.peak);
        if let Some(before) = self.rules.take_before() {
            applied.change.rules = Some(Box::new(Replaced { before, after: self.rules.clone() }));
        }
        applied
    }

    /// Whether VMAs that meet `range` or touch it may be one VMA with a neighbour, for all that their rows say.
    pub(crate) fn may_merge(&self, range: AddrRange) -> bool {
        let page = self.page.bytes();
        let start = Addr(range.start().0.saturating_sub(page));
        let end = Addr(range.end().0.saturating_add(page));
        let Some(around) = AddrRange::new(start, end) else { return true };
        let mut before: Option<&VmaRow> = None;
        for row in self.vmas.meeting(around) {
            if before.is_some_and(|before| is_alike(before, row)) {
                return true;
            }
            before = Some(row);
        }
        false
    }

    /// The hole below a VMA that grows down, when `range` lies in the hole or holds the VMA's start: the VMA may have
    /// grown into it by now.
    pub(crate) fn hole_below_growing(&self, range: AddrRange) -> Option<AddrRange> {
        let from_here = AddrRange::new(range.start(), Addr(u64::MAX))?;
        let row = self.vmas.meeting(from_here).find(|row| row.range.start() >= range.start())?;
        let start = row.range.start();
        if !self.rules.grows_at(start) {
            return None;
        }
        let below = self.vmas.last_below(start).map_or(Addr(0), |row| row.range.end());
        AddrRange::new(below, start)
    }

    /// What it was before `change`, but for stacks that grew by `grown`.
    pub(crate) fn before(&self, change: &Change, grown: &[AddrRange]) -> AddressSpace {
        let mut space = self.clone();
        space.undo(change);
        for range in grown {
            if let Some(row) = space.vma_at(range.end()).cloned() {
                space.put(VmaRow { range: row.range.hull(*range), ..row });
            }
        }
        space
    }

    /// The rows that meet `range`, whole.
    pub(crate) fn rows(&self, range: AddrRange) -> Vec<VmaRow> {
        self.vmas.meeting(range).cloned().collect()
    }

    /// Unmaps `range` in the VMA view.
    pub(crate) fn clear(&mut self, range: AddrRange) {
        let mut gone = 0;
        self.vmas.remove(range, |row| gone += counted(row));
        self.size = Bytes(self.size.0.saturating_sub(gone));
    }

    /// Puts many rows in place of many that are there, at once; `false` where that cannot be done, and nothing happened.
    pub(crate) fn replace_many(&mut self, old: &[VmaRow], new: &[VmaRow]) -> bool {
        let done = old.len() + new.len() >= MANY && self.vmas.exchange(old, new);
        if done {
            let sum = |rows: &[VmaRow]| rows.iter().map(counted).fold(0, u64::saturating_add);
            self.size = Bytes(self.size.0.saturating_sub(sum(old)).saturating_add(sum(new)));
        }
        done
    }

    pub(crate) fn put(&mut self, row: VmaRow) {
        if self.vmas.meeting(row.range).next().is_some() {
            self.clear(row.range);
        }
        self.size += Bytes(counted(&row));
        self.vmas.put(row);
    }
}

/// Whether two rows follow each other as two parts of one mapping would.
fn is_alike(low: &VmaRow, high: &VmaRow) -> bool {
    let len = low.range.len().0;
    low.range.end() == high.range.start()
        && low.same_attributes(high)
        && (!low.has_file() || low.offset.wrapping_add(len) == high.offset)
}

/// What a row adds to the virtual size: `[vsyscall]` is no VMA.
fn counted(row: &VmaRow) -> u64 {
    if row.special() == Some(b"vsyscall") { 0 } else { row.range.len().0 }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use vmatlas_event::Prot;

    /// Pages `[a, b)` as a range.
    pub(crate) fn r(a: u64, b: u64) -> AddrRange {
        AddrRange::new(Addr(a << 12), Addr(b << 12)).unwrap()
    }

    /// A private anonymous row over pages `[a, b)`.
    pub(crate) fn anon(a: u64, b: u64, prot: Prot) -> VmaRow {
        VmaRow::anonymous(r(a, b), prot)
    }
}
