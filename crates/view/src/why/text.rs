//! The answer as text.

use super::{Found, Seen, Story, WhyView, origin_and_since, texts};
use crate::change::{self, what as contents};
use crate::escape;
use crate::kind_text::{kind_name, why_text};
use crate::looks::look_time;
use crate::run::{LineOptions, push_bare, push_line, push_what};
use crate::stack::{self, ShownStack};
use crate::style::Paint;
use crate::table::{Align, Cell, write_table};
use crate::units::{count, size};
use std::collections::BTreeMap;
use std::fmt::{self, Display, Write};
use vmatlas_event::{Backing, Event, Op, Seq, Sharing, VmaRow};
use vmatlas_model::Done;
use vmatlas_model::timeline::{Chapter, History, What};

impl WhyView {
    /// Writes the answer: what is there, who mapped it, what changed it since, and its neighbours.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_text(&self, out: &mut dyn Write, options: &LineOptions) -> fmt::Result {
        self.header.write_title(out, options.lang, options.style)?;
        writeln!(out)?;
        self.write_place(out, options)?;
        match &self.story {
            Story::Recorded { history, events, looks, stacks, faults } => {
                self.write_history(out, history, Told { events, looks, stacks }, options)?;
                if *faults && self.row.is_some() {
                    write_touch(out, history, stacks, options)
                } else {
                    Ok(())
                }
            }
            Story::NotSeen { lives } => self.write_advice(out, *lives, options),
        }
    }

    fn write_place(&self, out: &mut dyn Write, options: &LineOptions) -> fmt::Result {
        let lang = options.lang;
        let Some(row) = &self.row else {
            writeln!(out, "{}", texts::NOTHING.fill(lang, &[("addr", &self.addr)]))?;
            if let Some(below) = &self.around.0 {
                writeln!(out, "{}", texts::BELOW.fill(lang, &[("end", &below.range.end())]))?;
                writeln!(out, "  {}", line(below, options))?;
            }
            if let Some(above) = &self.around.1 {
                writeln!(out, "{}", texts::ABOVE.fill(lang, &[("start", &above.range.start())]))?;
                writeln!(out, "  {}", line(above, options))?;
            }
            return Ok(());
        };
        writeln!(out, "{}", texts::IN.fill(lang, &[("addr", &self.addr)]))?;
        writeln!(out, "  {}", line(&row.vma, options))?;
        let values: [(&str, &dyn Display); 2] =
            [("kind", &kind_name(row.verdict.kind, lang)), ("why", &why_text(&row.verdict.why, lang))];
        writeln!(out, "  {}", texts::KIND.fill(lang, &values))?;
        if row.vma.has_file() {
            let offset = row.vma.offset.wrapping_add(self.addr.0.wrapping_sub(row.vma.range.start().0));
            writeln!(out, "  {}", texts::IN_FILE.fill(lang, &[("offset", &format!("{offset:#x}"))]))?;
        }
        let backing = match row.backing {
            Backing::Unknown => return Ok(()),
            Backing::Anonymous => crate::show::texts::OF_NOTHING,
            Backing::File => crate::show::texts::OF_FILE,
            Backing::Shmem => crate::show::texts::OF_SHMEM,
            Backing::Hugetlb => crate::show::texts::HUGETLB,
            Backing::Special => crate::show::texts::OF_KERNEL,
        };
        writeln!(out, "  {}", texts::BACKING.fill(lang, &[("backing", &backing.get(lang))]))
    }

    fn write_history(
        &self,
        out: &mut dyn Write,
        history: &History,
        Told { events, looks, stacks }: Told<'_>,
        options: &LineOptions,
    ) -> fmt::Result {
        let (lang, style) = (options.lang, options.style);
        let heading = |text: &crate::Text| style.paint(Paint::Heading, text.get(lang));
        let last = history.chapters.iter().map(|chapter| chapter.event.seq).chain(history.origin).max();
        let number = format!("#{}", last.unwrap_or_default()).len();
        let book = Book { options, looks, stacks, number };
        let (own, since) = origin_and_since(history);
        writeln!(out)?;
        if self.row.is_none() {
            if history.chapters.is_empty() {
                writeln!(out, "{}", texts::NEVER.get(lang))?;
            } else {
                writeln!(out, "{}", heading(&texts::BEFORE))?;
            }
        } else {
            let is_seen = history.origin.is_some_and(|origin| looks.contains_key(&origin));
            let title = if is_seen { &texts::FIRST_SEEN } else { &texts::MAPPED_BY };
            writeln!(out, "{}", heading(title))?;
            match (own, history.origin.and_then(|origin| events.get(&origin))) {
                (Some(chapter), _) => book.chapter(out, chapter)?,
                (None, Some(event)) => book.event(out, event)?,
                (None, None) => writeln!(out, "  {}", texts::ORIGIN_UNKNOWN.get(lang))?,
            }
            let title = if since.is_empty() {
                style.paint(Paint::Faint, texts::NO_CHANGE_SINCE.get(lang))
            } else {
                heading(&texts::SINCE)
            };
            writeln!(out, "\n{title}")?;
        }
        // What was left out is the middle of all chapters.
        let middle = (history.chapters.len() / 2).saturating_sub(history.chapters.len() - since.len());
        for (index, chapter) in since.iter().enumerate() {
            if history.left_out > 0 && index == middle {
                writeln!(out, "  {}", texts::LEFT_OUT.fill(lang, &[("n", &count(history.left_out))]))?;
            }
            book.chapter(out, chapter)?;
        }
        if !history.is_complete {
            writeln!(out, "{}", texts::INCOMPLETE.get(lang))?;
        }
        if history.neighbours.len() > 1 {
            let n = history.neighbours.len() as u64;
            let text = if looks.is_empty() { &texts::NEIGHBOURS } else { &texts::SEEN_APART };
            let title = text.fill(lang, &[("n", &count(n))]);
            writeln!(out, "\n{}", style.paint(Paint::Heading, &title))?;
            self.write_neighbours(out, history, events, looks, options)?;
        }
        Ok(())
    }

    fn write_neighbours(
        &self,
        out: &mut dyn Write,
        history: &History,
        events: &BTreeMap<Seq, Event>,
        looks: &BTreeMap<Seq, Seen>,
        options: &LineOptions,
    ) -> fmt::Result {
        let lang = options.lang;
        let heading = |text: &crate::Text| Cell::new(text.get(lang)).paint(Paint::Heading);
        let mut rows = vec![vec![
            Cell::new(""),
            heading(&texts::ADDRESS),
            heading(&texts::SIZE),
            heading(&texts::EVENT),
            heading(if looks.is_empty() { &texts::CALL } else { &texts::FIRST_SEEN_AT }),
        ]];
        for origin in &history.neighbours {
            let whole = history.row.as_ref().map_or(origin.range, |row| row.range);
            let range = origin.range.intersect(whole).unwrap_or(origin.range);
            let seen = looks.get(&origin.seq).map(|seen| look_time(seen.at));
            let call = seen.unwrap_or_else(|| {
                events.get(&origin.seq).map_or_else(String::new, |event| match Found::of(event) {
                    Some(found) => found.text().get(lang).to_owned(),
                    None => {
                        let plain = LineOptions { style: crate::Style::default(), ..*options };
                        let mut text = String::new();
                        push_what(&mut text, event, &plain);
                        text
                    }
                })
            });
            rows.push(vec![
                Cell::new(if range.contains(self.addr) { "→" } else { "" }),
                Cell::new(range.to_string()),
                Cell::new(size(range.len())),
                Cell::new(format!("#{}", origin.seq)),
                Cell::new(call),
            ]);
        }
        let aligns = [Align::Left, Align::Left, Align::Right, Align::Right, Align::Left];
        write_table(out, &aligns, &rows, options.style, options.columns)
    }

    /// What can be said where nobody looked.
    fn write_advice(&self, out: &mut dyn Write, lives: bool, options: &LineOptions) -> fmt::Result {
        let lang = options.lang;
        if self.row.is_none() {
            return Ok(());
        }
        writeln!(out, "\n{}", texts::NOT_RECORDED.get(lang))?;
        let program = match escape::terminal(&self.header.exe) {
            exe if exe.is_empty() => "PROGRAM".to_owned(),
            exe => exe,
        };
        writeln!(out, "{}", texts::RECORD.get(lang))?;
        writeln!(out, "  vmatlas run -o REC -- {program} ...\n  vmatlas why REC {}", self.addr)?;
        writeln!(out, "  {}", options.style.paint(Paint::Faint, texts::ANOTHER_RUN.get(lang)))?;
        if let Some(pid) = self.header.pid.filter(|_| lives) {
            writeln!(out, "{}", texts::FROM_NOW.get(lang))?;
            writeln!(out, "  vmatlas attach {pid} -o REC")?;
        }
        Ok(())
    }
}

