//! What a recording holds, as text and JSON.

pub mod texts;

use crate::escape;
use crate::json::put_name;
use crate::lang::Lang;
use crate::looks::Looks;
use crate::style::{Paint, Style};
use crate::table::{Align, Cell, write_table};
use crate::units::{count, seconds, size};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt::{self, Display, Write};
use vmatlas_event::{Bytes, Event, ForkKind, MonoNs, Op, OpKind, Outcome, Pid, Seq, SnapshotReason};

/// What was written down about a recording as a whole; text is not yet escaped.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// Where it is.
    pub path: Vec<u8>,
    /// The program.
    pub program: String,
    /// Its arguments, where they were asked for.
    pub args: Option<Vec<String>>,
    /// `run` or `attach`.
    pub how: String,
    /// The machine's name.
    pub host: String,
    /// The kernel's release.
    pub kernel: String,
    /// The machine's architecture.
    pub arch: String,
    /// The version of vmatlas.
    pub vmatlas: String,
    /// What the kernel was found able to do.
    pub features: Vec<String>,
    /// When it began, CLOCK_MONOTONIC.
    pub started: MonoNs,
    /// What to add to times for nanoseconds since 1970.
    pub clock_offset: u64,
    /// When it ended; `None` where nobody wrote that down.
    pub ended: Option<MonoNs>,
    /// Whether a writer is at work on it.
    pub being_recorded: bool,
    /// The exit status, where there is one.
    pub status: Option<i32>,
    /// Events lost; `None` where it was not ended.
    pub lost: Option<u64>,
    /// Drift; `None` where it was not ended.
    pub drift: Option<u64>,
    /// How often the lock of a map was taken for writing without an event that tells of it; `None` where nobody saw that.
    pub others: Option<u64>,
    /// How many keyframes.
    pub keyframes: u64,
    /// Its size on disk.
    pub size: Bytes,
    /// What is missing of it or damaged.
    pub damage: Vec<String>,
    /// What page faults came to, where they were watched to the end.
    pub faults: Option<Faults>,
    /// What the looks come to, where nothing was traced.
    pub looks: Option<Looks>,
}

/// What page faults came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Told as events.
    pub told: u64,
    /// Lost.
    pub lost: u64,
    /// The kernel's own count of those it handled.
    pub handled: Option<u64>,
    /// The kernel's own count for the tasks.
    pub accounted: Option<u64>,
}

/// One process of the tree.
#[derive(Clone, Debug, Default)]
pub struct ProcessInfo {
    /// Who made it; `None` for the first ones.
    pub parent: Option<Pid>,
    /// Threads it made.
    pub threads: u64,
    /// Memory calls it made.
    pub calls: u64,
    /// The programs it executed: the first file of each map.
    pub programs: Vec<Vec<u8>>,
    /// Exit status and signal, when its last task ended.
    pub end: Option<(Option<i32>, Option<i32>)>,
}

/// Counts over all events.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// All of them.
    pub events: u64,
    /// By kind: how many, and how many failed.
    pub kinds: BTreeMap<OpKind, (u64, u64)>,
    /// The processes.
    pub processes: BTreeMap<Pid, ProcessInfo>,
    /// The marks.
    pub marks: Vec<(String, Seq, MonoNs)>,
    /// The time of the first event and of the last.
    pub times: Option<(MonoNs, MonoNs)>,
    /// Why the events end early.
    pub broken: Option<String>,
}

impl Counts {
    /// Where times are counted from: the first event, as in `log` and in moments.
    fn zero(&self, about: &About) -> MonoNs {
        self.times.map_or(about.started, |(first, _)| first)
    }

    /// Adds an event.
    pub fn add(&mut self, event: &Event) {
        let failed = matches!(event.outcome, Outcome::Failed(_));
        self.add_many(event.task.pid, event.op.kind(), failed, 1);
        self.times = Some((self.times.map_or(event.entered, |(first, _)| first), event.left));
        self.tell(event);
    }

    /// Adds so many events of a kind that say nothing else.
    pub fn add_many(&mut self, pid: Pid, kind: OpKind, failed: bool, count: u64) {
        self.events += count;
        let (all, failures) = self.kinds.entry(kind).or_default();
        *all += count;
        *failures += if failed { count } else { 0 };
        let process = self.processes.entry(pid).or_default();
        // Calls come first in `OpKind`.
        process.calls += if kind <= OpKind::Other { count } else { 0 };
    }

