//! The list of experiments, and the table of all of them.

use super::text::{self, Look};
use crate::error::LabError;
use crate::info::{Info, Need};
use crate::report::Report;
use crate::say::Say;
use crate::texts;
use serde_json::{Value as Json, json};
use std::fmt::{self, Write};
use vmatlas_view::table::{Align, Cell, Table, write_table};
use vmatlas_view::{Lang, Paint, Text};

/// An experiment that was to be made.
pub type Outcome = (&'static Info, Result<Report, LabError>);

/// The experiments there are, in the order to learn from them.
///
/// # Errors
/// Those of `out`.
pub fn list(out: &mut dyn Write, look: &Look) -> fmt::Result {
    let lang = look.lang;
    let heading = |text: &Text| Cell::new(text.get(lang)).paint(Paint::Heading);
    writeln!(out, "{}\n", look.heading(texts::LIST.get(lang)))?;
    let head = vec![Cell::new(""), heading(&texts::LIST_NAME), heading(&texts::LIST_WHAT)];
    let mut number = 0;
    let mut entry = |info: &Info| {
        number += 1;
        // The title of most begins with the name again.
        let title = info.title().get(lang);
        let what = title.split_once(": ").map_or(title, |(_, rest)| rest);
        let mut rows = vec![vec![Cell::new(format!("{number:>4}")), Cell::new(info.name), Cell::new(what)]];
        if !info.needs.is_empty() {
            let needs: Vec<String> = info.needs.iter().map(|need| need.say().get(lang)).collect();
            let with = texts::LIST_MORE_WITH.fill(lang, &[("what", &needs.join(", "))]);
            rows.push(vec![Cell::new(""), Cell::new(""), Cell::new(with).paint(Paint::Faint)]);
        }
        rows
    };
    let chapters: Vec<(&Text, Vec<Vec<Cell>>)> = crate::CHAPTERS
        .iter()
        .filter(|chapter| !chapter.experiments.is_empty())
        .map(|chapter| (&chapter.title, chapter.experiments.iter().flat_map(|info| entry(info)).collect()))
        .collect();
    let mut table = Table::new(&[Align::Left, Align::Left, Align::Left], look.style, Some(look.columns));
    table.fit_row(&head);
    chapters.iter().flat_map(|(_, rows)| rows).for_each(|row| table.fit_row(row));
    table.row(out, &head)?;
    for (title, rows) in &chapters {
        writeln!(out, "{}", look.heading(title.get(lang)))?;
        for row in rows {
            table.row(out, row)?;
        }
    }
    writeln!(out)?;
    look.prose(out, texts::LIST_NEXT.get(lang))
}

/// The same as JSON.
pub fn list_json() -> Json {
    let experiment = |(info, number): (&'static Info, u64)| {
        let param = |param: &crate::settings::Param| {
            json!({
                "name": param.name, "takes": param.value_name(),
                "usual": (!param.usual.is_empty()).then_some(param.usual),
                "help": info.section(&format!("param {}", param.name), Lang::En),
            })
        };
        json!({
            "number": number,
            "experiment": info.name,
            "title": info.title().en,
            "question": info.section("question", Lang::En),
            "needs": info.needs.iter().map(|need: &Need| json!({ "id": need.id(), "met": need.is_met() })).collect::<Vec<_>>(),
            "params": info.params.iter().map(param).collect::<Vec<_>>(),
        })
    };
    json!({
        "schema": "vmatlas/lab-list/1",
        "experiments": crate::experiments().zip(1..).map(experiment).collect::<Vec<_>>(),
    })
}

/// The facts of one of all experiments.
///
/// # Errors
/// Those of `out`.
pub fn one_of_all(out: &mut dyn Write, (info, outcome): &Outcome, look: &Look) -> fmt::Result {
    writeln!(out, "{}", look.heading(info.title().get(look.lang)))?;
    match outcome {
        Ok(report) => text::facts(out, &report.facts, look)?,
        Err(error) => text::warning(out, &not_made(error).get(look.lang), look)?,
    }
    writeln!(out)
}

/// A table of all experiments: how many facts of each hold.
///
/// # Errors
/// Those of `out`.
pub fn sum_of_all(out: &mut dyn Write, outcomes: &[Outcome], look: &Look) -> fmt::Result {
    let lang = look.lang;
    writeln!(out, "{}", look.heading(texts::SUM_OF_ALL.get(lang)))?;
    let heading = |text: &Text| Cell::new(text.get(lang)).paint(Paint::Heading);
    let mut rows = vec![vec![
        Cell::new(""),
        heading(&texts::LIST_NAME),
        heading(&texts::FACTS_COLUMN),
        heading(&texts::HELD),
        heading(&texts::OPEN),
    ]];
    for (info, outcome) in outcomes {
        let Ok(report) = outcome else {
            rows.push(vec![Cell::new("✗").paint(Paint::Failed), Cell::new(info.name)]);
            continue;
        };
        let number = |holds| report.facts.iter().filter(|fact| fact.holds() == holds).count();
        let (sign, paint) = if report.holds() { ("✓", Paint::Added) } else { ("✗", Paint::Failed) };
        rows.push(vec![
            Cell::new(sign).paint(paint),
            Cell::new(info.name),
            Cell::new(report.facts.len().to_string()),
            Cell::new(number(Some(true)).to_string()),
            Cell::new(number(None).to_string()),
        ]);
    }
    let aligns = [Align::Left, Align::Left, Align::Right, Align::Right, Align::Right];
    write_table(out, &aligns, &rows, look.style, Some(look.columns))
}

/// Why an experiment could not be made.
pub(super) fn not_made(error: &LabError) -> Say {
    Say::new(texts::NOT_MADE).with("why", error.say())
}
