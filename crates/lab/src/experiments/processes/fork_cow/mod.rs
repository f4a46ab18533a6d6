//! fork and copy-on-write: who shares which page, and what breaks it.

use crate::error::LabError;
use crate::facts::{Expected, Measured, Value};
use crate::info::{Info, Need, Setup};
use crate::lab::{Lab, PRIVATE, RW};
use crate::report::Report;
use crate::say::Say;
use crate::settings::Param;
use crate::squares::page_of;
use crate::state::PageSeen;
use crate::subject::Peer;
use crate::texts;
use vmatlas_event::{Addr, AddrRange, Bytes};
use vmatlas_sys::mem::{MmapArgs, Touch};
use vmatlas_sys::sched::bring_to_this_cpu;

/// What is known of it before it is made.
pub(crate) static INFO: Info = Info::new("fork-cow", (include_str!("en.md"), include_str!("ja.md")), make)
    .params(&[Param::count("pages", "4", 3, 16)])
    .needs(&[Need::Root]);

fn make(setup: Setup<'_>) -> Result<Report, LabError> {
    let mut lab = setup.begin(Vec::new())?;
    let (page, pages) = (lab.page(), lab.settings.count("pages"));
    lab.set("n", pages);
    // New pages wait in a list of the processor that touched them (see `push_out`): parent and child shall have one. Where that
    // cannot be, they may have two, and a fact may not hold.
    let _ = bring_to_this_cpu(lab.subject.pid());
    let area = lab.step("map", |lab| {
        let area = lab.map(pages * page, RW)?;
        lab.touch(area, 0, pages, Touch::Write)?.unwrap_or(0);
        push_out(lab)?;
        Ok(area)
    })?;
    lab.draw("map", area, &[], &[])?;

    let mut child = lab.step("fork", Lab::fork)?;
    lab.set("child", child.pid().to_string());
    let shared = still_shared(&lab, &child, area)?;
    lab.is("shared", Value::Pages(pages), Value::Pages(shared));
    draw(&mut lab, "fork", area, &[], &child)?;
    let both =
        lab.pages(area)?.iter().chain(&Lab::pages_in(child.process(), area)?).filter(|p| p.present).count();
    lab.is("counted-twice", Value::Pages(2 * pages), Value::Pages(both as u64));

    let first = page_of(area, 0).start();
    let (theirs, ours) = lab.step_alone("child-writes", |lab| {
        lab.in_child(&mut child, first, Some(2));
        let theirs = lab.in_child(&mut child, first, None);
        let ours = lab.peek(first)?;
        lab.say("child-writes");
        Ok((theirs.unwrap_or(0), ours))
    })?;
    let shared = still_shared(&lab, &child, area)?;
    lab.is("one-copied", Value::Pages(pages - 1), Value::Pages(shared));
    lab.is("child-value", Value::Count(2), Value::Count(theirs));
    lab.is("parent-value", Value::Count(1), Value::Count(ours.into()));
    draw(&mut lab, "child-writes", area, &[0], &child)?;

    let before = frame(&lab, area, 0)?;
    lab.step_alone("parent-writes", |lab| {
        lab.poke(first, 3)?.unwrap_or(0);
        lab.poke(page_of(area, 1).start(), 3)?.unwrap_or(0);
        lab.say("parent-writes");
        Ok(())
    })?;
    let shared = still_shared(&lab, &child, area)?;
    lab.is("two-copied", Value::Pages(pages - 2), Value::Pages(shared));
    let kept = match (before, frame(&lab, area, 0)?) {
        (Some(before), Some(after)) => Measured::Is(Value::Yes(before == after)),
        _ => Measured::NotRead(Say::new(texts::FRAMES_HIDDEN)),
    };
    lab.fact("no-second-copy", Expected::Is(Value::Yes(true)), kept);
    draw(&mut lab, "parent-writes", area, &[0, 1], &child)?;

    lab.step_alone("child-ends", |lab| lab.end_child(&mut child))?.unwrap_or(0);
    let alone = lab.pages(area)?.iter().filter(|page| page.present && page.exclusive).count();
    lab.is("alone", Value::Pages(pages), Value::Pages(alone as u64));
    lab.draw("child-ends", area, &[], &[])?;
    Ok(lab.end())
}

/// Touches other pages for a moment. New pages wait in a list of the processor, which refers to them, until it is full
/// (31 of them), and the kernel copies a page that anybody else refers to, although nobody shares it: mm/memory.c,
/// wp_can_reuse_anon_folio(), drains only the list of the processor that it runs on. Seen in 8 of 200 runs, and in 2 of 50 where
/// the parent had changed processors between touching and this.
fn push_out(lab: &mut Lab<'_>) -> Result<(), LabError> {
    const OTHERS: u64 = 128;
    let len = OTHERS * lab.page();
    let args = MmapArgs { addr: Addr(0), len: Bytes(len), prot: RW, flags: PRIVATE, fd: -1, offset: 0 };
    let Ok(at) = lab.subject.mmap(args).map_err(|how| LabError::Ended { how })? else { return Ok(()) };
    let Some(others) = AddrRange::from_len(Addr(at), Bytes(len)) else { return Ok(()) };
    lab.touch_unshown(others, 0, OTHERS, Touch::Write)?.unwrap_or(0);
    lab.call_unshown("munmap", [at, len, 0, 0, 0, 0])?.unwrap_or(0);
    Ok(())
}

fn draw(
    lab: &mut Lab<'_>,
    name: &str,
    area: AddrRange,
    changed: &[u64],
    child: &Peer,
) -> Result<(), LabError> {
    lab.draw(name, area, changed, &[("child", child.process())])
}

/// The frame of a page, where its number may be known.
fn frame(lab: &Lab<'_>, area: AddrRange, index: u64) -> Result<Option<u64>, LabError> {
    Ok(lab.pages(page_of(area, index))?.first().and_then(|page| page.pfn))
}

/// Pages that are one frame in both processes: by the frame's number, and where that is hidden because neither has the
/// page for itself alone.
fn still_shared(lab: &Lab<'_>, child: &Peer, area: AddrRange) -> Result<u64, LabError> {
    let (ours, theirs) = (lab.pages(area)?, Lab::pages_in(child.process(), area)?);
    let is_shared = |(a, b): &(&PageSeen, &PageSeen)| match (a.pfn, b.pfn) {
        (Some(a), Some(b)) => a == b,
        _ => a.present && b.present && !a.exclusive && !b.exclusive,
    };
    Ok(ours.iter().zip(&theirs).filter(is_shared).count() as u64)
}
