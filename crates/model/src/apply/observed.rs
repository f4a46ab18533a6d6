//! What the kernel itself said: an answer about a range, or the whole map.

use super::Edit;
use crate::check::{Difference, Level};
use crate::diff::{page_changes, same_coverage};
use crate::space::{AddressSpace, Applied, Origin};
use crate::{Change, PageChange};
use smallvec::SmallVec;
use vmatlas_event::{Addr, AddrRange, Seq, Sharing, SnapshotReason, VmaRow};

/// Puts the kernel's rows in place of the model's, wherever they or `asked` reach.
pub(super) fn answer(space: &mut AddressSpace, seq: Seq, asked: AddrRange, rows: &[VmaRow]) -> Applied {
    replaced(space, seq, asked, true, rows)
}

/// The same; `of_call` says whether the rows answer a question about a call.
fn replaced(space: &mut AddressSpace, seq: Seq, asked: AddrRange, of_call: bool, rows: &[VmaRow]) -> Applied {
    let window =
        if asked == AddrRange::ALL { asked } else { rows.iter().fold(asked, |w, row| w.hull(row.range)) };
    for row in rows.iter().filter(|row| row.special() == Some(b"stack")) {
        space.rules.grow(row.range);
    }
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
    // A VMA that reaches over the window was cut at its ends: what lies outside was not asked about.
    let before: Vec<VmaRow> = edit.change.before.iter().filter_map(|row| row.clip(window)).collect();
    let pages = match same_coverage(&before, rows) {
        true => Vec::new(),
        false => page_changes(&before, rows, &[]),
    };
    let mut drifted = false;
    let mut grown: Vec<AddrRange> = Vec::new();
    let mut uncalled = 0;
    // From above: what grew may have been cut since, and then only its uppermost part touches what it grew from.
    for change in pages.iter().rev() {
        if let PageChange::Added(row) = change
            && (has_grown_down(edit.space, row.range, rows)
                || is_anonymous(row)
                    && (of_call && is_below_growing(edit.space, asked, row)
                        || grown.iter().any(|above| above.start() == row.range.end())))
        {
            grown.push(row.range);
            continue;
        }
        if let PageChange::Added(row) = change
            && row.special() == Some(b"uprobes")
        {
            // Comes with the first hit of a probe that somebody else has set.
            uncalled += 1;
            continue;
        }
        drifted |= match change {
            // A predicted file mapping has no identity yet: that it gets one is no contradiction.
            PageChange::Removed(row) => row.has_file() || !met_by(rows, row.range),
            PageChange::Added(row) => !met_by(&before, row.range),
            _ => true,
        };
    }
    edit.space.clear(window);
    for row in rows {
        edit.space.put(row.clone());
    }
    mend_origins(&mut edit, &pages, &before, rows);
    for range in &grown {
        edit.space.rules.grow(*range);
    }
    let mut applied = edit.finish();
    applied.drifted = drifted;
    applied.grown = grown;
    applied.uncalled = uncalled;
    applied
}

/// Whether these pages came to be where a VMA could grow to: the hole below it was asked about, and this is a part of
/// what it has become, cut off by the call (see `Edit::look_below_growing()`). Or the call did not say where it acts, and
/// these pages touch such a VMA.
fn is_below_growing(space: &AddressSpace, asked: AddrRange, added: &VmaRow) -> bool {
    let starts_growing = |addr: Addr| {
        space.rules.grows_at(addr) && space.vma_at(addr).is_some_and(|row| row.range.start() == addr)
    };
    space.holes.contains(&asked) || asked == AddrRange::ALL && starts_growing(added.range.end())
}

fn is_anonymous(row: &VmaRow) -> bool {
    !row.has_file() && row.sharing == Sharing::Private
}

/// Whether all that happened is that neighbours became one, or grew down.
fn only_merged(change: &Change, grown: &[AddrRange]) -> bool {
    let is_boundary = |addr: Addr| {
        change
            .before
            .iter()
            .map(|row| row.range)
            .chain(grown.iter().copied())
            .any(|range| range.start() == addr)
    };
    change.after.iter().all(|row| is_boundary(row.range.start()))
}

/// Whether these pages are what a VMA of the model that grows down has got below its start.
fn has_grown_down(space: &AddressSpace, added: AddrRange, rows: &[VmaRow]) -> bool {
    let above = space.vma_at(added.end()).filter(|row| row.range.start() == added.end());
    let is_one = |above: &VmaRow| {
        rows.iter().any(|row| row.range.covers(added) && row.range.contains(above.range.start()))
    };
    above.is_some_and(|above| space.rules.grows_at(added.end()) && is_one(above))
}

/// [vsyscall] is in maps but not a VMA, so a range answer never has it; it must not go for that.
pub(crate) fn is_vma(row: &&VmaRow) -> bool {
    row.special() != Some(b"vsyscall")
}

/// Pages that appeared have this event as their origin; pages that went have none.
fn mend_origins(edit: &mut Edit<'_>, pages: &[PageChange], before: &[VmaRow], rows: &[VmaRow]) {
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
            edit.space.rules.remove(range);
        }
    }
}

fn met_by(rows: &[VmaRow], range: AddrRange) -> bool {
    let at = rows.partition_point(|row| row.range.end() <= range.start());
    rows.get(at).is_some_and(|row| row.range.intersects(range))
}

/// The whole map as the kernel showed it takes the place of the model's.
pub(super) fn snapshot(
    space: &mut AddressSpace,
    seq: Seq,
    reason: SnapshotReason,
    rows: &[VmaRow],
) -> Applied {
    let before = match reason {
        SnapshotReason::Check => space.difference(rows),
        _ => None,
    };
    let applied = replaced(space, seq, AddrRange::ALL, false, rows);
    // A stack that grew is no difference; it may hide one, so the rest is compared as if it had been known.
    let difference = match before {
        Some(_) if !applied.grown.is_empty() => {
            space.before(&applied.change, &applied.grown).difference(rows)
        }
        before => before,
    };
    let mut applied = Applied { difference: difference.map(Box::new), ..applied };
    let is_merge =
        |d: &Difference| d.level == Level::Boundaries && only_merged(&applied.change, &applied.grown);
    if space.rules.has_userfaultfd() && applied.difference.as_deref().is_some_and(is_merge) {
        // Somebody closed it.
        space.rules.lose_userfaultfd();
        applied.difference = None;
        applied.uncalled += 1;
    }
    applied
}
