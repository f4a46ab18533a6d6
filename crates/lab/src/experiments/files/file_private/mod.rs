//! A private file mapping: what is read is the file's, what is written is a copy of one's own.

use crate::child::FILE_FD;
use crate::error::LabError;
use crate::facts::Value;
use crate::files::{Fixture, mark, marked_pages};
use crate::info::{Info, Setup};
use crate::lab::RW;
use crate::report::Report;
use crate::settings::Param;
use crate::squares::page_of;
use vmatlas_event::MapFlags;

/// What is known of it before it is made.
pub(crate) static INFO: Info =
    Info::new("file-private", (include_str!("en.md"), include_str!("ja.md")), make)
        .params(&[Param::count("pages", "4", 3, 16)]);

const MAP_PRIVATE: MapFlags = MapFlags(2);
const MADV_DONTNEED: u64 = 4;
/// What the subject writes into its copy, and what somebody else writes into the file afterwards.
const OWN: u8 = 99;
const LATE: u8 = 7;

fn make(mut setup: Setup<'_>) -> Result<Report, LabError> {
    let pages = setup.settings.count("pages");
    let fixture = Fixture::new(&marked_pages(pages))?;
    setup.set("path", fixture.path());
    setup.set("n", pages);
    for (name, value) in [("own", OWN), ("late", LATE), ("was", mark(1))] {
        setup.set(name, u64::from(value));
    }
    // The right to read the file is enough: no write will ever reach it.
    let mut lab = setup.begin(vec![fixture.read_only()?])?;
    let page = lab.page();
    let area = lab.step("map", |lab| lab.map_with(pages * page, RW, MAP_PRIVATE, FILE_FD))?;
    lab.draw("map", area, &[], &[])?;
    let at = |index| page_of(area, index).start();

    let read = lab.step_alone("read", |lab| lab.peek(at(0)))?;
    let seen = lab.pages(page_of(area, 0))?.iter().any(|page| page.present && page.file);
    lab.is("read-byte", Value::Count(fixture.byte(0)?.into()), Value::Count(read.into()));
    lab.is("read-frame", Value::Yes(true), Value::Yes(seen));
    lab.draw("read", area, &[0], &[])?;

    let own = lab.step("write", |lab| {
        lab.poke(at(1), OWN)?.unwrap_or(0);
        let own = lab.peek(at(1))?;
        lab.say("write");
        Ok(own)
    })?;
    lab.draw("write", area, &[1], &[])?;
    lab.is("own", Value::Count(OWN.into()), Value::Count(own.into()));
    lab.is("file-unchanged", Value::Count(mark(1).into()), Value::Count(fixture.byte(page)?.into()));
    let copies = lab.pages(area)?.iter().filter(|page| page.present && !page.file).count();
    lab.is("copies", Value::Pages(1), Value::Pages(copies as u64));

    let (copied, not_copied) = lab.step_alone("file-changes", |lab| {
        for at in [page, 2 * page] {
            fixture.write(at, LATE)?;
            lab.did(format!("vmatlas: byte = {LATE}; pwrite(fd, &byte, 1, {at})"), Ok("1".to_owned()));
        }
        let seen = (lab.peek(at(1))?, lab.peek(at(2))?);
        lab.say("file-changes");
        Ok(seen)
    })?;
    lab.is("late-copied", Value::Count(OWN.into()), Value::Count(copied.into()));
    lab.is("late-not-copied", Value::Count(LATE.into()), Value::Count(not_copied.into()));

    let dropped = lab.step_alone("drop", |lab| {
        let (start, args) = (at(1), [at(1).0, page, MADV_DONTNEED, 0, 0, 0]);
        lab.call("madvise", args, format!("madvise({start}, {page}, MADV_DONTNEED)"))?.unwrap_or(0);
        lab.peek(start)
    })?;
    lab.is("dropped", Value::Count(LATE.into()), Value::Count(dropped.into()));
    lab.draw("drop", area, &[1], &[])?;
    Ok(lab.end())
}
