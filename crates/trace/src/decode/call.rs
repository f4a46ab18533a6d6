//! What each memory call's arguments mean; which number a call has, the tables of the architectures say.

use vmatlas_event::{Addr, Advice, Bytes, MapFlags, Op, ProtArg};

/// A memory call, whatever its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Mmap,
    /// mmap with its offset in units of 4096 bytes, whatever the page size is (mmap2(2)).
    Mmap2,
    Munmap,
    Mremap,
    Mprotect,
    PkeyMprotect,
    Brk,
    Madvise,
    Shmat,
    Shmdt,
}

impl Call {
    /// The call with these arguments, every bit of them kept.
    pub(super) fn op(self, [a, b, c, d, e, f]: [u64; 6]) -> Op {
        let (addr, len, prot) = (Addr(a), Bytes(b), ProtArg(c));
        match self {
            Call::Mmap => Op::Mmap { addr, len, prot, flags: MapFlags(d), fd: e as i32, offset: f },
            Call::Mmap2 => {
                Op::Mmap { addr, len, prot, flags: MapFlags(d), fd: e as i32, offset: f.wrapping_mul(4096) }
            }
            Call::Munmap => Op::Munmap { addr, len },
            Call::Mremap => Op::Mremap { old: addr, old_len: len, new_len: Bytes(c), flags: d, new: Addr(e) },
            Call::Mprotect => Op::Mprotect { addr, len, prot, pkey: None },
            Call::PkeyMprotect => Op::Mprotect { addr, len, prot, pkey: Some(d as i32) },
            Call::Brk => Op::Brk { addr },
            Call::Madvise => Op::Madvise { addr, len, advice: Advice(c as i32) },
            Call::Shmat => Op::Shmat { id: a as i32, addr: Addr(b), flags: c as i32 },
            Call::Shmdt => Op::Shmdt { addr },
        }
    }
}

/// The call of a number in a table.
pub(super) fn find(table: &[(u32, Call)], nr: u64) -> Option<Call> {
    table.iter().find(|(n, _)| u64::from(*n) == nr).map(|(_, call)| *call)
}
