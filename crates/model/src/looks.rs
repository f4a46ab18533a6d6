//! Two looks at one address space, and what is different: parts of the map, and the pages of single VMAs.

use crate::apply::is_vma;
use std::iter::Peekable;
use std::ops::Range;
use vmatlas_event::{AddrRange, PageRow, VmaRow};

/// A part of the map that is different: neighbouring VMAs that were there, or are there now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedPart {
    /// From the first of them to the end of the last.
    pub range: AddrRange,
    /// Which of the later look's rows lie in it; they lie there whole.
    pub rows: Range<usize>,
    /// How much larger what is mapped there is now, in bytes.
    growth: i128,
}

/// The parts of the map that differ between `before` and `after`, both in address order, those that shrank most first: when
/// each takes its turn, the map is never larger between them than before the first or after the last.
pub fn changed_parts<'a>(before: impl Iterator<Item = &'a VmaRow>, after: &'a [VmaRow]) -> Vec<ChangedPart> {
    let mut old = before.filter(is_vma).peekable();
    let mut new = after.iter().enumerate().filter(|(_, row)| is_vma(row)).peekable();
    let mut parts: Vec<ChangedPart> = Vec::new();
    loop {
        let same = matches!((old.peek(), new.peek()), (Some(old), Some((_, new))) if *old == *new);
        if same {
            old.next();
            new.next();
            continue;
        }
        match part(&mut old, &mut new) {
            Some(part) => parts.push(part),
            None => break,
        }
    }
    parts.sort_by_key(|part| part.growth);
    parts
}

/// The part that begins with the next rows, which differ: up to where an end of one is an end of the other, or none.
fn part<'a>(
    old: &mut Peekable<impl Iterator<Item = &'a VmaRow>>,
    new: &mut Peekable<impl Iterator<Item = (usize, &'a VmaRow)>>,
) -> Option<ChangedPart> {
    let mut part: Option<ChangedPart> = None;
    let add = |part: &mut Option<ChangedPart>, range: AddrRange, index: Option<usize>| {
        let sign = if index.is_some() { 1 } else { -1 };
        let growth = sign * i128::from(range.len().0);
        let all = part.get_or_insert(ChangedPart { range, rows: 0..0, growth: 0 });
        all.range = all.range.hull(range);
        all.growth += growth;
        if let Some(index) = index {
            let start = if all.rows.is_empty() { index } else { all.rows.start };
            all.rows = start..index + 1;
        }
    };
    loop {
        // Rows that the part meets belong to it; the first one is whichever begins first.
        let end = part.as_ref().map(|part| part.range.end());
        let reaches = |range: AddrRange| end.is_none_or(|end| range.start() < end);
        let next_old = old.peek().map(|row| row.range).filter(|range| reaches(*range));
        let next_new = new.peek().map(|(_, row)| row.range).filter(|range| reaches(*range));
        match (next_old, next_new) {
            (Some(a), b) if b.is_none_or(|b| a.start() <= b.start()) => {
                old.next();
                add(&mut part, a, None);
            }
            (_, Some(b)) => {
                let index = new.next().map(|(index, _)| index);
                add(&mut part, b, index);
            }
            _ => return part,
        }
    }
}

