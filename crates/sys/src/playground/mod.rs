//! A place where a program may make any memory call at all: for programs that try the model against the kernel.
//!
//! A [`Playground`] owns a fixed stretch of addresses that nothing else uses; a [`Player`] makes calls inside it, and
//! keeps account of what the kernel placed elsewhere for it (its slots). Every method that unmaps, replaces or alters
//! memory first checks that all of it is owned, so nothing that Rust uses can be hit. Nothing here allocates once a
//! player exists, and nothing else may while one plays: a heap that grows would share the break with [`Player::brk`].

mod alter_calls;
mod calls;
mod files;
mod move_calls;
mod shm;
mod tally;
mod tasks;
mod uffd;

pub use files::{memfd, perf_counter, seal_against_writing};
pub use shm::Segment;
pub use tally::SharedTally;
pub use tasks::{ChildStack, fixed_addresses, run_forked, run_program, run_sharing};
pub use uffd::{FaultMode, Userfault};

use crate::errno::check;
use crate::mem::{self, MmapArgs};
use std::sync::atomic::{AtomicU64, Ordering};
use vmatlas_event::{Addr, AddrRange, Bytes, Errno, MapFlags, ProtArg};

/// The answer to a call that would hit what is not owned: it never reached the kernel, which has no such error.
pub const REFUSED: Errno = Errno(i32::MAX);
/// How many areas outside of the playground a player can own at a time.
pub const SLOTS: usize = 8;
/// How many AIO contexts a player can have at a time.
pub const RINGS: usize = 2;

/// A stretch of addresses that this process uses for nothing else.
#[derive(Debug)]
pub struct Playground {
    range: AddrRange,
    /// The break when the playground was made; players move it from there upwards.
    floor: AtomicU64,
}

impl Playground {
    /// Claims `len` bytes at `at`, which stay unmapped.
    ///
    /// Choose a place far from where the kernel puts mappings by itself.
    ///
    /// # Errors
    /// EEXIST when something is mapped there.
    pub fn claim(at: Addr, len: Bytes) -> Result<Playground, Errno> {
        let flags = MapFlags(0x2 | MapFlags::ANONYMOUS | MapFlags::FIXED_NOREPLACE);
        mem::map(MmapArgs { addr: at, len, prot: ProtArg(0), flags, fd: -1, offset: 0 })?;
        let range = AddrRange::from_len(at, len).ok_or(Errno(libc::EINVAL))?;
        // SAFETY: made just above, and nothing refers to it.
        check(unsafe { libc::syscall(libc::SYS_munmap, at.0, len.0) })?;
        Ok(Playground { range, floor: AtomicU64::new(mem::brk(Addr(0)).0) })
    }

    /// Takes the break as it is now for the lowest: before players play, because the heap may have moved it.
    pub fn take_break(&self) {
        self.floor.store(mem::brk(Addr(0)).0, Ordering::Relaxed);
    }

    /// The lowest break.
    pub fn floor(&self) -> Addr {
        Addr(self.floor.load(Ordering::Relaxed))
    }

    /// Where it is.
    pub fn range(&self) -> AddrRange {
        self.range
    }
}

/// One who plays: the playground and what the kernel placed elsewhere.
#[derive(Debug)]
pub struct Player<'p> {
    ground: &'p Playground,
    /// Areas outside of the playground; what lies inside such a range was mapped by this player.
    slots: [Option<AddrRange>; SLOTS],
    /// Contexts of io_setup(2); 0 for none.
    rings: [u64; RINGS],
    page: u64,
}

impl<'p> Player<'p> {
    /// A player that owns nothing but the playground.
    pub fn new(ground: &'p Playground) -> Player<'p> {
        Player { ground, slots: [None; SLOTS], rings: [0; RINGS], page: crate::page_size().bytes() }
    }

    /// The playground.
    pub fn ground(&self) -> &'p Playground {
        self.ground
    }

    /// What a slot holds.
    pub fn slot(&self, slot: usize) -> Option<AddrRange> {
        self.slots.get(slot).copied().flatten()
    }

    /// The pages that a call with these arguments would touch.
    fn pages(&self, addr: Addr, len: Bytes) -> Result<AddrRange, Errno> {
        let end = addr.0.checked_add(len.0).and_then(|end| end.checked_next_multiple_of(self.page));
        let start = Addr(addr.0 / self.page * self.page);
        end.and_then(|end| AddrRange::new(start, Addr(end))).ok_or(REFUSED)
    }

