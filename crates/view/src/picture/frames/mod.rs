//! The talk's figure from real data: the pages of a process beside the physical frames they stand for.
//!
//! Runs go by one at a time and few are kept: of each VMA the longest pieces that are whole in both memories, and of the
//! process the VMAs with most pages present.

mod svg;
mod terminal;

pub use svg::svg;
pub use terminal::terminal;

use crate::change::what;
use crate::escape;
use crate::kind_text::kind_name;
use crate::lang::Lang;
use crate::pages::{PagesRow, Run, texts};
use crate::show::Header;
use crate::units::count;
use vmatlas_event::{Addr, AddrRange, PageState, Pid};

/// VMAs that are drawn when the figure is of several.
const MOST_VMAS: usize = 8;
/// Pieces that are drawn of one VMA, when it is one of several.
const MOST_PIECES: usize = 3;
/// Pieces that are drawn when the figure is of one VMA.
const MOST_PIECES_ALONE: usize = 16;

/// Pages that follow each other in both memories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where they are mapped.
    pub start: Addr,
    /// How many.
    pub pages: u64,
    /// Their first frame; `None` where it is hidden.
    pub pfn: Option<u64>,
    /// Whether others map them too; `None` where nobody tells.
    pub shared: Option<bool>,
    /// How many page tables map them, the least and the most.
    pub mapped: Option<(u64, u64)>,
    /// Mapped by huge pages.
    pub huge: bool,
    /// What they are.
    pub state: PageState,
}

/// One VMA of the figure.
#[derive(Clone, Debug)]
pub struct Area {
    row: PagesRow,
    pages: u64,
    present: u64,
    shared: u64,
    /// The longest pieces, in address order in the end.
    pieces: Vec<Piece>,
}

impl Area {
    fn label(&self, lang: Lang) -> String {
        match &self.row.vma.name {
            Some(_) => what(&self.row.vma, lang).into_owned(),
            None => kind_name(self.row.kind, lang).to_owned(),
        }
    }

    /// Pages that are present but not drawn.
    fn more(&self) -> u64 {
        self.present.saturating_sub(self.pieces.iter().map(|piece| piece.pages).sum())
    }

    fn amount(&self, lang: Lang) -> String {
        match self.present {
            0 => texts::NOTHING.get(lang).to_owned(),
            n => texts::PRESENT_OF.fill(lang, &[("n", &count(n)), ("all", &count(self.pages))]),
        }
    }
}

/// The figure.
#[derive(Clone, Debug)]
pub struct Figure {
    name: String,
    pid: Option<Pid>,
    page: u64,
    areas: Vec<Area>,
    /// VMAs that are not drawn, and their present pages.
    more: (u64, u64),
    /// Whether frame numbers are hidden.
    hidden: bool,
    present: u64,
}

impl Figure {
    fn title(&self, lang: Lang) -> String {
        let pid = self.pid.map_or_else(|| "?".to_owned(), |pid| pid.to_string());
        texts::PICTURE_TITLE.fill(lang, &[("name", &self.name), ("pid", &pid)])
    }

    /// What lies between the area before this one and itself.
    fn gap_before(&self, index: usize) -> Option<AddrRange> {
        let before = self.areas.get(index.checked_sub(1)?)?;
        let here = self.areas.get(index)?;
        AddrRange::new(before.row.vma.range.end(), here.row.vma.range.start()).filter(|gap| !gap.is_empty())
    }
}

/// The words for a piece: how many pages, and by how many they are mapped.
fn piece_pages(piece: &Piece, lang: Lang) -> String {
    match piece.pages {
        1 => texts::ONE_PAGE.get(lang).to_owned(),
        n => texts::RUN_PAGES.fill(lang, &[("n", &count(n))]),
    }
}

fn piece_sharing(piece: &Piece, lang: Lang) -> Option<String> {
    match (piece.mapped, piece.shared) {
        (_, Some(false)) => None,
        (Some((least, most)), _) if least == most => Some(texts::SHARED_WITH.fill(lang, &[("n", &least)])),
        (Some((least, most)), _) => {
            Some(texts::SHARED_WITH.fill(lang, &[("n", &format_args!("{least}-{most}"))]))
        }
        (None, Some(true)) => Some(texts::SHARED.get(lang).to_owned()),
        (None, None) => Some(texts::UNKNOWN.get(lang).to_owned()),
    }
}

/// Makes a figure of runs; keeps little of them.
#[derive(Debug)]
pub struct Collector<'a> {
    rows: &'a [PagesRow],
    page: u64,
    current: Option<(usize, Area)>,
    figure: Figure,
}

