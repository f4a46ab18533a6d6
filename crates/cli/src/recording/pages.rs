//! Which pages of a traced program are resident: read when its whole map is read anyway, and it stands still.

use super::looks::page_source;
use crate::complain;
use crate::context::Context;
use crate::texts;
use std::collections::HashMap;
use std::time::Duration;
use vmatlas_event::{
    Bytes, Event, Extent, Look, MmId, MonoNs, Op, PageCounts, PageRow, Pid, SnapshotReason, VmaRow,
};
use vmatlas_model::AddressSpace;
use vmatlas_proc::read::{backing, residency};
use vmatlas_proc::{Budget, ErrorKind, ProcError, ProcRoot};

/// Reading pages takes at most this part of the time, the last reading of an address space and those asked for left out.
const SHARE: u64 = 100;

/// VMAs are told by origins as long as there are no more parts than this; then they are told whole.
const MOST_PARTS: usize = 1 << 16;

/// Page snapshots of the address spaces of a tree.
pub(crate) struct PageSnapshots {
    root: ProcRoot,
    /// Not before these times the next one.
    due: HashMap<MmId, MonoNs>,
    has_complained: bool,
}

impl PageSnapshots {
    pub(crate) fn new(root: ProcRoot) -> PageSnapshots {
        PageSnapshots { root, due: HashMap::new(), has_complained: false }
    }

    /// An address space that is no more.
    pub(crate) fn forget(&mut self, mm: MmId) {
        self.due.remove(&mm);
    }

    /// Reads the pages of a map that an event has just shown, its task standing still; `space` is that map with its origins.
    pub(crate) fn take(
        &mut self,
        event: &Event,
        space: &AddressSpace,
        context: &Context,
    ) -> Option<(Look, Vec<PageRow>)> {
        let Op::Snapshot { reason, rows } = &event.op else { return None };
        if !self.is_wanted(event, *reason) {
            return None;
        }
        // A call that is not over may keep the model from taking the map as it is: then nobody could say whose pages these are.
        if !space.vmas().map(|row| row.range).eq(rows.iter().map(|row| row.range)) {
            return None;
        }
        let read = self.read(event, rows, space);
        let left = vmatlas_sys::now();
        let taken = left.0.saturating_sub(event.left.0);
        self.due.insert(event.mm, MonoNs(left.0.saturating_add(taken.saturating_mul(SHARE))));
        match read {
            Ok(found) => Some(found),
            Err(error) => {
                // One that was killed meanwhile has no pages; that its residency is not known is shown where it is asked for.
                let is_end =
                    matches!(error.kind(), ErrorKind::Gone | ErrorKind::NoSuchProcess | ErrorKind::Zombie);
                if !is_end && !std::mem::replace(&mut self.has_complained, true) {
                    complain(context, &texts::NO_PAGE_SNAPSHOT.fill(context.lang, &[("why", &error)]));
                }
                None
            }
        }
    }

    fn is_wanted(&self, event: &Event, reason: SnapshotReason) -> bool {
        match reason {
            SnapshotReason::Last | SnapshotReason::Request => true,
            SnapshotReason::Attach | SnapshotReason::Reconcile | SnapshotReason::Unclear => {
                self.due.get(&event.mm).is_none_or(|due| event.left >= *due)
            }
            // Hardly anything was touched yet, or each call makes one.
            SnapshotReason::Exec | SnapshotReason::Fork | SnapshotReason::Check | SnapshotReason::Watch => {
                false
            }
        }
    }

    fn read(
        &self,
        event: &Event,
        rows: &[VmaRow],
        space: &AddressSpace,
    ) -> Result<(Look, Vec<PageRow>), ProcError> {
        // By the thread: a first one that has ended has no pages any more. A task that stands still waits for us, so no pauses.
        let process = self.root.process(Pid(event.task.tid.0))?;
        let budget = Budget { pause: Duration::ZERO, ..Budget::default() };
        let parts = parts(rows, space);
        let residency = residency::read(&process, &parts, budget)?;
        let backings = backing::read(&process, &parts);
        let pages: Vec<PageRow> = parts
            .iter()
            .zip(&residency.per_row)
            .zip(backings)
            .map(|((row, pages), backing)| PageRow { range: row.range, backing, pages: *pages })
            .collect();
        let is_known = |row: &&VmaRow| row.special() != Some(b"vsyscall");
        let sum = |figure: fn(&PageCounts) -> Bytes| -> Option<Bytes> {
            let known = parts.iter().zip(&pages).filter(|(row, _)| is_known(row));
            known.map(|(_, page)| page.pages.as_ref().map(figure)).sum()
        };
        let look = Look {
            first: event.seq,
            seq: event.seq,
            mm: event.mm,
            at: event.left,
            took: vmatlas_sys::now().0.saturating_sub(event.left.0),
            extent: Extent::Whole,
            method: page_source(residency.cost.method),
            rows: pages.len() as u64,
            vmas: rows.iter().filter(is_known).count() as u64,
            size: rows.iter().filter(is_known).map(|row| row.range.len()).sum(),
            resident: sum(|pages| pages.resident),
            anonymous: sum(|pages| pages.anonymous),
            swapped: sum(|pages| pages.swapped),
            swap_is_empty: process.root().swap_is_empty(),
            late: 0,
            hold: u64::try_from(residency.cost.longest_hold.as_nanos()).unwrap_or(u64::MAX),
            cpu: vmatlas_sys::cpu_time(),
        };
        Ok((look, pages))
    }
}

/// The VMAs, each taken apart where its origins change: so it can be told who asked for what is resident.
fn parts(rows: &[VmaRow], space: &AddressSpace) -> Vec<VmaRow> {
    let mut parts = Vec::with_capacity(rows.len());
    for row in rows {
        let before = parts.len();
        let mut at = row.range.start();
        for origin in space.origins_in(row.range) {
            let Some(range) = origin.range.intersect(row.range).filter(|range| range.start() == at) else {
                break;
            };
            at = range.end();
            parts.push(VmaRow { range, ..row.clone() });
        }
        // What origins do not cover without a gap stays whole.
        if at != row.range.end() {
            parts.truncate(before);
            parts.push(row.clone());
        }
        if parts.len() > MOST_PARTS.max(rows.len()) {
            return rows.to_vec();
        }
    }
    parts
}
