//! The sheet as text.

use super::sections::lines;
use super::{Options, RssView, evidence, percent, texts};
use crate::kind_text::kind_name;
use crate::show::paint_of;
use crate::style::Paint;
use crate::table::{Align, Cell, Table, width, write_table};
use crate::units::{count, size};
use std::fmt::{self, Write};
use vmatlas_event::Bytes;
use vmatlas_model::kind::{Confidence, Kind, RuntimeHint};
use vmatlas_model::rss::{Amounts, Arena};

impl RssView {
    /// Writes all of it, or one line opened, as text.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_text(&self, out: &mut dyn Write, options: &Options) -> fmt::Result {
        if let Some(kind) = options.line {
            return self.write_line(out, kind, options);
        }
        self.write_head(out, options)?;
        writeln!(out)?;
        self.write_lines(out, options)?;
        self.write_kernel(out, options)?;
        self.write_within(out, options)?;
        self.write_outside(out, options)?;
        self.write_profiler(out, options)?;
        self.write_cgroup(out, options)?;
        self.write_hints(out, options)
    }

    pub(super) fn write_head(&self, out: &mut dyn Write, options: &Options) -> fmt::Result {
        let (h, lang) = (&self.map.header, options.lang);
        h.write_title(out, lang, options.style)?;
        let kernel = &self.sheet.kernel;
        let mut facts = Vec::new();
        let mut fact = |text: crate::Text, bytes: Option<Bytes>| {
            facts.extend(bytes.map(|bytes| text.fill(lang, &[("size", &size(bytes))])));
        };
        fact(texts::COUNTED, kernel.rss_after.or(h.resident));
        fact(texts::PEAK, kernel.peak);
        fact(crate::texts::VIRTUAL, h.virtual_size);
        if !facts.is_empty() {
            writeln!(out, "{}", facts.join(" · "))?;
        }
        if h.torn > 0 {
            writeln!(out, "{}", crate::texts::TORN.fill(lang, &[("n", &h.torn)]))?;
        }
        if h.zero_pages_counted {
            writeln!(out, "{}", crate::texts::ZERO_PAGES_COUNTED.get(lang))?;
        }
        Ok(())
    }

    fn write_lines(&self, out: &mut dyn Write, options: &Options) -> fmt::Result {
        let lang = options.lang;
        let sum = &self.sheet.sum;
        let columns = Columns {
            swap: sum.pages.swapped.0 > 0,
            locked: sum.locked.is_some_and(|locked| locked.0 > 0),
            frames: sum.frames.is_some() && sum.unread < sum.vmas,
        };
        let mut rows = vec![columns.head(lang)];
        for line in &self.sheet.lines {
            let label = Cell::new(kind_name(line.kind, lang)).paint(paint_of(line.kind));
            let mapped = self.inside.as_ref().and_then(|inside| inside.mapped_resident);
            let known = evidence(line.kind, &line.amounts, mapped, lang);
            rows.push(columns.row(label, &line.amounts, sum.pages.resident, known));
            rows.extend(self.parts(line.kind, options));
        }
        let label = Cell::new(texts::SUM.get(lang)).paint(Paint::Heading);
        rows.push(columns.row(label, sum, sum.pages.resident, String::new()));
        let mut aligns = columns.aligns();
        narrow(&mut rows, &mut aligns, options.columns);
        let mut table = Table::new(&aligns, options.style, options.columns);
        rows.iter().for_each(|row| table.fit_row(row));
        rows.iter().try_for_each(|row| table.row(out, row))?;
        if self.frames_asked && !columns.frames {
            lines(out, texts::PSS_HIDDEN.get(lang), options.columns, options.style, Paint::Faint)?;
        }
        if sum.unread > 0 {
            let text = match sum.unread == sum.vmas {
                true => texts::NO_PAGES.get(lang).to_owned(),
                false => texts::UNREAD.fill(lang, &[("n", &count(sum.unread))]),
            };
            writeln!(out, "{}", options.style.paint(Paint::Faint, &text))?;
        }
        Ok(())
    }

    /// What malloc says of a line, as rows below it.
    fn parts(&self, kind: Kind, options: &Options) -> Vec<Vec<Cell>> {
        let lang = options.lang;
        let Some(inside) = &self.inside else { return Vec::new() };
        let part = |text: crate::Text, bytes: Option<Bytes>, resident: Option<Cell>| {
            let label = Cell::new(format!("  {}", text.get(lang))).paint(Paint::Faint);
            let empty = || Cell::new("");
            let size = known_or_not(bytes, lang).paint(Paint::Faint);
            let resident = resident.unwrap_or_else(empty).paint(Paint::Faint);
            vec![label, size, empty(), resident]
        };
        if kind == Kind::Anonymous {
            // Of all that malloc counts, what lies in this line; where none was found, all of it without a place.
            let found = inside.mapped_found.filter(|b| b.0 > 0);
            let resident = found.and(inside.mapped_resident).map(|bytes| Cell::new(size(bytes)));
            let mapped = found.or(inside.mapped).filter(|b| b.0 > 0);
            return mapped.map(|b| part(texts::MALLOC_MAPPED, Some(b), resident)).into_iter().collect();
        }
        let main = match kind {
            Kind::Heap => true,
            Kind::MallocArena => false,
            _ => return Vec::new(),
        };
        if !inside.arenas.iter().any(|a| a.main == main) {
            return Vec::new();
        }
        let sum = |pick: fn(&Arena) -> Option<Bytes>| inside.sum(Some(main), pick);
        let in_memory = known_or_not(sum(|a| a.free_resident), lang);
        vec![
            part(texts::USED, sum(|a| a.used), None),
            part(texts::FREE, sum(Arena::all_free), None),
            part(texts::FREE_PAGES, sum(|a| a.free_pages), Some(in_memory)),
            part(texts::FRAGMENTS, sum(Arena::fragments), None),
        ]
    }

    /// The commands of a runtime that tell more, with the process's number in them.
    pub(super) fn commands(&self, hint: &RuntimeHint) -> Vec<String> {
        let pid = self.map.header.pid.map_or_else(|| "PID".to_owned(), |pid| pid.to_string());
        hint.runtime.commands().iter().map(|command| command.replace("PID", &pid)).collect()
    }

    fn write_hints(&self, out: &mut dyn Write, options: &Options) -> fmt::Result {
        if self.hints.is_empty() {
            return Ok(());
        }
        heading(out, texts::ASK.get(options.lang), options)?;
        let mut rows = Vec::new();
        for hint in &self.hints {
            let guess = if hint.confidence == Confidence::Guess { "?" } else { "" };
            let mut name = format!("  {}{guess}", hint.runtime.name());
            for command in self.commands(hint) {
                rows.push(vec![Cell::new(std::mem::take(&mut name)), Cell::new(command)]);
            }
        }
        write_table(out, &[Align::Left, Align::Left], &rows, options.style, None)
    }
}

