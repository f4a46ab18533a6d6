//! What the allocator inside a heap has given out and what it holds back.

use vmatlas_event::{Addr, AddrRange, Bytes};

/// One arena of glibc's malloc. A figure is `None` where the lists were inconsistent or could not be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arena {
    /// Where its malloc_state is.
    pub addr: Addr,
    /// Whether it is the first arena, whose memory is the brk heap.
    pub main: bool,
    /// Threads attached to it.
    pub threads: Option<u64>,
    /// What it got from the kernel.
    pub system: Option<Bytes>,
    /// What the program has; blocks that wait in the caches of threads are among it.
    pub used: Option<Bytes>,
    /// Free blocks in its lists, the rest at its end (top) not among them.
    pub free: Option<Bytes>,
    /// How many free blocks.
    pub free_blocks: Option<u64>,
    /// The largest free block.
    pub largest_free: Option<Bytes>,
    /// The rest at its end.
    pub top: Option<Bytes>,
    /// Whole pages inside free blocks and the rest at its end: what could be given back.
    pub free_pages: Option<Bytes>,
    /// Whole resident pages inside free blocks and the rest at its end: memory that costs and is not used.
    pub free_resident: Option<Bytes>,
    /// Why figures are missing, in the words of the reader; `None` when none is.
    pub trouble: Option<String>,
}

impl Arena {
    /// Free in all, the rest at its end included.
    pub fn all_free(&self) -> Option<Bytes> {
        Some(self.free? + self.top?)
    }

    /// Free in pages that hold something used too: they were touched, and only the used blocks' end gives them back.
    pub fn fragments(&self) -> Option<Bytes> {
        self.all_free()?.0.checked_sub(self.free_pages?.0).map(Bytes)
    }
}

/// All arenas of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inside {
    /// The arenas, the main one first.
    pub arenas: Vec<Arena>,
    /// Blocks that wait in the caches of threads, as far as they were found; they count as used.
    pub cached: Option<Bytes>,
    /// Blocks that malloc took from mmap(2) directly: they lie outside of arenas.
    pub mapped: Option<Bytes>,
    /// The part of it whose place was found in memory of unknown use.
    pub mapped_found: Option<Bytes>,
    /// What is resident of that part; `None` where that is not recorded.
    pub mapped_resident: Option<Bytes>,
    /// Why the arenas may not be all of them; `None` when they are.
    pub trouble: Option<String>,
}

impl Inside {
    /// One figure over all arenas, or over one sort of them; `None` when that of any is missing.
    pub fn sum(&self, main: Option<bool>, pick: impl Fn(&Arena) -> Option<Bytes>) -> Option<Bytes> {
        let mut arenas = self.arenas.iter().filter(|arena| main.is_none_or(|m| m == arena.main)).peekable();
        arenas.peek()?;
        arenas.map(pick).sum()
    }
}

/// How many bytes two lists of ranges have in common, each ascending and without overlaps of its own.
///
/// ```
/// use vmatlas_event::{Addr, AddrRange, Bytes};
/// use vmatlas_model::rss::overlap;
/// let range = |start, end| AddrRange::new(Addr(start), Addr(end)).unwrap();
/// let (free, resident) = ([range(0x1000, 0x4000), range(0x8000, 0x9000)], [range(0x3000, 0x8800)]);
/// assert_eq!(overlap(&free, &resident), Bytes(0x1800));
/// ```
pub fn overlap(a: &[AddrRange], b: &[AddrRange]) -> Bytes {
    let (mut i, mut j, mut sum) = (0, 0, Bytes(0));
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        sum += x.intersect(*y).map_or(Bytes(0), AddrRange::len);
        if x.end() <= y.end() { i += 1 } else { j += 1 }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that a missing figure makes the sum missing, and that no arena is no figure.
    #[test]
    fn a_missing_figure_makes_the_sum_missing() {
        let known = Arena { main: true, used: Some(Bytes(7)), ..Arena::default() };
        let unknown = Arena::default();
        let inside = Inside { arenas: vec![known.clone(), unknown], ..Inside::default() };
        assert_eq!(inside.sum(Some(true), |a| a.used), Some(Bytes(7)));
        assert_eq!(inside.sum(None, |a| a.used), None);
        assert_eq!(Inside::default().sum(None, |a| a.used), None);
        let inside = Inside { arenas: vec![known], ..Inside::default() };
        assert_eq!(inside.sum(Some(false), |a| a.used), None);
    }

    /// Checks that what is free and no whole page is a fragment, and that it is unknown when one figure is.
    #[test]
    fn fragments_are_what_is_no_whole_page() {
        let arena = Arena {
            free: Some(Bytes(0x3000)),
            top: Some(Bytes(0x800)),
            free_pages: Some(Bytes(0x1000)),
            ..Arena::default()
        };
        assert_eq!((arena.all_free(), arena.fragments()), (Some(Bytes(0x3800)), Some(Bytes(0x2800))));
        assert_eq!(Arena { top: None, ..arena.clone() }.fragments(), None);
        assert_eq!(Arena { free_pages: Some(Bytes(0x9000)), ..arena }.fragments(), None);
    }
}
