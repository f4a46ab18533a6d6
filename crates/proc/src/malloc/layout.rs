//! Where glibc keeps what, on 64-bit machines (malloc/malloc.c, malloc/arena.c).
//!
//! Offsets are chosen by whether what stands there makes sense, never by a version. Tested on a living glibc 2.36; the
//! others were read in the sources only.

use crate::malloc::memory::word_at;

/// malloc_chunk: mchunk_prev_size, mchunk_size, fd, bk.
pub(super) const CHUNK_SIZE: u64 = 8;
pub(super) const CHUNK_FD: u64 = 16;
/// MALLOC_ALIGNMENT.
pub(super) const ALIGN: u64 = 16;
/// MINSIZE.
pub(super) const MIN_CHUNK: u64 = 32;
/// The three low bits of a size.
pub(super) const PREV_INUSE: u64 = 1;
pub(super) const IS_MMAPPED: u64 = 2;
pub(super) const FLAGS: u64 = 7;
/// HEAP_MAX_SIZE, which heaps of arenas are aligned to; glibc.malloc.hugetlb=2 makes larger ones, which are not found.
pub(super) const HEAP_MAX: u64 = 64 << 20;
/// NBINS: bins 1 to 126 are in use, 127 never is but is initialised like the others.
pub(super) const BINS: u64 = 128;
/// NFASTBINS: chunks of 32, 48, ... bytes.
pub(super) const FASTBINS: usize = 10;
/// flags: memory of this arena is not contiguous.
const NONCONTIGUOUS: u32 = 2;
/// The largest values of a lock (a futex) and of `flags`, which once had two bits and a third one for damage.
const MOST_LOCK: u64 = 2;
const MOST_FLAGS: u64 = 7;
/// Bytes of a malloc_state from its bins on: 254 pointers, 16 bytes of binmap, five words.
const FROM_BINS: u64 = 254 * 8 + 16 + 5 * 8;

/// How the parts of glibc's malloc are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Where the fastbins are in a malloc_state; `None` in a glibc that has none any more.
    pub(super) fast: Option<u64>,
    /// Where the bins are; `top` and `last_remainder` lie directly before them.
    pub(super) bins: u64,
    /// The size of a heap_info; `None` where there is no arena but the main one to see it by.
    pub(super) heap_info: Option<u64>,
}

/// The layouts of a malloc_state: from 2.27 (`have_fastchunks`), and without fastbins (later than 2.42).
pub(super) const STATES: [Layout; 2] =
    [Layout { fast: Some(16), bins: 112, heap_info: None }, Layout { fast: None, bins: 24, heap_info: None }];
/// The sizes of a heap_info: up to 2.34, and from 2.35 (`pagesize`).
pub(super) const HEAP_INFOS: [u64; 2] = [32, 48];

impl Layout {
    /// The name in JSON; it never changes.
    pub const fn id(self) -> &'static str {
        match (self.fast, self.heap_info) {
            (None, _) => "glibc-without-fastbins",
            (Some(_), None) => "glibc-2.27-or-later",
            (Some(_), Some(48)) => "glibc-2.35-or-later",
            (Some(_), Some(_)) => "glibc-2.27-to-2.34",
        }
    }

    /// Bytes of a malloc_state.
    pub(super) const fn size(self) -> u64 {
        self.bins + FROM_BINS
    }

    /// Where `next` is.
    pub(super) const fn next(self) -> u64 {
        self.bins + 254 * 8 + 16
    }

    /// The address of bin `index` of the arena at `arena`, as if it were a chunk.
    pub(super) const fn bin_at(self, arena: u64, index: u64) -> u64 {
        arena.wrapping_add(self.bins).wrapping_add((index - 1) * 16).wrapping_sub(CHUNK_FD)
    }

    /// Whether links in singly linked lists can be stored without protection (before 2.32).
    pub(super) fn may_be_plain(self) -> bool {
        self.fast.is_some() && self.heap_info != Some(48)
    }

    /// Where the first chunk of an arena's first heap is: `_int_new_arena()`.
    pub(super) const fn first_chunk(self, arena: u64) -> u64 {
        arena.wrapping_add(self.size()).wrapping_add(ALIGN - 1) & !(ALIGN - 1)
    }
}

