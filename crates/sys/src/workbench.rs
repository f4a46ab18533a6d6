//! The memory calls of the lab's subject: a process of its own that makes any of [`CALLS`] with plain numbers.
//!
//! A [`Workbench`] remembers every range that was mapped when it was made: the program, its libraries, its heap and its
//! stack. No call that would take away, replace or alter one of them reaches the kernel, so nothing that Rust uses can
//! be hit. Nothing here allocates once a workbench exists, and nothing else may, but for a routine of an experiment's own
//! that uses an allocator: what that maps is not remembered, so the experiment must not name addresses it did not map.

use crate::errno::{check, last_errno};
use crate::mem;
use crate::wait::{WaitStatus, exit_now, wait_for};
use std::ffi::CStr;
use vmatlas_event::{Addr, AddrRange, Bytes, Errno, Pid};

/// A call of the table, and which of its arguments are a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its name, as its man page has it.
    pub name: &'static str,
    number: i64,
    /// Which argument is an address, and which its length; `None` for a call that names no range.
    range: Option<(usize, usize)>,
    /// An argument that is a name: a constant of ours stands in for it.
    named: Option<usize>,
}

const fn on_range(name: &'static str, number: i64) -> Call {
    Call { name, number, range: Some((0, 1)), named: None }
}

const fn on_buffer(name: &'static str, number: i64) -> Call {
    Call { name, number, range: Some((1, 2)), named: None }
}

const fn plain(name: &'static str, number: i64) -> Call {
    Call { name, number, range: None, named: None }
}

/// All calls that a workbench makes. mmap(2) and brk(2) are in [`mem`].
pub const CALLS: &[Call] = &[
    on_range("munmap", libc::SYS_munmap),
    on_range("mprotect", libc::SYS_mprotect),
    on_range("madvise", libc::SYS_madvise),
    on_range("mremap", libc::SYS_mremap),
    on_range("mlock", libc::SYS_mlock),
    on_range("mlock2", libc::SYS_mlock2),
    on_range("munlock", libc::SYS_munlock),
    on_range("msync", libc::SYS_msync),
    // These change no page of what they name.
    plain("mlockall", libc::SYS_mlockall),
    plain("munlockall", libc::SYS_munlockall),
    on_buffer("read", libc::SYS_read),
    on_buffer("write", libc::SYS_write),
    plain("lseek", libc::SYS_lseek),
    plain("ftruncate", libc::SYS_ftruncate),
    plain("fallocate", libc::SYS_fallocate),
    plain("fsync", libc::SYS_fsync),
    plain("fadvise64", libc::SYS_fadvise64),
    Call { name: "memfd_create", number: libc::SYS_memfd_create, range: None, named: Some(0) },
    plain("shmget", libc::SYS_shmget),
    // Attaches where nothing is, and only detaches or removes what was attached.
    plain("shmat", libc::SYS_shmat),
    plain("shmdt", libc::SYS_shmdt),
    plain("shmctl", libc::SYS_shmctl),
    // Of this process and what it starts; what is mapped already stays as it is.
    plain("personality", libc::SYS_personality),
];

/// The name that stands in for every name of a call.
const NAME: &CStr = c"vmatlas-lab";

impl Call {
    /// The call of this name.
    pub fn named(name: &str) -> Option<Call> {
        CALLS.iter().find(|call| call.name == name).copied()
    }
}

/// What may be done in a process that is nothing but the subject of an experiment.
#[derive(Debug)]
pub struct Workbench {
    /// What is not ours to change.
    program: Vec<AddrRange>,
}

impl Workbench {
    /// Remembers what is mapped now. The caller is the only thread, and allocates nothing from here on.
    ///
    /// # Errors
    /// When /proc/self/maps cannot be read.
    pub fn new() -> Result<Workbench, Errno> {
        let read =
            || std::fs::read("/proc/self/maps").map_err(|e| Errno(e.raw_os_error().unwrap_or(libc::EIO)));
        let mut program = Vec::with_capacity(256);
        // Twice: what the first reading allocates is there when the second is made.
        for _ in 0..2 {
            let maps = read()?;
            program.clear();
            program.extend(maps.split(|b| *b == b'\n').filter_map(range));
        }
        Ok(Workbench { program })
    }

