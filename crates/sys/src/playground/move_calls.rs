//! mremap(2), whose two ends must both be owned.

use super::{Player, REFUSED};
use crate::errno::check;
use vmatlas_event::{Addr, AddrRange, Bytes, Errno};

const FIXED: u64 = libc::MREMAP_FIXED as u64;
const DONTUNMAP: u64 = libc::MREMAP_DONTUNMAP as u64;

impl Player<'_> {
    /// mremap(2). `to` is the new place with MREMAP_FIXED, in the playground; otherwise what moves away goes into `slot`.
    ///
    /// A slot moves as a whole; what stays in it stays its own.
    ///
    /// # Errors
    /// [`REFUSED`] when one end is not owned or the slot in use, else the kernel's error.
    pub fn remap(
        &mut self,
        old: Addr,
        old_len: Bytes,
        new_len: Bytes,
        flags: u64,
        to: Option<Addr>,
        slot: usize,
    ) -> Result<Addr, Errno> {
        let source = self.own(old, old_len)?;
        let stays = flags & DONTUNMAP != 0 || old_len == Bytes(0);
        let from_slot = if self.ground.range.covers(source) {
            // In place it may grow up to here; the kernel never replaces what is in the way.
            self.own_ground(old, new_len)?;
            None
        } else if stays {
            None
        } else {
            Some(self.slot_of(source).ok_or(REFUSED)?)
        };
        let fixed = flags & FIXED != 0;
        if fixed {
            self.own_ground(to.ok_or(Errno(libc::EINVAL))?, new_len)?;
        } else if from_slot.is_none() {
            self.free_slot(slot)?;
        }
        let to = if fixed { to.map_or(0, |to| to.0) } else { 0 };
        // SAFETY: unmaps from its two ranges only, both owned, and no reference into either exists.
        let ret = unsafe { libc::syscall(libc::SYS_mremap, old.0, old_len.0, new_len.0, flags, to) };
        match (check(ret), from_slot) {
            (Ok(at), from_slot) => {
                let at = Addr(at as u64);
                if let Some(from) = from_slot {
                    self.slots[from] = None;
                }
                let moved = from_slot.is_some() || at != old;
                if moved {
                    self.placed(from_slot.unwrap_or(slot), at, new_len);
                }
                Ok(at)
            }
            // A move of several VMAs may stop midway and leave a hole that others could fill: better to own nothing.
            (Err(errno), Some(from)) if fixed => {
                self.give_up(from, source);
                Err(errno)
            }
            (Err(errno), _) => Err(errno),
        }
    }

    fn give_up(&mut self, slot: usize, range: AddrRange) {
        // SAFETY: the range was the slot's own.
        if check(unsafe { libc::syscall(libc::SYS_munmap, range.start().0, range.len().0) }).is_ok() {
            self.slots[slot] = None;
        }
    }
}
