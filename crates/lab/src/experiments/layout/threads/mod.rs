//! Threads and their stacks: an area each, with a guard page below it.

use crate::command::Reply;
use crate::error::LabError;
use crate::facts::{Expected, Measured, Value};
use crate::info::{Info, Need, Setup};
use crate::lab::{Lab, ending, signal_word};
use crate::machine::Machine;
use crate::report::Report;
use crate::settings::Param;
use crate::squares::part_of;
use vmatlas_event::{Addr, AddrRange, Bytes, Prot};
use vmatlas_sys::stacks;
use vmatlas_sys::workbench::Workbench;

/// What is known of it before it is made.
pub(crate) static INFO: Info = Info::new("threads", (include_str!("en.md"), include_str!("ja.md")), make)
    .params(&[Param::count("threads", "2", 1, 4), Param::size("use", "256KiB", 1, 4 << 20)])
    .needs(&[Need::Root])
    .own(own);

/// What the own routine does: its first argument.
const START: u64 = 0;
const WHO: u64 = 1;
const USE: u64 = 2;
const END: u64 = 3;

/// The stack of a thread where RLIMIT_STACK is unlimited: glibc's choice.
const UNLIMITED: u64 = 2 << 20;
/// What glibc keeps at most of the stacks of threads that have ended.
const CACHE: u64 = 40 << 20;
/// What a thread that has done nothing may have touched of its stack, and what glibc leaves of an ended one's.
const LITTLE: u64 = 64 << 10;
/// Pages in the picture.
const SHOWN: u64 = 6;
/// Whether the C library is the one whose ways are known here.
const GLIBC: bool = cfg!(target_env = "gnu");

fn own(_: &Workbench, [what, fd, bytes, ..]: [u64; 5]) -> Reply {
    let fd = fd as i32;
    match what {
        START => stacks::start_thread().map(|fd| fd as u64),
        WHO => stacks::thread_self(fd).map(|addr| addr.0),
        USE => {
            stacks::die_of_overflow();
            stacks::thread_uses(fd, Bytes(bytes)).map(|addr| addr.0)
        }
        _ => stacks::end_thread(fd).map(|()| 0),
    }
}

