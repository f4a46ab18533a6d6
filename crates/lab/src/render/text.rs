//! A report for a person: step by step while it is made, or all at once.

use super::maps;
use crate::facts::Fact;
use crate::info::Info;
use crate::report::{CallPart, DidPart, Figure, Part, Report, SizeRow, Step, TablePart};
use crate::say::Say;
use crate::settings::Param;
use crate::texts;
use std::fmt::{self, Write};
use vmatlas_event::{Bytes, Outcome};
use vmatlas_view::picture::chart::{self, Sample};
use vmatlas_view::picture::wrap::wrap;
use vmatlas_view::picture::{spread, strip, talk};
use vmatlas_view::table::{Align, Cell, width, write_table};
use vmatlas_view::units::{count, size};
use vmatlas_view::{Lang, Paint, Style, texts as words};

/// How it is written.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// The language.
    pub lang: Lang,
    /// Colours.
    pub style: Style,
    /// The width to write for.
    pub columns: usize,
    /// The kernel's own lines instead of tables.
    pub raw: bool,
    /// Whole maps, not the neighbourhood of what changed.
    pub all_lines: bool,
}

/// Lines of prose are not longer than this, however wide the terminal is.
const PROSE: usize = 96;

impl Look {
    pub(super) fn heading(&self, text: &str) -> String {
        self.style.paint(Paint::Heading, text)
    }

    pub(super) fn prose(&self, out: &mut dyn Write, text: &str) -> fmt::Result {
        wrap(text, self.columns.min(PROSE)).iter().try_for_each(|line| writeln!(out, "{line}"))
    }

    pub(super) fn section(&self, out: &mut dyn Write, title: &vmatlas_view::Text, text: &str) -> fmt::Result {
        writeln!(out, "\n{}", self.heading(title.get(self.lang)))?;
        self.prose(out, text)
    }
}

/// What stands before the first step.
///
/// # Errors
/// Those of `out`.
pub fn beginning(out: &mut dyn Write, report: &Report, look: &Look) -> fmt::Result {
    let (lang, info) = (look.lang, report.info);
    writeln!(out, "{}", look.heading(info.title().get(lang)))?;
    look.section(out, &texts::QUESTION, &report.words(info.text("question")).get(lang))?;
    look.section(out, &texts::EXPECT, &report.words(info.text("expect")).get(lang))?;
    writeln!(out)?;
    look.prose(out, &texts::SUBJECT.fill(lang, &[("pid", &report.pid)]))?;
    writeln!(out, "  vmatlas show {pid}\n  cat /proc/{pid}/maps", pid = report.pid)?;
    if let Some(why) = &report.untraced {
        warning(out, &why.get(lang), look)?;
    }
    for need in info.needs.iter().filter(|need| !need.is_met()) {
        warning(out, &Say::new(texts::NOT_MET).with("what", need.say()).get(lang), look)?;
    }
    Ok(())
}

/// One step.
///
/// # Errors
/// Those of `out`.
pub fn step(out: &mut dyn Write, number: usize, step: &Step, look: &Look) -> fmt::Result {
    let title = step.title.get(look.lang);
    let values: [(&str, &dyn fmt::Display); 2] = [("n", &number), ("title", &title)];
    writeln!(out, "\n{}", look.heading(&texts::STEP.fill(look.lang, &values)))?;
    let mut follows = false;
    // The chart shows the samples.
    for part in step.parts.iter().filter(|part| !matches!(part, Part::Samples(_))) {
        // Lines of what was done belong together.
        let is_line = matches!(part, Part::Did(_));
        if !(is_line && follows) {
            writeln!(out)?;
        }
        follows = is_line;
        self::part(out, part, look)?;
    }
    Ok(())
}

/// One part of a step.
pub(super) fn part(out: &mut dyn Write, part: &Part, look: &Look) -> fmt::Result {
    match part {
        Part::Para(say) => look.prose(out, &say.get(look.lang)),
        Part::Warning(say) => warning(out, &say.get(look.lang), look),
        Part::Map(map) => maps::single(out, map, look),
        Part::Compare(compare) => maps::comparison(out, compare, look),
        Part::Call(call) => call_part(out, call, look),
        Part::Did(did) => did_part(out, did, look),
        Part::Sums(sums) => sums_part(out, sums, look),
        Part::Sizes(sizes) => sizes_part(out, sizes, look),
        Part::Samples(_) => Ok(()),
        Part::Table(table) => table_part(out, table, look),
    }
}

