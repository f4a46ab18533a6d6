//! Page faults: a line for each, and what they came to at the end.

pub mod texts;

use crate::call;
use crate::change::what;
use crate::json;
use crate::lang::Lang;
use crate::run::{LineOptions, push_bare};
use crate::style::{Paint, Style};
use crate::table::{Align, Cell, write_table};
use crate::units::{count, size};
use serde_json::{Value, json};
use std::fmt::{self, Display, Write};
use vmatlas_event::{Addr, Bytes, Errno, Event, FaultCounts, Grown};
use vmatlas_model::{Change, Done, FaultPlace, Touched, TouchedBy};

/// So many events that made pages have a line of their own.
const SHOWN: usize = 10;

/// What all faults of a run came to.
#[derive(Clone, Debug, PartialEq)]
pub struct FaultReport {
    /// What was told, and what the kernel counted.
    pub counts: FaultCounts,
    /// By the event that had made the pages, most faults first.
    pub touched: Vec<Touched>,
}

/// What a fault says of itself: `page fault 0x7f0000001000 (minor) by 0x55d0c1a3f2e1`.
pub(crate) fn push_what(line: &mut String, addr: Addr, ip: Option<Addr>, major: bool, lang: Lang) {
    let kind = if major { texts::MAJOR } else { texts::MINOR };
    let by = match ip {
        Some(ip) => texts::BY.fill(lang, &[("ip", &ip)]),
        None => texts::BY_KERNEL.get(lang).to_owned(),
    };
    let values: [(&str, &dyn Display); 3] = [("addr", &addr), ("kind", &kind.get(lang)), ("by", &by)];
    line.push_str(&texts::FAULT.fill(lang, &values));
}

/// Adds the line of a fault, with what it met.
pub fn push_line(line: &mut String, event: &Event, place: &FaultPlace<'_>, options: &LineOptions) {
    push_bare(line, event, options);
    line.push_str("  ");
    match place.row {
        Some(row) => line.push_str(&what(row, options.lang)),
        None => line.push_str(texts::NO_VMA.get(options.lang)),
    }
    if let Some(origin) = place.origin {
        line.push_str(options.style.on(Paint::Faint));
        // Writing to a String does not fail.
        let _ = write!(line, " #{origin}");
        line.push_str(options.style.off(Paint::Faint));
    }
    line.push('\n');
}

/// The same as a line of `--jsonl`: an event as any other, with the VMA and the event that made the page.
pub fn event_json(
    event: &Event,
    place: &FaultPlace<'_>,
    errno_name: fn(Errno) -> Option<&'static str>,
) -> Value {
    let done = Done { event: event.clone(), change: Change::default(), pages: Vec::new(), confirmed: true };
    let mut value = json::event(&done, errno_name);
    if let Some(object) = value.as_object_mut() {
        object.insert("vma".into(), place.row.map_or(Value::Null, |row| Value::Object(json::vma(row))));
        object.insert("origin".into(), place.origin.map_or(Value::Null, |seq| seq.0.into()));
    }
    value
}

