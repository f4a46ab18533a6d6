//! Addresses of one thing in several starts, on a line between the lowest and the highest: how far they are apart.

use super::svg::{EDGE, FAINT, Font, Rect, Svg, text_width};
use super::wrap::wrap;
use crate::lang::Lang;
use crate::style::{Paint, Style};
use crate::table::width;
use crate::units;
use vmatlas_event::{Addr, Bytes};

crate::texts! {
    /// What lines and marks are.
    LEGEND: "each line goes from the lowest place of one thing to its highest; one mark = one start",
        "線はそれぞれの最も低い場所から最も高い場所まで。印 1 つが 1 回の起動";
    /// How far the ends of a line are apart.
    APART: "{low} to {high}, {size} apart", "{low}〜{high}、{size} の範囲";
    /// All marks are at one place.
    ALWAYS: "always at {low}", "いつも {low}";
    /// Title for those who cannot see it.
    TITLE: "Places in several starts", "起動ごとの場所";
}

/// The picture.
#[derive(Clone, Debug, Default)]
pub struct Spread {
    /// From top to bottom.
    pub lanes: Vec<Lane>,
}

/// One thing.
#[derive(Clone, Debug)]
pub struct Lane {
    /// What it is.
    pub label: String,
    /// Where it was in each start, in any order.
    pub places: Vec<u64>,
}

impl Lane {
    fn ends(&self) -> (u64, u64) {
        let low = self.places.iter().copied().min().unwrap_or(0);
        (low, self.places.iter().copied().max().unwrap_or(low))
    }

    /// Where each mark is, from 0 to 1.
    fn marks(&self) -> impl Iterator<Item = f64> {
        let (low, high) = self.ends();
        let whole = (high - low).max(1) as f64;
        self.places.iter().map(move |place| (place - low) as f64 / whole)
    }

    fn text(&self, lang: Lang) -> String {
        let (low, high) = self.ends();
        let size = units::size(Bytes(high - low));
        let text = if low == high { ALWAYS } else { APART };
        text.fill(lang, &[("low", &Addr(low)), ("high", &Addr(high)), ("size", &size)])
    }
}

/// The picture as lines.
pub fn terminal(spread: &Spread, lang: Lang, style: Style, columns: usize) -> Vec<String> {
    const LEAST: usize = 8;
    const MOST: usize = 64;
    let label = spread.lanes.iter().map(|lane| width(&lane.label)).max().unwrap_or(0) + 2;
    let room = columns.saturating_sub(label).clamp(LEAST, MOST);
    let legend = wrap(LEGEND.get(lang), columns);
    let mut out: Vec<String> = legend.iter().map(|line| style.paint(Paint::Faint, line)).collect();
    for lane in &spread.lanes {
        let mut marked = vec![false; room];
        for mark in lane.marks() {
            let column = (mark * (room - 1) as f64).round() as usize;
            marked.iter_mut().skip(column).take(1).for_each(|here| *here = true);
        }
        let line: String = marked.iter().map(|here| if *here { '●' } else { '─' }).collect();
        let blank = " ".repeat(label.saturating_sub(width(&lane.label)));
        out.push(String::new());
        out.push(format!("{}{blank}{line}", style.paint(Paint::Heading, &lane.label)));
        let text = wrap(&lane.text(lang), room);
        out.extend(
            text.iter().map(|line| format!("{}{}", " ".repeat(label), style.paint(Paint::Faint, line))),
        );
    }
    out
}

const MARGIN: f64 = 32.0;
const LABEL_W: f64 = 120.0;
const LINE_W: f64 = 640.0;
const LANE_H: f64 = 64.0;
const MARK_W: f64 = 6.0;
const MARK_H: f64 = 20.0;

/// The picture as one document.
pub fn svg(spread: &Spread, lang: Lang) -> String {
    let legend = text_width(LEGEND.get(lang), Font::new(13.0)) + 2.0 * MARGIN;
    let width = (2.0 * MARGIN + LABEL_W + LINE_W).max(legend);
    let mut svg = Svg::new(width, 64.0 + spread.lanes.len() as f64 * LANE_H);
    svg.text(MARGIN, 34.0, Font::new(13.0).fill(FAINT), LEGEND.get(lang));
    for (index, lane) in spread.lanes.iter().enumerate() {
        let (x, y) = (MARGIN + LABEL_W, 64.0 + index as f64 * LANE_H);
        svg.text(MARGIN, y + 16.0, Font::new(15.0).bold(), &lane.label);
        svg.rect(Rect { x, y: y + MARK_H / 2.0 - 1.0, w: LINE_W, h: 2.0 }, EDGE, "none");
        for mark in lane.marks() {
            let left = x + mark * (LINE_W - MARK_W);
            svg.rect(Rect { x: left, y, w: MARK_W, h: MARK_H }, "#b7e4c7", "#2d6a4f");
        }
        let font = Font::new(12.0).fill(FAINT);
        svg.text(x, y + MARK_H + 18.0, font, &lane.text(lang));
    }
    svg.finish(TITLE.get(lang))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Spread {
        let lane = |label: &str, places: &[u64]| Lane { label: label.to_owned(), places: places.to_vec() };
        Spread { lanes: vec![lane("heap", &[0x3000, 0x1000, 0x2000]), lane("a <b>", &[0x5000, 0x5000])] }
    }

    /// Checks that the lowest and the highest place are at the ends, that equal places are one mark, and that no line is
    /// wider than the terminal.
    #[test]
    fn marks_are_between_the_ends() {
        for lang in [Lang::En, Lang::Ja] {
            let lines = terminal(&sample(), lang, Style::default(), 60);
            assert!(lines.iter().all(|line| width(line) <= 60), "{lines:#?}");
            let marks = |line: &&String| line.matches('●').count();
            assert_eq!(
                lines.iter().filter(|line| line.contains('●')).map(|line| marks(&line)).collect::<Vec<_>>(),
                [3, 1]
            );
            let heap = lines.iter().find(|line| line.starts_with("heap")).unwrap();
            assert!(heap.ends_with('●') && heap.trim_start_matches("heap").trim_start().starts_with('●'));
        }
        let text = terminal(&sample(), Lang::En, Style::default(), 80).join("\n");
        assert!(
            text.contains("0x1000 to 0x3000, 8 KiB apart") && text.contains("always at 0x5000"),
            "{text}"
        );
    }

    /// Checks that the document is whole and its text escaped, also without anything to show.
    #[test]
    fn the_document_is_whole() {
        let document = svg(&sample(), Lang::En);
        assert!(document.contains("a &lt;b&gt;") && document.ends_with("</svg>\n"));
        let nothing = Spread { lanes: vec![Lane { label: String::new(), places: Vec::new() }] };
        assert!(
            svg(&nothing, Lang::Ja).ends_with("</svg>\n")
                && !terminal(&nothing, Lang::Ja, Style::default(), 1).is_empty()
        );
    }

    /// Checks that every text has both languages with the same values.
    #[test]
    fn both_languages_are_there() {
        assert_eq!(crate::lang::gaps(ALL), Vec::<String>::new());
    }
}
