//! Shared pages that one process maps at several addresses: RSS counts a page at each of them.

use super::RssRow;
use rustc_hash::FxHashMap;
use vmatlas_event::{Bytes, Dev, Sharing};

/// One shared mapping: where in its file, and what is resident of it.
#[derive(Clone, Copy, Debug)]
struct Mapping {
    start: u64,
    end: u64,
    resident: u64,
}

/// Collects the shared mappings of each file.
#[derive(Debug, Default)]
pub(super) struct Again {
    files: FxHashMap<(Dev, u64), Vec<Mapping>>,
}

impl Again {
    pub(super) fn add(&mut self, row: &RssRow<'_>) {
        let resident = row.pages.map_or(0, |pages| pages.resident.0);
        if resident == 0 || row.vma.sharing != Sharing::Shared || !row.vma.has_file() {
            return;
        }
        let (start, len) = (row.vma.offset, row.vma.range.len().0);
        let mapping = Mapping { start, end: start.saturating_add(len), resident };
        self.files.entry((row.vma.dev, row.vma.inode)).or_default().push(mapping);
    }

    /// The most that can be counted more than once: of mappings that overlap in their file, all but the largest one.
    pub(super) fn most(self) -> Bytes {
        let mut most = 0u64;
        for mut mappings in self.files.into_values() {
            mappings.sort_unstable_by_key(|mapping| mapping.start);
            let (mut end, mut sum, mut largest) = (0, 0u64, 0);
            for mapping in mappings {
                if mapping.start >= end {
                    most = most.saturating_add(sum - largest);
                    (sum, largest) = (0, 0);
                }
                end = end.max(mapping.end);
                sum = sum.saturating_add(mapping.resident);
                largest = largest.max(mapping.resident);
            }
            most = most.saturating_add(sum - largest);
        }
        Bytes(most)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{row, vma};
    use super::super::{KernelFigures, Sheet};
    use super::*;
    use crate::kind::Kind;

    /// Checks that only shared mappings of the same part of one file are counted, all but the largest.
    #[test]
    fn the_same_part_of_a_file_is_counted_again() {
        let shared = |start: u64, offset: u64, inode: u64| {
            let mut vma = vma(start, 0x8000);
            (vma.sharing, vma.offset, vma.inode, vma.dev.minor) = (Sharing::Shared, offset, inode, 1);
            vma
        };
        let vmas = [
            shared(0x1_0000, 0, 7),
            shared(0x2_0000, 0, 7),
            shared(0x3_0000, 0x8000, 7),
            shared(0x4_0000, 0, 8),
        ];
        let resident = [0x8000, 0x3000, 0x8000, 0x8000];
        let rows = || vmas.iter().zip(resident).map(|(vma, bytes)| row(vma, Kind::Shared, bytes));
        assert_eq!(Sheet::new(rows(), KernelFigures::default()).mapped_again, Some(Bytes(0x3000)));
        let unread = rows().map(|row| super::super::RssRow { pages: None, ..row });
        assert_eq!(Sheet::new(unread, KernelFigures::default()).mapped_again, None);
    }
}
