//! What each memory call's arguments mean; which number a call has, the tables of the architectures say.

use vmatlas_event::{Addr, Advice, Bytes, MapFlags, Op, ProtArg};
use vmatlas_sys::bpf::Shape;

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
    Mlock,
    Mlock2,
    Munlock,
    Mlockall,
    Munlockall,
    Mseal,
    Mbind,
    SetMempolicyHomeNode,
    RemapFilePages,
    Prctl,
    ArchPrctl,
    MapShadowStack,
    IoSetup,
    IoDestroy,
    Ioctl,
    ProcessMadvise,
    Personality,
    /// No call of memory, but one that can hide them.
    Seccomp,
}

/// Which calls of a number are of memory, by the lower half of one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Only {
    /// Those where the bits of `mask` of argument `arg` are one of these.
    When { arg: u32, mask: u32, values: &'static [u32] },
    /// Those where argument `arg` is not this.
    Unless { arg: u32, value: u32 },
}

/// PR_SET_SECCOMP, PR_SET_MM, PR_SET_MEMORY_MERGE, PR_SET_VMA (include/uapi/linux/prctl.h).
const PRCTL_OF_MEMORY: &[u32] = &[PR_SET_SECCOMP, 35, 67, 0x5356_4d41];
const PR_SET_SECCOMP: u32 = 22;
/// SECCOMP_SET_MODE_FILTER.
const SECCOMP_INSTALLS: &[u32] = &[1];
/// ARCH_MAP_VDSO_X32, _32, _64; ARCH_SHSTK_ENABLE, _DISABLE (arch/x86/include/uapi/asm/prctl.h).
const ARCH_PRCTL_OF_MEMORY: &[u32] = &[0x2001, 0x2002, 0x2003, 0x5001, 0x5002];
/// UFFDIO_REGISTER, UFFDIO_UNREGISTER (include/uapi/linux/userfaultfd.h).
const IOCTL_OF_MEMORY: &[u32] = &[0xc020_aa00, 0x8010_aa01];
/// personality(0xffffffff) only asks.
pub(crate) const PERSONALITY_ASKS: u32 = 0xffff_ffff;

/// The whole lower half of an argument.
const ALL: u32 = u32::MAX;

impl Call {
    /// Which calls of this kind are of memory; `None` for all of them.
    pub(super) fn only(self) -> Option<Only> {
        match self {
            Call::Prctl => Some(Only::When { arg: 0, mask: ALL, values: PRCTL_OF_MEMORY }),
            Call::ArchPrctl => Some(Only::When { arg: 0, mask: ALL, values: ARCH_PRCTL_OF_MEMORY }),
            Call::Ioctl => Some(Only::When { arg: 1, mask: ALL, values: IOCTL_OF_MEMORY }),
            Call::Seccomp => Some(Only::When { arg: 0, mask: ALL, values: SECCOMP_INSTALLS }),
            Call::Personality => Some(Only::Unless { arg: 0, value: PERSONALITY_ASKS }),
            _ => None,
        }
    }

    /// What of the map tells what such a call did, when it returns and nobody can be held.
    pub(super) fn looks(self) -> Shape {
        match self {
            Call::Mmap | Call::Mmap2 | Call::MapShadowStack => Shape::Result,
            // What is unmapped leaves no neighbours that become one.
            Call::Munmap => Shape::RangeFailed,
            Call::Mremap => Shape::Moved,
            Call::Mprotect
            | Call::PkeyMprotect
            | Call::Mlock
            | Call::Mlock2
            | Call::Munlock
            | Call::Mseal
            | Call::Mbind
            | Call::SetMempolicyHomeNode
            | Call::RemapFilePages => Shape::Range,
            Call::Madvise => Shape::Advice,
            Call::Brk => Shape::Break,
            Call::Shmat => Shape::Attached,
            Call::Shmdt
            | Call::Mlockall
            | Call::Munlockall
            | Call::Prctl
            | Call::ArchPrctl
            | Call::IoSetup
            | Call::IoDestroy
            | Call::Ioctl
            | Call::ProcessMadvise
            | Call::Personality
            | Call::Seccomp => Shape::Nothing,
        }
    }

    /// The call with these arguments, every bit of them kept; `None` when it is not of memory.
    pub(super) fn op(self, args: [u64; 6]) -> Option<Op> {
        if !self.only().is_none_or(|only| only.is_met(args)) {
            return None;
        }
        let [a, b, c, d, e, f] = args;
        let (addr, len, prot) = (Addr(a), Bytes(b), ProtArg(c));
        Some(match self {
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
            Call::Mlock => Op::Mlock { addr, len, flags: None },
            Call::Mlock2 => Op::Mlock { addr, len, flags: Some(c) },
            Call::Munlock => Op::Munlock { addr, len },
            Call::Mlockall => Op::Mlockall { flags: a },
            Call::Munlockall => Op::Munlockall,
            Call::Mseal => Op::Mseal { addr, len, flags: c },
            // mbind(addr, len, mode, nodemask, maxnode, flags)
            Call::Mbind => Op::Mbind { addr, len, mode: c, flags: f },
            Call::SetMempolicyHomeNode => Op::SetMempolicyHomeNode { addr, len, node: c, flags: d },
            Call::RemapFilePages => Op::RemapFilePages { addr, len, prot, pgoff: d, flags: MapFlags(e) },
            Call::Prctl if a as u32 == PR_SET_SECCOMP => Op::Seccomp { flags: 0 },
            Call::Seccomp => Op::Seccomp { flags: b },
            Call::Prctl => Op::Prctl { option: a as i32, args: [b, c, d, e] },
            Call::ArchPrctl => Op::ArchPrctl { code: a, addr: b },
            Call::MapShadowStack => Op::MapShadowStack { addr, len, flags: c },
            Call::IoSetup => Op::IoSetup { events: a },
            Call::IoDestroy => Op::IoDestroy { ctx: addr },
            Call::Ioctl => Op::Ioctl { fd: a as i32, request: b & 0xffff_ffff, arg: Addr(c) },
            Call::ProcessMadvise => {
                Op::ProcessMadvise { pidfd: a as i32, iovec: Addr(b), count: c, advice: Advice(d as i32) }
            }
            Call::Personality => Op::Personality { persona: a },
        })
    }
}

impl Only {
    /// Whether a call with these arguments is of memory.
    pub(crate) fn is_met(self, args: [u64; 6]) -> bool {
        let low = |arg: u32| args.get(arg as usize).map_or(0, |value| *value as u32);
        match self {
            Only::When { arg, mask, values } => values.contains(&(low(arg) & mask)),
            Only::Unless { arg, value } => low(arg) != value,
        }
    }
}

/// A number that the filter looks for, and which of its calls it marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Number {
    pub(crate) nr: u32,
    pub(crate) only: Option<Only>,
}

/// The numbers of a table.
pub(super) fn numbers(table: &[(u32, Call)]) -> impl Iterator<Item = Number> {
    table.iter().map(|(nr, call)| Number { nr: *nr, only: call.only() })
}

/// The call of a number in a table, which is in the order of its numbers.
pub(super) fn find(table: &[(u32, Call)], nr: u64) -> Option<Call> {
    let at = table.binary_search_by_key(&nr, |(n, _)| u64::from(*n)).ok()?;
    table.get(at).map(|(_, call)| *call)
}

/// Whether a table is in the order of its numbers.
pub(super) const fn is_sorted(table: &[(u32, Call)]) -> bool {
    let mut at = 1;
    while at < table.len() {
        if table[at - 1].0 >= table[at].0 {
            return false;
        }
        at += 1;
    }
    true
}