fn make(mut setup: Setup<'_>) -> Result<Report, LabError> {
    let page = vmatlas_sys::page_size().bytes();
    let limit = Machine::read().limits.stack;
    let size = limit.map_or(UNLIMITED, |limit| limit.0.next_multiple_of(page));
    setup.set("size", Bytes(size));
    let mut lab = setup.begin(Vec::new())?;
    let threads = lab.settings.count("threads");
    // Some is needed for what every thread needs.
    let deep = lab.settings.size("use").0.min(size / 2);
    lab.set("n", threads);
    lab.set("page", Bytes(page));
    lab.set("deep", Bytes(deep));
    let fits = threads * (size + page) <= CACHE;
    let known = |lab: &Lab<'_>, expected: Expected| match GLIBC {
        true => expected,
        false => Expected::Unknown(lab.why("other-library")),
    };

    let started = lab.step("start", |lab| {
        let all = (0..threads).map(|_| start(lab)).collect::<Result<Vec<_>, _>>()?;
        lab.say("start");
        Ok(all)
    })?;
    let first = started.first().copied().unwrap_or(0);
    let grew = lab.after.virtual_size.0.saturating_sub(lab.before.virtual_size.0);
    let predicted = known(&lab, Expected::Is(Value::Bytes(threads * (size + page))));
    lab.fact("virtual", predicted, Measured::Is(Value::Bytes(grew)));
    let name = lab.own_unshown([WHO, first, 0, 0, 0])?.unwrap_or(0);
    let row = lab.after.row_at(Addr(name)).map_or(AddrRange::ALL, |row| row.range);
    // Where its upper neighbour is alike, older kernels make one VMA of both.
    let stack = part_of(row, 0, size / page).intersect(row).unwrap_or(row);
    let guard = guard_below(&lab, stack, row);
    lab.fact("guard", Expected::Is(Value::Word("---p".to_owned())), guard);
    let little = |least| Expected::Between(Value::Bytes(least), Value::Bytes(LITTLE));
    let fresh = lab.resident(stack)?;
    lab.fact("fresh", little(page), Measured::Is(Value::Bytes(fresh.0)));
    let below = AddrRange::from_len(Addr(stack.start().0.saturating_sub(2 * page)), Bytes(page));
    lab.draw("lower", part_of(below.unwrap_or(stack), 0, SHOWN), &[], &[])?;
    let upper = part_of(stack, (stack.len().0 / page).saturating_sub(SHOWN + 2), SHOWN);
    lab.draw("upper", upper, &[], &[])?;

    let lowest = lab.step("use", |lab| {
        let lowest = lab.own([USE, first, deep, 0, 0], &format!("/* thread 0 */ use_stack({deep})"))?;
        lab.say("use");
        Ok(lowest.unwrap_or(0))
    })?;
    lab.draw("used", upper, &[], &[])?;
    // What is below the lowest level may be touched by a call it makes: a page more.
    let used = stack.end().0.saturating_sub(lowest & !(page - 1));
    let predicted = Expected::Between(Value::Bytes(used), Value::Bytes(used + page));
    let resident = lab.resident(stack)?;
    lab.fact("used", predicted, Measured::Is(Value::Bytes(resident.0)));

    lab.step("end", |lab| {
        for fd in started {
            lab.own([END, fd, 0, 0, 0], "pthread_join(thread, NULL)")?.unwrap_or(0);
        }
        lab.say(if fits { "end" } else { "end-large" });
        Ok(())
    })?;
    lab.draw("ended", upper, &[], &[])?;
    let cached = |lab: &Lab<'_>, expected| match fits {
        true => known(lab, expected),
        false => Expected::Unknown(lab.why("cache")),
    };
    let shrank = lab.before.virtual_size.0.saturating_sub(lab.after.virtual_size.0);
    let predicted = cached(&lab, Expected::Is(Value::Bytes(0)));
    lab.fact("kept", predicted, Measured::Is(Value::Bytes(shrank)));
    let left = lab.resident(stack)?;
    lab.fact("given-back", cached(&lab, little(0)), Measured::Is(Value::Bytes(left.0)));

    let fd = lab.step("again", start)?;
    let grew = lab.after.virtual_size.0.saturating_sub(lab.before.virtual_size.0);
    let predicted = cached(&lab, Expected::Is(Value::Bytes(0)));
    lab.fact("again", predicted, Measured::Is(Value::Bytes(grew)));

    let ended = lab.step_alone("overflow", |lab| {
        let ended = ending(lab.own_unshown([USE, fd, u64::MAX, 0, 0]))?;
        lab.did_end(&ended, "/* thread */ use_stack(SIZE_MAX)");
        lab.say("overflow");
        Ok(ended)
    })?;
    let predicted = Expected::Is(Value::Word("SIGSEGV".to_owned()));
    lab.fact("signal", predicted, Measured::Is(Value::Word(signal_word(&ended))));
    Ok(lab.ended())
}

/// Starts a thread; the answer is the descriptor that stands for it.
fn start(lab: &mut Lab<'_>) -> Result<u64, LabError> {
    let reply = lab.own_unshown([START, 0, 0, 0, 0])?;
    lab.did("pthread_create(&thread, NULL, start, NULL)", reply.map(|_| "0".to_owned()));
    reply.map_err(|errno| LabError::Refused { length: Bytes(UNLIMITED), errno })
}

/// What the page below a stack allows.
fn guard_below(lab: &Lab<'_>, stack: AddrRange, row: AddrRange) -> Measured {
    let below = lab.after.row_at(Addr(stack.start().0.saturating_sub(1)));
    match below.map(|row| row.prot) {
        // From glibc 2.42 on it may be a mark in the page table (MADV_GUARD_INSTALL), inside of the VMA.
        prot if prot != Some(Prot::NONE) && row.len() > stack.len() => {
            Measured::NotRead(lab.why("guard-inside"))
        }
        Some(prot) => Measured::Is(Value::Word(format!("{prot}p"))),
        None => Measured::Is(Value::Word("-".to_owned())),
    }
}
