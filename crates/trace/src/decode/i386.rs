//! 32-bit programs, and 64-bit ones that use `int 0x80` (kernel `arch/x86/entry/syscalls/syscall_32.tbl`).

use super::other;
use vmatlas_event::{Addr, Advice, Bytes, MapFlags, Op, ProtArg};
use vmatlas_sys::ptrace::Entry;

/// AUDIT_ARCH_I386.
pub(crate) const ARCH: u32 = 0x4000_0003;

const BRK: u32 = 45;
/// Takes a pointer to its arguments.
const OLD_MMAP: u32 = 90;
const MUNMAP: u32 = 91;
/// shmat and shmdt among others, by its first argument.
const IPC: u32 = 117;
const MPROTECT: u32 = 125;
const MREMAP: u32 = 163;
const MMAP2: u32 = 192;
const MADVISE: u32 = 219;
const PKEY_MPROTECT: u32 = 380;
const SHMAT: u32 = 397;
const SHMDT: u32 = 398;

/// The calls the filter marks.
pub(crate) const NUMBERS: &[u32] =
    &[BRK, OLD_MMAP, MUNMAP, IPC, MPROTECT, MREMAP, MMAP2, MADVISE, PKEY_MPROTECT, SHMAT, SHMDT];

pub(super) fn decode(call: &Entry) -> Option<Op> {
    // Registers hold 32 bits here, whatever their upper halves say.
    let [a, b, c, d, e, f] = call.args.map(|arg| arg & 0xffff_ffff);
    Some(match u32::try_from(call.nr).ok()? {
        MMAP2 => Op::Mmap {
            addr: Addr(a),
            len: Bytes(b),
            prot: ProtArg(c),
            flags: MapFlags(d),
            fd: e as i32,
            // In units of 4096 bytes, whatever the page size is (mmap2(2)).
            offset: f * 4096,
        },
        MPROTECT => Op::Mprotect { addr: Addr(a), len: Bytes(b), prot: ProtArg(c), pkey: None },
        PKEY_MPROTECT => {
            Op::Mprotect { addr: Addr(a), len: Bytes(b), prot: ProtArg(c), pkey: Some(d as i32) }
        }
        MUNMAP => Op::Munmap { addr: Addr(a), len: Bytes(b) },
        BRK => Op::Brk { addr: Addr(a) },
        MREMAP => Op::Mremap { old: Addr(a), old_len: Bytes(b), new_len: Bytes(c), flags: d, new: Addr(e) },
        MADVISE => Op::Madvise { addr: Addr(a), len: Bytes(b), advice: Advice(c as i32) },
        SHMAT => Op::Shmat { id: a as i32, addr: Addr(b), flags: c as i32 },
        SHMDT => Op::Shmdt { addr: Addr(a) },
        // ipc(2) multiplexes: 21 and 22 are SHMAT (its result goes to memory) and SHMDT.
        IPC if matches!(a & 0xffff, 21 | 22) => other(call),
        // The arguments lie in the program's memory: the map tells what came of them.
        OLD_MMAP => other(call),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
