//! One reading of a living process, as `show` and others need it.

use super::more;
use crate::context::Context;
use crate::target::explain;
use crate::texts;
use anyhow::Result;
use serde_json::json;
use vmatlas_event::Bytes;
use vmatlas_model::kind::{Evidence, classify};
use vmatlas_proc::read::snapshot::Maps;
use vmatlas_proc::read::whole::{self, Space};
use vmatlas_proc::read::{backing, deadline, frames, residency};
use vmatlas_proc::{Budget, ErrorKind, MapsReader, Method, ProcError, Process, Residency};
use vmatlas_view::show::{Header, MapView, Missing, ShowRow};

/// What is read beside the map.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wanted {
    /// The pages, and how the reading is to bound itself.
    pub(crate) pages: Option<Budget>,
    pub(crate) frames: bool,
    pub(crate) smaps: bool,
    /// Memory policies, together with smaps.
    pub(crate) policies: bool,
}

impl Wanted {
    /// Which pages are resident, and no more.
    pub(crate) fn pages() -> Wanted {
        Wanted { pages: Some(Budget::default()), ..Wanted::default() }
    }
}

/// Reads a process once: map, what else is wanted, evidence, and says what each VMA is for.
///
/// A process that does not answer is left; where only smaps can tell its pages, says so and reads that.
pub(crate) fn read(process: &Process, wanted: Wanted, context: &Context) -> Result<MapView> {
    let fail = |error| explain(&error, context);
    let space = Space::of(process).map_err(fail)?;
    let answer = deadline::run(process, deadline::LIMIT, move |process| read_map(process, wanted));
    let answer = match (answer, wanted.pages) {
        (Err(error), Some(budget)) if error.kind() == ErrorKind::Unsupported && budget.method.is_none() => {
            crate::complain(context, texts::ONLY_SMAPS.get(context.lang));
            let pages = Some(Budget { method: Some(Method::Smaps), ..budget });
            let wanted = Wanted { pages, frames: false, ..wanted };
            deadline::run(process, deadline::LIMIT, move |process| read_map(process, wanted))
        }
        (answer, _) => answer,
    };
    let mut view = answer.map_err(fail)?;
    if wanted.smaps {
        let ms = more::smaps_hold_ms(&view, wanted.policies);
        let values: [(&str, &dyn std::fmt::Display); 2] = [("pid", &process.pid()), ("ms", &ms)];
        crate::complain(context, &texts::READING_SMAPS.fill(context.lang, &values));
        more::smaps(process, wanted.policies, &mut view).map_err(fail)?;
        space.still().map_err(fail)?;
    }
    Ok(view)
}

/// The same without smaps and without a deadline, for a caller that goes on when it fails.
pub(crate) fn read_map(process: &Process, wanted: Wanted) -> Result<MapView, ProcError> {
    whole::read(process, |process| read_once(process, wanted))
}

fn read_once(process: &Process, wanted: Wanted) -> Result<MapView, ProcError> {
    let maps = MapsReader::new().read(process)?;
    let (residency, frames) = match wanted.pages {
        // smaps tells sums, not the pages whose frames could be looked up.
        Some(budget) if wanted.frames && budget.method != Some(Method::Smaps) => {
            let frames = frames::read(process, &maps.rows, budget)?;
            (Some(frames.pages.clone()), Some(frames))
        }
        Some(budget) => (Some(residency::read(process, &maps.rows, budget)?), None),
        None => (None, None),
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
        "pages_bytes": residency.as_ref().map(|r| r.cost.bytes),
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
        pages_why: wanted.pages.is_none().then_some("not-read"),
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
        zero_pages_unknown: residency.is_some_and(|read| read.cost.method != Method::PagemapScan),
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
