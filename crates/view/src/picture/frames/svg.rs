//! The figure as SVG: pages on the left in the order of addresses, frames on the right in the order of their numbers.

use super::{Figure, Piece, piece_pages, piece_sharing};
use crate::lang::Lang;
use crate::pages::{frame_text, texts};
use crate::picture::svg::{Anchor, EDGE, FAINT, Font, INK, Rect, Svg, columns_in};
use crate::picture::texts as common;
use crate::table::shorten;
use crate::units::{count, size};
use vmatlas_event::Bytes;

const MARGIN: f64 = 36.0;
const LEFT_W: f64 = 380.0;
const RIGHT_X: f64 = 590.0;
const RIGHT_W: f64 = 340.0;
const WIDTH: f64 = RIGHT_X + RIGHT_W + MARGIN;
const TOP: f64 = 116.0;
const LINE: f64 = 22.0;
const HEAD: f64 = 62.0;
const FOLD: f64 = 26.0;

const AREA_FILL: &str = "#eef1f4";
const ALONE: (&str, &str) = ("#b7e4c7", "#2d6a4f");
const SHARED: (&str, &str) = ("#fde68a", "#b45309");
const FOLD_FILL: &str = "#f8f9fb";

fn colors(piece: &Piece) -> (&'static str, &'static str) {
    if piece.shared == Some(false) { ALONE } else { SHARED }
}

/// A piece that was drawn on the left.
struct Drawn<'a> {
    piece: &'a Piece,
    y: f64,
}

/// The figure as one document.
pub fn svg(figure: &Figure, lang: Lang) -> String {
    let pieces: usize = figure.areas.iter().map(|area| area.pieces.len()).sum();
    let gaps = (1..figure.areas.len()).filter(|i| figure.gap_before(*i).is_some()).count();
    let more = figure.areas.iter().filter(|area| area.more() > 0).count();
    let left = figure.areas.len() as f64 * (HEAD + 6.0) + (pieces + more) as f64 * LINE + gaps as f64 * FOLD;
    // At most one fold before each frame, and one at the end.
    let right = if figure.hidden { 120.0 } else { pieces as f64 * (LINE + FOLD) + FOLD };
    let bar = left.max(right).max(120.0);
    let mut svg = Svg::new(WIDTH, TOP + bar + 76.0);
    let title = figure.title(lang);
    svg.text(
        MARGIN,
        44.0,
        Font::new(20.0).bold(),
        &shorten(&title, columns_in(WIDTH - 2.0 * MARGIN, Font::new(20.0))),
    );
    let head = Font::new(14.0).fill(FAINT).anchor(Anchor::Middle);
    svg.text(MARGIN + LEFT_W / 2.0, TOP - 14.0, head, common::VIRTUAL_SPACE.get(lang));
    svg.text(RIGHT_X + RIGHT_W / 2.0, TOP - 14.0, head, common::PHYSICAL.get(lang));
    svg.rect(Rect { x: RIGHT_X, y: TOP, w: RIGHT_W, h: bar }, FOLD_FILL, EDGE);
    let drawn = draw_areas(&mut svg, figure, lang);
    match figure.hidden {
        true => draw_hidden(&mut svg, figure, &drawn, lang, bar),
        false => draw_frames(&mut svg, figure, drawn, lang),
    }
    legend(&mut svg, figure, lang, TOP + bar + 28.0);
    svg.finish(&title)
}

fn draw_areas<'a>(svg: &mut Svg, figure: &'a Figure, lang: Lang) -> Vec<Drawn<'a>> {
    let mut out = Vec::new();
    let mut y = TOP;
    let small = Font::new(12.0).fill(FAINT);
    for (index, area) in figure.areas.iter().enumerate() {
        if let Some(gap) = figure.gap_before(index) {
            let text = match figure.more.0 {
                0 => format!("{} {}", common::UNALLOCATED.get(lang), size(gap.len())),
                // Other VMAs may lie there.
                _ => "⋮".to_owned(),
            };
            svg.dashed((MARGIN, y), (MARGIN, y + FOLD), EDGE);
            svg.dashed((MARGIN + LEFT_W, y), (MARGIN + LEFT_W, y + FOLD), EDGE);
            svg.text(MARGIN + LEFT_W / 2.0, y + 17.0, small.anchor(Anchor::Middle), &text);
            y += FOLD;
        }
        let lines = area.pieces.len() + usize::from(area.more() > 0);
        let h = HEAD + lines as f64 * LINE + 6.0;
        svg.rect(Rect { x: MARGIN, y, w: LEFT_W, h }, AREA_FILL, EDGE);
        let font = Font::new(13.5).bold();
        svg.text(MARGIN + 10.0, y + 19.0, font, &shorten(&area.label(lang), columns_in(LEFT_W - 30.0, font)));
        svg.text(MARGIN + 10.0, y + 36.0, small.mono(), &area.row.vma.range.to_string());
        svg.text(MARGIN + 10.0, y + 53.0, small, &area.amount(lang));
        let mut at = y + HEAD;
        for piece in &area.pieces {
            let (fill, ink) = colors(piece);
            svg.rect(Rect { x: MARGIN, y: at, w: LEFT_W, h: LINE - 3.0 }, fill, ink);
            svg.text(MARGIN + 10.0, at + 14.0, Font::new(12.0).mono().fill(INK), &piece.start.to_string());
            let mut text = piece_pages(piece, lang);
            if piece.huge {
                text = texts::HUGE.fill(lang, &[("what", &text)]);
            }
            svg.text(MARGIN + LEFT_W - 10.0, at + 14.0, Font::new(12.0).anchor(Anchor::End), &text);
            out.push(Drawn { piece, y: at + (LINE - 3.0) / 2.0 });
            at += LINE;
        }
        if area.more() > 0 {
            svg.text(MARGIN + 10.0, at + 14.0, small, &texts::MORE.fill(lang, &[("n", &count(area.more()))]));
        }
        y += h;
    }
    out
}

