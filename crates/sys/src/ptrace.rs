//! ptrace(2), seize mode only.

use crate::errno::check;
use std::ptr::null_mut;
use vmatlas_event::{Addr, Errno, Registers, Tid};

/// What a tracer asks for when it seizes a task (PTRACE_O_*).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// End the tracees when the tracer ends; needed with a seccomp filter, whose calls fail without a tracer.
    pub exit_kill: bool,
    /// Stop at system calls that a seccomp filter marks.
    pub seccomp: bool,
}

/// A tracee's resting place when it is resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// Until the next event (PTRACE_CONT).
    Continue,
    /// Until the next system-call entry or exit (PTRACE_SYSCALL).
    ToSyscall,
    /// Stay in group-stop but hear of SIGCONT (PTRACE_LISTEN).
    Listen,
}

/// A stop that belongs to a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyscallStop {
    /// Before the call.
    Entry(Entry),
    /// After it: the value, or the error.
    Exit(Result<u64, Errno>),
    /// No system call at this stop.
    None,
}

/// A call that is about to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// AUDIT_ARCH_* of the way it was made.
    pub arch: u32,
    /// Its number there.
    pub nr: u64,
    /// Its arguments.
    pub args: [u64; 6],
}

/// PTRACE_EVENT_* numbers.
#[allow(missing_docs, reason = "each is the event of its name in ptrace(2)")]
pub mod event {
    pub const FORK: i32 = libc::PTRACE_EVENT_FORK;
    pub const VFORK: i32 = libc::PTRACE_EVENT_VFORK;
    pub const CLONE: i32 = libc::PTRACE_EVENT_CLONE;
    pub const EXEC: i32 = libc::PTRACE_EVENT_EXEC;
    pub const SECCOMP: i32 = libc::PTRACE_EVENT_SECCOMP;
    pub const EXIT: i32 = libc::PTRACE_EVENT_EXIT;
    pub const STOP: i32 = libc::PTRACE_EVENT_STOP;
}

/// The bit TRACESYSGOOD adds to SIGTRAP at system-call stops.
pub const SYSCALL_STOP: i32 = libc::SIGTRAP | 0x80;

fn request(op: libc::c_uint, tid: Tid, addr: usize, data: usize) -> Result<i64, Errno> {
    // SAFETY: only requests that take two numbers (or write nothing of ours) come through here.
    check(unsafe { libc::ptrace(op, tid.0, addr as *mut libc::c_void, data as *mut libc::c_void) })
}

/// Becomes the tracer of a task without stopping it; its children and threads are followed from then on.
///
/// # Errors
/// EPERM when it is traced already or not ours to trace, ESRCH when it is gone.
pub fn seize(tid: Tid, options: Options) -> Result<(), Errno> {
    let mut o = libc::PTRACE_O_TRACESYSGOOD
        | libc::PTRACE_O_TRACEFORK
        | libc::PTRACE_O_TRACEVFORK
        | libc::PTRACE_O_TRACECLONE
        | libc::PTRACE_O_TRACEEXEC
        | libc::PTRACE_O_TRACEEXIT;
    if options.exit_kill {
        o |= libc::PTRACE_O_EXITKILL;
    }
    if options.seccomp {
        o |= libc::PTRACE_O_TRACESECCOMP;
    }
    request(libc::PTRACE_SEIZE, tid, 0, o as usize).map(|_| ())
}

/// Lets a stopped task go on, delivering `signal` (0 for none).
///
/// # Errors
/// ESRCH when it is gone or not stopped: SIGKILL can take it away at any moment.
pub fn resume(tid: Tid, how: Resume, signal: i32) -> Result<(), Errno> {
    let op = match how {
        Resume::Continue => libc::PTRACE_CONT,
        Resume::ToSyscall => libc::PTRACE_SYSCALL,
        Resume::Listen => libc::PTRACE_LISTEN,
    };
    request(op, tid, 0, signal as usize).map(|_| ())
}

/// Has a running task stop (PTRACE_INTERRUPT): it tells PTRACE_EVENT_STOP, or another stop that came first.
///
/// # Errors
/// ESRCH when it is gone.
pub fn interrupt(tid: Tid) -> Result<(), Errno> {
    request(libc::PTRACE_INTERRUPT, tid, 0, 0).map(|_| ())
}

