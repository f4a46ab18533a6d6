//! The address space of a process drawn to scale: a bar with gaps folded, and a line for each part of it.

use super::svg::{Anchor, EDGE, FAINT, Font, INK, Rect, Svg, columns_in};
use super::texts;
use crate::change::what;
use crate::escape;
use crate::kind_text::kind_name;
use crate::lang::Lang;
use crate::show::{MapView, ShowRow, totals};
use crate::table::shorten;
use crate::units::{count, size};
use vmatlas_event::{AddrRange, Bytes};
use vmatlas_model::kind::Kind;

/// More parts than this are joined with their neighbours: a picture of 5,000 lines helps nobody.
const MOST_PARTS: usize = 160;
/// Gaps smaller than this are joints of the bar, not breaks in it.
const SMALL_GAP: u64 = 1 << 20;

const BAR_X: f64 = 36.0;
const BAR_W: f64 = 120.0;
const LIST_X: f64 = 214.0;
const WIDTH: f64 = 1000.0;
const LINE: f64 = 17.0;
const FOLD: f64 = 15.0;

/// One part of the bar: one VMA, or neighbours drawn as one.
#[derive(Clone, Debug)]
struct Part<'a> {
    rows: &'a [ShowRow],
}

impl Part<'_> {
    fn kind(&self) -> Option<Kind> {
        let first = self.rows.first()?.verdict.kind;
        self.rows.iter().all(|row| row.verdict.kind == first).then_some(first)
    }

    fn start(&self) -> u64 {
        self.rows.first().map_or(0, |row| row.vma.range.start().0)
    }

    fn end(&self) -> u64 {
        self.rows.last().map_or(0, |row| row.vma.range.end().0)
    }

    /// What is mapped, the joints between VMAs left out.
    fn mapped(&self) -> u64 {
        self.rows.iter().map(|row| row.vma.range.len()).sum::<Bytes>().0
    }

    fn resident(&self) -> Option<u64> {
        let known = self.rows.iter().filter_map(|row| row.pages);
        let has = self.rows.iter().any(|row| row.pages.is_some());
        has.then(|| known.map(|p| p.resident + p.hugetlb).sum::<Bytes>().0)
    }

    fn label(&self, lang: Lang) -> String {
        match self.rows {
            [row] => match &row.vma.name {
                Some(_) => what(&row.vma, lang).into_owned(),
                None => kind_name(row.verdict.kind, lang).to_owned(),
            },
            rows => {
                let n = count(rows.len() as u64);
                match self.kind() {
                    Some(kind) => texts::GROUP.fill(lang, &[("n", &n), ("kind", &kind_name(kind, lang))]),
                    None => texts::MIXED.fill(lang, &[("n", &n)]),
                }
            }
        }
    }
}

/// Rows in address order as at most [`MOST_PARTS`] parts: small neighbours of one kind are joined first, then any.
fn parts(rows: &[ShowRow]) -> Vec<Part<'_>> {
    let mut limit = 4096;
    for any_kind in [false, true] {
        while limit < 1 << 48 {
            let joined = join(rows, limit, any_kind);
            if joined.len() <= MOST_PARTS {
                return joined;
            }
            limit *= 2;
        }
        limit = 1 << 16;
    }
    // Far apart, every one of them: then as many in each part as it takes.
    rows.chunks(rows.len().div_ceil(MOST_PARTS).max(1)).map(|rows| Part { rows }).collect()
}

/// Joins neighbours of which each is smaller than `limit`, with gaps smaller than that between them.
fn join(rows: &[ShowRow], limit: u64, any_kind: bool) -> Vec<Part<'_>> {
    let together = |a: &ShowRow, b: &ShowRow| {
        let gap = b.vma.range.start().0.saturating_sub(a.vma.range.end().0);
        let small = |row: &ShowRow| row.vma.range.len().0 < limit;
        rows.len() > MOST_PARTS
            && (any_kind || a.verdict.kind == b.verdict.kind)
            && small(a)
            && small(b)
            && gap < limit.max(SMALL_GAP)
    };
    rows.chunk_by(together).map(|rows| Part { rows }).collect()
}

/// The light and the dark colour of a kind: all of it, and its resident part.
fn colors(kind: Option<Kind>) -> (&'static str, &'static str) {
    match kind {
        Some(Kind::Image) => ("#bfdbfe", "#2563eb"),
        Some(Kind::Jit) => ("#a5f3fc", "#0e7490"),
        Some(Kind::Heap | Kind::MallocArena | Kind::Allocator) => ("#fde68a", "#b45309"),
        Some(Kind::ManagedHeap) => ("#fed7aa", "#c2410c"),
        Some(Kind::ThreadStack | Kind::MainStack) => ("#e9d5ff", "#7e22ce"),
        Some(Kind::MappedFile) => ("#c7d2fe", "#4338ca"),
        Some(Kind::Shared) => ("#bbf7d0", "#15803d"),
        Some(Kind::Guard | Kind::Reserved) => ("#f1f5f9", "#94a3b8"),
        Some(Kind::Kernel) => ("#e2e8f0", "#475569"),
        Some(Kind::Anonymous | Kind::Huge) => ("#d8f3dc", "#2d6a4f"),
        Some(Kind::Device | Kind::Aio) => ("#fecdd3", "#be123c"),
        None => ("#e5e7eb", "#6b7280"),
    }
}