    /// Takes what an event says of its process, without counting it: only what is no call says something.
    pub fn tell(&mut self, event: &Event) {
        let process = self.processes.entry(event.task.pid).or_default();
        match &event.op {
            Op::Fork { kind: ForkKind::Thread, .. } => process.threads += 1,
            Op::Fork { child, .. } => {
                let parent = event.task.pid;
                if child.pid != parent {
                    self.processes.entry(child.pid).or_default().parent = Some(parent);
                }
            }
            Op::Snapshot {
                reason: SnapshotReason::Exec | SnapshotReason::Attach | SnapshotReason::Watch,
                rows,
            } => {
                let program = rows.iter().find(|row| row.has_file()).map(|row| row.name_bytes().to_vec());
                process.programs.extend(program);
            }
            Op::Exit { status, signal, .. } if event.task.tid.0 == event.task.pid.0 => {
                process.end = Some((*status, *signal));
            }
            Op::Mark { name } => self.marks.push((name.clone(), event.seq, event.entered)),
            _ => {}
        }
    }
}

/// Writes what a person wants to know first.
///
/// # Errors
/// Those of `out`.
pub fn write_text(
    out: &mut dyn Write,
    about: &About,
    counts: &Counts,
    lang: Lang,
    style: Style,
    columns: Option<usize>,
) -> fmt::Result {
    let safe = |text: &str| escape::terminal(text.as_bytes());
    let words = about.args.iter().flatten().fold(safe(&about.program), |text, arg| text + " " + &safe(arg));
    let title = texts::TITLE.fill(lang, &[("program", &words), ("how", &safe(&about.how))]);
    writeln!(out, "{}", style.paint(Paint::Heading, &title))?;
    let values: [(&str, &dyn Display); 4] = [
        ("host", &safe(&about.host)),
        ("kernel", &safe(&about.kernel)),
        ("arch", &safe(&about.arch)),
        ("version", &safe(&about.vmatlas)),
    ];
    writeln!(out, "{}", texts::MACHINE.fill(lang, &values))?;
    let end = about.ended.or(counts.times.map(|(_, last)| last)).unwrap_or(about.started);
    let when: [(&str, &dyn Display); 2] =
        [("date", &date(about.started, about.clock_offset)), ("seconds", &seconds(counts.zero(about), end))];
    let how_ended = match (about.ended, about.status) {
        (None, _) if about.being_recorded => texts::BEING_RECORDED.get(lang).to_owned(),
        (None, _) => texts::NOT_ENDED.get(lang).to_owned(),
        (Some(_), Some(status)) => texts::STATUS.fill(lang, &[("status", &status)]),
        (Some(_), None) if about.looks.is_some() && counts.kinds.contains_key(&OpKind::Exit) => {
            crate::looks::texts::ENDED.get(lang).to_owned()
        }
        (Some(_), None) => texts::LEFT.get(lang).to_owned(),
    };
    writeln!(out, "{}, {how_ended}", texts::WHEN.fill(lang, &when))?;
    let figure = |n: Option<u64>| n.map_or(texts::UNKNOWN.get(lang).to_owned(), count);
    let values: [(&str, &dyn Display); 5] = [
        ("events", &count(counts.events)),
        ("keyframes", &count(about.keyframes)),
        ("lost", &figure(about.lost)),
        ("drift", &figure(about.drift)),
        ("size", &size(about.size)),
    ];
    writeln!(out, "{}", texts::FIGURES.fill(lang, &values))?;
    if let Some(others) = about.others {
        writeln!(out, "{}", texts::OTHERS.fill(lang, &[("n", &count(others))]))?;
    }
    if let Some(faults) = &about.faults {
        let values: [(&str, &dyn Display); 4] = [
            ("told", &count(faults.told)),
            ("lost", &count(faults.lost)),
            ("handled", &figure(faults.handled)),
            ("accounted", &figure(faults.accounted)),
        ];
        writeln!(out, "{}", texts::FAULTS.fill(lang, &values))?;
    }
    for line in about.looks.iter().flat_map(|looks| looks.lines(lang)) {
        writeln!(out, "{line}")?;
    }
    for what in about.damage.iter().chain(&counts.broken) {
        let line = texts::DAMAGE.fill(lang, &[("what", &safe(what))]);
        writeln!(out, "{}", style.paint(Paint::Failed, &line))?;
    }
    if counts.events == 0 {
        return Ok(());
    }
    writeln!(out)?;
    write_processes(out, about, counts, lang, style, columns)?;
    writeln!(out)?;
    let heading = |text: &crate::Text| Cell::new(text.get(lang)).paint(Paint::Heading);
    let mut rows = vec![vec![heading(&texts::EVENT), heading(&texts::COUNT), heading(&texts::FAILED)]];
    let number = |n: u64| if n == 0 { Cell::new("0").paint(Paint::Faint) } else { Cell::new(count(n)) };
    rows.extend(
        counts
            .kinds
            .iter()
            .map(|(kind, (n, failed))| vec![Cell::new(kind.name()), number(*n), number(*failed)]),
    );
    write_table(out, &[Align::Left, Align::Right, Align::Right], &rows, style, columns)?;
    for (name, seq, at) in &counts.marks {
        let values: [(&str, &dyn Display); 3] =
            [("name", &safe(name)), ("seconds", &seconds(counts.zero(about), *at)), ("seq", seq)];
        writeln!(out, "{}", texts::MARK.fill(lang, &values))?;
    }
    Ok(())
}

