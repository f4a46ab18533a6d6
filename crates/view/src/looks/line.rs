//! One line for each look.

use super::{look_time, texts};
use crate::escape;
use crate::json;
use crate::lang::Lang;
use crate::style::{Paint, Style};
use crate::table::{Align, Cell, Table, width};
use crate::units::{count, size};
use serde_json::{Map, Value};
use std::fmt::{self, Display, Write};
use vmatlas_event::{Bytes, Extent, Look, MonoNs, PageSource};
use vmatlas_model::{Done, PageChange};

/// What a look found that the one before had not.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// What was mapped since.
    pub mapped: Bytes,
    /// What was unmapped since.
    pub unmapped: Bytes,
    /// What allows something else.
    pub altered: Bytes,
    /// What grew most, and by how much; the name as it is.
    pub most: Option<(Vec<u8>, Bytes)>,
    /// Whether it is the first look at a program that was executed since.
    pub is_executed: bool,
    /// Each of them, for JSON.
    pub changes: Vec<Value>,
}

impl Found {
    /// Adds what one event of the look did to the map; with `keep` each change for JSON too.
    pub fn add(&mut self, done: &Done, keep: bool) {
        for page in &done.pages {
            match page {
                PageChange::Added(row) => self.mapped += row.range.len(),
                PageChange::Removed(row) => self.unmapped += row.range.len(),
                PageChange::Altered { to, .. } => self.altered += to.range.len(),
                PageChange::Moved { .. } => {}
            }
        }
        if keep && !done.pages.is_empty() {
            self.changes.push(json::change(&done.change, &done.pages));
        }
    }
}

/// Lines of looks, one under the other.
#[derive(Debug)]
pub struct LookTable {
    table: Table,
    lang: Lang,
    start: MonoNs,
    before: Option<Look>,
}

impl LookTable {
    /// With times since `start`; `columns` is the terminal's width.
    pub fn new(lang: Lang, style: Style, columns: Option<usize>, start: MonoNs) -> LookTable {
        let aligns =
            [Align::Right, Align::Right, Align::Right, Align::Right, Align::Right, Align::Right, Align::Left];
        let mut table = Table::new(&aligns, style, columns);
        // As wide as the usual amounts; longer ones only move the rest of their line.
        for (index, (columns, heading)) in [9, 6, 9, 10, 9, 9, 0].into_iter().zip(Self::HEADINGS).enumerate()
        {
            table.fit(index, columns.max(width(heading.get(lang))));
        }
        LookTable { table, lang, start, before: None }
    }

    const HEADINGS: [&crate::Text; 7] = [
        &texts::TIME,
        &texts::VMAS,
        &texts::RESIDENT,
        &texts::CHANGE,
        &texts::MAPPED,
        &texts::UNMAPPED,
        &texts::MORE,
    ];

    /// Writes the headings.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn head(&self, out: &mut dyn Write) -> fmt::Result {
        let cells = Self::HEADINGS.map(|text| Cell::new(text.get(self.lang)).paint(Paint::Heading));
        self.table.row(out, &cells)
    }

    /// Writes a line of something that is no look.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn note(&self, out: &mut dyn Write, at: MonoNs, text: &str) -> fmt::Result {
        let time = Cell::new(look_time(MonoNs(at.0.saturating_sub(self.start.0)))).paint(Paint::Faint);
        let mut cells = vec![time];
        cells.resize(Self::HEADINGS.len() - 1, Cell::new(""));
        cells.push(Cell::new(text).paint(Paint::Heading));
        self.table.row(out, &cells)
    }

    /// Writes the line of one look.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn look(&mut self, out: &mut dyn Write, look: &Look, found: &Found) -> fmt::Result {
        let lang = self.lang;
        let before = self.before.replace(*look).filter(|before| before.mm == look.mm);
        let unknown = || Cell::new("?").paint(Paint::Faint);
        let resident = look.resident.map_or_else(unknown, |bytes| Cell::new(size(bytes)));
        let change = match (before, before.and_then(|before| before.resident), look.resident) {
            (None, ..) => Cell::new(""),
            (_, Some(before), Some(now)) => difference(before, now),
            _ => unknown(),
        };
        let amount = |sign: &str, bytes: Bytes, paint| match bytes {
            Bytes(0) => Cell::new(""),
            bytes => Cell::new(format!("{sign}{}", size(bytes))).paint(paint),
        };
        let (mapped, unmapped) = match before {
            Some(_) => (found.mapped, found.unmapped),
            None => Default::default(),
        };
        self.table.row(
            out,
            &[
                Cell::new(look_time(MonoNs(look.at.0.saturating_sub(self.start.0)))).paint(Paint::Faint),
                Cell::new(count(look.vmas)),
                resident,
                change,
                amount("+", mapped, Paint::Added),
                amount("-", unmapped, Paint::Removed),
                Cell::new(more(look, found, before.is_none(), lang)),
            ],
        )
    }
}

