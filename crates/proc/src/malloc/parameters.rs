//! malloc's own statistics (`mp_`): what it mapped chunk by chunk.

use crate::malloc::find::Piece;
use crate::malloc::report::{Figure, MappedChunks, Unknown};
use vmatlas_event::Bytes;

/// Where fields of a malloc_par are, counted in words back from `sbrk_base`; the second of a pair of ints is the higher
/// half of its word.
struct Shape {
    /// `mmap_threshold`.
    threshold: usize,
    /// `n_mmaps`, `n_mmaps_max` and `max_n_mmaps`, in ints back from `sbrk_base`.
    counts: [usize; 3],
}

/// From 2.35 on (`thp_pagesize`, `hp_pagesize`, `hp_flags`), with `thp_mode` (later than 2.42), and before.
const SHAPES: [Shape; 3] = [
    Shape { threshold: 10, counts: [9, 8, 7] },
    Shape { threshold: 11, counts: [9, 8, 7] },
    Shape { threshold: 7, counts: [8, 7, 6] },
];

/// Finds `mp_` by `sbrk_base`, which holds where the brk heap starts, and believes it when all of it makes sense.
pub(super) fn mapped(data: &[Piece], heap_start: u64) -> Figure<MappedChunks> {
    for piece in data {
        for (index, _) in piece.words.iter().enumerate().filter(|(_, word)| **word == heap_start) {
            let back = |words: usize| index.checked_sub(words).and_then(|at| piece.words.get(at)).copied();
            if let Some(found) = SHAPES.iter().find_map(|shape| read(shape, &back)) {
                return Ok(found);
            }
        }
    }
    Err(Unknown::NotFound)
}

fn read(shape: &Shape, back: &dyn Fn(usize) -> Option<u64>) -> Option<MappedChunks> {
    /// The smallest page; a threshold below it is one of other fields.
    const SMALLEST: u64 = 4096;
    /// HEAP_MAX_SIZE / 2, the most that mallopt(3) takes.
    const MOST_THRESHOLD: u64 = 32 << 20;
    let int = |ints: usize| -> Option<u64> {
        let word = back(ints.div_ceil(2))?;
        Some(if ints.is_multiple_of(2) { word & 0xffff_ffff } else { word >> 32 })
    };
    let [count, most, highest] = shape.counts.map(int);
    let (count, most, highest) = (count?, most?, highest?);
    let (now, peak, threshold) = (back(2)?, back(1)?, back(shape.threshold)?);
    let signed = |n: u64| n <= i32::MAX as u64;
    let sound = count <= highest
        && signed(most)
        && signed(highest)
        && now <= peak
        && now.is_multiple_of(SMALLEST)
        && peak.is_multiple_of(SMALLEST)
        && (count == 0) == (now == 0)
        && (highest == 0) == (peak == 0)
        && now / SMALLEST >= count
        && peak / SMALLEST >= highest
        && (SMALLEST..=MOST_THRESHOLD).contains(&threshold);
    sound.then_some(MappedChunks { count, bytes: Bytes(now), threshold: Bytes(threshold) })
}