fn draw_frames(svg: &mut Svg, figure: &Figure, mut drawn: Vec<Drawn<'_>>, lang: Lang) {
    drawn.sort_by_key(|drawn| drawn.piece.pfn);
    let mut y = TOP;
    let mut next = 0;
    let mut last: Option<(u64, u64, f64)> = None;
    for Drawn { piece, y: from } in &drawn {
        let Some(pfn) = piece.pfn else { continue };
        let (fill, ink) = colors(piece);
        // The same frames twice in one process: one box, two arrows.
        let y_here = match last {
            Some((p, n, at)) if (p, n) == (pfn, piece.pages) => at,
            _ => {
                if pfn > next {
                    let other = Bytes((pfn - next).saturating_mul(figure.page));
                    let text = texts::OTHER_FRAMES.fill(lang, &[("size", &size(other))]);
                    let font = Font::new(11.5).fill(FAINT).anchor(Anchor::Middle);
                    svg.text(RIGHT_X + RIGHT_W / 2.0, y + 17.0, font, &text);
                    y += FOLD;
                }
                let at = y;
                svg.rect(Rect { x: RIGHT_X, y: at, w: RIGHT_W, h: LINE - 3.0 }, fill, ink);
                let frames = frame_text(pfn, piece.pages);
                svg.text(RIGHT_X + 12.0, at + 14.0, Font::new(12.0).mono(), &frames);
                if let Some(sharing) = piece_sharing(piece, lang) {
                    let font = Font::new(12.0).fill(ink).anchor(Anchor::End);
                    svg.text(RIGHT_X + RIGHT_W - 10.0, at + 14.0, font, &sharing);
                }
                y += LINE;
                at
            }
        };
        last = Some((pfn, piece.pages, y_here));
        next = next.max(pfn.saturating_add(piece.pages));
        svg.arrow((MARGIN + LEFT_W, *from), (RIGHT_X, y_here + (LINE - 3.0) / 2.0), ink);
    }
}

fn draw_hidden(svg: &mut Svg, figure: &Figure, drawn: &[Drawn<'_>], lang: Lang, bar: f64) {
    let box_h = 74.0;
    let y = TOP + (bar - box_h) / 2.0;
    svg.rect(Rect { x: RIGHT_X + 20.0, y, w: RIGHT_W - 40.0, h: box_h }, AREA_FILL, EDGE);
    let middle = RIGHT_X + RIGHT_W / 2.0;
    let text = texts::HIDDEN_FRAMES.fill(lang, &[("n", &count(figure.present))]);
    svg.text(middle, y + 32.0, Font::new(13.5).anchor(Anchor::Middle), &text);
    let why = Font::new(12.5).fill(FAINT).anchor(Anchor::Middle);
    svg.text(middle, y + 54.0, why, texts::HIDDEN_WHY.get(lang));
    for drawn in drawn {
        svg.arrow((MARGIN + LEFT_W, drawn.y), (RIGHT_X + 20.0, y + box_h / 2.0), colors(drawn.piece).1);
    }
}

fn legend(svg: &mut Svg, figure: &Figure, lang: Lang, y: f64) {
    let font = Font::new(12.5).fill(INK);
    let mut x = MARGIN;
    for ((fill, ink), text) in [(ALONE, texts::LEGEND_ALONE), (SHARED, texts::LEGEND_SHARED)] {
        svg.rect(Rect { x, y: y - 11.0, w: 18.0, h: 12.0 }, fill, ink);
        svg.text(x + 26.0, y, font, text.get(lang));
        x += 210.0;
    }
    svg.text(x, y, font.fill(FAINT), texts::LEGEND_FOLDED.get(lang));
    if figure.more.0 > 0 {
        let values: [(&str, &dyn std::fmt::Display); 2] =
            [("n", &count(figure.more.0)), ("pages", &count(figure.more.1))];
        svg.text(MARGIN, y + 24.0, font.fill(FAINT), &texts::MORE_VMAS.fill(lang, &values));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::frames::tests::figure;

    /// Checks that names stay text, that frames stand in the order of their numbers, and that hidden ones are called so.
    #[test]
    fn the_document_is_sound() {
        for lang in [Lang::En, Lang::Ja] {
            for vmas in [0, 1, 3, 500] {
                let text = svg(&figure(vmas, false), lang);
                assert!(text.contains("a&lt;b\\x1b") && !text.contains("NaN") && !text.contains("a<b"));
            }
        }
        let text = svg(&figure(2, false), Lang::En);
        let (low, high) = (text.find("0x14f9c").unwrap(), text.rfind("0x15000").unwrap());
        assert!(low < high, "{text}");
        let text = svg(&figure(2, true), Lang::En);
        assert!(text.contains("40 pages somewhere in physical memory") && !text.contains("0x150"), "{text}");
    }
}
