//! The calls of a player that alter what is mapped and leave it where it is.

use super::Player;
#[cfg(doc)]
use super::REFUSED;
use crate::errno::check;
use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};
use vmatlas_event::{Addr, Bytes, Errno, ProtArg};

const SYS_MSEAL: i64 = 462;
const SYS_SET_MEMPOLICY_HOME_NODE: i64 = 450;
const SYS_PROCESS_MADVISE: i64 = 440;

impl Player<'_> {
    /// mprotect(2).
    ///
    /// # Errors
    /// [`REFUSED`] outside, else the kernel's error.
    pub fn protect(&self, addr: Addr, len: Bytes, prot: ProtArg) -> Result<(), Errno> {
        self.own(addr, len)?;
        // SAFETY: owned, and no reference into it exists.
        check(unsafe { libc::syscall(libc::SYS_mprotect, addr.0, len.0, prot.0) }).map(|_| ())
    }

    /// pkey_mprotect(2).
    ///
    /// # Errors
    /// [`REFUSED`] outside, else the kernel's error.
    pub fn protect_with_key(&self, addr: Addr, len: Bytes, prot: ProtArg, key: i32) -> Result<(), Errno> {
        self.own(addr, len)?;
        // SAFETY: owned, and no reference into it exists.
        check(unsafe { libc::syscall(libc::SYS_pkey_mprotect, addr.0, len.0, prot.0, key) }).map(|_| ())
    }

    /// madvise(2).
    ///
    /// # Errors
    /// [`REFUSED`] outside, else the kernel's error.
    pub fn advise(&self, addr: Addr, len: Bytes, advice: i32) -> Result<(), Errno> {
        self.own(addr, len)?;
        // SAFETY: owned, and no reference into it exists.
        check(unsafe { libc::syscall(libc::SYS_madvise, addr.0, len.0, advice) }).map(|_| ())
    }

    /// process_madvise(2) by a descriptor of a process.
    ///
    /// # Errors
    /// [`REFUSED`] outside, else the kernel's error.
    pub fn advise_process(
        &self,
        pidfd: BorrowedFd<'_>,
        addr: Addr,
        len: Bytes,
        advice: i32,
    ) -> Result<(), Errno> {
        self.own(addr, len)?;
        let area = libc::iovec { iov_base: addr.0 as *mut libc::c_void, iov_len: len.0 as usize };
        // SAFETY: owned, and no reference into it exists; another process's memory has none of our references.
        let ret =
            unsafe { libc::syscall(SYS_PROCESS_MADVISE, pidfd.as_raw_fd(), &raw const area, 1, advice, 0) };
        check(ret).map(|_| ())
    }

    /// mlock(2), or mlock2(2) with MLOCK_ONFAULT.
    ///
    /// # Errors
    /// [`REFUSED`] outside, else the kernel's error.
    pub fn lock(&self, addr: Addr, len: Bytes, on_fault: bool) -> Result<(), Errno> {
        self.own(addr, len)?;
        let ret = if on_fault {
            // SAFETY: locking changes no content.
            unsafe { libc::syscall(libc::SYS_mlock2, addr.0, len.0, libc::MLOCK_ONFAULT) }
        } else {
            // SAFETY: as above.
            unsafe { libc::syscall(libc::SYS_mlock, addr.0, len.0) }
        };
        check(ret).map(|_| ())
    }

    /// munlock(2).
    ///
    /// # Errors
    /// [`REFUSED`] outside, else the kernel's error.
    pub fn unlock(&self, addr: Addr, len: Bytes) -> Result<(), Errno> {
        self.own(addr, len)?;
        // SAFETY: unlocking changes no content.
        check(unsafe { libc::syscall(libc::SYS_munlock, addr.0, len.0) }).map(|_| ())
    }

    /// mlockall(2): MCL_*.
    ///
    /// # Errors
    /// The kernel's error.
    pub fn lock_all(&self, flags: i32) -> Result<(), Errno> {
        // SAFETY: locking changes no content.
        check(unsafe { libc::syscall(libc::SYS_mlockall, flags) }).map(|_| ())
    }

    /// munlockall(2).
    ///
    /// # Errors
    /// The kernel's error.
    pub fn unlock_all(&self) -> Result<(), Errno> {
        // SAFETY: unlocking changes no content.
        check(unsafe { libc::syscall(libc::SYS_munlockall) }).map(|_| ())
    }

    /// mseal(2): for a process that ends soon, since nothing unseals.
    ///
    /// # Errors
    /// [`REFUSED`] outside of the playground, else the kernel's error.
    pub fn seal(&self, addr: Addr, len: Bytes) -> Result<(), Errno> {
        self.own_ground(addr, len)?;
        // SAFETY: sealing changes no content.
        check(unsafe { libc::syscall(SYS_MSEAL, addr.0, len.0, 0) }).map(|_| ())
    }

    /// mbind(2) to node 0; `policy` is MPOL_*.
    ///
    /// # Errors
    /// [`REFUSED`] outside, else the kernel's error.
    pub fn bind(&self, addr: Addr, len: Bytes, policy: i32) -> Result<(), Errno> {
        self.own(addr, len)?;
        let nodes: [u64; 2] = [u64::from(policy != 0), 0];
        // SAFETY: owned; the mask of nodes is as long as is said.
        let ret = unsafe { libc::syscall(libc::SYS_mbind, addr.0, len.0, policy, nodes.as_ptr(), 64, 0) };
        check(ret).map(|_| ())
    }

    /// set_mempolicy_home_node(2) with node 0.
    ///
    /// # Errors
    /// [`REFUSED`] outside, else the kernel's error.
    pub fn home_node(&self, addr: Addr, len: Bytes) -> Result<(), Errno> {
        self.own(addr, len)?;
        // SAFETY: a policy changes no content.
        check(unsafe { libc::syscall(SYS_SET_MEMPOLICY_HOME_NODE, addr.0, len.0, 0, 0) }).map(|_| ())
    }

    /// prctl(2) with PR_SET_VMA_ANON_NAME; `None` takes the name away.
    ///
    /// # Errors
    /// [`REFUSED`] outside, else the kernel's error: EINVAL where the kernel knows no names.
    pub fn name(&self, addr: Addr, len: Bytes, name: Option<&CStr>) -> Result<(), Errno> {
        self.own(addr, len)?;
        let name = name.map_or(std::ptr::null(), CStr::as_ptr);
        // SAFETY: a C string or NULL; naming changes no content.
        let ret = unsafe {
            libc::syscall(libc::SYS_prctl, libc::PR_SET_VMA, libc::PR_SET_VMA_ANON_NAME, addr.0, len.0, name)
        };
        check(ret).map(|_| ())
    }
}
