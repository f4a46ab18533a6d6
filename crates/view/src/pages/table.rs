//! Runs of pages as text, written while they are read.

use super::{PagesRow, Reading, Run, Sum, Totals, bytes, flags, texts};
use crate::change::what;
use crate::lang::Lang;
use crate::picture::wrap::wrap;
use crate::show::paint_of;
use crate::style::{Paint, Style};
use crate::table::{Align, Cell, Table, width, write_table};
use crate::units::{count, size};
use std::fmt::{self, Write};
use vmatlas_event::PageState;
use vmatlas_model::kind::Kind;

/// A terminal as wide as this has room for flags.
const WIDE: usize = 110;

/// How runs are written.
#[derive(Clone, Copy, Debug)]
pub struct TextOptions {
    /// The language.
    pub lang: Lang,
    /// Colours.
    pub style: Style,
    /// The terminal's width; `None` for no limit.
    pub columns: Option<usize>,
    /// The size of a page.
    pub page: u64,
    /// How many runs at most.
    pub limit: u64,
}

/// A table being written.
#[derive(Debug)]
pub struct TextWriter<'a> {
    rows: &'a [PagesRow],
    options: TextOptions,
    table: Table,
    last_row: Option<usize>,
    some_flags: bool,
    totals: Totals,
    left_out: (u64, u64),
    written: u64,
}

/// What pages of this state are called in a VMA of this kind.
pub fn state_name(state: PageState, huge: bool, kind: Option<Kind>, lang: Lang) -> String {
    let name = match (state, kind) {
        (PageState::Anonymous, _) => texts::ANONYMOUS,
        (PageState::File, Some(Kind::Shared)) => texts::SHARED_MEMORY,
        (PageState::File, Some(Kind::Kernel)) => texts::KERNEL,
        (PageState::File, _) => texts::FILE,
        (PageState::Hugetlb, _) => texts::HUGETLB,
        (PageState::Zero, _) => texts::ZERO,
        (PageState::Swapped, _) => texts::SWAPPED,
        (PageState::Guard, _) => texts::GUARD,
        (PageState::NotPresent, _) => texts::NOT_PRESENT,
    };
    match huge && state != PageState::Hugetlb {
        true => texts::HUGE.fill(lang, &[("what", &name.get(lang))]),
        false => name.get(lang).to_owned(),
    }
}

/// Frames as a range; the end is the first that is no more of it, as with addresses.
pub(crate) fn frame_text(pfn: u64, pages: u64) -> String {
    match pages {
        1 => format!("{pfn:#x}"),
        n => format!("{pfn:#x}-{:#x}", pfn.saturating_add(n)),
    }
}

/// By how many page tables pages are mapped: a number, or what can be told without it.
pub(crate) fn mapped_text(run: &Run, lang: Lang) -> String {
    match (run.mapped, run.alone) {
        _ if !run.state.has_frame() => String::new(),
        (Some((least, most)), _) if least == most => least.to_string(),
        (Some((least, most)), _) => format!("{least}-{most}"),
        (None, Some(true)) => texts::ALONE.get(lang).to_owned(),
        (None, Some(false)) => texts::SHARED.get(lang).to_owned(),
        (None, None) => texts::UNKNOWN.get(lang).to_owned(),
    }
}

