//! Overcommit: what the kernel promises, what it counts of that, and when it refuses.

mod ways;

use crate::child::FILE_FD;
use crate::cleanup::Cleanup;
use crate::command::{Command, Reply};
use crate::error::LabError;
use crate::experiments::machine::calls::{args, expected, take, word};
use crate::facts::{Expected, Value};
use crate::files::Fixture;
use crate::info::{Info, Setup};
use crate::lab::{Lab, PRIVATE, READ, RW, status_word};
use crate::machine::Machine;
use crate::memory::Meminfo;
use crate::report::{Figure, Report};
use crate::say::Word;
use crate::settings::{Param, Takes};
use vmatlas_event::{Addr, AddrRange, Bytes, MapFlags};
use vmatlas_sys::workbench::Workbench;
use vmatlas_view::picture::talk::{Moment, NewArea, Panel, Talk, blocks};
use ways::{Way, counted, growth};

/// What is known of it before it is made.
pub(crate) static INFO: Info = Info::new("overcommit", (include_str!("en.md"), include_str!("ja.md")), make)
    .params(&[Param::size("size", "1GiB", 64 << 20, 1 << 40), MODE])
    .own(own);

/// The setting of the machine, changed for as long as the experiment takes. Not to 2: what all processes were promised is
/// usually above that limit already, and then none of them gets memory any more, nor can a process be started.
const MODE: Param = Param { name: "mode", takes: Takes::Word(&["0", "1"]), usual: "" };
const OVERCOMMIT: &str = "/proc/sys/vm/overcommit_memory";
const COLD: u64 = 20;
const RLIMIT_AS: u32 = 9;
/// MAP_SHARED | MAP_ANONYMOUS.
const SHARED: MapFlags = MapFlags(0x21);
const MAP_SHARED: MapFlags = MapFlags(1);
const NORESERVE: MapFlags = MapFlags(0x4022);
/// By how much the call that is too large is larger than all there is.
const MORE: u64 = 1 << 30;

fn own(bench: &Workbench, [limit, ..]: [u64; 5]) -> Reply {
    bench.limit(RLIMIT_AS, limit).map(|()| 0)
}

