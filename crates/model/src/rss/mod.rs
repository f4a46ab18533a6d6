//! Where every resident byte of a process belongs: the reconciliation sheet.
//!
//! You give the rows of a map with their verdicts and pages, and what the kernel itself counts; you get one line for
//! each kind, their sum, and how far the sum is from each figure of the kernel. What is not known stays `None` through
//! every sum that needs it: a sheet never fills a hole with 0.

mod again;
mod cgroup;
mod family;
mod inside;
mod kernel;
mod profiler;
mod sets;

use crate::kind::{Confidence, Kind, Verdict};
pub use cgroup::{CgroupFigures, Reason};
pub use family::{Copies, Family, FamilyPage, FamilyPages, MOST_SETS, PageClass, SharedBy, TooManyPages};
pub use inside::{Arena, Inside, overlap};
pub use kernel::{Difference, KernelFigures};
pub use profiler::{Containment, ProfilerView, containment};
use vmatlas_event::{Bytes, FrameCounts, PageCounts, VmaRow};

/// One VMA as the sheet needs it.
#[derive(Clone, Copy, Debug)]
pub struct RssRow<'a> {
    /// The VMA.
    pub vma: &'a VmaRow,
    /// What it is for.
    pub verdict: Verdict,
    /// Its pages; `None` where it has none to count, or where they were not read.
    pub pages: Option<PageCounts>,
    /// The physical frames behind them; `None` where that is hidden or was not read.
    pub frames: Option<FrameCounts>,
    /// How much of it is locked (mlock(2)); `None` where nobody says.
    pub locked: Option<Bytes>,
}

/// Sums over some VMAs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    /// How many VMAs.
    pub vmas: u64,
    /// Their address space.
    pub size: Bytes,
    /// Their pages; of those VMAs alone whose pages are known.
    pub pages: PageCounts,
    /// How many VMAs have pages that are not known.
    pub unread: u64,
    /// Their frames; `None` when those of any are not known.
    pub frames: Option<FrameCounts>,
    /// Locked; `None` when that of any is not known.
    pub locked: Option<Bytes>,
    /// Their resident bytes by how sure the kind is: named, evidence, guess.
    pub by_confidence: [Bytes; 3],
}

impl Amounts {
    /// Nothing, of which everything is known.
    fn nothing() -> Amounts {
        Amounts { frames: Some(FrameCounts::default()), locked: Some(Bytes(0)), ..Amounts::default() }
    }

    fn add(&mut self, row: &RssRow<'_>) {
        self.vmas += 1;
        self.size += row.vma.range.len();
        let pages = row.pages.unwrap_or_default();
        self.unread += u64::from(row.pages.is_none());
        self.pages += pages;
        let none_resident = row.pages.is_some_and(|p| p.resident.0 == 0);
        let frames = row.frames.or(none_resident.then(FrameCounts::default));
        self.frames = self.frames.zip(frames).map(|(mut sum, more)| {
            sum += more;
            sum
        });
        self.locked = self.locked.zip(row.locked).map(|(a, b)| a + b);
        let at = match row.verdict.confidence {
            Confidence::Named => 0,
            Confidence::Evidence => 1,
            Confidence::Guess => 2,
        };
        self.by_confidence[at] += pages.resident;
    }

    fn add_all(&mut self, other: &Amounts) {
        self.vmas += other.vmas;
        self.size += other.size;
        self.pages += other.pages;
        self.unread += other.unread;
        self.frames = self.frames.zip(other.frames).map(|(mut sum, more)| {
            sum += more;
            sum
        });
        self.locked = self.locked.zip(other.locked).map(|(a, b)| a + b);
        for (sum, more) in self.by_confidence.iter_mut().zip(other.by_confidence) {
            *sum += more;
        }
    }

    /// What has a page behind it now: resident, swapped, hugetlb, or the page of zeros.
    ///
    /// Pages that were touched and given back since are not among them; nobody remembers those.
    pub fn touched(&self) -> Bytes {
        let p = &self.pages;
        p.resident + p.swapped + p.hugetlb + p.zero
    }
}

/// One line of the sheet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// The kind of all VMAs of the line.
    pub kind: Kind,
    /// Their sums.
    pub amounts: Amounts,
}

/// The whole sheet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sheet {
    /// One line for each kind that is there, most resident first.
    pub lines: Vec<Line>,
    /// All lines together.
    pub sum: Amounts,
    /// What the kernel counts.
    pub kernel: KernelFigures,
    /// The most that can be the same shared pages at several addresses: RSS counts each of them. `None` where pages are
    /// not known.
    pub mapped_again: Option<Bytes>,
}

