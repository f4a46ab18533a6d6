//! What mmap(2) will do on this machine, before it is called: the rules of mmap(2), in the kernel's order of checking
//! (arch/x86 `SYSCALL_DEFINE6(mmap)`, mm/mmap.c `ksys_mmap_pgoff()`, `do_mmap()`, mm/vma.c `mmap_region()`).

use super::texts as t;
use crate::machine::Machine;
use crate::state::State;
use std::fs::Metadata;
use vmatlas_event::{Addr, AddrRange, Bytes, MapFlags, MapType, PageSize};
use vmatlas_sys::mem::MmapArgs;
use vmatlas_view::Text;

const READ_OR_WRITE: u64 = 3;
const WRITE: u64 = 2;
const EXEC: u64 = 4;
const LOW_2GIB: u64 = 0x40;
const GROWSDOWN: u64 = 0x100;
const LOCKED: u64 = 0x2000;
const NORESERVE: u64 = 0x4000;
const NONBLOCK: u64 = 0x1_0000;
const STACK: u64 = 0x2_0000;
const HUGETLB: u64 = 0x4_0000;
/// Flags whose effect on success is known here, the type aside.
const KNOWN: u64 = 0xf
    | MapFlags::FIXED
    | MapFlags::ANONYMOUS
    | MapFlags::POPULATE
    | MapFlags::FIXED_NOREPLACE
    | LOW_2GIB
    | GROWSDOWN
    | LOCKED
    | NORESERVE
    | NONBLOCK
    | STACK
    | HUGETLB;
/// User addresses end here without 5-level paging.
const USER_END: u64 = (1 << 47) - 4096;

/// The word for a call that succeeds.
pub(super) const SUCCESS: &str = "success";

/// How the call will end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::experiments) enum Ending {
    /// With an address.
    Succeeds,
    /// With this error, for this reason.
    Fails(&'static str, Why),
    /// What is known here does not decide it.
    Open(Why),
}

/// A reason, comparable by its text.
#[derive(Clone, Copy, Debug)]
pub(in crate::experiments) struct Why(pub(in crate::experiments) Text);

impl PartialEq for Why {
    fn eq(&self, other: &Why) -> bool {
        self.0.en == other.0.en
    }
}

/// The file behind a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::experiments) enum FileKind {
    /// An ordinary one.
    Regular {
        /// Its size.
        size: u64,
        /// Whether it is open for writing.
        writable: bool,
    },
    /// A folder.
    Folder,
    /// A device or something else that decides for itself.
    Other,
}

impl FileKind {
    /// What an open file is.
    pub(super) fn of(meta: &Metadata, writable: bool) -> FileKind {
        match meta.is_dir() {
            true => FileKind::Folder,
            false if meta.is_file() => FileKind::Regular { size: meta.len(), writable },
            false => FileKind::Other,
        }
    }
}

/// What a call meets.
#[derive(Clone, Copy, Debug)]
pub(in crate::experiments) struct Setting<'a> {
    pub(in crate::experiments) machine: &'a Machine,
    /// The subject before the call.
    pub(in crate::experiments) before: &'a State,
    pub(in crate::experiments) file: Option<FileKind>,
}

fn fails(errno: &'static str, why: Text) -> Result<(), Ending> {
    Err(Ending::Fails(errno, Why(why)))
}

fn open(why: Text) -> Result<(), Ending> {
    Err(Ending::Open(Why(why)))
}

/// How the call will end.
pub(in crate::experiments) fn ending(args: &MmapArgs, setting: Setting<'_>) -> Ending {
    match checks(args, setting) {
        Ok(()) => Ending::Succeeds,
        Err(ending) => ending,
    }
}

fn checks(args: &MmapArgs, setting: Setting<'_>) -> Result<(), Ending> {
    let machine = setting.machine;
    if !args.offset.is_multiple_of(machine.page.bytes()) {
        fails("EINVAL", t::WHY_OFFSET)?;
    }
    if !is_anonymous(args) && setting.file.is_none() {
        fails("EBADF", t::WHY_NO_FILE)?;
    }
    if args.len.0 == 0 {
        fails("EINVAL", t::WHY_ZERO)?;
    }
    let len = mapped(args, machine);
    if len < args.len {
        fails("ENOMEM", t::WHY_TOO_LARGE)?;
    }
    if args.flags.0 & !KNOWN != 0 {
        open(t::DECIDED_ELSEWHERE)?;
    }
    place(args, len, setting)?;
    if args.flags.has(LOCKED) {
        lock(len, machine)?;
    }
    match (is_anonymous(args), setting.file) {
        (false, Some(file)) => file_allows(args, file)?,
        _ => anonymous_allows(args)?,
    }
    promise(args, len, setting)
}

fn is_anonymous(args: &MmapArgs) -> bool {
    args.flags.has(MapFlags::ANONYMOUS)
}

