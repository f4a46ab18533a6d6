//! The malloc of a living process.

use crate::malloc::inspect;
use crate::malloc::memory::{Limits, TargetMemory, Unread};
use crate::malloc::report::{GlibcReport, Presence, Unknown};
use crate::read::error::{ErrorKind, ProcError};
use crate::read::process::Process;
use crate::read::snapshot::MapsReader;
use crate::read::walk::{Budget, walk};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};
use vmatlas_event::{Addr, AddrRange, Errno, PageSize, Pid, Prot, Sharing, VmaRow};

/// The memory of a living process, without what is not in physical memory.
#[derive(Debug)]
pub struct ResidentMemory {
    pid: Pid,
    /// What was in memory, ascending, touching runs joined.
    runs: Vec<AddrRange>,
}

impl ResidentMemory {
    /// Walks the pages of the writable private rows: all that malloc and its variables can be in.
    ///
    /// # Errors
    /// Those of [`walk`], and Unsupported for a /proc that is not the machine's own, or has the numbers of another PID namespace.
    pub fn of(process: &Process, rows: &[VmaRow]) -> Result<ResidentMemory, ProcError> {
        if !(process.root().is_live() && process.root().has_our_numbers()) {
            return Err(ProcError::new(ErrorKind::Unsupported, process.pid()));
        }
        let wanted: Vec<VmaRow> = rows
            .iter()
            .filter(|row| row.prot.has(Prot::WRITE) && row.sharing == Sharing::Private)
            .cloned()
            .collect();
        let mut runs: Vec<AddrRange> = Vec::new();
        // Runs of other rows may be among them; they do no harm.
        walk(process, &wanted, Budget::default(), &mut |run| {
            let range = AddrRange::new(Addr(run.start), Addr(run.end));
            if let Some(range) = range.filter(|_| run.traits.present()) {
                match runs.last_mut() {
                    Some(last) if last.end() == range.start() => *last = last.hull(range),
                    _ => runs.push(range),
                }
            }
        })?;
        Ok(ResidentMemory { pid: process.memory_id(), runs })
    }
}

impl TargetMemory for ResidentMemory {
    fn read(&mut self, addr: Addr, buf: &mut [u8]) -> Result<(), Unread> {
        const EPERM: i32 = 1;
        let range =
            AddrRange::from_len(addr, vmatlas_event::Bytes(buf.len() as u64)).ok_or(Unread::Unreadable)?;
        let index = self.runs.partition_point(|run| run.end() <= addr);
        if !self.runs.get(index).is_some_and(|run| run.covers(range)) {
            return Err(Unread::NotResident);
        }
        match vmatlas_sys::process_vm_read(self.pid, addr, buf) {
            Ok(n) if n == buf.len() => Ok(()),
            Err(Errno(EPERM)) => Err(Unread::NotPermitted),
            _ => Err(Unread::Unreadable),
        }
    }
}

/// Looks in a thread of its own, which is left alone when it does not come back: a page that went away meanwhile and is
/// armed with userfaultfd(2) can keep it waiting for ever. `None` when there can be no such thread.
fn in_time(
    mut memory: impl TargetMemory + Send + 'static,
    rows: Vec<VmaRow>,
    page: PageSize,
    limits: Limits,
) -> Option<GlibcReport> {
    /// For what is done between two looks at the clock.
    const GRACE: Duration = Duration::from_millis(500);
    let (give, take) = mpsc::channel();
    let look = move || {
        // Nobody waits any more where this fails.
        let _ = give.send(inspect(&mut memory, &rows, page, limits));
    };
    thread::Builder::new().name("malloc".into()).spawn(look).ok()?;
    match take.recv_timeout(limits.deadline.saturating_add(GRACE)) {
        Ok(report) => Some(report),
        Err(RecvTimeoutError::Timeout) => Some(GlibcReport::without(Presence::NotFound(Unknown::Deadline))),
        Err(RecvTimeoutError::Disconnected) => None,
    }
}

/// Looks into the malloc of a process whose map is `rows`; where it changed meanwhile, again with a new map.
///
/// The process is not stopped. What it does meanwhile can make figures unknown, or mix moments
/// ([`ArenaReport::steady`](crate::malloc::ArenaReport::steady)).
///
/// # Errors
/// When the process cannot be read at all. That its memory may not be read is in the report.
pub fn look(process: &Process, rows: &[VmaRow], limits: Limits) -> Result<GlibcReport, ProcError> {
    let start = Instant::now();
    let mut best: Option<GlibcReport> = None;
    let mut total = crate::malloc::MallocCost::default();
    let page = vmatlas_sys::page_size();
    while total.tries < limits.tries.max(1) {
        let left = Limits {
            deadline: limits.deadline.saturating_sub(start.elapsed()),
            bytes: limits.bytes.saturating_sub(total.bytes.0),
            ..limits
        };
        if best.is_some() && left.deadline.is_zero() {
            break;
        }
        let again;
        let rows = if best.is_some() {
            again = MapsReader::new().read(process)?.rows;
            &again
        } else {
            rows
        };
        let mut report = in_time(ResidentMemory::of(process, rows)?, rows.to_vec(), page, left)
            .ok_or_else(|| ProcError::new(ErrorKind::Io, process.pid()))?;
        process.still_there()?;
        total.bytes += report.cost.bytes;
        total.calls += report.cost.calls;
        total.tries += 1;
        if let Some(earlier) = best.take() {
            report.take_better(earlier);
        }
        let done = !report.may_improve();
        best = Some(report);
        if done {
            break;
        }
    }
    let mut best = best.unwrap_or_else(|| GlibcReport::without(Presence::NotFound(Unknown::Deadline)));
    total.time = start.elapsed();
    best.cost = total;
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that memory which never answers costs the time that was allowed, and no more.
    #[test]
    fn memory_that_does_not_answer_is_left() {
        struct Silent;
        impl TargetMemory for Silent {
            fn read(&mut self, _: Addr, _: &mut [u8]) -> Result<(), Unread> {
                thread::sleep(Duration::from_secs(20));
                Err(Unread::Unreadable)
            }
        }
        let mut row = VmaRow::anonymous(AddrRange::new(Addr(0x1000), Addr(0x2000)).unwrap(), Prot::RW);
        row.name = Some(vmatlas_event::Name::new(b"/lib/libc.so.6"));
        let limits = Limits { deadline: Duration::from_millis(10), ..Limits::default() };
        let since = Instant::now();
        let report = in_time(Silent, vec![row], PageSize::FOUR_KIB, limits).unwrap();
        assert_eq!(report.presence, Presence::NotFound(Unknown::Deadline));
        assert!(since.elapsed() < Duration::from_secs(10));
    }
}
