//! `vmatlas show`: one reading of a process, classified and drawn.

use crate::args::ShowArgs;
use crate::context::{Context, Stream};
use crate::subject::{self, Subject};
use crate::target::{self, explain};
use crate::{output, texts};
use anyhow::{Result, anyhow};
use serde_json::json;
use std::process::ExitCode;
use vmatlas_event::{Pid, VmaRow};
use vmatlas_model::kind::{Evidence, classify};
use vmatlas_proc::read::residency;
use vmatlas_proc::read::snapshot::Maps;
use vmatlas_proc::{Budget, MapsReader, ProcError, ProcRoot, Process, Residency};
use vmatlas_view::show::{Filter, Header, MapView, Options, ShowRow};

pub(crate) fn run(args: ShowArgs, context: &Context) -> Result<ExitCode> {
    let root = ProcRoot::system();
    let subject = match (&args.target, args.pid) {
        (_, Some(pid)) => Subject::Live(target::by_pid(&root, Pid(pid), context)?),
        (Some(name), None) => subject::open(&root, name, context)?,
        (None, None) => return Err(anyhow!("PID|NAME|FILE")),
    };
    let view = subject::read(&subject, !args.no_resident, context)?;
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

/// Reads a process once: map, pages, evidence, and says what each VMA is for.
pub(crate) fn read(process: &Process, pages: bool, context: &Context) -> Result<MapView> {
    read_map(process, pages).map_err(|error| explain(&error, context))
}

/// The same for a caller that goes on when it fails.
pub(crate) fn read_map(process: &Process, pages: bool) -> Result<MapView, ProcError> {
    let maps = MapsReader::new().read(process)?;
    let residency = match pages {
        true => Some(residency::read(process, &maps.rows, Budget::default())?),
        false => None,
    };
    let header = header(process, &maps, residency.as_ref())?;
    let evidence = evidence(process, &header);
    let verdicts = classify(&maps.rows, &evidence);
    let cost = json!({
        "maps_us": maps.cost.time.as_micros() as u64,
        "maps_bytes": maps.cost.bytes,
        "maps_calls": maps.cost.calls,
        "pages_us": residency.as_ref().map(|r| r.cost.time.as_micros() as u64),
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
        dumped: None,
    };
    let rows = rows.into_iter().zip(verdicts).map(row).collect();
    Ok(MapView { header, rows, pages_why: (!pages).then_some("not-read"), cost })
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
        source: None,
    })
}

fn evidence(process: &Process, header: &Header) -> Evidence {
    Evidence {
        page: vmatlas_sys::page_size(),
        exe: process.exe().and_then(|e| e.file),
        exe_path: header.exe.clone(),
        threads: process.threads().iter().map(|t| (t.tid, t.stack_pointer)).collect(),
        start_brk: process.stat().ok().and_then(|s| s.start_brk),
        unlabelled: None,
    }
}
