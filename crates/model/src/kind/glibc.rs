//! The arenas of glibc's malloc.
//!
//! Every thread that finds the main arena taken gets an arena of its own: heaps of HEAP_MAX_SIZE (2 *
//! DEFAULT_MMAP_THRESHOLD_MAX: 64 MiB, or 1 MiB for 32-bit programs), aligned to that size so that a chunk's heap is
//! found by masking its address, reserved PROT_NONE and made accessible from the start as needed (malloc/arena.c:
//! new_heap(), grow_heap()). glibc.malloc.hugetlb=2 makes larger ones; they are not recognised.

use super::facts::Facts;
use super::sheet::{Sheet, size};
use super::{Confidence, Kind, Why};
use vmatlas_event::{Addr, Prot};

/// Claims the used part and the reserve of every heap that has a reserve left.
///
/// Two heaps side by side merge into one writable VMA when the lower one is full, so what precedes the reserve may be
/// longer than a heap. When it begins at no heap's boundary, other memory has merged into it: a guess.
pub(super) fn arenas(sheet: &mut Sheet<'_>, facts: &Facts<'_>) {
    let heap_max: u64 = if facts.narrow { 1 << 20 } else { 64 << 20 };
    let aligned = |addr: Addr| addr.0.is_multiple_of(heap_max);
    for at in 1..sheet.rows.len() {
        let Some(reserve) = sheet.open(at).filter(|row| facts.is_reserve(row)) else { continue };
        if !aligned(reserve.range.end()) || size(reserve) >= heap_max {
            continue;
        }
        let start = reserve.range.start();
        let heap = Addr(start.0 & !(heap_max - 1));
        // madvise(2), mlock(2) and prctl(2) can split the used part; all its pieces touch.
        let mut first = at;
        while first > 0
            && sheet.rows[first].range.start() > heap
            && sheet.touches_previous(first)
            && sheet.open_with(first - 1, Prot::RW).is_some()
        {
            first -= 1;
        }
        let reached = sheet.rows[first].range.start();
        if first == at || reached > heap {
            continue;
        }
        let (confidence, from) =
            if aligned(reached) { (Confidence::Evidence, reached) } else { (Confidence::Guess, heap) };
        for used in first..at {
            sheet.claim(used, Kind::MallocArena, confidence, Why::ArenaLayout(from));
        }
        let sure = if reserve.prot == Prot::NONE { Confidence::Evidence } else { Confidence::Guess };
        sheet.claim(at, Kind::MallocArena, sure, Why::ArenaReserve(heap));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{kinds, kinds_of, parse, verdicts};
    use super::super::{Evidence, Unlabelled};
    use super::*;
    use Kind::{Anonymous, MallocArena, Reserved};

    /// Checks an arena, two merged ones, a split one, and one that other memory has merged into.
    #[test]
    fn arenas_are_known_by_alignment_and_reserve() {
        let one = "7f0000000000-7f0000021000 rw-p 0 00:00 0\n7f0000021000-7f0004000000 ---p 0 00:00 0\n";
        assert_eq!(kinds(one), [MallocArena, MallocArena]);
        let merged = "7f0000000000-7f0004021000 rw-p 0 00:00 0\n7f0004021000-7f0008000000 ---p 0 00:00 0\n";
        assert_eq!(kinds(merged), [MallocArena, MallocArena]);
        let split = "7f0000000000-7f0000008000 rw-p 0 00:00 0\n7f0000008000-7f0000021000 rw-p 0 00:00 0\n\
                     7f0000021000-7f0004000000 ---p 0 00:00 0\n";
        assert_eq!(kinds(split), [MallocArena; 3]);
        let lower = "7f0003f00000-7f0004021000 rw-p 0 00:00 0\n7f0004021000-7f0008000000 ---p 0 00:00 0\n";
        assert_eq!(kinds(lower), [MallocArena, MallocArena]);
        assert_eq!(verdicts(lower)[0].confidence, Confidence::Guess);
        assert_eq!(verdicts(one)[1].why, Why::ArenaReserve(Addr(0x7f00_0000_0000)));
    }

    /// Checks what looks like an arena and is none: unaligned, with a hole, with a whole reserve, ending elsewhere.
    #[test]
    fn near_misses_are_no_arenas() {
        for text in [
            "7f0000010000-7f0000021000 rw-p 0 00:00 0\n7f0000021000-7f0004000000 ---p 0 00:00 0\n",
            "7f0000000000-7f0000020000 rw-p 0 00:00 0\n7f0000021000-7f0004000000 ---p 0 00:00 0\n",
            "7f0000000000-7f0000021000 rw-p 0 00:00 0\n7f0000021000-7f0003fff000 ---p 0 00:00 0\n",
            "7f0000000000-7f0004000000 rw-p 0 00:00 0\n7f0004000000-7f0008000000 ---p 0 00:00 0\n",
        ] {
            assert_eq!(kinds(text), [Anonymous, Reserved], "{text}");
        }
    }

    /// Checks that the reserve of an arena is known in a core file, where gcore(1) calls it readable.
    #[test]
    fn a_core_file_calls_reserves_readable() {
        let text = "7f0000000000-7f0000021000 rw-p 0 00:00 0\n7f0000021000-7f0004000000 r--p 0 00:00 0\n";
        assert_eq!(kinds(text), [Anonymous, Anonymous]);
        let mut evidence = Evidence::none(vmatlas_event::PageSize::FOUR_KIB);
        evidence.unlabelled = Some(Unlabelled::default());
        assert_eq!(kinds_of(&parse(text), &evidence), [MallocArena, MallocArena]);
    }

    /// Checks that a 32-bit program's heaps of 1 MiB are found, and are none in a 64-bit one.
    #[test]
    fn narrow_programs_have_small_heaps() {
        let text = "f7000000-f7021000 rw-p 0 00:00 0\nf7021000-f7100000 ---p 0 00:00 0\n";
        assert_eq!(kinds(text), [MallocArena, MallocArena]);
        let wide = format!("{text}7ffd00000000-7ffd00021000 rw-p 0 00:00 0 [stack]\n");
        assert_eq!(kinds(&wide)[..2], [Anonymous, Reserved]);
    }
}
