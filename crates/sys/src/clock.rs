//! Time.

use std::time::Duration;
use vmatlas_event::MonoNs;

fn read(clock: libc::clockid_t) -> u64 {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `ts` is a valid place for the answer; the clocks used here always exist.
    unsafe { libc::clock_gettime(clock, &mut ts) };
    ts.tv_sec as u64 * 1_000_000_000 + ts.tv_nsec as u64
}

/// CLOCK_MONOTONIC now.
pub fn now() -> MonoNs {
    MonoNs(read(libc::CLOCK_MONOTONIC))
}

/// The CPU time of this process so far, in user space and in the kernel, in nanoseconds.
pub fn cpu_time() -> u64 {
    read(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// Nanoseconds to add to [`now`] for the time since 1970.
pub fn realtime_offset() -> u64 {
    read(libc::CLOCK_REALTIME).saturating_sub(read(libc::CLOCK_MONOTONIC))
}

/// How long this thread has had a CPU: what a measurement on a machine with other work needs.
pub fn thread_cpu_time() -> Duration {
    Duration::from_nanos(read(libc::CLOCK_THREAD_CPUTIME_ID))
}

/// Sleeps at least this long.
pub fn sleep(time: Duration) {
    std::thread::sleep(time);
}
