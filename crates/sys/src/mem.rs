//! The memory calls themselves, raw: for the lab's experiments and for tests. Nothing here allocates.
//!
//! The functions that change memory which Rust may know of are safe only because their callers use addresses they got
//! from [`map`] and keep no references into them; each takes plain numbers and returns plain numbers.

use crate::errno::check;
use vmatlas_event::{Addr, AddrRange, Bytes, Errno, MapFlags, ProtArg};

/// The six arguments of mmap(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MmapArgs {
    /// The hint, or the place with MAP_FIXED.
    pub addr: Addr,
    /// How much.
    pub len: Bytes,
    /// PROT_*.
    pub prot: ProtArg,
    /// MAP_*.
    pub flags: MapFlags,
    /// The file, or -1.
    pub fd: i32,
    /// Where in the file, in bytes.
    pub offset: u64,
}

/// Calls mmap(2) by number, past any wrapper that would check or change an argument.
///
/// Refuses MAP_FIXED over anything that is mapped (EEXIST by MAP_FIXED_NOREPLACE), so that no caller can take away
/// memory that Rust uses.
///
/// # Errors
/// The kernel's error.
pub fn map(args: MmapArgs) -> Result<Addr, Errno> {
    let mut flags = args.flags.0;
    if flags & MapFlags::FIXED != 0 {
        flags = flags & !MapFlags::FIXED | MapFlags::FIXED_NOREPLACE;
    }
    // SAFETY: never replaces an existing mapping (above), so no memory that Rust knows of changes.
    let ret = unsafe {
        libc::syscall(libc::SYS_mmap, args.addr.0, args.len.0, args.prot.0, flags, args.fd, args.offset)
    };
    check(ret).map(|a| Addr(a as u64))
}

/// A mapping made by [`Arena::new`], whose insides tests and experiments may change as they like.
#[derive(Debug)]
pub struct Arena {
    range: AddrRange,
}

impl Arena {
    /// Maps `len` bytes with these attributes, for calls inside its range.
    ///
    /// # Errors
    /// The kernel's error.
    pub fn new(len: Bytes, prot: ProtArg, flags: MapFlags) -> Result<Arena, Errno> {
        let flags = MapFlags(flags.0 | MapFlags::ANONYMOUS);
        let addr = map(MmapArgs { addr: Addr(0), len, prot, flags, fd: -1, offset: 0 })?;
        let len = crate::page_size().round_up(len).ok_or(Errno(libc::EINVAL))?;
        AddrRange::from_len(addr, len).map(|range| Arena { range }).ok_or(Errno(libc::EINVAL))
    }

    /// Where it is.
    pub fn range(&self) -> AddrRange {
        self.range
    }

    fn own(&self, addr: Addr, len: Bytes) -> Result<(), Errno> {
        match AddrRange::from_len(addr, len) {
            Some(range) if self.range.covers(range) => Ok(()),
            _ => Err(Errno(libc::EFAULT)),
        }
    }

    /// munmap(2) inside the arena.
    ///
    /// # Errors
    /// EFAULT outside of it, else the kernel's error.
    pub fn unmap(&self, addr: Addr, len: Bytes) -> Result<(), Errno> {
        self.own(addr, len)?;
        // SAFETY: inside the arena, to which no reference exists.
        check(unsafe { libc::syscall(libc::SYS_munmap, addr.0, len.0) }).map(|_| ())
    }

    /// mprotect(2) inside the arena.
    ///
    /// # Errors
    /// EFAULT outside of it, else the kernel's error.
    pub fn protect(&self, addr: Addr, len: Bytes, prot: ProtArg) -> Result<(), Errno> {
        self.own(addr, len)?;
        // SAFETY: inside the arena, to which no reference exists.
        check(unsafe { libc::syscall(libc::SYS_mprotect, addr.0, len.0, prot.0) }).map(|_| ())
    }

    /// madvise(2) inside the arena.
    ///
    /// # Errors
    /// EFAULT outside of it, else the kernel's error.
    pub fn advise(&self, addr: Addr, len: Bytes, advice: i32) -> Result<(), Errno> {
        self.own(addr, len)?;
        // SAFETY: inside the arena, to which no reference exists.
        check(unsafe { libc::syscall(libc::SYS_madvise, addr.0, len.0, advice) }).map(|_| ())
    }

    /// mmap(2) with MAP_FIXED inside the arena, anonymous.
    ///
    /// # Errors
    /// EFAULT outside of it, else the kernel's error.
    pub fn map_over(&self, addr: Addr, len: Bytes, prot: ProtArg, flags: MapFlags) -> Result<(), Errno> {
        self.own(addr, len)?;
        let flags = flags.0 | MapFlags::FIXED | MapFlags::ANONYMOUS;
        // SAFETY: inside the arena, to which no reference exists.
        check(unsafe { libc::syscall(libc::SYS_mmap, addr.0, len.0, prot.0, flags, -1, 0) }).map(|_| ())
    }

