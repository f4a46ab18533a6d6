//! What the subject does with the pages of the experiment: obtains them, sends them out, and until no copy is left.

use super::{PAGEOUT, WRITTEN};
use crate::child::FILE_FD;
use crate::command::Reply;
use crate::error::LabError;
use crate::facts::{Measured, Value};
use crate::lab::{Lab, READ, RW};
use std::time::Duration;
use vmatlas_event::{Addr, AddrRange, Bytes, MapFlags};
use vmatlas_sys::mem::{self, Touch};
use vmatlas_sys::workbench::{Call, Workbench};

const MAP_PRIVATE: MapFlags = MapFlags(2);
const FADV_DONTNEED: u64 = 4;
/// What the own routine does: its first argument.
const STAY: u64 = 0;
const SETTLE: u64 = 1;
/// How often it looks whether everything was written to swap, and how long it waits in between.
const LOOKS: u32 = 100;
const WAIT: Duration = Duration::from_millis(10);

/// Binds the subject to one processor, or sends an area out until no copy of it is left; the answer is how many are.
pub(super) fn own(bench: &Workbench, [what, start, length, ..]: [u64; 5]) -> Reply {
    if what == STAY {
        return vmatlas_sys::sched::stay_on_this_cpu().map(|cpu| cpu as u64);
    }
    let (Some(madvise), Some(area)) =
        (Call::named("madvise"), AddrRange::from_len(Addr(start), Bytes(length)))
    else {
        return Ok(0);
    };
    let mut left = mem::in_core(area)?;
    for _ in 0..LOOKS {
        if left == 0 {
            break;
        }
        vmatlas_sys::sleep(WAIT);
        // What is read only is as it is in swap, so nothing has to be written, and the copy can go.
        bench.touch(area, 0, length / vmatlas_sys::page_size().bytes(), Touch::Read)?;
        bench.call(madvise, [start, length, PAGEOUT, 0, 0, 0])?;
        left = mem::in_core(area)?;
    }
    Ok(left)
}

/// Obtains memory and writes to it; maps the file and reads it.
pub(super) fn fill(lab: &mut Lab<'_>, pages: u64) -> Result<(AddrRange, AddrRange), LabError> {
    // What is new waits in a list of each processor, and cannot be sent out from there by another.
    let bound = lab.own_unshown([STAY, 0, 0, 0, 0])?;
    lab.did("sched_setaffinity(0, sizeof(one), &one)", bound.map(|_| "0".to_owned()));
    let length = pages * lab.page();
    let memory = lab.map(length, RW)?;
    lab.touch(memory, 0, pages, Touch::Write)?.unwrap_or(0);
    lab.poke(memory.start(), WRITTEN)?.unwrap_or(0);
    // Out of the cache first, so that the pages are read by this very processor.
    let shown = format!("posix_fadvise({FILE_FD}, 0, 0, POSIX_FADV_DONTNEED)");
    lab.call("fadvise64", [FILE_FD as u64, 0, 0, FADV_DONTNEED, 0, 0], shown)?.unwrap_or(0);
    let mapped = lab.map_with(length, READ, MAP_PRIVATE, FILE_FD)?;
    lab.touch(mapped, 0, pages, Touch::Read)?.unwrap_or(0);
    Ok((memory, mapped))
}

/// madvise(2) with MADV_PAGEOUT.
pub(super) fn page_out(lab: &mut Lab<'_>, range: AddrRange) -> Result<Reply, LabError> {
    let (at, len) = (range.start(), range.len().0);
    lab.call("madvise", [at.0, len, PAGEOUT, 0, 0, 0], format!("madvise({at}, {len}, MADV_PAGEOUT)"))
}

/// Waits until the pages are written, and sends them out again: now no copy is kept.
pub(super) fn settle(lab: &mut Lab<'_>, area: AddrRange) -> Result<Measured, LabError> {
    let (at, len) = (area.start(), area.len().0);
    let left = lab.own_unshown([SETTLE, at.0, len, 0, 0])?;
    let shown = format!("while (mincore(...) > 0) {{ read all; madvise({at}, {len}, MADV_PAGEOUT); }}");
    lab.did(shown, left.map(|left| left.to_string()));
    Ok(match left {
        Ok(left) => Measured::Is(Value::Pages(left)),
        Err(_) => Measured::NotRead(lab.why("mincore")),
    })
}

/// Pages that are there, and pages in swap.
pub(super) fn count(lab: &Lab<'_>, range: AddrRange) -> Result<(u64, u64), LabError> {
    let pages = lab.pages(range)?;
    let there = pages.iter().filter(|page| page.present).count() as u64;
    Ok((there, pages.iter().filter(|page| page.swapped).count() as u64))
}