impl<'a> Collector<'a> {
    /// For runs of these rows, with pages of `page` bytes.
    pub fn new(rows: &'a [PagesRow], page: u64) -> Collector<'a> {
        let name = String::new();
        let figure =
            Figure { name, pid: None, page, areas: Vec::new(), more: (0, 0), hidden: false, present: 0 };
        Collector { rows, page, current: None, figure }
    }

    /// Takes a run of row number `row`; runs come in address order.
    pub fn add(&mut self, row: usize, run: &Run) {
        if self.current.as_ref().is_none_or(|(current, _)| *current != row) {
            self.close();
            let Some(of) = self.rows.get(row) else { return };
            let area = Area { row: of.clone(), pages: 0, present: 0, shared: 0, pieces: Vec::new() };
            self.current = Some((row, area));
        }
        let most = if self.rows.len() == 1 { MOST_PIECES_ALONE } else { MOST_PIECES };
        let Some((_, area)) = &mut self.current else { return };
        area.pages += run.pages;
        if !run.state.has_frame() {
            return;
        }
        area.present += run.pages;
        self.figure.present += run.pages;
        if run.alone == Some(false) {
            area.shared += run.pages;
        }
        let piece = |start: Addr, pages: u64, pfn: Option<u64>, mapped| Piece {
            start,
            pages,
            pfn,
            shared: run.alone.map(|alone| !alone),
            mapped,
            huge: run.huge,
            state: run.state,
        };
        if run.frame_runs == 0 {
            self.figure.hidden = true;
            keep(&mut area.pieces, piece(run.range.start(), run.pages, None, run.mapped), most);
        }
        let mut at = run.range.start();
        for frames in &run.frames {
            keep(&mut area.pieces, piece(at, frames.pages, Some(frames.pfn), frames.mapped), most);
            at = Addr(at.0.saturating_add(frames.pages.saturating_mul(self.page)));
        }
    }

    /// The figure.
    pub fn finish(mut self, header: &Header) -> Figure {
        self.close();
        self.figure.name = escape::terminal(&header.name);
        self.figure.pid = header.pid;
        for area in &mut self.figure.areas {
            area.pieces.sort_by_key(|piece| piece.start);
        }
        self.figure
    }

    fn close(&mut self) {
        let Some((_, area)) = self.current.take() else { return };
        let areas = &mut self.figure.areas;
        areas.push(area);
        if areas.len() <= MOST_VMAS {
            return;
        }
        let least = areas.iter().enumerate().min_by_key(|(_, area)| (area.present, area.pages));
        if let Some((index, _)) = least {
            let left = areas.remove(index);
            self.figure.more.0 += 1;
            self.figure.more.1 += left.present;
        }
    }
}

/// Keeps the longest.
fn keep(pieces: &mut Vec<Piece>, piece: Piece, most: usize) {
    if pieces.len() < most {
        pieces.push(piece);
        return;
    }
    let least = pieces.iter_mut().min_by_key(|piece| piece.pages);
    if let Some(least) = least.filter(|least| least.pages < piece.pages) {
        *least = piece;
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::pages::tests::{PAGE, page, row, runs};

    pub(crate) fn figure(vmas: u64, hidden: bool) -> Figure {
        let rows: Vec<PagesRow> = (0..vmas).map(|i| row((i + 1) << 20, 64)).collect();
        let pfn = |n: u64| (!hidden).then_some(n);
        let pages: Vec<_> = (0..vmas)
            .flat_map(|i| {
                (0..20).map(move |n| {
                    let addr = ((i + 1) << 20) + n * PAGE;
                    (i as usize, page(addr, pfn(0x15000 - i * 100 + n * (1 + n % 2)), 1 + n % 7 / 6))
                })
            })
            .collect();
        let mut collector = Collector::new(&rows, PAGE);
        for (row, run) in runs(&rows, &pages, false) {
            collector.add(row, &run);
        }
        let header = Header { pid: Some(Pid(7)), name: b"a<b\x1b".to_vec(), ..Header::default() };
        collector.finish(&header)
    }

    /// Checks that a figure of very many VMAs stays small, and that nothing is lost from its sums.
    #[test]
    fn the_figure_is_bounded() {
        let figure = figure(500, false);
        assert_eq!((figure.areas.len(), figure.more), (MOST_VMAS, (492, 492 * 20)));
        assert!(figure.areas.iter().all(|area| area.pieces.len() <= MOST_PIECES));
        assert!(
            figure
                .areas
                .iter()
                .all(|area| area.more() + area.pieces.iter().map(|p| p.pages).sum::<u64>() == 20)
        );
        assert!(figure.areas.windows(2).all(|w| w[0].row.vma.range.end() <= w[1].row.vma.range.start()));
        assert_eq!((figure.present, figure.hidden), (10_000, false));
    }
}
