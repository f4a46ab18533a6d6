//! What malloc says of its arenas, and how much of what is free in them is in memory all the same.

use vmatlas_event::{Addr, AddrRange, Bytes, VmaRow};
use vmatlas_model::kind::Kind;
use vmatlas_model::rss::{Arena, Inside, overlap};
use vmatlas_proc::malloc::{
    self, ArenaReport, Figure, GlibcReport, Limits, Presence, TargetMemory, Unknown, Unread,
};
use vmatlas_proc::read::walk::{Budget, walk};
use vmatlas_proc::saved::{CoreMemory, Saved};
use vmatlas_proc::{ErrorKind, ProcError, Process};
use vmatlas_view::show::ShowRow;

/// Looks into the process's malloc; `None` where it has none of glibc's, or has not used it.
pub(super) fn look(process: &Process, map: &[ShowRow]) -> Result<Option<Inside>, ProcError> {
    let rows: Vec<VmaRow> = map.iter().map(|row| row.vma.clone()).collect();
    let report = match malloc::look(process, &rows, Limits::default()) {
        // Its memory cannot be asked for by a number that is another process here; its pages can.
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            return Ok(Some(Inside { trouble: Some("unsupported".to_owned()), ..Inside::default() }));
        }
        answer => answer?,
    };
    match report.presence {
        Presence::Found => {}
        Presence::Unused | Presence::NotFound(Unknown::NotFound) => return Ok(None),
        Presence::NotFound(why) => {
            return Ok(Some(Inside { trouble: Some(reason(why)), ..Inside::default() }));
        }
    }
    let mapped = mapped(&report, map);
    let resident = resident(process, &rows, &report, &mapped)?;
    let mut inside = inside(&report, &mapped, &resident);
    inside.mapped_resident = inside.mapped_found.map(|_| overlap(&mapped, &resident));
    Ok(Some(inside))
}

/// The same for a core file, in which what was in memory is not recorded.
pub(super) fn look_at_core(memory: &CoreMemory, source: &Saved, map: &[ShowRow]) -> Option<Inside> {
    let report = malloc::inspect(&mut Core(memory), &source.rows, source.facts.page, Limits::default());
    if report.presence != Presence::Found {
        return None;
    }
    let mut inside = inside(&report, &mapped(&report, map), &[]);
    inside.arenas.iter_mut().for_each(|arena| arena.free_resident = None);
    Some(inside)
}

/// What was dumped is what can be read.
struct Core<'a>(&'a CoreMemory);

impl TargetMemory for Core<'_> {
    fn read(&mut self, addr: Addr, buf: &mut [u8]) -> Result<(), Unread> {
        match self.0.read(addr, buf) {
            Ok(n) if n == buf.len() => Ok(()),
            Ok(_) => Err(Unread::NotResident),
            Err(_) => Err(Unread::Unreadable),
        }
    }
}

/// Where big blocks were found in memory of which nothing else is known.
fn mapped(report: &GlibcReport, map: &[ShowRow]) -> Vec<AddrRange> {
    let unknown = map.iter().filter(|row| row.verdict.kind == Kind::Anonymous).map(|row| row.vma.range);
    let found = report.mapped_at.as_deref().unwrap_or_default();
    let common = |area: AddrRange| {
        let from = found.partition_point(|range| range.end() <= area.start());
        let near = found.get(from..).unwrap_or_default().iter();
        near.take_while(move |range| range.start() < area.end())
            .filter_map(move |range| range.intersect(area))
    };
    unknown.flat_map(common).filter(|range| !range.is_empty()).collect()
}

fn inside(report: &GlibcReport, mapped: &[AddrRange], resident: &[AddrRange]) -> Inside {
    Inside {
        arenas: report.arenas.iter().map(|arena| figures(arena, resident)).collect(),
        cached: report.thread_caches.chunks.ok().map(|chunks| chunks.bytes),
        mapped: report.mapped.ok().map(|chunks| chunks.bytes),
        mapped_found: report.mapped_at.as_ref().ok().map(|_| mapped.iter().map(|range| range.len()).sum()),
        mapped_resident: None,
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
        free_pages: arena.free_ranges.as_ref().ok().map(|free| free.iter().map(|range| range.len()).sum()),
        free_resident: arena.free_ranges.as_ref().ok().map(|free| overlap(free, resident)),
        trouble: arena.trouble().map(reason).or((!arena.steady).then(|| "changed-meanwhile".to_owned())),
    }
}

fn known<T: Copy>(figure: &Figure<T>) -> Option<T> {
    figure.as_ref().ok().copied()
}

/// The resident pages of the rows that hold something free, or big blocks.
fn resident(
    process: &Process,
    rows: &[VmaRow],
    report: &GlibcReport,
    mapped: &[AddrRange],
) -> Result<Vec<AddrRange>, ProcError> {
    let free = report.arenas.iter().filter_map(|a| a.free_ranges.as_ref().ok()).flatten();
    let mut wanted: Vec<AddrRange> = free.chain(mapped).copied().collect();
    wanted.sort_unstable();
    let holds = |row: &&VmaRow| {
        let from = wanted.partition_point(|range| range.end() <= row.range.start());
        wanted.get(from).is_some_and(|range| range.intersects(row.range))
    };
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