/// Whether there is a place of that size, or the place that was ordered.
fn place(args: &MmapArgs, len: Bytes, setting: Setting<'_>) -> Result<(), Ending> {
    const SLACK: u64 = 1 << 30;
    if len.0 > USER_END {
        return fails("ENOMEM", t::WHY_TOO_LARGE);
    }
    let rows = &setting.before.rows;
    if args.flags.0 & (MapFlags::FIXED | MapFlags::FIXED_NOREPLACE) != 0 {
        let Some(range) = AddrRange::from_len(args.addr, len).filter(|r| r.end().0 <= USER_END) else {
            return fails("ENOMEM", t::WHY_TOO_LARGE);
        };
        if !args.addr.0.is_multiple_of(setting.machine.page.bytes()) {
            return fails("EINVAL", t::WHY_FIXED_PLACE);
        }
        if args.addr.0 < setting.machine.min_addr && !setting.machine.may_map_low() {
            return fails("EPERM", t::WHY_MIN_ADDR);
        }
        if rows.iter().any(|row| row.range.intersects(range)) {
            return fails("EEXIST", t::WHY_EXISTS);
        }
        return Ok(());
    }
    if args.flags.has(LOW_2GIB) {
        // Addresses from 1 to 2 GiB, the first of them moved at random.
        return match len.0 {
            n if n > 1 << 30 => fails("ENOMEM", t::WHY_LOW),
            n if n > 900 << 20 => open(t::WHY_LOW),
            _ => Ok(()),
        };
    }
    let largest = largest_gap(rows.iter().map(|row| row.range));
    match len.0 {
        n if n > largest => fails("ENOMEM", t::WHY_NO_GAP),
        n if n > largest.saturating_sub(SLACK) => open(t::WHY_NO_GAP),
        _ => Ok(()),
    }
}

/// The largest piece of the user's address space that nothing is mapped in.
fn largest_gap(ranges: impl Iterator<Item = AddrRange>) -> u64 {
    let (mut at, mut largest) = (Addr(0), 0);
    for range in ranges.take_while(|r| r.start().0 < USER_END) {
        largest = largest.max(range.start().0.saturating_sub(at.0));
        at = range.end();
    }
    largest.max(USER_END.saturating_sub(at.0))
}

