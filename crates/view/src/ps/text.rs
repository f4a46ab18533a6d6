//! The list as text.

use super::group::{Sum, Sums};
use super::notes::notes;
use super::{By, Figure, Missing, PsRow, PsView, Sort, What, texts};
use crate::escape;
use crate::lang::{Lang, Text};
use crate::style::{Paint, Style};
use crate::table::{Align, Cell, Table, shorten};
use crate::texts as common;
use crate::units::{count, size};
use std::fmt::{self, Write};
use vmatlas_event::Bytes;

/// How it is written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The language.
    pub lang: Lang,
    /// Colours.
    pub style: Style,
    /// The terminal's width; `None` for no limit.
    pub columns: Option<usize>,
    /// Sums of those that have something in common instead of each.
    pub by: Option<By>,
    /// The order of groups; rows are in theirs already.
    pub sort: Sort,
    /// At most so many lines.
    pub limit: Option<usize>,
}

/// Writes the list, its totals last.
///
/// # Errors
/// Those of `out`.
pub fn write_text(view: &PsView, out: &mut dyn Write, options: &Options) -> fmt::Result {
    let lang = options.lang;
    let sums = Sums::of(view.rows.iter());
    if view.rows.is_empty() {
        writeln!(out, "{}", texts::NONE.get(lang))?;
        return notes(view, &sums, out, options);
    }
    let (shown, all) = match options.by {
        Some(by) => groups(view, by, &sums, out, options)?,
        None => rows(view, &sums, out, options)?,
    };
    if shown < all {
        let values: [(&str, &dyn fmt::Display); 2] =
            [("n", &count(shown as u64)), ("all", &count(all as u64))];
        writeln!(out, "{}", texts::LIMITED.fill(lang, &values))?;
    }
    notes(view, &sums, out, options)
}

/// Which columns there are.
#[derive(Clone, Copy)]
struct Columns {
    /// Whether anything is in swap; a column of zeros says nothing and takes room.
    swap: bool,
    vmas: bool,
    shares: bool,
    max_map_count: Option<u64>,
}

impl Columns {
    fn of(view: &PsView) -> Columns {
        Columns {
            swap: view.rows.iter().any(|row| row.swapped.is_ok_and(|swapped| swapped.0 > 0)),
            vmas: view.with_vmas,
            shares: view.with_shares,
            max_map_count: view.about.max_map_count,
        }
    }
}

type Lines<'a> = Box<dyn Iterator<Item = Vec<Cell>> + 'a>;

/// Writes a table twice over its lines: once to measure, once to write.
fn table<'a>(
    out: &mut dyn Write,
    aligns: &[Align],
    lines: &dyn Fn() -> Lines<'a>,
    options: &Options,
) -> fmt::Result {
    let mut table = Table::new(aligns, options.style, options.columns);
    lines().for_each(|cells| table.fit_row(&cells));
    lines().try_for_each(|cells| table.row(out, &cells))
}

/// Writes each process; returns how many were shown, and of how many.
fn rows(
    view: &PsView,
    sums: &Sums,
    out: &mut dyn Write,
    options: &Options,
) -> Result<(usize, usize), fmt::Error> {
    let (lang, columns) = (options.lang, Columns::of(view));
    let shown = options.limit.unwrap_or(usize::MAX).min(view.rows.len());
    let mut head = vec![heading(&texts::PID, lang), heading(&texts::USER, lang)];
    head.extend(figure_headings(columns, lang));
    let last = if view.with_args { &texts::COMMAND } else { &common::NAME };
    head.push(heading(last, lang));
    let mut aligns = vec![Align::Right, Align::Left];
    aligns.extend(figure_headings(columns, lang).map(|_| Align::Right));
    aligns.push(Align::Left);
    let label = texts::TOTAL_N.fill(lang, &[("n", &count(sums.processes))]);
    let mut total = vec![Cell::new(""), Cell::new(label).paint(Paint::Heading)];
    total.extend(sum_cells(columns, sums, lang));
    let lines = || -> Lines<'_> {
        let each = view.rows.iter().take(shown).map(|row| line(columns, row, lang));
        Box::new(std::iter::once(head.clone()).chain(each).chain(std::iter::once(total.clone())))
    };
    table(out, &aligns, &lines, options)?;
    Ok((shown, view.rows.len()))
}

fn line(columns: Columns, row: &PsRow, lang: Lang) -> Vec<Cell> {
    const USER: usize = 12;
    let user = match (&row.user, row.uid) {
        (Some(name), _) => Cell::new(shorten(&escape::terminal(name), USER)),
        (None, Some(uid)) => Cell::new(uid.to_string()),
        (None, None) => missing(Missing::Hidden, lang),
    };
    let mut cells = vec![Cell::new(row.pid.to_string()), user];
    cells.push(amount(row.virtual_size, lang));
    cells.push(amount(row.resident, lang));
    if columns.swap {
        cells.push(amount(row.swapped, lang));
    }
    if columns.vmas {
        cells.push(vmas(row.vmas, columns.max_map_count, lang));
    }
    if columns.shares {
        cells.push(amount(row.pss, lang));
        cells.push(amount(row.uss, lang));
    }
    cells.push(command(row, lang));
    cells
}

