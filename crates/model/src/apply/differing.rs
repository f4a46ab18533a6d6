//! Where a map that was read whole says something else than the model: mostly at a few places, or nowhere.

use super::{Ranges, is_vma};
use crate::interval::IntervalMap;
use smallvec::smallvec;
use std::borrow::Cow;
use vmatlas_event::{AddrRange, VmaRow};

/// More places than these are taken as one.
const MOST: usize = 16;

/// The places where the rows differ, in address order and apart from each other; everything, where there are many of them or
/// the rows are in no order.
pub(super) fn places(model: &IntervalMap<VmaRow>, rows: &[VmaRow]) -> Ranges {
    // Not a VMA: an answer that does not have it says nothing about it.
    let kept = model.iter().next_back().filter(|row| !is_vma(row) && rows.last().as_ref().is_none_or(is_vma));
    let count = model.len() - usize::from(kept.is_some());
    let is_ordered = rows.is_sorted_by(|a, b| a.range.end() <= b.range.start());
    let found = if is_ordered && !rows.iter().any(|row| row.range.is_empty()) {
        differing(model.iter().take(count), rows.iter())
    } else {
        None
    };
    let meets_kept = |place: &AddrRange| kept.is_some_and(|row| row.range.intersects(*place));
    found.filter(|places| !places.iter().any(meets_kept)).unwrap_or_else(|| smallvec![AddrRange::ALL])
}

/// `None` where there are too many.
fn differing<'a>(
    model: impl Iterator<Item = &'a VmaRow>,
    rows: impl Iterator<Item = &'a VmaRow>,
) -> Option<Ranges> {
    let (mut model, mut rows) = (model.peekable(), rows.peekable());
    let mut places = Ranges::new();
    let mut place: Option<AddrRange> = None;
    loop {
        let lower = match (model.peek(), rows.peek()) {
            (Some(ours), Some(theirs)) if ours == theirs => {
                model.next();
                rows.next();
                places.extend(place.take());
                if places.len() > MOST {
                    return None;
                }
                continue;
            }
            (Some(ours), Some(theirs)) if theirs.range.end() < ours.range.end() => rows.next(),
            (Some(_), _) => model.next(),
            (None, _) => rows.next(),
        };
        let Some(row) = lower else { break };
        place = Some(place.map_or(row.range, |place| place.hull(row.range)));
    }
    places.extend(place);
    (places.len() <= MOST).then_some(places)
}

/// The rows that lie in `places`, which cut none.
pub(super) fn rows_in<'a>(places: &[AddrRange], rows: &'a [VmaRow]) -> Cow<'a, [VmaRow]> {
    let part = |place: &AddrRange| {
        let from = rows.partition_point(|row| row.range.end() <= place.start());
        let to = rows.partition_point(|row| row.range.start() < place.end());
        rows.get(from..to).unwrap_or_default()
    };
    match places {
        [AddrRange::ALL] => Cow::Borrowed(rows),
        [place] => Cow::Borrowed(part(place)),
        _ => Cow::Owned(places.iter().flat_map(part).cloned().collect()),
    }
}