    /// The pages, when all of them are in the playground.
    fn own_ground(&self, addr: Addr, len: Bytes) -> Result<AddrRange, Errno> {
        self.pages(addr, len).and_then(|range| match self.ground.range.covers(range) {
            true => Ok(range),
            false => Err(REFUSED),
        })
    }

    /// The pages, when all of them are in the playground or in one slot.
    fn own(&self, addr: Addr, len: Bytes) -> Result<AddrRange, Errno> {
        let range = self.pages(addr, len)?;
        let owned = self.slots.iter().flatten().chain([&self.ground.range]).any(|own| own.covers(range));
        if owned { Ok(range) } else { Err(REFUSED) }
    }

    /// The slot of exactly this area.
    fn slot_of(&self, range: AddrRange) -> Option<usize> {
        self.slots.iter().position(|slot| *slot == Some(range))
    }

    /// Whether the slot exists and is free, as it must be before the kernel is asked to choose a place.
    fn free_slot(&self, slot: usize) -> Result<(), Errno> {
        match self.slots.get(slot) {
            Some(None) => Ok(()),
            Some(Some(_)) => Err(REFUSED),
            None => Err(Errno(libc::EINVAL)),
        }
    }

    /// Notes where the kernel put something.
    fn placed(&mut self, slot: usize, addr: Addr, len: Bytes) {
        let Ok(range) = self.pages(addr, len) else { return };
        if !self.ground.range.covers(range)
            && let Some(slot) = self.slots.get_mut(slot)
        {
            *slot = Some(range);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Addr = Addr(0x0e00_0000_0000);
    const PAGE: Bytes = Bytes(4096);
    const RW: ProtArg = ProtArg(3);
    const PRIVATE: MapFlags = MapFlags(0x22);
    const FIXED: MapFlags = MapFlags(0x32);

    fn args(addr: Addr, len: Bytes, flags: MapFlags) -> MmapArgs {
        MmapArgs { addr, len, prot: RW, flags, fd: -1, offset: 0 }
    }

    /// Checks that calls outside of what is owned never reach the kernel, and that inside they do.
    #[test]
    fn only_what_is_owned_can_be_hit() {
        let ground = Playground::claim(AT, Bytes(16 * 4096)).unwrap();
        let mut player = Player::new(&ground);
        let outside = Addr(AT.0 + 16 * 4096);
        let refused = Err(REFUSED);
        assert_eq!(player.unmap(outside, PAGE), refused);
        assert_eq!(player.unmap(Addr(AT.0 + 15 * 4096), Bytes(4097)), refused);
        assert_eq!(player.protect(outside, PAGE, RW), refused);
        assert_eq!(player.map(args(outside, PAGE, FIXED), 0), Err(REFUSED));
        assert_eq!(player.map(args(AT, PAGE, FIXED), 0), Ok(AT));
        assert_eq!(player.remap(AT, PAGE, PAGE, 3, Some(outside), 0), Err(REFUSED));
        assert_eq!(player.unmap(AT, PAGE), Ok(()));
    }

    /// Checks that what the kernel placed is owned until it is unmapped, and not a page longer.
    #[test]
    fn a_slot_is_owned_until_it_is_unmapped() {
        let ground = Playground::claim(Addr(AT.0 + 0x1000_0000), Bytes(4096)).unwrap();
        let mut player = Player::new(&ground);
        let at = player.map(args(Addr(0), Bytes(3 * 4096), PRIVATE), 2).unwrap();
        assert_eq!(player.slot(2), AddrRange::from_len(at, Bytes(3 * 4096)));
        assert_eq!(player.map(args(Addr(0), PAGE, PRIVATE), 2), Err(REFUSED));
        let middle = Addr(at.0 + 4096);
        assert_eq!(player.protect(middle, PAGE, ProtArg(1)), Ok(()));
        assert_eq!(player.unmap(middle, PAGE), Err(REFUSED), "a hole could be taken by others");
        assert_eq!(player.unmap(Addr(at.0 + 2 * 4096), PAGE), Ok(()));
        assert_eq!(player.slot(2), AddrRange::from_len(at, Bytes(2 * 4096)));
        assert_eq!(player.unmap(at, Bytes(2 * 4096)), Ok(()));
        assert_eq!(player.slot(2), None);
        assert_eq!(player.protect(at, PAGE, RW), Err(REFUSED));
    }
}
