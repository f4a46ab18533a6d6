//! 64-bit ARM (kernel `include/uapi/asm-generic/unistd.h`, `scripts/syscall.tbl`).
//!
//! Only decoding: nothing here runs on ARM yet. Addresses may carry a tag in their top byte (Documentation/arch/arm64/
//! tagged-address-abi.rst): munmap, mprotect, madvise and mlock take it off, mmap, mremap and brk refuse it.

use super::call::{self, Call, find};
use vmatlas_event::{Addr, Op};
use vmatlas_sys::ptrace::Entry;

/// AUDIT_ARCH_AARCH64.
pub(crate) const ARCH: u32 = 0xc000_00b7;

const TABLE: &[(u32, Call)] = &[
    (0, Call::IoSetup),
    (1, Call::IoDestroy),
    (29, Call::Ioctl),
    (92, Call::Personality),
    (167, Call::Prctl),
    (196, Call::Shmat),
    (197, Call::Shmdt),
    (214, Call::Brk),
    (215, Call::Munmap),
    (216, Call::Mremap),
    (222, Call::Mmap),
    (226, Call::Mprotect),
    (228, Call::Mlock),
    (229, Call::Munlock),
    (230, Call::Mlockall),
    (231, Call::Munlockall),
    (233, Call::Madvise),
    (234, Call::RemapFilePages),
    (235, Call::Mbind),
    (277, Call::Seccomp),
    (284, Call::Mlock2),
    (288, Call::PkeyMprotect),
    (440, Call::ProcessMadvise),
    (450, Call::SetMempolicyHomeNode),
    (453, Call::MapShadowStack),
    (462, Call::Mseal),
];

const _: () = assert!(call::is_sorted(TABLE));

pub(super) fn decode(call: &Entry) -> Option<Op> {
    Some(untagged(find(TABLE, call.nr)?.op(call.args)?))
}

/// Takes the tag off where the kernel does (mm/mmap.c, mm/mprotect.c, mm/madvise.c, mm/mlock.c: untagged_addr()).
fn untagged(mut op: Op) -> Op {
    if let Op::Munmap { addr, .. }
    | Op::Mprotect { addr, .. }
    | Op::Madvise { addr, .. }
    | Op::Mlock { addr, .. }
    | Op::Munlock { addr, .. }
    | Op::Mbind { addr, .. } = &mut op
    {
        // The sign extension of bit 55, as untagged_addr() of arch/arm64/include/asm/uaccess.h.
        *addr = Addr(((addr.0 << 8) as i64 >> 8) as u64 & addr.0);
    }
    op
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmatlas_event::{Advice, Bytes, MapFlags, ProtArg};

    fn call(nr: u64, args: [u64; 6]) -> Option<Op> {
        decode(&Entry { arch: ARCH, nr, args })
    }

    /// Checks numbers against the man pages' order of arguments, and tags against what the kernel does with them.
    #[test]
    fn numbers_and_tags() {
        const TAG: u64 = 0xb400_0000_0000_0000;
        assert_eq!(
            call(222, [0, 4096, 3, 0x22, u64::MAX, 0]),
            Some(Op::Mmap {
                addr: Addr(0),
                len: Bytes(4096),
                prot: ProtArg(3),
                flags: MapFlags(0x22),
                fd: -1,
                offset: 0
            })
        );
        assert_eq!(
            call(215, [TAG | 0x1000, 1, 0, 0, 0, 0]),
            Some(Op::Munmap { addr: Addr(0x1000), len: Bytes(1) })
        );
        assert_eq!(
            call(233, [TAG | 0x1000, 1, 4, 0, 0, 0]),
            Some(Op::Madvise { addr: Addr(0x1000), len: Bytes(1), advice: Advice(4) })
        );
        assert_eq!(call(214, [TAG | 7, 0, 0, 0, 0, 0]), Some(Op::Brk { addr: Addr(TAG | 7) }));
        // PROT_BTI and PROT_MTE stay.
        assert!(matches!(call(226, [0, 1, 0x33, 0, 0, 0]), Some(Op::Mprotect { prot: ProtArg(0x33), .. })));
        assert_eq!(call(29, [3, 0x5401, 0, 0, 0, 0]), None);
        assert!(matches!(call(29, [3, 0xc020_aa00, 9, 0, 0, 0]), Some(Op::Ioctl { arg: Addr(9), .. })));
        assert_eq!(call(9, [0; 6]), None);
    }
}