fn lock(len: Bytes, machine: &Machine) -> Result<(), Ending> {
    match machine.limits.locked {
        Some(limit) if !machine.may_lock() => match limit {
            Bytes(0) => fails("EPERM", t::WHY_LOCK),
            limit if len > limit => fails("EAGAIN", t::WHY_LOCK),
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

fn anonymous_allows(args: &MmapArgs) -> Result<(), Ending> {
    match args.flags.0 & 0xf {
        1 if args.flags.has(GROWSDOWN) => fails("EINVAL", t::WHY_GROWSDOWN),
        1 | 2 => Ok(()),
        // MAP_DROPPABLE came with Linux 6.11; MAP_SHARED_VALIDATE is for files only.
        8 => open(t::DECIDED_ELSEWHERE),
        _ => fails("EINVAL", t::WHY_TYPE),
    }
}

fn file_allows(args: &MmapArgs, file: FileKind) -> Result<(), Ending> {
    let shared = match args.flags.map_type() {
        MapType::Shared => true,
        MapType::Private if args.flags.0 & 0xf == 2 => false,
        _ => return fails("EINVAL", t::WHY_TYPE),
    };
    match file {
        FileKind::Regular { writable: false, .. } | FileKind::Folder
            if shared && args.prot.0 & WRITE != 0 =>
        {
            fails("EACCES", t::WHY_ACCESS)
        }
        FileKind::Folder => fails("ENODEV", t::WHY_NOT_MAPPABLE),
        FileKind::Regular { .. } if args.flags.has(GROWSDOWN) => fails("EINVAL", t::WHY_GROWSDOWN),
        // A file of the kernel says that it is empty; a mount may forbid execution; HUGETLB is for hugetlbfs.
        FileKind::Regular { size: 1.., .. } if args.prot.0 & EXEC == 0 && !args.flags.has(HUGETLB) => Ok(()),
        _ => open(t::DECIDED_ELSEWHERE),
    }
}

/// Whether the kernel may promise that much memory.
fn promise(args: &MmapArgs, len: Bytes, setting: Setting<'_>) -> Result<(), Ending> {
    let machine = setting.machine;
    if machine.limits.data.is_some() {
        return open(crate::texts::LIMITED);
    }
    if let Some(limit) = machine.limits.address_space
        && setting.before.virtual_size + len > limit
    {
        return fails("ENOMEM", t::WHY_LIMIT);
    }
    let is_shared = args.flags.map_type() == MapType::Shared;
    if args.flags.has(HUGETLB) {
        return huge(args, len, machine);
    }
    let strict = machine.overcommit == Some(2);
    let counts = if is_shared { is_anonymous(args) } else { args.prot.0 & WRITE != 0 };
    if !counts || args.flags.has(NORESERVE) && !strict {
        return Ok(());
    }
    match (machine.overcommit, machine.memory.total, machine.memory.commit_room) {
        (Some(1), _, _) => Ok(()),
        // mm/util.c:__vm_enough_memory(): the heuristic refuses what is more than all memory and swap together.
        (Some(0), Some(total), _) if len > total => fails("ENOMEM", t::WHY_OVERCOMMIT),
        (Some(0), Some(_), _) => Ok(()),
        // What others are promised meanwhile decides near the limit.
        (Some(2), _, Some(room)) if len.0 > room.0.saturating_add(1 << 30) => fails("ENOMEM", t::WHY_STRICT),
        (Some(2), _, Some(room)) if len.0 < room.0 / 2 => Ok(()),
        _ => open(t::STRICT),
    }
}

fn huge(args: &MmapArgs, len: Bytes, machine: &Machine) -> Result<(), Ending> {
    let usual = args.flags.0 >> 26 & 0x3f == 0;
    match (machine.memory.huge_free, machine.memory.huge_size) {
        (Some(free), Some(size)) if usual && len.0 / size.0.max(1) <= free => Ok(()),
        // Nothing is promised; where there is no page, the touch fails.
        (Some(_), Some(_)) if usual && args.flags.has(NORESERVE) => Ok(()),
        (Some(_), Some(_)) if usual && machine.huge_extra == Some(0) => fails("ENOMEM", t::WHY_NO_HUGE),
        _ => open(t::DECIDED_ELSEWHERE),
    }
}

/// How much address space the call maps when it succeeds.
pub(super) fn mapped(args: &MmapArgs, machine: &Machine) -> Bytes {
    let page = match args.flags.has(HUGETLB) && is_anonymous(args) {
        true => {
            let log = (args.flags.0 >> 26 & 0x3f) as u32;
            let size = if log == 0 { machine.memory.huge_size.map_or(2 << 20, |b| b.0) } else { 1 << log };
            PageSize::new(size).unwrap_or(machine.page)
        }
        false => machine.page,
    };
    page.round_up(args.len).unwrap_or(Bytes(0))
}

/// Whether the call itself brings pages into memory.
pub(super) fn populates(args: &MmapArgs) -> bool {
    let asked =
        args.flags.has(LOCKED) || args.flags.0 & (MapFlags::POPULATE | NONBLOCK) == MapFlags::POPULATE;
    asked && args.prot.0 & 7 != 0
}

/// The signal that touching the first `pages` pages will raise; `None` for none, and an error where it is open.
pub(super) fn signal(args: &MmapArgs, pages: u64, setting: Setting<'_>) -> Result<Option<&'static str>, Why> {
    if args.prot.0 & READ_OR_WRITE == 0 {
        return Ok(Some("SIGSEGV"));
    }
    if is_anonymous(args) {
        let unpromised = args.flags.has(HUGETLB) && args.flags.has(NORESERVE);
        return if unpromised { unpromised_signal(pages, setting.machine) } else { Ok(None) };
    }
    match setting.file {
        Some(FileKind::Regular { size, .. }) => {
            let page = setting.machine.page.bytes();
            let there = size.saturating_sub(args.offset).div_ceil(page);
            Ok((pages > there).then_some("SIGBUS"))
        }
        _ => Err(Why(t::DECIDED_ELSEWHERE)),
    }
}

/// The signal where huge pages were not reserved: whether there are enough is seen at the touch.
fn unpromised_signal(pages: u64, machine: &Machine) -> Result<Option<&'static str>, Why> {
    let size = machine.memory.huge_size.map_or(1, |size| size.0.max(1));
    match (machine.memory.huge_free, machine.huge_extra) {
        (Some(free), _) if pages.saturating_mul(machine.page.bytes()).div_ceil(size) <= free => Ok(None),
        (Some(_), Some(0)) => Ok(Some("SIGBUS")),
        _ => Err(Why(t::DECIDED_ELSEWHERE)),
    }
}

/// Why a call ended with an error that was not predicted, as far as the error itself tells.
pub(super) fn general_reason(errno: &str) -> Text {
    match errno {
        "EACCES" => t::WHY_ACCESS,
        "EPERM" => t::WHY_PERMISSION,
        "EEXIST" => t::WHY_EXISTS,
        "EAGAIN" => t::WHY_LOCK,
        "ENODEV" => t::WHY_NOT_MAPPABLE,
        "ENOMEM" => t::WHY_NO_MEMORY,
        _ => t::WHY_OTHER,
    }
}

#[cfg(test)]
mod tests;
