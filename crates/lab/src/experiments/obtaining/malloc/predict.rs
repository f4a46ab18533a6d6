//! What glibc's malloc does with one request, from its documented settings (mallopt(3)) and what is free at the end of the
//! heap: malloc/malloc.c, sysmalloc(), _int_free(), systrim() and munmap_chunk().

/// M_MMAP_THRESHOLD as it is at first, and M_TRIM_THRESHOLD and M_TOP_PAD too.
const USUAL: u64 = 128 << 10;
/// What is obtained by mmap is not taken as a reason to raise the threshold beyond this.
const HIGHEST: u64 = 32 << 20;
/// The smallest block with its header.
const LEAST: u64 = 32;
/// By how much the heap grows for a small block.
pub(super) const STEP: u64 = USUAL + LEAST;
/// Blocks up to this size stay in the cache of the thread that frees them.
const CACHED: u64 = 1040;

/// What a request takes with its header: 8 bytes more, a multiple of 16.
pub(super) fn chunk(size: u64) -> u64 {
    (size + 8).next_multiple_of(16).max(LEAST)
}

/// Where a block is, and by how much the address space grew for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the heap.
    Heap { grown: u64 },
    /// In a mapping of its own.
    Mapped { grown: u64 },
}

impl Place {
    pub(super) fn grown(self) -> u64 {
        match self {
            Place::Heap { grown } | Place::Mapped { grown } => grown,
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Place::Heap { .. } => "heap",
            Place::Mapped { .. } => "mmap",
        }
    }
}

/// A malloc of one thread whose free memory is all at the end of the heap.
#[derive(Clone, Copy, Debug)]
pub(super) struct Malloc {
    page: u64,
    /// What is free there.
    top: u64,
    /// M_MMAP_THRESHOLD now.
    pub(super) threshold: u64,
    /// M_TRIM_THRESHOLD now.
    pub(super) trim: u64,
}

impl Malloc {
    pub(super) fn new(page: u64, top: u64) -> Malloc {
        Malloc { page, top, threshold: USUAL, trim: USUAL }
    }

    /// malloc(3), where what was freed before is not in the way: larger than what a thread's cache keeps.
    pub(super) fn malloc(&mut self, size: u64) -> Place {
        let chunk = chunk(size);
        if self.top < chunk + LEAST {
            if chunk >= self.threshold {
                return Place::Mapped { grown: (chunk + 8).next_multiple_of(self.page) };
            }
            let grown = (chunk + USUAL + LEAST - self.top).next_multiple_of(self.page);
            self.top += grown - chunk;
            return Place::Heap { grown };
        }
        self.top -= chunk;
        Place::Heap { grown: 0 }
    }

    /// free(3) of the latest block; returns what is given back to the system.
    pub(super) fn free(&mut self, size: u64, place: Place) -> u64 {
        match place {
            Place::Mapped { grown } => {
                if grown > self.threshold && grown <= HIGHEST {
                    (self.threshold, self.trim) = (grown, 2 * grown);
                }
                grown
            }
            // The cache gives it to the next request of this size: as if it had never been asked for.
            Place::Heap { .. } if chunk(size) <= CACHED => {
                self.top += chunk(size);
                0
            }
            Place::Heap { .. } => self.free_all(chunk(size)),
        }
    }

    /// Frees all blocks above an address, `chunks` bytes of them, the highest one last.
    pub(super) fn free_all(&mut self, chunks: u64) -> u64 {
        /// A free piece from which on malloc looks whether the heap should shrink.
        const LOOK: u64 = 64 << 10;
        self.top += chunks;
        if self.top < LOOK || self.top < self.trim {
            return 0;
        }
        let spare = self.top.saturating_sub(LEAST + 1 + USUAL);
        let back = spare / self.page * self.page;
        self.top -= back;
        back
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks what a request takes: its header, and a multiple of 16, but never less than 32.
    #[test]
    fn requests_are_rounded() {
        for (size, taken) in [(1, 32), (24, 32), (25, 48), (1000, 1008), (1001, 1024), (131_048, 131_056)] {
            assert_eq!(chunk(size), taken, "{size}");
        }
    }

    /// Checks the border between heap and mmap, and that what is free at the end of the heap is used beyond it.
    #[test]
    fn large_requests_are_mapped() {
        let at = |size, top| Malloc::new(4096, top).malloc(size);
        assert_eq!(at(131_048, 0), Place::Heap { grown: 262_144 + 4096 });
        assert_eq!(at(131_049, 0), Place::Mapped { grown: 135_168 });
        assert_eq!(at(131_049, 131_104), Place::Heap { grown: 0 });
        assert_eq!(at(200 << 10, 0), Place::Mapped { grown: 204 << 10 });
        assert_eq!(at(1, 0), Place::Heap { grown: 132 << 10 });
    }

    /// Checks that a mapped block raises the threshold when it is freed, up to 32 MiB.
    #[test]
    fn freeing_raises_the_threshold() {
        let mut malloc = Malloc::new(4096, 0);
        let place = malloc.malloc(200 << 10);
        assert_eq!(malloc.free(200 << 10, place), 204 << 10);
        assert_eq!((malloc.threshold, malloc.trim), (204 << 10, 408 << 10));
        assert_eq!(malloc.malloc(200 << 10).word(), "heap");
        let place = malloc.malloc(40 << 20);
        malloc.free(40 << 20, place);
        assert_eq!(malloc.malloc(40 << 20).word(), "mmap");
    }

    /// Checks that the heap shrinks only from its end, only beyond the threshold, and keeps 128 KiB.
    #[test]
    fn the_heap_shrinks_from_its_end() {
        let mut malloc = Malloc::new(4096, 0);
        assert_eq!(malloc.free_all(131_071), 0);
        let mut malloc = Malloc::new(4096, 1000);
        assert_eq!(malloc.free_all(800 << 10), 672 << 10);
        assert_eq!(malloc.top, (128 << 10) + 1000);
    }
}
