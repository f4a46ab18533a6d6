//! The figure in characters: panels of a fixed width, as many beside each other as the terminal has room for.

use super::{Block, NewArea, Panel, Talk, What, label};
use crate::lang::Lang;
use crate::picture::texts;
use crate::picture::wrap::wrap;
use crate::style::{Paint, Style};
use crate::table::{shorten, width};
use crate::units::{count, size};

/// Columns inside the bar of virtual addresses.
const LEFT: usize = 21;
/// Columns of an arrow.
const ARROW: usize = 4;
/// Columns inside the bar of physical memory.
const RIGHT: usize = 9;
/// A whole panel.
const PANEL: usize = LEFT + 2 + ARROW + RIGHT + 2;
/// Between panels.
const GAP: usize = 3;
/// Pages that are drawn one by one.
const MOST_FRAMES: usize = 8;

/// A text with its meaning, padded to a panel's width when it is put beside another.
type Line = Vec<(Paint, String)>;

/// The figure as lines that are not longer than `columns`, if that leaves room for one panel.
pub fn terminal(talk: &Talk, lang: Lang, style: Style, columns: usize) -> Vec<String> {
    let beside = ((columns + GAP) / (PANEL + GAP)).clamp(1, talk.panels.len().max(1));
    let mut out = Vec::new();
    for row in talk.panels.chunks(beside) {
        let panels: Vec<Vec<Line>> = row.iter().map(|panel| lines(panel, lang)).collect();
        let height = panels.iter().map(Vec::len).max().unwrap_or(0);
        if !out.is_empty() {
            out.push(String::new());
        }
        for i in 0..height {
            let cells: Vec<&[(Paint, String)]> =
                panels.iter().map(|panel| panel.get(i).map_or(&[][..], Vec::as_slice)).collect();
            out.push(join(&cells, style));
        }
    }
    out
}

fn join(cells: &[&[(Paint, String)]], style: Style) -> String {
    let mut out = String::new();
    let mut owed = 0;
    for cell in cells {
        let used: usize = cell.iter().map(|(_, text)| width(text)).sum();
        for (paint, text) in cell.iter() {
            out.push_str(&" ".repeat(std::mem::take(&mut owed)));
            out.push_str(&style.paint(*paint, text));
        }
        owed += PANEL.saturating_sub(used) + GAP;
    }
    out
}

fn pad(text: &str, columns: usize) -> String {
    let text = shorten(text, columns);
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(&text))))
}

/// One line of the bar: what stands in it, whether its border is solid, and the frame its arrow leads to.
struct Bar {
    paint: Paint,
    left: Option<String>,
    solid: bool,
    frame: Option<String>,
}

impl Bar {
    fn text(paint: Paint, left: impl Into<String>) -> Bar {
        Bar { paint, left: Some(left.into()), solid: true, frame: None }
    }

    fn to(mut self, frame: impl Into<String>) -> Bar {
        self.frame = Some(frame.into());
        self
    }

    /// A border between two blocks.
    fn border() -> Bar {
        Bar { paint: Paint::Plain, left: None, solid: true, frame: None }
    }
}

fn lines(panel: &Panel, lang: Lang) -> Vec<Line> {
    let mut out: Vec<Line> = vec![vec![(Paint::Heading, panel.title(lang))]];
    let heads = (texts::VIRTUAL_SPACE.get(lang), texts::PHYSICAL_SHORT.get(lang));
    out.push(vec![(Paint::Faint, format!("{}{}", pad(heads.0, LEFT + 2 + ARROW), heads.1))]);
    let mut bars = Vec::new();
    for (i, block) in panel.blocks.iter().enumerate() {
        if i > 0 {
            bars.push(Bar::border());
        }
        bars.extend(block_bars(block, lang));
    }
    out.push(edges("┌", "┐"));
    out.extend(bars.into_iter().map(bar_line));
    out.push(edges("└", "┘"));
    out.extend(wrap(panel.note(lang), PANEL).into_iter().map(|line| vec![(Paint::Plain, line)]));
    out
}

fn edges(left: &str, right: &str) -> Line {
    let text =
        format!("{left}{}{right}{}{left}{}{right}", "─".repeat(LEFT), " ".repeat(ARROW), "─".repeat(RIGHT));
    vec![(Paint::Plain, text)]
}

