//! The rows as text: figures, and below each the code that asked.

use super::copies::toucher;
use super::{By, OriginsView, texts};
use crate::run::LineOptions;
use crate::stack::{ShownFrame, ShownStack, push_lines};
use crate::style::Paint;
use crate::table::{Align, Cell, Table};
use crate::units::{count, size};
use std::fmt::{self, Write};
use vmatlas_event::{Bytes, OpKind, SnapshotReason, Symbol};
use vmatlas_model::{Site, SiteSum};

/// How it is written.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// What rows are ordered by.
    pub by: By,
    /// At most so many rows; 0 for all.
    pub top: usize,
    /// At most so many frames of each stack; 0 for all.
    pub frames: usize,
}

/// How far frames are moved in below their row.
const INDENT: usize = 4;

/// Figures that stand in a column, where anything is known of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Figure {
    Mapped,
    Asked,
    Resident,
    Touched,
    Faults,
    Calls,
    Vmas,
}

impl Figure {
    fn heading(self) -> &'static crate::Text {
        match self {
            Figure::Mapped => &texts::MAPPED,
            Figure::Asked => &texts::ASKED,
            Figure::Resident => &texts::RESIDENT,
            Figure::Touched => &texts::TOUCHED,
            Figure::Faults => &texts::FAULTS,
            Figure::Calls => &texts::CALLS,
            Figure::Vmas => &texts::VMAS,
        }
    }

    fn cell(self, sum: &SiteSum) -> Cell {
        let bytes = |bytes: Bytes| match bytes.0 {
            0 => Cell::new("0").paint(Paint::Faint),
            _ => Cell::new(size(bytes)),
        };
        let number = |n: u64| match n {
            0 => Cell::new("0").paint(Paint::Faint),
            _ => Cell::new(count(n)),
        };
        match self {
            Figure::Mapped => bytes(sum.mapped),
            Figure::Asked => bytes(sum.asked),
            Figure::Touched => bytes(sum.touched),
            Figure::Resident if sum.mapped.0 == 0 => bytes(Bytes(0)),
            Figure::Resident => sum.resident.map_or(Cell::new("?").paint(Paint::Faint), bytes),
            Figure::Faults => number(sum.faults),
            Figure::Calls => number(sum.calls),
            Figure::Vmas if sum.vmas < 0 => Cell::new(format!("-{}", count(sum.vmas.unsigned_abs()))),
            Figure::Vmas => number(sum.vmas.unsigned_abs()),
        }
    }
}

impl OriginsView {
    /// Writes the process, a row for each site with the frames of its stack, the total, and what is not known.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_text(&self, out: &mut dyn Write, line: &LineOptions, options: &Options) -> fmt::Result {
        let lang = line.lang;
        self.header.write_title(out, lang, line.style)?;
        writeln!(out)?;
        let all = self.rows(options.by);
        let shown = if options.top == 0 { all.len() } else { options.top.min(all.len()) };
        let (rows, rest) = all.split_at(shown);
        let figures = self.figures();
        let cells = |sum: &SiteSum, who: Cell| -> Vec<Cell> {
            figures.iter().map(|figure| figure.cell(sum)).chain([who]).collect()
        };
        let mut head: Vec<Cell> = figures
            .iter()
            .map(|figure| Cell::new(figure.heading().get(lang)).paint(Paint::Heading))
            .collect();
        head.push(Cell::new(texts::WHO.get(lang)).paint(Paint::Heading));
        let total = texts::TOTAL.fill(lang, &[("n", &count(all.len() as u64))]);
        let total = cells(&self.total(), Cell::new(total).paint(Paint::Heading));
        let lines: Vec<(Site, Vec<Cell>)> =
            rows.iter().map(|(site, sum)| (*site, cells(sum, self.who(*site, line, options)))).collect();

