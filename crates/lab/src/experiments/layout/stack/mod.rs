//! The main thread's stack: it grows by itself, down to its limit, and keeps a distance to what is below.

use crate::command::{Command, Reply};
use crate::error::LabError;
use crate::facts::{Expected, Measured, Value};
use crate::info::{Info, Need, Setup};
use crate::lab::{Lab, RW, status_word};
use crate::machine::{Machine, limits};
use crate::report::Report;
use crate::say::{Say, Word};
use crate::settings::Param;
use crate::squares::part_of;
use crate::subject::Peer;
use crate::texts;
use vmatlas_event::{Addr, AddrRange, Bytes, MapFlags, VmaRow};
use vmatlas_sys::mem::MmapArgs;
use vmatlas_sys::stacks;
use vmatlas_sys::workbench::Workbench;

/// What is known of it before it is made.
pub(crate) static INFO: Info = Info::new("stack", (include_str!("en.md"), include_str!("ja.md")), make)
    .params(&[Param::size("use", "1MiB", 1, 4 << 20), LIMIT])
    .needs(&[Need::Root])
    .own(own);

/// The limit of the child that uses up its stack.
const LIMIT: Param = Param::size("limit", "", 256 << 10, MOST);
const RLIMIT_STACK: u32 = 3;
/// More than this is not used up: it would take too much memory.
const MOST: u64 = 64 << 20;
/// The limit that is set instead.
const USUAL: u64 = 8 << 20;
/// How far below the stack something is mapped, beyond the distance that the stack keeps.
const ROOM: u64 = 256 << 10;
/// MAP_SHARED | MAP_ANONYMOUS.
const SHARED: MapFlags = MapFlags(0x21);
/// MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE.
const AT_PLACE: MapFlags = MapFlags(0x10_0022);
/// Pages in the picture.
const SHOWN: u64 = 6;

/// Uses so many bytes of stack, after setting a limit for it where one is given.
fn own(bench: &Workbench, [bytes, page, limit, ..]: [u64; 5]) -> Reply {
    stacks::die_of_overflow();
    if limit > 0 {
        bench.limit(RLIMIT_STACK, limit)?;
    }
    let progress = if page > 0 { stacks::Progress::in_page(bench, Addr(page)) } else { None };
    Ok(stacks::use_stack(Bytes(bytes), progress.as_ref()).0)
}

fn make(mut setup: Setup<'_>) -> Result<Report, LabError> {
    let own_limit = Machine::read().limits.stack;
    let none = setup.info.text("why no-limit");
    setup.set("limit", own_limit.map_or(Word::from(none), Word::from));
    setup.set("gap", Bytes(gap()));
    let mut lab = setup.begin(Vec::new())?;
    let page = lab.page();
    // A limit that is too large is lowered, in the child alone.
    let asked = lab.settings.text("limit").map(|_| lab.settings.size("limit").0);
    let lowered = asked.or(own_limit.is_none_or(|limit| limit.0 > MOST).then_some(USUAL)).unwrap_or(0);
    let deep = lab.settings.size("use").0.min(own_limit.map_or(MOST, |limit| limit.0 / 2));
    lab.set("deep", Bytes(deep));

    let old = stack_of(&lab);
    lab.set("size", old.len());
    lab.set("range", old);
    lab.step_alone("look", |lab| {
        lab.say("look");
        Ok(())
    })?;
    let below = AddrRange::from_len(Addr(old.start().0.saturating_sub(3 * page)), Bytes(page)).unwrap_or(old);
    lab.draw("look", part_of(below, 0, SHOWN), &[], &[])?;

    let calls = lab.subject.watch().count();
    let lowest = lab.step("use", |lab| Ok(lab.own([deep, 0, 0, 0, 0], &shown(deep))?.unwrap_or(0)))?;
    lab.draw("use", part_of(below, 0, SHOWN), &[], &[])?;
    let new = stack_of(&lab);
    let size = old.len().0.max(old.end().0 - (lowest & !(page - 1)));
    // A call that the lowest level makes may touch a page more.
    let predicted = Expected::Between(Value::Pages(size / page), Value::Pages(size / page + 1));
    lab.fact("grew", predicted, Measured::Is(Value::Pages(new.len().0 / page)));
    let calls = match lab.subject.watch().blind() {
        Some(_) => Measured::NotRead(Say::new(texts::NEEDS_TRACER)),
        None => Measured::Is(Value::Count((lab.subject.watch().count() - calls) as u64)),
    };
    lab.fact("calls", Expected::Is(Value::Count(0)), calls);
    let resident = lab.resident(new)?;
    lab.fact("resident", Expected::AtLeast(Value::Bytes(deep)), Measured::Is(Value::Bytes(resident.0)));

    lab.step("again", |lab| Ok(lab.own([deep, 0, 0, 0, 0], &shown(deep))?.unwrap_or(0)))?;
    let faults = lab.after.minor_faults.saturating_sub(lab.before.minor_faults);
    lab.is("again", Value::Count(0), Value::Count(faults));

    let (progress, limit, end) = lab.step_alone("limit", |lab| {
        let progress = lab.map_with(page, RW, SHARED, -1)?.start();
        let mut child = lab.fork()?;
        let limit = limit_of(lab, &mut child, lowered)?;
        lab.set("bound", limit);
        Ok((progress, limit, overflow(lab, child, progress)?))
    })?;
    // What it has is not taken away by a lower limit.
    let most = |limit: Bytes| (limit.0 / page * page).max(new.len().0);
    let reached = new.end().0.saturating_sub(end.lowest & !(page - 1));
    lab.is("reached", Value::Bytes(most(limit)), Value::Bytes(reached));
    lab.is("signal", Value::Word("SIGSEGV".to_owned()), Value::Word(end.how));

    let neighbour = part_of(new, 0, 1).start().0.saturating_sub(gap() + ROOM + page);
    lab.set("neighbour", Addr(neighbour));
    let (limit, end) = lab.step_alone("gap", |lab| {
        let mut child = lab.fork()?;
        let limit = limit_of(lab, &mut child, lowered)?;
        let args = MmapArgs {
            addr: Addr(neighbour),
            len: Bytes(page),
            prot: RW,
            flags: AT_PLACE,
            fd: -1,
            offset: 0,
        };
        let reply = child.command(Command::Mmap(args)).unwrap_or(Ok(0));
        lab.did_child(
            &child,
            format!("mmap({}, {page}, ...)", args.addr),
            reply.map(|at| Addr(at).to_string()),
        );
        Ok((limit, overflow(lab, child, progress)?))
    })?;
    let distance = (end.lowest & !(page - 1)).saturating_sub(neighbour + page);
    // A limit that is reached before keeps it farther away.
    let at_limit = new.end().0.saturating_sub(most(limit)).saturating_sub(neighbour + page);
    lab.is("gap", Value::Bytes(gap().max(at_limit)), Value::Bytes(distance));
    Ok(lab.end())
}

