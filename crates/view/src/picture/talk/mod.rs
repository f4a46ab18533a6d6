//! The figure of the talk: the virtual address space beside physical memory, before and after mmap, and after touching.

mod svg;
mod terminal;

pub use svg::svg;
pub use terminal::terminal;

use super::texts;
use crate::lang::Lang;
use crate::units::{count, size};
use vmatlas_event::{Addr, AddrRange, Bytes, PageCounts, VmaRow};

/// The figure: one panel for each moment.
#[derive(Clone, Debug, Default)]
pub struct Talk {
    /// In the order of time.
    pub panels: Vec<Panel>,
}

/// Which moment a panel shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before the call.
    Before,
    /// After it.
    AfterCall,
    /// After this many pages were touched.
    Touched(u64),
}

/// One moment.
#[derive(Clone, Debug)]
pub struct Panel {
    /// Which one.
    pub moment: Moment,
    /// The address space from its lowest address to its highest.
    pub blocks: Vec<Block>,
}

/// A part of the address space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Where.
    pub range: AddrRange,
    /// What is there.
    pub what: What,
}

/// What a block is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Nothing is mapped.
    Gap,
    /// Mapped before the experiment: what it holds, and how much of it is in physical memory.
    Mapped {
        /// What is in there.
        holds: Vec<Holds>,
        /// How much is mapped, gaps left out.
        mapped: Bytes,
        /// How much is resident.
        resident: Bytes,
    },
    /// The area the experiment obtained.
    New(NewArea),
}

/// The area the experiment obtained.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewArea {
    /// Its pages.
    pub pages: u64,
    /// Those in physical memory.
    pub resident_pages: u64,
    /// Some of them, to be drawn: (page of the area, frame number where we may know it).
    pub frames: Vec<(u64, Option<u64>)>,
}

/// What a mapped block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holds {
    /// The program's file and its data.
    Program,
    /// The heap (brk).
    Heap,
    /// Shared libraries and the loader.
    Libraries,
    /// The stack.
    Stack,
    /// vdso and the like.
    Kernel,
    /// Anything else.
    Other,
}

impl Holds {
    fn text(self, lang: Lang) -> &'static str {
        match self {
            Holds::Program => texts::PROGRAM,
            Holds::Heap => texts::HEAP,
            Holds::Libraries => texts::LIBRARIES,
            Holds::Stack => texts::STACK,
            Holds::Kernel => texts::KERNEL,
            Holds::Other => texts::OTHER,
        }
        .get(lang)
    }
}

/// Gaps smaller than this are not drawn: libraries lie in one place for the eye.
const SMALL_GAP: u64 = 64 << 20;
/// Where user addresses end on x86_64 without 5-level paging; a map that goes higher ends where its last VMA does.
const USER_END: Addr = Addr(1 << 47);

/// The blocks of a map, with `new` as a block of its own even where it is part of a larger VMA.
pub fn blocks(
    rows: &[VmaRow],
    pages: &[Option<PageCounts>],
    new: Option<(AddrRange, NewArea)>,
) -> Vec<Block> {
    let program = rows.iter().find(|row| row.has_file()).map(|row| (row.dev, row.inode));
    let mut out: Vec<Block> = Vec::new();
    let new_range = new.as_ref().map(|(range, _)| *range);
    let mut waiting = new;
    let mut at = Addr(0);
    for (row, counts) in rows.iter().zip(pages).filter(|(row, _)| row.special() != Some(b"vsyscall")) {
        let parts = match new_range.filter(|range| range.intersects(row.range)) {
            None => vec![row.range],
            Some(range) => without(row.range, range),
        };
        // The part of a grown row that was there before has what the new area does not have.
        let resident = counts.map_or(Bytes(0), |c| c.resident + c.hugetlb);
        for part in parts {
            if waiting.as_ref().is_some_and(|(range, _)| range.start() <= part.start()) {
                put_new(&mut out, &mut at, &mut waiting);
            }
            let share = match part == row.range {
                true => resident,
                false => Bytes(resident.0.saturating_sub(new_resident(&out, &waiting, row))),
            };
            put_mapped(&mut out, &mut at, part, holds(row, program), share);
        }
    }
    put_new(&mut out, &mut at, &mut waiting);
    put_gap(&mut out, &mut at, USER_END);
    out
}

