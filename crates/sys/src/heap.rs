//! Our own heap.

/// From now on what is freed stays with us, to be used again: for who makes the same large lists again and again, which
/// otherwise go back to the system each time and cost a page fault for each of their pages.
///
/// Does nothing where the C library has no such settings (mallopt(3) is glibc's).
pub fn keep_freed_memory() {
    #[cfg(target_env = "gnu")]
    for (what, bytes) in [(libc::M_MMAP_THRESHOLD, MOST_IN_HEAPS), (libc::M_TRIM_THRESHOLD, libc::c_int::MAX)]
    {
        // SAFETY: two numbers; glibc refuses what it cannot do.
        unsafe { libc::mallopt(what, bytes) };
    }
}

/// The most that glibc takes for M_MMAP_THRESHOLD on 64 bits (HEAP_MAX_SIZE / 2).
#[cfg(target_env = "gnu")]
const MOST_IN_HEAPS: libc::c_int = 32 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that a large block that is freed and made again is not faulted in again.
    #[cfg(target_env = "gnu")]
    #[test]
    fn what_is_freed_is_used_again() {
        const LARGE: usize = 8 << 20;
        let faults = || {
            let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
            // SAFETY: a valid place for the answer.
            unsafe { libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr()) };
            // SAFETY: zeroed plain data, which is a value.
            unsafe { usage.assume_init() }.ru_minflt
        };
        let touched = || {
            let before = faults();
            std::hint::black_box(vec![1u8; LARGE]);
            faults() - before
        };
        keep_freed_memory();
        touched();
        let again = touched();
        assert!(again < (LARGE / crate::page_size().bytes() as usize) as i64 / 8, "{again} faults");
    }
}
