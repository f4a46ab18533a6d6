//! fork and exec: the map is copied and then thrown away; what is kept, and what posix_spawn spares.

use crate::command::Command;
use crate::error::LabError;
use crate::facts::{Expected, Measured, Value};
use crate::files::memfd_noexec;
use crate::info::{Info, Need, Setup};
use crate::lab::{Lab, RW};
use crate::report::{Part, Report, SizeRow};
use crate::say::Say;
use crate::settings::Param;
use crate::squares::part_of;
use crate::state::State;
use crate::subject::Peer;
use crate::{machine, randomised::Randomised, texts};
use vmatlas_event::{AddrRange, Bytes, Pid};
use vmatlas_proc::Process;
use vmatlas_sys::mem::Touch;

/// What is known of it before it is made.
pub(crate) static INFO: Info = Info::new("fork-exec", (include_str!("en.md"), include_str!("ja.md")), make)
    .params(&[Param::size("size", "16MiB", 64 << 10, 1 << 30)])
    .needs(&[Need::Root]);

const MFD_CLOEXEC: u64 = 1;
const MFD_NOEXEC_SEAL: u64 = 8;
const MADV_NOHUGEPAGE: u64 = 15;
/// Bytes of an entry of a page table.
const ENTRY: u64 = 8;
/// Faults beside those of the area: the stack, the C library's data.
const OTHERS: u64 = 16;
/// Pages in the picture.
const SHOWN: u64 = 6;

/// What two processes have together.
#[derive(Clone, Copy)]
struct Sum {
    mapped: Bytes,
    tables: Option<Bytes>,
}

fn make(mut setup: Setup<'_>) -> Result<Report, LabError> {
    let page = vmatlas_sys::page_size();
    let size = page.round_up(setup.settings.size("size")).unwrap_or(Bytes(page.bytes()));
    let pages = size.0 / page.bytes();
    setup.set("size", size);
    setup.set("n", pages);
    let mut lab = setup.begin(Vec::new())?;
    lab.warn_of(size);
    let (area, kept, closed) = lab.step("map", |lab| prepare(lab, pages * page.bytes()))?;
    let shown = part_of(area, 0, SHOWN);
    lab.draw("map", shown, &[], &[])?;
    let alone = sum(&[lab.subject.process()])?;

    let mut child = lab.step("fork", |lab| {
        let child = lab.fork()?;
        lab.set("child", child.pid().to_string());
        let both = sum(&[lab.subject.process(), child.process()])?;
        show_sum(lab, alone, both);
        lab.say("fork");
        Ok(child)
    })?;
    let both = sum(&[lab.subject.process(), child.process()])?;
    let own = State::read(child.process())?;
    lab.is("same-map", Value::Yes(true), Value::Yes(lab.after.changes(&own).is_empty()));
    lab.is("twice", Value::Bytes(2 * alone.mapped.0), Value::Bytes(both.mapped.0));
    // A table is a page.
    let least = pages.div_ceil(page.bytes() / ENTRY) * page.bytes();
    let tables = match child.process().status()?.vm_pte {
        Some(tables) => Measured::Is(Value::Bytes(tables.0)),
        None => Measured::NotRead(lab.why("tables")),
    };
    lab.fact("tables", Expected::AtLeast(Value::Bytes(least)), tables);
    lab.draw("fork", shown, &[], &[("child", child.process())])?;

    let old = program(&own);
    let pid = lab.step_alone("exec", |lab| {
        let pid = exec(lab, &mut child)?;
        let now = sum(&[lab.subject.process(), child.process()])?;
        show_sum(lab, both, now);
        lab.say("exec");
        Ok(pid)
    })?;
    lab.is("pid", Value::Yes(true), Value::Yes(pid == child.pid()));
    let left = Lab::pages_in(child.process(), area)?.iter().filter(|seen| seen.present).count();
    lab.is("gone", Value::Pages(0), Value::Pages(left as u64));
    let is_open =
        |child: &Peer, fd: u64| std::fs::symlink_metadata(format!("/proc/{}/fd/{fd}", child.pid())).is_ok();
    lab.is("kept", Value::Yes(true), Value::Yes(is_open(&child, kept)));
    lab.is("closed", Value::Yes(true), Value::Yes(!is_open(&child, closed)));
    let new = program(&State::read(child.process())?);
    let moves = Randomised::read(page).and_then(|how| Some(how.is_on()? && how.is_pie));
    let moves =
        moves.map_or_else(|| Expected::Unknown(lab.why("setting")), |yes| Expected::Is(Value::Yes(yes)));
    lab.fact("moved", moves, Measured::Is(Value::Yes(old != new)));
    lab.draw("exec", shown, &[], &[("child", child.process())])?;

    write_again(&mut lab, "write-after-fork", "fork-faults", area, pages)?;
    lab.step_alone("end", |lab| lab.end_child(&mut child))?.unwrap_or(0);

    let spawned = lab.step("spawn", |lab| {
        let spawned = lab.spawn(0, "posix_spawn(&pid, \"/proc/self/exe\", NULL, NULL, argv, environ)")?;
        lab.say("spawn");
        Ok(spawned)
    })?;
    let mut spawned = spawned.map_err(|errno| LabError::Start { why: vmatlas_sys::errno_text(errno) })?;
    lab.draw("spawn", shown, &[], &[("spawned", spawned.process())])?;
    write_again(&mut lab, "write-after-spawn", "spawn-faults", area, 0)?;
    lab.step_alone("end-spawned", |lab| lab.end_child(&mut spawned))?.unwrap_or(0);
    Ok(lab.end())
}