/// One thing on the bar from low to high addresses.
enum Item<'a> {
    Part(Part<'a>),
    Fold(u64),
}

/// Whether an address lies where only the kernel has some.
fn is_kernel_half(addr: u64) -> bool {
    addr >> 63 == 1
}

fn items(parts: Vec<Part<'_>>) -> Vec<Item<'_>> {
    let mut out = Vec::new();
    let mut at: Option<u64> = None;
    for part in parts {
        let gap = at.map_or(0, |at| part.start().saturating_sub(at));
        // Below [vsyscall] is no address space of the process but the hole of the architecture.
        if gap >= SMALL_GAP && !is_kernel_half(part.start()) {
            out.push(Item::Fold(gap));
        }
        at = Some(part.end());
        out.push(Item::Part(part));
    }
    out
}

/// The picture as one document.
pub fn svg(view: &MapView, lang: Lang) -> String {
    // [vsyscall] is no VMA, and nothing lies between it and the user's addresses.
    let end = view.rows.iter().rposition(|row| row.vma.special() != Some(b"vsyscall")).map_or(0, |at| at + 1);
    let items = items(parts(&view.rows[..end]));
    let lines = items.len().max(1) as f64;
    let height = (lines * LINE).max(320.0);
    let kinds = totals(view.rows.iter());
    let legend_rows = kinds.len().div_ceil(4) as f64;
    let top = 112.0 + legend_rows * 22.0;
    let mut svg = Svg::new(WIDTH, top + height + 40.0);
    let title = title(view, lang);
    svg.text(BAR_X, 40.0, Font::new(20.0).bold(), &shorten(&title, 80));
    svg.text(BAR_X, 64.0, Font::new(13.0).fill(FAINT), &sizes(view, lang));
    svg.text(BAR_X, 84.0, Font::new(12.0).fill(FAINT), texts::TO_SCALE.get(lang));
    for (i, total) in kinds.iter().enumerate() {
        let x = BAR_X + (i % 4) as f64 * 232.0;
        let y = 98.0 + (i / 4) as f64 * 22.0;
        let (light, dark) = colors(Some(total.kind));
        svg.rect(Rect { x, y, w: 14.0, h: 14.0 }, light, EDGE);
        svg.rect(Rect { x, y: y + 7.0, w: 14.0, h: 7.0 }, dark, "none");
        let text = format!("{} {}", kind_name(total.kind, lang), size(total.size));
        svg.text(x + 20.0, y + 12.0, Font::new(12.0), &text);
    }
    draw(&mut svg, &items, lang, top, height);
    svg.finish(&title)
}

fn title(view: &MapView, lang: Lang) -> String {
    let name = escape::terminal(&view.header.name);
    match view.header.pid {
        Some(pid) => texts::SPACE_TITLE.fill(lang, &[("name", &name), ("pid", &pid)]),
        None => texts::SPACE_TITLE_BARE.fill(lang, &[("name", &name)]),
    }
}

fn sizes(view: &MapView, lang: Lang) -> String {
    use crate::texts as words;
    let mut out = vec![words::VMAS.fill(lang, &[("n", &count(view.rows.len() as u64))])];
    let header = &view.header;
    out.extend(header.virtual_size.map(|b| words::VIRTUAL.fill(lang, &[("size", &size(b))])));
    match view.pages_why {
        None => out.extend(header.resident.map(|b| words::RESIDENT_SIZE.fill(lang, &[("size", &size(b))]))),
        Some(_) => out.push(texts::NOT_READ.get(lang).to_owned()),
    }
    out.join(" · ")
}

fn draw(svg: &mut Svg, items: &[Item<'_>], lang: Lang, top: f64, height: f64) {
    let folds = items.iter().filter(|item| matches!(item, Item::Fold(_))).count() as f64;
    // Folds take at most half of the bar.
    let fold = FOLD.min(height / 2.0 / folds.max(1.0));
    let room = height - folds * fold;
    let sizes: Vec<f64> = items
        .iter()
        .map(|item| match item {
            Item::Part(part) => part.mapped() as f64,
            Item::Fold(_) => 0.0,
        })
        .collect();
    let heights = scaled(&sizes, room);
    let step = height / items.len().max(1) as f64;
    let mut y = top;
    for (i, (item, h)) in items.iter().zip(heights).enumerate() {
        let label_y = top + step * (i as f64 + 0.5);
        match item {
            Item::Fold(gap) => {
                draw_fold(svg, *gap, lang, (y, fold), label_y);
                y += fold;
            }
            Item::Part(part) => {
                draw_part(svg, part, lang, (y, h), label_y);
                y += h;
            }
        }
    }
}

/// Heights in proportion, none below one pixel, all together `room`.
fn scaled(sizes: &[f64], room: f64) -> Vec<f64> {
    const LEAST: f64 = 1.0;
    let mut small = vec![false; sizes.len()];
    loop {
        let fixed = small.iter().filter(|s| **s).count() as f64 * LEAST;
        let total: f64 = sizes.iter().zip(&small).filter(|(_, s)| !**s).map(|(size, _)| size).sum();
        let scale = if total > 0.0 { (room - fixed).max(0.0) / total } else { 0.0 };
        let mut changed = false;
        for (size, is_small) in sizes.iter().zip(&mut small) {
            if !*is_small && *size > 0.0 && size * scale < LEAST {
                *is_small = true;
                changed = true;
            }
        }
        if !changed {
            return sizes.iter().zip(small).map(|(size, s)| if s { LEAST } else { size * scale }).collect();
        }
    }
}

fn draw_fold(svg: &mut Svg, gap: u64, lang: Lang, (y, h): (f64, f64), label_y: f64) {
    let middle = y + h / 2.0;
    // A zigzag: the bar is broken here.
    let teeth: Vec<(f64, f64)> = (0..=12)
        .map(|i| (BAR_X + BAR_W * f64::from(i) / 12.0, middle + if i % 2 == 0 { -2.0 } else { 2.0 }))
        .collect();
    svg.polyline(&teeth, EDGE, 1.0);
    let text = crate::texts::GAP.fill(lang, &[("size", &size(Bytes(gap)))]);
    svg.text(LIST_X + 6.0, label_y + 4.0, Font::new(11.5).fill(FAINT), &format!("⋯ {text}"));
}

fn draw_part(svg: &mut Svg, part: &Part<'_>, lang: Lang, (y, h): (f64, f64), label_y: f64) {
    let (light, dark) = colors(part.kind());
    let bar = Rect { x: BAR_X, y, w: BAR_W, h };
    let edge = if h > 4.0 { EDGE } else { "none" };
    svg.rect(bar, light, edge);
    let mapped = part.mapped().max(1);
    let resident = part.resident();
    let share = resident.map_or(0.0, |r| (r as f64 / mapped as f64).clamp(0.0, 1.0));
    svg.rect(Rect { w: BAR_W * share, ..bar }, dark, "none");
    let end = BAR_X + BAR_W;
    svg.polyline(
        &[
            (end + 2.0, y + h / 2.0),
            (end + 18.0, y + h / 2.0),
            (LIST_X - 16.0, label_y),
            (LIST_X - 2.0, label_y),
        ],
        "#cbd2d9",
        0.8,
    );
    let base = label_y + 4.0;
    let small = Font::new(11.5);
    svg.rect(Rect { x: LIST_X + 2.0, y: label_y - 5.0, w: 9.0, h: 10.0 }, light, dark);
    let start =
        AddrRange::from_len(vmatlas_event::Addr(part.start()), Bytes(0)).map(|r| r.start().to_string());
    svg.text(LIST_X + 18.0, base, small.mono().fill(FAINT), &start.unwrap_or_default());
    svg.text(LIST_X + 212.0, base, small.anchor(Anchor::End), &size(Bytes(mapped)));
    let track = Rect { x: LIST_X + 226.0, y: label_y - 4.0, w: 60.0, h: 8.0 };
    svg.rect(track, light, "none");
    svg.rect(Rect { w: track.w * share, ..track }, dark, "none");
    let text = resident.map_or_else(|| "-".to_owned(), |r| size(Bytes(r)));
    svg.text(LIST_X + 356.0, base, small.fill(FAINT).anchor(Anchor::End), &text);
    let room = columns_in(WIDTH - LIST_X - 372.0 - 24.0, small);
    svg.text(LIST_X + 372.0, base, small.fill(INK), &shorten(&part.label(lang), room));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that heights keep their proportion, that nothing vanishes, and that the sum stays.
    #[test]
    fn heights_are_to_scale() {
        let heights = scaled(&[1000.0, 500.0, 0.001, 0.0], 301.0);
        assert_eq!(heights, [200.0, 100.0, 1.0, 0.0]);
        assert_eq!(scaled(&[], 10.0), Vec::<f64>::new());
        let crowded = scaled(&[1.0; 500], 100.0);
        assert!(crowded.iter().all(|h| *h >= 0.2));
    }
}
