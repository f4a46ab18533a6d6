//! Runs of pages, made one at a time.

use super::PagesRow;
use vmatlas_event::{Addr, AddrRange, PageInfo, PageState};

/// More runs of frames than this are counted, not kept.
pub const MOST_FRAME_RUNS: usize = 1024;

/// Neighbouring frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameRun {
    /// The number of the first.
    pub pfn: u64,
    /// How many.
    pub pages: u64,
    /// How many page tables map them, the least and the most; `None` where that is hidden.
    pub mapped: Option<(u64, u64)>,
}

/// Neighbouring pages of one VMA of which the same is true; how often they are mapped, and what their frames are, may
/// differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Where.
    pub range: AddrRange,
    /// How many pages.
    pub pages: u64,
    /// What they are.
    pub state: PageState,
    /// Mapped by huge pages.
    pub huge: bool,
    /// Whether they are mapped here and nowhere else; `None` where it is not known, or they have no frames.
    pub alone: Option<bool>,
    /// How many page tables map them, the least and the most; `None` where that is hidden.
    pub mapped: Option<(u64, u64)>,
    /// Flags that all frames have, and flags that some have; `None` where they are hidden.
    pub flags: Option<(u64, u64)>,
    /// The frames in the order of the pages, the first [`MOST_FRAME_RUNS`] runs of them; none where they are hidden.
    pub frames: Vec<FrameRun>,
    /// How many runs of frames there are.
    pub frame_runs: u64,
}

impl FrameRun {
    fn of(pfn: u64, mapped: Option<u64>) -> FrameRun {
        FrameRun { pfn, pages: 1, mapped: mapped.map(|n| (n, n)) }
    }

    fn take(&mut self, mapped: Option<u64>) {
        self.pages += 1;
        self.mapped = self.mapped.zip(mapped).map(|((least, most), n)| (least.min(n), most.max(n)));
    }
}

impl Run {
    fn of_page(info: &PageInfo, size: u64) -> Run {
        let end = Addr(info.addr.0.saturating_add(size));
        Run {
            range: AddrRange::new(info.addr, end).unwrap_or(AddrRange::ALL),
            pages: 1,
            state: info.state,
            huge: info.huge,
            alone: info.alone,
            mapped: info.mapped.map(|n| (n, n)),
            flags: info.flags.map(|flags| (flags, flags)),
            frames: info.pfn.map(|pfn| FrameRun::of(pfn, info.mapped)).into_iter().collect(),
            frame_runs: u64::from(info.pfn.is_some()),
        }
    }

    fn not_present(range: AddrRange, size: u64) -> Run {
        Run {
            range,
            pages: range.len().0 / size.max(1),
            state: PageState::NotPresent,
            huge: false,
            alone: None,
            mapped: None,
            flags: None,
            frames: Vec::new(),
            frame_runs: 0,
        }
    }

    /// Takes a page that follows and is of the same sort; `false` when it is not.
    fn take(&mut self, info: &PageInfo, size: u64) -> bool {
        let same = self.range.end() == info.addr
            && (self.state, self.huge, self.alone) == (info.state, info.huge, info.alone)
            && self.mapped.is_some() == info.mapped.is_some()
            && self.flags.is_some() == info.flags.is_some()
            && (self.frame_runs > 0) == info.pfn.is_some();
        let end = Addr(info.addr.0.saturating_add(size));
        let Some(range) = AddrRange::new(self.range.start(), end).filter(|_| same) else { return false };
        self.range = range;
        self.pages += 1;
        if let (Some((least, most)), Some(n)) = (&mut self.mapped, info.mapped) {
            (*least, *most) = ((*least).min(n), (*most).max(n));
        }
        if let (Some((all, any)), Some(flags)) = (&mut self.flags, info.flags) {
            (*all, *any) = (*all & flags, *any | flags);
        }
        if let Some(pfn) = info.pfn {
            self.take_frame(pfn, info.mapped);
        }
        true
    }

