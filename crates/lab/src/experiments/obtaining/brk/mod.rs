//! The heap: the break moves, and whole pages come and go.

use crate::error::LabError;
use crate::facts::{Expected, Measured, Value};
use crate::info::{Info, Setup};
use crate::lab::Lab;
use crate::report::Report;
use crate::say::Say;
use crate::settings::Param;
use crate::state::State;
use crate::texts;
use vmatlas_event::{Addr, Bytes};
use vmatlas_model::PageChange;

/// What is known of it before it is made. The usual growth is glibc's own first step: 128 KiB of padding and a page for the
/// request.
pub(crate) static INFO: Info = Info::new("brk", (include_str!("en.md"), include_str!("ja.md")), make)
    .params(&[Param::size("growth", "132KiB", 1, 1 << 30)]);

fn make(setup: Setup<'_>) -> Result<Report, LabError> {
    let mut lab = setup.begin(Vec::new())?;
    let page = lab.page();
    let growth = lab.settings.size("growth").0.next_multiple_of(page);
    lab.set("growth", Bytes(growth));
    // From a page boundary, so that what one byte does is known beforehand.
    let start = lab.step_alone("before", |lab| {
        let found = lab.brk(Addr(0))?;
        let start = Addr(found.0.next_multiple_of(page));
        if start != found {
            lab.brk(start)?;
        }
        lab.set("addr", start);
        lab.say("before");
        Ok(start)
    })?;
    let first = lab.subject.state()?;
    let mut each_one = true;

    moved(&mut lab, "grow", Addr(start.0 + growth), &mut each_one)?;
    let grew = added(&lab.before, &lab.after);
    lab.is("grew", Value::Bytes(growth), Value::Bytes(grew));
    let labelled = lab.after.row_at(start).is_some_and(|row| row.special() == Some(b"heap"));
    lab.is("label", Value::Yes(true), Value::Yes(labelled));

    moved(&mut lab, "byte", Addr(start.0 + growth + 1), &mut each_one)?;
    let grew = added(&lab.before, &lab.after);
    lab.is("one-byte", Value::Bytes(page), Value::Bytes(grew));

    moved(&mut lab, "second-byte", Addr(start.0 + growth + 2), &mut each_one)?;
    let same = lab.before.changes(&lab.after).is_empty();
    lab.is("second-byte", Value::Yes(true), Value::Yes(same));

    moved(&mut lab, "back", start, &mut each_one)?;
    let same = first.changes(&lab.after).is_empty();
    lab.is("back", Value::Yes(true), Value::Yes(same));
    let measured = match lab.subject.watch().blind() {
        None => Measured::Is(Value::Yes(each_one)),
        Some(_) => Measured::NotRead(Say::new(texts::NEEDS_TRACER)),
    };
    lab.fact("one-call", Expected::Is(Value::Yes(true)), measured);
    Ok(lab.end())
}

/// A step that moves the break; whether our tracer saw exactly one call is kept.
fn moved(lab: &mut Lab<'_>, id: &'static str, to: Addr, each_one: &mut bool) -> Result<(), LabError> {
    let seen = lab.subject.watch().count();
    lab.step(id, |lab| {
        lab.brk(to)?;
        lab.say(id);
        Ok(())
    })?;
    *each_one &= lab.subject.watch().count() == seen + 1;
    Ok(())
}

/// How much the later map has that the earlier one does not.
fn added(before: &State, after: &State) -> u64 {
    let of =
        |change: &PageChange| if let PageChange::Added(row) = change { row.range.len() } else { Bytes(0) };
    before.changes(after).iter().map(of).sum::<Bytes>().0
}
