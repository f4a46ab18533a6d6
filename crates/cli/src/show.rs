//! `vmatlas show`: one reading of a process, classified and drawn.

use crate::args::ShowArgs;
use crate::context::{Context, Stream};
use crate::target::{self, explain};
use crate::{output, texts};
use anyhow::{Result, anyhow};
use serde_json::json;
use std::process::ExitCode;
use vmatlas_event::{Pid, VmaRow};
use vmatlas_model::kind::{Evidence, classify};
use vmatlas_proc::read::snapshot::Maps;
use vmatlas_proc::read::{deadline, residency, whole};
use vmatlas_proc::{Budget, ErrorKind, MapsReader, Method, ProcError, ProcRoot, Process, Residency};
use vmatlas_view::show::{Filter, Header, MapView, Options, ShowRow};

pub(crate) fn run(args: ShowArgs, context: &Context) -> Result<ExitCode> {
    let root = ProcRoot::system();
    let process = match (&args.target, args.pid) {
        (_, Some(pid)) => target::by_pid(&root, Pid(pid), context)?,
        (Some(name), None) => target::open(&root, name, context)?,
        (None, None) => return Err(anyhow!("PID|NAME")),
    };
    let pages = (!args.no_resident).then_some(Budget { method: args.method, ..Budget::of_hold(args.budget) });
    let view = read_in_time(&process, pages, context)?;
    let filter = Filter {
        kinds: args.kind,
        prot: args.prot,
        min_size: args.min_size,
        name: args.name.map(|n| n.into_encoded_bytes()),
        addr: args.addr,
    };
    if let Some(path) = &args.svg {
        let svg = vmatlas_view::picture::space::svg(&view, context.lang);
        std::fs::write(path, svg).map_err(|e| {
            let values: [(&str, &dyn std::fmt::Display); 2] = [("path", &path.display()), ("why", &e)];
            anyhow!(texts::CANNOT_WRITE.fill(context.lang, &values))
        })?;
        if !args.json {
            return Ok(ExitCode::SUCCESS);
        }
    }
    if args.json {
        output::print(|out| view.write_json(out, &filter, args.sort, args.summary))?;
        return Ok(ExitCode::SUCCESS);
    }
    let options = Options {
        lang: context.lang,
        style: context.style(Stream::Stdout),
        columns: context.columns(Stream::Stdout),
        filter,
        sort: args.sort,
        summary: args.summary,
        why_kind: args.why_kind,
    };
    if args.no_pager {
        output::print(|out| view.write_text(out, &options))?;
    } else {
        output::page(context, |out| view.write_text(out, &options))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// As [`read`], but left when the process does not answer; where only smaps can tell its pages, says so and reads that.
fn read_in_time(process: &Process, pages: Option<Budget>, context: &Context) -> Result<MapView> {
    let answer = deadline::run(process, deadline::LIMIT, move |process| read(process, pages));
    let answer = match (answer, pages) {
        (Err(error), Some(budget)) if error.kind() == ErrorKind::Unsupported && budget.method.is_none() => {
            eprintln!("vmatlas: {}", texts::ONLY_SMAPS.get(context.lang));
            let pages = Some(Budget { method: Some(Method::Smaps), ..budget });
            deadline::run(process, deadline::LIMIT, move |process| read(process, pages))
        }
        (answer, _) => answer,
    };
    answer.map_err(|error| explain(&error, context))
}

/// Reads a process once: map, pages, evidence, and says what each VMA is for.
pub(crate) fn read(process: &Process, pages: Option<Budget>) -> Result<MapView, ProcError> {
    let (maps, residency) = whole::read(process, |process| {
        let maps = MapsReader::new().read(process)?;
        let residency = pages.map(|budget| residency::read(process, &maps.rows, budget)).transpose()?;
        Ok((maps, residency))
    })?;
    let header = header(process, &maps, residency.as_ref())?;
    let evidence = evidence(process, &header);
    let verdicts = classify(&maps.rows, &evidence);
    let cost = json!({
        "maps_us": maps.cost.time.as_micros() as u64,
        "maps_bytes": maps.cost.bytes,
        "maps_calls": maps.cost.calls,
        "pages_us": residency.as_ref().map(|r| r.cost.time.as_micros() as u64),
        "pages_bytes": residency.as_ref().map(|r| r.cost.bytes),
        "pages_calls": residency.as_ref().map(|r| r.cost.calls),
        "pages_longest_hold_us": residency.as_ref().map(|r| r.cost.longest_hold.as_micros() as u64),
        "pages_method": residency.as_ref().map(|r| r.cost.method.id()),
    });
    let Maps { rows, .. } = maps;
    let mut per_row = residency.map(|r| r.per_row.into_iter());
    let row = |(vma, verdict): (VmaRow, _)| ShowRow {
        vma,
        verdict,
        pages: per_row.as_mut().and_then(|pages| pages.next().flatten()),
    };
    let rows = rows.into_iter().zip(verdicts).map(row).collect();
    Ok(MapView { header, rows, pages_why: pages.is_none().then_some("not-read"), cost })
}

fn header(process: &Process, maps: &Maps, residency: Option<&Residency>) -> Result<Header, ProcError> {
    let status = process.status()?;
    let stat = process.stat()?;
    let exe = process.exe();
    Ok(Header {
        pid: Some(process.pid()),
        name: stat.comm,
        exe: exe.map(|e| e.path).unwrap_or_default(),
        max_map_count: process.root().max_map_count(),
        virtual_size: status.vm_size,
        resident: status.vm_rss,
        threads: status.threads,
        leader_ended: process.leader_has_ended(),
        torn: maps.torn,
        zero_pages_counted: residency.is_some_and(Residency::counts_zero_pages),
    })
}

fn evidence(process: &Process, header: &Header) -> Evidence {
    Evidence {
        page: vmatlas_sys::page_size(),
        exe: process.exe().and_then(|e| e.file),
        exe_path: header.exe.clone(),
        threads: process.threads().iter().map(|t| (t.tid, t.stack_pointer)).collect(),
        start_brk: process.stat().ok().and_then(|s| s.start_brk),
    }
}
