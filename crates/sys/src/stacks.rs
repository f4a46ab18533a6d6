//! Stacks, used as deep as asked: of the main thread, and of threads that are started for it. For the lab's subject.
//!
//! The threads do nothing but wait for the next order, use their stacks and end; they share nothing with anybody. Each
//! is known by the descriptor that its orders go to.

use crate::errno::check;
use crate::mem::{read_raw, write_raw};
use std::ffi::c_void;
use std::hint::black_box;
use std::mem::MaybeUninit;
use std::ptr::{null, null_mut, without_provenance_mut};
use vmatlas_event::{Addr, Bytes, Errno};

/// What one level of the recursion takes at least.
const LEVEL: usize = 1024;

/// Calls itself until so much of the calling thread's stack is used; returns the lowest address that was. More than there
/// is ends the process by SIGSEGV: that is the experiment.
///
/// With `progress`, a page that was mapped for it, each level first writes its address there: whoever shares the page can
/// read how deep it went.
#[must_use]
pub fn use_stack(bytes: Bytes, progress: Option<&Progress>) -> Addr {
    let here = 0u8;
    let start = (&raw const here).addr() as u64;
    Addr(deeper(start.saturating_sub(bytes.0), progress))
}

#[inline(never)]
fn deeper(until: u64, progress: Option<&Progress>) -> u64 {
    let mut level = [0u8; LEVEL];
    let here = black_box(&mut level).as_ptr().addr() as u64;
    if let Some(Progress(at)) = progress {
        // SAFETY: a page that was mapped for this, aligned, and never read here; volatile, so that it happens.
        unsafe { (*at as *mut u64).write_volatile(here) };
    }
    let lowest = if here <= until { here } else { deeper(until, progress) };
    // Used after the call, so that this level stays.
    black_box(&mut level);
    lowest
}

/// Where a recursion writes how deep it is.
#[derive(Debug)]
pub struct Progress(u64);

impl Progress {
    /// In this page, which a [`Workbench`](crate::workbench::Workbench) has mapped to be written; `None` where the program
    /// has something.
    #[must_use]
    pub fn in_page(bench: &crate::workbench::Workbench, page: Addr) -> Option<Progress> {
        let page = crate::page_size().floor(page);
        bench.poke(page, 0).ok().map(|()| Progress(page.0))
    }
}

/// Lets SIGSEGV end the process, as it does in a program in C: Rust's own handler would tell of the overflow and abort.
pub fn die_of_overflow() {
    // SAFETY: the default action, which runs nothing of ours.
    unsafe { libc::signal(libc::SIGSEGV, libc::SIG_DFL) };
}

/// The order to end.
const END: u64 = 0;
/// The order to tell its name in the C library. Any other number is so many bytes of stack to use.
const WHO: u64 = 1;

/// Starts a thread with a stack of the usual size, as pthread_create(3) makes it without attributes; returns the
/// descriptor that stands for it. It waits for orders until [`end_thread`] or the end of the process.
///
/// # Errors
/// EAGAIN when there is no memory or no thread to be had.
pub fn start_thread() -> Result<i32, Errno> {
    let mut ends = [0; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: the kernel fills in two descriptors.
    check(i64::from(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) }))?;
    let [ours, theirs] = ends;
    let mut thread = MaybeUninit::<libc::pthread_t>::uninit();
    let argument = without_provenance_mut(theirs as usize);
    // SAFETY: `serve` takes the descriptor as a number and uses nothing else; the C library writes to `thread`.
    match unsafe { libc::pthread_create(thread.as_mut_ptr(), null(), serve, argument) } {
        0 => Ok(ours),
        error => {
            close(ours);
            close(theirs);
            Err(Errno(error))
        }
    }
}

/// The name of a thread in the C library, which is an address at the upper end of its stack.
///
/// # Errors
/// The kernel's error, EPIPE for one that has ended.
pub fn thread_self(fd: i32) -> Result<Addr, Errno> {
    ask(fd, WHO).map(Addr)
}

/// Lets a thread use so much of its stack, as [`use_stack`] does; returns the lowest address that was used.
///
/// # Errors
/// The kernel's error, EPIPE for one that has ended.
pub fn thread_uses(fd: i32, bytes: Bytes) -> Result<Addr, Errno> {
    ask(fd, bytes.0.max(WHO + 1)).map(Addr)
}

/// Ends a thread and waits until it has: pthread_join(3).
///
/// # Errors
/// The kernel's error, EPIPE for one that has ended.
pub fn end_thread(fd: i32) -> Result<(), Errno> {
    let thread = ask(fd, WHO)?;
    write_raw(fd, &END.to_ne_bytes())?;
    // SAFETY: the thread told its own name just now, and nobody else joins it.
    let error = unsafe { libc::pthread_join(thread as libc::pthread_t, null_mut()) };
    close(fd);
    if error == 0 { Ok(()) } else { Err(Errno(error)) }
}

fn ask(fd: i32, order: u64) -> Result<u64, Errno> {
    let mut answer = [0; 8];
    write_raw(fd, &order.to_ne_bytes())?;
    match read_raw(fd, &mut answer)? {
        8 => Ok(u64::from_ne_bytes(answer)),
        _ => Err(Errno(libc::EPIPE)),
    }
}

extern "C" fn serve(argument: *mut c_void) -> *mut c_void {
    let fd = argument.addr() as i32;
    let mut order = [0; 8];
    while let Ok(8) = read_raw(fd, &mut order) {
        let answer = match u64::from_ne_bytes(order) {
            END => break,
            // SAFETY: takes nothing, returns a number.
            WHO => unsafe { libc::pthread_self() as u64 },
            bytes => use_stack(Bytes(bytes), None).0,
        };
        if write_raw(fd, &answer.to_ne_bytes()).is_err() {
            break;
        }
    }
    close(fd);
    null_mut()
}

fn close(fd: i32) {
    // SAFETY: a descriptor that was made here and is known to nobody else by now.
    unsafe { libc::close(fd) };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that a stack is used as deep as asked and hardly deeper, by the thread that was asked.
    #[test]
    fn stacks_are_used_as_deep_as_asked() {
        let here = 0u8;
        let start = (&raw const here).addr() as u64;
        let depth = start - use_stack(Bytes(64 << 10), None).0;
        assert!((64 << 10..68 << 10).contains(&depth), "{depth}");
        let thread = start_thread().unwrap();
        let (name, lowest) = (thread_self(thread).unwrap(), thread_uses(thread, Bytes(64 << 10)).unwrap());
        assert!((64 << 10..80 << 10).contains(&(name.0 - lowest.0)), "{name} {lowest}");
        end_thread(thread).unwrap();
        assert!(thread_self(thread).is_err());
    }
}
