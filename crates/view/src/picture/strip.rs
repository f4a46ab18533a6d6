//! A few pages of an area, moment by moment: which VMA each is in, what it allows, and which frame is behind it.

use super::svg::{Anchor, EDGE, FAINT, Font, INK, Rect, Svg, text_width};
use super::wrap::wrap;
use crate::lang::Lang;
use crate::style::{Paint, Style};
use crate::table::{shorten, width};

crate::texts! {
    /// What boxes are.
    LEGEND: "one box = one VMA (one line of the map), one column = one page, below it its frame (its piece of physical memory); * = the page in question",
        "枠は 1 つの領域 (メモリマップの 1 行)、列は 1 ページ、下の段はそのページフレーム (物理メモリの一片)。* は注目するページ";
    /// What colours are.
    COLORS: "green: a frame of its own (darker: of a huge page); yellow: shared with another process; blue: the zero page; violet: a page of a file; orange: in swap",
        "緑: 専用のページフレーム (濃い緑: ヒュージページの一部)、黄: ほかのプロセスと共有、青: ゼロページ、紫: ファイルのページ、橙: スワップにある";
    /// A page without a frame.
    EMPTY: "no frame", "未割当";
    /// The zero page.
    ZERO: "zero page", "ゼロページ";
    /// A frame with a number that is hidden.
    FRAME: "own frame", "専用";
    /// A frame that is a part of a huge page, with a number that is hidden.
    HUGE: "huge page", "ヒュージ";
    /// A page that is in swap.
    SWAPPED: "in swap", "スワップ";
    /// A frame that several processes map.
    SHARED: "shared", "共有";
    /// A page of a file, in the page cache.
    FILE: "file", "ファイル";
    /// Nothing is mapped.
    HOLE: "hole", "穴";
    /// Title for those who cannot see it.
    TITLE: "Pages of an area, moment by moment", "領域のページの移り変わり";
}

/// The picture.
#[derive(Clone, Debug, Default)]
pub struct Strip {
    /// In the order of time.
    pub panels: Vec<Panel>,
}

/// One moment.
#[derive(Clone, Debug)]
pub struct Panel {
    /// What happened.
    pub title: String,
    /// Each process with its pages; the same number for all.
    pub lines: Vec<(String, Vec<Square>)>,
}

/// One page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Square {
    /// What it allows, as /proc/PID/maps has it.
    pub prot: String,
    /// Which VMA it is in: neighbours with the same number are in one.
    pub vma: u64,
    /// What is behind it.
    pub shown: Shown,
    /// Whether this is what changed.
    pub changed: bool,
}

/// What is behind a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// It is not mapped.
    Hole,
    /// Nothing.
    Empty,
    /// The zero page.
    Zero,
    /// A frame of its own, with its number where that may be known.
    Frame(Option<u64>),
    /// A frame that is a part of a huge page, mapped as one.
    Huge(Option<u64>),
    /// None: what was in it is in swap.
    Swapped,
    /// A frame that another process maps too.
    Shared(Option<u64>),
    /// A frame of the page cache: a page of a file, or of shared memory.
    File(Option<u64>),
}

impl Shown {
    fn text(&self, lang: Lang) -> String {
        match self {
            Shown::Hole => HOLE.get(lang).to_owned(),
            Shown::Empty => EMPTY.get(lang).to_owned(),
            Shown::Zero => ZERO.get(lang).to_owned(),
            Shown::Frame(None) => FRAME.get(lang).to_owned(),
            Shown::Huge(None) => HUGE.get(lang).to_owned(),
            Shown::Swapped => SWAPPED.get(lang).to_owned(),
            Shown::Shared(None) => SHARED.get(lang).to_owned(),
            Shown::File(None) => FILE.get(lang).to_owned(),
            Shown::Huge(Some(pfn)) => format!("{pfn:#x} H"),
            Shown::Frame(Some(pfn)) | Shown::Shared(Some(pfn)) | Shown::File(Some(pfn)) => {
                format!("{pfn:#x}")
            }
        }
    }

    fn paint(&self) -> Paint {
        match self {
            Shown::Hole | Shown::Empty => Paint::Faint,
            Shown::Zero => Paint::Code,
            Shown::File(_) => Paint::File,
            Shown::Frame(_) | Shown::Huge(_) => Paint::Added,
            Shown::Swapped => Paint::Changed,
            Shown::Shared(_) => Paint::Shared,
        }
    }