/// Which rows of `after` are new or have other figures than in `before`; both in address order.
pub fn changed_pages(before: &[PageRow], after: &[PageRow]) -> Vec<PageRow> {
    let mut old = before.iter().peekable();
    let is_new = |row: &&PageRow| {
        while old.next_if(|old| old.range.start() < row.range.start()).is_some() {}
        old.next_if(|old| old.range.start() == row.range.start()) != Some(row)
    };
    after.iter().filter(is_new).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Spaces;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use vmatlas_event::*;

    fn range(start: u64, end: u64) -> AddrRange {
        AddrRange::new(Addr(start * 4096), Addr(end * 4096)).unwrap()
    }

    fn row(start: u64, end: u64, prot: Prot) -> VmaRow {
        VmaRow::anonymous(range(start, end), prot)
    }

    /// Rows that do not overlap, from gaps, lengths and protections.
    fn map(parts: &[(u64, u64, bool)]) -> Vec<VmaRow> {
        let mut at = 16;
        let rows = parts.iter().map(|(gap, len, writes)| {
            let start = at + gap;
            at = start + len;
            row(start, at, if *writes { Prot::RW } else { Prot::READ })
        });
        let mut rows: Vec<VmaRow> = rows.collect();
        let mut last = row(0xf_ffff_ffff_f600, 0xf_ffff_ffff_f601, Prot::EXEC);
        last.name = Some(Name::new(b"[vsyscall]"));
        rows.push(last);
        rows
    }

    fn event(seq: u64, op: Op) -> Event {
        Event {
            seq: Seq(seq),
            entered: MonoNs(seq),
            left: MonoNs(seq),
            task: TaskId { pid: Pid(1), tid: Tid(1), started: None },
            mm: MmId(1),
            op,
            outcome: Outcome::Done(0),
            stack: None,
            source: Source::Observed,
        }
    }

    /// Checks parts by an example: one that grew, one that went, one that changed; the rest is not named.
    #[test]
    fn only_what_differs_is_named() {
        let before = [row(1, 2, Prot::RW), row(4, 6, Prot::RW), row(8, 9, Prot::RW), row(20, 30, Prot::RW)];
        let after =
            [row(1, 2, Prot::RW), row(4, 7, Prot::RW), row(20, 22, Prot::READ), row(22, 30, Prot::RW)];
        let parts = changed_parts(before.iter(), &after);
        let found: Vec<_> = parts.iter().map(|part| (part.range, part.rows.clone())).collect();
        assert_eq!(found, [(range(8, 9), 0..0), (range(20, 30), 2..4), (range(4, 7), 1..2)]);
        assert_eq!(changed_parts(after.iter(), &after), []);
    }

    /// Checks that VMAs with the same pages are left out, and that a VMA with other ends is a new one.
    #[test]
    fn pages_that_changed_are_given() {
        let row = |start, end, resident| PageRow {
            range: range(start, end),
            backing: Backing::Anonymous,
            pages: Some(PageCounts { resident: Bytes(resident), ..PageCounts::default() }),
        };
        let before = [row(1, 2, 0), row(3, 4, 5), row(6, 7, 1), row(9, 10, 1)];
        let after = [row(1, 2, 0), row(2, 3, 0), row(3, 5, 5), row(9, 10, 2)];
        assert_eq!(changed_pages(&before, &after), [row(2, 3, 0), row(3, 5, 5), row(9, 10, 2)]);
        assert_eq!(changed_pages(&[], &after), after);
        assert_eq!(changed_pages(&after, &after), []);
    }

    proptest! {
        /// Checks that the model, told only of the parts that changed, is the later map, and was never larger between.
        #[test]
        fn parts_lead_from_one_map_to_the_other(
            a in vec((0u64..4, 1u64..6, any::<bool>()), 1..24),
            b in vec((0u64..4, 1u64..6, any::<bool>()), 1..24),
            is_edited in any::<bool>(),
        ) {
            let before = map(&a);
            // Half of the time most of the map stays.
            let half = a.len() / 2;
            let b = if is_edited { [&a[..half], &b[..b.len().min(2)], &a[half..]].concat() } else { b };
            let after = map(&b);
            let mut spaces = Spaces::new(PageSize::new(4096).unwrap());
            let op = Op::Snapshot { reason: SnapshotReason::Watch, rows: before.clone() };
            spaces.event(&event(0, op));
            let size = |rows: &[VmaRow]| rows.iter().filter(is_vma).map(|row| row.range.len()).sum::<Bytes>();
            for (index, part) in changed_parts(before.iter(), &after).into_iter().enumerate() {
                let rows = after[part.rows].to_vec();
                let (asked, late, in_flight) = (part.range, true, Vec::new());
                prop_assert!(rows.iter().all(|row| asked.covers(row.range)));
                spaces.event(&event(index as u64 + 1, Op::Observed { rows, asked, late, in_flight }));
            }
            let space = spaces.get(MmId(1)).unwrap();
            prop_assert_eq!(space.vmas().cloned().collect::<Vec<_>>(), after.clone());
            prop_assert!(space.peak() <= size(&before).max(size(&after)).max(space.size()));
            prop_assert_eq!(spaces.tally().drift, 0);
        }
    }
}