fn without(range: AddrRange, cut: AddrRange) -> Vec<AddrRange> {
    let low = AddrRange::new(range.start(), cut.start().min(range.end()).max(range.start()));
    let high = AddrRange::new(cut.end().max(range.start()).min(range.end()), range.end());
    [low, high].into_iter().flatten().filter(|r| !r.is_empty()).collect()
}

fn new_resident(out: &[Block], waiting: &Option<(AddrRange, NewArea)>, row: &VmaRow) -> u64 {
    let bytes = |range: AddrRange, area: &NewArea| match range.intersects(row.range) && area.pages > 0 {
        true => range.len().0 / area.pages * area.resident_pages,
        false => 0,
    };
    let drawn = out.iter().map(|block| match &block.what {
        What::New(area) => bytes(block.range, area),
        _ => 0,
    });
    drawn.sum::<u64>() + waiting.as_ref().map_or(0, |(range, area)| bytes(*range, area))
}

fn put_new(out: &mut Vec<Block>, at: &mut Addr, waiting: &mut Option<(AddrRange, NewArea)>) {
    if let Some((range, area)) = waiting.take() {
        put_gap(out, at, range.start());
        out.push(Block { range, what: What::New(area) });
        *at = range.end();
    }
}

fn put_gap(out: &mut Vec<Block>, at: &mut Addr, to: Addr) {
    if let Some(range) =
        AddrRange::new(*at, to).filter(|gap| gap.len().0 >= SMALL_GAP || at.0 == 0 && !gap.is_empty())
    {
        out.push(Block { range, what: What::Gap });
    }
    *at = to.max(*at);
}

fn put_mapped(out: &mut Vec<Block>, at: &mut Addr, part: AddrRange, what: Option<Holds>, share: Bytes) {
    put_gap(out, at, part.start());
    *at = part.end();
    if let Some(Block { range, what: What::Mapped { holds, mapped, resident } }) = out.last_mut() {
        *range = range.hull(part);
        *mapped += part.len();
        *resident += share;
        holds.extend(what.filter(|w| !holds.contains(w)));
        return;
    }
    let holds = what.into_iter().collect();
    out.push(Block { range: part, what: What::Mapped { holds, mapped: part.len(), resident: share } });
}

fn holds(row: &VmaRow, program: Option<(vmatlas_event::Dev, u64)>) -> Option<Holds> {
    if row.has_file() {
        let is_program = program == Some((row.dev, row.inode));
        let is_library = row.name_bytes().windows(3).any(|w| w == b".so");
        return Some(match (is_program, is_library) {
            (true, _) => Holds::Program,
            (false, true) => Holds::Libraries,
            (false, false) => Holds::Other,
        });
    }
    match row.special()? {
        b"heap" => Some(Holds::Heap),
        b"stack" => Some(Holds::Stack),
        b"vdso" => Some(Holds::Kernel),
        _ => None,
    }
}

/// The words of a mapped block.
fn label(holds: &[Holds], lang: Lang) -> String {
    if holds.is_empty() {
        return Holds::Other.text(lang).to_owned();
    }
    let words: Vec<&str> = holds.iter().map(|h| h.text(lang)).collect();
    words.join(if lang == Lang::Ja { "・" } else { ", " })
}

impl Panel {
    fn title(&self, lang: Lang) -> String {
        match self.moment {
            Moment::Before => texts::BEFORE.get(lang).to_owned(),
            Moment::AfterCall => texts::AFTER_CALL.get(lang).to_owned(),
            Moment::Touched(1) => texts::AFTER_TOUCH_ONE.get(lang).to_owned(),
            Moment::Touched(n) => texts::AFTER_TOUCH.fill(lang, &[("n", &count(n))]),
        }
    }

    fn new_area(&self) -> Option<&NewArea> {
        self.blocks.iter().find_map(|b| if let What::New(area) = &b.what { Some(area) } else { None })
    }

    fn note(&self, lang: Lang) -> &'static str {
        let resident = self.new_area().map_or(0, |a| a.resident_pages);
        match (self.moment, resident) {
            (Moment::Before, _) => texts::BEFORE_NOTE,
            (Moment::AfterCall, 0) => texts::AFTER_NOTE,
            (Moment::AfterCall, _) => texts::POPULATED_NOTE,
            (Moment::Touched(_), 0) => texts::NO_FRAME_NOTE,
            (Moment::Touched(_), _) => texts::TOUCH_NOTE,
        }
        .get(lang)
    }
}

