//! What a look found, on its way to the model and the recording: events, and rows of pages.

use super::{Totals, Watching};
use crate::recording::looks::page_source;
use crate::watch::look::Seen;
use crate::watch::tell::grew_most;
use std::sync::Arc;
use vmatlas_event::{
    Addr, AddrRange, Bytes, Event, Extent, Look, MmId, MonoNs, Op, Outcome, PageCounts, Seq, SnapshotReason,
    Source, TaskId, Tid, VmaRow,
};
use vmatlas_model::{changed_pages, changed_parts};
use vmatlas_view::looks::Found;

/// All pages are written again after so many rows, or so many times the VMAs there are: a seek reads no more.
const WHOLE_AFTER: u64 = 4096;
const WHOLE_AFTER_VMAS: u64 = 2;

impl Watching<'_> {
    /// Gives what a look found to the model and the recording.
    pub(super) fn take(&mut self, seen: Seen) {
        let is_first = self.next == 0;
        let is_new = is_first || !seen.is_known;
        let mut found = Found { is_executed: is_new && !is_first, ..Found::default() };
        let mut numbers: Option<(Seq, Seq)> = None;
        let mut give = |watching: &mut Self, op| {
            let seq = watching.event(op, &seen, &mut found);
            numbers = Some((numbers.map_or(seq, |(first, _)| first), seq));
        };
        if is_new {
            if !is_first {
                let old_mm = self.mm;
                self.mm = MmId(old_mm.0 + 1);
                give(self, Op::Exec { old_mm });
            }
            give(self, Op::Snapshot { reason: SnapshotReason::Watch, rows: seen.maps.rows.clone() });
        } else {
            let parts = match self.spaces.get(self.mm) {
                // What the last look saw, the model has.
                _ if Arc::ptr_eq(&seen.maps, &self.maps) => Vec::new(),
                Some(space) => changed_parts(space.vmas(), &seen.maps.rows),
                None => Vec::new(),
            };
            // A look has an event of its own also where nothing changed: a moment is after an event.
            let nothing = AddrRange::from_len(Addr(0), Bytes(0)).filter(|_| parts.is_empty());
            for part in parts {
                give(self, observed(part.range, seen.maps.rows.get(part.rows).unwrap_or_default()));
            }
            if let Some(nothing) = nothing {
                give(self, observed(nothing, &[]));
            }
        }
        let limit = WHOLE_AFTER.max(seen.maps.rows.len() as u64 * WHOLE_AFTER_VMAS);
        let is_whole = is_new || self.since_whole >= limit;
        if self.lines.is_some() && !is_new {
            found.most = grew_most((&self.maps.rows, &self.pages), (&seen.maps.rows, &seen.pages));
        }
        let is_same = Arc::ptr_eq(&seen.pages, &self.pages);
        let changed = match () {
            () if is_whole => None,
            () if is_same => Some(Vec::new()),
            () => Some(changed_pages(&self.pages, &seen.pages)),
        };
        if !is_same || is_first {
            self.totals = totals(&seen);
        }
        let pages = changed.as_deref().unwrap_or(&seen.pages);
        let (first, seq) = numbers.unwrap_or_default();
        let look = self.describe(&seen, (first, seq), pages.len() as u64, is_whole);
        let keyframe = (is_whole && !is_first).then_some((&self.spaces, seen.left));
        let is_taken = self.recorder.look(&look, pages, keyframe, self.context);
        let written = pages.len() as u64 + seq.0.saturating_sub(first.0) + 1;
        self.since_whole = match (is_taken, is_whole) {
            // The disk is behind: the next look says all of it, for changes of this one are missing.
            (false, _) => limit,
            (true, true) => 0,
            (true, false) => self.since_whole + written,
        };
        if is_whole {
            self.looker.forget();
        }
        if let Some(lines) = &mut self.lines {
            lines.look(&look, &found);
        }
        self.late = u64::from(!is_taken);
        self.sums.late += self.late;
        self.sums.looks += 1;
        self.sums.hold = self.sums.hold.max(look.hold);
        self.sums.end = seen.end;
        self.identity = Some(seen.identity);
        self.maps = seen.maps;
        self.pages = seen.pages;
    }

    /// Gives one event to the model and the recording; its number there.
    fn event(&mut self, op: Op, seen: &Seen, found: &mut Found) -> Seq {
        let rows = match &op {
            Op::Observed { rows, .. } => rows.len() as u64,
            _ => 0,
        };
        let event = self.envelope(op, seen.at, seen.left);
        let event = self.recorder.number(&event);
        let progress = self.spaces.event(&event);
        self.recorder.event(&event, &self.spaces, self.context);
        if self.lines.is_some() {
            progress.done.iter().for_each(|done| found.add(done, false));
        }
        self.next += 1;
        self.since_whole += rows;
        event.seq
    }

    pub(super) fn envelope(&self, op: Op, entered: MonoNs, left: MonoNs) -> Event {
        let pid = self.process.pid();
        Event {
            seq: Seq(self.next),
            entered,
            left,
            task: TaskId { pid, tid: Tid(pid.0), started: Some(self.process.started()) },
            mm: self.mm,
            op,
            outcome: Outcome::Done(0),
            stack: None,
            source: Source::Observed,
        }
    }

    fn describe(&self, seen: &Seen, (first, seq): (Seq, Seq), rows: u64, is_whole: bool) -> Look {
        let Totals { vmas, size, resident, anonymous, swapped } = self.totals;
        Look {
            first,
            seq,
            mm: self.mm,
            at: seen.at,
            took: seen.end.0.saturating_sub(seen.at.0),
            extent: if is_whole { Extent::Whole } else { Extent::Changed },
            method: page_source(seen.method),
            rows,
            vmas,
            size,
            resident,
            anonymous,
            swapped,
            swap_is_empty: seen.swap_is_empty,
            late: self.late,
            hold: seen.hold,
            cpu: vmatlas_sys::cpu_time(),
        }
    }
}

fn totals(seen: &Seen) -> Totals {
    // What has no page tables has no pages.
    let known =
        || seen.maps.rows.iter().zip(&*seen.pages).filter(|(row, _)| row.special() != Some(b"vsyscall"));
    let sum = |figure: fn(&PageCounts) -> Bytes| -> Option<Bytes> {
        known().map(|(_, page)| page.pages.as_ref().map(figure)).sum()
    };
    Totals {
        vmas: known().count() as u64,
        size: known().map(|(row, _)| row.range.len()).sum(),
        resident: sum(|pages| pages.resident),
        anonymous: sum(|pages| pages.anonymous),
        swapped: sum(|pages| pages.swapped),
    }
}

fn observed(asked: AddrRange, rows: &[VmaRow]) -> Op {
    // Nobody was held, so it is late: what it shows may have happened long before.
    Op::Observed { rows: rows.to_vec(), asked, late: true, in_flight: Vec::new() }
}
