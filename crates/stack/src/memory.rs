//! The stack of a stopped thread, read piece by piece as the walk goes outwards; or a copy of it.
//!
//! Only process_vm_readv(2) reads it: PTRACE_PEEKDATA below a stack would make it grow. What is read lies in one private
//! anonymous VMA that can be read, above the stack pointer: the thread has touched those pages. Other memory
//! (files, devices, shared objects) may make a reader wait, and holds no stack.

use crate::Rows;
use vmatlas_event::{Addr, Pid, Prot, Sharing, StackEnd};
use vmatlas_sys::process_vm_read;

/// The first piece; each one after it is as long as all before.
const FIRST: u64 = 1024;
/// So much of a stack is read at most.
pub(crate) const BOUND: u64 = 64 * 1024;
/// What holes of a copy are counted in.
const PAGE: u64 = 4096;
/// A signal may have come in on another stack, and again: so many are read at most.
const STACKS: u32 = 4;

/// What was read of one walk. It is kept from walk to walk, so that its memory is used again.
#[derive(Debug, Default)]
pub(crate) struct StackMemory {
    /// The address of the first byte.
    base: u64,
    bytes: Vec<u8>,
    /// So much of `bytes` was read.
    len: usize,
    /// Where the VMA ends.
    end: u64,
    stacks: u32,
    /// Whether it is a copy: then there is nothing else to be read.
    is_copy: bool,
    /// Bit N: page N of a copy was not there.
    holes: u32,
}

impl StackMemory {
    /// Begins a walk.
    pub(crate) fn begin(&mut self) {
        (self.base, self.len, self.end, self.stacks) = (0, 0, 0, 0);
        (self.is_copy, self.holes) = (false, 0);
    }

    /// Begins a walk of a copy that begins at the word of a stack pointer.
    pub(crate) fn begin_copy(&mut self, sp: u64, copy: &[u8], holes: u32) {
        if self.bytes.len() < copy.len() {
            self.bytes.resize(copy.len(), 0);
        }
        for (to, from) in self.bytes.iter_mut().zip(copy) {
            *to = *from;
        }
        (self.base, self.len) = (sp & !7, copy.len());
        (self.is_copy, self.holes) = (true, holes);
    }

    /// Whether what is read is a copy.
    pub(crate) fn is_copy(&self) -> bool {
        self.is_copy
    }

    /// Eight bytes at an address, for a frame whose stack pointer is `sp`: what is read begins there.
    ///
    /// # Errors
    /// [`StackEnd::Bound`] further out than is read, [`StackEnd::Unreadable`] where there is no stack.
    pub(crate) fn word(&mut self, addr: u64, sp: u64, pid: Pid, rows: &dyn Rows) -> Result<u64, StackEnd> {
        loop {
            if let Some(word) = self.known(addr).filter(|_| !self.is_hole(addr)) {
                return Ok(word);
            }
            if self.is_copy {
                let is_beyond = self.len as u64 >= BOUND && addr >= self.base && !self.is_hole(addr);
                return Err(if is_beyond { StackEnd::Bound } else { StackEnd::Unreadable });
            }
            let is_here = self.base <= addr && addr < self.end;
            if !is_here {
                self.begin_at(addr, sp, rows)?;
            } else if addr - self.base >= BOUND - 8 {
                // Stacks of goroutines lie in one VMA: the walk has come to another one.
                if sp.saturating_sub(self.base) <= BOUND {
                    return Err(StackEnd::Bound);
                }
                self.begin_at(addr, sp, rows)?;
            }
            self.extend(addr, pid)?;
        }
    }

    fn known(&self, addr: u64) -> Option<u64> {
        let at = usize::try_from(addr.checked_sub(self.base)?).ok()?;
        let bytes = self.bytes.get(..self.len)?.get(at..at.checked_add(8)?)?;
        bytes.try_into().ok().map(u64::from_le_bytes)
    }

