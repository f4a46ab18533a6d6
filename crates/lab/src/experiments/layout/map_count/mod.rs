//! The map-count limit: an area is split until the kernel refuses, and one call makes it whole again.

use crate::command::Reply;
use crate::error::LabError;
use crate::facts::{Expected, Measured, Value};
use crate::info::{Info, Setup};
use crate::lab::{Lab, NONE, READ, status_word};
use crate::report::Report;
use crate::say::Word;
use crate::settings::Param;
use crate::squares::{page_of, part_of, vmas_in};
use vmatlas_event::AddrRange;
use vmatlas_proc::MapsReader;
use vmatlas_sys::workbench::{Call, Workbench};

/// What is known of it before it is made.
pub(crate) static INFO: Info = Info::new("map-count", (include_str!("en.md"), include_str!("ja.md")), make)
    .params(&[Param::count("calls", "33000", 10, 600_000)])
    .own(own);

const MAX_MAP_COUNT: &str = "/proc/sys/vm/max_map_count";
/// Calls that the subject makes for one command: it soon notices when we are gone.
const AT_ONCE: u64 = 1000;
/// Pages behind the split part that stay one VMA.
const TAIL: u64 = 8;
/// Pages in the picture.
const SHOWN: u64 = 6;

/// Takes away all access to every other page, from page `first` on, in so many calls, or until one is refused; returns
/// how many were not.
fn own(bench: &Workbench, [start, first, calls, ..]: [u64; 5]) -> Reply {
    let page = vmatlas_sys::page_size().bytes();
    let Some(mprotect) = Call::named("mprotect") else { return Ok(0) };
    for done in 0..calls {
        let at = start + (first + 2 * done) * page;
        if bench.call(mprotect, [at, page, NONE.0, 0, 0, 0]).is_err() {
            return Ok(done);
        }
    }
    Ok(calls)
}

fn make(mut setup: Setup<'_>) -> Result<Report, LabError> {
    let text = std::fs::read_to_string(MAX_MAP_COUNT).ok();
    let limit = text.and_then(|text| text.trim().parse::<u64>().ok());
    setup.set("limit", limit.map_or_else(|| Word::from("?"), Word::from));
    let mut lab = setup.begin(Vec::new())?;
    let (page, most) = (lab.page(), lab.settings.count("calls"));
    let before = count(&lab)?;
    // The area itself is one more, and each call makes two more of one.
    let room = limit.map_or(u64::MAX, |limit| limit.saturating_sub(before + 1));
    let needed = room / 2;
    let calls = needed.min(most).max(1);
    let is_reached = needed <= most;
    lab.set("before", before);
    lab.set("needed", needed);
    lab.set("most", most);
    lab.set("tail", TAIL);
    let len = 2 * calls + TAIL;
    let area = lab.step("map", |lab| {
        let area = lab.map(len * page, READ)?;
        if is_reached && room % 2 == 1 {
            lab.protect(page_of(area, len - 1), NONE)?.unwrap_or(0);
            lab.say("even");
        }
        Ok(area)
    })?;
    lab.draw("map", part_of(area, 0, SHOWN), &[], &[])?;

    lab.step("first", |lab| Ok(lab.protect(page_of(area, 1), NONE)?.unwrap_or(0)))?;
    lab.draw("first", part_of(area, 0, SHOWN), &[1], &[])?;
    let pieces = vmas_in(&lab.after.rows, part_of(area, 0, len - 1));
    lab.is("three", Value::Count(3), Value::Count(pieces));

    let done = lab.step_alone("many", |lab| {
        let done = split(lab, area, calls)?;
        let last = 2 * done;
        let text = format!("for (i = 3; i < {last}; i += 2) mprotect(area + i*{page}, {page}, PROT_NONE)");
        lab.did(text, Ok("0".to_owned()));
        let now = count(lab)?;
        lab.set("now", now);
        lab.say("many");
        Ok(done)
    })?;
    lab.draw("many", part_of(area, 0, SHOWN), &[], &[])?;
    lab.is("calls", Value::Count(calls), Value::Count(done));
    let there = lab.pages(area)?.iter().filter(|page| page.present).count();
    lab.is("resident", Value::Pages(0), Value::Pages(there as u64));

    let hole = page_of(area, 2 * calls + TAIL / 2);
    let (split, hole_made) = lab.step_alone("full", |lab| {
        let replies = match is_reached {
            true => (lab.protect(page_of(area, 2 * calls + 1), NONE)?, lab.unmap(hole)?),
            // What is not at its limit would not be refused.
            false => (Ok(0), Ok(0)),
        };
        lab.say(if is_reached { "full" } else { "not-full" });
        Ok(replies)
    })?;
    let refused = |lab: &Lab<'_>, reply: Reply| match is_reached {
        true => Measured::Is(Value::Word(status_word(reply))),
        false => Measured::NotRead(lab.why("not-reached")),
    };
    let (split, hole_made) = (refused(&lab, split), refused(&lab, hole_made));
    let error = || Expected::Is(Value::Word("ENOMEM".to_owned()));
    lab.fact("refused", error(), split);
    lab.fact("unmap", error(), hole_made);
    let most = limit.filter(|_| is_reached).unwrap_or(before + 1 + 2 * calls);
    let now = count(&lab)?;
    lab.is("count", Value::Count(most), Value::Count(now));

    lab.step_alone("back", |lab| Ok(lab.protect(area, READ)?.unwrap_or(0)))?;
    lab.draw("back", part_of(area, 0, SHOWN), &[], &[])?;
    let now = count(&lab)?;
    lab.is("merged", Value::Count(before + 1), Value::Count(now));
    let reply = lab.step("again", |lab| lab.unmap(hole))?;
    lab.is("again", Value::Word("0".to_owned()), Value::Word(status_word(reply)));
    Ok(lab.end())
}

/// All calls but the first, which was made already; how many were not refused, with it.
fn split(lab: &mut Lab<'_>, area: AddrRange, calls: u64) -> Result<u64, LabError> {
    let mut done = 1;
    while done < calls {
        let now = AT_ONCE.min(calls - done);
        let made = lab.own_unshown([area.start().0, 1 + 2 * done, now, 0, 0])?.unwrap_or(0);
        done += made;
        if made < now {
            break;
        }
    }
    Ok(done)
}

/// The VMAs that the kernel counts: all but [vsyscall], which is none.
fn count(lab: &Lab<'_>) -> Result<u64, LabError> {
    let rows = MapsReader::new().read(lab.subject.process())?.rows;
    Ok(rows.iter().filter(|row| row.special() != Some(b"vsyscall")).count() as u64)
}
