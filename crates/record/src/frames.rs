//! The frames of a tail by their tables, so that those of one are found without a look at all the others: there may be as many
//! keyframes as frames.

use crate::tail::{Frame, Tail};
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// The frames of each table, by its number.
pub(crate) struct Frames(FxHashMap<u16, Arc<[Entry]>>);

/// A frame in its place.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) frame: Frame,
    /// The highest key of this frame and of those before it but the first; that one counts for nothing.
    highest: i64,
}

impl Frames {
    pub(crate) fn new(tail: &Tail) -> Frames {
        let mut tables: FxHashMap<u16, Vec<Entry>> = FxHashMap::default();
        for frame in tail.frames.iter().copied() {
            let entries = tables.entry(frame.table.id).or_default();
            let highest = entries.last().map_or(i64::MIN, |last| last.highest.max(frame.key));
            entries.push(Entry { frame, highest });
        }
        Frames(tables.into_iter().map(|(table, entries)| (table, entries.into())).collect())
    }

    /// The frames of a table, and how many of them can be left out because the next one still begins before `from`.
    pub(crate) fn of(&self, table: u16, from: i64) -> (Arc<[Entry]>, usize) {
        let Some(entries) = self.0.get(&table) else { return (Arc::new([]), 0) };
        let before = entries.partition_point(|entry| entry.highest < from);
        (Arc::clone(entries), before.saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::EVENTS;

    /// Checks that what is left out is what a look at one frame after the other would leave out, whatever the keys are.
    #[test]
    fn frames_before_are_left_out() {
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        for count in 0..40 {
            let keys: Vec<i64> = (0..count)
                .map(|n| {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    // Most in order, as they are written; some not.
                    if random >> 60 == 0 { i64::MIN + (random >> 40) as i64 % 3 } else { n * 3 }
                })
                .collect();
            let tail = crate::tail::tests::of_keys(&EVENTS, &keys);
            for from in [i64::MIN, i64::MIN + 1, -1, 0, 1, 5, 60, 200, i64::MAX] {
                let (entries, left_out) = Frames::new(&tail).of(EVENTS.id, from);
                let wanted = keys.windows(2).take_while(|pair| pair[1] < from).count();
                assert_eq!(left_out, wanted, "{from} of {keys:?}");
                assert!(entries.iter().map(|entry| entry.frame.key).eq(keys.iter().copied()));
            }
        }
    }
}
