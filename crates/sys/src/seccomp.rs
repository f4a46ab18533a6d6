//! Seccomp filters: the words of a classic BPF program and its installation.

use crate::errno::check;
use vmatlas_event::Errno;

/// One instruction of classic BPF (`struct sock_filter`).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Insn {
    /// The operation.
    pub code: u16,
    /// How many instructions to skip when true.
    pub jt: u8,
    /// How many instructions to skip when false.
    pub jf: u8,
    /// The constant.
    pub k: u32,
}
const _: () = assert!(size_of::<Insn>() == size_of::<libc::sock_filter>());

/// Loads the 32-bit word of `struct seccomp_data` at offset `k`.
pub const LOAD_WORD: u16 = 0x20;
/// Keeps the bits of `k`.
pub const AND: u16 = 0x54;
/// Jumps when equal to `k`.
pub const JUMP_EQ: u16 = 0x15;
/// Jumps when greater than or equal to `k`.
pub const JUMP_GE: u16 = 0x35;
/// Returns `k`.
pub const RETURN: u16 = 0x06;

/// Let the call run.
pub const RET_ALLOW: u32 = 0x7fff_0000;
/// Stop for the tracer; without one the call fails with ENOSYS.
pub const RET_TRACE: u32 = 0x7ff0_0000;

/// Offset of `nr` in `struct seccomp_data`.
pub const OFFSET_NR: u32 = 0;
/// Offset of `arch` in `struct seccomp_data`.
pub const OFFSET_ARCH: u32 = 4;

/// Offset of the lower half of an argument, on a machine that stores it first.
pub const fn offset_arg_low(arg: u32) -> u32 {
    16 + 8 * arg
}

/// Installs a filter on the calling thread for good. Async-signal-safe.
///
/// no_new_privs is set only when the kernel refuses the filter without: it takes set-user-ID programs their privilege
/// (which a tracer without CAP_SYS_PTRACE takes them anyway, execve(2)).
///
/// # Errors
/// EINVAL for a bad program or a kernel without filters.
pub(crate) fn install(program: &[Insn]) -> Result<(), Errno> {
    match set_filter(program) {
        Err(Errno(libc::EACCES)) => {
            // SAFETY: prctl with numbers only.
            check(i64::from(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }))?;
            set_filter(program)
        }
        answer => answer,
    }
}

fn set_filter(program: &[Insn]) -> Result<(), Errno> {
    let prog = libc::sock_fprog {
        len: program.len() as u16,
        // The kernel only reads it.
        filter: program.as_ptr().cast_mut().cast(),
    };
    // SAFETY: `prog` describes `program`, whose layout is that of sock_filter (asserted above); the kernel copies it.
    let ret = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const prog) };
    check(ret).map(|_| ())
}
