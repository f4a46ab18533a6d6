//! Maps as tables: with marks where something changed, or as the kernel's own lines.

use super::text::Look;
use crate::marks::{Mark, Marked, Run, marked, neighbourhood};
use crate::report::{ComparePart, MapPart};
use crate::state::State;
use crate::texts;
use std::fmt::{self, Write};
use vmatlas_event::{Bytes, PageCounts, VmaRow};
use vmatlas_view::change::what;
use vmatlas_view::table::{Align, Cell, Table};
use vmatlas_view::units::size;
use vmatlas_view::{Paint, escape, texts as words};

/// Rows of the map shown around what changed.
const AROUND: usize = 2;

/// A map on its own, whole; what came since an earlier one is marked.
pub(super) fn single(out: &mut dyn Write, map: &MapPart, look: &Look) -> fmt::Result {
    writeln!(out, "{}", look.style.paint(Paint::Heading, &map.title.get(look.lang)))?;
    if look.raw
        && let Some(state) = &map.state
    {
        return raw_lines(out, state, look);
    }
    let rows = match &map.since {
        Some(since) => marked(since, &map.rows),
        None => unmarked(&map.rows),
    };
    table(out, &rows, map.state.as_deref(), &[Run::Shown(0..rows.len())], look)
}

/// Two maps: the earlier one's neighbourhood, then the later one's with the marks.
pub(super) fn comparison(out: &mut dyn Write, compare: &ComparePart, look: &Look) -> fmt::Result {
    let (before, after) = (&compare.before, &compare.after);
    let rows = marked(&before.rows, &after.rows);
    let changed: Vec<bool> = rows.iter().map(|m| m.mark != Mark::Same).collect();
    if !changed.contains(&true) {
        return writeln!(out, "{}", look.style.paint(Paint::Faint, texts::NO_DIFFERENCE.get(look.lang)));
    }
    // What the earlier map had near the place where something changed.
    let touched = |row: &VmaRow| {
        let near = |m: &&Marked| m.mark != Mark::Same && m.row.range.intersects(row.range);
        rows.iter().any(|m| near(&m))
    };
    let new_place = rows.iter().find(|m| m.mark == Mark::New).map(|m| m.row.range.start());
    let mut interesting: Vec<bool> = before.rows.iter().map(touched).collect();
    if let Some(at) = new_place
        && let Some(next) = before.rows.iter().position(|row| row.range.start() >= at)
        && let Some(slot) = interesting.get_mut(next)
    {
        *slot = true;
    }
    let all = |n: usize| vec![Run::Shown(0..n)];
    let early = if look.all_lines { all(before.rows.len()) } else { neighbourhood(&interesting, AROUND) };
    let late = if look.all_lines { all(rows.len()) } else { neighbourhood(&changed, AROUND) };
    writeln!(out, "{}", look.style.paint(Paint::Heading, texts::MAP_BEFORE.get(look.lang)))?;
    if look.raw {
        raw_lines(out, before, look)?;
    } else {
        table(out, &unmarked(&before.rows), Some(before), &early, look)?;
    }
    writeln!(out, "\n{}", look.style.paint(Paint::Heading, texts::MAP_AFTER.get(look.lang)))?;
    if look.raw {
        return raw_lines(out, after, look);
    }
    table(out, &rows, Some(after), &late, look)
}

fn unmarked(rows: &[VmaRow]) -> Vec<Marked> {
    rows.iter().zip(0..).map(|(row, index)| Marked { row: row.clone(), mark: Mark::Same, index }).collect()
}

/// The kernel's own lines, escaped for the terminal.
fn raw_lines(out: &mut dyn Write, state: &State, look: &Look) -> fmt::Result {
    for line in state.raw.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
        writeln!(out, "{}", look.style.paint(Paint::Plain, &escape::terminal(line)))?;
    }
    Ok(())
}

fn table(
    out: &mut dyn Write,
    rows: &[Marked],
    state: Option<&State>,
    runs: &[Run],
    look: &Look,
) -> fmt::Result {
    let lang = look.lang;
    let heading = |text: &vmatlas_view::Text| Cell::new(text.get(lang)).paint(Paint::Heading);
    let mut head = vec![Cell::new(""), heading(&words::ADDRESS), heading(&words::SIZE)];
    head.extend(state.map(|_| heading(&words::RESIDENT)));
    head.extend([heading(&words::PROT), heading(&words::NAME)]);
    let mut aligns = vec![Align::Left, Align::Left, Align::Right];
    aligns.extend(state.map(|_| Align::Right));
    aligns.extend([Align::Left, Align::Left]);
    let mut table = Table::new(&aligns, look.style, Some(look.columns));
    let cells: Vec<Vec<Cell>> = rows.iter().map(|m| row_cells(m, state, look)).collect();
    table.fit_row(&head);
    for run in runs {
        if let Run::Shown(range) = run {
            cells.get(range.clone()).unwrap_or_default().iter().for_each(|row| table.fit_row(row));
        }
    }
    table.row(out, &head)?;
    for run in runs {
        match run {
            Run::Shown(range) => {
                for row in cells.get(range.clone()).unwrap_or_default() {
                    table.row(out, row)?;
                }
            }
            Run::Folded(n) => {
                let text = texts::MORE_ROWS.fill(lang, &[("n", n)]);
                writeln!(out, "  {}", look.style.paint(Paint::Faint, &text))?;
            }
        }
    }
    Ok(())
}

fn row_cells(marked: &Marked, state: Option<&State>, look: &Look) -> Vec<Cell> {
    let lang = look.lang;
    let (mark, paint) = match marked.mark {
        Mark::Same => (String::new(), Paint::Plain),
        Mark::New => (texts::MARK_NEW.get(lang).to_owned(), Paint::Added),
        Mark::Grew(by) => (texts::MARK_GREW.fill(lang, &[("size", &size(by))]), Paint::Added),
        Mark::Shrank(by) => (texts::MARK_SHRANK.fill(lang, &[("size", &size(by))]), Paint::Removed),
        Mark::Altered => (texts::MARK_ALTERED.get(lang).to_owned(), Paint::Changed),
        Mark::Split => (texts::MARK_SPLIT.get(lang).to_owned(), Paint::Changed),
        Mark::Merged => (texts::MARK_MERGED.get(lang).to_owned(), Paint::Changed),
        Mark::Gone => (texts::MARK_GONE.get(lang).to_owned(), Paint::Removed),
    };
    let row = &marked.row;
    let sharing = if row.sharing == vmatlas_event::Sharing::Shared { 's' } else { 'p' };
    let counts = |state: &State| match marked.mark {
        Mark::Gone => None,
        _ => state.pages.get(marked.index).copied().flatten(),
    };
    let resident = |pages: Option<PageCounts>| match pages.map(|p| p.resident + p.hugetlb) {
        Some(Bytes(0)) => Cell::new("0").paint(Paint::Faint),
        Some(bytes) => Cell::new(size(bytes)),
        None => Cell::new("-").paint(Paint::Faint),
    };
    let address = if look.columns < 100 { row.range.start().to_string() } else { row.range.to_string() };
    let mut cells = vec![
        Cell::new(mark).paint(paint),
        Cell::new(address).paint(paint),
        Cell::new(size(row.range.len())).paint(paint),
    ];
    cells.extend(state.map(|s| resident(counts(s))));
    let name = if row.name.is_some() { what(row, lang).into_owned() } else { String::new() };
    cells.extend([Cell::new(format!("{}{sharing}", row.prot)), Cell::new(name)]);
    cells
}
