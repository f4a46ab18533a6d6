//! mlock and MAP_POPULATE: pages that are there before the first touch.

use crate::command::Reply;
use crate::error::LabError;
use crate::facts::{Expected, Measured, Value};
use crate::info::{Info, Need, Setup};
use crate::lab::{Lab, PRIVATE, READ, RW, status_word};
use crate::machine::{Machine, is_user_mode};
use crate::report::Report;
use crate::say::Word;
use crate::settings::Param;
use vmatlas_event::{AddrRange, Bytes, MapFlags};
use vmatlas_sys::mem::Touch;

/// What is known of it before it is made.
pub(crate) static INFO: Info =
    Info::new("mlock-populate", (include_str!("en.md"), include_str!("ja.md")), make)
        .params(&[Param::count("pages", "5", 1, 16)])
        .needs(&[Need::Root]);

const MAP_POPULATE: u64 = 0x8000;
const MLOCK_ONFAULT: u64 = 1;
const MADV_DONTNEED: u64 = 4;
/// A limit above this is as good as none: an area of that size is not to be had.
const NO_LIMIT: u64 = 1 << 40;
/// What is locked to try the limit where there is none.
const PLENTY: u64 = 64 << 20;

/// What came of obtaining an area and touching it.
struct Seen {
    area: AddrRange,
    /// Pages that were there before the first touch.
    there: u64,
    /// Faults at the touch.
    faults: u64,
}

fn make(mut setup: Setup<'_>) -> Result<Report, LabError> {
    let machine = Machine::read();
    let limit = match machine.limits.locked.filter(|limit| limit.0 < NO_LIMIT) {
        _ if machine.may_lock() => None,
        limit => limit,
    };
    let none = setup.info.text("why no-limit");
    setup.set("limit", limit.map_or(Word::from(none), Word::from));
    let mut lab = setup.begin(Vec::new())?;
    let (page, pages) = (lab.page(), lab.settings.count("pages"));
    let size = pages * page;
    // What mlock(2) answers when this much is locked already.
    let answer = |more: u64, already: u64| match limit {
        Some(Bytes(0)) => "EPERM",
        Some(limit) if already + more > limit.0 => "ENOMEM",
        _ => "0",
    };
    lab.set("n", pages);
    // Where huge pages come by themselves, one fault may bring many pages.
    let least = lab.report.machine.thp.largest.map_or(pages, |largest| size.div_ceil(largest.0));

    let plain = lab.step("plain", |lab| look(lab, "plain", PRIVATE, |_, _| Ok(())))?;
    let range = Expected::Between(Value::Count(least), Value::Count(pages));
    let range = || if least == pages { Expected::Is(Value::Count(pages)) } else { range.clone() };
    lab.fact("plain-faults", range(), Measured::Is(Value::Count(plain.faults)));

    let flags = MapFlags(PRIVATE.0 | MAP_POPULATE);
    let filled = lab.step("populate", |lab| look(lab, "populate", flags, |_, _| Ok(())))?;
    lab.is("populated", Value::Pages(pages), Value::Pages(filled.there));
    let none = match is_user_mode() {
        true => Expected::Unknown(lab.why("user-mode")),
        false => Expected::Is(Value::Count(0)),
    };
    lab.fact("populate-faults", none.clone(), Measured::Is(Value::Count(filled.faults)));

    let locks = answer(size, 0) == "0";
    let locked =
        lab.step("lock", |lab| look(lab, "lock", PRIVATE, |lab, area| lock(lab, area, 0).map(drop)))?;
    let predicted = if locks { none } else { range() };
    lab.fact("lock-faults", predicted, Measured::Is(Value::Count(locked.faults)));

    let reply = lab.step_alone("dontneed", |lab| {
        let (at, len) = (locked.area.start(), locked.area.len().0);
        let shown = format!("madvise({at}, {len}, MADV_DONTNEED)");
        lab.call("madvise", [at.0, len, MADV_DONTNEED, 0, 0, 0], shown)
    })?;
    let refusal = Value::Word(if locks { "EINVAL" } else { "0" }.to_owned());
    lab.is("dontneed", refusal, Value::Word(status_word(reply)));

    let late = lab.step("onfault", |lab| {
        look(lab, "onfault", PRIVATE, |lab, area| lock(lab, area, MLOCK_ONFAULT).map(drop))
    })?;
    lab.is("onfault", Value::Pages(0), Value::Pages(late.there));
    let first = if locks { size } else { 0 };
    let second = if answer(size, first) == "0" { size } else { 0 };
    let total = lab.subject.process().status()?.vm_lck.unwrap_or_default();
    lab.is("locked", Value::Bytes(first + second), Value::Bytes(total.0));

    let too_much = limit.map_or(PLENTY, |limit| (2 * limit.0).next_multiple_of(page).max(page));
    lab.set("much", Bytes(too_much));
    let reply = lab.step("limit", |lab| {
        // Memory that is only read promises nothing, so any amount of it can be had.
        let area = lab.map(too_much, READ)?;
        lock(lab, area, MLOCK_ONFAULT)
    })?;
    let predicted = Value::Word(answer(too_much, first + second).to_owned());
    lab.is("limit", predicted, Value::Word(status_word(reply)));
    Ok(lab.end())
}

/// Obtains pages, prepares them, looks at them, and touches them.
fn look(
    lab: &mut Lab<'_>,
    name: &str,
    flags: MapFlags,
    prepare: impl FnOnce(&mut Lab<'_>, AddrRange) -> Result<(), LabError>,
) -> Result<Seen, LabError> {
    let pages = lab.settings.count("pages");
    let area = lab.map_with(pages * lab.page(), RW, flags, -1)?;
    prepare(lab, area)?;
    let there = lab.pages(area)?.iter().filter(|page| page.present).count() as u64;
    lab.draw(name, area, &[], &[])?;
    let before = lab.subject.state()?.minor_faults;
    lab.touch(area, 0, pages, Touch::Write)?.unwrap_or(0);
    let faults = lab.subject.state()?.minor_faults.saturating_sub(before);
    lab.set("there", there);
    lab.set("faults", faults);
    lab.say(name);
    Ok(Seen { area, there, faults })
}

/// mlock(2), or mlock2(2) with flags.
fn lock(lab: &mut Lab<'_>, area: AddrRange, flags: u64) -> Result<Reply, LabError> {
    let (at, len) = (area.start(), area.len().0);
    match flags {
        0 => lab.call("mlock", [at.0, len, 0, 0, 0, 0], format!("mlock({at}, {len})")),
        _ => lab.call("mlock2", [at.0, len, flags, 0, 0, 0], format!("mlock2({at}, {len}, MLOCK_ONFAULT)")),
    }
}