impl<'a> TextWriter<'a> {
    /// For runs of these rows.
    pub fn new(rows: &'a [PagesRow], options: TextOptions) -> TextWriter<'a> {
        use Align::{Left, Right};
        let mut aligns = vec![Left, Right, Right, Left, Left, Left];
        if options.columns.is_none_or(|columns| columns >= WIDE) {
            aligns.push(Left);
        }
        let mut table = Table::new(&aligns, options.style, options.columns);
        for row in rows {
            let pages = row.vma.range.len().0 / options.page.max(1);
            table.fit(0, 2 + row.vma.range.start().to_string().len());
            table.fit(1, count(pages).len());
            let states =
                [(PageState::Anonymous, true), (PageState::File, false), (PageState::NotPresent, false)];
            for (state, huge) in states {
                table.fit(3, width(&state_name(state, huge, Some(row.kind), options.lang)));
            }
        }
        table.fit(2, "1023 KiB".len());
        table.fit(5, "0x123456-0x123456".len() + if aligns.len() > 6 { " … 1,234 runs".len() } else { 0 });
        let mut writer = TextWriter {
            rows,
            options,
            table,
            last_row: None,
            some_flags: false,
            totals: Totals::default(),
            left_out: (0, 0),
            written: 0,
        };
        let head = writer.head();
        writer.table.fit_row(&head);
        writer
    }

    fn is_wide(&self) -> bool {
        self.options.columns.is_none_or(|columns| columns >= WIDE)
    }

    fn head(&self) -> Vec<Cell> {
        let lang = self.options.lang;
        let mut head = vec![
            crate::texts::ADDRESS,
            texts::PAGES,
            crate::texts::SIZE,
            texts::WHAT,
            texts::MAPPED_BY,
            texts::FRAMES,
        ];
        if self.is_wide() {
            head.push(texts::FLAGS);
        }
        head.iter().map(|text| Cell::new(text.get(lang)).paint(Paint::Heading)).collect()
    }

    /// Writes the heading.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn start(&mut self, out: &mut dyn Write) -> fmt::Result {
        self.table.row(out, &self.head())
    }

    /// Writes a run of row number `row`, with a line for the VMA before its first.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn run(&mut self, out: &mut dyn Write, row: usize, run: &Run) -> fmt::Result {
        self.totals.add(run);
        if self.written >= self.options.limit {
            self.left_out.0 += 1;
            self.left_out.1 += run.pages;
            return Ok(());
        }
        self.written += 1;
        if self.last_row != Some(row) {
            self.last_row = Some(row);
            self.vma(out, row)?;
        }
        let kind = self.rows.get(row).map(|row| row.kind);
        let cells = self.cells(run, kind);
        self.table.row(out, &cells)
    }

    fn vma(&self, out: &mut dyn Write, row: usize) -> fmt::Result {
        let Some(row) = self.rows.get(row) else { return Ok(()) };
        let (lang, style) = (self.options.lang, self.options.style);
        let sharing = if row.vma.sharing == vmatlas_event::Sharing::Shared { 's' } else { 'p' };
        let kind = crate::kind_text::kind_name(row.kind, lang);
        let start = format!("{}  {}{sharing}  ", row.vma.range, row.vma.prot);
        let name = row.vma.name.as_ref().map(|_| what(&row.vma, lang).into_owned()).unwrap_or_default();
        let used = width(&start) + width(kind) + 2;
        let name = match self.options.columns {
            Some(columns) if columns > used + 4 => crate::table::shorten(&name, columns - used),
            _ => name,
        };
        let between = if name.is_empty() { "" } else { "  " };
        writeln!(
            out,
            "\n{}{}{between}{name}",
            style.paint(Paint::Heading, &start),
            style.paint(paint_of(row.kind), kind)
        )
    }

    fn cells(&mut self, run: &Run, kind: Option<Kind>) -> Vec<Cell> {
        let lang = self.options.lang;
        let paint = match run.state {
            PageState::NotPresent => Paint::Faint,
            PageState::Anonymous | PageState::Hugetlb => Paint::Heap,
            PageState::File => Paint::File,
            PageState::Zero | PageState::Guard => Paint::Plain,
            PageState::Swapped => Paint::Changed,
        };
        let mapped = Cell::new(mapped_text(run, lang));
        let mapped = if run.alone == Some(false) { mapped.paint(Paint::Shared) } else { mapped };
        let mut cells = vec![
            Cell::new(format!("  {}", run.range.start())),
            Cell::new(count(run.pages)),
            Cell::new(size(run.range.len())),
            Cell::new(state_name(run.state, run.huge, kind, lang)).paint(paint),
            mapped,
            self.frames(run),
        ];
        if self.is_wide() {
            let (all, any) = run.flags.unwrap_or_default();
            let some = any & !all & !flags::COMMON;
            self.some_flags |= some != 0;
            let mut words = flags::flag_names(all & !flags::COMMON);
            words.extend(flags::flag_names(some).into_iter().map(|name| format!("({name})")));
            cells.push(Cell::new(words.join(" ")).paint(Paint::Faint));
        }
        cells
    }

    fn frames(&self, run: &Run) -> Cell {
        let lang = self.options.lang;
        match (run.frames.first(), run.frame_runs) {
            (Some(first), 1) => Cell::new(frame_text(first.pfn, first.pages)),
            (Some(first), n) if self.is_wide() => {
                let values: [(&str, &dyn fmt::Display); 2] =
                    [("first", &frame_text(first.pfn, first.pages)), ("n", &count(n))];
                Cell::new(texts::FRAME_RUNS_FROM.fill(lang, &values))
            }
            (Some(_), n) => Cell::new(texts::FRAME_RUNS.fill(lang, &[("n", &count(n))])),
            (None, _) if run.state.has_frame() => Cell::new(texts::HIDDEN.get(lang)).paint(Paint::Faint),
            (None, _) => Cell::new(""),
        }
    }

    /// Writes the totals.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn finish(&self, out: &mut dyn Write, reading: &Reading) -> fmt::Result {
        let lang = self.options.lang;
        if self.left_out.0 > 0 {
            let values: [(&str, &dyn fmt::Display); 3] = [
                ("n", &count(self.left_out.0)),
                ("pages", &count(self.left_out.1)),
                ("most", &self.options.limit),
            ];
            writeln!(out, "\n{}", texts::LEFT_OUT.fill(lang, &values))?;
        }
        writeln!(out)?;
        write_totals(out, &self.totals, &self.options)?;
        let notes = [
            (self.some_flags, texts::SOME_FLAGS),
            (self.totals.hidden > 0, texts::FRAMES_HIDDEN),
            (!reading.complete, texts::INCOMPLETE),
        ];
        for (_, note) in notes.iter().filter(|(is_so, _)| *is_so) {
            let columns = self.options.columns.unwrap_or(usize::MAX);
            for line in wrap(note.get(lang), columns) {
                writeln!(out, "{line}")?;
            }
        }
        Ok(())
    }
}

