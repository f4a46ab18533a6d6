//! The sheet of a living process.

use super::inside;
use crate::args::RssArgs;
use crate::context::Context;
use crate::show::{self, Wanted};
use crate::target::explain;
use anyhow::Result;
use serde_json::json;
use vmatlas_event::{Bytes, PageCounts, VmaRow};
use vmatlas_model::kind::runtime_hints;
use vmatlas_model::rss::{CgroupFigures, KernelFigures, RssRow, Sheet};
use vmatlas_proc::parse::smaps::{self, Field};
use vmatlas_proc::parse::status::Status;
use vmatlas_proc::read::whole::Space;
use vmatlas_proc::read::{deadline, frames};
use vmatlas_proc::{Budget, Cgroup, Cgroups, ProcError, Process};
use vmatlas_view::rss::RssView;

pub(super) fn read(process: &Process, args: &RssArgs, context: &Context) -> Result<RssView> {
    let fail = |error| explain(&error, context);
    let space = Space::of(process).map_err(fail)?;
    let before = process.status().map_err(fail)?;
    let mut map = show::read(process, Wanted::pages(), context)?;
    let after = process.status().map_err(fail)?;
    let rollup = match args.rollup {
        true => Some(rollup(process).map_err(fail)?),
        false => None,
    };
    let vmas: Vec<VmaRow> = map.rows.iter().map(|row| row.vma.clone()).collect();
    let inside = inside::look(process, &map.rows).map_err(fail)?;
    let kernel = kernel_figures(&before, &after, rollup.as_ref());
    if let (Some(cost), Some(rollup)) = (map.cost.as_object_mut(), &rollup) {
        cost.insert("rollup_us".into(), json!(rollup.took.as_micros() as u64));
    }
    let frames = match args.pss {
        true => {
            let vmas = vmas.clone();
            let read = move |process: &Process| frames::read(process, &vmas, Budget::default());
            Some(deadline::run(process, deadline::LIMIT, read).map_err(fail)?)
        }
        false => None,
    };
    if let (Some(cost), Some(frames)) = (map.cost.as_object_mut(), &frames) {
        cost.insert("frames_us".into(), json!(frames.cost.time.as_micros() as u64));
    }
    if let Some(frames) = &frames {
        map.frames_why = frames.why.map(show::more::missing);
    }
    let cgroup = cgroup(process);
    space.still().map_err(fail)?;
    let mut per_row = frames.map(|f| f.per_row.into_iter());
    let rows = map.rows.iter().map(|row| RssRow {
        vma: &row.vma,
        verdict: row.verdict,
        // The kernel's page of old system calls is no VMA: it has no pages to count.
        pages: row.pages.or((row.vma.special() == Some(b"vsyscall")).then(PageCounts::default)),
        frames: per_row.as_mut().and_then(|frames| frames.next().flatten()),
        // Nothing is locked anywhere when nothing is locked in all.
        locked: (after.vm_lck == Some(Bytes(0))).then_some(Bytes(0)),
    });
    let sheet = Sheet::new(rows, kernel);
    Ok(RssView {
        map,
        sheet,
        inside,
        cgroup,
        profiler: args.profiler_total,
        frames_asked: args.pss,
        hints: runtime_hints(&vmas),
    })
}

/// The process's memory cgroup, or why nothing is known of it.
fn cgroup(process: &Process) -> Result<CgroupFigures, &'static str> {
    let cgroups = Cgroups::read(process.root()).map_err(|_| "unknown")?;
    match cgroups.of_process(process) {
        Ok(Some(cgroup)) => Ok(figures(&cgroup)),
        Ok(None) => Err("not-mounted"),
        Err(_) => Err("hidden"),
    }
}

/// What a cgroup says, and how many processes it has.
pub(super) fn figures(cgroup: &Cgroup) -> CgroupFigures {
    let members = cgroup.members();
    let all = members.pids.len() as u64 + members.elsewhere;
    CgroupFigures { memory: cgroup.memory(), members: (!members.more).then_some(all) }
}

/// The kernel's own sums, and how long it took to make them: the process could not map memory meanwhile.
struct Rollup {
    fields: smaps::SmapsFields,
    took: std::time::Duration,
}

fn rollup(process: &Process) -> Result<Rollup, ProcError> {
    let start = std::time::Instant::now();
    let fields = process.rollup()?;
    Ok(Rollup { fields, took: start.elapsed() })
}

fn kernel_figures(before: &Status, after: &Status, rollup: Option<&Rollup>) -> KernelFigures {
    let rolled = |field| rollup.and_then(|r| r.fields.get(field));
    KernelFigures {
        rss_before: before.vm_rss,
        rss_after: after.vm_rss,
        anonymous: after.rss_anon,
        file: after.rss_file,
        shmem: after.rss_shmem,
        rollup: rolled(Field::Rss),
        lazy_free: rolled(Field::LazyFree),
        pss: rolled(Field::Pss),
        swap: after.vm_swap,
        rollup_swap: rolled(Field::Swap),
        page_tables: after.vm_pte,
        hugetlb: after.hugetlb,
        locked: after.vm_lck,
        peak: after.vm_hwm,
    }
}
