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
    /// Whole resident pages inside free blocks and the rest at its end: memory that costs and is not used.
    pub free_resident: Option<Bytes>,
    /// Why figures are missing, in the words of the reader; `None` when none is.
    pub trouble: Option<String>,
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
}
