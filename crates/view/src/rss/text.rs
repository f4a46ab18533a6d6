//! The sheet as text.

use super::{Options, RssView, evidence, percent, signed, texts};
use crate::escape;
use crate::kind_text::kind_name;
use crate::show::paint_of;
use crate::style::Paint;
use crate::table::{Align, Cell, Table, write_table};
use crate::units::{count, size};
use std::fmt::{self, Display, Write};
use vmatlas_event::{Bytes, Limit};
use vmatlas_model::kind::{Confidence, Kind, RuntimeHint};
use vmatlas_model::rss::{Amounts, Difference, Inside, Reason};

/// Names of the kernel, the same in every language.
const ROLLUP: &str = "smaps_rollup (Rss)";
const COUNTER: &str = "status (VmRSS)";

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
        let (h, lang, style) = (&self.map.header, options.lang, options.style);
        let name = escape::terminal(&h.name);
        let title = match h.pid {
            Some(pid) => crate::texts::PROCESS.fill(lang, &[("name", &name), ("pid", &pid)]),
            None => name,
        };
        write!(out, "{}", style.paint(Paint::Heading, &title))?;
        if !h.exe.is_empty() {
            write!(out, "  {}", style.paint(Paint::Faint, &escape::terminal(&h.exe)))?;
        }
        writeln!(out)?;
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
            locked: sum.locked.is_none_or(|l| l.0 > 0) && self.sheet.kernel.locked != Some(Bytes(0)),
            frames: sum.frames.is_some(),
        };
        let mut rows = vec![columns.head(lang)];
        for line in &self.sheet.lines {
            let label = Cell::new(kind_name(line.kind, lang)).paint(paint_of(line.kind));
            let known = evidence(line.kind, &line.amounts, lang);
            rows.push(columns.row(label, &line.amounts, sum.pages.resident, known));
            rows.extend(self.parts(line.kind, &columns, options));
        }
        let label = Cell::new(texts::SUM.get(lang)).paint(Paint::Heading);
        rows.push(columns.row(label, sum, sum.pages.resident, String::new()));
        let aligns = columns.aligns();
        let mut table = Table::new(&aligns, options.style, options.columns);
        rows.iter().for_each(|row| table.fit_row(row));
        rows.iter().try_for_each(|row| table.row(out, row))?;
        if sum.unread > 0 {
            let text = texts::UNREAD.fill(lang, &[("n", &count(sum.unread))]);
            writeln!(out, "{}", options.style.paint(Paint::Faint, &text))?;
        }
        Ok(())
    }

    /// What malloc says of a line, as rows below it.
    fn parts(&self, kind: Kind, columns: &Columns, options: &Options) -> Vec<Vec<Cell>> {
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
        let part = |text: crate::Text, bytes: Option<Bytes>| {
            let label = Cell::new(format!("  {}", text.get(options.lang))).paint(Paint::Faint);
            columns.part(label, bytes, options.lang)
        };
        vec![
            part(texts::USED, inside.sum(Some(main), |a| a.used)),
            part(texts::FREE, inside.sum(Some(main), |a| Some(a.free? + a.top?))),
            part(texts::FREE_RESIDENT, inside.sum(Some(main), |a| a.free_resident)),
        ]
    }

    fn write_kernel(&self, out: &mut dyn Write, options: &Options) -> fmt::Result {
        let (lang, kernel) = (options.lang, &self.sheet.kernel);
        heading(out, texts::KERNEL.get(lang), options)?;
        let verdict = |difference: Difference, why: Option<String>| match difference.signed() {
            0 => texts::EQUAL.get(lang).to_owned(),
            bytes => {
                let rest = texts::REMAINDER.fill(lang, &[("size", &signed(bytes))]);
                why.map_or(rest.clone(), |why| format!("{rest}: {why}"))
            }
        };
        let moved = kernel.moved().filter(|bytes| *bytes != 0);
        let moved = moved.map(|bytes| texts::MOVED.fill(lang, &[("size", &signed(bytes))]));
        let mut rows = Vec::new();
        rows.push(match self.sheet.against_rollup() {
            Some(d) => note(ROLLUP, Some(d.kernel), verdict(d, moved.clone())),
            None => note(ROLLUP, None, texts::ROLLUP_NOT_READ.get(lang).to_owned()),
        });
        if let Some(d) = self.sheet.against_counter() {
            let why = moved.unwrap_or_else(|| texts::COUNTER_ERROR.get(lang).to_owned());
            rows.push(note(COUNTER, Some(d.kernel), verdict(d, Some(why))));
        }
        notes(out, &rows, options)
    }

    fn write_within(&self, out: &mut dyn Write, options: &Options) -> fmt::Result {
        let (lang, sum) = (options.lang, &self.sheet.sum);
        let mut rows = Vec::new();
        if sum.pages.huge.0 > 0 {
            rows.push(note(
                texts::HUGE.get(lang),
                Some(sum.pages.huge),
                texts::HUGE_NOTE.get(lang).to_owned(),
            ));
        }
        let lazy = self.sheet.kernel.lazy_free.or(sum.frames.map(|f| f.lazy_free));
        match lazy {
            Some(Bytes(0)) => {}
            Some(bytes) => {
                rows.push(note(texts::LAZY.get(lang), Some(bytes), texts::LAZY_NOTE.get(lang).to_owned()))
            }
            None => rows.push(note(texts::LAZY.get(lang), None, texts::LAZY_UNKNOWN.get(lang).to_owned())),
        }
        if let Some(inside) = &self.inside {
            let trim = inside.sum(None, |a| a.free_resident).filter(|b| b.0 > 0);
            rows.extend(
                trim.map(|b| note(texts::TRIM.get(lang), Some(b), texts::TRIM_NOTE.get(lang).to_owned())),
            );
            rows.extend(inside.cached.map(|b| note(texts::CACHED.get(lang), Some(b), String::new())));
        }
        if rows.is_empty() {
            return Ok(());
        }
        heading(out, texts::WITHIN.get(lang), options)?;
        notes(out, &rows, options)
    }

    fn write_outside(&self, out: &mut dyn Write, options: &Options) -> fmt::Result {
        let (lang, sum, kernel) = (options.lang, &self.sheet.sum, &self.sheet.kernel);
        let mut rows = Vec::new();
        rows.extend(kernel.page_tables.map(|b| note(texts::PAGE_TABLES.get(lang), Some(b), String::new())));
        let hugetlb = Some(sum.pages.hugetlb.max(kernel.hugetlb.unwrap_or_default())).filter(|b| b.0 > 0);
        rows.extend(hugetlb.map(|b| note(texts::HUGETLB.get(lang), Some(b), String::new())));
        let swap = kernel.rollup_swap.or(kernel.swap).filter(|b| b.0 > 0);
        let swap_note = if kernel.rollup_swap.is_some() { "" } else { texts::SWAP_NOTE.get(lang) };
        rows.extend(swap.map(|b| note(texts::SWAP.get(lang), Some(b), swap_note.to_owned())));
        let zero = Some(sum.pages.zero).filter(|b| b.0 > 0);
        rows.extend(
            zero.map(|b| note(texts::ZERO.get(lang), Some(b), texts::ZERO_NOTE.get(lang).to_owned())),
        );
        if rows.is_empty() {
            return Ok(());
        }
        heading(out, texts::OUTSIDE.get(lang), options)?;
        notes(out, &rows, options)
    }

    fn write_profiler(&self, out: &mut dyn Write, options: &Options) -> fmt::Result {
        let Some(total) = self.profiler else { return Ok(()) };
        let lang = options.lang;
        let view = self.sheet.profiler(total);
        heading(out, &texts::PROFILER.fill(lang, &[("size", &size(total))]), options)?;
        let names = |wanted| -> String {
            let lines = self.sheet.lines.iter();
            let lines = lines.filter(|l| {
                vmatlas_model::rss::containment(l.kind) == wanted
                    && l.amounts.pages.resident + l.amounts.pages.hugetlb > Bytes(0)
            });
            lines.map(|l| kind_name(l.kind, lang)).collect::<Vec<_>>().join(", ")
        };
        use vmatlas_model::rss::Containment::{Can, Cannot, Part};
        let rows = [
            note(texts::CAN.get(lang), Some(view.can), names(Can)),
            note(texts::PART.get(lang), Some(view.part), names(Part)),
            note(texts::CANNOT.get(lang), Some(view.cannot), names(Cannot)),
        ];
        notes(out, &rows, options)?;
        let (least, most) = view.beyond();
        if most.0 > 0 {
            let values: [(&str, &dyn Display); 2] = [("least", &size(least)), ("most", &size(most))];
            paragraph(out, &texts::BEYOND.fill(lang, &values), options)?;
            let free = self.inside.as_ref().and_then(|inside| inside.sum(None, |a| a.free_resident));
            if let Some(free) = free {
                paragraph(out, &texts::BEYOND_FREE.fill(lang, &[("size", &size(free))]), options)?;
            }
        }
        if view.not_resident().0 > 0 {
            let text = texts::NOT_RESIDENT.fill(lang, &[("size", &size(view.not_resident()))]);
            paragraph(out, &text, options)?;
        }
        Ok(())
    }

    fn write_cgroup(&self, out: &mut dyn Write, options: &Options) -> fmt::Result {
        let lang = options.lang;
        let figures = match &self.cgroup {
            Ok(figures) => figures,
            Err(why) => {
                return heading(out, &texts::CGROUP_UNKNOWN.fill(lang, &[("why", why)]), options);
            }
        };
        let path = escape::terminal(&figures.memory.path);
        let values: [(&str, &dyn Display); 2] =
            [("path", &path), ("version", &figures.memory.version.number())];
        heading(out, &texts::CGROUP.fill(lang, &values), options)?;
        let pages = self.sheet.sum.pages;
        let known = self.sheet.sum.unread < self.sheet.sum.vmas;
        let ours = |bytes: Bytes| known.then_some(bytes);
        let head = |text: crate::Text| Cell::new(text.get(lang)).paint(Paint::Faint);
        let row = |text: crate::Text, theirs: Option<Bytes>, ours: Option<Bytes>| {
            vec![Cell::new(format!("  {}", text.get(lang))), amount(theirs), amount(ours)]
        };
        let mut rows =
            vec![vec![Cell::new(""), Cell::new("CGROUP").paint(Paint::Faint), head(texts::PROCESS_COLUMN)]];
        let stat = &figures.memory.stat;
        rows.push(row(texts::CHARGED, figures.memory.current, ours(pages.resident)));
        rows.push(row(texts::ANONYMOUS, stat.anon, ours(pages.anonymous)));
        rows.push(row(texts::CACHE, stat.file, ours(pages.of_files())));
        if stat.shmem.is_some() || self.sheet.kernel.shmem.is_some() {
            rows.push(row(texts::SHMEM, stat.shmem, self.sheet.kernel.shmem));
        }
        rows.push(row(texts::PAGE_TABLES, stat.pagetables, self.sheet.kernel.page_tables));
        rows.push(row(texts::KERNEL_MEMORY, stat.kernel, None));
        if let Some(Limit::At(limit)) = figures.memory.max {
            rows.push(row(texts::LIMIT, Some(limit), None));
        }
        write_table(out, &[Align::Left, Align::Right, Align::Right], &rows, options.style, options.columns)?;
        let reasons = figures.reasons(&self.sheet);
        if reasons.is_empty() {
            return Ok(());
        }
        writeln!(out, "  {}", texts::WHY_DIFFERENT.get(lang))?;
        reasons.iter().try_for_each(|reason| paragraph(out, &format!("· {}", say(*reason, options)), options))
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

fn say(reason: Reason, options: &Options) -> String {
    let lang = options.lang;
    let with = |text: crate::Text, bytes: Bytes| text.fill(lang, &[("size", &size(bytes))]);
    match reason {
        Reason::OtherMembers(n) => texts::R_MEMBERS.fill(lang, &[("n", &count(n))]),
        Reason::UnmappedCache(bytes) => with(texts::R_CACHE, bytes),
        Reason::CacheMayBeUnmapped => texts::R_MAYBE.get(lang).to_owned(),
        Reason::Kernel(bytes) => with(texts::R_KERNEL, bytes),
        Reason::ChargedElsewhere(bytes) => with(texts::R_ELSEWHERE, bytes),
        Reason::AnonymousElsewhere(bytes) => with(texts::R_ANON, bytes),
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

    /// A row below a line, with one figure in the column of resident sizes.
    fn part(&self, label: Cell, bytes: Option<Bytes>, lang: crate::Lang) -> Vec<Cell> {
        let figure = match bytes {
            Some(bytes) => Cell::new(size(bytes)),
            None => Cell::new(texts::UNKNOWN.get(lang)),
        };
        vec![label, Cell::new(""), Cell::new(""), figure.paint(Paint::Faint)]
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

/// A label, a figure and a remark.
fn note(label: &str, bytes: Option<Bytes>, remark: String) -> Vec<Cell> {
    vec![Cell::new(format!("  {label}")), amount(bytes), Cell::new(remark).paint(Paint::Faint)]
}

fn notes(out: &mut dyn Write, rows: &[Vec<Cell>], options: &Options) -> fmt::Result {
    let mut table = Table::new(&[Align::Left, Align::Right, Align::Left], options.style, None);
    rows.iter().for_each(|row| table.fit_row(row));
    rows.iter().try_for_each(|row| table.row(out, row))
}

fn paragraph(out: &mut dyn Write, text: &str, options: &Options) -> fmt::Result {
    writeln!(out, "  {}", options.style.paint(Paint::Faint, text))
}

/// Arenas one by one, for the line that is opened.
pub(super) fn write_arenas(
    out: &mut dyn Write,
    inside: &Inside,
    main: bool,
    options: &Options,
) -> fmt::Result {
    let lang = options.lang;
    heading(out, texts::ARENAS.get(lang), options)?;
    let head = |text: crate::Text| Cell::new(text.get(lang)).paint(Paint::Heading);
    let mut rows = vec![vec![
        head(texts::ARENA),
        head(texts::THREADS),
        head(texts::SYSTEM),
        head(texts::IN_USE),
        head(texts::FREE_COLUMN),
        head(texts::BLOCKS),
        head(texts::LARGEST),
        head(texts::TOP),
        head(texts::FREE_RESIDENT_COLUMN),
    ]];
    let number = |n: Option<u64>| Cell::new(n.map_or_else(|| "-".to_owned(), count));
    for arena in inside.arenas.iter().filter(|arena| arena.main == main) {
        let name = if arena.main { "main".to_owned() } else { arena.addr.to_string() };
        rows.push(vec![
            Cell::new(name),
            number(arena.threads),
            amount(arena.system),
            amount(arena.used),
            amount(arena.free),
            number(arena.free_blocks),
            amount(arena.largest_free),
            amount(arena.top),
            amount(arena.free_resident),
        ]);
    }
    let mut aligns = vec![Align::Left];
    aligns.extend([Align::Right; 8]);
    write_table(out, &aligns, &rows, options.style, options.columns)?;
    let troubles = inside.arenas.iter().filter_map(|a| Some((a.addr, a.trouble.as_ref()?)));
    for (addr, why) in troubles {
        let text = texts::UNKNOWN_WHY.fill(lang, &[("why", &escape::terminal(why.as_bytes()))]);
        paragraph(out, &format!("{addr}: {text}"), options)?;
    }
    match &inside.trouble {
        Some(why) => paragraph(out, &escape::terminal(why.as_bytes()), options),
        None => Ok(()),
    }
}
