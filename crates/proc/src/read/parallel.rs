//! One reading by several threads: the mmap lock is shared by readers, so a large process is read sooner where cores
//! are idle. The target waits no longer for each of them, but it can wait for one after the other: only when asked.

use crate::read::error::ProcError;
use crate::read::process::Process;
use crate::read::residency::{Residency, RowCounts};
use crate::read::walk::{Budget, Method, WalkCost, walk};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;
use vmatlas_event::{Addr, AddrRange, PageCounts, VmaRow};

/// A part of the work: neighbouring rows, or a part of one that is large.
struct Piece {
    /// Which of all rows its first one is.
    first: usize,
    rows: Vec<VmaRow>,
}

/// Reads the pages of `rows` with `budget.threads` threads, or with as many as there are cores for us.
pub(super) fn read(process: &Process, rows: &[VmaRow], budget: Budget) -> Result<Residency, ProcError> {
    let start = Instant::now();
    let cores = thread::available_parallelism().map_or(1, |n| n.get());
    let threads = budget.threads.clamp(1, cores);
    let pieces = pieces(rows, threads);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some(piece) = pieces.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mut counts = RowCounts::new(process, &piece.rows);
            let cost = walk(process, &piece.rows, budget, &mut |run| counts.add(&run))?;
            done.push((piece.first, counts.finish(), cost));
        }
        Ok(done)
    };
    let answers: Vec<Result<Vec<_>, ProcError>> = thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let own = work();
        // A thread that panicked is a fault of ours, which was told already.
        let joined =
            others.into_iter().map(|t| t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        std::iter::once(own).chain(joined.collect::<Vec<_>>()).collect()
    });
    let mut sums: Vec<Option<PageCounts>> = vec![None; rows.len()];
    let mut cost = WalkCost::none(budget.method.unwrap_or(Method::PagemapScan));
    for answer in answers {
        for (first, counts, spent) in answer? {
            for (sum, counts) in sums.iter_mut().skip(first).zip(counts) {
                if let Some(counts) = counts {
                    *sum.get_or_insert_default() += counts;
                }
            }
            cost.method = spent.method;
            cost.calls += spent.calls;
            cost.bytes += spent.bytes;
            cost.longest_hold = cost.longest_hold.max(spent.longest_hold);
        }
    }
    cost.time = start.elapsed();
    Ok(Residency { per_row: sums, cost })
}

/// Cuts rows into pieces of like cost, several for each thread: by VMAs, and large ones by what they span.
fn pieces(rows: &[VmaRow], threads: usize) -> Vec<Piece> {
    const LARGE: u64 = 1 << 30;
    let each = rows.len().div_ceil(4 * threads).max(512);
    let mut pieces: Vec<Piece> = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let len = row.range.len().0;
        if len > LARGE {
            // A reservation of terabytes is mostly empty: a few parts are enough.
            let part = (len / (4 * threads as u64)).max(LARGE).next_multiple_of(1 << 21);
            let mut at = row.range.start();
            while at < row.range.end() {
                let end = Addr(at.0.saturating_add(part)).min(row.range.end());
                let clipped = AddrRange::new(at, end).and_then(|range| row.clip(range));
                pieces.extend(clipped.map(|row| Piece { first: index, rows: vec![row] }));
                at = end;
            }
            continue;
        }
        match pieces.last_mut().filter(|p| p.first + p.rows.len() == index && p.rows.len() < each) {
            Some(piece) => piece.rows.push(row.clone()),
            None => pieces.push(Piece { first: index, rows: vec![row.clone()] }),
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ProcRoot;
    use vmatlas_event::{Bytes, MapFlags, Prot, ProtArg};
    use vmatlas_sys::mem::{Arena, Touch, touch};

    /// Checks that pieces cover every row once, and the parts of a large one all of it.
    #[test]
    fn pieces_cover_everything_once() {
        let row = |start: u64, len: u64| {
            VmaRow::anonymous(AddrRange::from_len(Addr(start), Bytes(len)).unwrap(), Prot::RW)
        };
        let mut rows: Vec<VmaRow> = (0..3000).map(|i| row(0x1000 * 2 * i, 0x1000)).collect();
        rows.insert(0, row(1 << 45, (5 << 30) + 0x3000));
        rows.push(row(1 << 46, 1 << 40));
        let mut covered = vec![0u64; rows.len()];
        for piece in pieces(&rows, 2) {
            for (offset, part) in piece.rows.iter().enumerate() {
                assert!(rows[piece.first + offset].range.covers(part.range));
                covered[piece.first + offset] += part.range.len().0;
            }
        }
        let lengths: Vec<u64> = rows.iter().map(|row| row.range.len().0).collect();
        assert_eq!(covered, lengths);
    }

    /// Checks that two threads count what one counts.
    #[test]
    fn two_threads_count_what_one_counts() {
        const GIB: u64 = 1 << 30;
        let page = vmatlas_sys::page_size().bytes();
        let arena = Arena::new(Bytes(3 * GIB), ProtArg(3), MapFlags(2 | 0x4000)).unwrap();
        arena.advise(arena.range().start(), Bytes(3 * GIB), 15).unwrap();
        assert_eq!(touch(arena.range(), 3, 7, Touch::Write), Ok(7));
        assert_eq!(touch(arena.range(), 2 * GIB / page - 2, 4, Touch::Write), Ok(4));
        let me = ProcRoot::system().process(vmatlas_sys::self_pid()).unwrap();
        // The arena alone, whatever the kernel merged it with: the tests beside this one map their own.
        let row = VmaRow::anonymous(arena.range(), Prot::RW);
        let residency = read(&me, &[row], Budget { threads: 2, ..Budget::default() }).unwrap();
        assert_eq!(residency.per_row[0].unwrap().resident, Bytes(11 * page));
        arena.unmap(arena.range().start(), arena.range().len()).unwrap();
    }
}