/// Stops tracing a stopped task and lets it go on.
///
/// # Errors
/// ESRCH when it is gone or not stopped.
pub fn detach(tid: Tid, signal: i32) -> Result<(), Errno> {
    request(libc::PTRACE_DETACH, tid, 0, signal as usize).map(|_| ())
}

/// The message of the last event stop: a new task's TID, or the old TID at exec.
///
/// # Errors
/// ESRCH when it is gone.
pub fn event_message(tid: Tid) -> Result<u64, Errno> {
    let mut message: libc::c_ulong = 0;
    // SAFETY: the request writes one c_ulong, for which `message` is a valid place.
    let ret = unsafe {
        libc::ptrace(libc::PTRACE_GETEVENTMSG, tid.0, null_mut::<libc::c_void>(), &raw mut message)
    };
    check(ret).map(|_| message)
}

fn syscall_info(tid: Tid) -> Result<libc::ptrace_syscall_info, Errno> {
    let mut info = std::mem::MaybeUninit::<libc::ptrace_syscall_info>::zeroed();
    let size = size_of::<libc::ptrace_syscall_info>();
    // SAFETY: the kernel writes at most `size` bytes to `info`.
    let ret = unsafe { libc::ptrace(libc::PTRACE_GET_SYSCALL_INFO, tid.0, size, info.as_mut_ptr()) };
    check(ret)?;
    // SAFETY: zeroed before, and every field is a plain number, for which any bytes are valid.
    Ok(unsafe { info.assume_init() })
}

/// AUDIT_ARCH_* of the call that a task is stopped at (PTRACE_GET_SYSCALL_INFO, Linux 5.3).
///
/// # Errors
/// ESRCH when it is gone, EIO where the kernel has no such request.
pub fn syscall_arch(tid: Tid) -> Result<u32, Errno> {
    syscall_info(tid).map(|info| info.arch)
}

/// What system call the task is stopped at (PTRACE_GET_SYSCALL_INFO, Linux 5.3).
///
/// # Errors
/// ESRCH when it is gone, EIO where the kernel has no such request.
pub fn syscall_stop(tid: Tid) -> Result<SyscallStop, Errno> {
    let info = syscall_info(tid)?;
    Ok(match info.op {
        libc::PTRACE_SYSCALL_INFO_ENTRY => {
            // SAFETY: `op` says that this member of the union was written.
            let e = unsafe { info.u.entry };
            SyscallStop::Entry(Entry { arch: info.arch, nr: e.nr, args: e.args })
        }
        libc::PTRACE_SYSCALL_INFO_SECCOMP => {
            // SAFETY: `op` says that this member of the union was written.
            let s = unsafe { info.u.seccomp };
            SyscallStop::Entry(Entry { arch: info.arch, nr: s.nr, args: s.args })
        }
        libc::PTRACE_SYSCALL_INFO_EXIT => {
            // SAFETY: `op` says that this member of the union was written.
            let e = unsafe { info.u.exit };
            SyscallStop::Exit(if e.is_error != 0 { Err(Errno(-(e.sval as i32))) } else { Ok(e.sval as u64) })
        }
        _ => SyscallStop::None,
    })
}

/// The registers of a system call that has just returned (x86_64): its number and arguments are still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Returned {
    /// The number it was made with (`orig_rax`).
    pub nr: u64,
    /// Its arguments, when it was a 64-bit call.
    pub args: [u64; 6],
    /// Its arguments, when it was a 32-bit call.
    pub args_32: [u64; 6],
    /// What it returned.
    pub value: u64,
    /// The registers its callers can be told from.
    pub registers: Registers,
}

/// The start of `struct user_regs_struct` of x86_64 (`arch/x86/include/asm/user_64.h`), up to what a call and a walk of
/// the stack need.
#[cfg(target_arch = "x86_64")]
#[repr(C)]
#[derive(Default)]
struct FirstRegisters {
    r15: u64,
    r14: u64,
    r13: u64,
    r12: u64,
    rbp: u64,
    rbx: u64,
    r11: u64,
    r10: u64,
    r9: u64,
    r8: u64,
    rax: u64,
    rcx: u64,
    rdx: u64,
    rsi: u64,
    rdi: u64,
    orig_rax: u64,
    rip: u64,
    cs: u64,
    _eflags: u64,
    rsp: u64,
}
#[cfg(target_arch = "x86_64")]
const _: () = assert!(size_of::<FirstRegisters>() == std::mem::offset_of!(libc::user_regs_struct, ss));

