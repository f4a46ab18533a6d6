//! A watched program: one line for each event, and the summary.

use crate::call;
use crate::change;
use crate::escape;
use crate::faults::FaultReport;
use crate::json;
use crate::lang::Lang;
use crate::style::{Paint, Style};
use crate::table::{Align, Cell, width, write_table};
use crate::texts;
use crate::units::{count, push_decimal, seconds, size};
use serde_json::{Value, json};
use std::fmt::{self, Write};
use vmatlas_event::{Bytes, Errno, Event, ForkKind, MonoNs, Op, Outcome, SnapshotReason, Source, VmaRow};
use vmatlas_model::{Done, Summary, Tally};

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

/// Adds the line of one finished event to `line`; snapshots and answers have none.
pub fn push_line(line: &mut String, done: &Done, options: &LineOptions) {
    // Wide enough for the common calls, so that what they did stands in a column of its own.
    const CALL_COLUMNS: usize = 76;
    const STAMP_COLUMNS: usize = 21;
    const BLANKS: &str = "                                                                              ";
    let (style, event) = (options.style, &done.event);
    // The map that comes with an exec is its effect: one line for both.
    let is_shown = match &event.op {
        Op::Snapshot { reason: SnapshotReason::Exec | SnapshotReason::Attach, .. } => true,
        // What no call had made, if there is anything.
        Op::Snapshot { reason: SnapshotReason::Fork | SnapshotReason::Check, .. } => false,
        Op::Snapshot { .. } => !done.pages.is_empty(),
        Op::Exec { .. } | Op::Observed { .. } | Op::Joined => false,
        _ => true,
    };
    if !is_shown {
        return;
    }
    line.push_str(style.on(Paint::Faint));
    push_stamp(line, event.left.0.saturating_sub(options.start.0) / 1000, event.task.tid.0);
    line.push_str(style.off(Paint::Faint));
    let start = line.len();
    push_what(line, event, options);
    let what_columns = columns_of(&line[start..]);
    let gap_at = line.len();
    line.push_str(&BLANKS[..CALL_COLUMNS.saturating_sub(what_columns) + 2]);
    let effect_at = line.len();
    push_effect(line, done, options);
    if !done.confirmed {
        line.push(' ');
        let text = match done.event.source {
            Source::Bpf => texts::NOT_HELD,
            _ => texts::UNCONFIRMED,
        };
        line.push_str(text.get(options.lang));
    }
    if line.len() == effect_at {
        line.truncate(gap_at);
    } else if let Some(columns) = options.columns
        && STAMP_COLUMNS + what_columns.max(CALL_COLUMNS) + 2 + columns_of(&line[effect_at..]) > columns
    {
        line.replace_range(gap_at..effect_at, &format!("\n{:STAMP_COLUMNS$}    ", ""));
    }
    line.push('\n');
}

/// Seconds with microseconds, and the task: `   0.001234    4242  `.
fn push_stamp(line: &mut String, us: u64, tid: i32) {
    let padded = |line: &mut String, n: u64, columns: usize, fill: char| {
        let digits = n.checked_ilog10().unwrap_or(0) as usize + 1;
        line.extend(std::iter::repeat_n(fill, columns.saturating_sub(digits)));
        push_decimal(line, n);
    };
    padded(line, us / 1_000_000, 4, ' ');
    line.push('.');
    padded(line, us % 1_000_000, 6, '0');
    line.push(' ');
    padded(line, u64::from(tid.unsigned_abs()), 7, ' ');
    line.push_str("  ");
}

/// Adds the time, the task and what happened, without what it did, to `line`.
pub(crate) fn push_bare(line: &mut String, event: &Event, options: &LineOptions) {
    line.push_str(options.style.on(Paint::Faint));
    push_stamp(line, event.left.0.saturating_sub(options.start.0) / 1000, event.task.tid.0);
    line.push_str(options.style.off(Paint::Faint));
    push_what(line, event, options);
}