    fn take_frame(&mut self, pfn: u64, mapped: Option<u64>) {
        // Every page of zeros is the same frame.
        let is_zero = self.state == PageState::Zero;
        let is_whole = self.frames.len() as u64 == self.frame_runs;
        match self.frames.last_mut() {
            Some(last) if is_whole && last.pfn.checked_add(last.pages) == Some(pfn) => last.take(mapped),
            Some(last) if is_zero && last.pfn == pfn => {}
            _ => {
                self.frame_runs += 1;
                if self.frames.len() < MOST_FRAME_RUNS {
                    self.frames.push(FrameRun::of(pfn, mapped));
                }
            }
        }
    }
}

/// Makes runs of pages that come in address order, with what lies between them; keeps one run at a time.
#[derive(Debug)]
pub struct Grouper<'a> {
    rows: &'a [PagesRow],
    size: u64,
    each: bool,
    /// The row that is being filled, and the address up to which it was given away or is in `run`.
    row: usize,
    at: Addr,
    run: Option<Run>,
}

impl<'a> Grouper<'a> {
    /// For pages of `size` bytes of these rows; with `each`, every page that is present is a run of its own.
    pub fn new(rows: &'a [PagesRow], size: u64, each: bool) -> Grouper<'a> {
        let at = rows.first().map_or(Addr(0), |row| row.vma.range.start());
        Grouper { rows, size, each, row: 0, at, run: None }
    }

    /// Takes a page of row number `row`, and gives away the runs that are complete, with the numbers of their rows.
    pub fn page(&mut self, row: usize, info: &PageInfo, out: &mut dyn FnMut(usize, Run)) {
        self.go_to(row, out);
        if row != self.row || info.state == PageState::NotPresent || info.addr < self.at {
            return;
        }
        let merges = !self.each || info.state == PageState::Guard;
        if let Some(run) = self.run.as_mut().filter(|_| merges)
            && run.take(info, self.size)
        {
            self.at = run.range.end();
            return;
        }
        self.gap_to(info.addr, out);
        let run = Run::of_page(info, self.size);
        self.at = run.range.end();
        self.run = Some(run);
    }

    /// Gives away the rest.
    pub fn finish(mut self, out: &mut dyn FnMut(usize, Run)) {
        self.go_to(self.rows.len(), out);
    }

    fn go_to(&mut self, row: usize, out: &mut dyn FnMut(usize, Run)) {
        while self.row < row {
            let Some(current) = self.rows.get(self.row) else { return };
            self.gap_to(current.vma.range.end(), out);
            self.row += 1;
            self.at = self.rows.get(self.row).map_or(self.at, |row| row.vma.range.start());
        }
    }

    fn gap_to(&mut self, end: Addr, out: &mut dyn FnMut(usize, Run)) {
        if let Some(run) = self.run.take() {
            out(self.row, run);
        }
        if let Some(gap) = AddrRange::new(self.at, end).filter(|gap| !gap.is_empty()) {
            out(self.row, Run::not_present(gap, self.size));
        }
        self.at = self.at.max(end);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::pages::Totals;
    use vmatlas_event::{Bytes, Dev, Prot, Sharing, VmaRow};
    use vmatlas_model::kind::Kind;

    pub(crate) const PAGE: u64 = 4096;

    pub(crate) fn row(start: u64, pages: u64) -> PagesRow {
        let vma = VmaRow {
            range: AddrRange::from_len(Addr(start), Bytes(pages * PAGE)).unwrap(),
            prot: Prot::RW,
            sharing: Sharing::Private,
            offset: 0,
            dev: Dev { major: 0, minor: 0 },
            inode: 0,
            name: None,
        };
        PagesRow { vma, kind: Kind::Heap }
    }

    pub(crate) fn page(addr: u64, pfn: Option<u64>, mapped: u64) -> PageInfo {
        PageInfo {
            addr: Addr(addr),
            state: PageState::Anonymous,
            huge: false,
            alone: Some(mapped == 1),
            pfn,
            mapped: pfn.map(|_| mapped),
            flags: pfn.map(|_| 1 << 5 | 1 << 12 | (mapped & 1) << 6),
        }
    }

    pub(crate) fn runs(rows: &[PagesRow], pages: &[(usize, PageInfo)], each: bool) -> Vec<(usize, Run)> {
        let mut out = Vec::new();
        let mut grouper = Grouper::new(rows, PAGE, each);
        let mut push = |row, run| out.push((row, run));
        pages.iter().for_each(|(row, info)| grouper.page(*row, info, &mut push));
        grouper.finish(&mut push);
        out
    }

    /// Checks that runs and gaps cover every row exactly, that equal neighbours are one run, and that frames that
    /// follow each other are one run of frames.
    #[test]
    fn runs_and_gaps_cover_the_rows() {
        let rows = [row(0x10000, 8), row(0x18000, 2), row(0x40000, 4)];
        let pages = [
            (0, page(0x11000, Some(5), 1)),
            (0, page(0x12000, Some(6), 1)),
            (0, page(0x13000, Some(9), 1)),
            (0, page(0x14000, Some(10), 3)),
            (0, page(0x15000, Some(11), 4)),
            (2, page(0x43000, None, 1)),
        ];
        let found = runs(&rows, &pages, false);
        let shape: Vec<(usize, u64, u64, PageState)> =
            found.iter().map(|(row, r)| (*row, r.range.start().0, r.pages, r.state)).collect();
        use PageState::{Anonymous, NotPresent};
        assert_eq!(
            shape,
            [
                (0, 0x10000, 1, NotPresent),
                (0, 0x11000, 3, Anonymous),
                (0, 0x14000, 2, Anonymous),
                (0, 0x16000, 2, NotPresent),
                (1, 0x18000, 2, NotPresent),
                (2, 0x40000, 3, NotPresent),
                (2, 0x43000, 1, Anonymous),
            ]
        );
        let (alone, shared, hidden) = (&found[1].1, &found[2].1, &found[6].1);
        let once = Some((1, 1));
        assert_eq!(
            alone.frames,
            [FrameRun { pfn: 5, pages: 2, mapped: once }, FrameRun { pfn: 9, pages: 1, mapped: once }]
        );
        assert_eq!(shared.frames, [FrameRun { pfn: 10, pages: 2, mapped: Some((3, 4)) }]);
        assert_eq!((shared.mapped, shared.frame_runs, shared.alone), (Some((3, 4)), 1, Some(false)));
        assert_eq!(shared.flags, Some((1 << 5 | 1 << 12, 1 << 5 | 1 << 6 | 1 << 12)));
        assert_eq!((hidden.mapped, hidden.flags, hidden.frame_runs), (None, None, 0));
        let mut totals = Totals::default();
        found.iter().for_each(|(_, run)| totals.add(run));
        assert_eq!((totals.all().pages, totals.present(), totals.hidden), (14, 6, 1));
        assert_eq!((totals.all().alone, totals.all().shared), (4, 2));
    }

    /// Checks that page by page nothing is joined but what is not there.
    #[test]
    fn each_page_is_a_run_of_its_own() {
        let rows = [row(0x10000, 1 << 30)];
        let pages = [(0, page(0x11000, Some(5), 1)), (0, page(0x12000, Some(6), 1))];
        let found = runs(&rows, &pages, true);
        let pages: Vec<u64> = found.iter().map(|(_, run)| run.pages).collect();
        assert_eq!(pages, [1, 1, 1, (1 << 30) - 3]);
    }

    /// Checks that scattered frames do not grow a run without limit, and are counted all the same.
    #[test]
    fn frames_of_a_run_are_bounded() {
        let n = 3 * MOST_FRAME_RUNS as u64;
        let rows = [row(0, n)];
        let pages: Vec<_> = (0..n).map(|i| (0, page(i * PAGE, Some(1 + i * 2), 1))).collect();
        let found = runs(&rows, &pages, false);
        assert_eq!((found.len(), found[0].1.frames.len(), found[0].1.frame_runs), (1, MOST_FRAME_RUNS, n));
    }
}
