//! `vmatlas show`: one reading of a process, classified and drawn.

pub(crate) mod more;
pub(crate) mod words;

use crate::args::ShowArgs;
use crate::context::{Context, Stream};
use crate::subject::{self, Subject};
use crate::target::{self, explain};
use crate::{output, texts};
use anyhow::{Result, anyhow};
use serde_json::json;
use std::process::ExitCode;
use vmatlas_event::{Bytes, Pid};
use vmatlas_model::kind::{Evidence, classify};
use vmatlas_proc::read::snapshot::Maps;
use vmatlas_proc::read::whole::{self, Space};
use vmatlas_proc::read::{backing, frames, residency};
use vmatlas_proc::{Budget, MapsReader, ProcError, ProcRoot, Process, Residency};
use vmatlas_view::show::{Filter, Header, MapView, Missing, Need, Options, ShowRow, Sort};

pub(crate) fn run(args: ShowArgs, context: &Context) -> Result<ExitCode> {
    let root = ProcRoot::system();
    let subject = match (&args.target, args.pid) {
        (_, Some(pid)) => Subject::Live(target::by_pid(&root, Pid(pid), context)?),
        (Some(name), None) => subject::open(&root, name, context)?,
        (None, None) => return Err(anyhow!("PID|NAME|FILE")),
    };
    let show = args.columns.unwrap_or_default();
    let sort_needs = |need| matches!(args.sort, Sort::By(column) if column.need() == need);
    let wanted = Wanted {
        pages: !args.no_resident,
        frames: show.needs(Need::Frames) || sort_needs(Need::Frames),
        smaps: args.smaps,
        policies: args.smaps && args.map_count,
    };
    let view = subject::read(&subject, wanted, context)?;
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
        output::print(|out| match args.map_count {
            true => view.write_map_count_json(out),
            false => view.write_json(out, &filter, args.sort, &show, args.summary),
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    let options = Options {
        lang: context.lang,
        style: context.style(Stream::Stdout),
        columns: context.columns(Stream::Stdout),
        filter,
        sort: args.sort,
        show,
        summary: args.summary,
        why_kind: args.why_kind,
    };
    let write = |out: &mut dyn std::fmt::Write| match args.map_count {
        true => view.write_map_count(out, &options),
        false => view.write_text(out, &options),
    };
    if args.no_pager {
        output::print(write)?;
    } else {
        output::page(context, write)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What is read beside the map.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) pages: bool,
    pub(crate) frames: bool,
    pub(crate) smaps: bool,
    /// Memory policies, together with smaps.
    pub(crate) policies: bool,
}

impl Wanted {
    /// Which pages are resident, and no more.
    pub(crate) const PAGES: Wanted = Wanted { pages: true, frames: false, smaps: false, policies: false };
}

/// Reads a process once: map, what else is wanted, evidence, and says what each VMA is for.
pub(crate) fn read(process: &Process, wanted: Wanted, context: &Context) -> Result<MapView> {
    let fail = |error| explain(&error, context);
    let space = Space::of(process).map_err(fail)?;
    let mut view = read_map(process, wanted).map_err(fail)?;
    if wanted.smaps {
        let ms = more::smaps_hold_ms(&view, wanted.policies);
        let values: [(&str, &dyn std::fmt::Display); 2] = [("pid", &process.pid()), ("ms", &ms)];
        crate::complain(context, &texts::READING_SMAPS.fill(context.lang, &values));
        more::smaps(process, wanted.policies, &mut view).map_err(fail)?;
        space.still().map_err(fail)?;
    }
    Ok(view)
}

/// The same without smaps, for a caller that goes on when it fails.
pub(crate) fn read_map(process: &Process, wanted: Wanted) -> Result<MapView, ProcError> {
    whole::read(process, |process| read_map_once(process, wanted))
}

fn read_map_once(process: &Process, wanted: Wanted) -> Result<MapView, ProcError> {
    let maps = MapsReader::new().read(process)?;
    let (residency, frames) = match (wanted.pages, wanted.frames) {
        (true, true) => {
            let frames = frames::read(process, &maps.rows, Budget::default())?;
            (Some(frames.pages.clone()), Some(frames))
        }
        (true, false) => (Some(residency::read(process, &maps.rows, Budget::default())?), None),
        (false, _) => (None, None),
    };
    let header = header(process, &maps, residency.as_ref())?;
    let evidence = evidence(process, &header);
    let verdicts = classify(&maps.rows, &evidence);
    let backings = backing::read(process, &maps.rows);
    let cost = json!({
        "maps_us": maps.cost.time.as_micros() as u64,
        "maps_bytes": maps.cost.bytes,
        "maps_calls": maps.cost.calls,
        "pages_us": residency.as_ref().map(|r| r.cost.time.as_micros() as u64),
        "pages_calls": residency.as_ref().map(|r| r.cost.calls),
        "pages_longest_hold_us": residency.as_ref().map(|r| r.cost.longest_hold.as_micros() as u64),
        "pages_method": residency.as_ref().map(|r| r.cost.method.id()),
    });
    let mut rows: Vec<ShowRow> = maps
        .rows
        .iter()
        .zip(verdicts)
        .zip(backings)
        .map(|((vma, verdict), backing)| ShowRow { backing, ..ShowRow::new(vma.clone(), verdict) })
        .collect();
    for (row, pages) in rows.iter_mut().zip(residency.into_iter().flat_map(|r| r.per_row)) {
        row.pages = pages;
    }
    let mut view = MapView {
        header,
        rows,
        pages_why: (!wanted.pages).then_some("not-read"),
        frames_why: Some(Missing::NotRead),
        has_smaps: false,
        swap_is_empty: process.root().swap_is_empty(),
        nothing_is_locked: process.status().is_ok_and(|status| status.vm_lck == Some(Bytes(0))),
        cost,
    };
    if let Some(frames) = frames {
        more::frames(frames, &mut view);
    }
    Ok(view)
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
