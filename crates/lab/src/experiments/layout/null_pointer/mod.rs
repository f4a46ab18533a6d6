//! The null pointer: the addresses that are kept free, and what an access there does.

use crate::error::LabError;
use crate::facts::{Expected, Measured, Value};
use crate::info::{Info, Setup};
use crate::lab::{ending, signal_word, status_word};
use crate::report::Report;
use crate::say::Say;
use crate::settings::Param;
use crate::texts;
use vmatlas_event::{Addr, AddrRange, Bytes};

/// What is known of it before it is made.
pub(crate) static INFO: Info =
    Info::new("null-pointer", (include_str!("en.md"), include_str!("ja.md")), make)
        .params(&[Param::size("offset", "0", 0, 4095)]);

const MIN_ADDR: &str = "/proc/sys/vm/mmap_min_addr";

fn make(mut setup: Setup<'_>) -> Result<Report, LabError> {
    let at = Addr(setup.settings.size("offset").0);
    let text = std::fs::read_to_string(MIN_ADDR).ok();
    let least = text.and_then(|text| text.trim().parse::<u64>().ok());
    setup.set("at", at);
    // Not known is shown as what the text of the setting would be.
    setup.set("least", least.map_or_else(|| "?".to_owned(), |n| vmatlas_view::units::size(Bytes(n))));
    let mut lab = setup.begin(Vec::new())?;
    let lowest = lab.step_alone("look", |lab| {
        let lowest = lab.after.rows.first().map_or(Addr(0), |row| row.range.start());
        lab.set("lowest", lowest);
        lab.say("look");
        Ok(lowest)
    })?;
    let predicted = match least {
        Some(least) => Expected::AtLeast(Value::Addr(least)),
        None => Expected::Unknown(Say::new(texts::SETTING_UNREAD).with("path", MIN_ADDR)),
    };
    lab.fact("lowest", predicted, Measured::Is(Value::Addr(lowest.0)));
    let page = AddrRange::from_len(Addr(0), Bytes(lab.page())).unwrap_or(AddrRange::ALL);
    let mapped = lab.after.rows.iter().any(|row| row.range.intersects(page));
    lab.is("page-zero", Value::Yes(false), Value::Yes(mapped));

    let segv = || Expected::Is(Value::Word("SIGSEGV".to_owned()));
    let status = lab.step_alone("read", |lab| {
        let mut child = lab.fork()?;
        let read = lab.in_child(&mut child, at, None);
        lab.did_end_child(&child, read, &format!("byte = *(char *){at}"));
        let status = lab.end_child(&mut child)?;
        lab.say("read");
        Ok(status)
    })?;
    lab.fact("read-signal", segv(), Measured::Is(Value::Word(status_word(status))));
    let alive = lab.subject.state().is_ok();
    lab.is("parent-lives", Value::Yes(true), Value::Yes(alive));

    let ended = lab.step_alone("write", |lab| {
        let ended = ending(lab.poke(at, 1))?;
        lab.did_end(&ended, &format!("*(char *){at} = 1"));
        lab.say("write");
        Ok(ended)
    })?;
    lab.fact("write-signal", segv(), Measured::Is(Value::Word(signal_word(&ended))));
    Ok(lab.ended())
}