/// Who touched the page first, as far as it was recorded.
fn write_touch(
    out: &mut dyn Write,
    history: &History,
    stacks: &BTreeMap<Seq, ShownStack>,
    options: &LineOptions,
) -> fmt::Result {
    let (lang, style) = (options.lang, options.style);
    let Some(event) = &history.first_fault else {
        return writeln!(out, "\n{}", style.paint(Paint::Faint, texts::NO_FAULT.get(lang)));
    };
    writeln!(out, "\n{}", style.paint(Paint::Heading, texts::FIRST_FAULT.get(lang)))?;
    let mut text = String::new();
    push_bare(&mut text, event, options);
    writeln!(out, "  {} {text}", style.paint(Paint::Faint, &format!("#{}", event.seq)))?;
    if let Some(stack) = stacks.get(&event.seq) {
        let mut text = String::new();
        stack::push_lines(&mut text, stack, event.seq.to_string().len() + 7, options);
        out.write_str(&text)?;
    }
    match history.faults.saturating_sub(1) {
        0 => Ok(()),
        more => writeln!(out, "  {}", texts::MORE_FAULTS.fill(lang, &[("n", &count(more))])),
    }
}

/// `0x1000-0x3000  8 KiB  rw-p  anonymous`
fn line(row: &VmaRow, options: &LineOptions) -> String {
    let sharing = if row.sharing == Sharing::Shared { 's' } else { 'p' };
    let what = contents(row, options.lang);
    format!("{}  {}  {}{sharing}  {what}", row.range, size(row.range.len()), row.prot)
}