/// How a child that used up its stack ended, and how deep it came.
struct End {
    lowest: u64,
    how: String,
}

/// Lets a child use up its stack. What it writes to the shared page outlives it.
fn overflow(lab: &mut Lab<'_>, mut child: Peer, progress: Addr) -> Result<End, LabError> {
    let order = lab.own_command([u64::MAX, progress.0, 0, 0, 0]);
    let answer = child.command(order).ok().and_then(Result::ok);
    lab.did_end_child(&child, answer, "use_stack(SIZE_MAX)");
    let status = lab.end_child(&mut child)?;
    let mut lowest = [0; 8];
    for (byte, at) in lowest.iter_mut().zip(progress.0..) {
        *byte = lab.command(Command::Peek(Addr(at)))?.unwrap_or(0) as u8;
    }
    let lowest = u64::from_ne_bytes(lowest);
    lab.set("lowest", Addr(lowest));
    lab.say("deep");
    Ok(End { lowest, how: status_word(status) })
}

/// Sets a child's limit where one is given, and reads it.
fn limit_of(lab: &mut Lab<'_>, child: &mut Peer, wanted: u64) -> Result<Bytes, LabError> {
    if wanted > 0 {
        let order = lab.own_command([1, 0, wanted, 0, 0]);
        let reply = child.command(order).unwrap_or(Ok(0));
        lab.did_child(child, format!("setrlimit(RLIMIT_STACK, {wanted})"), reply.map(|_| "0".to_owned()));
    }
    let text = child.process().read_file("limits")?;
    Ok(limits(&String::from_utf8_lossy(&text)).stack.unwrap_or(Bytes(u64::MAX)))
}

/// The kernel's own name for it: [stack].
fn stack_of(lab: &Lab<'_>) -> AddrRange {
    let is_stack = |row: &&VmaRow| row.special() == Some(b"stack");
    lab.after.rows.iter().find(is_stack).map_or(AddrRange::ALL, |row| row.range)
}

fn shown(bytes: u64) -> String {
    format!("use_stack({bytes})")
}

/// The distance that a stack keeps: 256 pages, or what the kernel was started with (stack_guard_gap).
fn gap() -> u64 {
    let text = std::fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let given =
        text.split_whitespace().rev().find_map(|word| word.strip_prefix("stack_guard_gap=")?.parse().ok());
    given.unwrap_or(256) * vmatlas_sys::page_size().bytes()
}