    /// Writes to each page of the arena, of which at most 4,096 are taken, and makes but one call for all of them.
    ///
    /// # Errors
    /// ENOMEM where a part of it is mapped no more, EINVAL where it is too large.
    pub fn fill(&self) -> Result<(), Errno> {
        const MOST: usize = 4096;
        let (mut residency, page) = ([0u8; MOST], crate::page_size().bytes());
        let (start, len) = (self.range.start(), self.range.len());
        if len.0 > MOST as u64 * page {
            return Err(Errno(libc::EINVAL));
        }
        // SAFETY: mincore tells whether all of it is mapped (ENOMEM when not) and fills one byte for each page: 4,096 at most.
        check(unsafe { libc::syscall(libc::SYS_mincore, start.0, len.0, residency.as_mut_ptr()) })?;
        for at in (start.0..start.0 + len.0).step_by(page as usize) {
            // SAFETY: inside the arena and mapped, as asked just above; to which no reference exists. Volatile, so that it happens.
            unsafe { (at as *mut u8).write_volatile(1) };
        }
        Ok(())
    }

    /// mremap(2) of a part of the arena; a moved part is no longer the arena's and stays mapped.
    ///
    /// # Errors
    /// EFAULT outside of it, else the kernel's error.
    pub fn remap(&self, old: Addr, old_len: Bytes, new_len: Bytes, may_move: bool) -> Result<Addr, Errno> {
        self.own(old, old_len)?;
        let flags = u64::from(may_move);
        // SAFETY: the old range is inside the arena; without MREMAP_FIXED nothing else is replaced.
        let ret = unsafe { libc::syscall(libc::SYS_mremap, old.0, old_len.0, new_len.0, flags, 0) };
        check(ret).map(|a| Addr(a as u64))
    }
}

/// How pages are touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touch {
    /// By reading one byte of each.
    Read,
    /// By writing one byte of each.
    Write,
}

/// Touches pages of `range`, one access each, from page `first` on; returns how many were there to touch.
///
/// Only for memory from [`map`]. An access that the mapping does not allow raises SIGSEGV or SIGBUS, as it would for
/// any program: that is the experiment.
///
/// # Errors
/// ENOMEM for a page that is not mapped at all, asked of the kernel (mincore(2)) before each access.
pub fn touch(range: AddrRange, first: u64, pages: u64, how: Touch) -> Result<u64, Errno> {
    let page = crate::page_size().bytes();
    let last = first.saturating_add(pages).min(range.len().0 / page);
    for index in first..last {
        access(Addr(range.start().0 + index * page), how)?;
    }
    Ok(last.saturating_sub(first))
}

fn access(addr: Addr, how: Touch) -> Result<(), Errno> {
    let mut residency = 0u8;
    let page = crate::page_size();
    // SAFETY: mincore tells whether the page is mapped (ENOMEM when not) and fills one byte.
    check(unsafe { libc::syscall(libc::SYS_mincore, page.floor(addr).0, page.bytes(), &raw mut residency) })?;
    match how {
        // SAFETY: mapped, as asked just above, and nothing of Rust's lives there; volatile, so that it happens.
        Touch::Write => unsafe { (addr.0 as *mut u8).write_volatile(1) },
        Touch::Read => {
            // SAFETY: as for writing.
            unsafe { (addr.0 as *const u8).read_volatile() };
        }
    }
    Ok(())
}

/// How many pages of `range` are in memory: those behind them in the page table, and those that are only in a cache, the
/// copies of swapped pages among them (mincore(2)).
///
/// # Errors
/// ENOMEM where something in it is not mapped.
pub fn in_core(range: AddrRange) -> Result<u64, Errno> {
    let page = crate::page_size().bytes();
    let mut count = 0;
    for addr in (range.start().0..range.end().0).step_by(page as usize) {
        let mut residency = 0u8;
        // SAFETY: fills one byte for one page, and touches none.
        check(unsafe { libc::syscall(libc::SYS_mincore, addr, page, &raw mut residency) })?;
        count += u64::from(residency & 1);
    }
    Ok(count)
}

/// The break now, or after moving it to `addr` (brk(2) by number: the new break, or the old one when refused).
///
/// Only for a process whose allocator does not use the break any more.
pub fn brk(addr: Addr) -> Addr {
    // SAFETY: growing takes nothing away; the lab's child, the only caller that shrinks, owns what it grew.
    Addr(unsafe { libc::syscall(libc::SYS_brk, addr.0) } as u64)
}

/// Reads from a descriptor into a buffer, without allocation; 0 at the end.
///
/// # Errors
/// The kernel's error; EINTR is retried.
pub fn read_raw(fd: i32, buf: &mut [u8]) -> Result<usize, Errno> {
    loop {
        // SAFETY: the buffer and its length.
        match check(unsafe { libc::read(fd, buf.as_mut_ptr().cast(), buf.len()) } as i64) {
            Err(Errno(libc::EINTR)) => {}
            answer => return answer.map(|n| n as usize),
        }
    }
}

/// Writes a whole buffer to a descriptor, without allocation.
///
/// # Errors
/// The kernel's error; EINTR is retried.
pub fn write_raw(fd: i32, mut buf: &[u8]) -> Result<(), Errno> {
    while !buf.is_empty() {
        // SAFETY: the buffer and its length.
        match check(unsafe { libc::write(fd, buf.as_ptr().cast(), buf.len()) } as i64) {
            Err(Errno(libc::EINTR)) => {}
            Err(errno) => return Err(errno),
            Ok(n) => buf = &buf[n as usize..],
        }
    }
    Ok(())
}

/// Keeps the kernel from writing a core file when a signal ends this process (RLIMIT_CORE 0), children included.
pub fn no_core_file() {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: reads one struct; lowering a limit is always allowed, and failing leaves things as they were.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &none) };
}
