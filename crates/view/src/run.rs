//! A watched program: one line for each event, and the summary.

use crate::call;
use crate::change::describe;
use crate::json;
use crate::lang::Lang;
use crate::style::{Paint, Style};
use crate::table::{Align, Cell, width, write_table};
use crate::texts;
use crate::units::{count, seconds, size};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::fmt::{self, Write};
use vmatlas_event::{Bytes, Errno, ForkKind, MonoNs, Op, Outcome};
use vmatlas_model::{Done, Summary};

/// How lines are written.
#[derive(Clone, Copy, Debug)]
pub struct LineOptions {
    /// The language.
    pub lang: Lang,
    /// Colours.
    pub style: Style,
    /// When time began.
    pub start: MonoNs,
    /// The terminal's width; `None` for no limit.
    pub columns: Option<usize>,
    /// The name of an error number.
    pub errno_name: fn(Errno) -> Option<&'static str>,
    /// The name of a signal.
    pub signal_name: fn(i32) -> String,
}

/// Writes the line of one finished event; snapshots and answers have none.
///
/// # Errors
/// Those of `out`.
pub fn write_line(out: &mut dyn Write, done: &Done, options: &LineOptions) -> fmt::Result {
    // Wide enough for the common calls, so that what they did stands in a column of its own.
    const CALL_COLUMNS: usize = 76;
    let (lang, style, event) = (options.lang, options.style, &done.event);
    let size_of = |rows: &[vmatlas_event::VmaRow]| rows.iter().map(|row| row.range.len()).sum::<Bytes>();
    let (what, mut effect) = match &event.op {
        op if op.is_call() => {
            let result = call::result(op, event.outcome, options.errno_name);
            let paint =
                if matches!(event.outcome, Outcome::Failed(_)) { Paint::Failed } else { Paint::Plain };
            let text = call::text(op);
            (
                format!("{text} = {}", style.paint(paint, &result)),
                describe(&done.change, &done.pages, lang, style),
            )
        }
        Op::Exec { .. } => ("execve".to_owned(), String::new()),
        Op::Fork { kind, child, .. } => {
            let effect = match kind {
                ForkKind::Process => texts::FORKED.fill(lang, &[("pid", &child.pid)]),
                ForkKind::SharedProcess => texts::FORKED_SHARED.fill(lang, &[("pid", &child.pid)]),
                ForkKind::Thread => texts::THREAD.fill(lang, &[("tid", &child.tid)]),
            };
            (if *kind == ForkKind::Thread { "clone" } else { "fork" }.to_owned(), effect)
        }
        Op::Exit { status, signal, last } => {
            let what = match (status, signal) {
                (Some(status), _) => texts::EXITED.fill(lang, &[("status", status)]),
                (None, Some(signal)) => {
                    texts::SIGNALED.fill(lang, &[("signal", &(options.signal_name)(*signal))])
                }
                (None, None) => texts::SUPERSEDED.get(lang).to_owned(),
            };
            let rows = &done.change.before;
            let values: [(&str, &dyn fmt::Display); 2] =
                [("n", &count(rows.len() as u64)), ("size", &size(size_of(rows)))];
            let effect = if *last { texts::MAP_GONE.fill(lang, &values) } else { String::new() };
            (what, effect)
        }
        Op::Snapshot { reason: vmatlas_event::SnapshotReason::Exec, rows } => {
            let values: [(&str, &dyn fmt::Display); 2] =
                [("n", &count(rows.len() as u64)), ("size", &size(size_of(rows)))];
            ("execve".to_owned(), style.paint(Paint::Added, &texts::NEW_MAP.fill(lang, &values)))
        }
        _ => return Ok(()),
    };
    // The map that comes with an exec is its effect: one line for both.
    if matches!(event.op, Op::Exec { .. }) {
        return Ok(());
    }
    if !done.confirmed {
        effect = format!("{effect} {}", texts::UNCONFIRMED.get(lang));
    }
    let stamp = format!("{:>11} {:>7}  ", seconds(options.start, event.left), event.task.tid.0);
    let plain_width = width(&strip_colors(&what));
    write!(out, "{}{what}", style.paint(Paint::Faint, &stamp))?;
    if effect.is_empty() {
        return writeln!(out);
    }
    let needed = stamp.len() + plain_width.max(CALL_COLUMNS) + 2 + width(&strip_colors(&effect));
    match options.columns {
        Some(columns) if needed > columns => {
            writeln!(out, "\n{:indent$}{effect}", "", indent = stamp.len() + 4)
        }
        _ => writeln!(out, "{:pad$}{effect}", "", pad = CALL_COLUMNS.saturating_sub(plain_width) + 2),
    }
}

