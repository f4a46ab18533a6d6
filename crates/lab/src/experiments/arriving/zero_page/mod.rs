//! Reading before writing: one page of zeros for everybody.

use crate::error::LabError;
use crate::facts::{Expected, Measured, Value};
use crate::info::{Info, Need, Setup};
use crate::lab::{Lab, RW};
use crate::report::Report;
use crate::say::Say;
use crate::settings::Param;
use crate::texts;
use vmatlas_event::AddrRange;
use vmatlas_sys::mem::Touch;

/// What is known of it before it is made.
pub(crate) static INFO: Info = Info::new("zero-page", (include_str!("en.md"), include_str!("ja.md")), make)
    .params(&[Param::count("pages", "6", 2, 64)])
    .needs(&[Need::Root]);

fn make(setup: Setup<'_>) -> Result<Report, LabError> {
    let mut lab = setup.begin(Vec::new())?;
    let (page, pages) = (lab.page(), lab.settings.count("pages"));
    lab.set("n", pages);
    let area = lab.step("map", |lab| lab.map(pages * page, RW))?;
    lab.draw("map", area, &[], &[])?;

    let all: Vec<u64> = (0..pages).collect();
    let byte = lab.step("read", |lab| {
        lab.touch(area, 0, pages, Touch::Read)?.unwrap_or(0);
        let byte = lab.peek(area.start())?;
        lab.say("read");
        Ok(byte)
    })?;
    lab.draw("read", area, &all, &[])?;
    let read_faults = faults(&lab);
    let present = lab.pages(area)?.iter().filter(|page| page.present).count() as u64;
    lab.is("byte", Value::Count(0), Value::Count(byte.into()));
    lab.is("present", Value::Pages(pages), Value::Pages(present));
    resident(&mut lab, "after-read", area, 0)?;
    lab.is("read-faults", Value::Count(pages), Value::Count(read_faults));
    frames(&mut lab, area)?;

    lab.step("write", |lab| {
        lab.touch(area, 0, 1, Touch::Write)?.unwrap_or(0);
        lab.say("write");
        Ok(())
    })?;
    lab.draw("write", area, &[0], &[])?;
    resident(&mut lab, "after-write", area, page)?;
    let write_faults = faults(&lab);
    lab.is("write-faults", Value::Count(1), Value::Count(write_faults));
    Ok(lab.end())
}

/// Faults of the latest step.
fn faults(lab: &Lab<'_>) -> u64 {
    lab.after.minor_faults.saturating_sub(lab.before.minor_faults)
}

fn resident(lab: &mut Lab<'_>, id: &'static str, area: AddrRange, predicted: u64) -> Result<(), LabError> {
    let measured = Measured::Is(Value::Bytes(lab.resident(area)?.0));
    let predicted = match lab.after.zero_pages_counted {
        true => Expected::Unknown(Say::new(texts::ZERO_COUNTED)),
        false => Expected::Is(Value::Bytes(predicted)),
    };
    lab.fact(id, predicted, measured);
    Ok(())
}

/// How many different frames are behind the pages, where their numbers may be known.
fn frames(lab: &mut Lab<'_>, area: AddrRange) -> Result<(), LabError> {
    let mut frames: Vec<u64> = lab.pages(area)?.iter().filter_map(|page| page.pfn).collect();
    frames.sort_unstable();
    frames.dedup();
    let measured = match frames.len() {
        0 => Measured::NotRead(Say::new(texts::FRAMES_HIDDEN)),
        n => Measured::Is(Value::Count(n as u64)),
    };
    lab.fact("frames", Expected::Is(Value::Count(1)), measured);
    Ok(())
}
