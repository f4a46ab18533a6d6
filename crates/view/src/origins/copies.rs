//! Who broke copy-on-write after a fork: a row for each process and touching code.

use super::text::write_stack;
use super::texts;
use crate::json;
use crate::run::LineOptions;
use crate::show::Header;
use crate::stack::{ShownStack, stack_json};
use crate::style::Paint;
use crate::table::{Align, Cell, Table};
use crate::units::{count, size};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::{self, Display, Write};
use vmatlas_event::{Bytes, PageSize, StackId};
use vmatlas_model::{Breaker, Toucher};

/// All that `origins --copies` shows.
#[derive(Clone, Debug)]
pub struct CopiesView {
    /// The process that the recording was asked about.
    pub header: Header,
    /// How many pages each took out of their sharing, most first.
    pub rows: Vec<(Breaker, u64)>,
    /// The call stacks of them, as far as they are known.
    pub stacks: BTreeMap<StackId, ShownStack>,
    /// The size of a page.
    pub page: PageSize,
    /// How many forks copied an address space.
    pub forks: u64,
    /// Whether nothing that was to be recorded is missing.
    pub is_complete: bool,
}

impl CopiesView {
    fn bytes(&self, pages: u64) -> Bytes {
        Bytes(pages.saturating_mul(self.page.bytes()))
    }

    /// Writes a row for each process and stack, at most `top` (0 for all) with `frames` frames each (0 for all), and what is
    /// evidence and what is not.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_text(
        &self,
        out: &mut dyn Write,
        line: &LineOptions,
        (top, frames): (usize, usize),
    ) -> fmt::Result {
        let lang = line.lang;
        self.header.write_title(out, lang, line.style)?;
        writeln!(out)?;
        let heading = |text: &crate::Text| Cell::new(text.get(lang)).paint(Paint::Heading);
        let head = [&texts::UNSHARED, &texts::PAGES, &texts::PROCESS, &texts::SIDE, &texts::WHO_TOUCHED]
            .map(heading);
        let shown = if top == 0 { self.rows.len() } else { top.min(self.rows.len()) };
        let (rows, rest) = self.rows.split_at(shown);
        let cells = |who: &Breaker, pages: u64| {
            let side = if who.is_child { &texts::CHILD } else { &texts::PARENT };
            [
                Cell::new(size(self.bytes(pages))),
                Cell::new(count(pages)),
                Cell::new(who.pid.to_string()),
                Cell::new(side.get(lang)),
                Cell::new(toucher(who.by, &self.stacks, frames, line)),
            ]
        };
        let rows: Vec<(Toucher, [Cell; 5])> =
            rows.iter().map(|(who, pages)| (who.by, cells(who, *pages))).collect();
        let aligns = [Align::Right, Align::Right, Align::Right, Align::Left, Align::Left];
        let mut table = Table::new(&aligns, line.style, line.columns);
        table.fit_row(&head);
        rows.iter().for_each(|(_, cells)| table.fit_row(cells));
        if !rows.is_empty() {
            table.row(out, &head)?;
        }
        for (by, cells) in &rows {
            table.row(out, cells)?;
            if let Toucher::Stack(id) = by
                && let Some(stack) = self.stacks.get(id)
            {
                write_stack(out, stack, frames, line)?;
            }
        }
        let pages = |rows: &[(Breaker, u64)]| rows.iter().map(|(_, pages)| *pages).sum::<u64>();
        if !rest.is_empty() {
            let values: [(&str, &dyn Display); 2] =
                [("n", &count(rest.len() as u64)), ("size", &size(self.bytes(pages(rest))))];
            writeln!(out, "{}", line.style.paint(Paint::Faint, &texts::MORE_UNSHARED.fill(lang, &values)))?;
        }
        let all = pages(&self.rows);
        let values: [(&str, &dyn Display); 3] =
            [("size", &size(self.bytes(all))), ("n", &count(all)), ("forks", &count(self.forks))];
        writeln!(out, "{}", texts::ALL_UNSHARED.fill(lang, &values))?;
        let notes = [&texts::UNSHARED_IS, &texts::UNSHARED_IS_NOT];
        let incomplete = (!self.is_complete).then_some(&texts::UNSHARED_INCOMPLETE);
        for (n, note) in notes.into_iter().chain(incomplete).enumerate() {
            let gap = if n == 0 { "\n" } else { "" };
            writeln!(out, "{gap}{}", line.style.paint(Paint::Faint, note.get(lang)))?;
        }
        Ok(())
    }

    /// All of it as one JSON document.
    pub fn json(&self) -> Value {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|(who, pages)| {
                let mut row = toucher_json(who.by, &self.stacks);
                if let Some(row) = row.as_object_mut() {
                    row.insert("pid".into(), who.pid.0.into());
                    row.insert("mm".into(), who.mm.0.into());
                    row.insert("side".into(), if who.is_child { "child" } else { "parent" }.into());
                    row.insert("pages".into(), (*pages).into());
                    row.insert("bytes".into(), self.bytes(*pages).0.into());
                }
                row
            })
            .collect();
        json!({
            "schema": "vmatlas/copies/1", "forks": self.forks, "complete": self.is_complete,
            "page_size": self.page.bytes(), "unshared": rows,
        })
    }
}

