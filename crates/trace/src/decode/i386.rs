//! 32-bit programs, and 64-bit ones that use `int 0x80` (kernel `arch/x86/entry/syscalls/syscall_32.tbl`).

use super::call::{self, Call, Number, Only, find};
use super::other;
use vmatlas_event::Op;
use vmatlas_sys::ptrace::Entry;

/// AUDIT_ARCH_I386.
pub(crate) const ARCH: u32 = 0x4000_0003;

/// mmap with a pointer to its arguments.
const OLD_MMAP: u32 = 90;
/// shmat and shmdt among others, by its first argument.
const IPC: u32 = 117;

const TABLE: &[(u32, Call)] = &[
    (45, Call::Brk),
    (54, Call::Ioctl),
    (91, Call::Munmap),
    (125, Call::Mprotect),
    (136, Call::Personality),
    (150, Call::Mlock),
    (151, Call::Munlock),
    (152, Call::Mlockall),
    (153, Call::Munlockall),
    (163, Call::Mremap),
    (172, Call::Prctl),
    (192, Call::Mmap2),
    (219, Call::Madvise),
    (245, Call::IoSetup),
    (246, Call::IoDestroy),
    (257, Call::RemapFilePages),
    (274, Call::Mbind),
    (354, Call::Seccomp),
    (376, Call::Mlock2),
    (380, Call::PkeyMprotect),
    (384, Call::ArchPrctl),
    (397, Call::Shmat),
    (398, Call::Shmdt),
    (440, Call::ProcessMadvise),
    (450, Call::SetMempolicyHomeNode),
    (453, Call::MapShadowStack),
    (462, Call::Mseal),
];

/// ipc(2) multiplexes: 21 and 22 are SHMAT (its result goes to memory) and SHMDT; the upper half is a version.
const IPC_OF_MEMORY: Only = Only::When { arg: 0, mask: 0xffff, values: &[21, 22] };

/// Calls whose arguments are not all in registers.
const HIDDEN: [Number; 2] =
    [Number { nr: OLD_MMAP, only: None }, Number { nr: IPC, only: Some(IPC_OF_MEMORY) }];

const _: () = assert!(call::is_sorted(TABLE));

/// Whether the filter marks calls of this number.
pub(super) fn marks(nr: u64) -> bool {
    find(TABLE, nr).is_some() || HIDDEN.iter().any(|hidden| u64::from(hidden.nr) == nr)
}

/// The calls the filter marks.
pub(crate) fn numbers() -> impl Iterator<Item = Number> {
    call::numbers(TABLE).chain(HIDDEN)
}

/// The call of a number, where its arguments tell all.
pub(super) fn call(nr: u32) -> Option<Call> {
    find(TABLE, u64::from(nr))
}

pub(super) fn decode(call: &Entry) -> Option<Op> {
    // Registers hold 32 bits here, whatever their upper halves say.
    let args = call.args.map(|arg| arg & 0xffff_ffff);
    match u32::try_from(call.nr) {
        // The arguments lie in the program's memory: the map tells what came of them.
        Ok(OLD_MMAP) => Some(other(call)),
        Ok(IPC) => IPC_OF_MEMORY.is_met(args).then(|| other(call)),
        _ => find(TABLE, call.nr)?.op(args),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmatlas_event::Addr;

    fn call(nr: u64, args: [u64; 6]) -> Option<Op> {
        decode(&Entry { arch: ARCH, nr, args })
    }

    /// Checks that offsets are pages, registers 32 bits wide, and calls with hidden arguments are not guessed at.
    #[test]
    fn arguments_are_32_bits_wide() {
        let Some(Op::Mmap { addr, offset, fd, .. }) =
            call(192, [0xdead_0000_0000_1000, 1, 0, 0, 0xffff_ffff_ffff_ffff, 2])
        else {
            panic!()
        };
        assert_eq!((addr, offset, fd), (Addr(0x1000), 8192, -1));
        assert!(matches!(call(90, [1; 6]), Some(Op::Other { .. })));
        assert!(matches!(call(117, [21, 0, 0, 0, 0, 0]), Some(Op::Other { .. })));
        assert_eq!(call(117, [1, 0, 0, 0, 0, 0]), None);
        assert_eq!(call(9, [0; 6]), None);
    }
}
