//! What malloc says of its arenas, and how much of what is free in them is in memory all the same.

use vmatlas_event::{Addr, AddrRange, Bytes, VmaRow};
use vmatlas_model::rss::{Arena, Inside, overlap};
use vmatlas_proc::malloc::{self, ArenaReport, Figure, GlibcReport, Limits, Presence, Unknown};
use vmatlas_proc::read::walk::{Budget, walk};
use vmatlas_proc::{ProcError, Process};

/// Looks into the process's malloc; `None` where it has none of glibc's, or has not used it.
pub(super) fn look(process: &Process, rows: &[VmaRow]) -> Result<Option<Inside>, ProcError> {
    let report = malloc::look(process, rows, Limits::default())?;
    match report.presence {
        Presence::Found => {}
        Presence::Unused | Presence::NotFound(Unknown::NotFound) => return Ok(None),
        Presence::NotFound(why) => {
            return Ok(Some(Inside { trouble: Some(reason(why)), ..Inside::default() }));
        }
    }
    let resident = resident(process, rows, &report)?;
    Ok(Some(inside(&report, &resident)))
}

fn inside(report: &GlibcReport, resident: &[AddrRange]) -> Inside {
    Inside {
        arenas: report.arenas.iter().map(|arena| figures(arena, resident)).collect(),
        cached: report.thread_caches.chunks.ok().map(|chunks| chunks.bytes),
        mapped: report.mapped.ok().map(|chunks| chunks.bytes),
        trouble: report.missing_arenas.map(reason),
    }
}

fn figures(arena: &ArenaReport, resident: &[AddrRange]) -> Arena {
    let listed = |pick: fn(&malloc::FreeChunks) -> u64| -> Option<u64> {
        Some(pick(arena.bins.as_ref().ok()?) + pick(arena.fast.as_ref().ok()?))
    };
    Arena {
        addr: arena.at,
        main: arena.main,
        threads: known(&arena.attached_threads),
        system: known(&arena.system),
        used: arena.used().ok(),
        free: listed(|chunks| chunks.bytes.0).map(Bytes),
        free_blocks: listed(|chunks| chunks.count),
        largest_free: arena.largest_free().ok(),
        top: known(&arena.top),
        free_resident: arena.free_ranges.as_ref().ok().map(|free| overlap(free, resident)),
        trouble: arena.trouble().map(reason).or((!arena.steady).then(|| "changed-meanwhile".to_owned())),
    }
}

fn known<T: Copy>(figure: &Figure<T>) -> Option<T> {
    figure.as_ref().ok().copied()
}

/// The resident pages of the rows that hold something free.
fn resident(process: &Process, rows: &[VmaRow], report: &GlibcReport) -> Result<Vec<AddrRange>, ProcError> {
    let free: Vec<AddrRange> =
        report.arenas.iter().filter_map(|a| a.free_ranges.as_ref().ok()).flatten().copied().collect();
    let holds = |row: &&VmaRow| free.iter().any(|range| range.intersects(row.range));
    let rows: Vec<VmaRow> = rows.iter().filter(holds).cloned().collect();
    let mut runs = Vec::new();
    walk(process, &rows, Budget::default(), &mut |run| {
        let range = AddrRange::new(Addr(run.start), Addr(run.end));
        runs.extend(range.filter(|_| run.traits.present() && !run.traits.zero()));
    })?;
    Ok(runs)
}

fn reason(why: Unknown) -> String {
    match why.at() {
        Some(addr) => format!("{} ({addr})", why.id()),
        None => why.id().to_owned(),
    }
}
