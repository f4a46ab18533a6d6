//! Columns that stay aligned, with characters that are two columns wide.

use crate::style::{Paint, Style};
use std::fmt::{self, Write};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Which side of its column a cell leans to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// One cell: text that is already escaped.
#[derive(Clone, Debug)]
pub struct Cell {
    /// The text.
    pub text: String,
    /// What it means.
    pub paint: Paint,
}

impl Cell {
    /// A cell of plain text.
    pub fn new(text: impl Into<String>) -> Cell {
        Cell { text: text.into(), paint: Paint::Plain }
    }

    /// The cell with a meaning.
    pub fn paint(mut self, paint: Paint) -> Cell {
        self.paint = paint;
        self
    }
}

/// How many columns of a terminal a text takes.
pub fn width(text: &str) -> usize {
    // Nearly all text is ASCII without controls (it was escaped), where a byte is a column.
    if text.is_ascii() { text.len() } else { UnicodeWidthStr::width(text) }
}

/// The text cut to `columns`, the middle left out (`/usr/lib…/libc.so.6`): the end of a path says most.
pub fn shorten(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let take = |chars: &mut dyn Iterator<Item = char>, room: usize| {
        let mut used = 0;
        let mut taken = Vec::new();
        for c in chars {
            used += c.width().unwrap_or(0);
            if used > room {
                break;
            }
            taken.push(c);
        }
        taken
    };
    let room = columns.saturating_sub(1);
    let tail = take(&mut text.chars().rev(), room - room / 3);
    let head = take(&mut text.chars(), room / 3);
    head.into_iter().chain(['…']).chain(tail.into_iter().rev()).collect()
}

/// A table being written: widths are known first, then rows go out one by one.
#[derive(Debug)]
pub struct Table {
    columns: Vec<(Align, usize)>,
    style: Style,
    /// The terminal's width; the last column is shortened to it.
    limit: Option<usize>,
}

const BETWEEN: usize = 2;

impl Table {
    /// With these alignments; [`Table::fit`] makes room.
    pub fn new(columns: &[Align], style: Style, limit: Option<usize>) -> Table {
        Table { columns: columns.iter().map(|align| (*align, 0)).collect(), style, limit }
    }

    /// Makes column `index` wide enough for a text of `columns` columns.
    pub fn fit(&mut self, index: usize, columns: usize) {
        if let Some((_, width)) = self.columns.get_mut(index) {
            *width = (*width).max(columns);
        }
    }

    /// Makes room for a whole row.
    pub fn fit_row(&mut self, cells: &[Cell]) {
        for (index, cell) in cells.iter().enumerate() {
            self.fit(index, width(&cell.text));
        }
    }

    /// Writes one row; nothing after its last cell that is not empty.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn row(&self, out: &mut dyn Write, cells: &[Cell]) -> fmt::Result {
        let last = cells.iter().rposition(|cell| !cell.text.is_empty());
        let mut used = 0;
        for (index, cell) in cells.iter().enumerate().take(last.map_or(0, |l| l + 1)) {
            let (align, room) = self.columns.get(index).copied().unwrap_or((Align::Left, 0));
            let is_last = index + 1 == self.columns.len();
            let text = match self.limit {
                // A line that is too narrow for anything is left to the terminal to wrap.
                Some(limit) if is_last && limit > used + 4 => shorten(&cell.text, limit - used),
                _ => cell.text.clone(),
            };
            let pad = room.saturating_sub(width(&text));
            let (before, after) = if align == Align::Right { (pad, 0) } else { (0, pad) };
            let after = if Some(index) == last { 0 } else { after + BETWEEN };
            write!(out, "{:before$}{}{:after$}", "", self.style.paint(cell.paint, &text), "")?;
            used += room + BETWEEN;
        }
        writeln!(out)
    }
}

/// Writes a small table whole.
///
/// # Errors
/// Those of `out`.
pub fn write_table(
    out: &mut dyn Write,
    columns: &[Align],
    rows: &[Vec<Cell>],
    style: Style,
    limit: Option<usize>,
) -> fmt::Result {
    let mut table = Table::new(columns, style, limit);
    rows.iter().for_each(|row| table.fit_row(row));
    rows.iter().try_for_each(|row| table.row(out, row))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that double-width text keeps the columns aligned and that lines do not end in blanks.
    #[test]
    fn columns_stay_aligned_with_wide_characters() {
        let rows = [
            vec![Cell::new("種類"), Cell::new("SIZE"), Cell::new("")],
            vec![Cell::new("heap"), Cell::new("4 KiB"), Cell::new("x")],
        ];
        let mut out = String::new();
        let columns = [Align::Left, Align::Right, Align::Left];
        write_table(&mut out, &columns, &rows, Style::default(), None).unwrap();
        assert_eq!(out, "種類   SIZE\nheap  4 KiB  x\n");
    }

    /// Checks that long paths keep their ends, and that wide characters are not cut in half.
    #[test]
    fn long_text_is_cut_in_the_middle() {
        assert_eq!(shorten("/usr/lib/x86_64-linux-gnu/libc.so.6", 20), "/usr/l…gnu/libc.so.6");
        assert_eq!(shorten("short", 20), "short");
        for columns in 0..12 {
            assert!(width(&shorten("仮想アドレス空間", columns)) <= columns.max(1));
        }
    }
}