        let mut aligns = vec![Align::Right; figures.len()];
        aligns.push(Align::Left);
        let mut table = Table::new(&aligns, line.style, line.columns);
        lines.iter().map(|(_, cells)| cells).chain([&head, &total]).for_each(|cells| table.fit_row(cells));
        table.row(out, &head)?;
        for (site, cells) in &lines {
            table.row(out, cells)?;
            if let Site::Stack(id) = site
                && let Some(stack) = self.stacks.get(id)
            {
                write_stack(out, stack, options.frames, line)?;
            }
            if matches!(options.by, By::Touched | By::Faults) {
                self.write_touchers(out, *site, line, options)?;
            }
        }
        if !rest.is_empty() {
            let mapped = Bytes(rest.iter().map(|(_, sum)| sum.mapped.0).sum());
            let values: [(&str, &dyn fmt::Display); 2] =
                [("n", &count(rest.len() as u64)), ("size", &size(mapped))];
            writeln!(out, "{}", line.style.paint(Paint::Faint, &texts::MORE_ROWS.fill(lang, &values)))?;
        }
        table.row(out, &total)?;
        if let Some(limit) = self.map_limit.filter(|limit| options.by == By::Vmas && *limit > 0) {
            let vmas = self.total().vmas.max(0).unsigned_abs();
            let share = format!("{:.1}", vmas as f64 * 100.0 / limit as f64);
            let values: [(&str, &dyn fmt::Display); 3] =
                [("n", &count(vmas)), ("limit", &count(limit)), ("share", &share)];
            writeln!(out, "{}", texts::BUDGET.fill(lang, &values))?;
        }
        self.write_notes(out, line)
    }

    /// Columns of which anything is known.
    fn figures(&self) -> Vec<Figure> {
        let mut figures = vec![Figure::Mapped];
        if self.known.calls {
            figures.push(Figure::Asked);
        }
        if self.known.resident_why.is_none() {
            figures.push(Figure::Resident);
        }
        if self.known.faults {
            figures.extend([Figure::Touched, Figure::Faults]);
        }
        if self.known.calls {
            figures.push(Figure::Calls);
        }
        figures.push(Figure::Vmas);
        figures
    }

    /// The innermost function that asked, or what there is in place of a stack.
    fn who(&self, site: Site, line: &LineOptions, options: &Options) -> Cell {
        let lang = line.lang;
        match site {
            Site::Stack(id) => match self.stacks.get(&id) {
                Some(stack) => Cell::new(innermost(stack, options.frames, line)),
                None => Cell::new(texts::NO_STACK.fill(lang, &[("id", &id)])).paint(Paint::Faint),
            },
            Site::Call(pid, call) => {
                Cell::new(texts::BY_CALL.fill(lang, &[("pid", &pid), ("call", &call.name())]))
            }
            Site::Found(SnapshotReason::Exec) => Cell::new(texts::BY_EXEC.get(lang)),
            Site::Found(SnapshotReason::Attach | SnapshotReason::Watch) => Cell::new(texts::BEFORE.get(lang)),
            Site::Found(SnapshotReason::Fork) => Cell::new(texts::BY_FORK.get(lang)),
            Site::Found(_) => Cell::new(texts::FOUND.get(lang)),
            Site::Unknown => Cell::new(texts::UNKNOWN.get(lang)),
        }
    }

    /// Who touched the memory of a site, those with the most faults.
    fn write_touchers(
        &self,
        out: &mut dyn Write,
        site: Site,
        line: &LineOptions,
        options: &Options,
    ) -> fmt::Result {
        const SHOWN: usize = 3;
        let touchers = self.touchers.get(&site).map(Vec::as_slice).unwrap_or_default();
        let most = if options.top == 0 { touchers.len() } else { SHOWN };
        for (by, faults) in touchers.iter().take(most) {
            let who = toucher(*by, &self.stacks, options.frames, line);
            let values: [(&str, &dyn fmt::Display); 2] = [("n", &count(*faults)), ("who", &who)];
            writeln!(out, "  {}", texts::TOUCHED_BY.fill(line.lang, &values))?;
            if let vmatlas_model::Toucher::Stack(id) = by
                && let Some(stack) = self.stacks.get(id)
            {
                write_stack(out, stack, options.frames, line)?;
            }
        }
        let rest = touchers.get(most..).unwrap_or_default();
        if !rest.is_empty() {
            let n = count(rest.len() as u64);
            let faults = count(rest.iter().map(|(_, faults)| faults).sum());
            let values: [(&str, &dyn fmt::Display); 2] = [("n", &n), ("faults", &faults)];
            let more = texts::MORE_TOUCHERS.fill(line.lang, &values);
            writeln!(out, "  {}", line.style.paint(Paint::Faint, &more))?;
        }
        Ok(())
    }

    fn write_notes(&self, out: &mut dyn Write, line: &LineOptions) -> fmt::Result {
        let has_stacks = self.sites.keys().any(|site| matches!(site, Site::Stack(_)));
        let mut notes = Vec::new();
        if !self.known.calls {
            notes.push(&texts::NOT_RECORDED);
        } else {
            notes.extend((!has_stacks).then_some(&texts::NO_STACKS));
            notes.push(if self.known.faults { &texts::FAULTS_ARE_NOT_PAGES } else { &texts::NO_FAULTS });
            notes.extend((self.known.resident_why.is_some()).then_some(&texts::NO_PAGES));
        }
        for (n, note) in notes.iter().enumerate() {
            let gap = if n == 0 { "\n" } else { "" };
            writeln!(out, "{gap}{}", line.style.paint(Paint::Faint, note.get(line.lang)))?;
        }
        Ok(())
    }
}