/// Which columns a sheet has.
struct Columns {
    swap: bool,
    locked: bool,
    frames: bool,
}

impl Columns {
    fn aligns(&self) -> Vec<Align> {
        let numbers = 6 + usize::from(self.swap) + usize::from(self.locked) + 2 * usize::from(self.frames);
        let mut aligns = vec![Align::Left];
        aligns.extend(std::iter::repeat_n(Align::Right, numbers));
        aligns.push(Align::Left);
        aligns
    }

    fn head(&self, lang: crate::Lang) -> Vec<Cell> {
        let cell = |text: crate::Text| Cell::new(text.get(lang)).paint(Paint::Heading);
        let mut cells = vec![
            cell(texts::LINE),
            cell(crate::texts::SIZE),
            cell(texts::TOUCHED),
            cell(crate::texts::RESIDENT),
            cell(texts::PERCENT),
            cell(texts::ANON),
            cell(texts::FILE),
        ];
        cells.extend(self.frames.then(|| cell(texts::PSS)));
        cells.extend(self.frames.then(|| cell(texts::USS)));
        cells.extend(self.swap.then(|| cell(crate::texts::SWAPPED)));
        cells.extend(self.locked.then(|| cell(texts::LOCKED)));
        cells.push(cell(texts::EVIDENCE));
        cells
    }