fn write_processes(
    out: &mut dyn Write,
    about: &About,
    counts: &Counts,
    lang: Lang,
    style: Style,
    columns: Option<usize>,
) -> fmt::Result {
    let heading = |text: &crate::Text| Cell::new(text.get(lang)).paint(Paint::Heading);
    let mut rows = vec![vec![
        heading(&texts::PROCESSES),
        heading(&texts::THREADS),
        heading(&texts::CALLS),
        heading(&texts::END),
        heading(&texts::PROGRAM),
    ]];
    let arrow =
        |programs: &[Vec<u8>]| programs.iter().map(|p| escape::terminal(p)).collect::<Vec<_>>().join(" -> ");
    // Where nothing was traced, neither threads nor calls were seen.
    let traced = |n: u64| match about.looks {
        Some(_) => Cell::new(texts::NO_END.get(lang)).paint(Paint::Faint),
        None => Cell::new(count(n)),
    };
    for (pid, depth) in tree(counts) {
        let Some(process) = counts.processes.get(&pid) else { continue };
        let end = match process.end {
            Some((Some(status), _)) => status.to_string(),
            Some((None, Some(signal))) => texts::SIGNAL.fill(lang, &[("signal", &signal)]),
            _ => texts::NO_END.get(lang).to_owned(),
        };
        rows.push(vec![
            Cell::new(format!("{:1$}{pid}", "", 2 * depth.min(20))),
            traced(process.threads + 1),
            traced(process.calls),
            Cell::new(end),
            Cell::new(arrow(&process.programs)),
        ]);
    }
    let aligns = [Align::Left, Align::Right, Align::Right, Align::Left, Align::Left];
    write_table(out, &aligns, &rows, style, columns)
}

/// Each process below the one that made it, with its depth; circles, which only a forged recording has, are cut.
fn tree(counts: &Counts) -> Vec<(Pid, usize)> {
    let mut children: BTreeMap<Option<Pid>, Vec<Pid>> = BTreeMap::new();
    for (pid, process) in &counts.processes {
        let parent = process.parent.filter(|p| counts.processes.contains_key(p) && p != pid);
        children.entry(parent).or_default().push(*pid);
    }
    let mut stack: Vec<(Pid, usize)> =
        children.remove(&None).unwrap_or_default().into_iter().rev().map(|pid| (pid, 0)).collect();
    let mut found = Vec::new();
    while let Some((pid, depth)) = stack.pop() {
        found.push((pid, depth));
        let below = children.remove(&Some(pid)).unwrap_or_default();
        stack.extend(below.into_iter().rev().map(|child| (child, depth + 1)));
    }
    // What is in no tree.
    found.extend(children.into_values().flatten().map(|pid| (pid, 0)));
    found
}

