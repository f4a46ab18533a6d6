//! Which processors a task may use.

use crate::errno::check;
use vmatlas_event::{Errno, Pid};

/// Binds the calling thread, and what it starts from now on, to the processor it runs on; returns which one.
///
/// # Errors
/// The kernel's error, EINVAL where a cpuset forbids it.
pub fn stay_on_this_cpu() -> Result<usize, Errno> {
    // SAFETY: takes nothing, returns a number.
    let cpu = check(i64::from(unsafe { libc::sched_getcpu() }))? as usize;
    bind(cpu)?;
    Ok(cpu)
}

/// Binds the calling thread to one processor.
///
/// # Errors
/// EINVAL when there is no such processor or a cpuset forbids it.
pub fn bind(cpu: usize) -> Result<(), Errno> {
    bind_task(0, cpu)
}

/// Binds a process of one thread to the processor that the caller runs on, and so what it starts later.
///
/// # Errors
/// ESRCH when it is gone, EPERM when it is another user's, EINVAL where a cpuset forbids it.
pub fn bring_to_this_cpu(pid: Pid) -> Result<(), Errno> {
    // SAFETY: takes nothing, returns a number.
    let cpu = check(i64::from(unsafe { libc::sched_getcpu() }))? as usize;
    bind_task(pid.0, cpu)
}

fn bind_task(tid: i32, cpu: usize) -> Result<(), Errno> {
    const WORDS: usize = 128;
    let mut mask = [0u64; WORDS];
    let Some(word) = mask.get_mut(cpu / 64) else { return Err(Errno(libc::EINVAL)) };
    *word = 1 << (cpu % 64);
    // SAFETY: the mask is read only, and its size in bytes is given; 0 is the calling thread.
    let ret = unsafe { libc::syscall(libc::SYS_sched_setaffinity, tid, size_of_val(&mask), mask.as_ptr()) };
    check(ret).map(|_| ())
}

/// The numbers of the processors that are in use, from /sys/devices/system/cpu/online; without that file all that there
/// may be up to their number.
pub fn online() -> Vec<u32> {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    let listed = list(&text);
    if !listed.is_empty() {
        return listed;
    }
    let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    (0..u32::try_from(count).unwrap_or(1)).collect()
}

/// The numbers of a list as the kernel writes it: `0-3,8`; nothing of one that makes no sense.
fn list(text: &str) -> Vec<u32> {
    const MOST: u32 = 8192;
    let range = |part: &str| -> Option<std::ops::RangeInclusive<u32>> {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        (last < MOST).then_some(first..=last)
    };
    let parts: Option<Vec<_>> = text.trim().split(',').map(range).collect();
    parts.unwrap_or_default().into_iter().flatten().collect()
}

/// While this lives, the calling thread's sleeps end when they should and not up to 50 us later (PR_SET_TIMERSLACK).
#[derive(Debug)]
pub struct ExactSleep {
    /// What it was, in nanoseconds.
    before: libc::c_int,
    /// It is the calling thread's own.
    not_send: std::marker::PhantomData<*const ()>,
}

/// Makes the calling thread's sleeps exact; nothing happens where the kernel does not allow it.
pub fn exact_sleep() -> ExactSleep {
    // SAFETY: takes numbers, returns a number.
    let before = unsafe { libc::prctl(libc::PR_GET_TIMERSLACK) };
    // SAFETY: takes numbers.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };
    ExactSleep { before, not_send: std::marker::PhantomData }
}

impl Drop for ExactSleep {
    fn drop(&mut self) {
        if let Ok(before @ 1..) = libc::c_ulong::try_from(self.before) {
            // SAFETY: takes numbers.
            unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, before) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks lists of processors: ranges, single ones, nothing, nonsense.
    #[test]
    fn lists_of_processors() {
        assert_eq!(list("0-1\n"), [0, 1]);
        assert_eq!(list("0-2,5,7-8"), [0, 1, 2, 5, 7, 8]);
        assert!(["", "x", "1-", "0-99999999"].iter().all(|text| list(text).is_empty()));
        assert!(!online().is_empty());
    }
}
