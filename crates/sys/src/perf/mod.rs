//! perf_event_open(2): software events of page faults, counted, and written one by one to a ring that we read.
//!
//! The attribute is the kernel's own structure (`include/uapi/linux/perf_event.h`, PERF_ATTR_SIZE_VER5, Linux 4.5): a
//! kernel that is older refuses it (E2BIG).

mod ring;

pub use ring::{Record, Ring};

use crate::errno::check;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use vmatlas_event::{Errno, Tid, Unwinding};

/// `struct perf_event_attr` up to `sample_max_stack`.
#[repr(C)]
#[derive(Default)]
struct Attr {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup: u32,
    bp_type: u32,
    config1: u64,
    config2: u64,
    branch_sample_type: u64,
    sample_regs_user: u64,
    sample_stack_user: u32,
    clockid: i32,
    sample_regs_intr: u64,
    aux_watermark: u32,
    sample_max_stack: u16,
    reserved: u16,
}
const _: () = assert!(size_of::<Attr>() == 112);
const _: () = assert!(std::mem::offset_of!(Attr, clockid) == 92);

const TYPE_SOFTWARE: u32 = 1;

/// Bits of `flags`.
mod flag {
    pub(super) const DISABLED: u64 = 1;
    pub(super) const INHERIT: u64 = 1 << 1;
    pub(super) const EXCLUDE_KERNEL: u64 = 1 << 5;
    pub(super) const EXCLUDE_HV: u64 = 1 << 6;
    pub(super) const COMM: u64 = 1 << 9;
    pub(super) const ENABLE_ON_EXEC: u64 = 1 << 12;
    pub(super) const SAMPLE_ID_ALL: u64 = 1 << 18;
    pub(super) const EXCLUDE_CALLCHAIN_KERNEL: u64 = 1 << 21;
    pub(super) const COMM_EXEC: u64 = 1 << 24;
    pub(super) const USE_CLOCKID: u64 = 1 << 25;
}

/// Bits of `sample_type`; [`ring`] knows the layout that follows from them.
mod sample {
    pub(super) const IP: u64 = 1;
    pub(super) const TID: u64 = 1 << 1;
    pub(super) const TIME: u64 = 1 << 2;
    pub(super) const ADDR: u64 = 1 << 3;
    pub(super) const CALLCHAIN: u64 = 1 << 5;
    pub(super) const REGS_USER: u64 = 1 << 12;
    pub(super) const STACK_USER: u64 = 1 << 13;
    pub(super) const IDENTIFIER: u64 = 1 << 16;
}

const IOC_ENABLE: libc::c_ulong = 0x2400;
const IOC_DISABLE: libc::c_ulong = 0x2401;
const IOC_SET_OUTPUT: libc::c_ulong = 0x2405;
/// `_IOR('$', 7, __u64 *)`.
const IOC_ID: libc::c_ulong = 0x8008_2407;

/// PERF_COUNT_SW_DUMMY: an event that never happens, for a ring that others write to.
const DUMMY: u64 = 9;

/// Which faults an event is about (PERF_COUNT_SW_*).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Faults {
    /// Each entry of the fault handler, those that end in a signal too.
    All,
    /// Those that were dealt with and needed no disk.
    Minor,
    /// Those that were dealt with and had to wait for a disk.
    Major,
}

impl Faults {
    const fn config(self) -> u64 {
        match self {
            Faults::All => 2,
            Faults::Minor => 5,
            Faults::Major => 6,
        }
    }
}

/// How an event is opened.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The processor it is for; `None` for any, and then it can write to no ring.
    pub cpu: Option<u32>,
    /// Whether touches by the kernel, for the program, count too (`exclude_kernel` off).
    pub kernel: bool,
    /// Whether it begins with the task's next exec; otherwise [`Event::enable`] begins it.
    pub on_exec: bool,
    /// Whether each fault is written to a ring; otherwise they are only counted.
    pub sampled: bool,
    /// Whether execs are written to the ring too.
    pub execs: bool,
    /// Whether each fault brings what its thread's stack can be told from, and how; x86_64 only.
    pub stacks: Option<Unwinding>,
}

/// So much of a stack each fault brings: a record is as long even where less could be read, and so it is far less than what is
/// read of a thread that stands still.
pub const STACK_COPY: u32 = 8 << 10;
/// Beside a chain of frame pointers, for the innermost functions, which often keep none.
const STACK_TOP: u32 = 128;

/// An open event. Tasks that its task makes have it too, and theirs; closing it ends it for all of them.
#[derive(Debug)]
pub struct Event {
    fd: OwnedFd,
}