/// Everything about a call in one request, at its exit stop: each request costs most of a microsecond.
///
/// The system call entry of x86_64 keeps all registers but rax, rcx and r11 (syscall(2)), so the arguments are those
/// of the entry. Whether it was a 64-bit or a 32-bit call the registers do not tell. Asking for the first twenty
/// registers only leaves out the slow ones (segments and their bases).
///
/// # Errors
/// ESRCH when it is gone.
#[cfg(target_arch = "x86_64")]
pub fn returned(tid: Tid) -> Result<Returned, Errno> {
    let r = first_registers(tid)?;
    Ok(Returned {
        nr: r.orig_rax,
        args: [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9],
        args_32: [r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.rbp],
        value: r.rax,
        registers: by_dwarf_number(&r),
    })
}

/// The registers a stopped task's callers can be told from.
///
/// # Errors
/// ESRCH when it is gone.
#[cfg(target_arch = "x86_64")]
pub fn registers(tid: Tid) -> Result<Registers, Errno> {
    first_registers(tid).map(|r| by_dwarf_number(&r))
}

/// The registers in the order of the psABI (System V ABI, AMD64 supplement, figure 3.36).
#[cfg(target_arch = "x86_64")]
fn by_dwarf_number(r: &FirstRegisters) -> Registers {
    /// The code segment of 32-bit code (`__USER32_CS`).
    const USER32_CS: u64 = 0x23;
    let first = [
        r.rax, r.rdx, r.rcx, r.rbx, r.rsi, r.rdi, r.rbp, r.rsp, r.r8, r.r9, r.r10, r.r11, r.r12, r.r13,
        r.r14, r.r15,
    ];
    let mut general = [0; Registers::COUNT];
    general[..first.len()].copy_from_slice(&first);
    Registers { ip: Addr(r.rip), general, is_32: r.cs == USER32_CS }
}

#[cfg(target_arch = "x86_64")]
fn first_registers(tid: Tid) -> Result<FirstRegisters, Errno> {
    const NT_PRSTATUS: usize = 1;
    let mut r = FirstRegisters::default();
    let mut iov = libc::iovec { iov_base: (&raw mut r).cast(), iov_len: size_of::<FirstRegisters>() };
    // SAFETY: the kernel writes at most `iov_len` bytes to `r`, which lives through the call.
    let ret = unsafe { libc::ptrace(libc::PTRACE_GETREGSET, tid.0, NT_PRSTATUS, &raw mut iov) };
    match check(ret) {
        // A 32-bit task has another, shorter set; only its own kind of call can be told from that.
        Ok(_) if iov.iov_len == size_of::<FirstRegisters>() => Ok(r),
        // User-mode Linux has the older request only.
        Ok(_) | Err(Errno(libc::EINVAL | libc::EIO)) => compat_registers(tid),
        Err(errno) => Err(errno),
    }
}

/// The same for a 32-bit program: PTRACE_GETREGS of a 64-bit tracer always gives the 64-bit set.
#[cfg(target_arch = "x86_64")]
fn compat_registers(tid: Tid) -> Result<FirstRegisters, Errno> {
    let mut regs = std::mem::MaybeUninit::<libc::user_regs_struct>::zeroed();
    // SAFETY: the request fills one user_regs_struct, for which `regs` is a valid place.
    let ret =
        unsafe { libc::ptrace(libc::PTRACE_GETREGS, tid.0, null_mut::<libc::c_void>(), regs.as_mut_ptr()) };
    check(ret)?;
    // SAFETY: zeroed before, and every field is a plain number.
    let r = unsafe { regs.assume_init() };
    Ok(FirstRegisters {
        r15: r.r15,
        r14: r.r14,
        r13: r.r13,
        r12: r.r12,
        rbp: r.rbp,
        rbx: r.rbx,
        r11: r.r11,
        r10: r.r10,
        r9: r.r9,
        r8: r.r8,
        rax: r.rax,
        rcx: r.rcx,
        rdx: r.rdx,
        rsi: r.rsi,
        rdi: r.rdi,
        orig_rax: r.orig_rax,
        rip: r.rip,
        cs: r.cs,
        _eflags: r.eflags,
        rsp: r.rsp,
    })
}