impl FaultReport {
    /// Writes the sums by what had made the pages, and the figures beside the kernel's own.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_text(&self, out: &mut dyn Write, options: &LineOptions) -> fmt::Result {
        let (lang, style) = (options.lang, options.style);
        if !self.touched.is_empty() {
            writeln!(out, "{}", style.paint(Paint::Heading, texts::BY_ORIGIN.get(lang)))?;
            self.write_origins(out, options)?;
            writeln!(out, "{}", style.paint(Paint::Faint, texts::NOT_A_PAGE.get(lang)))?;
        }
        for line in self.figures(lang, style) {
            writeln!(out, "{line}")?;
        }
        Ok(())
    }

    fn write_origins(&self, out: &mut dyn Write, options: &LineOptions) -> fmt::Result {
        let lang = options.lang;
        let heading = |text: &crate::Text| Cell::new(text.get(lang)).paint(Paint::Heading);
        let number = |n: u64| if n == 0 { Cell::new("0").paint(Paint::Faint) } else { Cell::new(count(n)) };
        let dash = || Cell::new("-").paint(Paint::Faint);
        let mut rows = vec![vec![
            heading(&texts::MINOR_COLUMN),
            heading(&texts::MAJOR_COLUMN),
            heading(&texts::ASKED),
            heading(&texts::EVENT),
            heading(&texts::MADE_BY),
        ]];
        let lines = self.lines();
        let shown = if lines.len() == SHOWN + 1 { SHOWN + 1 } else { SHOWN };
        for (touched, events) in lines.iter().take(shown) {
            let (asked, event) = match (*events, touched.asked, touched.origin) {
                (1, asked, origin) => (
                    asked.map_or_else(dash, |asked| Cell::new(size(asked))),
                    origin.map_or_else(dash, |seq| Cell::new(format!("#{seq}"))),
                ),
                (events, ..) => (dash(), Cell::new(texts::TIMES.fill(lang, &[("n", &count(events))]))),
            };
            let maker = Cell::new(maker(&touched.by, options));
            rows.push(vec![number(touched.minor), number(touched.major), asked, event, maker]);
        }
        let rest = lines.get(shown..).unwrap_or_default();
        if !rest.is_empty() {
            let sum = |of: fn(&Touched) -> u64| rest.iter().map(|(t, _)| of(t)).fold(0, u64::saturating_add);
            rows.push(vec![
                number(sum(|touched| touched.minor)),
                number(sum(|touched| touched.major)),
                dash(),
                dash(),
                Cell::new(texts::OTHERS.fill(lang, &[("n", &count(rest.len() as u64))])),
            ]);
        }
        let aligns = [Align::Right, Align::Right, Align::Right, Align::Right, Align::Left];
        write_table(out, &aligns, &rows, options.style, options.columns)
    }

    /// One for each call; what is no call in one for each way, with the number of events. Most faults first.
    fn lines(&self) -> Vec<(Touched, u64)> {
        let mut lines: Vec<(Touched, u64)> = Vec::new();
        let mut others: Vec<(Touched, u64)> = Vec::new();
        for touched in &self.touched {
            if let TouchedBy::Call { .. } = touched.by {
                lines.push((touched.clone(), 1));
                continue;
            }
            match others.iter_mut().find(|(line, _)| line.by == touched.by) {
                Some((line, events)) => {
                    line.minor = line.minor.saturating_add(touched.minor);
                    line.major = line.major.saturating_add(touched.major);
                    *events += 1;
                }
                None => others.push((touched.clone(), 1)),
            }
        }
        lines.extend(others);
        lines.sort_by_key(|(line, _)| std::cmp::Reverse(line.faults()));
        lines
    }

    /// The figures, a line each.
    fn figures(&self, lang: Lang, style: Style) -> Vec<String> {
        let counts = &self.counts;
        let values: [(&str, &dyn Display); 4] = [
            ("n", &count(counts.told())),
            ("minor", &count(counts.minor)),
            ("major", &count(counts.major)),
            ("lost", &count(counts.lost)),
        ];
        let told = texts::TOLD.fill(lang, &values);
        let paint = if counts.lost > 0 { Paint::Failed } else { Paint::Plain };
        let mut lines = vec![style.paint(paint, &told)];
        let figure = |n: Option<u64>| n.map_or(texts::UNKNOWN.get(lang).to_owned(), count);
        let values: [(&str, &dyn Display); 2] =
            [("handled", &figure(counts.handled)), ("accounted", &figure(counts.accounted))];
        lines.push(texts::KERNEL.fill(lang, &values));
        let unseen = if counts.with_kernel { &texts::UNSEEN_WITH_KERNEL } else { &texts::UNSEEN };
        for (n, text) in [
            (counts.unfinished(), &texts::UNFINISHED),
            (counts.unseen(), unseen),
            (Some(counts.of_others), &texts::OF_OTHERS),
        ] {
            if let Some(n) = n.filter(|n| *n > 0) {
                lines.push(format!("  {}", text.fill(lang, &[("n", &count(n))])));
            }
        }
        if let Some(grown) = counts.grown {
            lines.extend(grown_lines(&grown, lang));
        }
        if counts.ring < counts.ring_asked {
            let values: [(&str, &dyn Display); 2] =
                [("size", &size(counts.ring)), ("asked", &size(counts.ring_asked))];
            lines.push(texts::SMALL_RING.fill(lang, &values));
        }
        lines
    }

    /// The same as a part of the summary's JSON.
    pub fn json(&self) -> Value {
        let counts = &self.counts;
        let origins: Vec<Value> = self
            .touched
            .iter()
            .map(|touched| {
                let (by, call, args) = match &touched.by {
                    TouchedBy::Call { op, .. } => ("call", json!(op.kind().name()), json::args(op)),
                    TouchedBy::Exec => ("exec", Value::Null, Value::Null),
                    TouchedBy::BeforeAttach => ("before-attach", Value::Null, Value::Null),
                    TouchedBy::Fork => ("fork", Value::Null, Value::Null),
                    TouchedBy::Unknown => ("unknown", Value::Null, Value::Null),
                };
                let mut value = json!({
                    "origin": touched.origin.map(|seq| seq.0), "by": by, "call": call, "args": args,
                    "asked": touched.asked.map(|asked| asked.0), "minor": touched.minor, "major": touched.major,
                    "first_ns": touched.first.0,
                });
                if let Some(object) = value.as_object_mut() {
                    for (key, is_missing) in
                        [("origin_why", touched.origin.is_none()), ("asked_why", touched.asked.is_none())]
                    {
                        if is_missing {
                            object.insert(key.to_owned(), "unknown".into());
                        }
                    }
                }
                value
            })
            .collect();
        let mut value = json!({
            "minor": counts.minor, "major": counts.major, "lost": counts.lost, "of_others": counts.of_others,
            "handled": counts.handled, "unfinished": counts.unfinished(), "accounted": counts.accounted,
            "unseen": counts.unseen(), "kernel_touches": counts.with_kernel,
            "ring": counts.ring.0, "ring_asked": counts.ring_asked.0, "rings": counts.rings,
            "by_origin": origins,
        });
        if let Some(object) = value.as_object_mut() {
            let resident = counts.grown.map(|grown| {
                json!({
                    "bytes": grown.resident(), "anon": grown.anon, "file": grown.file, "shmem": grown.shmem,
                    "swap": grown.swap, "at_start": grown.start, "by_faults": grown.by_fault,
                    "by_calls": grown.by_call, "by_kernel": grown.by_kernel, "by_others": grown.by_others,
                    "given_back": grown.gone,
                })
            });
            if resident.is_none() {
                object.insert("resident_why".into(), "not-followed".into());
            }
            object.insert("resident".into(), resident.into());
            for (keys, is_missing) in [
                (["handled_why", "unfinished_why"], counts.handled.is_none()),
                (["accounted_why", "unseen_why"], counts.accounted.is_none()),
            ] {
                for key in keys.into_iter().filter(|_| is_missing) {
                    object.insert(key.to_owned(), "unknown".into());
                }
            }
        }
        value
    }
}

