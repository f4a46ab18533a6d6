//! A shared file mapping: what is written is in the file and in every other process at once.

use crate::child::FILE_FD;
use crate::command::Command;
use crate::error::LabError;
use crate::facts::{Expected, Measured, Value};
use crate::files::{Fixture, marked_pages};
use crate::info::{Info, Need, Setup};
use crate::lab::{Lab, RW};
use crate::report::Report;
use crate::settings::Param;
use crate::squares::page_of;
use vmatlas_event::{AddrRange, Bytes, MapFlags};

/// What is known of it before it is made.
pub(crate) static INFO: Info = Info::new("file-shared", (include_str!("en.md"), include_str!("ja.md")), make)
    .params(&[Param::count("pages", "4", 3, 16)])
    .needs(&[Need::Root]);

const MAP_SHARED: MapFlags = MapFlags(1);
const MS_SYNC: u64 = 4;
const PARENTS: u8 = 99;
const CHILDS: u8 = 77;
/// Looks at what others can disturb.
const TRIES: u32 = 5;

fn make(mut setup: Setup<'_>) -> Result<Report, LabError> {
    let pages = setup.settings.count("pages");
    let fixture = Fixture::new(&marked_pages(pages))?;
    setup.set("path", fixture.path());
    setup.set("n", pages);
    let text = std::fs::read_to_string("/proc/sys/vm/dirty_expire_centisecs").ok();
    let expire = text.and_then(|text| text.trim().parse::<u64>().ok());
    setup.set("expire", expire.map_or_else(|| "?".to_owned(), |n| (n / 100).to_string()));
    setup.set("parents", u64::from(PARENTS));
    setup.set("childs", u64::from(CHILDS));
    setup.set("fs", fixture.file_system().unwrap_or_else(|| "?".to_owned()));
    let mut lab = setup.begin(vec![fixture.read_write()?])?;
    let page = lab.page();
    let area = lab.step("map", |lab| lab.map_with(pages * page, RW, MAP_SHARED, FILE_FD))?;
    lab.draw("map", area, &[], &[])?;
    let at = |index| page_of(area, index).start();

    let mut child = lab.step_alone("fork", Lab::fork)?;
    let in_child = lab.step_alone("write", |lab| {
        lab.poke(at(1), PARENTS)?.unwrap_or(0);
        let seen = lab.in_child(&mut child, at(1), None);
        let byte = fixture.byte(page)?;
        lab.set("byte", u64::from(byte));
        lab.did(format!("vmatlas: pread(fd, &byte, 1, {page})"), Ok(format!("1   → {byte}")));
        lab.say("write");
        Ok(seen.unwrap_or(0))
    })?;
    lab.draw("write", area, &[1], &[("child", child.process())])?;
    lab.is("child-sees", Value::Count(PARENTS.into()), Value::Count(in_child));
    lab.is("file-has", Value::Count(PARENTS.into()), Value::Count(fixture.byte(page)?.into()));
    let one = [lab.pages(page_of(area, 1))?, Lab::pages_in(child.process(), page_of(area, 1))?].concat();
    let same = match one.as_slice() {
        [ours, theirs] if ours.pfn.is_some() => ours.pfn == theirs.pfn,
        // Their numbers are hidden: neither has its frame for itself alone.
        both => both.iter().all(|page| page.present && page.file && !page.exclusive),
    };
    lab.is("same-frame", Value::Yes(true), Value::Yes(same));

    let back = lab.step_alone("child-writes", |lab| {
        lab.in_child(&mut child, at(2), Some(CHILDS)).unwrap_or(0);
        lab.peek(at(2))
    })?;
    lab.is("parent-sees", Value::Count(CHILDS.into()), Value::Count(back.into()));
    let stays = fixture.is_in_memory();
    let (dirty, clean) = lab.step_alone("sync", |lab| {
        let dirty = dirty_pages(lab, area)?;
        lab.set("dirty", dirty.map_or_else(|| "?".to_owned(), vmatlas_view::units::size));
        lab.say("dirty");
        let (start, len) = (area.start(), area.len().0);
        let args = [start.0, len, MS_SYNC, 0, 0, 0];
        lab.call("msync", args, format!("msync({start}, {len}, MS_SYNC)"))?.unwrap_or(0);
        Ok((dirty, lab.dirty(area)?))
    })?;
    // In memory every page counts as dirty, those that came along with a read among them, and there is no disk.
    let expected = |pages: u64, all: u64| match stays {
        true => Expected::Between(Value::Pages(2), Value::Pages(all)),
        false => Expected::Is(Value::Pages(pages)),
    };
    lab.fact("dirty", expected(2, pages), pages_of_file(&lab, dirty));
    lab.fact("clean", expected(0, pages), pages_of_file(&lab, clean));

    let expected = u64::from(!stays);
    let faults = lab.step("again", |lab| faults_of_a_write(lab, area, expected))?;
    lab.is("fault-again", Value::Count(expected), Value::Count(faults));

    lab.step_alone("child-ends", |lab| lab.end_child(&mut child))?.unwrap_or(0);
    lab.step("unmap", |lab| lab.unmap(area))?.unwrap_or(0);
    lab.is("file-keeps", Value::Count(CHILDS.into()), Value::Count(fixture.byte(2 * page)?.into()));
    Ok(lab.end())
}

/// Writes pages 1 and 2 again and looks what is dirty then. The kernel writes pages back after some time, and somebody's
/// sync(2) at once: then once more.
fn dirty_pages(lab: &mut Lab<'_>, area: AddrRange) -> Result<Option<Bytes>, LabError> {
    let [first, second] = [1, 2].map(|index| page_of(area, index).start());
    lab.poke(first, PARENTS)?.unwrap_or(0);
    lab.poke(second, CHILDS)?.unwrap_or(0);
    let mut dirty = lab.dirty(area)?;
    for _ in 0..TRIES {
        if dirty.is_none_or(|dirty| dirty.0 / lab.page() >= 2) {
            break;
        }
        lab.command(Command::Poke(first, PARENTS))?.unwrap_or(0);
        lab.command(Command::Poke(second, CHILDS))?.unwrap_or(0);
        dirty = lab.dirty(area)?;
    }
    Ok(dirty)
}

/// How many faults a write to page 1 costs; once more where somebody's sync(2) was at the same page.
fn faults_of_a_write(lab: &mut Lab<'_>, area: AddrRange, expected: u64) -> Result<u64, LabError> {
    let at = page_of(area, 1).start();
    let faults = |lab: &Lab<'_>| Ok::<_, LabError>(lab.subject.state()?.minor_faults);
    let before = faults(lab)?;
    lab.poke(at, PARENTS)?.unwrap_or(0);
    let mut cost = faults(lab)?.saturating_sub(before);
    for _ in 0..TRIES {
        if cost == expected {
            break;
        }
        lab.call_unshown("msync", [area.start().0, area.len().0, MS_SYNC, 0, 0, 0])?.unwrap_or(0);
        let before = faults(lab)?;
        lab.command(Command::Poke(at, PARENTS))?.unwrap_or(0);
        cost = faults(lab)?.saturating_sub(before);
    }
    Ok(cost)
}

fn pages_of_file(lab: &Lab<'_>, dirty: Option<Bytes>) -> Measured {
    match dirty {
        Some(dirty) => Measured::Is(Value::Pages(dirty.0 / lab.page())),
        None => Measured::NotRead(lab.why("smaps")),
    }
}
