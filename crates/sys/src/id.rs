//! Who we are, what machine this is, and whether two tasks share one address space.

use crate::errno::check;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use vmatlas_event::{Errno, PageSize, Pid, Tid};

/// Our own PID.
pub fn self_pid() -> Pid {
    Pid(std::process::id() as i32)
}

/// Our effective user.
pub fn effective_uid() -> u32 {
    // SAFETY: always succeeds, touches no memory of ours.
    unsafe { libc::geteuid() }
}

/// Our real user.
pub fn real_uid() -> u32 {
    // SAFETY: always succeeds, touches no memory of ours.
    unsafe { libc::getuid() }
}

/// The size of a base page on this machine.
pub fn page_size() -> PageSize {
    // SAFETY: sysconf reads a constant.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(size).ok().and_then(PageSize::new).unwrap_or(PageSize::FOUR_KIB)
}

/// Whether programs we start have READ_IMPLIES_EXEC (personality(2)): what they may read they may execute.
pub fn read_implies_exec() -> bool {
    persona() & libc::READ_IMPLIES_EXEC != 0
}

/// Whether programs we start have addresses that are not chosen at random (ADDR_NO_RANDOMIZE of personality(2), as
/// setarch(8) -R and gdb set it).
pub fn addr_no_randomize() -> bool {
    persona() & libc::ADDR_NO_RANDOMIZE != 0
}

/// The flags of personality(2); none where they may not be asked for.
fn persona() -> libc::c_int {
    const ASK: libc::c_ulong = 0xffff_ffff;
    // SAFETY: this number only asks.
    unsafe { libc::personality(ASK) }.max(0)
}

/// Clock ticks per second, the unit of start times in /proc.
pub fn ticks_per_second() -> u64 {
    // SAFETY: sysconf reads a constant.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    u64::try_from(ticks).unwrap_or(100).max(1)
}

/// The kernel's release and machine, as `uname -rm` prints them.
pub fn hostname_release() -> (String, String) {
    // SAFETY: utsname is plain bytes, for which all zeros are valid.
    let mut uts: libc::utsname = unsafe { std::mem::zeroed() };
    // SAFETY: `uts` is a valid place for the answer.
    unsafe { libc::uname(&mut uts) };
    let text = |field: &[libc::c_char]| {
        let bytes: Vec<u8> = field.iter().take_while(|c| **c != 0).map(|c| *c as u8).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    (text(&uts.release), text(&uts.machine))
}

/// Whether two tasks share one address space, as kcmp(2) with KCMP_VM tells.
///
/// # Errors
/// ESRCH when one is gone, EPERM when we may not look, ENOSYS where the kernel was built without it.
pub fn same_address_space(a: Tid, b: Tid) -> Result<bool, Errno> {
    const KCMP_VM: libc::c_int = 1;
    // SAFETY: kcmp takes five numbers and writes nothing.
    let ret = unsafe { libc::syscall(libc::SYS_kcmp, a.0, b.0, KCMP_VM, 0, 0) };
    check(ret).map(|order| order == 0)
}

/// A process that stays the same one: its PID is not reused for us while this is open.
#[derive(Debug)]
pub struct PidFd(OwnedFd);

impl PidFd {
    /// Opens a process by PID (pidfd_open(2)).
    ///
    /// # Errors
    /// ESRCH when there is none, EINVAL for a thread that is not a leader, ENOSYS before Linux 5.3.
    pub fn open(pid: Pid) -> Result<PidFd, Errno> {
        // SAFETY: pidfd_open takes two numbers.
        let fd = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.0, 0) })?;
        // SAFETY: a descriptor that was just made for us and that nobody else owns.
        Ok(PidFd(unsafe { OwnedFd::from_raw_fd(fd as i32) }))
    }

    /// Whether the process has ended, zombies included (the descriptor polls readable).
    pub fn has_ended(&self) -> bool {
        crate::poll::is_readable(self.0.as_fd())
    }

    /// Sends a signal to exactly this process.
    ///
    /// # Errors
    /// ESRCH when it has ended, EPERM when we may not.
    pub fn signal(&self, signal: i32) -> Result<(), Errno> {
        let fd = self.0.as_raw_fd();
        // SAFETY: pidfd_send_signal takes a descriptor, a number, NULL and 0.
        let ret = unsafe {
            libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, std::ptr::null::<libc::siginfo_t>(), 0)
        };
        check(ret).map(|_| ())
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that we share our address space with ourselves and not with init.
    #[test]
    fn an_address_space_is_told_from_another() {
        let me = Tid(self_pid().0);
        assert!(matches!(same_address_space(me, me), Ok(true) | Err(Errno(libc::ENOSYS))));
        assert!(!matches!(same_address_space(me, Tid(1)), Ok(true)));
    }

    /// Checks that a living process does not look ended.
    #[test]
    fn a_living_process_has_not_ended() {
        assert!(!PidFd::open(self_pid()).unwrap().has_ended());
        assert_eq!(PidFd::open(Pid(i32::MAX)).unwrap_err(), Errno(libc::ESRCH));
    }
}