impl NewArea {
    /// Whether there are frames whose place may not be known.
    fn is_hidden(&self) -> bool {
        self.resident_pages > 0 && !self.frames.iter().any(|(_, pfn)| pfn.is_some())
    }

    /// The line below the pages that are drawn; `None` when all are drawn.
    fn rest(&self, drawn: usize, lang: Lang) -> Option<String> {
        let more = self.resident_pages.saturating_sub(drawn as u64);
        let untouched = self.pages.saturating_sub(self.resident_pages);
        // Hidden frames are drawn as one: their count stands there already.
        let drawn = if self.is_hidden() { self.resident_pages as usize } else { drawn };
        if more > 0 && !self.is_hidden() {
            Some(texts::MORE_PAGES.fill(lang, &[("n", &count(more))]))
        } else if untouched > 0 && drawn > 0 {
            Some(texts::UNTOUCHED.fill(lang, &[("n", &count(untouched))]))
        } else {
            None
        }
    }
}

fn resident_text(bytes: Bytes, lang: Lang) -> String {
    match bytes {
        Bytes(0) => texts::NOTHING_RESIDENT.get(lang).to_owned(),
        bytes => texts::RESIDENT.fill(lang, &[("size", &size(bytes))]),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use vmatlas_event::{Dev, Name, Prot, Sharing};

    pub(crate) fn row(start: u64, end: u64, inode: u64, name: &str) -> VmaRow {
        VmaRow {
            range: AddrRange::new(Addr(start), Addr(end)).unwrap(),
            prot: Prot::RW,
            sharing: Sharing::Private,
            offset: 0,
            dev: Dev { major: u32::from(inode != 0), minor: 0 },
            inode,
            name: (!name.is_empty()).then(|| Name::new(name.as_bytes())),
        }
    }

    pub(crate) fn pages(bytes: u64) -> Option<PageCounts> {
        Some(PageCounts { resident: Bytes(bytes), ..PageCounts::default() })
    }

    const G: u64 = 1 << 30;

    /// A map like a real one, with a new area that the kernel merged into the anonymous VMA above it.
    pub(crate) fn sample(frames: &[(u64, Option<u64>)]) -> Vec<Block> {
        let rows = [
            row(G, G + 0x4000, 1, "/bin/x"),
            row(G + 0x8000, G + 0x9000, 0, "[heap]"),
            row(100 * G, 102 * G, 0, ""),
            row(102 * G, 102 * G + 0x1000, 2, "/lib/libc.so.6"),
            row(500 * G, 500 * G + 0x1000, 0, "[stack]"),
        ];
        let counts = [
            pages(0x2000),
            pages(0x1000),
            pages(0x1000 * (1 + frames.len() as u64)),
            pages(0),
            pages(0x1000),
        ];
        let area = NewArea { pages: G / 4096, resident_pages: frames.len() as u64, frames: frames.to_vec() };
        blocks(&rows, &counts, Some((AddrRange::new(Addr(100 * G), Addr(101 * G)).unwrap(), area)))
    }

    /// Checks that near parts are one block, that the new area is one of its own although it was merged, and that what
    /// was resident in the VMA before does not move into it.
    #[test]
    fn the_new_area_is_a_block_of_its_own() {
        let blocks = sample(&[(0, None)]);
        let what: Vec<_> = blocks.iter().map(|b| b.what.clone()).collect();
        let mapped = |holds: &[Holds], mapped: u64, resident: u64| What::Mapped {
            holds: holds.to_vec(),
            mapped: Bytes(mapped),
            resident: Bytes(resident),
        };
        assert_eq!(what[0], What::Gap);
        assert_eq!(what[1], mapped(&[Holds::Program, Holds::Heap], 0x5000, 0x3000));
        assert_eq!(what[2], What::Gap);
        assert!(matches!(what[3], What::New(_)));
        assert_eq!(what[4], mapped(&[Holds::Libraries], G + 0x1000, 0x1000));
        assert_eq!(what[6], mapped(&[Holds::Stack], 0x1000, 0x1000));
        assert_eq!(what.len(), 8);
        assert!(blocks.windows(2).all(|w| w[0].range.end() <= w[1].range.start()));
    }
}