/// The text without our own colour codes; nothing else in it is an escape, since names were escaped.
fn strip_colors(text: &str) -> Cow<'_, str> {
    if !text.contains('\x1b') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\x1b') {
        out.push_str(before);
        rest = after.split_once('m').map_or("", |(_, rest)| rest);
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// What stands beside the sums at the end.
#[derive(Clone, Debug)]
pub struct SummaryContext {
    /// The program, already escaped.
    pub program: String,
    /// How often the kernel contradicted the model.
    pub drift: u64,
}

/// Writes the summary of a run.
///
/// # Errors
/// Those of `out`.
pub fn write_summary(
    out: &mut dyn Write,
    summary: &Summary,
    context: &SummaryContext,
    options: &LineOptions,
) -> fmt::Result {
    let (lang, style) = (options.lang, options.style);
    let title = texts::SUMMARY.fill(lang, &[("program", &context.program)]);
    writeln!(out, "{}", style.paint(Paint::Heading, &title))?;
    let heading = |text: &crate::Text| Cell::new(text.get(lang)).paint(Paint::Heading);
    let number = |n: u64| if n == 0 { Cell::new("0").paint(Paint::Faint) } else { Cell::new(count(n)) };
    let bytes = |b: Bytes| if b.0 == 0 { Cell::new("0").paint(Paint::Faint) } else { Cell::new(size(b)) };
    let mut rows = vec![vec![
        Cell::new(""),
        heading(&texts::CALLS),
        heading(&texts::FAILED),
        heading(&texts::MAPPED),
        heading(&texts::UNMAPPED),
    ]];
    let line = |label: Cell, c: vmatlas_model::CallCount| {
        vec![label, number(c.calls), number(c.failed), bytes(c.mapped), bytes(c.unmapped)]
    };
    for (kind, c) in &summary.calls {
        rows.push(line(Cell::new(kind.name()), *c));
    }
    rows.push(line(heading(&texts::TOTAL), summary.total()));
    let aligns = [Align::Left, Align::Right, Align::Right, Align::Right, Align::Right];
    write_table(out, &aligns, &rows, style, None)?;
    writeln!(out, "{}", texts::PEAK.fill(lang, &[("size", &size(summary.peak))]))?;
    if summary.processes + summary.threads > 0 || summary.execs > 1 {
        let values: [(&str, &dyn fmt::Display); 3] = [
            ("processes", &count(summary.processes + 1)),
            ("threads", &count(summary.threads)),
            ("execs", &count(summary.execs)),
        ];
        writeln!(out, "{}", texts::TREE.fill(lang, &values))?;
    }
    if context.drift > 0 {
        writeln!(out, "{}", texts::DRIFT.fill(lang, &[("n", &count(context.drift))]))?;
    }
    if !summary.largest.is_empty() {
        writeln!(out, "{}", style.paint(Paint::Heading, texts::LARGEST.get(lang)))?;
        let rows: Vec<Vec<Cell>> = summary
            .largest
            .iter()
            .map(|l| {
                let outcome = call::result(&l.event.op, l.event.outcome, options.errno_name);
                vec![
                    Cell::new(size(l.mapped)).paint(Paint::Added),
                    Cell::new(seconds(options.start, l.event.left)).paint(Paint::Faint),
                    Cell::new(l.event.task.tid.to_string()).paint(Paint::Faint),
                    Cell::new(format!("{} = {outcome}", call::text(&l.event.op))),
                ]
            })
            .collect();
        let aligns = [Align::Right, Align::Right, Align::Right, Align::Left];
        write_table(out, &aligns, &rows, style, options.columns)?;
    }
    Ok(())
}

/// The summary as a JSON document.
pub fn summary_json(
    summary: &Summary,
    context: &SummaryContext,
    options: &LineOptions,
    status: i32,
) -> Value {
    let count_json = |c: &vmatlas_model::CallCount| json!({ "calls": c.calls, "failed": c.failed, "mapped": c.mapped.0, "unmapped": c.unmapped.0 });
    let calls: serde_json::Map<String, Value> =
        summary.calls.iter().map(|(kind, c)| (kind.name().to_owned(), count_json(c))).collect();
    let largest: Vec<Value> = summary
        .largest
        .iter()
        .map(|l| {
            json!({
                "mapped": l.mapped.0, "seq": l.event.seq.0, "tid": l.event.task.tid.0,
                "call": l.event.op.kind().name(), "args": json::args(&l.event.op),
                "at_ns": l.event.left.0.saturating_sub(options.start.0),
            })
        })
        .collect();
    json!({
        "schema": "vmatlas/run-summary/1",
        "program": context.program,
        "status": status,
        "calls": calls,
        "total": count_json(&summary.total()),
        "peak": summary.peak.0,
        "processes": summary.processes + 1,
        "threads": summary.threads,
        "execs": summary.execs,
        "drift": context.drift,
        "largest": largest,
    })
}
