//! The demand paging chart: virtual size, resident size and faults over time.

use super::svg::{Anchor, EDGE, FAINT, Font, Rect, Svg};
use super::texts;
use crate::lang::Lang;
use crate::style::{Paint, Style};
use crate::table::width;
use crate::units::{count, size};
use std::time::Duration;
use vmatlas_event::Bytes;

/// One look at the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Since the first look.
    pub at: Duration,
    /// Touched so far.
    pub touched: Bytes,
    /// Virtual size of the process.
    pub virtual_size: Bytes,
    /// Resident size of the process.
    pub resident: Bytes,
    /// Minor faults since the first look.
    pub faults: u64,
}

/// Samples in the order of time.
#[derive(Clone, Debug, Default)]
pub struct Chart {
    /// The samples.
    pub samples: Vec<Sample>,
}

const MEMORY_ROWS: usize = 10;
const FAULT_ROWS: usize = 4;
const EIGHTHS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

impl Chart {
    fn end(&self) -> Duration {
        self.samples.last().map_or(Duration::ZERO, |s| s.at)
    }

    /// The value at a moment: what was seen last before it.
    fn at(&self, moment: Duration) -> Sample {
        self.samples
            .iter()
            .rev()
            .find(|s| s.at <= moment)
            .or(self.samples.first())
            .copied()
            .unwrap_or_default()
    }

    fn most(&self, value: impl Fn(&Sample) -> u64) -> u64 {
        self.samples.iter().map(value).max().unwrap_or(0).max(1)
    }
}

fn time(t: Duration) -> String {
    match t.as_secs_f64() {
        s if s >= 1.0 => format!("{s:.1} s"),
        s => format!("{:.0} ms", s * 1000.0),
    }
}

/// The chart as lines that are not longer than `columns`, if that is enough for labels at all.
pub fn terminal(chart: &Chart, lang: Lang, style: Style, columns: usize) -> Vec<String> {
    const LABEL: usize = 10;
    let plot = columns.saturating_sub(LABEL + 2).clamp(20, 100);
    let top = chart.most(|s| s.virtual_size.0.max(s.resident.0));
    let line_row = |value: u64| {
        let rows = (u128::from(value) * MEMORY_ROWS as u128).saturating_sub(1) / u128::from(top.max(1));
        MEMORY_ROWS - 1 - rows.min(MEMORY_ROWS as u128 - 1) as usize
    };
    let moments: Vec<Sample> =
        (0..plot).map(|x| chart.at(chart.end().mul_f64(x as f64 / (plot - 1) as f64))).collect();
    let mut out = vec![legend(lang, style)];
    for row in 0..MEMORY_ROWS {
        let label = if row == 0 { size(Bytes(top)) } else { String::new() };
        let cells = moments.iter().map(|s| {
            let virtual_here = line_row(s.virtual_size.0) == row;
            match bar(s.resident.0, top, MEMORY_ROWS, row) {
                ' ' if virtual_here => (Paint::Changed, '━'),
                c => (Paint::Added, c),
            }
        });
        out.push(format!("{label:>LABEL$} │{}", painted(cells, style)));
    }
    out.push(format!("{:>LABEL$} └{}", "0", "─".repeat(plot)));
    let heading = texts::CHART_FAULTS.get(lang);
    out.push(format!("{:LABEL$}  {}", "", style.paint(Paint::Heading, heading)));
    let top = chart.most(|s| s.faults);
    for row in 0..FAULT_ROWS {
        let label = if row == 0 { count(top) } else { String::new() };
        let cells = moments.iter().map(|s| (Paint::Code, bar(s.faults, top, FAULT_ROWS, row)));
        out.push(format!("{label:>LABEL$} │{}", painted(cells, style)));
    }
    out.push(format!("{:>LABEL$} └{}", "0", "─".repeat(plot)));
    let (from, to) = ("0".to_owned(), time(chart.end()));
    let word = texts::CHART_TIME.get(lang);
    let room = plot.saturating_sub(from.len() + to.len() + width(word));
    let (left, right) = (room / 2, room - room / 2);
    out.push(format!("{:LABEL$}  {from}{:left$}{word}{:right$}{to}", "", "", ""));
    out
}

fn legend(lang: Lang, style: Style) -> String {
    format!(
        "{:10}  {} {}   {} {}",
        "",
        style.paint(Paint::Changed, "━"),
        texts::CHART_VIRTUAL.get(lang),
        style.paint(Paint::Added, "█"),
        texts::CHART_RESIDENT.get(lang)
    )
}

/// What of a bar of `value` is seen in one row of characters; row 0 is the highest.
fn bar(value: u64, top: u64, rows: usize, row: usize) -> char {
    let eighths = u128::from(value) * rows as u128 * 8 / u128::from(top.max(1));
    let below = (rows - 1 - row) as u128 * 8;
    EIGHTHS[eighths.saturating_sub(below).min(8) as usize]
}

/// Characters with as few changes of colour as possible, nothing behind the last.
fn painted(cells: impl Iterator<Item = (Paint, char)>, style: Style) -> String {
    let mut runs: Vec<(Paint, String)> = Vec::new();
    for (paint, c) in cells {
        match runs.last_mut() {
            Some((last, text)) if *last == paint => text.push(c),
            _ => runs.push((paint, c.to_string())),
        }
    }
    if let Some((_, text)) = runs.last_mut() {
        text.truncate(text.trim_end().len());
    }
    runs.iter().map(|(paint, text)| style.paint(*paint, text)).collect()
}

