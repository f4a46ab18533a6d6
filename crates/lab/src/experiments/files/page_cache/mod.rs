//! The page cache: a file's pages are in memory before anybody maps them, and after.

use crate::child::FILE_FD;
use crate::error::LabError;
use crate::facts::{Expected, Measured, Value};
use crate::files::{Fixture, marked_pages};
use crate::info::{Info, Setup};
use crate::lab::{Lab, READ};
use crate::report::Report;
use crate::say::Say;
use crate::settings::Param;
use crate::squares::page_of;
use vmatlas_event::{AddrRange, Bytes, Errno, MapFlags};
use vmatlas_sys::mem::Touch;

/// What is known of it before it is made.
pub(crate) static INFO: Info = Info::new("page-cache", (include_str!("en.md"), include_str!("ja.md")), make)
    .params(&[Param::count("pages", "64", 64, 4096)]);

const MAP_PRIVATE: MapFlags = MapFlags(2);
const FADV_DONTNEED: u64 = 4;
/// What a fault brings at most, unless debugfs says otherwise (`fault_around_bytes`).
const AROUND: u64 = 64 << 10;
/// Pages in the picture before the one that is read first, and as many from there on.
const BEFORE: u64 = 3;

fn make(mut setup: Setup<'_>) -> Result<Report, LabError> {
    let pages = setup.settings.count("pages");
    let fixture = Fixture::new(&marked_pages(pages))?;
    let text = std::fs::read_to_string("/sys/kernel/debug/fault_around_bytes").ok();
    let around = text.and_then(|text| text.trim().parse().ok()).unwrap_or(AROUND);
    let page = vmatlas_sys::page_size().bytes();
    let window = (around / page).max(1);
    let stays = fixture.is_in_memory();
    setup.set("path", fixture.path());
    setup.set("n", pages);
    setup.set("window", window);
    setup.set("fs", fixture.file_system().unwrap_or_else(|| "?".to_owned()));
    let mut lab = setup.begin(vec![fixture.read_only()?])?;

    let first = lab.step_alone("written", |lab| Ok(told(lab, fixture.in_cache(pages))))?;
    lab.fact("cached-first", Expected::Is(Value::Pages(pages)), first);

    let area = map(&mut lab, "map", pages)?;
    let middle = block_in_middle(area, pages, window);
    let shown = drawn(area, middle);
    lab.draw("map", shown, &[], &[])?;
    let fresh = present(&lab, area)?;
    lab.is("fresh", Value::Pages(0), Value::Pages(fresh));

    let start = lab.after.clone();
    lab.step("touch-one", |lab| {
        lab.touch(area, middle, 1, Touch::Read)?.unwrap_or(0);
        lab.say("touch-one");
        Ok(())
    })?;
    lab.draw("touch-one", shown, &[BEFORE], &[])?;
    let mapped = present(&lab, area)?;
    // Neighbours that are locked at this moment, or not in the cache, are left out.
    let least = window.min(2);
    let expected = Expected::Between(Value::Pages(least), Value::Pages(window));
    lab.fact("around", expected, Measured::Is(Value::Pages(mapped)));

    lab.step("touch-all", |lab| lab.touch(area, 0, pages, Touch::Read))?.unwrap_or(0);
    lab.draw("touch-all", shown, &[], &[])?;
    let faults = lab.after.minor_faults.saturating_sub(start.minor_faults);
    // In user-mode Linux the host does not know of the neighbours yet, so each page has a fault of its own.
    let alone =
        window == 1 || std::fs::read_to_string("/proc/cpuinfo").is_ok_and(|s| s.contains("User Mode Linux"));
    let many = if alone { pages } else { pages - 1 };
    let expected = Expected::Between(Value::Count(pages.div_ceil(window)), Value::Count(many));
    lab.fact("all-faults", expected, Measured::Is(Value::Count(faults)));
    let major = lab.after.major_faults.saturating_sub(start.major_faults);
    lab.is("major", Value::Count(0), Value::Count(major));

    let after = lab.step("unmap", |lab| {
        lab.unmap(area)?.unwrap_or(0);
        Ok(told(lab, fixture.in_cache(pages)))
    })?;
    lab.fact("cached-after", Expected::Is(Value::Pages(pages)), after);

    let dropped = lab.step_alone("drop", |lab| {
        let args = [FILE_FD as u64, 0, 0, FADV_DONTNEED, 0, 0];
        let shown = format!("posix_fadvise({FILE_FD}, 0, 0, POSIX_FADV_DONTNEED)");
        lab.call("fadvise64", args, shown)?.unwrap_or(0);
        Ok(told(lab, fixture.in_cache(pages)))
    })?;
    // What is nowhere but in memory cannot be dropped.
    let rest = if stays { pages } else { 0 };
    lab.fact("dropped", Expected::Is(Value::Pages(rest)), dropped);

    let area = map(&mut lab, "map-again", pages)?;
    lab.step("read-again", |lab| {
        lab.touch(area, middle, 1, Touch::Read)?.unwrap_or(0);
        lab.set("ahead", fixture.in_cache(pages).unwrap_or(0));
        lab.say("read-again");
        Ok(())
    })?;
    let major = lab.after.major_faults.saturating_sub(lab.before.major_faults);
    let expected = if stays { Expected::Is(Value::Count(0)) } else { Expected::AtLeast(Value::Count(1)) };
    lab.fact("major-again", expected, Measured::Is(Value::Count(major)));
    Ok(lab.end())
}

fn map(lab: &mut Lab<'_>, step: &'static str, pages: u64) -> Result<AddrRange, LabError> {
    let length = pages * lab.page();
    lab.step(step, |lab| lab.map_with(length, READ, MAP_PRIVATE, FILE_FD))
}

/// The first page of a block of neighbours near the middle: blocks begin at multiples of their size, in addresses.
fn block_in_middle(area: AddrRange, pages: u64, window: u64) -> u64 {
    let from = pages / 2 - 15;
    let number = area.start().0 / (area.len().0 / pages) + from;
    let index = from + (number.next_multiple_of(window) - number);
    if index < pages { index } else { from }
}

/// The pages that are drawn: some before the one that is read first, and some from there on.
fn drawn(area: AddrRange, middle: u64) -> AddrRange {
    let first = page_of(area, middle - BEFORE);
    let length = Bytes(2 * BEFORE * first.len().0);
    AddrRange::from_len(first.start(), length).unwrap_or(area)
}

fn present(lab: &Lab<'_>, area: AddrRange) -> Result<u64, LabError> {
    Ok(lab.pages(area)?.iter().filter(|page| page.present).count() as u64)
}

/// What mincore(2) told, shown as a line of the step.
fn told(lab: &mut Lab<'_>, pages: Result<u64, Errno>) -> Measured {
    lab.did("vmatlas: mincore()", pages.map(|n| n.to_string()));
    match pages {
        Ok(n) => Measured::Is(Value::Pages(n)),
        Err(errno) => Measured::NotRead(
            Say::new(lab.report.info.text("why mincore")).with("why", vmatlas_sys::errno_text(errno)),
        ),
    }
}