fn make(mut setup: Setup<'_>) -> Result<Report, LabError> {
    let mode = setup.settings.text("mode").map(|mode| |_: &str| mode.to_owned());
    let _cleanup = Cleanup::with_setting(OVERCOMMIT, mode)?;
    let fixture = Fixture::new(&[1])?;
    let machine = Machine::read();
    let (mode, page) = (machine.overcommit, machine.page.bytes());
    let size = setup.settings.size("size").0.next_multiple_of(page);
    let total = machine.memory.total.unwrap_or(Bytes(MORE));
    let much = (total.0 + MORE).next_multiple_of(page);
    let each = (total.0 / 4 * 3).next_multiple_of(page);
    setup.set("mode", mode.map_or_else(|| Word::from("?"), |mode| Word::from(mode.to_string())));
    setup.set("all", total);
    setup.set("much", Bytes(much));
    setup.set("each", Bytes(each));
    let now = Meminfo::now();
    let known = |key: &str| now.size(key).map_or_else(|| Word::from("?"), Word::from);
    setup.set("size", Bytes(size));
    setup.set("committed", known("Committed_AS"));
    setup.set("limit", known("CommitLimit"));
    setup.set("ram", known("MemTotal"));
    setup.set("swap", known("SwapTotal"));
    let mut lab = setup.begin(vec![fixture.read_write()?])?;
    lab.step_alone("look", |lab| {
        let name = match mode {
            Some(0) => "mode-0",
            Some(1) => "mode-1",
            Some(2) => "mode-2",
            _ => "mode-unknown",
        };
        lab.say(name);
        Ok(())
    })?;

    let way = |id, prot, flags, counts| Way { id, prot, flags, fd: -1, later: false, counts };
    let ways = [
        way("writable", RW, PRIVATE, true),
        way("shared", RW, SHARED, true),
        way("read-only", READ, PRIVATE, false),
        Way { fd: FILE_FD, ..way("file", RW, MAP_SHARED, false) },
        way("noreserve", RW, NORESERVE, mode == Some(2)),
    ];
    let seen = lab.step_alone("ways", |lab| {
        ways.iter().map(|way| growth(lab, way, size)).collect::<Result<Vec<_>, _>>()
    })?;
    for (way, seen) in ways.iter().zip(seen) {
        counted(&mut lab, way, size, seen);
    }
    let later = Way { later: true, ..way("later", READ, PRIVATE, true) };
    let seen = lab.step_alone("later", |lab| growth(lab, &later, size))?;
    counted(&mut lab, &later, size, seen);

    let before = lab.subject.state()?;
    let (to_write, to_read) = (args(much, RW, PRIVATE, -1), args(much, READ, PRIVATE, -1));
    let (writes, reads) = (expected(&lab, &to_write), expected(&lab, &to_read));
    let (written, read) = lab.step_alone("too-much", |lab| {
        let written = take(lab, to_write)?;
        let read = take(lab, to_read)?;
        for area in [written, read].into_iter().flatten() {
            lab.unmap(area)?.unwrap_or(0);
        }
        lab.say("too-much");
        Ok((written, read))
    })?;
    lab.fact("too-much", writes, word(written));
    lab.fact("only-read", reads, word(read));

    // Each alone is less than there is: mode 0 does not add them up.
    let call = args(each, RW, PRIVATE, -1);
    let predicted = expected(&lab, &call);
    let (first, second) = lab.step("together", |lab| {
        let (first, second) = (take(lab, call)?, take(lab, call)?);
        lab.say("together");
        Ok((first, second))
    })?;
    let both = first.and_then(|first| second.map(|second| first.hull(second)));
    let predicted = match mode {
        Some(2) => Expected::Unknown(lab.why("strict")),
        // Since 5.2 (mm/util.c:__vm_enough_memory()); a length of 0 only asks whether the advice is known.
        Some(0) if lab.call_unshown("madvise", [0, 0, COLD, 0, 0, 0])?.is_err() => {
            Expected::Unknown(lab.why("old"))
        }
        _ => predicted,
    };
    lab.fact("together", predicted, word(both));
    let mut touched = 0;
    for area in [first, second].into_iter().flatten() {
        touched += lab.resident(area)?.0 / page;
    }
    lab.is("touched", Value::Pages(0), Value::Pages(touched));
    let area = both.ok().filter(|both| both.len().0 == 2 * each).or(first.ok());
    draw(&mut lab, &before, area.map(|area| (area, touched)));

    let reply = lab.step_alone("limit", |lab| {
        // A fork would have to promise all of it once more.
        for area in [first, second].into_iter().flatten() {
            lab.unmap(area)?.unwrap_or(0);
        }
        limited(lab, size)
    })?;
    lab.is("limit", Value::Word("ENOMEM".to_owned()), Value::Word(status_word(reply)));
    Ok(lab.end())
}

/// A child lowers its limit of addresses, and asks for more.
fn limited(lab: &mut Lab<'_>, size: u64) -> Result<Reply, LabError> {
    let mut child = lab.fork()?;
    let has = child.process().status()?.vm_size.unwrap_or_default().0;
    let limit = has + size / 2;
    lab.set("has", Bytes(has));
    lab.set("may", Bytes(limit));
    let order = lab.own_command([limit, 0, 0, 0, 0]);
    let reply = child.command(order).map_err(|how| LabError::Ended { how })?;
    lab.did_child(&child, format!("setrlimit(RLIMIT_AS, {limit})"), reply.map(|_| "0".to_owned()));
    let reply =
        child.command(Command::Mmap(args(size, READ, PRIVATE, -1))).map_err(|how| LabError::Ended { how })?;
    let shown = format!("mmap(NULL, {size}, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)");
    lab.did_child(&child, shown, reply.map(|at| Addr(at).to_string()));
    lab.end_child(&mut child)?.unwrap_or(0);
    lab.say("limit");
    Ok(reply)
}

/// The address space before and after the two large calls, beside physical memory.
fn draw(lab: &mut Lab<'_>, before: &crate::state::State, area: Option<(AddrRange, u64)>) {
    let page = lab.page();
    let mut panels =
        vec![Panel { moment: Moment::Before, blocks: blocks(&before.rows, &before.pages, None) }];
    if let Some((area, resident_pages)) = area {
        let new = NewArea { pages: area.len().0 / page, resident_pages, frames: Vec::new() };
        let blocks = blocks(&lab.after.rows, &lab.after.pages, Some((area, new)));
        panels.push(Panel { moment: Moment::AfterCall, blocks });
    }
    lab.report.figure = Some(Figure::Talk(Talk { panels }));
}
