//! A file mapping that is longer than its file: zeros up to the end of the page, SIGBUS after it.

use crate::child::FILE_FD;
use crate::cleanup::Cleanup;
use crate::error::LabError;
use crate::facts::{Expected, Measured, Value};
use crate::info::{Info, Setup};
use crate::lab::{READ, status_word};
use crate::report::Report;
use crate::settings::Param;
use crate::squares::page_of;
use std::io::Write;
use vmatlas_event::{Addr, Bytes, MapFlags};

/// What is known of it before it is made.
pub(crate) static INFO: Info =
    Info::new("past-the-end", (include_str!("en.md"), include_str!("ja.md")), make)
        .params(&[Param::size("size", "100", 1, 4095)]);

const SHARED: MapFlags = MapFlags(1);
/// What the file is full of.
const LETTER: u8 = b'A';

fn make(mut setup: Setup<'_>) -> Result<Report, LabError> {
    let size = setup.settings.size("size").0;
    let page = vmatlas_sys::page_size().bytes();
    for (name, bytes) in [("size", size), ("page", page), ("both", 2 * page)] {
        setup.set(name, bytes);
    }
    let mut cleanup = Cleanup::start().map_err(LabError::file("/proc/self/exe"))?;
    let (mut file, path) = cleanup.file(0).map_err(LabError::file("a temporary file"))?;
    file.write_all(&vec![LETTER; size as usize]).map_err(LabError::file(&path.to_string_lossy()))?;
    let mut lab = setup.begin(vec![file])?;
    let area = lab.step("map", |lab| {
        let area = lab.map_with(2 * page, READ, SHARED, FILE_FD)?;
        lab.say("mapped");
        Ok(area)
    })?;
    let length = lab.after.row_at(area.start()).map_or(Bytes(0), |row| row.range.len());
    lab.is("mapped", Value::Bytes(2 * page), Value::Bytes(length.0));
    lab.draw("map", area, &[], &[])?;

    let (last, rest) = lab.step("inside", |lab| {
        let last = lab.peek(Addr(area.start().0 + size - 1))?;
        let rest = lab.peek(Addr(area.start().0 + size))?;
        lab.say("inside");
        Ok((last, rest))
    })?;
    lab.is("last", Value::Count(LETTER.into()), Value::Count(last.into()));
    lab.is("rest", Value::Count(0), Value::Count(rest.into()));
    lab.draw("inside", area, &[0], &[])?;

    let second = page_of(area, 1).start();
    let status = lab.step_alone("outside", |lab| {
        let mut child = lab.fork()?;
        let read = lab.in_child(&mut child, second, None);
        lab.did_end_child(&child, read, &format!("byte = *(char *){second}"));
        let status = lab.end_child(&mut child)?;
        lab.say("outside");
        Ok(status)
    })?;
    let signal = Measured::Is(Value::Word(status_word(status)));
    lab.fact("signal", Expected::Is(Value::Word("SIGBUS".to_owned())), signal);

    let grown = lab.step("grow", |lab| {
        let shown = format!("ftruncate({FILE_FD}, {})", 2 * page);
        lab.call("ftruncate", [FILE_FD as u64, 2 * page, 0, 0, 0, 0], shown)?.unwrap_or(0);
        let byte = lab.peek(second)?;
        lab.say("grow");
        Ok(byte)
    })?;
    lab.is("grown", Value::Count(0), Value::Count(grown.into()));
    lab.draw("grow", area, &[1], &[])?;
    Ok(lab.end())
}