    /// Fill and line in SVG.
    fn colors(&self) -> (&'static str, &'static str) {
        match self {
            Shown::Hole => ("none", EDGE),
            Shown::Empty => ("#f8f9fb", EDGE),
            Shown::Zero => ("#dbeafe", "#1d4ed8"),
            Shown::Frame(_) => ("#b7e4c7", "#2d6a4f"),
            Shown::Huge(_) => ("#74c69d", "#1b4332"),
            Shown::Swapped => ("#fed7aa", "#9a3412"),
            Shown::Shared(_) => ("#fde68a", "#b45309"),
            Shown::File(_) => ("#e9d5ff", "#6b21a8"),
        }
    }
}

/// Runs of pages that are in one VMA.
fn boxes(squares: &[Square]) -> impl Iterator<Item = &[Square]> {
    squares.chunk_by(|a, b| a.vma == b.vma && (a.shown == Shown::Hole) == (b.shown == Shown::Hole))
}

/// Columns of the text of one page.
const CELL: usize = 11;

fn pad(text: &str, columns: usize) -> String {
    let text = shorten(text, columns);
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(&text))))
}

/// The picture as lines. Pages that do not fit are left out.
pub fn terminal(strip: &Strip, lang: Lang, style: Style, columns: usize) -> Vec<String> {
    let labels = strip.panels.iter().flat_map(|panel| &panel.lines).map(|(label, _)| width(label));
    let label = labels.max().unwrap_or(0) + 1;
    let most = (columns.saturating_sub(label) / (CELL + 2)).max(1);
    let legend = wrap(LEGEND.get(lang), columns);
    let mut out: Vec<String> = legend.iter().map(|line| style.paint(Paint::Faint, line)).collect();
    for panel in &strip.panels {
        out.push(String::new());
        out.push(style.paint(Paint::Heading, &panel.title));
        for (name, squares) in &panel.lines {
            let squares = squares.get(..most.min(squares.len())).unwrap_or_default();
            let [mut top, mut prot, mut frame, mut bottom] =
                [pad("", label), pad(name, label), pad("", label), pad("", label)];
            for run in boxes(squares) {
                let hole = run.first().is_some_and(|square| square.shown == Shown::Hole);
                let inner = run.len() * CELL;
                let (line, side) = if hole { (" ", " ") } else { ("─", "│") };
                let corners = if hole { [" "; 4] } else { ["┌", "┐", "└", "┘"] };
                top.push_str(&format!("{}{}{}", corners[0], line.repeat(inner), corners[1]));
                bottom.push_str(&format!("{}{}{}", corners[2], line.repeat(inner), corners[3]));
                prot.push_str(side);
                frame.push_str(side);
                for square in run {
                    let mark = if square.changed { "*" } else { " " };
                    let allows = pad(&format!("{mark}{}", square.prot), CELL);
                    let paint = if square.changed { Paint::Changed } else { Paint::Plain };
                    prot.push_str(&style.paint(paint, &allows));
                    let what = pad(&format!(" {}", square.shown.text(lang)), CELL);
                    frame.push_str(&style.paint(square.shown.paint(), &what));
                }
                prot.push_str(side);
                frame.push_str(side);
            }
            out.extend([top, prot, frame, bottom].map(|line| line.trim_end().to_owned()));
        }
    }
    out
}

const MARGIN: f64 = 32.0;
const LABEL_W: f64 = 110.0;
const CELL_W: f64 = 92.0;
const CELL_H: f64 = 46.0;
const GAP: f64 = 6.0;

