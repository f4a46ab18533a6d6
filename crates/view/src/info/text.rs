//! What a recording holds, for a person.

use super::date::date;
use super::{About, Counts, texts};
use crate::escape;
use crate::lang::Lang;
use crate::style::{Paint, Style};
use crate::table::{Align, Cell, write_table};
use crate::units::{count, seconds, size};
use std::collections::BTreeMap;
use std::fmt::{self, Display, Write};
use vmatlas_event::{OpKind, Pid};

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
    if let Some(untracked) = about.untracked.filter(|untracked| *untracked > 0) {
        let line = crate::texts::UNTRACKED.fill(lang, &[("n", &count(untracked))]);
        writeln!(out, "{}", style.paint(Paint::Failed, &line))?;
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
    if about.page_snapshots > 0 {
        writeln!(out, "{}", texts::PAGE_SNAPSHOTS.fill(lang, &[("n", &count(about.page_snapshots))]))?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::info::ProcessInfo;

    /// Checks that processes of which nothing is known are told, in both languages, and that none are not.
    #[test]
    fn processes_not_watched_are_told() {
        let said = |untracked, lang| {
            let about = About { untracked, ..About::default() };
            let mut out = String::new();
            write_text(&mut out, &about, &Counts::default(), lang, Style::default(), None).unwrap();
            assert_eq!(
                super::super::json(&about, &Counts::default())["recording"]["untracked"],
                serde_json::json!(untracked)
            );
            out
        };
        assert!(
            said(Some(12_345), Lang::En)
                .contains("\nprocesses not watched, because too many were at once: 12,345;")
        );
        assert!(said(Some(12_345), Lang::Ja).contains("12,345 個のプロセスは監視していません"));
        for nothing in [None, Some(0)] {
            assert!(!said(nothing, Lang::En).contains("not watched"));
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