/// One look while pages are touched, as a line that can be written over.
pub fn sample(sample: &Sample, look: &Look) -> String {
    format!(
        "{} {}   {} {}   {} {}",
        texts::TOUCHED.get(look.lang),
        size(sample.touched),
        texts::RESIDENT.get(look.lang),
        size(sample.resident),
        texts::FAULTS.get(look.lang),
        count(sample.faults),
    )
}

/// What stands after the last step: picture, facts, program, practice, what to try next.
///
/// # Errors
/// Those of `out`.
pub fn ending(out: &mut dyn Write, report: &Report, look: &Look) -> fmt::Result {
    let (lang, info) = (look.lang, report.info);
    if let Some(figure) = &report.figure {
        writeln!(out, "\n{}\n", look.heading(texts::PICTURE.get(lang)))?;
        let lines = figure_lines(figure, look);
        lines.iter().try_for_each(|line| writeln!(out, "{line}"))?;
    }
    facts(out, &report.facts, look)?;
    look.section(out, &texts::PRACTICE, &report.words(info.text("practice")).get(lang))?;
    if let Some(program) = &report.program {
        writeln!(out, "\n{}\n", look.heading(texts::PROGRAM.get(lang)))?;
        program.source.lines().try_for_each(|line| writeln!(out, "    {line}"))?;
    }
    look.section(out, &texts::NEXT, info.section("next", lang))?;
    parameters(out, info, look)
}

/// The picture as lines.
pub(super) fn figure_lines(figure: &Figure, look: &Look) -> Vec<String> {
    let (lang, style, columns) = (look.lang, look.style, look.columns);
    match figure {
        Figure::Talk(talk) => talk::terminal(talk, lang, style, columns),
        Figure::Chart(chart) => chart::terminal(chart, lang, style, columns),
        Figure::Strip(moments) => strip::terminal(&Figure::strip(moments, lang), lang, style, columns),
        Figure::Spread(things) => spread::terminal(&Figure::spread(things, lang), lang, style, columns),
    }
}

/// What can be changed, with what is usual.
fn parameters(out: &mut dyn Write, info: &Info, look: &Look) -> fmt::Result {
    let lang = look.lang;
    if info.params.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{}", look.heading(texts::PARAMS.get(lang)))?;
    let option = |param: &Param| {
        let value = param.value_name().map(|name| format!(" {name}")).unwrap_or_default();
        format!("  --{}{value}", param.name)
    };
    let options: Vec<String> = info.params.iter().map(option).collect();
    let room =
        look.columns.min(PROSE).saturating_sub(options.iter().map(|o| width(o)).max().unwrap_or(0) + 2);
    let mut rows = Vec::new();
    for (param, option) in info.params.iter().zip(options) {
        let mut help = info.section(&format!("param {}", param.name), lang).to_owned();
        if !param.usual.is_empty() {
            help.push_str(&texts::USUAL.fill(lang, &[("value", &param.usual)]));
        }
        let mut lines = wrap(&help, room.max(24)).into_iter();
        rows.push(vec![Cell::new(option), Cell::new(lines.next().unwrap_or_default())]);
        rows.extend(lines.map(|line| vec![Cell::new(""), Cell::new(line)]));
    }
    write_table(out, &[Align::Left, Align::Left], &rows, look.style, Some(look.columns))
}

pub(super) fn warning(out: &mut dyn Write, text: &str, look: &Look) -> fmt::Result {
    for line in wrap(text, look.columns.min(PROSE).saturating_sub(2)) {
        writeln!(out, "{}", look.style.paint(Paint::Changed, &format!("! {line}")))?;
    }
    Ok(())
}

