//! Shared memory against private memory over fork: 2000 or 1000.

use crate::command::Command;
use crate::error::LabError;
use crate::facts::Value;
use crate::info::{Info, Need, Setup};
use crate::lab::{Lab, PRIVATE, RW};
use crate::report::Report;
use crate::settings::Param;
use crate::state::PageSeen;
use crate::subject::Peer;
use vmatlas_event::{Addr, AddrRange, MapFlags};

/// What is known of it before it is made.
pub(crate) static INFO: Info =
    Info::new("shared-memory", (include_str!("en.md"), include_str!("ja.md")), make)
        .params(&[Param::count("value", "1000", 0, 1_000_000_000)])
        .needs(&[Need::Root]);

/// MAP_SHARED | MAP_ANONYMOUS.
const SHARED: MapFlags = MapFlags(0x21);

fn make(mut setup: Setup<'_>) -> Result<Report, LabError> {
    let value = setup.settings.count("value");
    setup.set("value", value.to_string());
    setup.set("double", (2 * value).to_string());
    let mut lab = setup.begin(Vec::new())?;
    let page = lab.page();
    let (private, shared) = lab.step("map", |lab| {
        let areas = (lab.map_with(page, RW, PRIVATE, -1)?, lab.map_with(page, RW, SHARED, -1)?);
        store(lab, None, areas.0.start(), value)?;
        store(lab, None, areas.1.start(), value)?;
        Ok(areas)
    })?;
    let named = lab.name_of(shared) == "/dev/zero (deleted)";
    lab.is("name", Value::Yes(true), Value::Yes(named));

    let mut child = lab.step_alone("fork", Lab::fork)?;
    lab.draw("private-fork", private, &[], &[("child", child.process())])?;
    let childs = lab.step_alone("child-doubles", |lab| {
        let mut doubled = [0; 2];
        for (slot, area) in doubled.iter_mut().zip([private, shared]) {
            let old = load(lab, Some(&mut child), area.start())?;
            store(lab, Some(&mut child), area.start(), 2 * old)?;
            *slot = load(lab, Some(&mut child), area.start())?;
        }
        Ok(doubled)
    })?;
    let [own, common] = childs;
    let ours = lab.step_alone("parent-reads", |lab| {
        let ours = [load(lab, None, private.start())?, load(lab, None, shared.start())?];
        lab.say("parent-reads");
        Ok(ours)
    })?;
    lab.draw("private", private, &[0], &[("child", child.process())])?;
    lab.draw("shared", shared, &[0], &[("child", child.process())])?;
    let [kept, changed] = ours;
    lab.is("private-child", Value::Count(2 * value), Value::Count(own));
    lab.is("private-parent", Value::Count(value), Value::Count(kept));
    lab.is("shared-child", Value::Count(2 * value), Value::Count(common));
    lab.is("shared-parent", Value::Count(2 * value), Value::Count(changed));
    let (one, other) = (same_frame(&lab, &child, private)?, same_frame(&lab, &child, shared)?);
    lab.is("private-frame", Value::Yes(false), Value::Yes(one));
    lab.is("shared-frame", Value::Yes(true), Value::Yes(other));

    let last = lab.step_alone("child-ends", |lab| {
        lab.end_child(&mut child)?.unwrap_or(0);
        load(lab, None, shared.start())
    })?;
    lab.is("shared-last", Value::Count(2 * value), Value::Count(last));
    Ok(lab.end())
}

/// Whether a page has one frame for both: by its number, and where that is hidden because neither has it for itself.
fn same_frame(lab: &Lab<'_>, child: &Peer, area: AddrRange) -> Result<bool, LabError> {
    let (ours, theirs) = (lab.pages(area)?, Lab::pages_in(child.process(), area)?);
    let same = |(a, b): (&PageSeen, &PageSeen)| match (a.pfn, b.pfn) {
        (Some(a), Some(b)) => a == b,
        _ => a.present && b.present && !a.exclusive && !b.exclusive,
    };
    Ok(ours.iter().zip(&theirs).all(same))
}

/// A command for the subject or its child.
fn command(lab: &mut Lab<'_>, child: Option<&mut Peer>, command: Command) -> Result<u64, LabError> {
    let reply = match child {
        Some(child) => child.command(command).map_err(|how| LabError::Ended { how })?,
        None => lab.command(command)?,
    };
    Ok(reply.unwrap_or(0))
}

/// `*(int *)addr = value`, byte by byte.
fn store(lab: &mut Lab<'_>, mut child: Option<&mut Peer>, addr: Addr, value: u64) -> Result<(), LabError> {
    for (byte, at) in (value as u32).to_ne_bytes().into_iter().zip(addr.0..) {
        command(lab, child.as_deref_mut(), Command::Poke(Addr(at), byte))?;
    }
    show(lab, child.as_deref(), format!("*(int *){addr} = {value}"), String::new());
    Ok(())
}

/// `*(int *)addr`, byte by byte.
fn load(lab: &mut Lab<'_>, mut child: Option<&mut Peer>, addr: Addr) -> Result<u64, LabError> {
    let mut bytes = [0; 4];
    for (byte, at) in bytes.iter_mut().zip(addr.0..) {
        *byte = command(lab, child.as_deref_mut(), Command::Peek(Addr(at)))? as u8;
    }
    let value = u32::from_ne_bytes(bytes);
    show(lab, child.as_deref(), format!("value = *(int *){addr}"), value.to_string());
    Ok(value.into())
}

fn show(lab: &mut Lab<'_>, child: Option<&Peer>, what: String, result: String) {
    match child {
        Some(child) => lab.did_in(child, &what, Ok(result)),
        None => lab.did(what, Ok(result)),
    }
}