/// What happened: the call with its result, or a word.
pub(crate) fn push_what(line: &mut String, event: &Event, options: &LineOptions) {
    let (lang, style) = (options.lang, options.style);
    match &event.op {
        Op::Fork { kind: ForkKind::Thread, .. } => line.push_str("clone"),
        Op::Fork { .. } => line.push_str("fork"),
        Op::Snapshot { reason: SnapshotReason::Exec, .. } => line.push_str("execve"),
        Op::Snapshot { reason: SnapshotReason::Attach, .. } => line.push_str(texts::ATTACHING.get(lang)),
        Op::Snapshot { .. } | Op::Observed { .. } if event.source == Source::Observed => {
            line.push_str(crate::looks::texts::LOOKED.get(lang));
        }
        Op::Snapshot { .. } => line.push_str(texts::OBSERVED.get(lang)),
        Op::Mark { name } => {
            let name = escape::terminal(name.as_bytes());
            line.push_str(&style.paint(Paint::Heading, &texts::MARK.fill(lang, &[("name", &name)])));
        }
        Op::Fault { addr, ip, major } => crate::faults::push_what(line, *addr, *ip, *major, lang),
        Op::Lost { count: Some(n), .. } if event.source == Source::Perf => {
            let text = crate::faults::texts::LOST.fill(lang, &[("n", &count(*n))]);
            line.push_str(&style.paint(Paint::Failed, &text));
        }
        Op::Lost { count: n, .. } => {
            let text = match n {
                Some(n) => texts::LOST.fill(lang, &[("n", &count(*n))]),
                None => texts::LOST_UNCOUNTED.get(lang).to_owned(),
            };
            line.push_str(&style.paint(Paint::Failed, &text));
        }
        Op::Exit { status, signal, .. } => line.push_str(&match (status, signal) {
            (Some(status), _) => texts::EXITED.fill(lang, &[("status", status)]),
            (None, Some(signal)) => {
                texts::SIGNALED.fill(lang, &[("signal", &(options.signal_name)(*signal))])
            }
            (None, None) if event.source == Source::Observed => {
                crate::looks::texts::ENDED.get(lang).to_owned()
            }
            (None, None) => texts::SUPERSEDED.get(lang).to_owned(),
        }),
        op => {
            let paint =
                if matches!(event.outcome, Outcome::Failed(_)) { Paint::Failed } else { Paint::Plain };
            call::push(line, op);
            line.push_str(" = ");
            line.push_str(style.on(paint));
            call::push_result(line, op, event.outcome, options.errno_name);
            line.push_str(style.off(paint));
        }
    }
}

/// What it did to the map.
fn push_effect(line: &mut String, done: &Done, options: &LineOptions) {
    let (lang, style) = (options.lang, options.style);
    let map = |text: &crate::Text, rows: &[VmaRow]| {
        let bytes: Bytes = rows.iter().map(|row| row.range.len()).sum();
        text.fill(lang, &[("n", &count(rows.len() as u64)), ("size", &size(bytes))])
    };
    match &done.event.op {
        Op::Fork { kind, child, .. } => line.push_str(&match kind {
            ForkKind::Process => texts::FORKED.fill(lang, &[("pid", &child.pid)]),
            ForkKind::SharedProcess => texts::FORKED_SHARED.fill(lang, &[("pid", &child.pid)]),
            ForkKind::Thread => texts::THREAD.fill(lang, &[("tid", &child.tid)]),
        }),
        Op::Snapshot { reason: SnapshotReason::Exec, rows } => {
            line.push_str(&style.paint(Paint::Added, &map(&texts::NEW_MAP, rows)));
        }
        Op::Snapshot { reason: SnapshotReason::Attach, rows } => line.push_str(&map(&texts::ATTACHED, rows)),
        Op::Exit { last: true, .. } => line.push_str(&map(&texts::MAP_GONE, &done.change.before)),
        Op::Exit { .. } | Op::Mark { .. } | Op::Lost { .. } | Op::Fault { .. } => {}
        _ => change::push(line, &done.change, &done.pages, lang, style),
    }
}

/// How many columns a text takes, our own colour codes not counted (names are escaped, so no other codes are in it).
fn columns_of(text: &str) -> usize {
    if !text.contains('\x1b') {
        return width(text);
    }
    let mut columns = 0;
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\x1b') {
        columns += width(before);
        rest = after.split_once('m').map_or("", |(_, rest)| rest);
    }
    columns + width(rest)
}

