//! Transparent huge pages: one fault brings 2 MiB where that was asked for, and what breaks such a page up.

mod pages;

use crate::cleanup::Cleanup;
use crate::error::LabError;
use crate::facts::{Expected, Measured, Value};
use crate::info::{Info, Need, Setup};
use crate::lab::{Lab, READ, RW, status_word};
use crate::machine::{Machine, Thp};
use crate::memory::has_blocks_of;
use crate::report::Report;
use crate::say::Word;
use crate::settings::{Param, Takes};
use crate::squares::part_of;
use pages::{
    Brings, COLLAPSE, DONTNEED, HUGEPAGE, NOHUGEPAGE, USUAL, advise, aligned, between, bytes, huge,
    huge_fact, of_process, told,
};
use vmatlas_event::{Addr, AddrRange, Bytes};
use vmatlas_sys::mem::Touch;

/// What is known of it before it is made.
pub(crate) static INFO: Info = Info::new("huge-pages", (include_str!("en.md"), include_str!("ja.md")), make)
    .params(&[MODE])
    .needs(&[Need::Root]);

/// The setting of the machine, changed for as long as the experiment takes.
const MODE: Param = Param { name: "mode", takes: Takes::Word(&["always", "madvise", "never"]), usual: "" };
const ENABLED: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
/// Pages that the advised area has before its first whole block, and behind its last. Three, since four could become a
/// page of a size between.
const EDGE: u64 = 3;
/// Whole blocks in it.
const BLOCKS: u64 = 3;
/// What must be available, with room, before whole huge pages are promised.
const NEEDED: u64 = 64 << 20;