    fn is_free(&self, addr: u64, len: u64) -> bool {
        let page = crate::page_size();
        let start = page.floor(Addr(addr));
        // A length of 0 takes nothing away; one that is too long is the kernel's to refuse.
        let Some(end) = addr.checked_add(len) else { return true };
        let range = AddrRange::new(start, Addr(end));
        range.is_none_or(|range| range.is_empty() || !self.program.iter().any(|own| own.intersects(range)))
    }

    /// Makes a call.
    ///
    /// # Errors
    /// EFAULT where it would change what the program needs, else the kernel's error.
    pub fn call(&self, call: Call, mut args: [u64; 6]) -> Result<u64, Errno> {
        const REMAP_FIXED: u64 = 2;
        const SHM_REMAP: u64 = 0o40000;
        if let Some((addr, len)) = call.range
            && let (Some(addr), Some(len)) = (args.get(addr), args.get(len))
            && !self.is_free(*addr, *len)
        {
            return Err(Errno(libc::EFAULT));
        }
        let [_, _, new_len, flags, new_addr, _] = args;
        let replaces = call.number == libc::SYS_mremap && flags & REMAP_FIXED != 0;
        if replaces && !self.is_free(new_addr, new_len) {
            return Err(Errno(libc::EFAULT));
        }
        match call.number {
            libc::SYS_shmat => args[2] &= !SHM_REMAP,
            // The kernel writes nowhere.
            libc::SYS_shmctl if args[1] != libc::IPC_RMID as u64 => return Err(Errno(libc::EINVAL)),
            _ => {}
        }
        if let Some(slot) = call.named.and_then(|index| args.get_mut(index)) {
            *slot = NAME.as_ptr().addr() as u64;
        }
        let [a, b, c, d, e, f] = args;
        // SAFETY: a call of the table with numbers; ranges were checked above not to hold anything of the program's, and
        // the one pointer is to a constant.
        check(unsafe { libc::syscall(call.number, a, b, c, d, e, f) }).map(|value| value as u64)
    }

    /// Reads a byte from any address. Where nothing can be read, a signal ends this process: that is the experiment.
    pub fn peek(&self, addr: Addr) -> u8 {
        // SAFETY: a byte is read and nothing else; memory that cannot be read ends the process, which is a signal and not
        // undefined for a process that is made for it. Volatile, so that it happens.
        unsafe { (addr.0 as *const u8).read_volatile() }
    }

    /// Writes a byte to an address that is not the program's. Where nothing can be written, a signal ends this process.
    ///
    /// # Errors
    /// EFAULT for an address of the program's.
    pub fn poke(&self, addr: Addr, value: u8) -> Result<(), Errno> {
        if !self.is_free(addr.0, 1) {
            return Err(Errno(libc::EFAULT));
        }
        // SAFETY: nothing of Rust's lives there, as checked; elsewhere as for reading.
        unsafe { (addr.0 as *mut u8).write_volatile(value) };
        Ok(())
    }

    /// Touches pages as [`mem::touch`] does, without asking first whether they are mapped.
    ///
    /// # Errors
    /// EFAULT where the program's own would be written.
    pub fn touch(&self, range: AddrRange, first: u64, pages: u64, how: mem::Touch) -> Result<u64, Errno> {
        let page = crate::page_size().bytes();
        let last = first.saturating_add(pages).min(range.len().0 / page);
        for index in first..last {
            let addr = Addr(range.start().0 + index * page);
            match how {
                mem::Touch::Read => drop(self.peek(addr)),
                mem::Touch::Write => self.poke(addr, 1)?,
            }
        }
        Ok(last.saturating_sub(first))
    }

    /// fork(2): the child runs `body`, ends with its status, and ends with us however we end.
    ///
    /// # Errors
    /// EAGAIN or ENOMEM when no process can be made.
    pub fn fork(&self, body: impl FnOnce() -> i32) -> Result<Pid, Errno> {
        let parent = std::process::id();
        // SAFETY: this process has one thread, so the child may do all that the parent may.
        match unsafe { libc::fork() } {
            -1 => Err(last_errno()),
            0 => {
                // SAFETY: a number each.
                unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
                // Too late when it ended before we asked for the signal.
                let status = if std::os::unix::process::parent_id() == parent { body() } else { 0 };
                exit_now(status)
            }
            pid => Ok(Pid(pid)),
        }
    }

