//! Looks at a process that nobody traced: a line for each, and what they come to.

pub mod texts;

use crate::escape;
use crate::json;
use crate::lang::Lang;
use crate::style::{Paint, Style};
use crate::table::{Align, Cell, Table, width};
use crate::units::{count, size};
use serde_json::{Map, Value};
use std::fmt::{self, Display, Write};
use vmatlas_event::{Bytes, Extent, Look, MonoNs, PageSource, Seq};
use vmatlas_model::{Done, PageChange};

/// The time by which a look is named: `1.000s`. A look is found by every time of its millisecond.
pub fn look_time(since_start: MonoNs) -> String {
    let ms = since_start.0 / 1_000_000;
    format!("{}.{:03}s", ms / 1000, ms % 1000)
}

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

/// What all looks of a recording come to.
#[derive(Clone, Debug, Default)]
pub struct Looks {
    /// How many.
    pub count: u64,
    /// How long after one the next was due, in nanoseconds.
    pub interval: Option<u64>,
    /// How many were left out.
    pub late: u64,
    /// What was resident at the first one whose sum is known, at the last one, and at that where it was most.
    pub resident: Option<[(Bytes, MonoNs); 3]>,
    /// CPU time of who looked, in nanoseconds, and how long that was.
    pub cpu: u64,
    /// From the first to the last, in nanoseconds.
    pub time: u64,
    /// The longest single call, in nanoseconds.
    pub hold: u64,
}

impl Looks {
    /// The sums, with times since the first look.
    pub fn of(looks: &[Look], interval: Option<u64>) -> Looks {
        let start = looks.first().map_or(MonoNs(0), |look| look.at);
        let known = || {
            looks.iter().filter_map(|look| Some((look.resident?, MonoNs(look.at.0.saturating_sub(start.0)))))
        };
        // The first of several that are as large.
        let most = known().reduce(|most, this| if this.0 > most.0 { this } else { most });
        Looks {
            count: looks.len() as u64,
            interval,
            late: looks.iter().fold(0, |sum, look| sum.saturating_add(look.late)),
            resident: known()
                .next()
                .zip(known().last())
                .zip(most)
                .map(|((first, last), most)| [first, last, most]),
            cpu: looks.last().map_or(0, |look| look.cpu),
            time: looks.last().map_or(0, |last| last.end().0.saturating_sub(start.0)),
            hold: looks.iter().map(|look| look.hold).max().unwrap_or(0),
        }
    }

    /// Two or three lines.
    pub fn lines(&self, lang: Lang) -> Vec<String> {
        let mut lines = Vec::new();
        let (n, late) = (count(self.count), count(self.late));
        lines.push(match self.interval {
            Some(interval) => {
                let interval = short_seconds(interval);
                texts::LOOKS.fill(lang, &[("n", &n), ("interval", &interval), ("late", &late)])
            }
            None => texts::LOOKS_ALONE.fill(lang, &[("n", &n), ("late", &late)]),
        });
        lines.push(match self.resident {
            Some([first, last, most]) => {
                let values: [(&str, &dyn Display); 4] = [
                    ("first", &size(first.0)),
                    ("last", &size(last.0)),
                    ("peak", &size(most.0)),
                    ("time", &look_time(most.1)),
                ];
                texts::SIZES.fill(lang, &values)
            }
            None => texts::NO_SIZES.get(lang).to_owned(),
        });
        lines.extend(self.cost(lang));
        lines
    }

    /// The lines at the end of watching.
    pub fn end_lines(&self, has_ended: bool, lang: Lang) -> Vec<String> {
        let first = self.lines(lang).into_iter().take(1);
        let ended = has_ended.then(|| texts::ENDED.get(lang).to_owned());
        first.chain(ended).chain(self.cost(lang)).collect()
    }

    /// What watching cost.
    pub fn cost(&self, lang: Lang) -> Option<String> {
        let percent = self.percent()?;
        let values: [(&str, &dyn Display); 3] = [
            ("cpu", &format!("{:.3}", self.cpu as f64 / 1e9)),
            ("percent", &format!("{percent:.2}")),
            ("hold", &format!("{:.2}", self.hold as f64 / 1e6)),
        ];
        Some(texts::COST.fill(lang, &values))
    }

    /// CPU time in per cent of one CPU: a look and the wait that follows it; nothing of less than two looks.
    fn percent(&self) -> Option<f64> {
        (self.count > 1 && self.time > 0).then(|| self.cpu as f64 * 100.0 / self.time as f64)
    }

