//! One byte is a page: what was asked for against what was mapped.

use crate::error::LabError;
use crate::facts::Value;
use crate::info::{Info, Setup};
use crate::lab::{PRIVATE, RW};
use crate::report::Report;
use crate::settings::Param;
use crate::squares::page_of;
use vmatlas_event::{Addr, AddrRange, Bytes};
use vmatlas_sys::mem::MmapArgs;

/// What is written to the last byte: any value that fresh memory does not have.
const WRITTEN: u8 = 7;

/// What is known of it before it is made.
pub(crate) static INFO: Info = Info::new("one-byte", (include_str!("en.md"), include_str!("ja.md")), make)
    .params(&[Param::size("length", "1", 1, 64 << 10)]);

fn make(mut setup: Setup<'_>) -> Result<Report, LabError> {
    setup.set("page", Bytes(vmatlas_sys::page_size().bytes()));
    let mut lab = setup.begin(Vec::new())?;
    let (page, length) = (lab.page(), lab.settings.size("length").0);
    let mapped = length.next_multiple_of(page);
    lab.set("n", length);
    let words = lab.report.info.text(if length == 1 { "label one" } else { "label many" });
    lab.set("length", lab.words(words));
    lab.set("mapped", Bytes(mapped));
    lab.set("slack", mapped - length);

    let asked = lab.step("map", |lab| lab.map(length, RW))?;
    let whole = AddrRange::from_len(asked.start(), Bytes(mapped)).unwrap_or(asked);
    lab.draw("map", whole, &[], &[])?;
    let grew = lab.after.virtual_size.0.saturating_sub(lab.before.virtual_size.0);
    lab.is("mapped", Value::Bytes(mapped), Value::Bytes(grew));
    lab.is("boundary", Value::Bytes(0), Value::Bytes(asked.start().0 % page));

    let last = Addr(whole.start().0 + mapped - 1);
    lab.set("last", last);
    let pages = mapped / page;
    let there = lab.step("write", |lab| {
        lab.poke(last, WRITTEN)?.unwrap_or(0);
        let there = lab.peek(last)?;
        lab.say("write");
        Ok(there)
    })?;
    lab.draw("write", whole, &[pages - 1], &[])?;
    lab.is("last-byte", Value::Count(WRITTEN.into()), Value::Count(there.into()));
    // Of the last page alone: its neighbours may come along where large folios are switched on.
    let resident = lab.resident(page_of(whole, pages - 1))?;
    lab.is("resident", Value::Bytes(page), Value::Bytes(resident.0));

    let second = lab.step("second", |lab| {
        let second = lab.map(length, RW)?;
        lab.say("second");
        Ok(second)
    })?;
    let grew = lab.after.virtual_size.0.saturating_sub(lab.before.virtual_size.0);
    lab.is("second", Value::Bytes(mapped), Value::Bytes(grew));

    let nothing = lab.step("nothing", |lab| {
        let args = MmapArgs { addr: Addr(0), len: Bytes(0), prot: RW, flags: PRIVATE, fd: -1, offset: 0 };
        let reply = lab.subject.mmap(args).map_err(|how| LabError::Ended { how })?;
        let shown = "mmap(NULL, 0, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)";
        lab.did(shown, reply.map(|at| Addr(at).to_string()));
        Ok(reply)
    })?;
    let word = match nothing {
        Ok(_) => "-",
        Err(errno) => vmatlas_sys::errno_name(errno).unwrap_or("?"),
    };
    lab.is("nothing", Value::Word("EINVAL".to_owned()), Value::Word(word.to_owned()));

    lab.step("back", |lab| {
        lab.unmap(asked)?.unwrap_or(0);
        lab.unmap(second)?.unwrap_or(0);
        lab.say("back");
        Ok(())
    })?;
    let shrank = lab.before.virtual_size.0.saturating_sub(lab.after.virtual_size.0);
    lab.is("back", Value::Bytes(2 * mapped), Value::Bytes(shrank));
    Ok(lab.end())
}
