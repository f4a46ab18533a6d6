//! Descriptors that make mappings of every sort.

use crate::errno::check;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use vmatlas_event::{Bytes, Errno};

fn owned(ret: i64) -> Result<OwnedFd, Errno> {
    let fd = check(ret)?;
    // SAFETY: a descriptor that was just made for us and that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// A file in memory (memfd_create(2)) that can be sealed.
///
/// # Errors
/// The kernel's error.
pub fn memfd(len: Bytes) -> Result<OwnedFd, Errno> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: a C string that lives through the call.
    let fd = owned(i64::from(unsafe { libc::memfd_create(c"truth".as_ptr(), flags) }))?;
    // SAFETY: takes a descriptor and a number.
    check(i64::from(unsafe { libc::ftruncate(fd.as_raw_fd(), len.0 as i64) }))?;
    Ok(fd)
}

/// Seals a file in memory against all writing (F_SEAL_WRITE).
///
/// # Errors
/// EBUSY when it is mapped writable and shared.
pub fn seal_against_writing(fd: impl AsFd) -> Result<(), Errno> {
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: fcntl with three numbers.
    check(i64::from(unsafe { libc::fcntl(fd, libc::F_ADD_SEALS, libc::F_SEAL_WRITE) })).map(|_| ())
}

/// A software counter of this process (perf_event_open(2)), whose mappings must have a size the kernel likes.
///
/// # Errors
/// EACCES when not permitted, ENOSYS where there are none.
pub fn perf_counter() -> Result<OwnedFd, Errno> {
    const ATTR_SIZE: usize = 64;
    const SOFTWARE: u32 = 1;
    const DUMMY: u64 = 9;
    const EXCLUDE_KERNEL: u64 = 1 << 5;
    const EXCLUDE_HYPERVISOR: u64 = 1 << 6;
    const CLOSE_ON_EXEC: u64 = 1 << 3;
    // struct perf_event_attr, its first published form.
    let mut attr = [0u64; ATTR_SIZE / 8];
    attr[0] = u64::from(SOFTWARE) | (ATTR_SIZE as u64) << 32;
    attr[1] = DUMMY;
    attr[5] = EXCLUDE_KERNEL | EXCLUDE_HYPERVISOR;
    // SAFETY: the struct says its own size.
    owned(unsafe { libc::syscall(libc::SYS_perf_event_open, attr.as_ptr(), 0, -1, -1, CLOSE_ON_EXEC) })
}
