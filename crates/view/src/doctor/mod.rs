//! What a kernel and a user's privileges allow, as a table and as JSON.

mod items;
pub mod texts;

pub use items::{Group, Item};

use crate::backend::Choice;
use crate::lang::{Lang, Text};
use crate::picture::wrap::wrap;
use crate::style::{Paint, Style};
use crate::table::{Align, Cell, Table};
use serde_json::{Value, json};
use std::fmt::{self, Display, Write};

/// Whether something can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// All of it.
    Works,
    /// Some of it, or something else stands in for it.
    InPart,
    /// None of it.
    Missing,
    /// It could not be tried.
    Unknown,
}

impl State {
    /// As JSON says it.
    pub const fn id(self) -> &'static str {
        match self {
            State::Works => "works",
            State::InPart => "in-part",
            State::Missing => "missing",
            State::Unknown => "unknown",
        }
    }

    const fn text(self) -> Text {
        match self {
            State::Works => texts::WORKS,
            State::InPart => texts::IN_PART,
            State::Missing => texts::MISSING,
            State::Unknown => texts::UNKNOWN,
        }
    }

    const fn paint(self) -> Paint {
        match self {
            State::Works => Paint::Added,
            State::InPart => Paint::Changed,
            State::Missing => Paint::Failed,
            State::Unknown => Paint::Faint,
        }
    }
}

/// What was found of one thing.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The thing.
    pub item: Item,
    /// Whether it can be used.
    pub state: State,
    /// Why, or what was found; `{value}` in it is `value`.
    pub note: Option<Text>,
    /// A figure, a setting or an error, escaped.
    pub value: String,
    /// The command that permits more.
    pub grant: Option<String>,
}

impl Finding {
    /// A thing in a state, with nothing to say about it.
    pub fn new(item: Item, state: State) -> Finding {
        Finding { item, state, note: None, value: String::new(), grant: None }
    }

    /// With a reason.
    pub fn because(self, note: Text, value: impl Into<String>) -> Finding {
        Finding { note: Some(note), value: value.into(), ..self }
    }

    /// With the command that permits more.
    pub fn granted_by(self, command: impl Into<String>) -> Finding {
        Finding { grant: Some(command.into()), ..self }
    }

    fn note(&self, lang: Lang) -> Option<String> {
        self.note.map(|note| note.fill(lang, &[("value", &self.value)]))
    }
}

/// All that was found, and where.
#[derive(Clone, Debug)]
pub struct DoctorView {
    /// The kernel's release and machine.
    pub kernel: (String, String),
    /// The effective user.
    pub uid: u32,
    /// In the order of their groups.
    pub findings: Vec<Finding>,
    /// What `--backend auto` takes.
    pub choices: Vec<Choice>,
    /// How we became root, and who did, where that decides whom programs run as.
    pub invoker: Option<(&'static str, String)>,
}

impl DoctorView {
    /// Whether every way to watch works that nothing stands in for.
    pub fn is_well(&self) -> bool {
        self.findings
            .iter()
            // BPF is stood in for.
            .filter(|finding| finding.item.group() == Group::Backends && finding.item != Item::Bpf)
            .all(|finding| matches!(finding.state, State::Works | State::InPart))
    }

    /// Writes the table: each thing with its state and what it is for; below it why not, and what permits it.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_text(
        &self,
        out: &mut dyn Write,
        lang: Lang,
        style: Style,
        columns: Option<usize>,
    ) -> fmt::Result {
        /// Before what belongs to a line.
        const INDENT: usize = 4;
        let values: [(&str, &dyn Display); 3] =
            [("kernel", &self.kernel.0), ("arch", &self.kernel.1), ("uid", &self.uid)];
        writeln!(out, "{}", texts::TITLE.fill(lang, &values))?;
        let rows: Vec<[Cell; 3]> = self.findings.iter().map(|finding| row(finding, lang)).collect();
        let mut table = Table::new(&[Align::Left, Align::Left, Align::Left], style, columns);
        rows.iter().for_each(|row| table.fit_row(row));
        let mut group = None;
        for (finding, row) in self.findings.iter().zip(&rows) {
            if group.replace(finding.item.group()) != Some(finding.item.group()) {
                let title = finding.item.group().text().get(lang);
                writeln!(out, "\n{}", style.paint(Paint::Heading, title))?;
            }
            table.row(out, row)?;
            let room = columns.unwrap_or(usize::MAX).max(20 + INDENT) - INDENT;
            for line in finding.note(lang).iter().flat_map(|note| wrap(note, room)) {
                writeln!(out, "{:INDENT$}{}", "", style.paint(Paint::Faint, &line))?;
            }
            // Never cut or broken: it is to be copied.
            if let Some(command) = &finding.grant {
                writeln!(out, "{:INDENT$}$ {command}", "")?;
            }
        }
        self.write_choices(out, lang, style, columns)
    }

