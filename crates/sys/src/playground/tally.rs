//! Numbers that a process and its forked children count together.

use crate::errno::check;
use std::sync::atomic::AtomicU64;
use vmatlas_event::Errno;

/// Counters in memory that forked children share.
#[derive(Debug)]
pub struct SharedTally<const N: usize> {
    counters: &'static [AtomicU64; N],
}

impl<const N: usize> SharedTally<N> {
    /// Maps them, all zero; they stay as long as the process does.
    ///
    /// # Errors
    /// ENOMEM.
    pub fn new() -> Result<SharedTally<N>, Errno> {
        let len = size_of::<[AtomicU64; N]>().max(1);
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the kernel chooses a free place.
        let at = check(unsafe { libc::syscall(libc::SYS_mmap, 0, len, prot, flags, -1, 0) })?;
        // SAFETY: zeroed, aligned to a page, large enough, and never unmapped.
        Ok(SharedTally { counters: unsafe { &*(at as *const [AtomicU64; N]) } })
    }

    /// The counters.
    pub fn counters(&self) -> &'static [AtomicU64; N] {
        self.counters
    }
}