fn difference(before: Bytes, now: Bytes) -> Cell {
    match now.0.checked_sub(before.0) {
        Some(0) => Cell::new("0").paint(Paint::Faint),
        Some(more) => Cell::new(format!("+{}", size(Bytes(more)))).paint(Paint::Added),
        None => Cell::new(format!("-{}", size(Bytes(before.0.saturating_sub(now.0))))).paint(Paint::Removed),
    }
}

fn more(look: &Look, found: &Found, is_first: bool, lang: Lang) -> String {
    let mut words = Vec::new();
    if is_first {
        let text = if found.is_executed { &texts::EXECUTED } else { &texts::FIRST };
        words.push(text.get(lang).to_owned());
    } else if found.altered != Bytes(0) {
        words.push(texts::ALTERED.fill(lang, &[("size", &size(found.altered))]));
    }
    if let Some((name, grew)) = found.most.as_ref().filter(|_| !is_first) {
        let name = match name.as_slice() {
            [] => crate::texts::ANONYMOUS.get(lang).to_owned(),
            name => escape::terminal(name),
        };
        let values: [(&str, &dyn Display); 2] = [("name", &name), ("size", &format!("+{}", size(*grew)))];
        words.push(texts::MOST.fill(lang, &values));
    }
    if look.late > 0 {
        words.push(texts::LATE.fill(lang, &[("n", &count(look.late))]));
    }
    words.join(", ")
}

/// One look as a line of `--jsonl`.
pub fn json_line(look: &Look, found: &Found, start: MonoNs) -> Value {
    let mut object = Map::new();
    let bytes = |bytes: Option<Bytes>| bytes.map_or(Value::Null, |bytes| bytes.0.into());
    for (key, value) in [
        ("schema", "vmatlas/look/1".into()),
        ("first_seq", look.first.0.into()),
        ("seq", look.seq.0.into()),
        ("time", seconds(start, look.at).into()),
        ("at_ns", look.at.0.into()),
        ("took_ns", look.took.into()),
        ("mm", look.mm.0.into()),
        ("extent", if look.extent == Extent::Whole { "whole" } else { "changed" }.into()),
        ("method", method(look.method).into()),
        ("vmas", look.vmas.into()),
        ("size", look.size.0.into()),
        ("resident", bytes(look.resident)),
        ("anonymous", bytes(look.anonymous)),
        ("swapped", bytes(look.swapped)),
        ("page_rows", look.rows.into()),
        ("late", look.late.into()),
        ("longest_hold_us", (look.hold / 1000).into()),
        ("mapped", found.mapped.0.into()),
        ("unmapped", found.unmapped.0.into()),
        ("altered", found.altered.0.into()),
        ("changes", found.changes.clone().into()),
    ] {
        object.insert(key.to_owned(), value);
    }
    for key in ["resident", "anonymous", "swapped"] {
        if object.get(key).is_some_and(Value::is_null) {
            object.insert(format!("{key}_why"), "unknown".into());
        }
    }
    Value::Object(object)
}

fn seconds(start: MonoNs, at: MonoNs) -> f64 {
    at.0.saturating_sub(start.0) as f64 / 1e9
}

/// The name of a way to read pages.
fn method(method: PageSource) -> &'static str {
    match method {
        PageSource::PagemapScan => "pagemap-scan",
        PageSource::PagemapEntries => "pagemap-entries",
        PageSource::Smaps => "smaps",
    }
}

#[cfg(test)]
mod tests {
    use super::super::look_for_tests as look;
    use super::*;

    /// Checks that lines stand in columns, that what is not known is no 0, and that a name cannot drive the terminal.
    #[test]
    fn lines_stand_in_columns() {
        let start = MonoNs(5_000_000_000);
        for lang in [Lang::En, Lang::Ja] {
            let mut out = String::new();
            let mut table = LookTable::new(lang, Style::default(), Some(100), start);
            table.head(&mut out).unwrap();
            table.look(&mut out, &look(0, Some(4096)), &Found::default()).unwrap();
            let most = Some((b"/x\x1b[31m".to_vec(), Bytes(8192)));
            let found = Found { mapped: Bytes(4096), unmapped: Bytes(1 << 20), most, ..Found::default() };
            table.look(&mut out, &look(1000, Some(12288)), &found).unwrap();
            table.look(&mut out, &look(2000, None), &Found::default()).unwrap();
            let lines: Vec<&str> = out.lines().collect();
            assert!(lines[1].contains("0.000s") && lines[1].contains("1,234"), "{out}");
            assert!(lines[2].contains("+8 KiB") && lines[2].contains("-1.0 MiB"), "{out}");
            assert!(!out.contains('\x1b') && lines[3].contains('?'), "{out}");
        }
    }
}
