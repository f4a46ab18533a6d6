//! Ranges that may overlap and lie inside each other, found by an address.

/// How many ranges around an address are looked at: real code nests two or three deep.
const WALK: usize = 256;

/// What lies where, sorted by start.
#[derive(Debug)]
pub(super) struct Ranges<T> {
    items: Vec<Item<T>>,
}

#[derive(Debug)]
struct Item<T> {
    start: u64,
    end: u64,
    /// The nearest item before this one that reaches over its start, plus one; 0 where there is none.
    outer: u32,
    value: T,
}

impl<T> Ranges<T> {
    /// Takes half-open ranges, in an order in which of those with one start the later is found first. Empty ones, and
    /// more than fit in 32 bits, are left out.
    pub(super) fn new(mut ranges: Vec<(u64, u64, T)>) -> Ranges<T> {
        ranges.retain(|(start, end, _)| start < end);
        ranges.truncate(u32::MAX as usize - 1);
        ranges.sort_by_key(|(start, _, _)| *start);
        // Those that reach over the place the sweep is at; each is popped once.
        let mut open: Vec<(u64, u32)> = Vec::new();
        let items = ranges.into_iter().zip(1..).map(|((start, end, value), number)| {
            while open.last().is_some_and(|(end, _)| *end <= start) {
                open.pop();
            }
            let outer = open.last().map_or(0, |(_, number)| *number);
            open.push((end, number));
            Item { start, end, outer, value }
        });
        Ranges { items: items.collect() }
    }

    /// What covers an address, from the latest start outwards; at most 256 are tried.
    pub(super) fn covering(&self, at: u64) -> impl Iterator<Item = &T> {
        let mut next = self.items.partition_point(|item| item.start <= at);
        std::iter::from_fn(move || {
            let item = self.items.get(next.checked_sub(1)?)?;
            next = item.outer as usize;
            Some(item)
        })
        .take(WALK)
        .filter(move |item| at < item.end)
        .map(|item| &item.value)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks every address against a plain search, with ranges that nest, overlap, touch and repeat.
    #[test]
    fn the_covering_ranges_are_those_of_a_plain_search() {
        let ranges = vec![
            (0, 100, 'a'),
            (10, 20, 'b'),
            (15, 40, 'c'),
            (20, 30, 'd'),
            (20, 25, 'e'),
            (50, 50, 'x'),
            (90, 120, 'f'),
            (95, 96, 'g'),
            (130, 140, 'h'),
        ];
        let found = Ranges::new(ranges.clone());
        assert_eq!(found.len(), 8);
        for at in 0..150 {
            let mut plain: Vec<_> = ranges.iter().filter(|(s, e, _)| *s <= at && at < *e).collect();
            plain.reverse();
            let plain: Vec<char> = plain.into_iter().map(|(_, _, c)| *c).collect();
            assert_eq!(found.covering(at).copied().collect::<Vec<_>>(), plain, "at {at}");
        }
    }

    /// Checks that what nests without end is looked at 256 times only.
    #[test]
    fn the_walk_outwards_has_a_bound() {
        let ranges = Ranges::new((0..100_000).map(|i| (i, 300_000 - i, ())).collect());
        assert_eq!(ranges.covering(99_999).count(), WALK);
    }
}
