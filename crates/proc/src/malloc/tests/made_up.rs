//! Made-up memory with arenas in it, laid out as a chosen glibc does.

use crate::malloc::layout::{HEAP_MAX, Layout, MIN_CHUNK, PREV_INUSE};
use crate::malloc::lists::Links;
use crate::malloc::memory::{TargetMemory, Unread};
use std::collections::{BTreeMap, BTreeSet};
use vmatlas_event::{Addr, AddrRange, Dev, Name, Prot, Sharing, VmaRow};

pub(super) const BRK: u64 = 0x5555_0000_0000;
pub(super) const DATA: u64 = 0x7f80_0000_0000;
pub(super) const MAIN: u64 = DATA + 0xc60;
const HEAPS: u64 = 0x7f00_0000_0000;
const PAGE: u64 = 4096;

/// Memory by words, and the map that goes with it.
#[derive(Clone)]
pub(super) struct MadeUp {
    pub(super) words: BTreeMap<u64, u64>,
    pub(super) resident: BTreeSet<u64>,
    pub(super) rows: Vec<VmaRow>,
    pub(super) layout: Layout,
    pub(super) links: Links,
    arenas: Vec<u64>,
}

/// One chunk; sizes are those of whole chunks.
#[derive(Clone, Copy, Debug)]
pub(super) enum Chunk {
    Used(u64),
    /// Free, in the bin for its size or in the unsorted one.
    Free(u64, bool),
    /// Free in a fastbin.
    Fast(u64),
}

impl TargetMemory for MadeUp {
    fn read(&mut self, addr: Addr, buf: &mut [u8]) -> Result<(), Unread> {
        let end = addr.0.checked_add(buf.len() as u64).ok_or(Unread::Unreadable)?;
        for page in addr.0 / PAGE..end.div_ceil(PAGE) {
            if !self.resident.contains(&page) {
                return Err(Unread::NotResident);
            }
        }
        for (offset, word) in buf.chunks_mut(8).enumerate() {
            let value = self.words.get(&(addr.0 + 8 * offset as u64)).copied().unwrap_or_default();
            word.copy_from_slice(&value.to_ne_bytes()[..word.len()]);
        }
        Ok(())
    }
}

impl MadeUp {
    /// A program whose libc has a main arena that was never used.
    pub(super) fn new(layout: Layout, links: Links) -> MadeUp {
        let (words, resident) = (BTreeMap::new(), BTreeSet::new());
        let mut memory = MadeUp { words, resident, rows: Vec::new(), layout, links, arenas: Vec::new() };
        memory.map(DATA, 2 * PAGE, Some("/usr/lib/libc.so.6"));
        memory.touch(DATA, 2 * PAGE);
        memory.put(MAIN + layout.next(), MAIN);
        memory.put(MAIN + layout.next() + 16, 1);
        memory
    }

    pub(super) fn map(&mut self, start: u64, len: u64, name: Option<&str>) {
        let file = name.is_some_and(|name| name.starts_with('/'));
        self.rows.push(VmaRow {
            range: AddrRange::new(Addr(start), Addr(start + len)).unwrap(),
            prot: Prot::RW,
            sharing: Sharing::Private,
            offset: 0,
            dev: Dev { major: u32::from(file) * 8, minor: u32::from(file) },
            inode: u64::from(file) * 7,
            name: name.map(|name| Name::new(name.as_bytes())),
        });
        self.rows.sort_by_key(|row| row.range.start());
    }

    pub(super) fn touch(&mut self, start: u64, len: u64) {
        self.resident.extend(start / PAGE..(start + len).div_ceil(PAGE));
    }

    pub(super) fn put(&mut self, at: u64, word: u64) {
        self.words.insert(at, word);
    }

    pub(super) fn get(&self, at: u64) -> u64 {
        self.words.get(&at).copied().unwrap_or_default()
    }

    /// Gives the program a main arena with these chunks and this top, and what `mp_` says.
    pub(super) fn main(&mut self, chunks: &[Chunk], top: u64) {
        let end = self.lay(MAIN, BRK, chunks, top);
        self.map(BRK, end - BRK, Some("[heap]"));
        self.touch(BRK, end - BRK);
        self.finish(MAIN, end - BRK);
    }

    /// Adds an arena with one heap; returns where it is.
    pub(super) fn arena(&mut self, chunks: &[Chunk]) -> u64 {
        let heap_info = self.layout.heap_info.unwrap_or(48);
        let heap = HEAPS + self.arenas.len() as u64 * HEAP_MAX;
        let at = heap + heap_info;
        let first = self.layout.first_chunk(at);
        let used: u64 = chunks.iter().map(|chunk| size(*chunk)).sum();
        let size = (first - heap + used + MIN_CHUNK).next_multiple_of(PAGE);
        self.lay(at, first, chunks, heap + size - first - used);
        for (offset, word) in [(0, at), (8, 0), (16, size), (24, size)] {
            self.put(heap + offset, word);
        }
        self.map(heap, size, None);
        self.touch(heap, size);
        self.finish(at, size);
        at
    }

    /// Writes chunks from `start` on, their lists, and the top behind them.
    fn lay(&mut self, arena: u64, start: u64, chunks: &[Chunk], top: u64) -> u64 {
        let mut bins: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        let mut at = start;
        let mut previous_used = PREV_INUSE;
        for chunk in chunks {
            let size = size(*chunk);
            self.put(at + 8, size | previous_used);
            previous_used = PREV_INUSE;
            match *chunk {
                Chunk::Used(_) => {}
                Chunk::Free(_, sorted) => {
                    self.put(at + size, size);
                    previous_used = 0;
                    let bin = match (sorted, size) {
                        (false, _) => 1,
                        (true, ..1024) => size / 16,
                        (true, _) => 64 + size.ilog2() as u64,
                    };
                    bins.entry(bin).or_default().push(at);
                }
                Chunk::Fast(_) => {
                    let head = arena + self.layout.fast.unwrap() + (size / 16 - 2) * 8;
                    let next = self.links.reveal(at + 16, self.get(head));
                    self.put(at + 16, next);
                    self.put(head, at);
                }
            }
            at += size;
        }
        self.put(at + 8, top | previous_used);
        self.put(arena + self.layout.bins - 16, at);
        for bin in 1..128 {
            let own = self.layout.bin_at(arena, bin);
            let chain = bins.remove(&bin).unwrap_or_default();
            for (index, chunk) in chain.iter().enumerate() {
                self.put(chunk + 16, chain.get(index + 1).copied().unwrap_or(own));
                self.put(chunk + 24, if index == 0 { own } else { chain[index - 1] });
            }
            self.put(own + 16, chain.first().copied().unwrap_or(own));
            self.put(own + 24, chain.last().copied().unwrap_or(own));
        }
        at + top
    }

    /// Figures of an arena, and the circle anew.
    fn finish(&mut self, arena: u64, system: u64) {
        let next = self.layout.next();
        self.arenas.push(arena);
        for (offset, word) in [(16, 1), (24, system), (32, system)] {
            self.put(arena + next + offset, word);
        }
        let circle = self.arenas.clone();
        for (index, arena) in circle.iter().enumerate() {
            self.put(arena + next, circle[(index + 1) % circle.len()]);
        }
    }
}

pub(super) fn size(chunk: Chunk) -> u64 {
    match chunk {
        Chunk::Used(size) | Chunk::Free(size, _) | Chunk::Fast(size) => size,
    }
}