    /// The same for JSON.
    pub fn json(&self) -> Value {
        let mut object = Map::new();
        object.insert("count".into(), self.count.into());
        let interval = self.interval.map_or(Value::Null, |ns| (ns as f64 / 1e9).into());
        object.insert("interval".into(), interval);
        object.insert("late".into(), self.late.into());
        for (index, key) in ["first", "last", "most"].into_iter().enumerate() {
            let found = self.resident.and_then(|all| all.get(index).copied());
            object.insert(format!("resident_{key}"), found.map_or(Value::Null, |(bytes, _)| bytes.0.into()));
            match found {
                Some((_, at)) => object.insert(format!("resident_{key}_time"), (at.0 as f64 / 1e9).into()),
                None => object.insert(format!("resident_{key}_why"), "unknown".into()),
            };
        }
        object.insert("cpu".into(), (self.cpu as f64 / 1e9).into());
        object.insert("cpu_percent".into(), self.percent().map_or(Value::Null, Into::into));
        if self.percent().is_none() {
            object.insert("cpu_percent_why".into(), "unknown".into());
        }
        object.insert("longest_hold_us".into(), (self.hold / 1000).into());
        Value::Object(object)
    }
}

/// `1`, `0.25`.
fn short_seconds(ns: u64) -> String {
    let text = format!("{:.6}", ns as f64 / 1e9);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Where a moment lies among the looks of a recording; times are since its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AtLook {
    /// When the look began whose map it is.
    pub at: MonoNs,
    /// Its last event.
    pub seq: Seq,
    /// The moment that was asked for, where that is after the look: pages are not known then.
    pub asked: Option<MonoNs>,
    /// When the next look began.
    pub next: Option<MonoNs>,
}

impl AtLook {
    /// The lines that say so.
    pub(crate) fn lines(&self, path: &str, lang: Lang) -> Vec<String> {
        let time = look_time(self.at);
        let Some(asked) = self.asked else {
            let values: [(&str, &dyn Display); 3] = [("path", &path), ("time", &time), ("seq", &self.seq)];
            return vec![texts::AT_LOOK.fill(lang, &values)];
        };
        let asked = look_time(asked);
        let values: [(&str, &dyn Display); 4] =
            [("path", &path), ("asked", &asked), ("time", &time), ("seq", &self.seq)];
        vec![texts::BETWEEN.fill(lang, &values), self.hint(path, lang)]
    }

    /// Where pages are known instead.
    pub fn hint(&self, path: &str, lang: Lang) -> String {
        let before = format!("{path}@{}", look_time(self.at));
        match self.next {
            Some(next) => {
                let after = format!("{path}@{}", look_time(next));
                texts::PAGES_BOTH.fill(lang, &[("before", &before), ("after", &after)])
            }
            None => texts::PAGES_BEFORE.fill(lang, &[("before", &before)]),
        }
    }

    pub(crate) fn json(&self) -> Value {
        let seconds = |at: MonoNs| at.0 as f64 / 1e9;
        serde_json::json!({
            "event": self.seq.0, "time": seconds(self.at), "exact": self.asked.is_none(),
            "asked": self.asked.map(seconds), "next": self.next.map(seconds),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmatlas_event::MmId;

    fn look(ms: u64, resident: Option<u64>) -> Look {
        Look {
            first: Seq(ms),
            seq: Seq(ms),
            mm: MmId(1),
            at: MonoNs(5_000_000_000 + ms * 1_000_000),
            took: 1_000_000,
            extent: Extent::Changed,
            method: PageSource::PagemapScan,
            rows: 0,
            vmas: 1234,
            size: Bytes(1 << 30),
            resident: resident.map(Bytes),
            anonymous: None,
            swapped: None,
            swap_is_empty: true,
            late: ms / 2000,
            hold: ms * 100,
            cpu: ms * 10_000,
        }
    }

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
            assert!(lines[2].contains("+8 KiB") && lines[2].contains("-1 MiB"), "{out}");
            assert!(!out.contains('\x1b') && lines[3].contains('?'), "{out}");
        }
    }

    /// Checks sums over looks, and that they are unknown where no look knows its own.
    #[test]
    fn sums_are_those_of_known_looks() {
        let looks = [look(0, None), look(1000, Some(10)), look(2000, Some(30)), look(4000, Some(20))];
        let sums = Looks::of(&looks, Some(250_000_000));
        let at = |ms: u64| MonoNs(ms * 1_000_000);
        assert_eq!(
            sums.resident,
            Some([(Bytes(10), at(1000)), (Bytes(20), at(4000)), (Bytes(30), at(2000))])
        );
        assert_eq!((sums.late, sums.hold, sums.json()["interval"].as_f64()), (3, 400_000, Some(0.25)));
        assert!(sums.lines(Lang::En)[0].contains("every 0.25 s"));
        assert_eq!(Looks::of(&looks[..1], None).json()["resident_first_why"], "unknown");
    }
}