    /// Waits for a child: its status, or 256 and the number of the signal that ended it.
    ///
    /// # Errors
    /// ECHILD when there is none.
    pub fn wait(&self, pid: Pid) -> Result<u64, Errno> {
        match wait_for(pid)? {
            WaitStatus::Exited(status) => Ok(status as u64),
            WaitStatus::Signaled(signal) => Ok(256 + signal as u64),
            _ => Err(Errno(libc::EAGAIN)),
        }
    }

    /// execve(2) of this very program with these arguments and its environment; returns only when it fails.
    pub fn exec_self(&self, args: [&CStr; 3]) -> Errno {
        unsafe extern "C" {
            static environ: *const *const libc::c_char;
        }
        let list = [args[0].as_ptr(), args[1].as_ptr(), args[2].as_ptr(), std::ptr::null()];
        // SAFETY: a C string, a list that ends with NULL, and the environment that the C library keeps; one thread.
        unsafe { libc::execve(c"/proc/self/exe".as_ptr(), list.as_ptr(), environ) };
        last_errno()
    }

    /// setrlimit(2): lowers the soft limit of this process alone; the hard one stays.
    ///
    /// # Errors
    /// EINVAL for an unknown resource (RLIMIT_AS is 9, RLIMIT_DATA 2, RLIMIT_STACK 3, RLIMIT_MEMLOCK 8).
    pub fn limit(&self, resource: u32, soft: u64) -> Result<(), Errno> {
        let mut now = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: fills one struct.
        check(i64::from(unsafe { libc::getrlimit(resource, &mut now) }))?;
        now.rlim_cur = soft.min(now.rlim_max);
        // SAFETY: reads one struct.
        check(i64::from(unsafe { libc::setrlimit(resource, &now) })).map(|_| ())
    }

    /// Sets or clears close-on-exec (fcntl(2), FD_CLOEXEC) of a descriptor: with it, no program that is executed gets it.
    pub fn close_on_exec(&self, fd: i32, close: bool) {
        let flags = if close { libc::FD_CLOEXEC } else { 0 };
        // SAFETY: three numbers.
        unsafe { libc::fcntl(fd, libc::F_SETFD, flags) };
    }

    /// close(2), for descriptors that only their number is known of.
    pub fn close(&self, fd: i32) {
        // SAFETY: the subject's descriptors are numbers to it: no Rust value owns one.
        unsafe { libc::close(fd) };
    }
}

/// The range of a line of /proc/self/maps.
fn range(line: &[u8]) -> Option<AddrRange> {
    let text = std::str::from_utf8(line.split(|b| *b == b' ').next()?).ok()?;
    let (start, end) = text.split_once('-')?;
    let number = |text| u64::from_str_radix(text, 16).ok().map(Addr);
    AddrRange::new(number(start)?, number(end)?).filter(|range| range.len() > Bytes(0))
}

/// Removes a SysV segment, whoever made it: for what cleans up after an experiment.
///
/// # Errors
/// The kernel's error.
pub fn remove_segment(id: i32) -> Result<(), Errno> {
    // SAFETY: a number each, and no buffer.
    check(i64::from(unsafe { libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()) })).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmatlas_event::{MapFlags, ProtArg};

    /// Checks that what the program needs cannot be taken away, and that what was mapped since can.
    #[test]
    fn the_program_is_safe() {
        let bench = Workbench::new().unwrap();
        let own = Addr(std::ptr::from_ref(&NAME).addr() as u64);
        let munmap = Call::named("munmap").unwrap();
        assert_eq!(bench.call(munmap, [own.0 & !0xfff, 4096, 0, 0, 0, 0]), Err(Errno(libc::EFAULT)));
        assert_eq!(bench.call(munmap, [4096, own.0, 0, 0, 0, 0]), Err(Errno(libc::EFAULT)));
        assert_eq!(bench.poke(own, 1), Err(Errno(libc::EFAULT)));
        let args = mem::MmapArgs {
            addr: Addr(0x10_0000_0000),
            len: Bytes(0x3000),
            prot: ProtArg(3),
            flags: MapFlags(0x10_0022),
            fd: -1,
            offset: 0,
        };
        let new = mem::map(args).unwrap();
        bench.poke(new, 7).unwrap();
        assert_eq!(bench.peek(new), 7);
        assert_eq!(bench.call(munmap, [new.0, 0x3000, 0, 0, 0, 0]), Ok(0));
    }
}
