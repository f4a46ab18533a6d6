//! Static and dynamic linking: who makes the map before a program's first instruction of its own, and what is shared of it.

mod relocated;
mod tiny;

use crate::child::PEER_FDS;
use crate::command::Reply;
use crate::elf::Elf;
use crate::error::LabError;
use crate::facts::{Expected, Measured, Value};
use crate::info::{Info, Need, Setup};
use crate::lab::Lab;
use crate::report::{MapPart, Part, Report, TablePart};
use crate::say::Say;
use crate::settings::{Param, Takes};
use crate::state::State;
use crate::texts;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use vmatlas_event::{AddrRange, Bytes, Errno, VmaRow};
use vmatlas_sys::workbench::{Call, Workbench};
use vmatlas_view::{escape, units};

/// What is known of it before it is made.
pub(crate) static INFO: Info = Info::new("linking", (include_str!("en.md"), include_str!("ja.md")), make)
    .params(&[Param { name: "library", takes: Takes::Text("NAME", library), usual: "libc.so" }])
    .needs(&[Need::Root])
    .own(own);

/// A library is named by how its file's name begins.
fn library(name: &str) -> Result<(), String> {
    let is_name = !name.is_empty() && name.len() < 256 && !name.contains('/');
    if is_name {
        Ok(())
    } else {
        Err("the first letters of a library's file name, such as libgcc".to_owned())
    }
}

/// Makes the tiny program in the subject: a file in memory, which can be executed. The answer is its descriptor.
fn own(bench: &Workbench, _: [u64; 5]) -> Reply {
    const MFD_EXEC: u64 = 16;
    const EINVAL: Errno = Errno(22);
    const ENOSYS: Errno = Errno(38);
    let program = tiny::file(PEER_FDS[0]).ok_or(ENOSYS)?;
    let create = Call::named("memfd_create").ok_or(ENOSYS)?;
    let fd = match bench.call(create, [0, MFD_EXEC, 0, 0, 0, 0]) {
        // Before Linux 6.3 every such file could be executed.
        Err(EINVAL) => bench.call(create, [0; 6])?,
        other => other?,
    };
    let written = std::fs::write(format!("/proc/self/fd/{fd}"), program);
    written.map(|()| fd).map_err(|error| error.raw_os_error().map_or(ENOSYS, Errno))
}

fn make(mut setup: Setup<'_>) -> Result<Report, LabError> {
    let program = File::open("/proc/self/exe").ok().and_then(Elf::read).unwrap_or_default();
    let path = program.interpreter.clone().unwrap_or_default();
    let loader = File::open(OsStr::from_bytes(&path)).ok().and_then(Elf::read);
    let static_why = program.interpreter.is_none().then_some("static");
    setup.set("loader", if path.is_empty() { "-".to_owned() } else { escape::terminal(&path) });
    let mut lab = setup.begin(Vec::new())?;
    let page = lab.report.machine.page;
    let calls = lab.subject.watch().count();
    let own_state = State::read(lab.subject.process())?;
    static_program(&mut lab)?;

    let rows = lab.subject.watch().at_exec();
    lab.step_alone("exec", |lab| {
        match &rows {
            Some(rows) => map_part(lab, "label at-exec", rows.clone()),
            None => lab.say("untraced"),
        }
        lab.say("exec");
        Ok(())
    })?;
    let predicted = match (static_why, &loader) {
        (Some(why), _) => Expected::Unknown(lab.why(why)),
        (None, Some(loader)) => Expected::Is(Value::Count(program.vmas(page) + loader.vmas(page))),
        (None, None) => Expected::Unknown(lab.why("headers")),
    };
    let files = |rows: &[VmaRow]| rows.iter().filter(|row| row.has_file()).count() as u64;
    let untraced = Measured::NotRead(Say::new(texts::NEEDS_TRACER));
    let measured = rows.as_deref().map(|rows| Measured::Is(Value::Count(files(rows))));
    lab.fact("exec-vmas", predicted, measured.unwrap_or_else(|| untraced.clone()));

    lab.step_alone("loaded", |lab| {
        lab.set("calls", calls as u64);
        by_file(lab, &own_state);
        lab.say(if lab.subject.watch().blind().is_none() { "loaded" } else { "loaded-untraced" });
        Ok(())
    })?;
    let base = |path: &[u8]| path.rsplit(|byte| *byte == b'/').next().unwrap_or_default().to_vec();
    // musl's loader is its C library too, under another name.
    let needed = program.needed.iter().filter(|_| cfg!(target_env = "gnu")).cloned();
    let asked: BTreeSet<Vec<u8>> = needed.chain([base(&path)]).collect();
    let least = |n: usize| match static_why {
        Some(why) => Expected::Unknown(lab.why(why)),
        None => Expected::AtLeast(Value::Count(n as u64)),
    };
    // The program itself; and for each library but ld.so itself, which is there already, a call.
    let (least_files, least_calls) = (least(asked.len() + 1), least(asked.len().saturating_sub(1)));
    lab.fact("files", least_files, Measured::Is(Value::Count(names(&own_state).len() as u64)));
    let made = if lab.subject.watch().blind().is_some() {
        untraced
    } else {
        Measured::Is(Value::Count(calls as u64))
    };
    lab.fact("calls", least_calls, made);
    relocated::look(&mut lab, static_why)?;
    Ok(lab.end())
}

