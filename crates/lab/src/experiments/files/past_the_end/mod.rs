//! A mapping that is longer than its file: zeros up to the end of the page, and SIGBUS after it.

use crate::child::FILE_FD;
use crate::error::LabError;
use crate::facts::{Expected, Measured, Value};
use crate::files::Fixture;
use crate::info::{Info, Setup};
use crate::lab::{Lab, RW, ending, signal_word, status_word};
use crate::report::Report;
use crate::settings::Param;
use crate::squares::page_of;
use vmatlas_event::{Addr, Bytes, MapFlags};

/// What is known of it before it is made.
pub(crate) static INFO: Info =
    Info::new("past-the-end", (include_str!("en.md"), include_str!("ja.md")), make)
        .params(&[Param::size("size", "6000", 1, 12_288)]);

const MAP_SHARED: MapFlags = MapFlags(1);
/// What the file is full of, and what is written after its end.
const FILLED: u8 = 65;
const AFTER: u8 = 99;

fn make(mut setup: Setup<'_>) -> Result<Report, LabError> {
    let (size, page) = (setup.settings.size("size").0, vmatlas_sys::page_size().bytes());
    let fixture = Fixture::new(&vec![FILLED; size as usize])?;
    let inside = size.div_ceil(page);
    let length = (inside + 1) * page;
    setup.set("path", fixture.path());
    setup.set("size", size);
    setup.set("n", inside + 1);
    setup.set("filled", u64::from(FILLED));
    setup.set("after", u64::from(AFTER));
    setup.set("last", inside - 1);
    setup.set("past", inside);
    setup.set("rest", inside * page - size);
    let mut lab = setup.begin(vec![fixture.read_write()?])?;
    let area = lab.step("map", |lab| lab.map_with(length, RW, MAP_SHARED, FILE_FD))?;
    let (start, past) = (area.start(), page_of(area, inside).start());
    let end = Addr(start.0 + size);

    // A file that ends with its page has no rest.
    let has_rest = size % page != 0;
    let (last, rest) = lab.step_alone("read", |lab| {
        lab.touch(area, 0, inside, vmatlas_sys::mem::Touch::Read)?.unwrap_or(0);
        let last = lab.peek(Addr(end.0 - 1))?;
        Ok((last, if has_rest { Some(lab.peek(end)?) } else { None }))
    })?;
    lab.draw("read", area, &[], &[])?;
    lab.is("last", Value::Count(fixture.byte(size - 1)?.into()), Value::Count(last.into()));
    let rest = match rest {
        Some(byte) => Measured::Is(Value::Count(byte.into())),
        None => Measured::NotRead(lab.why("no-rest")),
    };
    lab.fact("rest", Expected::Is(Value::Count(0)), rest);

    if has_rest {
        lab.step_alone("write", |lab| {
            lab.poke(end, AFTER)?.unwrap_or(0);
            lab.peek(end)?;
            lab.say("write");
            Ok(())
        })?;
    }
    let unchanged = match has_rest {
        true => Measured::Is(Value::Count(fixture.size()?.0)),
        false => Measured::NotRead(lab.why("no-rest")),
    };
    lab.fact("size-same", Expected::Is(Value::Count(size)), unchanged);

    let status = lab.step_alone("beyond", |lab| {
        let mut child = lab.fork()?;
        let read = lab.in_child(&mut child, past, None);
        lab.did_end_child(&child, read, &format!("byte = *(char *){past}"));
        let status = lab.end_child(&mut child)?;
        lab.say("beyond");
        Ok(status)
    })?;
    let sigbus = || Expected::Is(Value::Word("SIGBUS".to_owned()));
    lab.fact("signal", sigbus(), Measured::Is(Value::Word(status_word(status))));

    let grown = lab.step_alone("grow", |lab| {
        truncate(lab, length)?;
        lab.peek(past)
    })?;
    lab.is("grown", Value::Count(0), Value::Count(grown.into()));
    lab.draw("grow", area, &[inside], &[])?;

    lab.step("shrink", |lab| truncate(lab, 1))?;
    let left = lab.pages(area)?.iter().filter(|page| page.present).count();
    lab.is("left", Value::Pages(1), Value::Pages(left as u64));
    let same = lab.before.changes(&lab.after).is_empty();
    lab.is("map-same", Value::Yes(true), Value::Yes(same));
    let gone: Vec<u64> = (1..=inside).collect();
    lab.draw("shrink", area, &gone, &[])?;

    let before = page_of(area, 1).start();
    let ended = lab.step_alone("end", |lab| {
        let ended = ending(lab.peek(before))?;
        lab.did_end(&ended, &format!("byte = *(char *){before}"));
        lab.say("end");
        Ok(ended)
    })?;
    lab.fact("signal-again", sigbus(), Measured::Is(Value::Word(signal_word(&ended))));
    Ok(lab.ended())
}

fn truncate(lab: &mut Lab<'_>, size: u64) -> Result<(), LabError> {
    let args = [FILE_FD as u64, size, 0, 0, 0, 0];
    let reply = lab.call("ftruncate", args, format!("ftruncate({FILE_FD}, {size})"))?;
    reply.map(|_| ()).map_err(|errno| LabError::Refused { length: Bytes(size), errno })
}