fn bar_line(bar: Bar) -> Line {
    let (open, close) = match (&bar.left, bar.solid) {
        (None, _) => ("├", "┤"),
        (Some(_), true) => ("│", "│"),
        (Some(_), false) => ("┊", "┊"),
    };
    let inner = bar.left.map_or_else(|| "─".repeat(LEFT), |text| pad(&text, LEFT));
    let (arrow, frame_paint) = match &bar.frame {
        Some(_) => (" ─▶ ", bar.paint),
        None => ("    ", Paint::Plain),
    };
    vec![
        (Paint::Plain, open.to_owned()),
        (bar.paint, inner),
        (Paint::Plain, close.to_owned()),
        (frame_paint, arrow.to_owned()),
        (Paint::Plain, "│".to_owned()),
        (frame_paint, pad(&bar.frame.unwrap_or_default(), RIGHT)),
        (Paint::Plain, "│".to_owned()),
    ]
}

fn block_bars(block: &Block, lang: Lang) -> Vec<Bar> {
    match &block.what {
        What::Gap => {
            let text = format!(" {} {}", texts::UNALLOCATED.get(lang), size(block.range.len()));
            vec![Bar { solid: false, ..Bar::text(Paint::Faint, text) }]
        }
        What::Mapped { holds, mapped, resident } => {
            let second = Bar::text(Paint::Plain, format!(" {}", size(*mapped)));
            let second = if resident.0 > 0 { second.to(size(*resident)) } else { second };
            vec![Bar::text(Paint::Plain, format!(" {}", label(holds, lang))), second]
        }
        What::New(area) => new_bars(block, area, lang),
    }
}

fn new_bars(block: &Block, area: &NewArea, lang: Lang) -> Vec<Bar> {
    let text = |text: String| Bar::text(Paint::Added, format!(" {text}"));
    let mut bars = vec![
        text(texts::NEW.get(lang).to_owned()),
        text(size(block.range.len())),
        text(block.range.start().to_string()),
    ];
    let drawn = if area.is_hidden() { 0 } else { area.frames.len().min(MOST_FRAMES) };
    if area.resident_pages == 0 {
        bars.push(Bar::text(Paint::Faint, format!(" {}", texts::NOTHING_RESIDENT.get(lang))));
    } else if area.is_hidden() {
        let pages = texts::PAGES_RESIDENT.fill(lang, &[("n", &count(area.resident_pages))]);
        bars.push(text(pages).to(texts::HIDDEN.get(lang)));
    }
    for (page, pfn) in &area.frames[..drawn] {
        let frame = pfn.map_or_else(|| texts::HIDDEN.get(lang).to_owned(), |n| format!("{n:#x}"));
        bars.push(text(format!("▓ {}", texts::PAGE.fill(lang, &[("n", &count(*page))]))).to(frame));
    }
    if let Some(rest) = area.rest(drawn, lang) {
        bars.push(Bar::text(Paint::Faint, format!(" {rest}")));
    }
    bars
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::talk::{Moment, tests::sample};

    fn talk() -> Talk {
        let frames: Vec<_> = (0..12).map(|i| (i, Some(0x1_2345 + i * 7))).collect();
        let mut before = sample(&[]);
        before.retain(|b| !matches!(b.what, What::New(_)));
        Talk {
            panels: vec![
                Panel { moment: Moment::Before, blocks: before },
                Panel { moment: Moment::AfterCall, blocks: sample(&[]) },
                Panel { moment: Moment::Touched(12), blocks: sample(&frames) },
            ],
        }
    }

    /// Checks that both languages fit 80 and 120 columns, and that every line of a bar is as wide as the others.
    #[test]
    fn the_figure_fits_and_is_aligned() {
        for lang in [Lang::En, Lang::Ja] {
            for columns in [40, 80, 120, 200] {
                let lines = terminal(&talk(), lang, Style::default(), columns);
                assert!(lines.iter().all(|line| width(line) <= columns), "{columns}: {lines:#?}");
            }
            let alone = terminal(&talk(), lang, Style::default(), PANEL);
            let bars = alone.iter().filter(|l| l.starts_with(['│', '┊', '├', '┌', '└']));
            assert!(bars.clone().count() > 30);
            assert!(bars.clone().all(|line| width(line) == PANEL), "{alone:#?}");
        }
    }

    /// Checks that frames are shown by number, the rest is counted, and a place we may not know is called hidden.
    #[test]
    fn frames_are_shown_or_called_hidden() {
        let text = terminal(&talk(), Lang::En, Style::default(), PANEL).join("\n");
        assert!(
            text.contains("▓ page 7") && text.contains("0x12376") && !text.contains("▓ page 8"),
            "{text}"
        );
        assert!(text.contains("… 4 more pages"), "{text}");
        let hidden = sample(&[(0, None), (1, None)]);
        let talk = Talk { panels: vec![Panel { moment: Moment::Touched(2), blocks: hidden }] };
        let text = terminal(&talk, Lang::Ja, Style::default(), PANEL).join("\n");
        assert!(text.contains("2 ページ常駐") && text.contains("非公開"), "{text}");
    }
}
