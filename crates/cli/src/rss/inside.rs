//! What malloc says of its arenas, and how much of what is free in them is in memory all the same.

use vmatlas_event::{Addr, AddrRange, Bytes, VmaRow};
use vmatlas_model::rss::{Arena, Inside, overlap};
use vmatlas_proc::malloc::{
    self, ArenaReport, Figure, GlibcReport, Limits, Presence, TargetMemory, Unknown, Unread,
};
use vmatlas_proc::read::walk::{Budget, walk};
use vmatlas_proc::saved::{CoreMemory, Saved};
use vmatlas_proc::{ErrorKind, ProcError, Process};

/// Looks into the process's malloc; `None` where it has none of glibc's, or has not used it.
pub(super) fn look(process: &Process, rows: &[VmaRow]) -> Result<Option<Inside>, ProcError> {
    let report = match malloc::look(process, rows, Limits::default()) {
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
    let resident = resident(process, rows, &report)?;
    Ok(Some(inside(&report, &resident)))
}

/// The same for a core file, in which what was in memory is not recorded.
pub(super) fn look_at_core(memory: &CoreMemory, source: &Saved) -> Option<Inside> {
    let report = malloc::inspect(&mut Core(memory), &source.rows, source.facts.page, Limits::default());
    if report.presence != Presence::Found {
        return None;
    }
    let mut inside = inside(&report, &[]);
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
    let mut free: Vec<AddrRange> =
        report.arenas.iter().filter_map(|a| a.free_ranges.as_ref().ok()).flatten().copied().collect();
    free.sort_unstable_by_key(|range| (range.start(), range.end()));
    let rows = holding(rows, &free);
    let mut runs = Vec::new();
    walk(process, &rows, Budget::default(), &mut |run| {
        let range = AddrRange::new(Addr(run.start), Addr(run.end));
        runs.extend(range.filter(|_| run.traits.present() && !run.traits.zero()));
    })?;
    Ok(runs)
}

/// The rows that hold a part of the ranges; both ascend. There may be tens of thousands of either.
fn holding(rows: &[VmaRow], ranges: &[AddrRange]) -> Vec<VmaRow> {
    let mut ranges = ranges.iter().peekable();
    let holds = |row: &&VmaRow| {
        while ranges.next_if(|range| range.end() <= row.range.start()).is_some() {}
        ranges.peek().is_some_and(|range| range.start() < row.range.end())
    };
    rows.iter().filter(holds).cloned().collect()
}

fn reason(why: Unknown) -> String {
    match why.at() {
        Some(addr) => format!("{} ({addr})", why.id()),
        None => why.id().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmatlas_event::Prot;

    fn range(start: u64, end: u64) -> AddrRange {
        AddrRange::new(Addr(start), Addr(end)).unwrap()
    }

    /// Checks which rows hold something, and that tens of thousands of rows and ranges take no time.
    #[test]
    fn rows_that_hold_ranges() {
        const N: u64 = 60_000;
        let rows: Vec<VmaRow> =
            (0..N).map(|i| VmaRow::anonymous(range(i << 14, (i << 14) + 0x2000), Prot::RW)).collect();
        let ranges: Vec<AddrRange> = (0..N)
            .map(|i| (i << 14) + if i % 2 == 0 { 0x1000 } else { 0x2000 })
            .map(|at| range(at, at + 0x1000))
            .collect();
        let since = std::time::Instant::now();
        let held = holding(&rows, &ranges);
        assert!(since.elapsed().as_secs() < 2);
        let starts: Vec<u64> = held.iter().map(|row| row.range.start().0 >> 14).collect();
        assert_eq!(starts, (0..N).step_by(2).collect::<Vec<_>>());
    }
}
