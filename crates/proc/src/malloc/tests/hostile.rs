//! Memory that chance or malice filled: no panic, an end, and no figure that contradicts another.

use super::made_up::{BRK, Chunk, DATA, MAIN, MadeUp, size};
use super::{glibcs, look_at};
use crate::malloc::GlibcReport;
use proptest::prelude::*;
use vmatlas_event::Bytes;

fn chunk() -> impl Strategy<Value = Chunk> {
    (0u8..4, 2u64..2000, any::<bool>()).prop_map(|(sort, units, sorted)| match sort {
        0 => Chunk::Free(units * 16, sorted),
        1 => Chunk::Fast((2 + units % 10) * 16),
        _ => Chunk::Used(units * 16),
    })
}

/// As malloc leaves them: no two free neighbours, and the last one in use.
fn tidy(chunks: &[Chunk], fast: bool) -> Vec<Chunk> {
    let mut all: Vec<Chunk> = Vec::new();
    for chunk in chunks {
        let used = Chunk::Used(size(*chunk));
        all.push(match (chunk, all.last()) {
            (Chunk::Free(..), Some(Chunk::Free(..))) => used,
            (Chunk::Fast(_), _) if !fast => used,
            _ => *chunk,
        });
    }
    all.push(Chunk::Used(0x20));
    all
}

fn agrees(report: &GlibcReport) {
    for arena in &report.arenas {
        if let (Ok(free), Ok(system)) = (arena.free(), arena.system) {
            assert!(free <= system, "{arena:?}");
            let pages: Bytes = arena.free_ranges.iter().flatten().map(|range| range.len()).sum();
            assert!(pages <= free, "{arena:?}");
        }
    }
}

fn sum(chunks: &[Chunk], wanted: impl Fn(&Chunk) -> bool) -> u64 {
    chunks.iter().filter(|chunk| wanted(chunk)).map(|chunk| size(*chunk)).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Checks that sound memory of every layout gives exactly what was laid out.
    #[test]
    fn sound_memory_is_exact(
        main in prop::collection::vec(chunk(), 0..40),
        other in prop::collection::vec(chunk(), 0..40),
        top in 2u64..20_000,
    ) {
        for mut memory in glibcs() {
            let fast = memory.layout.fast.is_some();
            let (main, other) = (tidy(&main, fast), tidy(&other, fast));
            memory.main(&main, top * 16);
            memory.arena(&other);
            let report = look_at(&mut memory);
            agrees(&report);
            prop_assert_eq!(report.arenas.len(), 2);
            for (arena, chunks) in report.arenas.iter().zip([&main, &other]) {
                let binned = sum(chunks, |chunk| matches!(chunk, Chunk::Free(..)));
                prop_assert_eq!(arena.bins.map(|found| found.bytes), Ok(Bytes(binned)));
                let fast = sum(chunks, |chunk| matches!(chunk, Chunk::Fast(_)));
                prop_assert_eq!(arena.fast.map(|found| found.bytes), Ok(Bytes(fast)));
                prop_assert!(arena.used().is_ok());
            }
        }
    }

    /// Checks that words which a hostile program chose well never lead to a panic, a hang, or sums that cannot be.
    #[test]
    fn changed_words_do_no_harm(
        main in prop::collection::vec(chunk(), 1..30),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0u8..6, any::<u64>()), 1..12),
        which in any::<prop::sample::Index>(),
    ) {
        let mut memory = which.get(&glibcs().collect::<Vec<_>>()).clone();
        memory.main(&tidy(&main, memory.layout.fast.is_some()), 0x3000);
        memory.arena(&tidy(&main, memory.layout.fast.is_some()));
        let places: Vec<u64> = memory.words.keys().copied().collect();
        for (place, other, how, word) in changes {
            let value = match how {
                0 => word,
                1 => *other.get(&places),
                2 => memory.get(*other.get(&places)),
                3 => word % 0x4000 * 16 + BRK,
                4 => word % 0x4000,
                _ => 0,
            };
            memory.put(*place.get(&places), value);
        }
        agrees(&look_at(&mut memory));
    }

    /// Checks the same for memory of nothing but chance, with a few words that look right.
    #[test]
    fn chance_does_no_harm(words in prop::collection::vec((0u64..0x400, 0u8..5, any::<u64>()), 0..600)) {
        let mut memory: MadeUp = glibcs().next().unwrap();
        memory.main(&[Chunk::Used(0x100)], 0xf00);
        for (at, how, word) in words {
            let place = [MAIN, BRK][(word % 2) as usize] + at * 8;
            let value = [word, DATA + word % 0x2000, BRK + word % 0x1000, MAIN - 16 + at * 8, word % 0x1000][usize::from(how)];
            memory.put(place, value);
        }
        agrees(&look_at(&mut memory));
    }
}