    /// Whether a word is in a page that was not there, in whole or in part.
    fn is_hole(&self, addr: u64) -> bool {
        let is_missing = |addr: u64| {
            let page = (addr / PAGE).checked_sub(self.base / PAGE).and_then(|page| u32::try_from(page).ok());
            page.and_then(|page| self.holes.checked_shr(page)).is_some_and(|holes| holes & 1 != 0)
        };
        self.holes != 0 && (is_missing(addr) || is_missing(addr.saturating_add(7)))
    }

    fn begin_at(&mut self, addr: u64, sp: u64, rows: &dyn Rows) -> Result<(), StackEnd> {
        let found = |at| rows.row_at(Addr(at)).or_else(|| rows.grows_to(Addr(at)));
        let row = found(addr).ok_or(StackEnd::Unreadable)?;
        let is_memory = !row.has_file() && row.sharing == Sharing::Private && row.prot.has(Prot::READ);
        if !is_memory || self.stacks == STACKS {
            return Err(StackEnd::Unreadable);
        }
        self.stacks += 1;
        let is_above = sp <= addr && found(sp).is_some_and(|of_sp| of_sp.range == row.range);
        let base = if is_above { sp } else { addr };
        (self.base, self.len, self.end) = (base & !7, 0, row.range.end().0);
        Ok(())
    }

    /// Reads on until the word at `addr` is there.
    fn extend(&mut self, addr: u64, pid: Pid) -> Result<(), StackEnd> {
        let needed = addr - self.base + 8;
        let mut len = self.len as u64;
        while len < needed {
            len = if len == 0 { FIRST } else { len * 2 };
        }
        let len = len.min(BOUND).min(self.end - self.base);
        if len < needed {
            return Err(StackEnd::Unreadable);
        }
        let len = usize::try_from(len).map_err(|_| StackEnd::Unreadable)?;
        if self.bytes.len() < len {
            self.bytes.resize(len, 0);
        }
        let from = Addr(self.base + self.len as u64);
        let piece = self.bytes.get_mut(self.len..len).ok_or(StackEnd::Unreadable)?;
        let read = process_vm_read(pid, from, piece).map_err(|_| StackEnd::Unreadable)?;
        self.len += read;
        if (self.len as u64) < needed { Err(StackEnd::Unreadable) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmatlas_event::VmaRow;

    struct Nothing;

    impl Rows for Nothing {
        fn row_at(&self, _addr: Addr) -> Option<&VmaRow> {
            None
        }
    }

    fn word(memory: &mut StackMemory, addr: u64) -> Result<u64, StackEnd> {
        memory.word(addr, addr, Pid(0), &Nothing)
    }

    /// Checks that a copy is read at its addresses and nowhere else, and that pages that were not there are not taken for zeroes.
    #[test]
    fn copies_are_read() {
        let mut memory = StackMemory::default();
        let bytes: Vec<u8> = (0..12_000u32).flat_map(|i| (i / 8).to_le_bytes()).take(12_000).collect();
        memory.begin_copy(0x7ff3, &bytes, 0b100);
        assert_eq!(word(&mut memory, 0x7ff0), Ok(0));
        assert_eq!(
            word(&mut memory, 0x7ff0 + 320),
            Ok(u64::from(320u32 / 32) | u64::from(320u32 / 32) << 32)
        );
        assert_eq!(word(&mut memory, 0x7fe8), Err(StackEnd::Unreadable));
        // Pages 0x7000, 0x8000, and 0x9000, which is missing.
        assert!(word(&mut memory, 0x8ff8).is_ok());
        assert_eq!(word(&mut memory, 0x8ffc), Err(StackEnd::Unreadable));
        assert_eq!(word(&mut memory, 0x9ff8), Err(StackEnd::Unreadable));
        assert!(word(&mut memory, 0xa000).is_ok());
        assert_eq!(word(&mut memory, 0x7ff0 + 12_000), Err(StackEnd::Unreadable));
        memory.begin_copy(0x1000, &vec![1; BOUND as usize], 0);
        assert!(word(&mut memory, 0x1000 + BOUND - 8).is_ok());
        assert_eq!(word(&mut memory, 0x1000 + BOUND - 7), Err(StackEnd::Bound));
        assert_eq!(word(&mut memory, 0xff8), Err(StackEnd::Unreadable));
    }
}
