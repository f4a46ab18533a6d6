//! What the kernel itself said: an answer about a range, or the whole map.

use super::Edit;
use crate::PageChange;
use crate::diff::{page_changes, same_coverage};
use crate::space::{AddressSpace, Applied, Origin};
use smallvec::SmallVec;
use vmatlas_event::{AddrRange, Seq, VmaRow};

/// Puts the kernel's rows in place of the model's, wherever they or `asked` reach.
pub(super) fn answer(space: &mut AddressSpace, seq: Seq, asked: AddrRange, rows: &[VmaRow]) -> Applied {
    let window =
        if asked == AddrRange::ALL { asked } else { rows.iter().fold(asked, |w, row| w.hull(row.range)) };
    // Fast and common: the answer is what the model has.
    let mut model_rows = space.vmas.meeting(window).filter(is_vma);
    if rows.iter().filter(is_vma).all(|row| model_rows.next() == Some(row)) && model_rows.next().is_none() {
        return Applied::default();
    }
    drop(model_rows);
    let mut edit = Edit::new(space, seq);
    edit.open_vmas(window);
    let with_kept: Vec<VmaRow>;
    let rows = match edit.change.before.last().filter(|row| !is_vma(row)) {
        Some(kept) if rows.last().as_ref().is_none_or(is_vma) => {
            with_kept = rows.iter().chain([kept]).cloned().collect();
            &with_kept[..]
        }
        _ => rows,
    };
    let pages = match same_coverage(&edit.change.before, rows) {
        true => Vec::new(),
        false => page_changes(&edit.change.before, rows, &[]),
    };
    let mut drifted = false;
    for change in &pages {
        drifted |= match change {
            // A predicted file mapping has no identity yet: that it gets one is no contradiction.
            PageChange::Removed(row) => row.has_file() || !met_by(rows, row.range),
            PageChange::Added(row) => !met_by(&edit.change.before, row.range),
            _ => true,
        };
    }
    edit.space.clear(window);
    for row in rows {
        edit.space.put(row.clone());
    }
    mend_origins(&mut edit, &pages, rows);
    let mut applied = edit.finish();
    applied.drifted = drifted;
    applied
}

/// [vsyscall] is in maps but not a VMA, so a range answer never has it; it must not go for that.
fn is_vma(row: &&VmaRow) -> bool {
    row.special() != Some(b"vsyscall")
}

/// Pages that appeared have this event as their origin; pages that went have none.
fn mend_origins(edit: &mut Edit<'_>, pages: &[PageChange], rows: &[VmaRow]) {
    let before = &edit.change.before;
    let mended: SmallVec<[(AddrRange, bool); 2]> = pages
        .iter()
        .filter_map(|change| match change {
            PageChange::Removed(row) if !met_by(rows, row.range) => Some((row.range, false)),
            PageChange::Added(row) if !met_by(before, row.range) => Some((row.range, true)),
            _ => None,
        })
        .collect();
    // One window over all of them: a map read whole has 60,000.
    if let Some(window) = mended.iter().map(|(range, _)| *range).reduce(AddrRange::hull) {
        edit.open_origins(window);
    }
    for (range, appeared) in mended {
        if appeared {
            edit.space.origins.put(Origin { range, seq: edit.seq });
        } else {
            edit.space.origins.remove(range, |_| ());
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
