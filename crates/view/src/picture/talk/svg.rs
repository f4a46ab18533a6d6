//! The figure as SVG: the panels side by side, arrows from touched pages to the frames they got.

use super::{Block, Panel, Talk, What, label, resident_text};
use crate::lang::Lang;
use crate::picture::svg::{Anchor, EDGE, FAINT, Font, INK, Rect, Svg, columns_in};
use crate::picture::texts;
use crate::picture::wrap::wrap;
use crate::units::{count, size};
use vmatlas_event::Bytes;

const MARGIN: f64 = 36.0;
const PANEL: f64 = 356.0;
const BETWEEN: f64 = 34.0;
const BAR: f64 = 178.0;
const PHYSICAL_AT: f64 = 258.0;
const PHYSICAL: f64 = PANEL - PHYSICAL_AT;
const TOP: f64 = 128.0;
const MOST_FRAMES: usize = 8;
const STRIPE: f64 = 17.0;

const NEW_FILL: &str = "#d8f3dc";
const NEW_EDGE: &str = "#2d6a4f";
const PAGE_FILL: &str = "#74c69d";
const OLD_FILL: &str = "#e4e7eb";
const OLD_FRAME: &str = "#cbd2d9";
const GAP_FILL: &str = "#f8f9fb";

/// The figure as one document.
pub fn svg(talk: &Talk, lang: Lang) -> String {
    let n = talk.panels.len().max(1) as f64;
    let width = 2.0 * MARGIN + n * PANEL + (n - 1.0) * BETWEEN;
    let bar = talk.panels.iter().map(natural_height).fold(300.0, f64::max);
    let note_font = Font::new(13.0).fill(INK);
    let notes: Vec<Vec<String>> =
        talk.panels.iter().map(|p| wrap(p.note(lang), columns_in(PANEL, note_font))).collect();
    let note_lines = notes.iter().map(Vec::len).max().unwrap_or(0) as f64;
    let height = TOP + bar + 34.0 + note_lines * 19.0 + MARGIN * 0.6;
    let mut svg = Svg::new(width, height);
    let title = texts::TALK_TITLE.get(lang);
    svg.text(MARGIN, 46.0, Font::new(22.0).bold(), title);
    for (i, (panel, note)) in talk.panels.iter().zip(&notes).enumerate() {
        let x = MARGIN + i as f64 * (PANEL + BETWEEN);
        draw_panel(&mut svg, panel, lang, x, bar);
        for (line, text) in note.iter().enumerate() {
            svg.text(x, TOP + bar + 34.0 + line as f64 * 19.0, note_font, text);
        }
    }
    svg.finish(title)
}

fn block_height(block: &Block) -> f64 {
    match &block.what {
        What::Gap => 34.0,
        What::Mapped { .. } => 52.0,
        What::New(area) if area.is_hidden() || area.resident_pages == 0 => 110.0,
        What::New(area) => 84.0 + area.frames.len().min(MOST_FRAMES) as f64 * STRIPE,
    }
}

fn natural_height(panel: &Panel) -> f64 {
    panel.blocks.iter().map(block_height).sum()
}

/// Something in physical memory, and where the arrow to it starts.
struct Frame {
    text: String,
    from_y: f64,
    new: bool,
    /// Frames are drawn in the order of their numbers.
    number: u64,
}

fn draw_panel(svg: &mut Svg, panel: &Panel, lang: Lang, x: f64, bar: f64) {
    svg.text(x, 84.0, Font::new(17.0).bold().fill(NEW_EDGE), &panel.title(lang));
    let head = Font::new(12.5).fill(FAINT).anchor(Anchor::Middle);
    svg.text(x + BAR / 2.0, TOP - 12.0, head, texts::VIRTUAL_SPACE.get(lang));
    svg.text(x + PHYSICAL_AT + PHYSICAL / 2.0, TOP - 12.0, head, texts::PHYSICAL.get(lang));
    let physical = Rect { x: x + PHYSICAL_AT, y: TOP, w: PHYSICAL, h: bar };
    svg.rect(physical, GAP_FILL, EDGE);
    let gaps = panel.blocks.iter().filter(|b| b.what == What::Gap).count().max(1) as f64;
    // What the other panels need more goes into the gaps of this one.
    let stretch = (bar - natural_height(panel)).max(0.0) / gaps;
    let mut y = TOP;
    let mut frames = Vec::new();
    for block in &panel.blocks {
        let h = block_height(block) + if block.what == What::Gap { stretch } else { 0.0 };
        draw_block(svg, block, lang, Rect { x, y, w: BAR, h }, &mut frames);
        y += h;
    }
    draw_frames(svg, frames, physical, x + BAR);
}

