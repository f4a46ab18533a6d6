//! The sheet as text.

use super::{Options, RssView, evidence, percent, texts};
use crate::kind_text::kind_name;
use crate::show::{Missing, paint_of};
use crate::style::Paint;
use crate::table::{Align, Cell, Table, write_table};
use crate::units::{count, size};
use std::fmt::{self, Write};
use vmatlas_event::Bytes;
use vmatlas_model::kind::{Confidence, Kind, RuntimeHint};
use vmatlas_model::rss::Amounts;

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
            locked: sum.locked.or(self.sheet.kernel.locked).is_some_and(|locked| locked.0 > 0),
            frames: sum.frames.is_some() && sum.unread < sum.vmas,
        };
        let mut rows = vec![columns.head(lang)];
        for line in &self.sheet.lines {
            let label = Cell::new(kind_name(line.kind, lang)).paint(paint_of(line.kind));
            let known = evidence(line.kind, &line.amounts, lang);
            rows.push(columns.row(label, &line.amounts, sum.pages.resident, known));
            rows.extend(self.parts(line.kind, options));
        }
        let label = Cell::new(texts::SUM.get(lang)).paint(Paint::Heading);
        rows.push(columns.row(label, sum, sum.pages.resident, String::new()));
        let aligns = columns.aligns();
        let mut table = Table::new(&aligns, options.style, options.columns);
        rows.iter().for_each(|row| table.fit_row(row));
        rows.iter().try_for_each(|row| table.row(out, row))?;
        let frames = match self.map.frames_why {
            Some(Missing::Hidden) => Some(texts::PSS_HIDDEN),
            Some(Missing::Unknown) => Some(texts::PSS_UNKNOWN),
            _ => None,
        };
        if let Some(text) = frames {
            writeln!(out, "{}", options.style.paint(Paint::Faint, text.get(lang)))?;
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
        if kind == Kind::Anonymous {
            let mapped = self.inside.as_ref().and_then(|i| i.mapped).filter(|b| b.0 > 0);
            let label =
                Cell::new(format!("  {}", texts::MALLOC_MAPPED.get(options.lang))).paint(Paint::Faint);
            return mapped.map(|b| vec![label, amount(Some(b)).paint(Paint::Faint)]).into_iter().collect();
        }
        let main = match kind {
            Kind::Heap => true,
            Kind::MallocArena => false,
            _ => return Vec::new(),
        };
        let Some(inside) = self.inside.as_ref().filter(|i| i.arenas.iter().any(|a| a.main == main)) else {
            return Vec::new();
        };
        let label =
            |text: crate::Text| Cell::new(format!("  {}", text.get(options.lang))).paint(Paint::Faint);
        let figure = |bytes: Option<Bytes>| match bytes {
            Some(_) => amount(bytes).paint(Paint::Faint),
            None => Cell::new(texts::UNKNOWN.get(options.lang)).paint(Paint::Faint),
        };
        // What malloc has given out or holds is address space, whether it was ever touched or not.
        let of_size = |text, bytes| vec![label(text), figure(bytes)];
        let of_resident = |text, bytes| vec![label(text), Cell::new(""), Cell::new(""), figure(bytes)];
        vec![
            of_size(texts::USED, inside.sum(Some(main), |a| a.used)),
            of_size(texts::FREE, inside.sum(Some(main), |a| Some(a.free? + a.top?))),
            of_resident(texts::FREE_RESIDENT, inside.sum(Some(main), |a| a.free_resident)),
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
