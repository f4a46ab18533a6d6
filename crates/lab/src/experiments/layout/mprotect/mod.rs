//! mprotect of a part: VMAs split, and merge again.

use crate::error::LabError;
use crate::facts::{Expected, Measured, Value};
use crate::info::{Info, Setup};
use crate::lab::{READ, RW, ending, signal_word};
use crate::report::Report;
use crate::settings::Param;
use crate::squares::{page_of, vmas_in};
use vmatlas_event::Addr;
use vmatlas_sys::mem::Touch;

/// What is known of it before it is made.
pub(crate) static INFO: Info = Info::new("mprotect", (include_str!("en.md"), include_str!("ja.md")), make)
    .params(&[Param::count("page", "2", 0, 4), Param::word("start", &["rw", "ro"])]);

const PAGES: u64 = 5;

fn make(setup: Setup<'_>) -> Result<Report, LabError> {
    let mut lab = setup.begin(Vec::new())?;
    let (page, index) = (lab.page(), lab.settings.count("page"));
    let read_only = lab.settings.text("start") == Some("ro");
    let (first, second) = if read_only { (READ, RW) } else { (RW, READ) };
    lab.set("n", PAGES);
    lab.set("page", index);
    lab.set("first", if read_only { "r--" } else { "rw-" });
    lab.set("second", if read_only { "rw-" } else { "r--" });
    let area = lab.step("map", |lab| {
        let area = lab.map(PAGES * page, first)?;
        let how = if read_only { Touch::Read } else { Touch::Write };
        lab.touch(area, 0, PAGES, how)?.unwrap_or(0);
        Ok(area)
    })?;
    lab.draw("map", area, &[], &[])?;
    let (start, resident) = (lab.after.clone(), lab.resident(area)?);
    let one = vmas_in(&start.rows, area);
    lab.is("one-vma", Value::Count(1), Value::Count(one));

    let chosen = page_of(area, index);
    lab.step("change", |lab| Ok(lab.protect(chosen, second)?.unwrap_or(0)))?;
    lab.draw("change", area, &[index], &[])?;
    let vmas = vmas_in(&lab.after.rows, area);
    // At an end there are two pieces, not three.
    let pieces = if index == 0 || index == PAGES - 1 { 2 } else { 3 };
    lab.is("split", Value::Count(pieces), Value::Count(vmas));
    let same = start.virtual_size == lab.after.virtual_size && resident == lab.resident(area)?;
    lab.is("sizes", Value::Yes(true), Value::Yes(same));

    lab.step("back", |lab| Ok(lab.protect(chosen, first)?.unwrap_or(0)))?;
    lab.draw("back", area, &[index], &[])?;
    let vmas = Measured::Is(Value::Count(vmas_in(&lab.after.rows, area)));
    let predicted = match read_only {
        // What was writable once stays accounted for, and on many kernels that keeps the pieces apart.
        true => Expected::Between(Value::Count(1), Value::Count(pieces)),
        false => Expected::Is(Value::Count(1)),
    };
    lab.fact("merged", predicted, vmas);

    let ended = lab.step_alone("write", |lab| {
        lab.protect(chosen, READ)?.unwrap_or(0);
        let at = Addr(chosen.start().0);
        let ended = ending(lab.poke(at, 1))?;
        lab.did_end(&ended, &format!("*(char *){at} = 1"));
        lab.say("write");
        Ok(ended)
    })?;
    let predicted = Expected::Is(Value::Word("SIGSEGV".to_owned()));
    lab.fact("signal", predicted, Measured::Is(Value::Word(signal_word(&ended))));
    Ok(lab.ended())
}