    /// What follows from all that.
    fn write_choices(
        &self,
        out: &mut dyn Write,
        lang: Lang,
        style: Style,
        columns: Option<usize>,
    ) -> fmt::Result {
        const INDENT: usize = 2;
        let invoker = self.invoker.as_ref().map(|(via, user)| {
            let values: [(&str, &dyn Display); 2] = [("via", via), ("user", user)];
            texts::INVOKER.fill(lang, &values)
        });
        let lines: Vec<String> =
            self.choices.iter().map(|choice| choice.of_command(lang)).chain(invoker).collect();
        if !lines.is_empty() {
            writeln!(out, "\n{}", style.paint(Paint::Heading, texts::CHOICES.get(lang)))?;
        }
        let room = columns.unwrap_or(usize::MAX).max(20 + INDENT) - INDENT;
        for line in lines.iter().flat_map(|line| wrap(line, room)) {
            writeln!(out, "{:INDENT$}{line}", "")?;
        }
        Ok(())
    }

    /// The same as one JSON document.
    pub fn json(&self) -> Value {
        let checks: Vec<Value> = self
            .findings
            .iter()
            .map(|finding| {
                json!({
                    "id": finding.item.id(),
                    "group": finding.item.group().id(),
                    "state": finding.state.id(),
                    "used": finding.item.is_used(),
                    "for": finding.item.purpose().get(Lang::En),
                    "note": finding.note(Lang::En),
                    "grant": finding.grant,
                })
            })
            .collect();
        json!({
            "schema": "vmatlas/doctor/1",
            "kernel": self.kernel.0,
            "arch": self.kernel.1,
            "uid": self.uid,
            "well": self.is_well(),
            "checks": checks,
            "auto": self.choices.iter().map(Choice::json).collect::<Vec<Value>>(),
            "programs_run_as": self.invoker.as_ref().map(|(_, user)| user),
        })
    }
}

fn row(finding: &Finding, lang: Lang) -> [Cell; 3] {
    let purpose = finding.item.purpose().get(lang).to_owned();
    let purpose = match finding.item.is_used() {
        true => purpose,
        false => format!("{purpose} {}", texts::NOT_USED.get(lang)),
    };
    [
        Cell::new(format!("  {}", finding.item.name().get(lang))),
        Cell::new(finding.state.text().get(lang)).paint(finding.state.paint()),
        Cell::new(purpose),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::width;

    fn view(findings: Vec<Finding>) -> DoctorView {
        let choice = Choice {
            command: "attach",
            backend: "ptrace",
            why: crate::backend::texts::NOT_PERMITTED_ROOT,
            value: String::new(),
        };
        DoctorView {
            kernel: ("6.18".to_owned(), "x86_64".to_owned()),
            uid: 1000,
            findings,
            choices: vec![choice],
            invoker: Some(("pkexec", "a-user-of-a-long-name".to_owned())),
        }
    }

    /// Checks that no line of the table is wider than a terminal of 80 columns, whatever was found, in both languages, but
    /// for commands, which are whole.
    #[test]
    fn it_fits_80_columns() {
        let command = "sudo setcap cap_sys_ptrace+ep /a/path/that/is/long/enough/to/reach/over/the/end/of/a/line/vmatlas";
        let findings = Item::ALL.iter().map(|item| {
            Finding::new(*item, State::InPart)
                .because(texts::REFUSED, "Operation not permitted")
                .granted_by(command)
        });
        let view = view(findings.collect());
        for lang in [Lang::En, Lang::Ja] {
            let mut text = String::new();
            view.write_text(&mut text, lang, Style::default(), Some(80)).unwrap();
            for line in text.lines().filter(|line| !line.contains("$ ")) {
                assert!(width(line) <= 80 && !line.contains('…'), "{line}");
            }
            assert_eq!(text.matches(command).count(), Item::ALL.len());
        }
    }

    /// Checks that only backends that are used decide whether all is well, and that JSON names each state.
    #[test]
    fn what_is_not_used_makes_nothing_ill() {
        let works = Finding::new(Item::Run, State::Works);
        let no_bpf = Finding::new(Item::Bpf, State::Missing).because(texts::REFUSED, "EPERM");
        let no_frames = Finding::new(Item::Frames, State::Missing);
        let well = view(vec![works, no_bpf, no_frames]);
        assert!(well.is_well());
        assert_eq!(well.json()["checks"][1]["state"], "missing");
        assert!(!view(vec![Finding::new(Item::Run, State::Missing)]).is_well());
    }
}
