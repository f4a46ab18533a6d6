//! Reading another process's memory.

use crate::errno::check;
use vmatlas_event::{Addr, Errno, Pid};

/// Reads memory of another process (process_vm_readv(2)); short where the rest is not mapped.
///
/// Never read outside a known VMA. This call does not grow a stack, as PTRACE_PEEKDATA and /proc/PID/mem do; but a page
/// armed with userfaultfd can block it, so give it a thread of its own and a deadline where that matters.
///
/// # Errors
/// EFAULT when nothing is mapped at `addr`, EPERM when not allowed, ESRCH when the process is gone.
pub fn process_vm_read(pid: Pid, addr: Addr, buf: &mut [u8]) -> Result<usize, Errno> {
    let local = libc::iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: buf.len() };
    let remote = libc::iovec { iov_base: addr.0 as *mut libc::c_void, iov_len: buf.len() };
    // SAFETY: `local` describes `buf`, which lives through the call; `remote` is an address of the other process only.
    let n = unsafe { libc::process_vm_readv(pid.0, &local, 1, &remote, 1, 0) };
    check(n as i64).map(|n| n as usize)
}
