//! munmap in the middle of an area: a hole, and one VMA becomes two.

use crate::error::LabError;
use crate::facts::{Expected, Measured, Value};
use crate::info::{Info, Setup};
use crate::lab::{RW, ending, signal_word};
use crate::report::Report;
use crate::settings::Param;
use crate::squares::{page_of, vmas_in};
use vmatlas_event::Bytes;
use vmatlas_sys::mem::Touch;

/// What is known of it before it is made.
pub(crate) static INFO: Info =
    Info::new("munmap-middle", (include_str!("en.md"), include_str!("ja.md")), make)
        .params(&[Param::count("pages", "5", 2, 16), Param::count("hole", "2", 0, 15)]);

fn make(setup: Setup<'_>) -> Result<Report, LabError> {
    let mut lab = setup.begin(Vec::new())?;
    let (page, pages) = (lab.page(), lab.settings.count("pages"));
    let hole = lab.settings.count("hole").min(pages - 1);
    lab.set("n", pages);
    lab.set("hole", hole);
    lab.set("page", Bytes(page));
    let area = lab.step("map", |lab| {
        let area = lab.map(pages * page, RW)?;
        lab.touch(area, 0, pages, Touch::Write)?.unwrap_or(0);
        Ok(area)
    })?;
    lab.draw("map", area, &[], &[])?;
    let one = vmas_in(&lab.after.rows, area);
    lab.is("one-vma", Value::Count(1), Value::Count(one));
    let resident = lab.resident(area)?;

    let gone = page_of(area, hole);
    lab.step("unmap", |lab| {
        lab.unmap(gone)?.unwrap_or(0);
        Ok(())
    })?;
    lab.draw("unmap", area, &[hole], &[])?;
    let vmas = vmas_in(&lab.after.rows, area);
    // At an end there is nothing to split.
    let predicted = if hole == 0 || hole == pages - 1 { 1 } else { 2 };
    lab.is("vmas", Value::Count(predicted), Value::Count(vmas));
    let shrank = lab.before.virtual_size.0.saturating_sub(lab.after.virtual_size.0);
    lab.is("virtual", Value::Bytes(page), Value::Bytes(shrank));
    let fell = resident.0.saturating_sub(lab.resident(area)?.0);
    lab.is("resident", Value::Bytes(page), Value::Bytes(fell));

    let again = lab.step("again", |lab| lab.unmap(gone))?;
    let unchanged = again.is_ok() && lab.before.changes(&lab.after).is_empty();
    lab.is("again", Value::Yes(true), Value::Yes(unchanged));

    let ended = lab.step_alone("read", |lab| {
        let ended = ending(lab.peek(gone.start()))?;
        lab.did_end(&ended, &format!("byte = *(char *){}", gone.start()));
        lab.say("read");
        Ok(ended)
    })?;
    let predicted = Expected::Is(Value::Word("SIGSEGV".to_owned()));
    lab.fact("signal", predicted, Measured::Is(Value::Word(signal_word(&ended))));
    Ok(lab.ended())
}