fn write_totals(out: &mut dyn Write, totals: &Totals, options: &TextOptions) -> fmt::Result {
    let lang = options.lang;
    let heading = |text: &crate::Text| Cell::new(text.get(lang)).paint(Paint::Heading);
    let head =
        [texts::WHAT, texts::RUNS, texts::PAGES, crate::texts::SIZE, texts::ALONE_SUM, texts::SHARED_SUM];
    let mut lines: Vec<Vec<Cell>> = vec![head.iter().map(heading).collect()];
    let line = |label: Cell, sum: Sum, has_frames: bool| {
        let part = |pages: u64| match has_frames {
            true => Cell::new(size(bytes(pages, options.page))),
            false => Cell::new(""),
        };
        // What has frames, but is neither: nobody tells.
        let is_known = sum.alone + sum.shared == sum.pages || sum.alone + sum.shared > 0;
        let unknown = Cell::new(texts::UNKNOWN.get(lang)).paint(Paint::Faint);
        let (alone, shared) = match !has_frames || is_known {
            true => (part(sum.alone), part(sum.shared)),
            false => (unknown.clone(), unknown),
        };
        let amount = Cell::new(size(bytes(sum.pages, options.page)));
        vec![label, Cell::new(count(sum.runs)), Cell::new(count(sum.pages)), amount, alone, shared]
    };
    for state in PageState::ALL {
        let sum = totals.of(state);
        if sum.pages == 0 {
            continue;
        }
        lines.push(line(Cell::new(state_name(state, false, None, lang)), sum, state.has_frame()));
        if sum.huge > 0 && state != PageState::Hugetlb {
            let label = Cell::new(format!("  {}", state_name(state, true, None, lang))).paint(Paint::Faint);
            let amount = size(bytes(sum.huge, options.page));
            lines.push(vec![label, Cell::new(""), Cell::new(count(sum.huge)), Cell::new(amount)]);
        }
    }
    lines.push(line(heading(&crate::texts::TOTAL), totals.all(), totals.present() > 0));
    let mut aligns = vec![Align::Left];
    aligns.extend([Align::Right; 5]);
    write_table(out, &aligns, &lines, options.style, None)
}
