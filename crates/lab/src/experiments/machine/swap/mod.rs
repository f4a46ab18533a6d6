//! Swap: where pages go when memory is short, how they come back, and what is left where there is no swap.

mod file;
mod pages;

use crate::cleanup::Cleanup;
use crate::error::LabError;
use crate::facts::{Expected, Measured, Value};
use crate::files::Fixture;
use crate::info::{Info, Need, Setup};
use crate::lab::Lab;
use crate::memory::{self, Meminfo};
use crate::report::Report;
use crate::say::Word;
use crate::settings::{Param, Takes};
use crate::squares::part_of;
use vmatlas_sys::mem::Touch;

use pages::{count, fill, page_out, settle};

/// What is known of it before it is made.
pub(crate) static INFO: Info = Info::new("swap", (include_str!("en.md"), include_str!("ja.md")), make)
    .params(&[Param::count("pages", "16", 4, 4096), FILE])
    .needs(&[Need::Swap])
    .own(pages::own);

/// The swap file that the machine gets for as long as the experiment takes.
const FILE: Param = Param { name: "file", takes: Takes::Size(1 << 20, 1 << 30), usual: "" };
const PAGEOUT: u64 = 21;
const WRITTEN: u8 = 42;
/// What the swap must have free beside our pages, since others may need some meanwhile.
const ROOM: u64 = 4 << 20;
/// Pages in the picture.
const SHOWN: u64 = 6;

fn make(mut setup: Setup<'_>) -> Result<Report, LabError> {
    let mut made = None;
    if setup.settings.has("file") {
        let mut cleanup = Cleanup::start().map_err(LabError::file(file::SWAPS))?;
        let path = file::switch_on(&mut cleanup, setup.settings.size("file"))?;
        setup.set("path", path);
        made = Some(cleanup);
    }
    let pages = setup.settings.count("pages");
    let page = vmatlas_sys::page_size().bytes();
    let fixture = Fixture::new(&crate::files::marked_pages(pages))?;
    let stays = fixture.is_in_memory();
    let now = Meminfo::now();
    let known = |key: &str| now.size(key).map_or_else(|| Word::from("?"), Word::from);
    let swaps = memory::swaps().unwrap_or_default();
    let names = if swaps.is_empty() { "-".to_owned() } else { swaps.join(", ") };
    setup.set("n", pages);
    setup.set("written", u64::from(WRITTEN));
    setup.set("total", known("SwapTotal"));
    setup.set("free", known("SwapFree"));
    setup.set("names", vmatlas_view::escape::terminal(names.as_bytes()));
    setup.set("fs", fixture.file_system().unwrap_or_else(|| "?".to_owned()));
    // Whether pages can be swapped at all, and whether ours surely can.
    let free = now.size("SwapFree").unwrap_or_default();
    let free = memory::swap_allowed().map_or(free, |allowed| free.min(allowed));
    let (has, sure) = (free.0 >= page, free.0 >= pages * page + ROOM);
    let mut lab = setup.begin(vec![fixture.read_only()?])?;
    lab.step_alone("look", |lab| {
        if made.is_some() {
            lab.say("made");
        }
        lab.say(if has { "has-swap" } else { "no-swap" });
        if memory::has_zswap() {
            lab.say("zswap");
        }
        if swaps.iter().any(|name| name.starts_with("/dev/zram")) {
            lab.say("zram");
        }
        Ok(())
    })?;

    let (memory, mapped) = lab.step("map", |lab| fill(lab, pages))?;
    let shown = part_of(memory, 0, SHOWN.min(pages));
    lab.draw("map", shown, &[], &[])?;

    // A length of 0 only asks whether the advice is known (madvise(2), EINVAL).
    let known = lab.call_unshown("madvise", [memory.start().0, 0, PAGEOUT, 0, 0, 0])?.is_ok();
    let read = |lab: &Lab<'_>, value| match known {
        true => Measured::Is(value),
        false => Measured::NotRead(lab.why("too-old")),
    };
    let open = |lab: &Lab<'_>, expected| match has == sure {
        true => expected,
        false => Expected::Unknown(lab.why("little")),
    };
    lab.step("out", |lab| {
        page_out(lab, memory)?.unwrap_or(0);
        lab.say(if has { "out" } else { "stays" });
        Ok(())
    })?;
    let all: Vec<u64> = (0..pages).collect();
    let moved = if has { all.as_slice() } else { &[] };
    lab.draw("out", shown, moved, &[])?;
    let (there, swapped) = count(&lab, memory)?;
    let (stay, go) = if has { (0, pages) } else { (pages, 0) };
    let predicted = open(&lab, Expected::Is(Value::Pages(stay)));
    let measured = read(&lab, Value::Pages(there));
    lab.fact("there", predicted, measured);
    let predicted = open(&lab, Expected::Is(Value::Pages(go)));
    let measured = read(&lab, Value::Pages(swapped));
    lab.fact("swapped", predicted, measured);

    let copies = match has && known {
        true => lab.step_alone("settle", |lab| settle(lab, memory))?,
        false => Measured::NotRead(lab.why(if known { "no-swap" } else { "too-old" })),
    };
    let predicted = open(&lab, Expected::Is(Value::Pages(0)));
    let written_out = matches!(&copies, Measured::Is(Value::Pages(0)));
    lab.fact("copies", predicted, copies);

    let byte = lab.step("back", |lab| {
        let byte = lab.peek(memory.start())?;
        lab.touch(memory, 0, pages, Touch::Read)?.unwrap_or(0);
        lab.say(if has { "back" } else { "nothing" });
        Ok(byte)
    })?;
    lab.draw("back", shown, moved, &[])?;
    let major = lab.after.major_faults.saturating_sub(lab.before.major_faults);
    let predicted = match has {
        // What is beside a page in swap is read with it, so not every page has a fault that waits.
        true => open(&lab, Expected::Between(Value::Count(1), Value::Count(pages))),
        false => Expected::Is(Value::Count(0)),
    };
    let measured = match written_out || !has {
        true => read(&lab, Value::Count(major)),
        false => Measured::NotRead(lab.why("copies")),
    };
    lab.fact("major", predicted, measured);
    lab.is("value", Value::Count(WRITTEN.into()), Value::Count(byte.into()));

    lab.step("file", |lab| page_out(lab, mapped))?.unwrap_or(0);
    let (left, _) = count(&lab, mapped)?;
    lab.draw("file", part_of(mapped, 0, SHOWN.min(pages)), &all, &[])?;
    // Pages of a file that is nowhere but in memory leave the page table, and stay in memory or go to swap.
    let predicted = match stays {
        true => Expected::Unknown(lab.why("in-memory")),
        false => Expected::Is(Value::Pages(0)),
    };
    let measured = read(&lab, Value::Pages(left));
    lab.fact("file-left", predicted, measured);
    lab.step("file-back", |lab| lab.touch(mapped, 0, pages, Touch::Read))?.unwrap_or(0);
    let major = lab.after.major_faults.saturating_sub(lab.before.major_faults);
    let predicted = match stays {
        true if has => Expected::Unknown(lab.why("in-memory")),
        true => Expected::Is(Value::Count(0)),
        false => Expected::AtLeast(Value::Count(1)),
    };
    let measured = read(&lab, Value::Count(major));
    lab.fact("file-major", predicted, measured);
    Ok(lab.end())
}