/// What the resident size came to, and by what.
fn grown_lines(grown: &Grown, lang: Lang) -> [String; 2] {
    let bytes = |n: i64| match n < 0 {
        true => format!("-{}", size(Bytes(n.unsigned_abs()))),
        false => size(Bytes(n.unsigned_abs())),
    };
    let values: [(&str, &dyn Display); 4] = [
        ("size", &bytes(grown.resident())),
        ("anon", &bytes(grown.anon)),
        ("file", &bytes(grown.file)),
        ("shmem", &bytes(grown.shmem)),
    ];
    let resident = texts::RESIDENT.fill(lang, &values);
    let values: [(&str, &dyn Display); 6] = [
        ("start", &bytes(grown.start)),
        ("fault", &bytes(grown.by_fault)),
        ("call", &bytes(grown.by_call)),
        ("kernel", &bytes(grown.by_kernel)),
        ("others", &bytes(grown.by_others)),
        ("gone", &bytes(grown.gone)),
    ];
    [resident, format!("  {}", texts::GROWN.fill(lang, &values))]
}

/// What had made pages, in words.
fn maker(by: &TouchedBy, options: &LineOptions) -> String {
    let lang = options.lang;
    match by {
        TouchedBy::Call { op, outcome } => {
            let mut text = call::text(op);
            text.push_str(" = ");
            call::push_result(&mut text, op, *outcome, options.errno_name);
            text
        }
        TouchedBy::Exec => texts::EXEC.get(lang).to_owned(),
        TouchedBy::BeforeAttach => crate::texts::BEFORE_ATTACH.get(lang).to_owned(),
        TouchedBy::Fork => texts::FORK.get(lang).to_owned(),
        TouchedBy::Unknown => texts::UNKNOWN_MAKER.get(lang).to_owned(),
    }
}

#[cfg(test)]
mod tests;