/// The map of a program without libraries.
fn static_program(lab: &mut Lab<'_>) -> Result<(), LabError> {
    let bytes = tiny::file(PEER_FDS[0]).map_or(0, |file| file.len() as u64);
    lab.set("bytes", bytes);
    let rows = lab.step_alone("static", |lab| {
        let rows = start_tiny(lab, bytes)?;
        lab.say(if rows.is_some() { "static" } else { "refused" });
        Ok(rows)
    })?;
    let of_file = |rows: Vec<VmaRow>| {
        let files = rows.iter().filter(|row| row.has_file());
        files.map(|row| row.range).collect::<Vec<AddrRange>>()
    };
    let seen = rows.map(of_file);
    let told = |lab: &Lab<'_>, value| {
        Option::map_or_else(value, || Measured::NotRead(lab.why("refused")), Measured::Is)
    };
    let count = seen.as_ref().map(|seen| Value::Count(seen.len() as u64));
    let size = seen.as_ref().map(|seen| Value::Bytes(seen.iter().map(|range| range.len().0).sum()));
    let start = seen.as_ref().and_then(|seen| seen.first()).map(|range| Value::Addr(range.start().0));
    let page = lab.page();
    for (id, predicted, measured) in [
        ("static-vmas", Value::Count(tiny::PIECES), count),
        ("static-bytes", Value::Bytes(tiny::PIECES * page), size),
        ("static-start", Value::Addr(tiny::START), start),
    ] {
        let measured = told(lab, measured);
        lab.fact(id, Expected::Is(predicted), measured);
    }
    Ok(())
}

/// Makes the tiny program, starts it, reads its map and ends it; `None` where that is not allowed or not possible.
fn start_tiny(lab: &mut Lab<'_>, bytes: u64) -> Result<Option<Vec<VmaRow>>, LabError> {
    let made = lab.own_unshown([0; 5])?;
    lab.did("fd = memfd_create(\"vmatlas-lab\", MFD_EXEC)", made.map(|fd| fd.to_string()));
    let Ok(fd) = made else { return Ok(None) };
    lab.did(format!("write(fd, program, {bytes})"), Ok(bytes.to_string()));
    let shown = format!("posix_spawn(&pid, \"/proc/self/fd/{fd}\", NULL, NULL, argv, environ)");
    let Ok(mut child) = lab.spawn(fd, &shown)? else { return Ok(None) };
    let rows = State::read(child.process())?.rows;
    map_part(lab, "label static-map", rows.clone());
    lab.end_child(&mut child)?.unwrap_or(0);
    Ok(Some(rows))
}

/// Shows a map whose pages are not of interest.
fn map_part(lab: &mut Lab<'_>, title: &str, rows: Vec<VmaRow>) {
    let title = lab.words(lab.report.info.text(title));
    lab.show(Part::Map(MapPart { title, since: None, rows, state: None }));
}

/// The files of a map.
fn names(state: &State) -> BTreeSet<&[u8]> {
    state.rows.iter().filter(|row| row.has_file()).map(VmaRow::name_bytes).collect()
}

/// Shows what is mapped, by file.
fn by_file(lab: &mut Lab<'_>, state: &State) {
    let mut sums: BTreeMap<&[u8], (u64, Bytes, Bytes)> = BTreeMap::new();
    for (row, pages) in
        state.rows.iter().zip(&state.pages).filter(|(row, _)| row.special() != Some(b"vsyscall"))
    {
        let name = if row.name.is_some() { row.name_bytes() } else { b"-" };
        let sum = sums.entry(name).or_default();
        *sum = (
            sum.0 + 1,
            sum.1 + row.range.len(),
            sum.2 + pages.map(|pages| pages.resident).unwrap_or_default(),
        );
    }
    let file = |name: &[u8]| escape::terminal(name.rsplit(|byte| *byte == b'/').next().unwrap_or(name));
    let line = |(name, (vmas, mapped, resident)): (&&[u8], &(u64, Bytes, Bytes))| {
        vec![file(name), units::count(*vmas), units::size(*mapped), units::size(*resident)]
    };
    let head = |name: &str| Say::new(lab.report.info.text(&format!("label {name}")));
    let heads = vec![head("file"), head("vmas"), head("mapped"), head("resident")];
    let rows = sums.iter().map(line).collect();
    lab.show(Part::Table(TablePart { heads, rows }));
}