/// A malloc_state as it was read.
#[derive(Clone)]
pub(super) struct State {
    pub(super) at: u64,
    pub(super) layout: Layout,
    bytes: Vec<u8>,
}

impl State {
    /// `None` when there are too few bytes.
    pub(super) fn new(at: u64, layout: Layout, bytes: &[u8]) -> Option<State> {
        let bytes = bytes.get(..layout.size() as usize)?.to_vec();
        Some(State { at, layout, bytes })
    }

    /// The same bytes, now that more of the layout is known.
    pub(super) fn with(self, layout: Layout) -> State {
        State { layout, ..self }
    }

    fn word(&self, offset: u64) -> u64 {
        word_at(&self.bytes, offset as usize).unwrap_or_default()
    }

    pub(super) fn noncontiguous(&self) -> bool {
        (self.word(0) >> 32) as u32 & NONCONTIGUOUS != 0
    }

    pub(super) fn top(&self) -> u64 {
        self.word(self.layout.bins - 16)
    }

    /// First and last chunk of a bin, its own address where it is empty.
    pub(super) fn bin(&self, index: u64) -> (u64, u64) {
        let at = self.layout.bins + (index - 1) * 16;
        (self.word(at), self.word(at + 8))
    }

    pub(super) fn fast(&self, index: usize) -> u64 {
        self.layout.fast.map_or(0, |fast| self.word(fast + index as u64 * 8))
    }

    pub(super) fn next(&self) -> u64 {
        self.word(self.layout.next())
    }

    pub(super) fn attached_threads(&self) -> u64 {
        self.word(self.layout.next() + 16)
    }

    pub(super) fn system(&self) -> u64 {
        self.word(self.layout.next() + 24)
    }

    /// Whether what lies before `top` can be a lock, flags and fastbins.
    fn begins_well(&self, may_hold_chunks: &dyn Fn(u64) -> bool) -> bool {
        let (lock, flags) = (self.word(0) & 0xffff_ffff, self.word(0) >> 32);
        let mut fast = (0..FASTBINS).map(|index| self.fast(index));
        let sound = |at: u64| at == 0 || (is_chunk(at) && may_hold_chunks(at));
        lock <= MOST_LOCK && flags <= MOST_FLAGS && fast.all(sound)
    }

    fn most_system(&self) -> u64 {
        self.word(self.layout.next() + 32)
    }

    /// Whether all but the lock is the same.
    pub(super) fn same_figures(&self, other: &State) -> bool {
        self.bytes.get(4..) == other.bytes.get(4..)
    }

    /// Whether nothing was allocated yet; `top` is then a bin.
    pub(super) fn is_initial(&self) -> bool {
        self.top() == self.layout.bin_at(self.at, 1)
    }

    /// The main arena of a program that never called malloc: as linked, `next` points to itself.
    pub(super) fn is_untouched(&self) -> bool {
        let others = |offset: usize| {
            offset != self.layout.next() as usize && offset != self.layout.next() as usize + 16
        };
        self.next() == self.at
            && self.attached_threads() == 1
            && (0..self.bytes.len()).step_by(8).filter(|o| others(*o)).all(|o| self.word(o as u64) == 0)
    }

    /// Whether it can be a malloc_state: every bin is empty or points to memory where chunks may be.
    pub(super) fn is_plausible(&self, may_hold_chunks: &dyn Fn(u64) -> bool) -> bool {
        let bins = (1..BINS).all(|index| {
            let (fd, bk) = self.bin(index);
            let own = self.layout.bin_at(self.at, index);
            match (fd == own, bk == own) {
                (true, true) => true,
                (false, false) => is_chunk(fd) && is_chunk(bk) && may_hold_chunks(fd) && may_hold_chunks(bk),
                _ => false,
            }
        });
        bins && self.begins_well(may_hold_chunks)
            && self.next() != 0
            && self.system() <= self.most_system()
            && (self.is_initial() || (is_chunk(self.top()) && may_hold_chunks(self.top())))
    }
}

/// Whether an address is aligned as a chunk is.
pub(super) const fn is_chunk(at: u64) -> bool {
    at != 0 && at.is_multiple_of(ALIGN)
}