fn draw_block(svg: &mut Svg, block: &Block, lang: Lang, r: Rect, frames: &mut Vec<Frame>) {
    let middle = r.x + r.w / 2.0;
    let strong = Font::new(13.5).anchor(Anchor::Middle);
    let small = Font::new(12.0).fill(FAINT).anchor(Anchor::Middle);
    match &block.what {
        What::Gap => {
            svg.rect(r, GAP_FILL, "none");
            svg.dashed((r.x, r.y), (r.x, r.y + r.h), EDGE);
            svg.dashed((r.x + r.w, r.y), (r.x + r.w, r.y + r.h), EDGE);
            let text = format!("{} {}", texts::UNALLOCATED.get(lang), size(block.range.len()));
            svg.text(middle, r.y + r.h / 2.0 + 4.0, small, &text);
        }
        What::Mapped { holds, mapped, resident } => {
            svg.rect(r, OLD_FILL, EDGE);
            svg.text(middle, r.y + 22.0, strong, &label(holds, lang));
            svg.text(middle, r.y + 40.0, small, &size(*mapped));
            if resident.0 > 0 {
                let from_y = r.y + r.h / 2.0;
                frames.push(Frame { text: size(*resident), from_y, new: false, number: 0 });
            }
        }
        What::New(area) => {
            svg.rect(r, NEW_FILL, NEW_EDGE);
            svg.text(middle, r.y + 22.0, strong.bold().fill(NEW_EDGE), texts::NEW.get(lang));
            svg.text(middle, r.y + 40.0, small.fill(NEW_EDGE), &size(block.range.len()));
            let mono = small.mono().fill(NEW_EDGE);
            svg.text(middle, r.y + 57.0, mono, &block.range.start().to_string());
            let hidden = area.is_hidden();
            if area.resident_pages == 0 {
                svg.text(middle, r.y + 90.0, small, &resident_text(Bytes(0), lang));
            } else if hidden {
                let text = texts::PAGES_RESIDENT.fill(lang, &[("n", &count(area.resident_pages))]);
                svg.rect(Rect { x: r.x, y: r.y + 70.0, w: r.w, h: 26.0 }, PAGE_FILL, NEW_EDGE);
                svg.text(middle, r.y + 88.0, Font::new(12.5).anchor(Anchor::Middle), &text);
                let text = texts::WHERE_HIDDEN.get(lang).to_owned();
                frames.push(Frame { text, from_y: r.y + 83.0, new: true, number: 0 });
            }
            let drawn = if hidden { 0 } else { area.frames.len().min(MOST_FRAMES) };
            for (i, (page, pfn)) in area.frames[..drawn].iter().enumerate() {
                let y = r.y + 66.0 + i as f64 * STRIPE;
                svg.rect(Rect { x: r.x, y, w: r.w, h: STRIPE }, PAGE_FILL, NEW_EDGE);
                let text = texts::PAGE.fill(lang, &[("n", &count(*page))]);
                svg.text(middle, y + 12.5, Font::new(11.0).anchor(Anchor::Middle), &text);
                let text = pfn.map_or_else(|| texts::HIDDEN.get(lang).to_owned(), |n| format!("{n:#x}"));
                frames.push(Frame { text, from_y: y + STRIPE / 2.0, new: true, number: pfn.unwrap_or(0) });
            }
            if let Some(rest) = area.rest(drawn, lang) {
                svg.text(middle, r.y + r.h - 6.0, Font::new(11.5).fill(FAINT).anchor(Anchor::Middle), &rest);
            }
        }
    }
}

fn draw_frames(svg: &mut Svg, frames: Vec<Frame>, physical: Rect, bar_edge: f64) {
    let (mut new, old): (Vec<Frame>, Vec<Frame>) = frames.into_iter().partition(|f| f.new);
    new.sort_by_key(|f| f.number);
    // Where the frames of other parts lie is not looked up; they keep the order of the parts, the new ones amid them.
    let new_y = new.first().map_or(f64::MAX, |f| f.from_y);
    let (mut above, below): (Vec<Frame>, Vec<Frame>) = old.into_iter().partition(|f| f.from_y < new_y);
    above.extend(new);
    above.extend(below);
    let step = physical.h / above.len().max(1) as f64;
    for (i, frame) in above.iter().enumerate() {
        let h = (step - 6.0).clamp(8.0, 22.0);
        let y = physical.y + step * (i as f64 + 0.5) - h / 2.0;
        let (fill, edge) = if frame.new { (PAGE_FILL, NEW_EDGE) } else { (OLD_FRAME, EDGE) };
        svg.rect(Rect { x: physical.x + 5.0, y, w: physical.w - 10.0, h }, fill, edge);
        let font = Font::new(11.5).anchor(Anchor::Middle);
        let font = if frame.text.starts_with("0x") { font.mono() } else { font };
        svg.text(physical.x + physical.w / 2.0, y + h / 2.0 + 4.0, font, &frame.text);
        let color = if frame.new { NEW_EDGE } else { EDGE };
        svg.arrow((bar_edge + 2.0, frame.from_y), (physical.x + 3.0, y + h / 2.0), color);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::talk::{Moment, tests::sample};

    /// Checks that each touched page has one arrow to its frame and that untouched ones have none.
    #[test]
    fn each_touched_page_has_an_arrow() {
        let frames: Vec<_> = (0..3).map(|i| (i, Some(0x500 - i))).collect();
        let arrows = |blocks| {
            let talk = Talk { panels: vec![Panel { moment: Moment::Touched(3), blocks }] };
            svg(&talk, Lang::Ja).matches("<polygon").count()
        };
        let others = arrows(sample(&[]));
        assert_eq!(arrows(sample(&frames)), others + 3);
        assert_eq!(arrows(sample(&[(0, None), (1, None)])), others + 1);
    }
}
