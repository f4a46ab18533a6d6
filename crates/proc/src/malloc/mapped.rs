//! Where the big chunks are that have a mapping of their own: malloc counts them (`mp_`), but keeps no list.
//!
//! Such a chunk starts a mapping and its header says so (malloc/malloc.c: sysmalloc_mmap(), IS_MMAPPED): no previous
//! size, then its own size, whole pages, with that bit alone. Mappings side by side merge into one VMA, so chunks are
//! followed from the start of each VMA, and looked for page by page where something else precedes them. One that was
//! aligned beyond a page's start (memalign(3)) is not found. What is found must not be more than malloc counts.

use crate::malloc::areas::{Areas, joined};
use crate::malloc::memory::{Reader, word_at};
use crate::malloc::report::{Figure, MappedChunks, Unknown};
use std::cmp::Ordering;
use vmatlas_event::{Addr, AddrRange, PageSize};

/// Pages that may be tried in vain: each is a system call of about a microsecond.
const MOST_TRIES: u32 = 50_000;
const IS_MMAPPED: u64 = 2;
const FLAGS: u64 = 7;

/// The chunks that malloc counts in `told`, ascending; memory of arenas (`taken`, ascending) is passed over.
pub(super) fn find(
    reader: &mut Reader<'_>,
    areas: &Areas,
    taken: &[AddrRange],
    told: MappedChunks,
    page: PageSize,
) -> Figure<Vec<AddrRange>> {
    let mut search = Search { reader, told, page: page.bytes(), tries: 0, bytes: 0, found: Vec::new() };
    let free = outside(areas.all(), taken);
    let mut done = 0;
    for start in areas.starts.iter().filter(|start| taken.binary_search_by(|t| side(t, **start)).is_err()) {
        let area = free.get(free.partition_point(|area| area.end() <= *start));
        let from =
            area.and_then(|area| AddrRange::new(*start, area.end())).filter(|from| from.start().0 >= done);
        if let Some(from) = from {
            done = search.follow(from)?;
        }
    }
    // Small areas first: a large one that is none of malloc's would use up all tries.
    let mut rest = outside(areas.all(), &joined(taken.iter().chain(&search.found).copied()));
    rest.sort_by_key(|area| area.len());
    for area in rest {
        let mut at = area.start().0;
        while at < area.end().0 && !search.is_over() {
            let next = AddrRange::new(Addr(at), area.end()).map_or(Ok(area.end().0), |r| search.follow(r))?;
            at = if next == at { at.saturating_add(search.page) } else { next };
        }
    }
    if search.found.len() as u64 > told.count || search.bytes > told.bytes.0 {
        return Err(Unknown::Inconsistent(search.found.first().map_or(Addr(0), |range| range.start())));
    }
    Ok(joined(search.found.into_iter()))
}

struct Search<'r, 'm> {
    reader: &'r mut Reader<'m>,
    told: MappedChunks,
    page: u64,
    tries: u32,
    bytes: u64,
    found: Vec<AddrRange>,
}

impl Search<'_, '_> {
    fn is_over(&self) -> bool {
        self.tries >= MOST_TRIES || self.found.len() as u64 >= self.told.count
    }

    /// Follows chunks from the start of an area on; where they end.
    fn follow(&mut self, area: AddrRange) -> Result<u64, Unknown> {
        let mut at = area.start().0;
        while at < area.end().0 && !self.is_over() {
            match self.chunk(at, area)? {
                Some(chunk) => {
                    self.found.push(chunk);
                    self.bytes = self.bytes.saturating_add(chunk.len().0);
                    at = chunk.end().0;
                }
                None => {
                    self.tries += 1;
                    break;
                }
            }
        }
        Ok(at)
    }

    /// The chunk that starts at `at`; `None` when none does.
    fn chunk(&mut self, at: u64, area: AddrRange) -> Result<Option<AddrRange>, Unknown> {
        let mut header = [0; 16];
        match self.reader.fresh(at, &mut header) {
            Ok(()) => {}
            Err(why @ (Unknown::Deadline | Unknown::TooMuch | Unknown::NotPermitted)) => return Err(why),
            Err(_) => return Ok(None),
        }
        let (Some(0), Some(size)) = (word_at(&header, 0), word_at(&header, 8)) else { return Ok(None) };
        let (flags, size) = (size & FLAGS, size & !FLAGS);
        let sound = flags == IS_MMAPPED && size > 0 && size.is_multiple_of(self.page);
        let chunk = at.checked_add(size).and_then(|end| AddrRange::new(Addr(at), Addr(end)));
        Ok(chunk.filter(|chunk| sound && area.covers(*chunk)))
    }
}

