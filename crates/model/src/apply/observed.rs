//! What the kernel itself said: an answer about a range, or the whole map.

use super::Edit;
use crate::diff::page_changes;
use crate::space::{AddressSpace, Applied, Origin};
use vmatlas_event::{AddrRange, Seq, VmaRow};

/// Puts the kernel's rows in place of the model's, wherever they or `asked` reach.
pub(super) fn answer(space: &mut AddressSpace, seq: Seq, asked: AddrRange, rows: &[VmaRow]) -> Applied {
    let window =
        if asked == AddrRange::ALL { asked } else { rows.iter().fold(asked, |w, row| w.hull(row.range)) };
    // Fast and common: the answer is what the model has.
    let mut model_rows = space.vmas.meeting(window);
    if rows.iter().all(|row| model_rows.next() == Some(row)) && model_rows.next().is_none() {
        return Applied::default();
    }
    drop(model_rows);
    let mut edit = Edit::new(space, seq);
    edit.open(window);
    let old = edit.change.before.clone();
    let drifted = page_changes(&old, rows, &[]).iter().any(|change| match change {
        // A predicted file mapping has no identity yet: that it gets one is no contradiction.
        crate::PageChange::Removed(row) => row.has_file() || !met_by(rows, row.range),
        crate::PageChange::Added(row) => !met_by(&old, row.range),
        _ => true,
    });
    // [vsyscall] is in maps but not a VMA, so a range answer never has it; it must not go for that.
    let taken = edit.space.take(window);
    for row in taken.into_iter().filter(|row| row.special() == Some(b"vsyscall")) {
        edit.space.put(row);
    }
    for row in rows {
        edit.space.put(row.clone());
    }
    mend_origins(edit.space, seq, window, &old, rows);
    let mut applied = edit.finish();
    applied.drifted = drifted;
    applied
}

/// Pages that appeared have this event as their origin; pages that went have none.
fn mend_origins(space: &mut AddressSpace, seq: Seq, window: AddrRange, old: &[VmaRow], rows: &[VmaRow]) {
    for change in page_changes(old, rows, &[]) {
        match change {
            crate::PageChange::Removed(row) if !met_by(rows, row.range) => {
                space.origins.take(row.range);
            }
            crate::PageChange::Added(row) if row.range.intersects(window) && !met_by(old, row.range) => {
                space.origins.put(Origin { range: row.range, seq });
            }
            _ => {}
        }
    }
}

fn met_by(rows: &[VmaRow], range: AddrRange) -> bool {
    let at = rows.partition_point(|row| row.range.end() <= range.start());
    rows.get(at).is_some_and(|row| row.range.intersects(range))
}

/// The whole map as the kernel showed it takes the place of the model's.
pub(super) fn snapshot(space: &mut AddressSpace, seq: Seq, rows: &[VmaRow]) -> Applied {
    answer(space, seq, AddrRange::ALL, rows)
}