fn make(mut setup: Setup<'_>) -> Result<Report, LabError> {
    let mode = setup.settings.text("mode").map(|mode| |_: &str| mode.to_owned());
    let _cleanup = Cleanup::with_setting(ENABLED, mode)?;
    let machine = Machine::read();
    let whole = machine.thp.whole.map_or(USUAL, |size| size.0);
    let mode = match machine.thp.mode.as_str() {
        "" => Word::from(setup.info.text("why no-thp")),
        mode => Word::from(mode),
    };
    let page = machine.page.bytes();
    let thp = of_process(&machine.thp);
    setup.set("advised", thp.advised.unwrap_or(Bytes(page)));
    setup.set("by_itself", thp.largest.unwrap_or(Bytes(page)));
    setup.set("mode", mode);
    setup.set("page", Bytes(page));
    setup.set("huge", Bytes(whole));
    setup.set("small", whole / page);
    setup.set("blocks", BLOCKS);
    setup.set("edge", EDGE);
    let mut lab = setup.begin(Vec::new())?;
    // Nobody else's memory has to be moved for ours.
    let sure = has_blocks_of(Bytes(whole), machine.page)
        && machine.available().is_none_or(|available| available.0 > NEEDED + 2 * BLOCKS * whole);
    let brings = |largest: Option<Bytes>| match largest {
        None => Brings(page, page),
        Some(size) if size.0 == whole && sure => Brings(whole, whole),
        Some(size) => Brings(page, size.0),
    };
    let (advised, plain) = (brings(thp.advised), brings(thp.largest));

    let area = lab.step("advise", |lab| {
        let all = lab.map((BLOCKS + 2) * whole, RW)?;
        let first = (all.start().0 + EDGE * page).next_multiple_of(whole);
        let area = part_of(all, (first - all.start().0) / page - EDGE, BLOCKS * whole / page + 2 * EDGE);
        lab.set("area", area.len().0 / page);
        lab.set("from", Addr(first));
        advise(lab, area, HUGEPAGE)?.unwrap_or(0);
        lab.say("advise");
        Ok(area)
    })?;
    let shown = part_of(area, 0, 2 * EDGE);
    let block = |index: u64| part_of(area, EDGE + index * whole / page, whole / page);
    lab.draw("advise", shown, &[], &[])?;

    lab.warn_of(Bytes((BLOCKS + 2) * whole));
    lab.step("first", |lab| {
        lab.touch(area, EDGE, 1, Touch::Write)?.unwrap_or(0);
        lab.say("first");
        Ok(())
    })?;
    lab.draw("first", shown, &[EDGE], &[])?;
    let resident = lab.resident(area)?;
    lab.fact("first", bytes(advised.0, advised.1), Measured::Is(Value::Bytes(resident.0)));
    huge_fact(&mut lab, "first-huge", area, advised, whole)?;

    lab.step("rest", |lab| lab.touch(area, 0, area.len().0 / page, Touch::Write))?.unwrap_or(0);
    lab.draw("rest", shown, &[0, 1, 2], &[])?;
    let faults = |size: u64| (BLOCKS * whole - size).div_ceil(size) + 2 * EDGE;
    let expected = between(Value::Count(faults(advised.1)), Value::Count(faults(advised.0)));
    let measured = Value::Count(lab.after.minor_faults.saturating_sub(lab.before.minor_faults));
    lab.fact("rest-faults", expected, Measured::Is(measured));
    huge_fact(&mut lab, "rest-huge", area, advised, BLOCKS * whole)?;

    let small = lab.step("refused", |lab| {
        let small = aligned(lab, whole)?;
        advise(lab, small, NOHUGEPAGE)?.unwrap_or(0);
        lab.touch(small, 0, whole / page, Touch::Write)?.unwrap_or(0);
        Ok(small)
    })?;
    let faults = lab.after.minor_faults.saturating_sub(lab.before.minor_faults);
    lab.is("refused-faults", Value::Count(small.len().0 / page), Value::Count(faults));

    let by_itself = lab.step("by-itself", |lab| {
        let area = aligned(lab, whole)?;
        lab.touch(area, 0, 1, Touch::Write)?.unwrap_or(0);
        lab.say("by-itself");
        Ok(area)
    })?;
    let resident = lab.resident(by_itself)?;
    lab.fact("by-itself", bytes(plain.0, plain.1), Measured::Is(Value::Bytes(resident.0)));

    lab.step("split", |lab| {
        advise(lab, part_of(block(0), 1, 1), DONTNEED)?.unwrap_or(0);
        huge_fact(lab, "after-dontneed", area, advised, 2 * whole)?;
        lab.protect(part_of(block(1), 1, 1), READ)?.unwrap_or(0);
        huge_fact(lab, "after-mprotect", area, advised, whole)?;
        lab.unmap(part_of(block(2), 1, 1))?.unwrap_or(0);
        huge_fact(lab, "after-munmap", area, advised, 0)?;
        lab.say("split");
        Ok(())
    })?;
    lab.draw("split", shown, &[EDGE + 1], &[])?;
    let resident = lab.resident(area)?.0 / page;
    lab.is("after-split", Value::Pages(area.len().0 / page - 2), Value::Pages(resident));

    collapse(&mut lab, block(0), &thp, sure)?;
    lab.draw("collapse", shown, &[], &[])?;
    Ok(lab.end())
}

/// Makes a block whole again, where the kernel does that on demand.
fn collapse(lab: &mut Lab<'_>, block: AddrRange, thp: &Thp, sure: bool) -> Result<(), LabError> {
    // A length of 0 only asks whether the advice is known (madvise(2), EINVAL).
    let known = lab.call_unshown("madvise", [block.start().0, 0, COLLAPSE, 0, 0, 0])?.is_ok();
    let reply = lab.step("collapse", |lab| {
        let reply = if known { Some(advise(lab, block, COLLAPSE)?) } else { None };
        if let Some(Err(errno)) = reply {
            lab.set("errno", status_word(Err(errno)));
        }
        lab.say(match reply {
            Some(Ok(_)) => "collapse",
            Some(Err(_)) => "refused",
            None => "no-collapse",
        });
        Ok(reply)
    })?;
    let predicted = match thp.whole {
        Some(_) if !sure => Expected::Unknown(lab.why("fragmented")),
        Some(_) => Expected::Is(Value::Bytes(block.len().0)),
        None => Expected::Is(Value::Bytes(0)),
    };
    let measured = match (reply, huge(lab, block)?) {
        (None, _) => Measured::NotRead(lab.why("too-old")),
        // ENOMEM and EAGAIN come of what else happens on the machine.
        (Some(Err(_)), Some(_)) if thp.whole.is_some() => Measured::NotRead(lab.why("not-collapsed")),
        (Some(_), size) => told(lab, size),
    };
    lab.fact("collapse", predicted, measured);
    Ok(())
}