/// The picture as one document.
pub fn svg(strip: &Strip, lang: Lang) -> String {
    let lines = strip.panels.iter().map(|panel| panel.lines.len()).sum::<usize>() as f64;
    let most = strip.panels.iter().flat_map(|panel| &panel.lines).map(|(_, squares)| squares.len()).max();
    let most = most.unwrap_or(0) as f64;
    let legends = [LEGEND, COLORS].map(|text| text_width(text.get(lang), Font::new(13.0)));
    let least = legends.into_iter().fold(0.0, f64::max) + 2.0 * MARGIN;
    let width = (2.0 * MARGIN + LABEL_W + most * (CELL_W + GAP)).max(least);
    let height = 84.0 + strip.panels.len() as f64 * 44.0 + lines * (CELL_H + 12.0);
    let mut svg = Svg::new(width, height);
    svg.text(MARGIN, 34.0, Font::new(13.0).fill(FAINT), LEGEND.get(lang));
    svg.text(MARGIN, 54.0, Font::new(13.0).fill(FAINT), COLORS.get(lang));
    let mut y = 84.0;
    for panel in &strip.panels {
        svg.text(MARGIN, y + 10.0, Font::new(15.0).bold(), &panel.title);
        y += 24.0;
        for (name, squares) in &panel.lines {
            svg.text(MARGIN, y + CELL_H / 2.0 + 4.0, Font::new(13.0), name);
            line(&mut svg, squares, y, lang);
            y += CELL_H + 12.0;
        }
        y += 20.0;
    }
    svg.finish(TITLE.get(lang))
}

fn line(svg: &mut Svg, squares: &[Square], y: f64, lang: Lang) {
    let mut index = 0.0;
    for run in boxes(squares) {
        let x = MARGIN + LABEL_W + index * (CELL_W + GAP);
        let hole = run.first().is_some_and(|square| square.shown == Shown::Hole);
        let whole = run.len() as f64 * (CELL_W + GAP) - GAP;
        for (at, square) in run.iter().enumerate() {
            let left = x + at as f64 * (CELL_W + GAP);
            let (fill, ink) = square.shown.colors();
            // Pages of one VMA touch each other.
            let w = if at + 1 < run.len() { CELL_W + GAP } else { CELL_W };
            let r = Rect { x: left, y, w, h: CELL_H };
            if hole {
                svg.dashed((left, y), (left + w, y), EDGE);
                svg.dashed((left, y + CELL_H), (left + w, y + CELL_H), EDGE);
            } else {
                svg.rect(r, fill, "none");
            }
            if at > 0 && !hole {
                svg.dashed((left, y), (left, y + CELL_H), EDGE);
            }
            let middle = left + w / 2.0;
            let mark = if square.changed { "* " } else { "" };
            let top = Font::new(13.0).mono().anchor(Anchor::Middle);
            svg.text(
                middle,
                y + 19.0,
                top.fill(if square.changed { "#b91c1c" } else { INK }),
                &format!("{mark}{}", square.prot),
            );
            let font = Font::new(12.0).anchor(Anchor::Middle).fill(if hole { FAINT } else { ink });
            svg.text(middle, y + 37.0, font, &square.shown.text(lang));
        }
        if !hole {
            svg.rect(Rect { x, y, w: whole, h: CELL_H }, "none", INK);
        }
        index += run.len() as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Strip {
        let square = |vma, prot: &str, shown, changed| Square { prot: prot.to_owned(), vma, shown, changed };
        let squares = vec![
            square(1, "rw-p", Shown::Frame(Some(0x1a2b3)), false),
            square(1, "rw-p", Shown::Zero, false),
            square(0, "", Shown::Hole, true),
            square(2, "r--p", Shown::Shared(None), true),
        ];
        let panel = Panel { title: "now <".to_owned(), lines: vec![("child".to_owned(), squares)] };
        Strip { panels: vec![panel] }
    }

    /// Checks that one VMA is one box, that a hole has none, and that no line is wider than the terminal.
    #[test]
    fn one_vma_is_one_box() {
        for lang in [Lang::En, Lang::Ja] {
            let lines = terminal(&sample(), lang, Style::default(), 80);
            assert_eq!(lines.iter().map(|line| line.matches('┌').count()).sum::<usize>(), 2, "{lines:#?}");
            assert!(lines.iter().all(|line| width(line) <= 80));
            let text = lines.join("\n");
            assert!(text.contains("0x1a2b3") && text.contains("*r--p"), "{text}");
        }
        let document = svg(&sample(), Lang::En);
        assert!(document.contains("now &lt;") && document.ends_with("</svg>\n"));
    }

    /// Checks that every text has both languages with the same values.
    #[test]
    fn both_languages_are_there() {
        assert_eq!(crate::lang::gaps(ALL), Vec::<String>::new());
    }
}
