//! What is looked at: a living process, what was saved of one, or a moment of a recording.

use crate::context::Context;
use crate::recording::looks::Looked;
use crate::recording::{Selector, Visit};
use crate::show::{self, Wanted, more};
use crate::target;
use crate::texts;
use anyhow::{Result, anyhow};
use serde_json::Value;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use vmatlas_event::Pid;
use vmatlas_model::kind::{Evidence, Unlabelled, classify};
use vmatlas_proc::saved::{Saved, SavedError, SavedKind};
use vmatlas_proc::{ProcRoot, Process};
use vmatlas_view::show::{Header, MapView, Missing, ShowRow};
use vmatlas_view::source::{Source, SourceKind};

/// A living process, what was saved of one, or a moment of a recording.
#[derive(Debug)]
pub(crate) enum Subject {
    Live(Process),
    Saved(Box<Saved>),
    Recorded(Box<Visit>),
}

/// Opens what a PID, a path, a moment of a recording or a name means; a path wins over a name.
pub(crate) fn open(root: &ProcRoot, target: &OsStr, context: &Context) -> Result<Subject> {
    let is_number = target.as_bytes().iter().all(u8::is_ascii_digit);
    if let Some(selector) = Selector::parse(target).filter(|_| !is_number) {
        return Visit::open(&selector, context).map(|visit| Subject::Recorded(Box::new(visit)));
    }
    if !target::is_path(target) {
        return target::open(root, target, context).map(Subject::Live);
    }
    let path = Path::new(target);
    if let Some(pid) = living(root, path) {
        return target::by_pid(root, pid, context).map(Subject::Live);
    }
    Saved::open(path).map(|saved| Subject::Saved(Box::new(saved))).map_err(|e| explain(path, &e, context))
}

/// The process whose own folder below /proc this is: it lives, and reading it in the ways for the living costs it less.
fn living(root: &ProcRoot, path: &Path) -> Option<Pid> {
    let path = path.canonicalize().ok()?;
    let name = path.strip_prefix(root.path().canonicalize().ok()?).ok()?;
    name.to_str()?.parse().ok().filter(|pid| *pid > 0).map(Pid)
}

/// The map as `show` has it; pages of a saved source are those that were saved.
pub(crate) fn read(subject: &Subject, wanted: Wanted, context: &Context) -> Result<MapView> {
    match subject {
        Subject::Live(process) => show::read(process, wanted, context),
        Subject::Saved(saved) => Ok(view_of(saved, wanted)),
        Subject::Recorded(visit) => Ok(view_at(visit, wanted, context)),
    }
}

/// The map at a moment, with pages where that is a look; threads and their stack pointers are not recorded.
fn view_at(visit: &Visit, wanted: Wanted, context: &Context) -> MapView {
    let rows = visit.rows();
    let evidence = Evidence { exe_path: visit.header.exe.clone(), ..Evidence::none(visit.page) };
    let verdicts = classify(&rows, &evidence);
    let mut rows: Vec<ShowRow> =
        rows.into_iter().zip(verdicts).map(|(vma, verdict)| ShowRow::new(vma, verdict)).collect();
    let pages_why = match (&visit.looked, wanted.pages) {
        (_, None) => Some("not-read"),
        (None, Some(_)) if visit.nearby.is_empty() => Some("not-recorded"),
        (None, Some(_)) => Some("unknown"),
        (Some(looked), Some(_)) => {
            match looked.fill(visit.timeline.source_ref().reader(), &mut rows, context) {
                true => None,
                false => Some("unknown"),
            }
        }
    };
    MapView {
        header: visit.header.clone(),
        rows,
        pages_why,
        frames_why: Some(Missing::NotRecorded),
        has_smaps: false,
        swap_is_empty: visit.looked.as_ref().is_some_and(Looked::swap_is_empty),
        nothing_is_locked: false,
        cost: Value::Null,
    }
}