/// An area with all its pages written, and two descriptors: one that stays open at exec, and one that is closed.
fn prepare(lab: &mut Lab<'_>, size: u64) -> Result<(AddrRange, u64, u64), LabError> {
    let area = lab.map(size, RW)?;
    // Page by page, whatever the machine would do by itself; where there are no huge pages, this is refused.
    let at = area.start();
    let _ = lab.call(
        "madvise",
        [at.0, size, MADV_NOHUGEPAGE, 0, 0, 0],
        format!("madvise({at}, {size}, MADV_NOHUGEPAGE)"),
    )?;
    lab.touch(area, 0, size / lab.page(), Touch::Write)?.unwrap_or(0);
    let strict = memfd_noexec();
    let mut open = |flags: u64, word: &str| {
        let flags = if strict { flags | MFD_NOEXEC_SEAL } else { flags };
        let fd = lab.call(
            "memfd_create",
            [0, flags, 0, 0, 0, 0],
            format!("memfd_create(\"vmatlas-lab\", {word})"),
        )?;
        fd.map_err(|errno| LabError::Refused { length: Bytes(0), errno })
    };
    let (kept, closed) = (open(0, "0")?, open(MFD_CLOEXEC, "MFD_CLOEXEC")?);
    lab.set("kept", kept.to_string());
    lab.set("closed", closed.to_string());
    lab.say("map");
    Ok((area, kept, closed))
}

/// Lets the child execute vmatlas again: the PID that the new program says it has.
fn exec(lab: &mut Lab<'_>, child: &mut Peer) -> Result<Pid, LabError> {
    let reply = child.command(Command::Exec).map_err(|how| LabError::Ended { how })?;
    lab.did_child(child, "execve(\"/proc/self/exe\", argv, environ)", reply.map(|_| String::new()));
    reply.map(|pid| Pid(pid as i32)).map_err(|errno| LabError::Start { why: vmatlas_sys::errno_text(errno) })
}

/// Writes to all pages of the area again; `faults` of them are to raise one.
fn write_again(
    lab: &mut Lab<'_>,
    step: &'static str,
    fact: &'static str,
    area: AddrRange,
    faults: u64,
) -> Result<(), LabError> {
    let pages = area.len().0 / lab.page();
    lab.step(step, |lab| {
        lab.touch(area, 0, pages, Touch::Write)?.unwrap_or(0);
        lab.say(step);
        Ok(())
    })?;
    let seen = lab.after.minor_faults.saturating_sub(lab.before.minor_faults);
    let predicted = match machine::is_user_mode() {
        true => Expected::Unknown(lab.why("user-mode")),
        false => Expected::Between(Value::Count(faults), Value::Count(faults + OTHERS)),
    };
    lab.fact(fact, predicted, Measured::Is(Value::Count(seen)));
    Ok(())
}

fn sum(processes: &[&Process]) -> Result<Sum, LabError> {
    let mut sum = Sum { mapped: Bytes(0), tables: Some(Bytes(0)) };
    for process in processes {
        let status = process.status()?;
        sum.mapped += status.vm_size.unwrap_or_default();
        sum.tables = sum.tables.zip(status.vm_pte).map(|(a, b)| a + b);
    }
    Ok(sum)
}

/// Shows what parent and child have together, before and after.
fn show_sum(lab: &mut Lab<'_>, before: Sum, after: Sum) {
    let together = |what| Say::new(lab.report.info.text("label together")).with("what", Say::new(what));
    let mut rows = vec![SizeRow {
        what: together(texts::VIRTUAL_SIZE),
        before: Some(before.mapped),
        after: after.mapped,
    }];
    if let (Some(before), Some(after)) = (before.tables, after.tables) {
        let what = together(lab.report.info.text("label tables"));
        rows.push(SizeRow { what, before: Some(before), after });
    }
    lab.show(Part::Sizes(rows));
}

/// Where the program begins: the lowest file of the map.
fn program(state: &State) -> Option<AddrRange> {
    state.rows.iter().find(|row| row.has_file()).map(|row| row.range)
}