/// What is known of the events that are told.
#[derive(Clone, Copy)]
struct Told<'a> {
    events: &'a BTreeMap<Seq, Event>,
    looks: &'a BTreeMap<Seq, Seen>,
    stacks: &'a BTreeMap<Seq, ShownStack>,
}

/// Between the number of a look's event and what it found.
const BLANKS: &str = "  ";

/// Events, each a line with its number.
struct Book<'a> {
    options: &'a LineOptions,
    looks: &'a BTreeMap<Seq, Seen>,
    stacks: &'a BTreeMap<Seq, ShownStack>,
    /// Columns of the longest number.
    number: usize,
}

impl Book<'_> {
    /// The line as `log` has it, after the number of the event.
    fn chapter(&self, out: &mut dyn Write, chapter: &Chapter) -> fmt::Result {
        let lang = self.options.lang;
        if let Some(seen) = self.looks.get(&chapter.event.seq) {
            return self.seen(out, chapter, *seen);
        }
        let columns = self.options.columns.map(|columns| columns.saturating_sub(self.number + 2));
        let options = LineOptions { columns, ..*self.options };
        let (event, change) = (chapter.event.clone(), chapter.change.clone());
        let pages = change.pages();
        let done = Done { event, change, pages, confirmed: chapter.confirmed };
        let mut text = String::new();
        if Found::of(&done.event).is_none() {
            push_line(&mut text, &done, &options);
        }
        match text.is_empty() {
            true => self.event(out, &chapter.event)?,
            false => self.numbered(out, &chapter.event, &text)?,
        }
        let more = match chapter.what {
            What::Moved(to) => {
                let values: [(&str, &dyn Display); 2] = [("from", &chapter.addr), ("to", &to)];
                texts::MOVED.fill(lang, &values)
            }
            What::Forked(_) => texts::FORKED.get(lang).to_owned(),
            _ => return Ok(()),
        };
        writeln!(out, "{:1$}{more}", "", self.number + 4)
    }

    /// What a look found, without a call.
    fn seen(&self, out: &mut dyn Write, chapter: &Chapter, seen: Seen) -> fmt::Result {
        let (lang, style) = (self.options.lang, self.options.style);
        let mut text = BLANKS.to_owned();
        text.push_str(&match chapter.what {
            What::Mapped => seen.of_pages(lang),
            _ => seen.of_change(lang),
        });
        if !matches!(chapter.event.op, Op::Snapshot { .. }) {
            text.push('\n');
            text.push_str(BLANKS);
            change::push(&mut text, &chapter.change, &chapter.change.pages(), lang, style);
        }
        self.numbered(out, &chapter.event, &text)
    }

    /// An event of which no change is told.
    fn event(&self, out: &mut dyn Write, event: &Event) -> fmt::Result {
        if let Some(seen) = self.looks.get(&event.seq) {
            return self.numbered(out, event, &format!("{BLANKS}{}", seen.of_pages(self.options.lang)));
        }
        let mut text = String::new();
        push_bare(&mut text, event, self.options);
        if let Some(found) = Found::of(event) {
            text.push_str("  ");
            text.push_str(found.text().get(self.options.lang));
        }
        text.push('\n');
        self.numbered(out, event, &text)
    }

    /// The number, the lines; those after the first moved in as far. The call stack, where there is one.
    fn numbered(&self, out: &mut dyn Write, event: &Event, text: &str) -> fmt::Result {
        let style = self.options.style;
        for (index, line) in text.lines().enumerate() {
            let number = if index == 0 { format!("#{}", event.seq) } else { String::new() };
            let number = format!("{number:<width$}", width = self.number);
            writeln!(out, "  {}{line}", style.paint(Paint::Faint, &number))?;
        }
        if let Some(stack) = self.stacks.get(&event.seq) {
            let mut text = String::new();
            stack::push_lines(&mut text, stack, self.number + 6, self.options);
            out.write_str(&text)?;
        }
        Ok(())
    }
}
