//! Trying out what a kernel can do and what we may, without leaving a trace: for `vmatlas doctor`.

use crate::errno::check;
use std::os::fd::{FromRawFd, OwnedFd};
use vmatlas_event::Errno;

/// Whether a seccomp filter may stop a task for its tracer (SECCOMP_GET_ACTION_AVAIL, Linux 4.14).
///
/// # Errors
/// EOPNOTSUPP where the action is missing, EINVAL or ENOSYS where filters are.
pub fn seccomp_can_trace() -> Result<(), Errno> {
    const GET_ACTION_AVAIL: libc::c_int = 2;
    let action = crate::seccomp::RET_TRACE;
    // SAFETY: the request reads one u32, which `action` is.
    let ret = unsafe { libc::syscall(libc::SYS_seccomp, GET_ACTION_AVAIL, 0, &raw const action) };
    check(ret).map(|_| ())
}

/// Whether two tasks can be compared (kcmp(2)), tried on ourselves.
///
/// # Errors
/// ENOSYS where it is missing, EPERM where it is forbidden.
pub fn can_compare_tasks() -> Result<(), Errno> {
    const KCMP_VM: libc::c_int = 1;
    let pid = crate::self_pid().0;
    // SAFETY: five numbers.
    let ret = unsafe { libc::syscall(libc::SYS_kcmp, pid, pid, KCMP_VM, 0, 0) };
    check(ret).map(|_| ())
}

/// Whether userfaultfd(2) gives a descriptor for faults of user space and of the kernel.
///
/// # Errors
/// ENOSYS where it is missing, EPERM where vm.unprivileged_userfaultfd is 0.
pub fn can_handle_faults() -> Result<(), Errno> {
    // SAFETY: takes a number.
    let ret = unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC) };
    close(ret)
}

/// The part of `union bpf_attr` that BPF_PROG_LOAD reads here (`include/uapi/linux/bpf.h`), up to `prog_flags`.
#[repr(C)]
#[derive(Default)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
}
const _: () = assert!(size_of::<ProgLoad>() == 48);

/// Whether a BPF program for tracepoints can be loaded: the shortest one, which is thrown away at once.
///
/// # Errors
/// EPERM without CAP_BPF and CAP_PERFMON, or where the kernel is locked down; ENOSYS where it has no bpf(2).
pub fn can_load_bpf() -> Result<(), Errno> {
    const PROG_LOAD: libc::c_int = 5;
    const TRACEPOINT: u32 = 5;
    // r0 = 0; exit
    let program: [u64; 2] = [0x0000_0000_0000_00b7, 0x0000_0000_0000_0095];
    let attr = ProgLoad {
        prog_type: TRACEPOINT,
        insn_cnt: program.len() as u32,
        insns: program.as_ptr() as u64,
        license: c"MIT".as_ptr() as u64,
        ..ProgLoad::default()
    };
    // SAFETY: `attr` has the kernel's layout and says its size; what it points to lives through the call.
    let ret = unsafe { libc::syscall(libc::SYS_bpf, PROG_LOAD, &raw const attr, size_of::<ProgLoad>()) };
    close(ret)
}

/// Closes a descriptor that was made to see whether it can be.
fn close(ret: i64) -> Result<(), Errno> {
    let fd = check(ret)? as i32;
    // SAFETY: a descriptor that was just made for us.
    drop(unsafe { OwnedFd::from_raw_fd(fd) });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that each question has an answer that is one of those documented, and that asking twice gives the same.
    #[test]
    fn questions_have_answers() {
        for ask in [seccomp_can_trace, can_compare_tasks, can_handle_faults, can_load_bpf] {
            let answer = ask();
            assert_eq!(answer, ask());
            let known = [libc::EPERM, libc::EACCES, libc::ENOSYS, libc::EINVAL, libc::EOPNOTSUPP];
            assert!(answer.is_ok() || answer.is_err_and(|errno| known.contains(&errno.0)), "{answer:?}");
        }
    }
}
