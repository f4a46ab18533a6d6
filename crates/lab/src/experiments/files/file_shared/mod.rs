//! A shared file mapping: what is written is in the file and in every other process at once.

use crate::child::FILE_FD;
use crate::error::LabError;
use crate::facts::{Expected, Measured, Value};
use crate::files::{Fixture, marked_pages};
use crate::info::{Info, Need, Setup};
use crate::lab::{Lab, RW};
use crate::report::Report;
use crate::settings::Param;
use crate::squares::page_of;
use vmatlas_event::MapFlags;

/// What is known of it before it is made.
pub(crate) static INFO: Info = Info::new("file-shared", (include_str!("en.md"), include_str!("ja.md")), make)
    .params(&[Param::count("pages", "4", 3, 16)])
    .needs(&[Need::Root]);

const MAP_SHARED: MapFlags = MapFlags(1);
const MS_SYNC: u64 = 4;
const PARENTS: u8 = 99;
const CHILDS: u8 = 77;

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
    let dirty = lab.dirty(area)?;
    lab.set("dirty", dirty.map_or_else(|| "?".to_owned(), vmatlas_view::units::size));
    let dirty = pages_of_file(&lab, dirty);
    // In memory every page counts as dirty, those that came along with a read among them.
    let stays = fixture.is_in_memory();
    let in_memory = || Expected::Between(Value::Pages(2), Value::Pages(pages));
    lab.fact("dirty", if stays { in_memory() } else { Expected::Is(Value::Pages(2)) }, dirty);

    lab.step_alone("sync", |lab| {
        let (start, len) = (area.start(), area.len().0);
        let args = [start.0, len, MS_SYNC, 0, 0, 0];
        lab.call("msync", args, format!("msync({start}, {len}, MS_SYNC)"))?.unwrap_or(0);
        Ok(())
    })?;
    let clean = pages_of_file(&lab, lab.dirty(area)?);
    // And there is no disk to write them to.
    lab.fact("clean", if stays { in_memory() } else { Expected::Is(Value::Pages(0)) }, clean);

    lab.step("again", |lab| lab.poke(at(1), PARENTS))?.unwrap_or(0);
    let faults = lab.after.minor_faults.saturating_sub(lab.before.minor_faults);
    lab.is("fault-again", Value::Count(u64::from(!stays)), Value::Count(faults));

    lab.step_alone("child-ends", |lab| lab.end_child(&mut child))?.unwrap_or(0);
    lab.step("unmap", |lab| lab.unmap(area))?.unwrap_or(0);
    lab.is("file-keeps", Value::Count(CHILDS.into()), Value::Count(fixture.byte(2 * page)?.into()));
    Ok(lab.end())
}

fn pages_of_file(lab: &Lab<'_>, dirty: Option<vmatlas_event::Bytes>) -> Measured {
    match dirty {
        Some(dirty) => Measured::Is(Value::Pages(dirty.0 / lab.page())),
        None => Measured::NotRead(lab.why("smaps")),
    }
}
