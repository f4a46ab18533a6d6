//! Reading another program's memory in small pieces: cached, and bounded in time and bytes.

use crate::malloc::report::{MallocCost, Unknown};
use std::time::{Duration, Instant};
use vmatlas_event::{Addr, Bytes};

/// Why memory was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// It is not in memory: reading it would bring it there.
    NotResident,
    /// We may not read this process.
    NotPermitted,
    /// Nothing is there, or the process is gone.
    Unreadable,
    /// The time for it is over.
    Deadline,
}

/// The memory of a program: living, dead (a core file), or made up.
pub trait TargetMemory {
    /// Fills `buf` from `addr` on, wholly or not at all. Must not change what the program has in memory.
    ///
    /// # Errors
    /// Why it was not read.
    fn read(&mut self, addr: Addr, buf: &mut [u8]) -> Result<(), Unread>;
}

/// How long and how much may be read.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The longest that the whole look may take.
    pub deadline: Duration,
    /// The most that is read.
    pub bytes: u64,
    /// Looks in all, where a process changes meanwhile.
    pub tries: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { deadline: Duration::from_secs(3), bytes: 8 << 30, tries: 3 }
    }
}

/// What is cached at a time.
const BLOCK: u64 = 4096;
/// How many of them.
const SLOTS: u64 = 4096;
/// Blocks that one call fetches, and from this many fetches in order on.
const PAIR: u64 = 2;
const AHEAD: u64 = 16;
const ORDER: u32 = 3;

/// Reads with a cache of 16 MiB, directly mapped.
pub(super) struct Reader<'a> {
    memory: &'a mut dyn TargetMemory,
    limits: Limits,
    start: Instant,
    /// Block number + 1 of what each slot holds.
    tags: Vec<u64>,
    data: Vec<u8>,
    ahead: Vec<u8>,
    /// The last block that was fetched, and how many fetches in a row went on where the one before ended.
    last: u64,
    in_order: u32,
    bytes: u64,
    calls: u64,
}

impl<'a> Reader<'a> {
    pub(super) fn new(memory: &'a mut dyn TargetMemory, limits: Limits, start: Instant) -> Reader<'a> {
        Reader {
            memory,
            limits,
            start,
            tags: vec![0; SLOTS as usize],
            data: vec![0; (SLOTS * BLOCK) as usize],
            ahead: vec![0; (AHEAD * BLOCK) as usize],
            last: 0,
            in_order: 0,
            bytes: 0,
            calls: 0,
        }
    }

    pub(super) fn cost(&self) -> MallocCost {
        MallocCost { time: self.start.elapsed(), bytes: Bytes(self.bytes), calls: self.calls, tries: 1 }
    }

    /// Fails when the time is over, for loops that read from the cache alone.
    pub(super) fn in_time(&self) -> Result<(), Unknown> {
        if self.start.elapsed() > self.limits.deadline { Err(Unknown::Deadline) } else { Ok(()) }
    }

    /// Reads past the cache: how it is now.
    pub(super) fn fresh(&mut self, at: u64, buf: &mut [u8]) -> Result<(), Unknown> {
        self.in_time()?;
        if self.bytes.saturating_add(buf.len() as u64) > self.limits.bytes {
            return Err(Unknown::TooMuch);
        }
        at.checked_add(buf.len() as u64).ok_or(Unknown::Inconsistent(Addr(at)))?;
        self.calls += 1;
        self.memory.read(Addr(at), buf).map_err(|why| match why {
            Unread::NotResident => Unknown::NotResident(Addr(at)),
            Unread::NotPermitted => Unknown::NotPermitted,
            Unread::Unreadable => Unknown::Unreadable(Addr(at)),
            Unread::Deadline => Unknown::Deadline,
        })?;
        self.bytes += buf.len() as u64;
        Ok(())
    }

    /// `N` words from `at` on.
    pub(super) fn words<const N: usize>(&mut self, at: u64) -> Result<[u64; N], Unknown> {
        let mut words = [0; N];
        for (index, word) in words.iter_mut().enumerate() {
            *word = self.word(at.wrapping_add(8 * index as u64))?;
        }
        Ok(words)
    }

    /// The word at `at`, which must be aligned.
    pub(super) fn word(&mut self, at: u64) -> Result<u64, Unknown> {
        if !at.is_multiple_of(8) {
            return Err(Unknown::Inconsistent(Addr(at)));
        }
        let block = at / BLOCK;
        let slot = block % SLOTS;
        if self.tags.get(slot as usize) != Some(&(block + 1)) {
            self.fetch(block)?;
        }
        let offset = slot * BLOCK + at % BLOCK;
        word_at(&self.data, offset as usize).ok_or(Unknown::Unreadable(Addr(at)))
    }

    /// Brings a block and the next, where the end of a chunk often is; more where reading goes up in order.
    fn fetch(&mut self, block: u64) -> Result<(), Unknown> {
        self.in_order = if block == self.last.wrapping_add(1) { self.in_order + 1 } else { 0 };
        let wanted = if self.in_order < ORDER { PAIR } else { AHEAD };
        let mut ahead = std::mem::take(&mut self.ahead);
        let mut answer = Err(Unknown::NotFound);
        for blocks in [wanted, 1] {
            let buffer = ahead.get_mut(..(blocks * BLOCK) as usize).unwrap_or_default();
            answer = self.fresh(block.wrapping_mul(BLOCK), buffer).map(|()| blocks);
            if !matches!(answer, Err(Unknown::NotResident(_) | Unknown::Unreadable(_))) {
                break;
            }
        }
        if let Ok(blocks) = answer {
            for (number, content) in (block..block + blocks).zip(ahead.chunks_exact(BLOCK as usize)) {
                let slot = (number % SLOTS) as usize;
                let place = slot * BLOCK as usize..(slot + 1) * BLOCK as usize;
                if let (Some(tag), Some(data)) = (self.tags.get_mut(slot), self.data.get_mut(place)) {
                    *tag = number + 1;
                    data.copy_from_slice(content);
                }
            }
            self.last = block + blocks - 1;
        }
        self.ahead = ahead;
        answer.map(|_| ())
    }
}

/// The word at `offset`, in the byte order of this machine, which is also the target's.
pub(super) fn word_at(bytes: &[u8], offset: usize) -> Option<u64> {
    let word = bytes.get(offset..offset.checked_add(8)?)?;
    word.try_into().ok().map(u64::from_ne_bytes)
}
