//! What the kernel itself said: an answer about a range, or the whole map.

use super::{Edit, differing, first};
use crate::check::{Difference, Level};
use crate::diff::{page_changes, same_coverage};
use crate::space::{AddressSpace, Applied, Origin, Taken};
use crate::undo::MANY;
use crate::{Change, PageChange};
use smallvec::{SmallVec, smallvec};
use vmatlas_event::{Addr, AddrRange, Seq, Sharing, SnapshotReason, VmaRow};

/// So many places of origins are remembered one by one.
const MOST_WINDOWS: usize = 16;

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
    if asked == AddrRange::ALL
        && !of_call
        && let Some(applied) = first::apply(space, seq, rows)
    {
        return applied;
    }
    let places = match asked == AddrRange::ALL {
        true => differing::places(&space.vmas, rows),
        false => smallvec![window],
    };
    replaced_in(space, seq, (asked, of_call), window, &places, rows)
}

/// The same in `places` of the `window`: elsewhere the rows are those of the model.
fn replaced_in(
    space: &mut AddressSpace,
    seq: Seq,
    (asked, of_call): (AddrRange, bool),
    window: AddrRange,
    places: &[AddrRange],
    rows: &[VmaRow],
) -> Applied {
    let mut edit = Edit::new(space, seq);
    places.iter().for_each(|place| edit.open_vmas(*place));
    let rows = differing::rows_in(places, rows);
    let with_kept: Vec<VmaRow>;
    let rows = match edit.change.before.last().filter(|row| !is_vma(row)) {
        Some(kept) if rows.last().as_ref().is_none_or(is_vma) => {
            with_kept = rows.iter().chain([kept]).cloned().collect();
            &with_kept[..]
        }
        _ => &rows[..],
    };
    // A VMA that reaches over the window was cut at its ends: what lies outside was not asked about.
    let before: Vec<VmaRow> = edit.change.before.iter().filter_map(|row| row.clip(window)).collect();
    let pages = match same_coverage(&before, rows) {
        true => Vec::new(),
        false => page_changes(&before, rows, &[]),
    };
    let met = met_by_others(&pages, &before, rows);
    let mut drifted = false;
    let mut grown: Vec<AddrRange> = Vec::new();
    let mut uncalled = 0;
    // From above: what grew may have been cut since, and then only its uppermost part touches what it grew from.
    for (change, is_met) in pages.iter().zip(&met).rev() {
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
            PageChange::Removed(row) => row.has_file() || !is_met,
            PageChange::Added(_) => !is_met,
            _ => true,
        };
    }
    if window != AddrRange::ALL || !edit.space.replace_many(&before, rows) {
        places.iter().for_each(|place| edit.space.clear(*place));
        for row in rows {
            edit.space.put(row.clone());
        }
    }
    mend_origins(&mut edit, &pages, &met);
    for range in &grown {
        edit.space.rules.grow(*range);
    }
    if of_call {
        // What grows, grows as a whole VMA. (It was not there when calls overlapped, and has grown meanwhile.)
        let is_part = |row: &&VmaRow| {
            let parts = edit.space.rules.growing_in(row.range);
            !parts.is_empty() && !parts.iter().any(|part| part.start() == row.range.start())
        };
        let whole: Vec<AddrRange> = rows.iter().filter(is_part).map(|row| row.range).collect();
        whole.iter().for_each(|range| edit.space.rules.grow(*range));
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
fn mend_origins(edit: &mut Edit<'_>, pages: &[PageChange], met: &[bool]) {
    let mended: SmallVec<[(AddrRange, bool); 2]> = pages
        .iter()
        .zip(met)
        .filter_map(|(change, is_met)| match change {
            PageChange::Removed(row) if !is_met => Some((row.range, false)),
            PageChange::Added(row) if !is_met => Some((row.range, true)),
            _ => None,
        })
        .collect();
    // One window over all of them, where there are many: a map read whole has 60,000.
    if mended.len() <= MOST_WINDOWS {
        mended.iter().for_each(|(range, _)| edit.open_origins(*range));
    } else if let Some(window) = mended.iter().map(|(range, _)| *range).reduce(AddrRange::hull) {
        edit.open_origins(window);
    }
    let seq = edit.seq;
    if mended.len() >= MANY && mended.iter().all(|(_, appeared)| *appeared) {
        let fresh: Vec<Origin> = mended.iter().map(|(range, _)| Origin { range: *range, seq }).collect();
        if edit.space.origins.exchange(&[], &fresh) {
            return;
        }
    }
    for (range, appeared) in mended {
        if appeared {
            edit.space.origins.put(Origin { range, seq });
        } else {
            edit.space.origins.remove(range, |_| ());
            edit.space.rules.remove(range);
        }
    }
    if let Some(taken) = edit.space.taken.take() {
        give_back(edit, &taken, pages, met);
        // Its other answers are to come.
        edit.space.taken = Some(taken);
    }
}

/// Pages that an overlapping call should have taken away are there, and look as before: they were made after it, by the call
/// that we had heard of before it, and not by its question. (Seen: of a buffer that one thread gave back while another one got
/// the same place, each touch was told as one of what munmap had made.) Should a call have made them of which we are still to
/// hear, it will say so.
fn give_back(edit: &mut Edit<'_>, taken: &Taken, pages: &[PageChange], met: &[bool]) {
    for (change, is_met) in pages.iter().zip(met) {
        let PageChange::Added(now) = change else { continue };
        for row in taken.rows.iter().filter(|row| !is_met && row.same_attributes(now)) {
            let place = row.range.intersect(now.range);
            for origin in &taken.origins {
                let part = place.and_then(|place| place.intersect(origin.range));
                part.filter(|part| !part.is_empty())
                    .into_iter()
                    .for_each(|range| edit.space.origins.put(Origin { range, seq: origin.seq }));
            }
        }
    }
}

/// For each change that adds or removes pages, whether something is there on the other side.
fn met_by_others(pages: &[PageChange], before: &[VmaRow], after: &[VmaRow]) -> Vec<bool> {
    // All are in address order: each side is walked once.
    let (mut before, mut after) = (before, after);
    let mut meets = |change: &PageChange| {
        let (side, range) = match change {
            PageChange::Removed(row) => (&mut after, row.range),
            PageChange::Added(row) => (&mut before, row.range),
            _ => return false,
        };
        let passed = side.iter().take_while(|row| row.range.end() <= range.start()).count();
        *side = side.get(passed..).unwrap_or_default();
        side.first().is_some_and(|row| row.range.intersects(range))
    };
    pages.iter().map(&mut meets).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::tests::anon;
    use proptest::prelude::*;
    use vmatlas_event::{Name, PageSize, Prot};

    /// A row over two pages; some go on in the next one.
    fn row(slot: usize, kind: u8) -> Option<VmaRow> {
        let start = 2 * slot as u64;
        let named = |name: &str| VmaRow {
            name: Some(Name::new(name.as_bytes())),
            ..anon(start, start + 2, Prot::RW)
        };
        match kind {
            0 => None,
            1 => Some(anon(start, start + 2, Prot::RW)),
            2 => Some(anon(start, start + 2, Prot::READ)),
            3 => Some(anon(start + 1, start + 2, Prot::RW)),
            4 => Some(VmaRow { inode: 7, offset: start << 12, ..anon(start, start + 2, Prot::READ) }),
            5 => Some(named("[stack]")),
            6 => Some(named("[uprobes]")),
            _ => Some(named("[anon:x]")),
        }
    }

    fn rows(kinds: &[u8], vsyscall: u8) -> Vec<VmaRow> {
        let rows = kinds.iter().enumerate().filter_map(|(slot, kind)| row(slot, *kind));
        let prot = if vsyscall == 1 { Prot::EXEC } else { Prot::READ };
        let page = VmaRow { name: Some(Name::new(b"[vsyscall]")), ..anon(9000, 9001, prot) };
        rows.chain((vsyscall > 0).then_some(page)).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        /// Checks that a map that is read whole and differs at some places does what it does where all of it is looked at,
        /// also where nothing was there before; and that this can be taken back.
        #[test]
        fn places_are_as_good_as_everything(
            kinds in proptest::collection::vec(0u8..8, 0..60),
            others in proptest::collection::vec((any::<prop::sample::Index>(), 0u8..8), 0..40),
            vsyscall in (0u8..3, 0u8..3),
            // No growing, some, all.
            grows in 0usize..3,
            nothing in any::<bool>(),
        ) {
            let mut space = AddressSpace::new(PageSize::FOUR_KIB);
            let before = if nothing { vec![] } else { rows(&kinds, vsyscall.0) };
            for (at, row) in before.iter().enumerate() {
                space.put(row.clone());
                space.origins.put(Origin { range: row.range, seq: Seq(at as u64 / 3) });
                if grows > 0 && at % 3 < grows {
                    space.rules.grow(row.range);
                }
            }
            space.rules.take_before();
            let mut after = kinds.clone();
            for (at, kind) in others.iter().filter(|_| !kinds.is_empty()) {
                after[at.index(kinds.len())] = *kind;
            }
            let read = rows(&after, vsyscall.1);
            let first = space.clone();
            let mut whole = space.clone();
            let (all, seq) = (AddrRange::ALL, Seq(99));
            let found = replaced(&mut space, seq, all, false, &read);
            let is_same = whole.vmas.iter().filter(is_vma).eq(read.iter().filter(is_vma));
            read.iter().filter(|r| r.special() == Some(b"stack")).for_each(|r| whole.rules.grow(r.range));
            let wanted = match is_same {
                true => Applied::default(),
                false => replaced_in(&mut whole, seq, (all, false), all, &[all], &read),
            };
            prop_assert_eq!(&found.change, &wanted.change);
            prop_assert_eq!((found.drifted, &found.grown, found.uncalled), (wanted.drifted, &wanted.grown, wanted.uncalled));
            let state = |space: &AddressSpace| {
                let vmas: Vec<VmaRow> = space.vmas().cloned().collect();
                (vmas, space.origins().cloned().collect::<Vec<_>>(), space.size(), space.rules.grows().to_vec())
            };
            prop_assert_eq!(state(&space), state(&whole));
            space.undo(&found.change);
            prop_assert!(space.vmas().eq(first.vmas()) && space.origins().eq(first.origins()));
            prop_assert_eq!(space.size(), first.size());
        }
    }

    /// Checks that two rows that differ among many are all that is looked at and told.
    #[test]
    fn a_few_differences_are_found() {
        let model: Vec<VmaRow> = (0..2000).map(|i| anon(2 * i, 2 * i + 1, Prot::RW)).collect();
        let mut space = AddressSpace::new(PageSize::FOUR_KIB);
        model.iter().for_each(|row| space.put(row.clone()));
        let mut read = model.clone();
        for at in [0, 1999] {
            read[at].prot = Prot::READ;
        }
        let ends = [model[0].range, model[1999].range];
        assert_eq!(differing::places(&space.vmas, &read)[..], ends);
        let change = snapshot(&mut space, Seq(1), SnapshotReason::Request, &read).change;
        assert_eq!((change.before.len(), change.after.len()), (2, 2));
        read.reverse();
        assert_eq!(differing::places(&space.vmas, &read)[..], [AddrRange::ALL]);
        read.iter_mut().for_each(|row| row.prot = Prot::EXEC);
        assert_eq!(differing::places(&space.vmas, &read)[..], [AddrRange::ALL]);
    }
}