/// What stands beside the sums at the end.
#[derive(Clone, Debug)]
pub struct SummaryContext {
    /// The program, already escaped.
    pub program: String,
    /// How well the model and the kernel agreed.
    pub tally: Tally,
    /// The first difference that a check found.
    pub difference: Option<String>,
    /// How often the lock of a map was taken for writing without an event that tells of it; `None` where nobody sees that.
    pub others: Option<u64>,
    /// How many processes were not watched because too many were; `None` where there is no bound.
    pub untracked: Option<u64>,
    /// What page faults came to, where they were watched.
    pub faults: Option<FaultReport>,
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
    if let Some(before) = summary.before {
        let label = heading(&texts::BEFORE_ATTACH);
        rows.push(vec![label, Cell::new(""), Cell::new(""), bytes(before.mapped), bytes(before.unmapped)]);
    }
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
    let tally = &context.tally;
    let values: [(&str, &dyn fmt::Display); 6] = [
        ("calls", &count(tally.calls)),
        ("asked", &count(tally.asked)),
        ("snapshots", &count(tally.snapshots)),
        ("observed", &count(tally.observed)),
        ("conflicts", &count(tally.conflicts)),
        ("drift", &count(tally.drift)),
    ];
    write!(out, "{}", texts::AGREEMENT.fill(lang, &values))?;
    match context.others {
        Some(others) => writeln!(out, "{}", texts::OTHERS.fill(lang, &[("n", &count(others))]))?,
        None => writeln!(out)?,
    }
    if let Some(untracked) = context.untracked.filter(|untracked| *untracked > 0) {
        let text = texts::UNTRACKED.fill(lang, &[("n", &count(untracked))]);
        writeln!(out, "{}", style.paint(Paint::Failed, &text))?;
    }
    if summary.filters > 0 {
        let text = if summary.supervised > 0 { &texts::SUPERVISED } else { &texts::FILTERED };
        let values: [(&str, &dyn fmt::Display); 1] = [("n", &count(summary.filters))];
        writeln!(out, "{}", style.paint(Paint::Failed, &text.fill(lang, &values)))?;
    }
    if tally.compared > 0 {
        let values: [(&str, &dyn fmt::Display); 2] =
            [("n", &count(tally.compared)), ("differences", &count(tally.differences))];
        writeln!(out, "{}", texts::COMPARED.fill(lang, &values))?;
    }
    if !summary.largest.is_empty() {
        writeln!(out, "{}", style.paint(Paint::Heading, texts::LARGEST.get(lang)))?;
        let rows: Vec<Vec<Cell>> = summary
            .largest
            .iter()
            .map(|l| {
                let mut text = call::text(&l.event.op);
                text.push_str(" = ");
                call::push_result(&mut text, &l.event.op, l.event.outcome, options.errno_name);
                vec![
                    Cell::new(size(l.mapped)).paint(Paint::Added),
                    Cell::new(seconds(options.start, l.event.left)).paint(Paint::Faint),
                    Cell::new(l.event.task.tid.to_string()).paint(Paint::Faint),
                    Cell::new(text),
                ]
            })
            .collect();
        let aligns = [Align::Right, Align::Right, Align::Right, Align::Left];
        write_table(out, &aligns, &rows, style, options.columns)?;
    }
    match &context.faults {
        Some(faults) => faults.write_text(out, options),
        None => Ok(()),
    }
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
    let check = match context.tally.compared {
        0 => Value::Null,
        compared => json!({
            "compared": compared, "differences": context.tally.differences, "first": context.difference,
        }),
    };
    let before =
        summary.before.map(|b| json!({ "vmas": b.vmas, "mapped": b.mapped.0, "unmapped": b.unmapped.0 }));
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
        "seccomp_filters": summary.filters,
        "seccomp_supervised": summary.supervised,
        "drift": context.tally.drift,
        "asked": context.tally.asked,
        "snapshots": context.tally.snapshots,
        "observed": context.tally.observed,
        "conflicts": context.tally.conflicts,
        "other_changes": context.others,
        "untracked": context.untracked,
        "check": check,
        "before_attach": before,
        "largest": largest,
        "faults": context.faults.as_ref().map(FaultReport::json),
    })
}
