//! Pages of an area for the picture, and the VMAs they are in.

use crate::error::LabError;
use crate::lab::Lab;
use crate::report::{Figure, Moment};
use crate::state::{State, pages_of, pages_seen};
use vmatlas_event::{Addr, AddrRange, Bytes, PageCounts, Sharing, VmaRow};
use vmatlas_proc::Process;
use vmatlas_view::picture::strip::{Shown, Square};

/// Pages that are drawn at most: a picture of more is none.
const MOST: u64 = 16;

/// How many VMAs have a part of a range.
pub(crate) fn vmas_in(rows: &[VmaRow], range: AddrRange) -> u64 {
    rows.iter().filter(|row| row.range.intersects(range)).count() as u64
}

/// One page of an area.
pub(crate) fn page_of(area: AddrRange, index: u64) -> AddrRange {
    part_of(area, index, 1)
}

/// Pages of an area, or behind it, from `first` on.
pub(crate) fn part_of(area: AddrRange, first: u64, pages: u64) -> AddrRange {
    let page = vmatlas_sys::page_size().bytes();
    AddrRange::from_len(Addr(area.start().0 + first * page), Bytes(pages * page)).unwrap_or(AddrRange::ALL)
}

/// The pages of an area as they are in a process now; `changed` are those to be marked.
pub(crate) fn squares(process: &Process, area: AddrRange, changed: &[u64]) -> Result<Vec<Square>, LabError> {
    let state = State::read(process)?;
    let page = vmatlas_sys::page_size().bytes();
    let seen = pages_seen(process, area)?;
    let square = |index: u64| {
        let range = page_of(area, index);
        let changed = changed.contains(&index);
        let Some(row) = state.row_at(range.start()) else {
            return Ok(Square { prot: String::new(), vma: 0, shown: Shown::Hole, changed });
        };
        let here = seen.get(index as usize).copied().unwrap_or_default();
        let counts =
            if here.present { pages_of(process, &state.rows, range)? } else { PageCounts::default() };
        let (is_zero, is_huge) = (counts.zero.0 > 0, counts.huge.0 + counts.hugetlb.0 > 0);
        let shown = match (here.present, is_zero, here.exclusive) {
            (false, ..) if here.swapped => Shown::Swapped,
            (false, ..) => Shown::Empty,
            (true, true, _) => Shown::Zero,
            (true, ..) if is_huge => Shown::Huge(here.pfn),
            (true, ..) if here.file => Shown::File(here.pfn),
            (true, false, true) => Shown::Frame(here.pfn),
            (true, false, false) => Shown::Shared(here.pfn),
        };
        let sharing = if row.sharing == Sharing::Shared { 's' } else { 'p' };
        Ok(Square { prot: format!("{}{sharing}", row.prot), vma: row.range.start().0, shown, changed })
    };
    (0..(area.len().0 / page).min(MOST)).map(square).collect()
}

impl Lab<'_> {
    /// Adds a moment to the picture: section `moment NAME` is its title. `children` are drawn below the subject, each
    /// with the section of its label.
    pub(crate) fn draw(
        &mut self,
        name: &str,
        area: AddrRange,
        changed: &[u64],
        children: &[(&str, &Process)],
    ) -> Result<(), LabError> {
        let label = |name: &str| self.words(self.report.info.text(&format!("label {name}")));
        let own =
            if children.is_empty() { vmatlas_view::Text { en: "", ja: "" }.into() } else { label("parent") };
        let mut lines = vec![(own, squares(self.subject.process(), area, changed)?)];
        for (name, process) in children {
            lines.push((label(name), squares(process, area, changed)?));
        }
        let title = self.words(self.report.info.text(&format!("moment {name}")));
        let moment = Moment { title, lines };
        match &mut self.report.figure {
            Some(Figure::Strip(moments)) => moments.push(moment),
            figure => *figure = Some(Figure::Strip(vec![moment])),
        }
        Ok(())
    }
}