/// The same as one JSON document.
pub fn json(about: &About, counts: &Counts) -> Value {
    let mut recording = Map::new();
    put_name(&mut recording, "path", &about.path);
    let kinds: Map<String, Value> = counts
        .kinds
        .iter()
        .map(|(kind, (n, failed))| (kind.name().to_owned(), json!({"count": n, "failed": failed})))
        .collect();
    let processes: Vec<Value> = counts
        .processes
        .iter()
        .map(|(pid, p)| {
            let programs: Vec<_> =
                p.programs.iter().map(|b| String::from_utf8_lossy(b).into_owned()).collect();
            let (status, signal) = p.end.unwrap_or_default();
            let mut process = json!({
                "pid": pid.0, "parent": p.parent.map(|p| p.0), "threads": p.threads + 1, "calls": p.calls,
                "programs": programs, "ended": p.end.is_some(), "status": status, "signal": signal,
            });
            if let (Some(object), Some(_)) = (process.as_object_mut(), &about.looks) {
                for key in ["threads", "calls"] {
                    object.insert(key.to_owned(), Value::Null);
                    object.insert(format!("{key}_why"), "not-read".into());
                }
            }
            process
        })
        .collect();
    let marks: Vec<Value> = counts
        .marks
        .iter()
        .map(|(name, seq, at)| json!({"name": name, "seq": seq.0, "time": since(counts.zero(about), *at)}))
        .collect();
    let end = about.ended.or(counts.times.map(|(_, last)| last));
    for (key, value) in [
        ("program", json!(about.program)),
        ("args", json!(about.args)),
        ("how", json!(about.how)),
        ("host", json!(about.host)),
        ("kernel", json!(about.kernel)),
        ("arch", json!(about.arch)),
        ("vmatlas", json!(about.vmatlas)),
        ("features", json!(about.features)),
        ("started", json!(date(about.started, about.clock_offset))),
        ("duration", json!(end.map(|end| since(counts.zero(about), end)))),
        ("ended", json!(about.ended.is_some())),
        ("being_recorded", json!(about.being_recorded)),
        ("status", json!(about.status)),
        ("lost", json!(about.lost)),
        ("drift", json!(about.drift)),
        ("other_changes", json!(about.others)),
        ("keyframes", json!(about.keyframes)),
        ("bytes", json!(about.size.0)),
        ("damage", json!(about.damage.iter().chain(&counts.broken).collect::<Vec<_>>())),
    ] {
        recording.insert(key.to_owned(), value);
    }
    for (key, is_missing, why) in [
        ("args_why", about.args.is_none(), "not-read"),
        ("lost_why", about.lost.is_none(), "unknown"),
        ("drift_why", about.drift.is_none(), "unknown"),
        ("other_changes_why", about.others.is_none(), "unknown"),
    ] {
        if is_missing {
            recording.insert(key.to_owned(), json!(why));
        }
    }
    if let Some(faults) = &about.faults {
        let value = json!({
            "told": faults.told, "lost": faults.lost, "handled": faults.handled, "accounted": faults.accounted,
        });
        recording.insert("faults".to_owned(), value);
    }
    if let Some(looks) = &about.looks {
        recording.insert("looks".to_owned(), looks.json());
    }
    json!({
        "schema": "vmatlas/info/1",
        "recording": recording,
        "events": counts.events,
        "kinds": kinds,
        "processes": processes,
        "marks": marks,
    })
}

/// Seconds as a number.
fn since(start: MonoNs, at: MonoNs) -> f64 {
    at.0.saturating_sub(start.0) as f64 / 1e9
}

/// A time as a date in UTC: `2026-11-24 16:15:24 UTC`.
fn date(at: MonoNs, offset: u64) -> String {
    let seconds = at.0.saturating_add(offset) / 1_000_000_000;
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days since 1 March of year 0, in cycles of 400 years; a year that begins in March ends with its leap day.
    let days = days + 719_468;
    let (cycle, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = year + cycle * 400 + next;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks dates against date(1): the epoch, leap days, the ends of years and centuries.
    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, wanted) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_709_251_199, "2024-02-29 23:59:59 UTC"),
            (1_735_689_599, "2024-12-31 23:59:59 UTC"),
            (1_795_536_924, "2026-11-24 16:15:24 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
        ] {
            assert_eq!(date(MonoNs(0), seconds * 1_000_000_000), wanted);
        }
    }

    /// Checks that a process stands below its parent, and that a forged circle ends.
    #[test]
    fn the_tree_has_each_process_once() {
        let mut counts = Counts::default();
        for (pid, parent) in [(1, None), (2, Some(1)), (3, Some(2)), (4, Some(1)), (8, Some(9)), (9, Some(8))]
        {
            let process = ProcessInfo { parent: parent.map(Pid), ..ProcessInfo::default() };
            counts.processes.insert(Pid(pid), process);
        }
        let found: Vec<_> = tree(&counts).into_iter().map(|(pid, depth)| (pid.0, depth)).collect();
        assert_eq!(found, [(1, 0), (2, 1), (3, 2), (4, 1), (9, 0), (8, 0)]);
    }
}
