//! The figure on a terminal: each piece of pages, and in the same line the frames it stands for.

use super::{Area, Figure, piece_pages, piece_sharing};
use crate::lang::Lang;
use crate::pages::texts;
use crate::picture::texts as common;
use crate::style::{Paint, Style};
use crate::table::{shorten, width};
use crate::units::{count, size};

/// Widths of the two columns on a terminal of this width.
fn widths(columns: usize) -> (usize, usize) {
    // Four borders, two blanks, and the arrow.
    let room = columns.clamp(60, 110) - 10;
    (room * 11 / 20, room - room * 11 / 20)
}

fn pad(text: &str, columns: usize) -> String {
    let text = shorten(text, columns);
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(&text))))
}

struct Drawing {
    style: Style,
    left: usize,
    right: usize,
    lines: Vec<String>,
}

impl Drawing {
    fn edges(&mut self, ends: [&str; 4]) {
        let [a, b, c, d] = ends;
        let (left, right) = ("─".repeat(self.left + 1), "─".repeat(self.right + 1));
        self.lines.push(format!("{a}{left}{b}    {c}{right}{d}"));
    }

    /// A line inside; `to` is what the arrow leads to.
    fn line(&mut self, paint: Paint, text: &str, solid: bool, to: Option<(Paint, &str)>) {
        let side = if solid { "│" } else { "┊" };
        let (arrow_paint, arrow, frame) = match to {
            Some((paint, text)) => (paint, " ─▶ ", text),
            None => (Paint::Plain, "    ", ""),
        };
        self.lines.push(format!(
            "{side} {}{side}{}│ {}│",
            self.style.paint(paint, &pad(text, self.left)),
            self.style.paint(arrow_paint, arrow),
            self.style.paint(arrow_paint, &pad(frame, self.right)),
        ));
    }

    fn border(&mut self) {
        let left = "─".repeat(self.left + 1);
        self.lines.push(format!("├{left}┤    │ {}│", " ".repeat(self.right)));
    }
}

/// The figure as lines that are not longer than `columns`, if that is enough for it at all.
pub fn terminal(figure: &Figure, lang: Lang, style: Style, columns: usize) -> Vec<String> {
    let (left, right) = widths(columns);
    let mut drawing = Drawing { style, left, right, lines: Vec::new() };
    drawing.lines.push(style.paint(Paint::Heading, &figure.title(lang)));
    let heads = (pad(common::VIRTUAL_SPACE.get(lang), left + 7), common::PHYSICAL.get(lang));
    drawing.lines.push(style.paint(Paint::Faint, &format!("{}{}", heads.0, heads.1)));
    drawing.edges(["┌", "┐", "┌", "┐"]);
    let mut told = !figure.hidden;
    for (index, area) in figure.areas.iter().enumerate() {
        if let Some(gap) = figure.gap_before(index) {
            drawing.border();
            let text = format!("{} {}", common::UNALLOCATED.get(lang), size(gap.len()));
            drawing.line(Paint::Faint, if figure.more.0 > 0 { "⋮" } else { &text }, false, None);
        }
        if index > 0 {
            drawing.border();
        }
        draw_area(&mut drawing, area, lang, &mut told, figure.present);
    }
    drawing.edges(["└", "┘", "└", "┘"]);
    if figure.more.0 > 0 {
        let values: [(&str, &dyn std::fmt::Display); 2] =
            [("n", &count(figure.more.0)), ("pages", &count(figure.more.1))];
        drawing.lines.push(texts::MORE_VMAS.fill(lang, &values));
    }
    if figure.hidden {
        drawing.lines.push(texts::HIDDEN_WHY.get(lang).to_owned());
    }
    drawing.lines.push(format!(
        "{} {}   {} {}",
        style.paint(Paint::Added, "▓"),
        texts::LEGEND_ALONE.get(lang),
        style.paint(Paint::Changed, "▒"),
        texts::LEGEND_SHARED.get(lang)
    ));
    drawing.lines
}

fn draw_area(drawing: &mut Drawing, area: &Area, lang: Lang, told: &mut bool, present: u64) {
    drawing.line(Paint::Heading, &area.label(lang), true, None);
    drawing.line(Paint::Plain, &area.row.vma.range.to_string(), true, None);
    drawing.line(Paint::Faint, &area.amount(lang), true, None);
    for piece in &area.pieces {
        let is_alone = piece.shared == Some(false);
        let (paint, mark) = if is_alone { (Paint::Added, "▓") } else { (Paint::Changed, "▒") };
        let sharing = piece_sharing(piece, lang).map(|text| format!(" · {text}")).unwrap_or_default();
        let page = piece.start.to_string();
        let mut text = format!("{mark} {page} {}", piece_pages(piece, lang));
        if piece.huge {
            text = texts::HUGE.fill(lang, &[("what", &text)]);
        }
        let frame = match piece.pfn {
            Some(pfn) => {
                let frames = crate::pages::frame_text(pfn, piece.pages);
                format!("{frames}{sharing}")
            }
            None if !*told => {
                *told = true;
                texts::HIDDEN_FRAMES.fill(lang, &[("n", &count(present))])
            }
            None => format!("{}{sharing}", texts::HIDDEN.get(lang)),
        };
        drawing.line(paint, &text, true, Some((paint, &frame)));
    }
    if area.more() > 0 {
        let more = texts::MORE.fill(lang, &[("n", &count(area.more()))]);
        drawing.line(Paint::Faint, &more, true, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::frames::tests::figure;

    /// Checks that both languages fit, that every line of the figure is as wide as the others, and that nothing acts.
    #[test]
    fn the_figure_fits_and_is_aligned() {
        for lang in [Lang::En, Lang::Ja] {
            for (vmas, hidden) in [(1, false), (3, false), (500, true), (0, false)] {
                for columns in [80, 120] {
                    let lines = terminal(&figure(vmas, hidden), lang, Style::default(), columns);
                    assert!(lines.iter().all(|line| width(line) <= columns), "{lines:#?}");
                    let inside = |l: &&String| l.starts_with(['│', '┊', '├', '┌', '└']);
                    let widths: Vec<usize> = lines.iter().filter(inside).map(|l| width(l)).collect();
                    assert!(widths.windows(2).all(|w| w[0] == w[1]), "{lines:#?}");
                    assert!(!lines.concat().contains('\x1b'));
                }
            }
        }
    }

    /// Checks that frames are told by number with how many map them, and are called hidden where they are.
    #[test]
    fn frames_are_told_or_called_hidden() {
        let text = terminal(&figure(1, false), Lang::En, Style::default(), 100).join("\n");
        assert!(text.contains("▒ 0x106000 1 page") && text.contains("0x15006 · 2 mappings"), "{text}");
        let text = terminal(&figure(1, true), Lang::Ja, Style::default(), 100).join("\n");
        assert!(text.contains("物理メモリのどこかに 20 ページ") && text.contains("非公開"), "{text}");
        assert!(!text.contains("0x15"), "{text}");
    }
}