/// Whether a range lies below an address, holds it, or lies above.
fn side(range: &AddrRange, at: Addr) -> Ordering {
    match range.contains(at) {
        true => Ordering::Equal,
        false => range.start().cmp(&at),
    }
}

/// What of `areas` is not `taken`; both ascending and without overlaps of their own.
fn outside(areas: &[AddrRange], taken: &[AddrRange]) -> Vec<AddrRange> {
    let mut left = Vec::new();
    for area in areas {
        let mut start = area.start();
        let from = taken.partition_point(|t| t.end() <= start);
        for t in taken.get(from..).unwrap_or_default().iter().take_while(|t| t.start() < area.end()) {
            left.extend(AddrRange::new(start, t.start()).filter(|range| !range.is_empty()));
            start = start.max(t.end());
        }
        left.extend(AddrRange::new(start, area.end()).filter(|range| !range.is_empty()));
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::malloc::memory::{Limits, TargetMemory, Unread};
    use std::collections::BTreeMap;
    use std::time::Instant;
    use vmatlas_event::{Bytes, Prot, VmaRow};

    /// Words at the starts of pages; other pages are not in memory.
    struct Pages(BTreeMap<u64, [u64; 2]>);

    impl TargetMemory for Pages {
        fn read(&mut self, addr: Addr, buf: &mut [u8]) -> Result<(), Unread> {
            let words = self.0.get(&addr.0).ok_or(Unread::NotResident)?;
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
            buf.copy_from_slice(&bytes[..buf.len()]);
            Ok(())
        }
    }

    fn range(start: u64, end: u64) -> AddrRange {
        AddrRange::new(Addr(start), Addr(end)).unwrap()
    }

    fn look(pages: &[(u64, [u64; 2])], count: u64, bytes: u64) -> Figure<Vec<AddrRange>> {
        let rows = [
            VmaRow::anonymous(range(0x1_0000, 0x9_0000), Prot::RW),
            VmaRow::anonymous(range(0xa_0000, 0xb_0000), Prot::RW),
        ];
        let mut memory = Pages(pages.iter().copied().collect());
        let mut reader = Reader::new(&mut memory, Limits::default(), Instant::now());
        let told = MappedChunks { count, bytes: Bytes(bytes), threshold: Bytes(0x1000) };
        let taken = [range(0x7_0000, 0x8_0000)];
        find(&mut reader, &Areas::new(&rows), &taken, told, PageSize::FOUR_KIB)
    }

    /// Checks chunks that follow one another, one behind other memory, and that an arena's memory is passed over.
    #[test]
    fn chunks_are_followed_and_looked_for() {
        let pages = [
            (0x1_0000, [0, 0x2_0002]),
            (0x3_0000, [0, 0x1_0002]),
            (0x4_0000, [7, 0x1_0002]),
            (0x5_0000, [0, 0x1_0002]),
            (0x7_0000, [0, 0x1002]),
            (0xa_0000, [0, 0x1_0002]),
        ];
        let all = [range(0x1_0000, 0x4_0000), range(0x5_0000, 0x6_0000), range(0xa_0000, 0xb_0000)];
        assert_eq!(look(&pages, 4, 0x5_0000), Ok(all.to_vec()));
        assert_eq!(look(&pages, 4, 0x4_0000), Err(Unknown::Inconsistent(Addr(0x1_0000))));
        assert_eq!(look(&pages, 1, 0x5_0000), Ok(vec![range(0x1_0000, 0x3_0000)]));
    }

    /// Checks that a header with other flags, with half a page, or longer than the area is none.
    #[test]
    fn near_misses_are_no_chunks() {
        for header in [[0, 0x1_0000], [0, 0x1_0003], [0, 0x1_0006], [0, 0x1_0802], [0, 0x10_0002], [0, 2]] {
            assert_eq!(look(&[(0xa_0000, header)], 9, 0x50_0000), Ok(Vec::new()), "{header:x?}");
        }
        assert_eq!(look(&[(0xa_0000, [0, u64::MAX - 5])], 9, u64::MAX), Ok(Vec::new()));
    }
}
