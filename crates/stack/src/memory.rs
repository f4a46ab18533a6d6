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
}

impl StackMemory {
    /// Begins a walk.
    pub(crate) fn begin(&mut self) {
        (self.base, self.len, self.end, self.stacks) = (0, 0, 0, 0);
        self.is_copy = false;
    }

    /// Begins a walk of a copy that begins at the word of a stack pointer.
    pub(crate) fn begin_copy(&mut self, sp: u64, copy: &[u8]) {
        if self.bytes.len() < copy.len() {
            self.bytes.resize(copy.len(), 0);
        }
        for (to, from) in self.bytes.iter_mut().zip(copy) {
            *to = *from;
        }
        (self.base, self.len, self.is_copy) = (sp & !7, copy.len(), true);
    }

    /// Eight bytes at an address, for a frame whose stack pointer is `sp`: what is read begins there.
    ///
    /// # Errors
    /// [`StackEnd::Bound`] further out than is read, [`StackEnd::Unreadable`] where there is no stack.
    pub(crate) fn word(&mut self, addr: u64, sp: u64, pid: Pid, rows: &dyn Rows) -> Result<u64, StackEnd> {
        loop {
            if let Some(word) = self.known(addr) {
                return Ok(word);
            }
            if self.is_copy {
                let is_beyond = self.len as u64 >= BOUND && addr >= self.base;
                return Err(if is_beyond { StackEnd::Bound } else { StackEnd::Unreadable });
            }
            let is_here = self.base <= addr && addr < self.end;
            if !is_here {
                self.begin_at(addr, sp, rows)?;
            } else if addr - self.base >= BOUND - 8 {
                return Err(StackEnd::Bound);
            }
            self.extend(addr, pid)?;
        }
    }

    fn known(&self, addr: u64) -> Option<u64> {
        let at = usize::try_from(addr.checked_sub(self.base)?).ok()?;
        let bytes = self.bytes.get(..self.len)?.get(at..at.checked_add(8)?)?;
        bytes.try_into().ok().map(u64::from_le_bytes)
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