impl Event {
    /// Opens an event of a task and of all that it will make.
    ///
    /// # Errors
    /// EACCES or EPERM where this is not permitted (perf_event_paranoid, another user's task, a seccomp filter of a
    /// container), ESRCH when the task is gone, ENODEV when there is no such processor, EMFILE without a descriptor left,
    /// ENOSYS, ENOENT, E2BIG or EINVAL where the kernel has none of this.
    pub fn open(tid: Tid, what: Faults, options: Options) -> Result<Event, Errno> {
        let mut flags = flag::DISABLED | flag::INHERIT | flag::EXCLUDE_HV;
        for (is_set, bit) in [
            (!options.kernel, flag::EXCLUDE_KERNEL),
            (options.on_exec, flag::ENABLE_ON_EXEC),
            (options.execs, flag::COMM | flag::COMM_EXEC),
            (options.sampled, flag::SAMPLE_ID_ALL | flag::USE_CLOCKID),
        ] {
            flags |= if is_set { bit } else { 0 };
        }
        let mut attr = Attr {
            kind: TYPE_SOFTWARE,
            size: size_of::<Attr>() as u32,
            config: what.config(),
            flags,
            ..Attr::default()
        };
        if options.sampled {
            attr.sample_period = 1;
            attr.sample_type = sample::IDENTIFIER | sample::IP | sample::TID | sample::TIME | sample::ADDR;
            attr.clockid = libc::CLOCK_MONOTONIC;
            if let Some(stacks) = options.stacks.filter(|_| cfg!(target_arch = "x86_64")) {
                attr.sample_type |= sample::REGS_USER | sample::STACK_USER;
                attr.sample_regs_user = ring::REGISTERS_MASK;
                attr.sample_stack_user = STACK_COPY;
                if stacks == Unwinding::FramePointers {
                    attr.sample_type |= sample::CALLCHAIN;
                    attr.flags |= flag::EXCLUDE_CALLCHAIN_KERNEL;
                    attr.sample_stack_user = STACK_TOP;
                }
            }
        }
        Event::with(&attr, tid, options.cpu)
    }

    /// An event of the calling thread that never happens. Its clock is that of the others: rings do not mix clocks.
    fn dummy(cpu: u32) -> Result<Event, Errno> {
        let attr = Attr {
            kind: TYPE_SOFTWARE,
            size: size_of::<Attr>() as u32,
            config: DUMMY,
            flags: flag::DISABLED | flag::EXCLUDE_KERNEL | flag::EXCLUDE_HV | flag::USE_CLOCKID,
            clockid: libc::CLOCK_MONOTONIC,
            ..Attr::default()
        };
        Event::with(&attr, Tid(0), Some(cpu))
    }

    fn with(attr: &Attr, tid: Tid, cpu: Option<u32>) -> Result<Event, Errno> {
        const CLOEXEC: libc::c_ulong = 8;
        let cpu = cpu.map_or(-1, |cpu| i32::try_from(cpu).unwrap_or(i32::MAX));
        // SAFETY: `attr` has the kernel's layout and says its size; the others are numbers.
        let ret = unsafe {
            libc::syscall(libc::SYS_perf_event_open, std::ptr::from_ref(attr), tid.0, cpu, -1, CLOEXEC)
        };
        let fd = check(ret)? as i32;
        // SAFETY: a descriptor that was just made for us.
        Ok(Event { fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// What samples of this event are marked with, those of its heirs too.
    ///
    /// # Errors
    /// The kernel's.
    pub fn id(&self) -> Result<u64, Errno> {
        let mut id = 0u64;
        // SAFETY: the request writes one u64, for which `id` is a valid place.
        let ret = unsafe { libc::ioctl(self.fd.as_raw_fd(), IOC_ID, &raw mut id) };
        check(ret.into()).map(|_| id)
    }

    /// Begins, for its task and all heirs.
    ///
    /// # Errors
    /// The kernel's.
    pub fn enable(&self) -> Result<(), Errno> {
        self.request(IOC_ENABLE, 0)
    }

    /// Ends, for its task and all heirs; its count stays.
    ///
    /// # Errors
    /// The kernel's.
    pub fn disable(&self) -> Result<(), Errno> {
        self.request(IOC_DISABLE, 0)
    }

    /// Has its samples written to a ring, which must be of the same processor.
    ///
    /// # Errors
    /// EINVAL where the two do not fit.
    pub fn write_to(&self, ring: &Ring) -> Result<(), Errno> {
        self.request(IOC_SET_OUTPUT, ring.event.fd.as_raw_fd())
    }

    fn request(&self, request: libc::c_ulong, value: i32) -> Result<(), Errno> {
        // SAFETY: requests that take a number.
        let ret = unsafe { libc::ioctl(self.fd.as_raw_fd(), request, value) };
        check(ret.into()).map(|_| ())
    }

    /// How many there were so far, of its task and all heirs; also those that found no room in the ring.
    ///
    /// # Errors
    /// The kernel's.
    pub fn count(&self) -> Result<u64, Errno> {
        let mut count = 0u64;
        // SAFETY: with read_format 0 the kernel writes one u64, for which `count` is a valid place.
        let ret = unsafe { libc::read(self.fd.as_raw_fd(), (&raw mut count).cast(), size_of::<u64>()) };
        check(ret as i64).map(|_| count)
    }
}
