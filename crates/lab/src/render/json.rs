//! Reports as JSON.

use super::Outcome as Made;
use crate::report::{CallPart, ComparePart, Part, Report, Step};
use serde_json::{Value as Json, json};
use vmatlas_event::{Outcome, VmaRow};
use vmatlas_view::{Lang, json as shapes};

/// One experiment: `{schema, experiment, steps, facts, ...}`.
pub fn one(report: &Report) -> Json {
    json!({
        "schema": "vmatlas/lab/1",
        "experiment": report.info.name,
        "kernel": report.machine.kernel,
        "page_size": report.machine.page.bytes(),
        "pid": report.pid.0,
        "traced": report.untraced.is_none(),
        "untraced_why": report.untraced.as_ref().map(|why| why.get(Lang::En)),
        "steps": report.steps.iter().map(step).collect::<Vec<_>>(),
        "facts": report.facts.iter().map(crate::facts::Fact::to_json).collect::<Vec<_>>(),
        "holds": report.holds(),
        "quiz": crate::quiz::quiz(report).iter().map(question).collect::<Vec<_>>(),
    })
}

fn question(question: &crate::quiz::Question) -> Json {
    json!({
        "fact": question.id, "question": question.text.get(Lang::En),
        "answer": question.answer.as_ref().map(|value| value.text(Lang::En)),
        "why": question.why.get(Lang::En),
    })
}

/// All experiments: `{schema, experiments}`.
pub fn all(outcomes: &[Made]) -> Json {
    let outcome = |(info, outcome): &Made| match outcome {
        Ok(report) => one(report),
        Err(error) => json!({
            "schema": "vmatlas/lab/1", "experiment": info.name, "holds": null, "holds_why": "not-read",
            "error": error.to_string(),
        }),
    };
    json!({
        "schema": "vmatlas/lab-all/1",
        "experiments": outcomes.iter().map(outcome).collect::<Vec<_>>(),
    })
}

fn step(step: &Step) -> Json {
    json!({
        "id": step.id,
        "title": step.title.get(Lang::En),
        "parts": step.parts.iter().map(part).collect::<Vec<_>>(),
    })
}

fn rows(rows: &[VmaRow]) -> Vec<Json> {
    rows.iter().map(|row| Json::Object(shapes::vma(row))).collect()
}

fn part(part: &Part) -> Json {
    match part {
        Part::Para(say) => json!({ "text": say.get(Lang::En) }),
        Part::Warning(say) => json!({ "warning": say.get(Lang::En) }),
        Part::Map(map) => json!({ "title": map.title.get(Lang::En), "map": rows(&map.rows) }),
        Part::Compare(compare) => comparison(compare),
        Part::Call(made) => call(made),
        Part::Did(did) => match &did.result {
            Ok(result) => {
                json!({ "did": did.what, "child": did.child.map(|pid| pid.0), "result": (!result.is_empty()).then_some(result) })
            }
            Err(errno) => json!({
                "did": did.what, "child": did.child.map(|pid| pid.0), "result": null, "error": vmatlas_sys::errno_name(*errno).unwrap_or("?"),
            }),
        },
        Part::Sums(sums) => {
            let sum = |(call, times, mapped, unmapped): &(
                &str,
                u64,
                vmatlas_event::Bytes,
                vmatlas_event::Bytes,
            )| {
                json!({ "call": call, "calls": times, "mapped": mapped.0, "unmapped": unmapped.0 })
            };
            json!({ "calls": sums.iter().map(sum).collect::<Vec<_>>() })
        }
        Part::Sizes(sizes) => {
            let size = |row: &crate::report::SizeRow| json!({ "what": row.what.get(Lang::En), "before": row.before.map(|b| b.0), "after": row.after.0 });
            json!({ "sizes": sizes.iter().map(size).collect::<Vec<_>>() })
        }
        Part::Table(table) => json!({
            "columns": table.heads.iter().map(|head| head.get(Lang::En)).collect::<Vec<_>>(),
            "rows": table.rows,
        }),
        Part::Samples(samples) => {
            let sample = |s: &crate::Sample| {
                json!({
                    "at_us": s.at.as_micros() as u64, "touched": s.touched.0, "virtual": s.virtual_size.0,
                    "resident": s.resident.0, "minor_faults": s.faults,
                })
            };
            json!({ "samples": samples.iter().map(sample).collect::<Vec<_>>() })
        }
    }
}

fn comparison(compare: &ComparePart) -> Json {
    let change = vmatlas_model::Change {
        before: compare.before.rows.clone().into(),
        after: compare.after.rows.clone().into(),
        ..vmatlas_model::Change::default()
    };
    let pages = compare.before.changes(&compare.after);
    json!({
        "changed": shapes::change(&change, &pages)["pages"],
        "map_before": rows(&compare.before.rows),
        "map_after": rows(&compare.after.rows),
    })
}

fn call(made: &CallPart) -> Json {
    let (result, error) = match made.outcome {
        Outcome::Done(value) => (json!(format!("{value:#x}")), Json::Null),
        Outcome::Failed(errno) => (Json::Null, json!(vmatlas_sys::errno_name(errno).unwrap_or("?"))),
        Outcome::NoReturn => (Json::Null, json!("ended inside the call")),
    };
    json!({
        "call": made.op.kind().name(), "args": shapes::args(&made.op), "result": result, "error": error,
        "meaning": made.meaning.get(Lang::En),
    })
}
