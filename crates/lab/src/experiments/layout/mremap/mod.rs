//! mremap: an area grows where it is, or moves with its frames.

use crate::command::Reply;
use crate::error::LabError;
use crate::facts::{Expected, Measured, Value};
use crate::info::{Info, Need, Setup};
use crate::lab::{Lab, RW, status_word};
use crate::machine::is_user_mode;
use crate::report::Report;
use crate::say::Say;
use crate::settings::Param;
use crate::squares::{part_of, vmas_in};
use crate::texts;
use vmatlas_event::{Addr, AddrRange, Bytes, Errno};
use vmatlas_sys::mem::Touch;

/// What is known of it before it is made.
pub(crate) static INFO: Info = Info::new("mremap", (include_str!("en.md"), include_str!("ja.md")), make)
    .params(&[Param::count("pages", "3", 2, 7), Param::count("grow", "1", 1, 8)])
    .needs(&[Need::Root]);

const MAYMOVE: u64 = 1;
const DONTUNMAP: u64 = 4;
const EINVAL: i32 = 22;
/// What is written into page 0.
const VALUE: u8 = 7;

fn make(setup: Setup<'_>) -> Result<Report, LabError> {
    let mut lab = setup.begin(Vec::new())?;
    let (page, pages, grow) = (lab.page(), lab.settings.count("pages"), lab.settings.count("grow"));
    let wanted = 2 * pages + 1;
    lab.set("n", pages);
    lab.set("grow", grow);
    lab.set("room", pages - 1);
    lab.set("grown", pages + grow);
    lab.set("wanted", wanted);
    lab.set("value", u64::from(VALUE));
    // One page stays mapped behind the room: the wall.
    let whole = lab.step("map", |lab| {
        let whole = lab.map(2 * pages * page, RW)?;
        lab.touch(whole, 0, pages, Touch::Write)?.unwrap_or(0);
        lab.poke(whole.start(), VALUE)?.unwrap_or(0);
        lab.unmap(part_of(whole, pages, pages - 1))?.unwrap_or(0);
        Ok(whole)
    })?;
    lab.draw("map", whole, &[], &[])?;
    let area = part_of(whole, 0, pages);

    let fits = vmas_in(&lab.after.rows, part_of(whole, pages, grow)) == 0;
    let reply = lab.step("grow", |lab| {
        let reply = remap(lab, area, pages + grow, 0)?;
        lab.say(if reply.is_ok() { "grew" } else { "stuck" });
        Ok(reply)
    })?;
    let has = if reply.is_ok() { pages + grow } else { pages };
    lab.draw("grow", whole, &(pages..has).collect::<Vec<_>>(), &[])?;
    lab.is("in-place", Value::Yes(fits), Value::Yes(reply == Ok(area.start().0)));

    let area = part_of(whole, 0, has);
    let refused = lab.step_alone("refused", |lab| remap(lab, area, wanted, 0))?;
    lab.is("refused", Value::Word("ENOMEM".to_owned()), Value::Word(status_word(refused)));

    let before = frames(&lab, part_of(area, 0, pages))?;
    let moved = lab.step("move", |lab| {
        let refused = |errno| LabError::Refused { length: Bytes(wanted * page), errno };
        let at = remap(lab, area, wanted, MAYMOVE)?.map_err(refused)?;
        lab.say("move");
        Ok(AddrRange::from_len(Addr(at), Bytes(wanted * page)).unwrap_or(area))
    })?;
    lab.draw("move", moved, &[], &[])?;
    let left = vmas_in(&lab.after.rows, area);
    lab.is("left", Value::Count(0), Value::Count(left));
    let kept = match (before, frames(&lab, part_of(moved, 0, pages))?) {
        (Some(before), Some(after)) => Measured::Is(Value::Yes(before == after)),
        _ => Measured::NotRead(Say::new(texts::FRAMES_HIDDEN)),
    };
    lab.fact("same-frames", Expected::Is(Value::Yes(true)), kept);

    let byte = lab.step("read", |lab| {
        lab.touch(moved, 0, pages, Touch::Read)?.unwrap_or(0);
        lab.peek(moved.start())
    })?;
    let faults = lab.after.minor_faults.saturating_sub(lab.before.minor_faults);
    lab.is("content", Value::Count(VALUE.into()), Value::Count(byte.into()));
    let predicted = match is_user_mode() {
        true => Expected::Unknown(lab.why("user-mode")),
        false => Expected::Is(Value::Count(0)),
    };
    lab.fact("no-faults", predicted, Measured::Is(Value::Count(faults)));

    lab.step("shrink", |lab| Ok(remap(lab, moved, 1, 0)?.unwrap_or(0)))?;
    lab.draw("shrink", moved, &(1..wanted).collect::<Vec<_>>(), &[])?;
    let fell = lab.before.virtual_size.0.saturating_sub(lab.after.virtual_size.0);
    lab.is("shrank", Value::Bytes((wanted - 1) * page), Value::Bytes(fell));

    let last = part_of(moved, 0, 1);
    let kept = lab.step("keep", |lab| {
        let new = match remap(lab, last, 1, MAYMOVE | DONTUNMAP)? {
            Ok(new) => new,
            Err(Errno(EINVAL)) => return Ok(Measured::NotRead(lab.why("too-old"))),
            Err(errno) => return Err(LabError::Refused { length: Bytes(page), errno }),
        };
        lab.peek(Addr(new))?;
        let old = lab.peek(last.start())?;
        lab.say("keep");
        Ok(Measured::Is(Value::Count(old.into())))
    })?;
    lab.fact("old-value", Expected::Is(Value::Count(0)), kept);
    Ok(lab.end())
}

/// mremap(2) to so many pages.
fn remap(lab: &mut Lab<'_>, old: AddrRange, pages: u64, flags: u64) -> Result<Reply, LabError> {
    let (at, len, new) = (old.start(), old.len().0, pages * lab.page());
    let names = match flags {
        0 => "0",
        MAYMOVE => "MREMAP_MAYMOVE",
        _ => "MREMAP_MAYMOVE|MREMAP_DONTUNMAP",
    };
    lab.call("mremap", [at.0, len, new, flags, 0, 0], format!("mremap({at}, {len}, {new}, {names})"))
}

/// The frames behind pages, where their numbers may be known.
fn frames(lab: &Lab<'_>, area: AddrRange) -> Result<Option<Vec<u64>>, LabError> {
    Ok(lab.pages(area)?.iter().map(|page| page.pfn).collect())
}