/// Who called the function that stands in a row, at most so many functions in all (0 for all, the call's own too).
pub(super) fn write_stack(
    out: &mut dyn Write,
    stack: &ShownStack,
    most: usize,
    line: &LineOptions,
) -> fmt::Result {
    let mut frames = callers(stack, most);
    frames.drain(..frames.len().min(1));
    let left = if most == 0 { 0 } else { frames.len().saturating_sub(most - 1) };
    frames.truncate(frames.len() - left);
    let end = if left == 0 { stack.end } else { vmatlas_event::StackEnd::Start };
    let mut text = String::new();
    push_lines(&mut text, &ShownStack { frames, end }, INDENT, line);
    out.write_str(&text)?;
    if left > 0 {
        let more = texts::MORE_FRAMES.fill(line.lang, &[("n", &left)]);
        writeln!(out, "{:INDENT$}{}", "", line.style.paint(Paint::Faint, &more))?;
    }
    Ok(())
}

/// The function that stands in a row: the innermost one of a stack, where at most so many are shown.
pub(super) fn innermost(stack: &ShownStack, most: usize, line: &LineOptions) -> String {
    let mut text = String::new();
    let plain = LineOptions { style: crate::Style::default(), columns: None, ..*line };
    let frames = callers(stack, most).into_iter().take(1).collect();
    let first = ShownStack { frames, end: vmatlas_event::StackEnd::Start };
    push_lines(&mut text, &first, 0, &plain);
    text.lines().next().unwrap_or_default().to_owned()
}

/// The functions of a stack, each a frame, without the C library's for the call itself: every stack begins with one of
/// those, and nobody asks who that was. All of them where all frames are wanted, or where there is nothing else.
fn callers(stack: &ShownStack, most: usize) -> Vec<ShownFrame> {
    let alone =
        |frame: &ShownFrame, symbol: &Symbol| ShownFrame { symbols: vec![symbol.clone()], ..frame.clone() };
    let mut functions: Vec<ShownFrame> = Vec::new();
    for frame in &stack.frames {
        match frame.symbols.as_slice() {
            [] => functions.push(frame.clone()),
            symbols => functions.extend(symbols.iter().map(|symbol| alone(frame, symbol))),
        }
    }
    let wrappers = functions.iter().take_while(|function| is_call(function)).count();
    if most > 0 && wrappers < functions.len() {
        functions.drain(..wrappers);
    }
    functions
}

/// Whether a function is the C library's for a call: `mmap`, `__mmap64`, `__GI___munmap`, `__sbrk`.
fn is_call(function: &ShownFrame) -> bool {
    let Some(name) = function.symbols.first().and_then(|symbol| symbol.function.as_ref()) else {
        return false;
    };
    let Ok(name) = std::str::from_utf8(name.as_bytes()) else { return false };
    let name = name.trim_start_matches('_');
    let name = name.strip_prefix("GI_").unwrap_or(name).trim_start_matches('_');
    let name = name.strip_suffix("64").unwrap_or(name);
    name == "sbrk" || name == "syscall" || OpKind::CALLS.iter().any(|call| call.name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmatlas_event::{Addr, Frame, Name, Place};

    /// A frame of these functions, the innermost of inlined ones first.
    fn frame(functions: &[&str]) -> ShownFrame {
        let symbol = |at: usize, name: &&str| Symbol {
            function: Some(Name::new(name.as_bytes())),
            file: None,
            line: None,
            is_inlined: at + 1 < functions.len(),
        };
        let symbols = functions.iter().enumerate().map(|(at, name)| symbol(at, name)).collect();
        let frame = Frame { place: Place::Unknown(Addr(1)), is_return: true };
        ShownFrame { frame, found: None, module: None, symbols }
    }

    fn names(frames: &[&[&str]], most: usize) -> Vec<String> {
        let frames = frames.iter().map(|functions| frame(functions)).collect();
        let stack = ShownStack { frames, end: vmatlas_event::StackEnd::Start };
        let functions = callers(&stack, most);
        let name = |function: &ShownFrame| function.symbols[0].function.clone().unwrap();
        functions.iter().map(|f| String::from_utf8_lossy(name(f).as_bytes()).into_owned()).collect()
    }

    /// Checks that a row begins with who called the C library, also where that was inlined, and that nothing else is left out.
    #[test]
    fn the_call_itself_asked_for_nothing() {
        let map = ["__mmap64", "new_arena", "grow"];
        assert_eq!(names(&[&map, &["main"]], 5), ["new_arena", "grow", "main"]);
        assert_eq!(names(&[&["__GI___munmap"], &["main"]], 5), ["main"]);
        assert_eq!(names(&[&["brk"], &["__sbrk"], &["mmap_all", "brk"]], 5), ["mmap_all", "brk"]);
        assert_eq!(names(&[&["syscall"], &["mmap"]], 5), ["syscall", "mmap"]);
        assert_eq!(names(&[&map], 0), map);
    }
}
