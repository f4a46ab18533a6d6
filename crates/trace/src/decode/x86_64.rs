//! The native table (kernel `arch/x86/entry/syscalls/syscall_64.tbl`).

use super::other;
use vmatlas_event::{Addr, Advice, Bytes, MapFlags, Op, ProtArg};
use vmatlas_sys::ptrace::Entry;

/// AUDIT_ARCH_X86_64.
pub(crate) const ARCH: u32 = 0xc000_003e;

const MMAP: u32 = 9;
const MPROTECT: u32 = 10;
const MUNMAP: u32 = 11;
const BRK: u32 = 12;
const MREMAP: u32 = 25;
const MADVISE: u32 = 28;
const SHMAT: u32 = 30;
const SHMDT: u32 = 67;
const PKEY_MPROTECT: u32 = 329;

/// The calls the filter marks.
pub(crate) const NUMBERS: &[u32] =
    &[MMAP, MPROTECT, MUNMAP, BRK, MREMAP, MADVISE, SHMAT, SHMDT, PKEY_MPROTECT];

/// x32 calls come with the same architecture and this bit.
pub(crate) const X32_BIT: u64 = 0x4000_0000;

pub(super) fn decode(call: &Entry) -> Option<Op> {
    let [a, b, c, d, e, f] = call.args;
    if call.nr & X32_BIT != 0 {
        return Some(other(call));
    }
    Some(match u32::try_from(call.nr).ok()? {
        MMAP => Op::Mmap {
            addr: Addr(a),
            len: Bytes(b),
            prot: ProtArg(c),
            flags: MapFlags(d),
            fd: e as i32,
            offset: f,
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
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(nr: u64, args: [u64; 6]) -> Option<Op> {
        decode(&Entry { arch: ARCH, nr, args })
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
        assert_eq!(call(0, [0; 6]), None);
        assert!(matches!(call(0x4000_0009, [0; 6]), Some(Op::Other { .. })));
    }

    /// Checks that the filter marks exactly the calls that are decoded.
    #[test]
    fn marked_calls_are_decoded() {
        for nr in 0..1000 {
            assert_eq!(call(nr, [0; 6]).is_some(), NUMBERS.contains(&(nr as u32)), "{nr}");
        }
    }
}