fn view_of(saved: &Saved, wanted: Wanted) -> MapView {
    let facts = &saved.facts;
    let evidence = Evidence {
        exe_path: facts.exe.clone(),
        threads: facts.threads.iter().map(|t| (t.tid, t.stack_pointer)).collect(),
        start_brk: facts.start_brk,
        unlabelled: (saved.kind == SavedKind::Core)
            .then_some(Unlabelled { vdso: facts.vdso, main_stack: facts.main_stack }),
        ..Evidence::none(facts.page)
    };
    let mut rows: Vec<ShowRow> = saved
        .rows
        .iter()
        .zip(classify(&saved.rows, &evidence))
        .map(|(vma, verdict)| ShowRow::new(vma.clone(), verdict))
        .collect();
    if let Some(pages) = saved.pages.as_ref().filter(|_| wanted.pages.is_some()) {
        rows.iter_mut().zip(pages).for_each(|(row, pages)| row.pages = *pages);
    }
    for (row, dumped) in rows.iter_mut().zip(saved.dumped.iter().flatten()) {
        row.dumped = Some(*dumped);
    }
    for (row, fields) in rows.iter_mut().zip(saved.smaps.iter().flatten()) {
        row.smaps = Some(Box::new(more::plain(fields.clone(), None)));
    }
    let pages_why = match (wanted.pages.is_some(), &saved.pages) {
        (false, _) => Some("not-read"),
        (true, None) => Some("not-recorded"),
        (true, Some(_)) => None,
    };
    MapView {
        header: header(saved),
        rows,
        pages_why,
        frames_why: Some(Missing::NotRecorded),
        has_smaps: wanted.smaps && saved.smaps.is_some(),
        swap_is_empty: false,
        nothing_is_locked: false,
        cost: Value::Null,
    }
}

fn header(saved: &Saved) -> Header {
    let facts = &saved.facts;
    Header {
        pid: facts.pid,
        name: facts.name.clone(),
        exe: facts.exe.clone(),
        max_map_count: None,
        virtual_size: facts.virtual_size,
        resident: facts.resident,
        threads: facts.thread_count,
        leader_ended: false,
        torn: saved.torn,
        zero_pages_counted: false,
        zero_pages_unknown: true,
        source: Some(Source {
            kind: match saved.kind {
                SavedKind::Maps => SourceKind::Maps,
                SavedKind::Smaps => SourceKind::Smaps,
                SavedKind::ProcFolder => SourceKind::ProcFolder,
                SavedKind::Core => SourceKind::Core,
            },
            path: saved.path.as_os_str().as_bytes().to_vec(),
            signal: facts.signal.map(vmatlas_sys::signal::name),
            left_out: saved.left_out,
            truncated: saved.truncated.map(|t| (t.have, t.of)),
            moment: None,
        }),
    }
}

fn explain(path: &Path, error: &SavedError, context: &Context) -> anyhow::Error {
    let path = path.display();
    let text = match error {
        SavedError::Io(_) | SavedError::Core(_) => texts::SAVED_UNREADABLE,
        SavedError::Special => texts::SAVED_SPECIAL,
        SavedError::NoMaps => texts::SAVED_NO_MAPS,
        SavedError::Empty => texts::SAVED_EMPTY,
        SavedError::Packed(packer) => {
            let values: [(&str, &dyn std::fmt::Display); 2] = [("path", &path), ("packer", packer)];
            return anyhow!(texts::SAVED_PACKED.fill(context.lang, &values));
        }
        SavedError::Rollup => texts::SAVED_ROLLUP,
        SavedError::NotCore => texts::SAVED_NOT_CORE,
        SavedError::Unknown => texts::SAVED_UNKNOWN,
        SavedError::Line { line, found } => {
            let found = found.escape_ascii();
            let values: [(&str, &dyn std::fmt::Display); 3] =
                [("path", &path), ("line", line), ("found", &found)];
            return anyhow!(texts::SAVED_LINE.fill(context.lang, &values));
        }
        SavedError::TooLarge(_) => texts::SAVED_TOO_LARGE,
    };
    let values: [(&str, &dyn std::fmt::Display); 2] = [("path", &path), ("why", error)];
    anyhow!(text.fill(context.lang, &values))
}
