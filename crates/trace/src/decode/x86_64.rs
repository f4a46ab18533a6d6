//! The native table (kernel `arch/x86/entry/syscalls/syscall_64.tbl`).

use super::call::{self, Call, Number, find};
use super::other;
use vmatlas_event::Op;
use vmatlas_sys::ptrace::Entry;

/// AUDIT_ARCH_X86_64.
pub(crate) const ARCH: u32 = 0xc000_003e;

const TABLE: &[(u32, Call)] = &[
    (9, Call::Mmap),
    (10, Call::Mprotect),
    (11, Call::Munmap),
    (12, Call::Brk),
    (16, Call::Ioctl),
    (25, Call::Mremap),
    (28, Call::Madvise),
    (30, Call::Shmat),
    (67, Call::Shmdt),
    (135, Call::Personality),
    (149, Call::Mlock),
    (150, Call::Munlock),
    (151, Call::Mlockall),
    (152, Call::Munlockall),
    (157, Call::Prctl),
    (158, Call::ArchPrctl),
    (206, Call::IoSetup),
    (207, Call::IoDestroy),
    (216, Call::RemapFilePages),
    (237, Call::Mbind),
    (317, Call::Seccomp),
    (325, Call::Mlock2),
    (329, Call::PkeyMprotect),
    (440, Call::ProcessMadvise),
    (450, Call::SetMempolicyHomeNode),
    (453, Call::MapShadowStack),
    (462, Call::Mseal),
];

const _: () = assert!(call::is_sorted(TABLE));

/// Whether the filter marks calls of this number.
pub(super) fn marks(nr: u64) -> bool {
    find(TABLE, nr).is_some()
}

/// The calls the filter marks.
pub(crate) fn numbers() -> impl Iterator<Item = Number> {
    call::numbers(TABLE)
}

/// x32 calls come with the same architecture and this bit.
pub(crate) const X32_BIT: u32 = 0x4000_0000;

/// The call of a number, where its arguments tell all.
pub(super) fn call(nr: u32) -> Option<Call> {
    find(TABLE, u64::from(nr))
}

pub(super) fn decode(call: &Entry) -> Option<Op> {
    if call.nr & u64::from(X32_BIT) != 0 {
        return Some(other(call));
    }
    find(TABLE, call.nr)?.op(call.args)
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmatlas_event::{Addr, Bytes, MapFlags, ProtArg};

    fn call(nr: u64, args: [u64; 6]) -> Option<Op> {
        decode(&Entry { arch: ARCH, nr, args })
    }

    /// Checks that calls which are of memory for some arguments only are told apart by them.
    #[test]
    fn arguments_tell_what_is_of_memory() {
        assert_eq!(call(16, [1, 0x5401, 0, 0, 0, 0]), None);
        assert!(matches!(call(16, [1, 0xc020_aa00, 7, 0, 0, 0]), Some(Op::Ioctl { .. })));
        assert_eq!(call(157, [15, 0, 0, 0, 0, 0]), None);
        assert_eq!(
            call(157, [0x5356_4d41, 0, 1, 2, 3, 0]),
            Some(Op::Prctl { option: 0x5356_4d41, args: [0, 1, 2, 3] })
        );
        assert_eq!(call(158, [0x1002, 0, 0, 0, 0, 0]), None);
        assert_eq!(call(135, [0xffff_ffff, 0, 0, 0, 0, 0]), None);
        assert_eq!(call(135, [0x40_0000, 0, 0, 0, 0, 0]), Some(Op::Personality { persona: 0x40_0000 }));
    }

    /// Checks that each call keeps its arguments, unknown bits and all, and that others are none of memory.
    #[test]
    fn arguments_are_kept() {
        let unknown = 1 << 40;
        assert_eq!(
            call(9, [0, 8192, 3 | unknown, 0x22 | unknown, 0xffff_ffff, 0x1000]),
            Some(Op::Mmap {
                addr: Addr(0),
                len: Bytes(8192),
                prot: ProtArg(3 | unknown),
                flags: MapFlags(0x22 | unknown),
                fd: -1,
                offset: 0x1000
            })
        );
        assert_eq!(call(12, [7, 0, 0, 0, 0, 0]), Some(Op::Brk { addr: Addr(7) }));
        assert_eq!(
            call(329, [1, 2, 3, 4, 0, 0]),
            Some(Op::Mprotect { addr: Addr(1), len: Bytes(2), prot: ProtArg(3), pkey: Some(4) })
        );
        assert_eq!(
            call(25, [1, 2, 3, 4, 5, 0]),
            Some(Op::Mremap { old: Addr(1), old_len: Bytes(2), new_len: Bytes(3), flags: 4, new: Addr(5) })
        );
        assert_eq!(call(30, [1, 2, 3, 0, 0, 0]), Some(Op::Shmat { id: 1, addr: Addr(2), flags: 3 }));
        assert_eq!(
            call(237, [1, 2, 3, 4, 5, 6]),
            Some(Op::Mbind { addr: Addr(1), len: Bytes(2), mode: 3, flags: 6 })
        );
        assert_eq!(call(0, [0; 6]), None);
        assert!(matches!(call(0x4000_0009, [0; 6]), Some(Op::Other { .. })));
    }
}
