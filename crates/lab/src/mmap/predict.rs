//! What mmap(2) will do on this machine, before it is called.

use crate::facts::{Expected, Value};
use crate::machine::Machine;
use crate::say::Say;
use crate::texts as shared;
use vmatlas_event::{Bytes, MapFlags, MapType, PageSize};
use vmatlas_sys::mem::MmapArgs;

const NORESERVE: u64 = 0x4000;
const HUGETLB: u64 = 0x4_0000;
const LOCKED: u64 = 0x2000;
/// User addresses end here without 5-level paging.
const USER_SIZE: u64 = 1 << 47;

/// The word for a call that succeeds.
pub(super) const SUCCESS: &str = "success";

/// How the call will end: [`SUCCESS`], or the error's name.
///
/// The rules are those of mmap(2) and, for memory that may be promised, of proc(5) overcommit_memory.
pub(super) fn outcome(args: &MmapArgs, file: bool, machine: &Machine) -> Expected {
    let is = |word: &str| Expected::Is(Value::Word(word.to_owned()));
    let page = machine.page.bytes();
    let anonymous = args.flags.has(MapFlags::ANONYMOUS);
    // In the kernel's order of checking: mm/mmap.c:ksys_mmap_pgoff(), do_mmap().
    if !args.offset.is_multiple_of(page) {
        return is("EINVAL");
    }
    if !anonymous && !file {
        return is("EBADF");
    }
    if args.len.0 == 0 {
        return is("EINVAL");
    }
    let Some(len) = machine.page.round_up(args.len).filter(|len| len.0 < USER_SIZE) else {
        return is("ENOMEM");
    };
    // MAP_SHARED_VALIDATE is for files only.
    if matches!(args.flags.map_type(), MapType::Invalid(_)) || anonymous && args.flags.0 & 0xf == 3 {
        return is("EINVAL");
    }
    let fixed = args.flags.0 & (MapFlags::FIXED | MapFlags::FIXED_NOREPLACE) != 0;
    // An address that must be met, a file's rights, a large page or a rare flag decide by what is not looked at here.
    let usual = 0x2 | 0x1 | MapFlags::ANONYMOUS | NORESERVE | MapFlags::POPULATE | 0x2_0000;
    if fixed || file || args.flags.0 & !usual != 0 {
        return Expected::Unknown(Say::new(super::texts::DECIDED_ELSEWHERE));
    }
    if machine.limits.address_space.is_some() || machine.limits.data.is_some() {
        return Expected::Unknown(Say::new(shared::LIMITED));
    }
    let promised =
        args.prot.0 & 2 != 0 && !args.flags.has(NORESERVE) || args.flags.map_type() == MapType::Shared;
    match machine.overcommit {
        Some(1) => is(SUCCESS),
        Some(0) if !promised => is(SUCCESS),
        // The heuristic refuses what is more than all memory and swap together (mm/util.c:__vm_enough_memory()).
        Some(0) => match machine.memory.total {
            Some(total) if len > total => is("ENOMEM"),
            Some(_) => is(SUCCESS),
            None => Expected::Unknown(Say::new(super::texts::DECIDED_ELSEWHERE)),
        },
        _ => Expected::Unknown(Say::new(super::texts::STRICT)),
    }
}

/// How much address space the call maps when it succeeds.
pub(super) fn mapped(args: &MmapArgs, machine: &Machine) -> Bytes {
    let page = match args.flags.has(HUGETLB) {
        true => {
            let log = (args.flags.0 >> 26 & 0x3f) as u32;
            let size = if log == 0 { machine.memory.huge_size.map_or(2 << 20, |b| b.0) } else { 1 << log };
            PageSize::new(size).unwrap_or(machine.page)
        }
        false => machine.page,
    };
    page.round_up(args.len).unwrap_or(args.len)
}

/// Whether the call itself brings pages into memory.
pub(super) fn populates(args: &MmapArgs) -> bool {
    args.flags.0 & (MapFlags::POPULATE | LOCKED) != 0 && args.prot.0 & 7 != 0
}

/// Why a call of this kind is refused, in the man page's words made short.
pub(super) fn reason(args: &MmapArgs, file: bool, machine: &Machine, errno: &str) -> Say {
    use super::texts as t;
    let page = machine.page.bytes();
    Say::new(match errno {
        "EINVAL" if args.len.0 == 0 => t::WHY_ZERO,
        "EINVAL" if !args.offset.is_multiple_of(page) => t::WHY_OFFSET,
        "EINVAL" if matches!(args.flags.map_type(), MapType::Invalid(_)) => t::WHY_TYPE,
        "EBADF" if !file => t::WHY_NO_FILE,
        "ENOMEM" if args.len.0 >= USER_SIZE => t::WHY_TOO_LARGE,
        "ENOMEM" => t::WHY_OVERCOMMIT,
        "EACCES" => t::WHY_ACCESS,
        "EPERM" => t::WHY_PERMISSION,
        "EEXIST" => t::WHY_EXISTS,
        _ => t::WHY_OTHER,
    })
}
