//! userfaultfd(2): areas whose faults a descriptor would be told of.

use super::Player;
#[cfg(doc)]
use super::REFUSED;
use crate::errno::check;
use crate::mem::Arena;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use vmatlas_event::{Addr, Bytes, Errno};

const UFFDIO_API: libc::c_ulong = 0xc018_aa3f;
const UFFDIO_REGISTER: libc::c_ulong = 0xc020_aa00;
const UFFDIO_UNREGISTER: libc::c_ulong = 0x8010_aa01;
const UFFD_USER_MODE_ONLY: i32 = 1;

/// Which faults: UFFDIO_REGISTER_MODE_*.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultMode {
    /// Of pages that are not there.
    Missing,
    /// Of writes to protected pages.
    WriteProtect,
}

/// A descriptor of userfaultfd(2); closing it unregisters everything.
///
/// Nobody answers it. Unless it was made by [`Userfault::block`] it is for faults of user mode alone, so a system call
/// that meets a registered page gets EFAULT instead of waiting for ever.
#[derive(Debug)]
pub struct Userfault(OwnedFd);

impl Userfault {
    /// Opens one.
    ///
    /// # Errors
    /// ENOSYS or EPERM where there is none for us.
    pub fn open() -> Result<Userfault, Errno> {
        Userfault::open_with(UFFD_USER_MODE_ONLY)
    }

    fn open_with(flags: i32) -> Result<Userfault, Errno> {
        let flags = flags | libc::O_CLOEXEC | libc::O_NONBLOCK;
        // SAFETY: takes a number.
        let fd = check(unsafe { libc::syscall(libc::SYS_userfaultfd, flags) })?;
        // SAFETY: a descriptor that was just made for us and that nobody else owns.
        let fd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
        let mut api = [0xaa_u64, 0, 0];
        // SAFETY: struct uffdio_api is three numbers.
        check(i64::from(unsafe { libc::ioctl(fd.as_raw_fd(), UFFDIO_API, api.as_mut_ptr()) }))?;
        Ok(Userfault(fd))
    }

    /// Has every access to missing pages of an arena wait, system calls and other processes included, until the
    /// descriptor is closed: for tests of reads that must not wait for ever.
    ///
    /// # Errors
    /// EPERM where only faults of user mode may be handled, else the kernel's error.
    pub fn block(arena: &Arena) -> Result<Userfault, Errno> {
        let it = Userfault::open_with(0)?;
        let range = arena.range();
        let mut args = [range.start().0, range.len().0, 1, 0];
        // SAFETY: struct uffdio_register is four numbers; no reference into the arena exists.
        check(i64::from(unsafe { libc::ioctl(it.0.as_raw_fd(), UFFDIO_REGISTER, args.as_mut_ptr()) }))?;
        Ok(it)
    }

    /// Registers pages of the playground.
    ///
    /// # Errors
    /// [`REFUSED`] outside of the playground, else the kernel's error.
    pub fn register(
        &self,
        player: &Player<'_>,
        addr: Addr,
        len: Bytes,
        mode: FaultMode,
    ) -> Result<(), Errno> {
        player.own_ground(addr, len)?;
        let mode = match mode {
            FaultMode::Missing => 1,
            FaultMode::WriteProtect => 2,
        };
        let mut args = [addr.0, len.0, mode, 0];
        // SAFETY: struct uffdio_register is four numbers.
        let ret = unsafe { libc::ioctl(self.0.as_raw_fd(), UFFDIO_REGISTER, args.as_mut_ptr()) };
        check(i64::from(ret)).map(|_| ())
    }

    /// Takes pages out again.
    ///
    /// # Errors
    /// [`REFUSED`] outside of the playground, else the kernel's error.
    pub fn unregister(&self, player: &Player<'_>, addr: Addr, len: Bytes) -> Result<(), Errno> {
        player.own_ground(addr, len)?;
        let mut args = [addr.0, len.0];
        // SAFETY: struct uffdio_range is two numbers.
        let ret = unsafe { libc::ioctl(self.0.as_raw_fd(), UFFDIO_UNREGISTER, args.as_mut_ptr()) };
        check(i64::from(ret)).map(|_| ())
    }
}
