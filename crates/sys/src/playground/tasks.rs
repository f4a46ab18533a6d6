//! Tasks that copy the address space, share it, or leave it.

use crate::errno::check;
use crate::wait::{WaitStatus, exit_now, wait_for};
use vmatlas_event::{Errno, Pid};

/// A stack for [`run_sharing`].
#[derive(Debug)]
pub struct ChildStack(Box<[u128]>);

impl ChildStack {
    const BYTES: usize = 128 * 1024;

    /// Allocates it.
    #[expect(clippy::new_without_default, reason = "not a value one would default to")]
    pub fn new() -> ChildStack {
        ChildStack(vec![0; ChildStack::BYTES / size_of::<u128>()].into_boxed_slice())
    }
}

/// Lets a forked child run `body` in its copy of the address space, and waits until it ended.
///
/// The body may not allocate: another thread may have held the heap's lock.
///
/// # Errors
/// EAGAIN or ENOMEM when no process can be made.
pub fn run_forked(body: impl FnOnce()) -> Result<WaitStatus, Errno> {
    // SAFETY: the child runs code that does not allocate, then leaves by _exit.
    match check(i64::from(unsafe { libc::fork() }))? {
        0 => {
            body();
            exit_now(0)
        }
        pid => wait_for(Pid(pid as i32)),
    }
}

/// Lets a child run `body` in this very address space (CLONE_VM), and waits as vfork(2) does.
///
/// The body may not allocate.
///
/// # Errors
/// EAGAIN or ENOMEM when no process can be made.
pub fn run_sharing(stack: &mut ChildStack, body: &mut dyn FnMut()) -> Result<WaitStatus, Errno> {
    let mut body = body;
    let arg: *mut libc::c_void = (&raw mut body).cast();
    clone_vfork(stack, call_body, arg)
}

/// Runs a program without arguments as posix_spawn(3) would: the child shares the address space until its exec.
///
/// # Errors
/// EAGAIN or ENOMEM when no process can be made.
pub fn run_program(stack: &mut ChildStack, path: &'static std::ffi::CStr) -> Result<WaitStatus, Errno> {
    clone_vfork(stack, exec_path, path.as_ptr().cast_mut().cast())
}

type Entry = extern "C" fn(*mut libc::c_void) -> libc::c_int;

fn clone_vfork(stack: &mut ChildStack, entry: Entry, arg: *mut libc::c_void) -> Result<WaitStatus, Errno> {
    let top = stack.0.as_mut_ptr_range().end.cast();
    // Descriptors are shared as the memory is: a value that owns one must mean the same on both sides.
    let flags = libc::CLONE_VM | libc::CLONE_FILES | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: this thread sleeps until the child has left, so its thread-local storage and `arg` have one user at a
    // time; the stack is the child's alone.
    let pid = check(i64::from(unsafe { libc::clone(entry, top, flags, arg) }))?;
    wait_for(Pid(pid as i32))
}

extern "C" fn call_body(arg: *mut libc::c_void) -> libc::c_int {
    // SAFETY: the pointer that `run_sharing` made; its frame waits for us.
    let body = unsafe { &mut *arg.cast::<&mut dyn FnMut()>() };
    body();
    exit_now(0)
}

extern "C" fn exec_path(arg: *mut libc::c_void) -> libc::c_int {
    let path = arg.cast_const().cast::<libc::c_char>();
    let args = [path, std::ptr::null()];
    // SAFETY: a C string, a list that ends with NULL, and no environment.
    unsafe { libc::execve(path, args.as_ptr(), args[1..].as_ptr()) };
    exit_now(127)
}

/// Asks that the next exec of this process gives the same addresses every time; `true` when it did not before.
///
/// # Errors
/// The kernel's error, where personality(2) is not permitted.
pub fn fixed_addresses() -> Result<bool, Errno> {
    const ASK: libc::c_ulong = 0xffff_ffff;
    const NO_RANDOM: libc::c_ulong = libc::ADDR_NO_RANDOMIZE as libc::c_ulong;
    // SAFETY: personality takes a number.
    let now = check(i64::from(unsafe { libc::personality(ASK) }))? as libc::c_ulong;
    if now & NO_RANDOM != 0 {
        return Ok(false);
    }
    // SAFETY: as above.
    check(i64::from(unsafe { libc::personality(now | NO_RANDOM) })).map(|_| true)
}
