//! Which processors a task may use.

use crate::errno::check;
use vmatlas_event::Errno;

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
    const WORDS: usize = 128;
    let mut mask = [0u64; WORDS];
    let Some(word) = mask.get_mut(cpu / 64) else { return Err(Errno(libc::EINVAL)) };
    *word = 1 << (cpu % 64);
    // SAFETY: the mask is read only, and its size in bytes is given; 0 is the calling thread.
    let ret = unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, size_of_val(&mask), mask.as_ptr()) };
    check(ret).map(|_| ())
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