/// Name or arguments. A thread of the kernel stands in brackets, as everywhere.
fn command(row: &PsRow, lang: Lang) -> Cell {
    let Some(name) = &row.name else { return missing(Missing::Hidden, lang) };
    let name = escape::terminal(name);
    match (row.what, &row.args) {
        (What::KernelThread, _) => Cell::new(format!("[{name}]")).paint(Paint::Faint),
        (What::Zombie, _) => Cell::new(texts::ZOMBIE.fill(lang, &[("name", &name)])).paint(Paint::Faint),
        (What::Process, Ok(args)) if !args.is_empty() => {
            let words = args.strip_suffix(b"\0").unwrap_or(args);
            let words: Vec<u8> = words.iter().map(|b| if *b == 0 { b' ' } else { *b }).collect();
            Cell::new(escape::terminal(&words))
        }
        (What::Process, _) => Cell::new(name),
    }
}

fn groups(
    view: &PsView,
    by: By,
    sums: &Sums,
    out: &mut dyn Write,
    options: &Options,
) -> Result<(usize, usize), fmt::Error> {
    let (lang, columns) = (options.lang, Columns::of(view));
    let groups = view.groups(by, options.sort);
    let shown = options.limit.unwrap_or(usize::MAX).min(groups.len());
    let name = match by {
        By::Container => &texts::CONTAINER,
        By::User => &texts::USER,
        By::Name => &common::NAME,
        By::Cgroup => &texts::CGROUP,
    };
    let mut head = vec![heading(&texts::PROCESSES, lang)];
    head.extend(figure_headings(columns, lang));
    head.push(heading(name, lang));
    let mut aligns = vec![Align::Right; head.len() - 1];
    aligns.push(Align::Left);
    let line = |sums: &Sums, name: Cell| {
        let mut cells = vec![Cell::new(count(sums.processes))];
        cells.extend(sum_cells(columns, sums, lang));
        cells.push(name);
        cells
    };
    let total = line(sums, heading(&common::TOTAL, lang));
    let lines = || -> Lines<'_> {
        let each = groups.iter().take(shown).map(|g| line(&g.sums, Cell::new(g.key.text(lang))));
        Box::new(std::iter::once(head.clone()).chain(each).chain(std::iter::once(total.clone())))
    };
    table(out, &aligns, &lines, options)?;
    Ok((shown, groups.len()))
}

fn figure_headings(columns: Columns, lang: Lang) -> impl Iterator<Item = Cell> {
    let all = [
        (true, &texts::VIRTUAL),
        (true, &common::RESIDENT),
        (columns.swap, &common::SWAPPED),
        (columns.vmas, &texts::VMAS),
        (columns.shares, &texts::PSS),
        (columns.shares, &texts::USS),
    ];
    all.into_iter().filter(|(shown, _)| *shown).map(move |(_, text)| heading(text, lang))
}

fn sum_cells(columns: Columns, sums: &Sums, lang: Lang) -> Vec<Cell> {
    let of = |sum: Sum| amount(sum.figure().map(Bytes), lang);
    let mut cells = vec![of(sums.virtual_size), of(sums.resident)];
    if columns.swap {
        cells.push(of(sums.swapped));
    }
    if columns.vmas {
        // The limit is that of one process.
        cells.push(vmas(sums.vmas.figure(), None, lang));
    }
    if columns.shares {
        cells.extend([of(sums.pss), of(sums.uss)]);
    }
    cells
}

fn heading(text: &Text, lang: Lang) -> Cell {
    Cell::new(text.get(lang)).paint(Paint::Heading)
}

fn missing(why: Missing, lang: Lang) -> Cell {
    match why {
        Missing::Hidden => Cell::new(texts::HIDDEN.get(lang)),
        Missing::NotRead | Missing::NoMemory => Cell::new("-"),
        Missing::Unknown => Cell::new("?"),
    }
    .paint(Paint::Faint)
}

fn amount(figure: Figure, lang: Lang) -> Cell {
    match figure {
        Ok(Bytes(0)) => Cell::new("0").paint(Paint::Faint),
        Ok(bytes) => Cell::new(size(bytes)),
        Err(why) => missing(why, lang),
    }
}

/// The number of VMAs; above 80 % of what is allowed the next mmap may soon fail.
fn vmas(figure: Figure<u64>, max: Option<u64>, lang: Lang) -> Cell {
    match (figure, max) {
        (Ok(n), Some(max)) if n.saturating_mul(5) > max.saturating_mul(4) => {
            Cell::new(count(n)).paint(Paint::Failed)
        }
        (Ok(n), _) => Cell::new(count(n)),
        (Err(why), _) => missing(why, lang),
    }
}
