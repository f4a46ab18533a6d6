//! A small writer of SVG: shapes and escaped text, nothing that could load or run.

use crate::escape;
use crate::table::width;
use std::fmt::Write;

/// Proportional fonts, with those that have Japanese.
pub const SANS: &str = "'Helvetica Neue', Helvetica, Arial, 'Hiragino Sans', 'Noto Sans CJK JP', 'Yu Gothic', Meiryo, sans-serif";
/// Fonts of one width, with those that have Japanese.
pub const MONO: &str =
    "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', 'Noto Sans Mono CJK JP', monospace";

/// Ink of most text.
pub const INK: &str = "#1f2933";
/// Ink of what matters less.
pub const FAINT: &str = "#616e7c";
/// Lines around things.
pub const EDGE: &str = "#9aa5b1";

/// A document being drawn; later shapes lie above earlier ones.
#[derive(Debug)]
pub struct Svg {
    width: f64,
    height: f64,
    body: String,
}

/// Where a text's x lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Anchor {
    /// At its beginning.
    #[default]
    Start,
    /// At its middle.
    Middle,
    /// At its end.
    End,
}

/// How a text looks.
#[derive(Clone, Copy, Debug)]
pub struct Font {
    /// Height in pixels.
    pub size: f64,
    /// Colour.
    pub fill: &'static str,
    /// Bold.
    pub bold: bool,
    /// One width for all characters.
    pub mono: bool,
    /// Where x lies.
    pub anchor: Anchor,
}

impl Font {
    /// Proportional, in ink, from its beginning.
    pub const fn new(size: f64) -> Font {
        Font { size, fill: INK, bold: false, mono: false, anchor: Anchor::Start }
    }

    /// In another colour.
    pub const fn fill(mut self, fill: &'static str) -> Font {
        self.fill = fill;
        self
    }

    /// Bold.
    pub const fn bold(mut self) -> Font {
        self.bold = true;
        self
    }

    /// With one width for all characters.
    pub const fn mono(mut self) -> Font {
        self.mono = true;
        self
    }

    /// With x at another place.
    pub const fn anchor(mut self, anchor: Anchor) -> Font {
        self.anchor = anchor;
        self
    }
}

/// A rectangle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rect {
    /// Left.
    pub x: f64,
    /// Top.
    pub y: f64,
    /// Width.
    pub w: f64,
    /// Height.
    pub h: f64,
}

impl Svg {
    /// An empty document of this size.
    pub fn new(width: f64, height: f64) -> Svg {
        Svg { width, height, body: String::new() }
    }

    /// A filled rectangle with a line around it (`none` for either).
    pub fn rect(&mut self, r: Rect, fill: &str, stroke: &str) {
        let Rect { x, y, w, h } = r;
        self.put(format_args!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{fill}\" stroke=\"{stroke}\"/>",
            w.max(0.0),
            h.max(0.0)
        ));
    }

    /// A straight line.
    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), stroke: &str, thick: f64) {
        self.put(format_args!(
            "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{stroke}\" stroke-width=\"{thick}\"/>",
            from.0, from.1, to.0, to.1
        ));
    }

    /// A dashed line.
    pub fn dashed(&mut self, from: (f64, f64), to: (f64, f64), stroke: &str) {
        self.put(format_args!(
            "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{stroke}\" stroke-dasharray=\"4 3\"/>",
            from.0, from.1, to.0, to.1
        ));
    }

    /// A line through points.
    pub fn polyline(&mut self, points: &[(f64, f64)], stroke: &str, thick: f64) {
        let text = joined(points);
        self.put(format_args!(
            "<polyline points=\"{text}\" fill=\"none\" stroke=\"{stroke}\" stroke-width=\"{thick}\" stroke-linejoin=\"round\"/>"
        ));
    }

    /// A filled area.
    pub fn polygon(&mut self, points: &[(f64, f64)], fill: &str) {
        let text = joined(points);
        self.put(format_args!("<polygon points=\"{text}\" fill=\"{fill}\"/>"));
    }

    /// A line with a head at its end.
    pub fn arrow(&mut self, from: (f64, f64), to: (f64, f64), stroke: &str) {
        const HEAD: f64 = 6.0;
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        let length = dx.hypot(dy).max(0.1);
        let (ux, uy) = (dx / length, dy / length);
        let neck = (to.0 - ux * HEAD, to.1 - uy * HEAD);
        self.line(from, neck, stroke, 1.3);
        let half = HEAD * 0.5;
        self.polygon(
            &[to, (neck.0 - uy * half, neck.1 + ux * half), (neck.0 + uy * half, neck.1 - ux * half)],
            stroke,
        );
    }

    /// A text whose baseline is at y.
    pub fn text(&mut self, x: f64, y: f64, font: Font, text: &str) {
        let anchor = match font.anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let family = if font.mono { MONO } else { SANS };
        let weight = if font.bold { " font-weight=\"600\"" } else { "" };
        self.put(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" font-family=\"{family}\" font-size=\"{}\" fill=\"{}\" text-anchor=\"{anchor}\"{weight}>{}</text>",
            font.size,
            font.fill,
            escape::xml(text)
        ));
    }

    /// The document, with a title for those who cannot see it.
    pub fn finish(self, title: &str) -> String {
        let Svg { width, height, body } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\">\n\
             <title>{}</title>\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n{body}</svg>\n",
            escape::xml(title)
        )
    }

    fn put(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a String does not fail.
        let _ = writeln!(self.body, "{element}");
    }
}

fn joined(points: &[(f64, f64)]) -> String {
    let words: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    words.join(" ")
}

/// About how many pixels wide a text will be: fonts differ, so keep some room.
pub fn text_width(text: &str, font: Font) -> f64 {
    let em = if font.mono { 0.61 } else { 0.54 };
    width(text) as f64 * font.size * em
}

/// About how many columns of text fit into this many pixels.
pub fn columns_in(pixels: f64, font: Font) -> usize {
    let em = if font.mono { 0.61 } else { 0.54 };
    (pixels / (font.size * em)).max(1.0) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that a text cannot leave its element and that a negative size is not written.
    #[test]
    fn text_stays_text() {
        let mut svg = Svg::new(10.0, 10.0);
        svg.text(1.0, 2.0, Font::new(12.0).bold(), "</text><script>&");
        svg.rect(Rect { x: 0.0, y: 0.0, w: -4.0, h: 1.0 }, "none", "none");
        let text = svg.finish("a<b");
        assert!(text.contains("&lt;/text&gt;&lt;script&gt;&amp;</text>"));
        assert!(text.contains("<title>a&lt;b</title>"));
        assert!(!text.contains("width=\"-"));
        assert!(!text.contains("<script"));
    }
}
