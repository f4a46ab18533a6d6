//! The memory calls of a player, but for those that move memory.

use super::{Player, REFUSED, RINGS, Segment};
use crate::errno::check;
use crate::mem::{self, MmapArgs, Touch};
use std::os::fd::{AsRawFd, BorrowedFd};
use vmatlas_event::{Addr, AddrRange, Bytes, Errno, MapFlags};

const MAP_HUGETLB: u64 = libc::MAP_HUGETLB as u64;
const LARGEST_PAGE: u64 = 1 << 30;

impl Player<'_> {
    /// mmap(2). MAP_FIXED works in the playground alone; what the kernel places elsewhere goes into the slot.
    ///
    /// # Errors
    /// [`REFUSED`] for MAP_FIXED outside or a slot in use, else the kernel's error.
    pub fn map(&mut self, args: MmapArgs, slot: usize) -> Result<Addr, Errno> {
        if args.flags.has(MapFlags::FIXED) && !args.flags.has(MapFlags::FIXED_NOREPLACE) {
            // A huge page takes more than was asked for.
            let whole = if args.flags.has(MAP_HUGETLB) { args.len.0.max(LARGEST_PAGE) } else { args.len.0 };
            self.own_ground(args.addr, Bytes(whole))?;
        } else if args.flags.has(MAP_HUGETLB) {
            return Err(REFUSED);
        } else {
            self.free_slot(slot)?;
        }
        // SAFETY: replaces something only with MAP_FIXED, and then in the playground, to which no reference exists.
        let ret = unsafe {
            libc::syscall(
                libc::SYS_mmap,
                args.addr.0,
                args.len.0,
                args.prot.0,
                args.flags.0,
                args.fd,
                args.offset,
            )
        };
        let at = Addr(check(ret)? as u64);
        self.placed(slot, at, args.len);
        Ok(at)
    }

    /// munmap(2): anything in the playground; of a slot its beginning, its end or all of it.
    ///
    /// # Errors
    /// [`REFUSED`] for anything else, else the kernel's error.
    pub fn unmap(&mut self, addr: Addr, len: Bytes) -> Result<(), Errno> {
        let range = self.own(addr, len)?;
        let slot = self.slots.iter().position(|slot| slot.is_some_and(|own| own.covers(range)));
        let left = match slot.and_then(|slot| self.slots[slot]) {
            None => None,
            Some(own) if own.start() == range.start() => AddrRange::new(range.end(), own.end()),
            Some(own) if own.end() == range.end() => AddrRange::new(own.start(), range.start()),
            // A hole inside could be given to somebody else, and would still count as ours.
            Some(_) => return Err(REFUSED),
        };
        // SAFETY: owned, and no reference into it exists.
        check(unsafe { libc::syscall(libc::SYS_munmap, addr.0, len.0) })?;
        if let Some(slot) = slot {
            self.slots[slot] = left.filter(|left| !left.is_empty());
        }
        Ok(())
    }

    /// remap_file_pages(2): these pages of a shared mapping show another part of its file.
    ///
    /// # Errors
    /// [`REFUSED`] outside of the playground, else the kernel's error.
    pub fn remap_file_pages(&self, addr: Addr, len: Bytes, file_page: u64) -> Result<(), Errno> {
        self.own_ground(addr, len)?;
        // SAFETY: in the playground, to which no reference exists.
        let ret = unsafe { libc::syscall(libc::SYS_remap_file_pages, addr.0, len.0, 0, file_page, 0) };
        check(ret).map(|_| ())
    }

    /// shmat(2): in the playground, there also with SHM_REMAP; or where the kernel likes (`None`), into the slot.
    ///
    /// # Errors
    /// [`REFUSED`] outside or for a slot in use, else the kernel's error.
    pub fn attach(
        &mut self,
        segment: &Segment,
        at: Option<Addr>,
        flags: i32,
        slot: usize,
    ) -> Result<Addr, Errno> {
        match at {
            Some(at) => self.own_ground(at, segment.len()).map(|_| ())?,
            None => self.free_slot(slot)?,
        }
        let addr = at.map_or(0, |at| at.0);
        // SAFETY: replaces something only in the playground, to which no reference exists.
        let at = check(unsafe { libc::syscall(libc::SYS_shmat, segment.id(), addr, flags) })?;
        self.placed(slot, Addr(at as u64), segment.len());
        Ok(Addr(at as u64))
    }

    /// shmdt(2): it takes the pieces of the segment that was attached at `addr`, as far as the segment is long.
    ///
    /// # Errors
    /// [`REFUSED`] outside, else the kernel's error: EINVAL where no segment starts.
    pub fn detach(&mut self, segment: &Segment, addr: Addr) -> Result<(), Errno> {
        let range = self.own(addr, segment.len())?;
        let slot = self.slot_of(range);
        if slot.is_none() {
            self.own_ground(addr, segment.len())?;
        }
        // SAFETY: owned, and no reference into it exists.
        check(unsafe { libc::syscall(libc::SYS_shmdt, addr.0) })?;
        if let Some(slot) = slot {
            // What was split off and altered may have stayed; the slot is empty for sure after this.
            // SAFETY: the range was the slot's own.
            let _ = unsafe { libc::syscall(libc::SYS_munmap, range.start().0, range.len().0) };
            self.slots[slot] = None;
        }
        Ok(())
    }

    /// brk(2), so many bytes above the break that was there when the playground was made.
    ///
    /// # Errors
    /// ENOMEM when the break did not move there.
    pub fn brk(&self, above: Bytes) -> Result<(), Errno> {
        let asked = Addr(self.ground.floor().0.saturating_add(above.0));
        if mem::brk(asked) == asked { Ok(()) } else { Err(Errno(libc::ENOMEM)) }
    }

    /// io_setup(2) for a few requests.
    ///
    /// # Errors
    /// [`REFUSED`] for a context in use, else the kernel's error.
    pub fn io_setup(&mut self, ring: usize) -> Result<(), Errno> {
        if ring >= RINGS || self.rings[ring] != 0 {
            return Err(REFUSED);
        }
        let mut context = 0u64;
        // SAFETY: the kernel writes the context's id.
        check(unsafe { libc::syscall(libc::SYS_io_setup, 4, &raw mut context) })?;
        self.rings[ring] = context;
        Ok(())
    }

    /// Whether there is such a context.
    pub fn has_ring(&self, ring: usize) -> bool {
        self.rings.get(ring).is_some_and(|context| *context != 0)
    }

    /// io_destroy(2).
    ///
    /// # Errors
    /// EINVAL for a context that is not there.
    pub fn io_destroy(&mut self, ring: usize) -> Result<(), Errno> {
        let context = self.rings.get_mut(ring).map_or(0, std::mem::take);
        // SAFETY: the kernel unmaps what it mapped in io_setup; its ring is never moved.
        check(unsafe { libc::syscall(libc::SYS_io_destroy, context) }).map(|_| ())
    }

    /// Touches one byte as a program would, but by a system call: where the program would get a signal, EFAULT is said.
    ///
    /// `zeros` gives zeros to read, `sink` is a file to write to. Below an area with MAP_GROWSDOWN this makes it grow.
    ///
    /// # Errors
    /// EFAULT for what may not be touched; [`REFUSED`] outside.
    pub fn touch(
        &self,
        addr: Addr,
        how: Touch,
        zeros: BorrowedFd<'_>,
        sink: BorrowedFd<'_>,
    ) -> Result<(), Errno> {
        self.own(addr, Bytes(1))?;
        let at = addr.0 as *mut libc::c_void;
        let ret = match how {
            // SAFETY: the kernel writes one byte to owned memory, to which no reference exists, or says EFAULT.
            Touch::Write => unsafe { libc::read(zeros.as_raw_fd(), at, 1) },
            // SAFETY: the kernel reads one byte, or says EFAULT.
            Touch::Read => unsafe { libc::pwrite(sink.as_raw_fd(), at, 1, 0) },
        };
        check(ret as i64).map(|_| ())
    }

    /// Whether a page is mapped at all (mincore(2)).
    pub fn is_mapped(&self, addr: Addr) -> bool {
        let mut residency = 0u8;
        let start = addr.0 / self.page * self.page;
        // SAFETY: mincore fills one byte for one page.
        check(unsafe { libc::syscall(libc::SYS_mincore, start, self.page, &raw mut residency) }).is_ok()
    }
}