    fn row(&self, label: Cell, amounts: &Amounts, whole: Bytes, known: String) -> Vec<Cell> {
        let unread = amounts.unread == amounts.vmas;
        let figure = |bytes: Bytes| if unread { amount(None) } else { amount(Some(bytes)) };
        let share = percent(amounts.pages.resident, whole).filter(|_| !unread);
        let mut cells = vec![
            label,
            amount(Some(amounts.size)),
            figure(amounts.touched()),
            figure(amounts.pages.resident),
            Cell::new(share.map_or(String::new(), |p| p.to_string())).paint(Paint::Faint),
            figure(amounts.pages.anonymous),
            figure(amounts.pages.of_files()),
        ];
        cells.extend(self.frames.then(|| amount(amounts.frames.map(|f| f.pss.bytes()))));
        cells.extend(self.frames.then(|| amount(amounts.frames.map(|f| f.private))));
        cells.extend(self.swap.then(|| figure(amounts.pages.swapped)));
        cells.extend(self.locked.then(|| amount(amounts.locked)));
        cells.push(Cell::new(known).paint(Paint::Faint));
        cells
    }
}

/// Leaves out columns until a terminal is wide enough: FILE, which is what RESIDENT has beyond ANON, then ANON, TOUCHED, %.
fn narrow(rows: &mut [Vec<Cell>], aligns: &mut Vec<Align>, columns: Option<usize>) {
    // The last by where it is then.
    const LEFT_OUT: [usize; 4] = [6, 5, 2, 3];
    let Some(columns) = columns else { return };
    for index in LEFT_OUT {
        let widest = |at: usize| rows.iter().filter_map(|row| Some(width(&row.get(at)?.text))).max();
        let whole: usize = (0..aligns.len()).filter_map(widest).map(|width| width + 2).sum();
        if whole <= columns + 2 || index >= aligns.len() {
            return;
        }
        aligns.remove(index);
        for row in rows.iter_mut().filter(|row| index < row.len()) {
            row.remove(index);
        }
    }
}

/// A size, or that it is not known.
fn known_or_not(bytes: Option<Bytes>, lang: crate::Lang) -> Cell {
    Cell::new(bytes.map_or_else(|| texts::UNKNOWN.get(lang).to_owned(), size))
}

/// A size; zero faint, and a dash where it is not known.
pub(super) fn amount(bytes: Option<Bytes>) -> Cell {
    match bytes {
        Some(Bytes(0)) => Cell::new("0").paint(Paint::Faint),
        Some(bytes) => Cell::new(size(bytes)),
        None => Cell::new("-").paint(Paint::Faint),
    }
}

pub(super) fn heading(out: &mut dyn Write, text: &str, options: &Options) -> fmt::Result {
    writeln!(out, "\n{}", options.style.paint(Paint::Heading, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that a narrow terminal leaves out FILE first, and a wide one or a pipe nothing.
    #[test]
    fn narrow_terminals_get_fewer_columns() {
        let row = || (0..8).map(|at| Cell::new(format!("column-{at}"))).collect::<Vec<Cell>>();
        let left = |columns: Option<usize>| {
            let (mut rows, mut aligns) = ([row(), row()[..4].to_vec()], vec![Align::Left; 8]);
            narrow(&mut rows, &mut aligns, columns);
            assert_eq!(rows[0].len(), aligns.len());
            rows.map(|row| row.iter().map(|cell| cell.text.chars().last().unwrap()).collect::<String>())
        };
        assert_eq!(left(None), ["01234567", "0123"]);
        assert_eq!(left(Some(8 * 8 + 7 * 2)), ["01234567", "0123"]);
        assert_eq!(left(Some(8 * 8 + 7 * 2 - 1)), ["0123457", "0123"]);
        assert_eq!(left(Some(10)), ["0137", "013"]);
    }
}