fn call_part(out: &mut dyn Write, call: &CallPart, look: &Look) -> fmt::Result {
    writeln!(out, "{}(", look.heading(call.op.kind().name()))?;
    let rows: Vec<Vec<Cell>> = call
        .args
        .iter()
        .map(|(name, value, meaning)| {
            vec![
                Cell::new(format!("    {name}")),
                Cell::new(value.clone()),
                Cell::new(meaning.get(look.lang)).paint(Paint::Faint),
            ]
        })
        .collect();
    write_table(out, &[Align::Left, Align::Left, Align::Left], &rows, look.style, Some(look.columns))?;
    let (result, paint) = match call.outcome {
        Outcome::Done(value) => (format!("{value:#x}"), Paint::Added),
        Outcome::Failed(errno) => (vmatlas_sys::errno_name(errno).unwrap_or("?").to_owned(), Paint::Failed),
        Outcome::NoReturn => ("?".to_owned(), Paint::Failed),
    };
    writeln!(out, ") = {}", look.style.paint(paint, &result))?;
    look.prose(out, &format!("{}: {}", texts::RETURNED.get(look.lang), call.meaning.get(look.lang)))
}

fn did_part(out: &mut dyn Write, did: &DidPart, look: &Look) -> fmt::Result {
    const INDENT: &str = "    ";
    let what = match did.child {
        Some(pid) => {
            texts::CHILD_DID.fill(look.lang, &[("pid", &pid as &dyn fmt::Display), ("what", &did.what)])
        }
        None => did.what.clone(),
    };
    // Lines after the first begin further in, so that each call begins where it can be seen.
    let next = format!("\n{INDENT}{INDENT}");
    let what = match INDENT.len() + width(&what) <= look.columns {
        true => what,
        false => wrap(&what, look.columns.saturating_sub(2 * INDENT.len()).max(24)).join(&next),
    };
    let (result, paint) = match &did.result {
        Ok(text) if text.is_empty() => return writeln!(out, "{what}"),
        Ok(text) => (text.clone(), Paint::Added),
        Err(errno) => (vmatlas_sys::errno_name(*errno).unwrap_or("?").to_owned(), Paint::Failed),
    };
    let used = what.rsplit_once('\n').map_or(INDENT.len() + width(&what), |(_, last)| width(last));
    let between = if used + 3 + width(&result) <= look.columns { " " } else { next.as_str() };
    writeln!(out, "{INDENT}{what}{between}= {}", look.style.paint(paint, &result))
}