impl Sheet {
    /// Adds up the rows of a map.
    ///
    /// ```
    /// use vmatlas_model::rss::{KernelFigures, Sheet};
    /// let sheet = Sheet::new([], KernelFigures::default());
    /// assert!(sheet.lines.is_empty() && sheet.against_rollup().is_none());
    /// ```
    pub fn new<'a>(rows: impl IntoIterator<Item = RssRow<'a>>, kernel: KernelFigures) -> Sheet {
        let mut lines: Vec<Line> = Vec::new();
        let mut again = again::Again::default();
        for row in rows {
            again.add(&row);
            let kind = row.verdict.kind;
            let at = lines.iter().position(|line| line.kind == kind).unwrap_or_else(|| {
                lines.push(Line { kind, amounts: Amounts::nothing() });
                lines.len() - 1
            });
            lines[at].amounts.add(&row);
        }
        lines.sort_by_key(|line| std::cmp::Reverse((line.amounts.pages.resident, line.amounts.size)));
        let mut sum = Amounts::nothing();
        lines.iter().for_each(|line| sum.add_all(&line.amounts));
        let mapped_again = (sum.unread < sum.vmas).then(|| again.most());
        Sheet { lines, sum, kernel, mapped_again }
    }

    /// The line of a kind; `None` when no VMA is of it.
    pub fn line(&self, kind: Kind) -> Option<&Line> {
        self.lines.iter().find(|line| line.kind == kind)
    }

    /// The kernel's own walk (smaps_rollup) beside our sum; `None` when either was not read.
    pub fn against_rollup(&self) -> Option<Difference> {
        self.kernel.rollup.and_then(|kernel| self.difference(kernel))
    }

    /// The kernel's counter (VmRSS) beside our sum; `None` when either was not read.
    pub fn against_counter(&self) -> Option<Difference> {
        self.kernel.rss_after.or(self.kernel.rss_before).and_then(|kernel| self.difference(kernel))
    }

    fn difference(&self, kernel: Bytes) -> Option<Difference> {
        let anything_read = self.sum.unread < self.sum.vmas;
        anything_read.then_some(Difference { kernel, ours: self.sum.pages.resident })
    }

    /// What a profiler that counts this much can and cannot have counted.
    ///
    /// `of_malloc` is what malloc is known to have of memory whose use is not known by its kind.
    pub fn profiler(&self, total: Bytes, of_malloc: Bytes) -> ProfilerView {
        ProfilerView::new(self, total, of_malloc)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Why;
    use vmatlas_event::{Addr, AddrRange, Prot, Share};

    pub(super) fn vma(start: u64, len: u64) -> VmaRow {
        VmaRow::anonymous(AddrRange::new(Addr(start), Addr(start + len)).unwrap(), Prot::RW)
    }

    pub(super) fn row(vma: &VmaRow, kind: Kind, resident: u64) -> RssRow<'_> {
        let verdict = Verdict { kind, confidence: Confidence::Evidence, why: Why::KernelLabel };
        let resident = Bytes(resident);
        let pages = Some(PageCounts { resident, anonymous: resident, ..PageCounts::default() });
        RssRow { vma, verdict, pages, frames: None, locked: None }
    }

    /// Checks that lines are ordered by what is resident and that the sum is that of all rows.
    #[test]
    fn lines_add_up() {
        let vmas = [vma(0x1000, 0x1000), vma(0x4000, 0x8000), vma(0x10000, 0x2000)];
        let rows = [
            row(&vmas[0], Kind::Image, 0x1000),
            row(&vmas[1], Kind::Heap, 0x3000),
            row(&vmas[2], Kind::Image, 0x1000),
        ];
        let kernel = KernelFigures { rollup: Some(Bytes(0x5000)), ..KernelFigures::default() };
        let sheet = Sheet::new(rows, kernel);
        let kinds: Vec<Kind> = sheet.lines.iter().map(|l| l.kind).collect();
        assert_eq!(kinds, [Kind::Heap, Kind::Image]);
        assert_eq!((sheet.sum.vmas, sheet.sum.size), (3, Bytes(0xb000)));
        assert_eq!(sheet.sum.pages.resident, Bytes(0x5000));
        assert_eq!(sheet.sum.by_confidence, [Bytes(0), Bytes(0x5000), Bytes(0)]);
        assert_eq!(sheet.against_rollup().map(|d| d.signed()), Some(0));
        assert_eq!(sheet.against_counter(), None);
    }

    /// Checks that what one row does not tell is unknown in the sum, and never 0.
    #[test]
    fn holes_stay_holes() {
        let vmas = [vma(0x1000, 0x1000), vma(0x4000, 0x8000)];
        let frames = FrameCounts { pss: Share::of_page(4096, 2), ..FrameCounts::default() };
        let known =
            RssRow { frames: Some(frames), locked: Some(Bytes(4096)), ..row(&vmas[0], Kind::Heap, 0x1000) };
        let sheet = Sheet::new([known], KernelFigures::default());
        assert_eq!(sheet.sum.frames.map(|f| f.pss.bytes()), Some(Bytes(2048)));
        assert_eq!(sheet.sum.locked, Some(Bytes(4096)));
        let unread = RssRow { pages: None, ..row(&vmas[1], Kind::Heap, 0) };
        let sheet = Sheet::new([known, unread], KernelFigures::default());
        assert_eq!((sheet.sum.frames, sheet.sum.locked, sheet.sum.unread), (None, None, 1));
        let nothing_resident = row(&vmas[1], Kind::Heap, 0);
        let sheet = Sheet::new([known, nothing_resident], KernelFigures::default());
        assert!(sheet.sum.frames.is_some(), "a VMA without pages has no frames to hide");
        let nothing_read =
            Sheet::new([unread], KernelFigures { rss_after: Some(Bytes(1)), ..Default::default() });
        assert_eq!(nothing_read.against_counter(), None);
    }
}
