//! The heap: the break moves, and whole pages come and go.

mod texts;

use crate::error::LabError;
use crate::facts::{Expected, Fact, Measured, Value};
use crate::info::{Info, Setup};
use crate::report::{Audience, CallPart, ComparePart, Part, Report, SizeRow, Step};
use crate::say::Say;
use crate::state::State;
use crate::subject::Subject;
use crate::texts as shared;
use std::sync::Arc;
use vmatlas_event::{Addr, Bytes, Op, Outcome};
use vmatlas_model::PageChange;
use vmatlas_view::Text;

/// What is known of it before it is made.
pub(crate) static INFO: Info = Info::new("brk", (include_str!("en.md"), include_str!("ja.md")), make);

/// glibc's own first step: 128 KiB of padding and a page for the request.
const GROWTH: u64 = 132 * 1024;

/// Makes the experiment.
///
/// # Errors
/// When the subject cannot be started or read.
fn make(setup: Setup<'_>) -> Result<Report, LabError> {
    let Setup { info, audience, tap, .. } = setup;
    let mut subject = Subject::start(Vec::new(), tap)?;
    let mut report = Report::new(info, &subject);
    audience.begin(&report);
    let page = report.machine.page.bytes();
    // From a page boundary, so that what one byte does is known beforehand.
    let ended = |how| LabError::Ended { how };
    let found = subject.brk(Addr(0)).map_err(ended)?;
    let start = Addr(found.0.next_multiple_of(page));
    subject.brk(start).map_err(ended)?;
    let first = Arc::new(subject.state()?);
    let note = Say::new(texts::BEFORE_NOTE).with("addr", start);
    show(&mut report, "before", texts::STEP_BEFORE, vec![Part::Para(note)], audience);

    let mut calls = subject.watch().blind().is_none().then_some(true);
    let mut made =
        |to: u64, title, id, note: Option<Text>, report: &mut Report, audience: &mut dyn Audience| {
            let before = Arc::new(subject.state()?);
            let seen = subject.watch().count();
            let now = subject.brk(Addr(to)).map_err(ended)?;
            let after = Arc::new(subject.state()?);
            calls = calls.map(|all| all && subject.watch().count() == seen + 1);
            let mut parts = parts(Addr(to), now, &before, &after);
            parts.extend(note.map(|text| Part::Para(Say::new(text))));
            show(report, id, title, parts, audience);
            Ok::<_, LabError>((before, after))
        };
    let (before, after) = made(start.0 + GROWTH, texts::STEP_GROW, "grow", None, &mut report, audience)?;
    let grew = fact("grew", texts::FACT_GREW, Value::Bytes(GROWTH), Value::Bytes(added(&before, &after)));
    let labelled = after.row_at(start).is_some_and(|row| row.special() == Some(b"heap"));
    let labelled = fact("label", texts::FACT_LABEL, Value::Yes(true), Value::Yes(labelled));
    let to = start.0 + GROWTH + 1;
    let (before, after) = made(to, texts::STEP_BYTE, "byte", Some(texts::BYTE_NOTE), &mut report, audience)?;
    let byte = fact("one-byte", texts::FACT_BYTE, Value::Bytes(page), Value::Bytes(added(&before, &after)));
    let note = Some(texts::SECOND_NOTE);
    let (before, after) = made(to + 1, texts::STEP_SECOND_BYTE, "second-byte", note, &mut report, audience)?;
    let second = before.changes(&after).is_empty();
    let second = fact("second-byte", texts::FACT_SECOND, Value::Yes(true), Value::Yes(second));
    let (_, after) = made(start.0, texts::STEP_BACK, "back", None, &mut report, audience)?;
    let back = first.changes(&after).is_empty();
    let back = fact("back", texts::FACT_BACK, Value::Yes(true), Value::Yes(back));
    let measured = match calls {
        Some(each_one) => Measured::Is(Value::Yes(each_one)),
        None => Measured::NotRead(Say::new(shared::NEEDS_TRACER)),
    };
    let predicted = Expected::Is(Value::Yes(true));
    let one_call = Fact { id: "one-call", text: Say::new(texts::FACT_CALLS), predicted, measured };
    report.facts = vec![grew, labelled, byte, second, back, one_call];
    subject.finish();
    Ok(report)
}

fn fact(id: &'static str, text: Text, predicted: Value, measured: Value) -> Fact {
    Fact { id, text: Say::new(text), predicted: Expected::Is(predicted), measured: Measured::Is(measured) }
}

fn show(report: &mut Report, id: &'static str, title: Text, parts: Vec<Part>, audience: &mut dyn Audience) {
    report.add(Step { id, title: Say::new(title), parts }, audience);
}

fn parts(asked: Addr, now: Addr, before: &Arc<State>, after: &Arc<State>) -> Vec<Part> {
    let size = |what, before, after| SizeRow { what: Say::new(what), before: Some(before), after };
    vec![
        Part::Call(Box::new(CallPart {
            op: Op::Brk { addr: asked },
            args: vec![("addr", asked.to_string(), Say::new(texts::ARG_ADDR))],
            outcome: Outcome::Done(now.0),
            meaning: Say::new(texts::MEANS_BREAK),
        })),
        Part::Compare(Box::new(ComparePart { before: before.clone(), after: after.clone() })),
        Part::Sizes(vec![
            size(shared::VIRTUAL_SIZE, before.virtual_size, after.virtual_size),
            size(shared::RESIDENT_SIZE, before.total.resident, after.total.resident),
        ]),
    ]
}

/// How much the later map has that the earlier one does not.
fn added(before: &State, after: &State) -> u64 {
    let of =
        |change: &PageChange| if let PageChange::Added(row) = change { row.range.len() } else { Bytes(0) };
    before.changes(after).iter().map(of).sum::<Bytes>().0
}