fn sums_part(out: &mut dyn Write, sums: &[(&'static str, u64, Bytes, Bytes)], look: &Look) -> fmt::Result {
    let heading = |text: &vmatlas_view::Text| Cell::new(text.get(look.lang)).paint(Paint::Heading);
    let mut rows = vec![vec![
        heading(&texts::CALL),
        heading(&words::CALLS),
        heading(&words::MAPPED),
        heading(&words::UNMAPPED),
    ]];
    for (call, times, mapped, unmapped) in sums {
        rows.push(vec![
            Cell::new(*call),
            Cell::new(count(*times)),
            Cell::new(size(*mapped)),
            Cell::new(size(*unmapped)),
        ]);
    }
    write_table(out, &[Align::Left, Align::Right, Align::Right, Align::Right], &rows, look.style, None)
}

fn table_part(out: &mut dyn Write, table: &TablePart, look: &Look) -> fmt::Result {
    let heads = table.heads.iter().map(|head| Cell::new(head.get(look.lang)).paint(Paint::Heading));
    let mut rows: Vec<Vec<Cell>> = vec![heads.collect()];
    rows.extend(table.rows.iter().map(|row| row.iter().map(|cell| Cell::new(cell.clone())).collect()));
    let mut aligns = vec![Align::Right; table.heads.len()];
    aligns.iter_mut().take(1).for_each(|first| *first = Align::Left);
    write_table(out, &aligns, &rows, look.style, Some(look.columns))
}

fn sizes_part(out: &mut dyn Write, sizes: &[SizeRow], look: &Look) -> fmt::Result {
    let heading = |text: &vmatlas_view::Text| Cell::new(text.get(look.lang)).paint(Paint::Heading);
    let mut rows = vec![vec![
        Cell::new(""),
        heading(&texts::BEFORE),
        heading(&texts::AFTER),
        heading(&texts::DIFFERENCE),
    ]];
    for row in sizes {
        let difference = row.before.map(|before| match row.after.0.checked_sub(before.0) {
            Some(0) => Cell::new("0").paint(Paint::Faint),
            Some(more) => Cell::new(format!("+{}", size(Bytes(more)))).paint(Paint::Added),
            None => Cell::new(format!("-{}", size(Bytes(before.0 - row.after.0)))).paint(Paint::Removed),
        });
        rows.push(vec![
            Cell::new(row.what.get(look.lang)),
            Cell::new(row.before.map(size).unwrap_or_default()),
            Cell::new(size(row.after)),
            difference.unwrap_or_else(|| Cell::new("")),
        ]);
    }
    write_table(out, &[Align::Left, Align::Right, Align::Right, Align::Right], &rows, look.style, None)
}

/// Why facts are open, each reason once, with the facts it is the reason of.
fn reasons(facts: &[Fact], lang: Lang) -> Vec<(String, Vec<&'static str>)> {
    let mut all: Vec<(String, Vec<&'static str>)> = Vec::new();
    for fact in facts {
        for why in [fact.predicted.why(), fact.measured.why()].into_iter().flatten() {
            let why = why.get(lang);
            match all.iter_mut().find(|(known, _)| *known == why) {
                Some((_, ids)) if ids.last() == Some(&fact.id) => {}
                Some((_, ids)) => ids.push(fact.id),
                None => all.push((why, vec![fact.id])),
            }
        }
    }
    all
}

pub(super) fn facts(out: &mut dyn Write, facts: &[Fact], look: &Look) -> fmt::Result {
    let lang = look.lang;
    writeln!(out, "\n{}", look.heading(texts::FACTS.get(lang)))?;
    let heading = |text: &vmatlas_view::Text| Cell::new(text.get(lang)).paint(Paint::Heading);
    let mut rows = vec![vec![
        Cell::new(""),
        heading(&texts::PREDICTED),
        heading(&texts::MEASURED),
        heading(&texts::FACT),
    ]];
    let values: Vec<[String; 2]> =
        facts.iter().map(|fact| [fact.predicted.text(lang), fact.measured.text(lang)]).collect();
    let heads = [texts::PREDICTED.get(lang), texts::MEASURED.get(lang)];
    let column = |index: usize| {
        let texts = values.iter().filter_map(|pair| pair.get(index)).map(|text| width(text));
        texts.chain(heads.get(index).map(|head| width(head))).max().unwrap_or(0)
    };
    // The sign, and two blanks before each of the three columns.
    let room = look.columns.saturating_sub(1 + 6 + column(0) + column(1)).max(24);
    for (fact, [predicted, measured]) in facts.iter().zip(&values) {
        let (sign, paint) = match fact.holds() {
            Some(true) => ("✓", Paint::Added),
            Some(false) => ("✗", Paint::Failed),
            None => ("·", Paint::Faint),
        };
        let mut lines = wrap(&fact.text.get(lang), room).into_iter();
        rows.push(vec![
            Cell::new(sign).paint(paint),
            Cell::new(predicted.clone()),
            Cell::new(measured.clone()),
            Cell::new(lines.next().unwrap_or_default()),
        ]);
        rows.extend(lines.map(|line| vec![Cell::new(""), Cell::new(""), Cell::new(""), Cell::new(line)]));
    }
    let aligns = [Align::Left, Align::Right, Align::Right, Align::Left];
    write_table(out, &aligns, &rows, look.style, Some(look.columns))?;
    let reasons = reasons(facts, lang);
    for (why, ids) in &reasons {
        // A reason alone belongs to every line that is open.
        let text = match reasons.len() {
            1 => format!("· {why}"),
            _ => texts::BECAUSE.fill(lang, &[("id", &ids.join(", ")), ("why", why)]),
        };
        for line in wrap(&text, look.columns.saturating_sub(2).max(24)) {
            writeln!(out, "  {}", look.style.paint(Paint::Faint, &line))?;
        }
    }
    let bad = facts.iter().filter(|f| f.holds() == Some(false)).count();
    let good = facts.iter().filter(|f| f.holds() == Some(true)).count();
    let open = facts.len() - bad - good;
    let (text, paint) = match (bad, open) {
        (0, 0) => (texts::ALL_HOLD.fill(lang, &[("n", &good)]), Paint::Added),
        (0, open) => (texts::SOME_UNTOLD.fill(lang, &[("n", &good), ("open", &open)]), Paint::Added),
        (bad, _) => (texts::SOME_FAIL.fill(lang, &[("bad", &bad), ("n", &facts.len())]), Paint::Failed),
    };
    writeln!(out, "{}", look.style.paint(paint, &text))
}