const VIRTUAL_INK: &str = "#d97706";
const RESIDENT_INK: &str = "#2d6a4f";
const RESIDENT_FILL: &str = "#b7e4c7";
const FAULT_INK: &str = "#2563eb";

/// The chart as one document.
pub fn svg(chart: &Chart, lang: Lang) -> String {
    const WIDTH: f64 = 860.0;
    let memory = Rect { x: 110.0, y: 104.0, w: 700.0, h: 280.0 };
    let faults = Rect { x: 110.0, y: 442.0, w: 700.0, h: 120.0 };
    let mut svg = Svg::new(WIDTH, 620.0);
    let title = texts::CHART_TITLE.get(lang);
    svg.text(36.0, 46.0, Font::new(20.0).bold(), title);
    let top = chart.most(|s| s.virtual_size.0.max(s.resident.0));
    let end = chart.end().as_secs_f64().max(1e-9);
    let points = |r: Rect, top: u64, value: &dyn Fn(&Sample) -> u64| -> Vec<(f64, f64)> {
        let point = |s: &Sample| {
            let x = r.x + r.w * s.at.as_secs_f64() / end;
            (x, r.y + r.h - r.h * value(s) as f64 / top as f64)
        };
        chart.samples.iter().map(point).collect()
    };
    frame(&mut svg, memory, &[size(Bytes(top)), size(Bytes(top / 2)), "0".to_owned()]);
    let resident = points(memory, top, &|s| s.resident.0);
    let mut area = resident.clone();
    area.push((memory.x + memory.w, memory.y + memory.h));
    area.push((memory.x, memory.y + memory.h));
    svg.polygon(&area, RESIDENT_FILL);
    svg.polyline(&resident, RESIDENT_INK, 2.5);
    svg.polyline(&points(memory, top, &|s| s.virtual_size.0), VIRTUAL_INK, 2.5);
    let mut x = memory.x;
    for (ink, text) in [(VIRTUAL_INK, texts::CHART_VIRTUAL), (RESIDENT_INK, texts::CHART_RESIDENT)] {
        svg.rect(Rect { x, y: 76.0, w: 18.0, h: 10.0 }, ink, "none");
        svg.text(x + 26.0, 86.0, Font::new(13.0), text.get(lang));
        x += 200.0;
    }
    let top = chart.most(|s| s.faults);
    frame(&mut svg, faults, &[count(top), count(top / 2), "0".to_owned()]);
    svg.text(faults.x, faults.y - 14.0, Font::new(13.0), texts::CHART_FAULTS.get(lang));
    svg.polyline(&points(faults, top, &|s| s.faults), FAULT_INK, 2.5);
    let axis = Font::new(12.0).fill(FAINT);
    let below = faults.y + faults.h + 20.0;
    svg.text(faults.x, below, axis, "0");
    svg.text(faults.x + faults.w / 2.0, below, axis.anchor(Anchor::Middle), texts::CHART_TIME.get(lang));
    svg.text(faults.x + faults.w, below, axis.anchor(Anchor::End), &time(chart.end()));
    svg.finish(title)
}

fn frame(svg: &mut Svg, r: Rect, labels: &[String; 3]) {
    for (i, label) in labels.iter().enumerate() {
        let y = r.y + r.h * i as f64 / 2.0;
        svg.line((r.x, y), (r.x + r.w, y), if i == 2 { EDGE } else { "#e4e7eb" }, 1.0);
        svg.text(r.x - 10.0, y + 4.0, Font::new(12.0).fill(FAINT).anchor(Anchor::End), label);
    }
    svg.line((r.x, r.y), (r.x, r.y + r.h), EDGE, 1.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart() -> Chart {
        let sample = |i: u64| Sample {
            at: Duration::from_millis(i * 10),
            touched: Bytes(i << 20),
            virtual_size: Bytes(12 << 20),
            resident: Bytes((i + 1) << 20),
            faults: i * 256,
        };
        Chart { samples: (0..=10).map(sample).collect() }
    }

    /// Checks that the chart fits, that the resident part rises from left to right, and that the virtual line is level.
    #[test]
    fn the_chart_fits_and_rises() {
        for lang in [Lang::En, Lang::Ja] {
            for columns in [80, 120] {
                let lines = terminal(&chart(), lang, Style::default(), columns);
                assert!(lines.iter().all(|l| width(l) <= columns), "{lines:#?}");
                assert!(lines[1].contains("12 MiB │━━━"), "{lines:#?}");
                let full = |line: &str| line.matches('█').count();
                assert!((1..10).all(|i| full(&lines[i]) <= full(&lines[i + 1])), "{lines:#?}");
                assert!(full(&lines[10]) > 40);
            }
        }
    }

    /// Checks that a chart without samples, or of one moment, is drawn and does not divide by nothing.
    #[test]
    fn an_empty_chart_is_drawn() {
        for samples in [vec![], vec![Sample::default()]] {
            let chart = Chart { samples };
            assert!(terminal(&chart, Lang::En, Style::default(), 80).len() > 10);
            assert!(!svg(&chart, Lang::En).contains("NaN"));
        }
    }
}
