//! Capabilities (capabilities(7)).

use crate::errno::check;
use vmatlas_event::Errno;

/// A capability that something of ours needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Cap {
    /// Write any file and in any folder.
    DacOverride = 1,
    /// Read any file, enter any folder.
    DacReadSearch = 2,
    /// Signal any process.
    Kill = 5,
    /// Lock more memory than limits allow.
    IpcLock = 14,
    /// Read the memory and the map of any process, and trace it.
    SysPtrace = 19,
    /// What has no capability of its own.
    SysAdmin = 21,
    /// Measure what the kernel does.
    Perfmon = 38,
    /// Load BPF programs, and on older kernels use their maps.
    Bpf = 39,
    /// Open a mapped file by its row of the map.
    CheckpointRestore = 40,
}

/// A set of capabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps(u64);

impl Caps {
    /// No capability.
    pub const NONE: Caps = Caps(0);

    /// These capabilities.
    pub const fn of(caps: &[Cap]) -> Caps {
        let mut bits = 0;
        let mut at = 0;
        while at < caps.len() {
            bits |= 1 << caps[at] as u8;
            at += 1;
        }
        Caps(bits)
    }

    /// Those that the calling thread may bring into force.
    ///
    /// # Errors
    /// EINVAL where the kernel does not know this form of capget(2) (before 2.6.26).
    pub fn permitted() -> Result<Caps, Errno> {
        get().map(|data| joined([data[0].permitted, data[1].permitted]))
    }

    /// Those that are in force for the calling thread.
    ///
    /// # Errors
    /// As [`Caps::permitted`].
    pub fn effective() -> Result<Caps, Errno> {
        get().map(|data| joined([data[0].effective, data[1].effective]))
    }

    /// Whether it has this one.
    pub const fn has(self, cap: Cap) -> bool {
        self.0 >> cap as u8 & 1 == 1
    }

    /// With those of another set.
    #[must_use]
    pub const fn union(self, other: Caps) -> Caps {
        Caps(self.0 | other.0)
    }

    /// Those that are in both.
    #[must_use]
    pub const fn intersection(self, other: Caps) -> Caps {
        Caps(self.0 & other.0)
    }
}

/// `struct __user_cap_header_struct` (`include/uapi/linux/capability.h`).
#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

/// The header for the calling thread.
const OURS: Header = Header { version: 0x2008_0522, pid: 0 };

/// `struct __user_cap_data_struct`: 32 capabilities; the second one has the others.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

fn joined([low, high]: [u32; 2]) -> Caps {
    Caps(u64::from(low) | u64::from(high) << 32)
}

fn get() -> Result<[Data; 2], Errno> {
    let mut header = OURS;
    let mut data = [Data::default(); 2];
    // SAFETY: a header and, for its version, two structures of the kernel's layout.
    let ret = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) };
    check(ret).map(|_| data)
}

/// Sets those of the calling thread; none is inheritable. Async-signal-safe.
pub(super) fn set(effective: Caps, permitted: Caps) -> Result<(), Errno> {
    let mut header = OURS;
    let half = |shift: u32| Data {
        effective: (effective.0 >> shift) as u32,
        permitted: (permitted.0 >> shift) as u32,
        inheritable: 0,
    };
    let data = [half(0), half(32)];
    // SAFETY: as in `get`; the kernel only reads the data.
    let ret = unsafe { libc::syscall(libc::SYS_capset, &raw mut header, data.as_ptr()) };
    check(ret).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that capabilities have the numbers of capabilities(7), that sets are sets, and that ours are what the kernel
    /// tells in /proc.
    #[test]
    fn sets_are_the_kernels() {
        let set = Caps::of(&[Cap::SysPtrace, Cap::Bpf]);
        assert_eq!(set, Caps(1 << 19 | 1 << 39));
        assert!(set.has(Cap::Bpf) && !set.has(Cap::SysAdmin));
        assert_eq!(set.intersection(Caps::of(&[Cap::Bpf, Cap::Kill])), Caps::of(&[Cap::Bpf]));
        assert_eq!(set.union(Caps::of(&[Cap::Kill])), Caps(1 << 5 | 1 << 19 | 1 << 39));
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
        for (key, ours) in [("CapPrm:", Caps::permitted()), ("CapEff:", Caps::effective())] {
            assert_eq!(line(key).and_then(|text| u64::from_str_radix(text, 16).ok()), ours.ok().map(|c| c.0));
        }
    }

    /// Checks that capabilities are out of force while something is asked, and in force again afterwards.
    #[test]
    fn capabilities_are_laid_aside() {
        let before = Caps::effective();
        let inside = super::super::with_only(Caps::NONE, || Caps::effective().unwrap());
        assert_eq!(inside, Ok(Caps::NONE));
        assert_eq!(Caps::effective(), before);
    }
}