/// The innermost frame, or what there is in place of a stack.
pub(super) fn toucher(
    by: Toucher,
    stacks: &BTreeMap<StackId, ShownStack>,
    most: usize,
    line: &LineOptions,
) -> String {
    match by {
        Toucher::Stack(id) => match stacks.get(&id) {
            Some(stack) => super::text::innermost(stack, most, line),
            None => texts::NO_STACK.fill(line.lang, &[("id", &id)]),
        },
        Toucher::At(ip) => texts::BY_INSTRUCTION.fill(line.lang, &[("ip", &ip)]),
        Toucher::Kernel => texts::BY_KERNEL.get(line.lang).to_owned(),
    }
}

/// The same as JSON: a stack with its frames, or an instruction, or the kernel.
pub(super) fn toucher_json(by: Toucher, stacks: &BTreeMap<StackId, ShownStack>) -> Value {
    match by {
        Toucher::Stack(id) => {
            let mut value = match stacks.get(&id) {
                Some(stack) => stack_json(stack),
                None => json!({ "frames": null, "frames_why": "not-recorded" }),
            };
            if let Some(object) = value.as_object_mut() {
                object.insert("by".into(), "stack".into());
                object.insert("stack".into(), id.0.into());
            }
            value
        }
        Toucher::At(ip) => json!({ "by": "instruction", "ip": json::addr(ip) }),
        Toucher::Kernel => json!({ "by": "kernel" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::Lang;
    use crate::style::Style;
    use vmatlas_event::{Addr, MmId, MonoNs, Pid};

    /// Checks that rows, their sum and the words about them are there in both languages, and the same in JSON.
    #[test]
    fn rows_and_words() {
        let who = |pid, is_child, by| Breaker { mm: MmId(pid as u32), pid: Pid(pid), is_child, by };
        let view = CopiesView {
            header: Header::default(),
            rows: vec![
                (who(7, true, Toucher::At(Addr(0x42))), 256),
                (who(6, false, Toucher::Stack(StackId(3))), 2),
                (who(6, false, Toucher::Kernel), 1),
            ],
            stacks: BTreeMap::new(),
            page: PageSize::FOUR_KIB,
            forks: 1,
            is_complete: false,
        };
        for (lang, all) in [(Lang::En, "1.0 MiB"), (Lang::Ja, "1.0 MiB")] {
            let options = LineOptions {
                lang,
                style: Style::default(),
                start: MonoNs(0),
                columns: Some(80),
                errno_name: |_| None,
                signal_name: |n| n.to_string(),
            };
            let mut text = String::new();
            view.write_text(&mut text, &options, (2, 0)).unwrap();
            assert!(text.contains(all) && text.contains("0x42"), "{text}");
            assert!(text.contains(texts::UNSHARED_INCOMPLETE.get(lang)), "{text}");
        }
        let json = view.json();
        assert_eq!(
            (&json["unshared"][0]["bytes"], &json["unshared"][0]["ip"]),
            (&(1 << 20).into(), &"0x42".into())
        );
        assert_eq!((&json["unshared"][1]["side"], &json["complete"]), (&"parent".into(), &false.into()));
    }
}
