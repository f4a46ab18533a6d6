//! madvise: pages given back at once (MADV_DONTNEED) and at leisure (MADV_FREE), without touching the map.

use crate::command::Reply;
use crate::error::LabError;
use crate::facts::{Expected, Measured, Value};
use crate::info::{Info, Need, Setup};
use crate::lab::{Lab, RW};
use crate::report::Report;
use crate::settings::Param;
use crate::squares::{page_of, part_of};
use vmatlas_event::{AddrRange, Errno};
use vmatlas_proc::parse::smaps::Field;
use vmatlas_sys::mem::Touch;

/// What is known of it before it is made.
pub(crate) static INFO: Info = Info::new("madvise", (include_str!("en.md"), include_str!("ja.md")), make)
    .params(&[Param::count("pages", "6", 4, 16), Param::word("then", &["write", "read"])])
    .needs(&[Need::Root])
    .own(|_, _| vmatlas_sys::sched::stay_on_this_cpu().map(|cpu| cpu as u64));

const DONTNEED: u64 = 4;
const FREE: u64 = 8;
const PAGEOUT: u64 = 21;
const EINVAL: i32 = 22;
/// Pages that are given back at once; the others are given back at leisure.
const AT_ONCE: u64 = 2;
/// What is written into a page that was given back at leisure.
const VALUE: u8 = 9;

fn make(setup: Setup<'_>) -> Result<Report, LabError> {
    let mut lab = setup.begin(Vec::new())?;
    let (page, pages) = (lab.page(), lab.settings.count("pages"));
    let writes = lab.settings.text("then") != Some("read");
    let rest = pages - AT_ONCE;
    // The page that is written is not lazy any more.
    let lazy = if writes { rest - 1 } else { rest };
    lab.set("n", pages);
    lab.set("last", pages - 1);
    lab.set("first", AT_ONCE);
    lab.set("rest", rest);
    lab.set("value", u64::from(VALUE));
    let area = lab.step("map", |lab| {
        // What is freed at leisure is collected for each processor apart.
        let bound = lab.own_unshown([0; 5])?;
        lab.did("sched_setaffinity(0, sizeof(one), &one)", bound.map(|_| "0".to_owned()));
        let area = lab.map(pages * page, RW)?;
        lab.touch(area, 0, pages, Touch::Write)?.unwrap_or(0);
        Ok(area)
    })?;
    lab.draw("map", area, &[], &[])?;

    let thrown = part_of(area, 0, AT_ONCE);
    let resident = lab.resident(area)?;
    lab.step("dontneed", |lab| Ok(advise(lab, thrown, DONTNEED)?.unwrap_or(0)))?;
    lab.draw("dontneed", area, &[0, 1], &[])?;
    let same = lab.before.changes(&lab.after).is_empty();
    lab.is("same-map", Value::Yes(true), Value::Yes(same));
    let fell = resident.0.saturating_sub(lab.resident(area)?.0);
    lab.is("fell", Value::Bytes(AT_ONCE * page), Value::Bytes(fell));

    let byte = lab.step_alone("zero", |lab| lab.peek(area.start()))?;
    lab.is("zero", Value::Count(0), Value::Count(byte.into()));

    let left = part_of(area, AT_ONCE, rest);
    lab.step("free", |lab| {
        advise(lab, left, FREE)?.unwrap_or(0);
        advise(lab, left, FREE)?.unwrap_or(0);
        lab.say("free");
        Ok(())
    })?;
    lab.draw("free", area, &(AT_ONCE..pages).collect::<Vec<_>>(), &[])?;
    let there = present(&lab, left)?;
    lab.is("still-there", Value::Pages(rest), Value::Pages(there));
    lazy_fact(&mut lab, "lazy", rest * page)?;

    let chosen = page_of(area, AT_ONCE).start();
    lab.step_alone("then", |lab| {
        if writes {
            lab.poke(chosen, VALUE)?.unwrap_or(0)
        } else {
            lab.peek(chosen)?.into()
        };
        lab.say(if writes { "wrote" } else { "read" });
        Ok(())
    })?;
    lazy_fact(&mut lab, "lazy-then", lazy * page)?;

    let unused = part_of(area, pages - lazy, lazy);
    let reply = lab.step("pressure", |lab| advise(lab, unused, PAGEOUT))?;
    lab.draw("pressure", area, &(pages - lazy..pages).collect::<Vec<_>>(), &[])?;
    let there = present(&lab, unused)?;
    let byte = lab.step_alone("end", |lab| {
        let byte = lab.peek(chosen)?;
        lab.peek(page_of(area, pages - 1).start())?;
        lab.say("end");
        Ok(byte)
    })?;
    // A kernel without MADV_PAGEOUT takes them back when it wants to.
    let read = |lab: &Lab<'_>, value| match reply {
        Err(Errno(EINVAL)) => Measured::NotRead(lab.why("too-old")),
        _ => Measured::Is(value),
    };
    let there = read(&lab, Value::Pages(there));
    lab.fact("taken", Expected::Is(Value::Pages(0)), there);
    let byte = read(&lab, Value::Count(byte.into()));
    lab.fact("value", Expected::Is(Value::Count(if writes { VALUE.into() } else { 0 })), byte);
    Ok(lab.end())
}

/// madvise(2).
fn advise(lab: &mut Lab<'_>, range: AddrRange, advice: u64) -> Result<Reply, LabError> {
    let (at, len) = (range.start(), range.len().0);
    let name = match advice {
        DONTNEED => "MADV_DONTNEED",
        FREE => "MADV_FREE",
        _ => "MADV_PAGEOUT",
    };
    lab.call("madvise", [at.0, len, advice, 0, 0, 0], format!("madvise({at}, {len}, {name})"))
}

/// How many pages have a frame.
fn present(lab: &Lab<'_>, range: AddrRange) -> Result<u64, LabError> {
    Ok(lab.pages(range)?.iter().filter(|page| page.present).count() as u64)
}

/// What the kernel counts as given back and not yet taken.
fn lazy_fact(lab: &mut Lab<'_>, id: &'static str, predicted: u64) -> Result<(), LabError> {
    let measured = match lab.subject.process().rollup()?.get(Field::LazyFree) {
        Some(size) => Measured::Is(Value::Bytes(size.0)),
        None => Measured::NotRead(lab.why("no-count")),
    };
    lab.fact(id, Expected::Is(Value::Bytes(predicted)), measured);
    Ok(())
}
