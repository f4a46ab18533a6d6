//! mmap(2).

use super::{Edit, pages_of};
use vmatlas_event::{Addr, AddrRange, Bytes, MapFlags, MapType, PageSize, Prot, ProtArg, Sharing, VmaRow};

/// Bits 26 to 31 of the flags hold the logarithm of the huge page size; 0 means the default.
const HUGETLB: u64 = 0x4_0000;
const HUGE_SHIFT: u32 = 26;
const GROWSDOWN: u64 = 0x100;
/// 2 MiB on x86_64.
const DEFAULT_HUGE_SHIFT: u32 = 21;

pub(super) fn apply(edit: &mut Edit<'_>, at: Addr, len: Bytes, prot: ProtArg, flags: MapFlags, offset: u64) {
    let page = page_of(flags, edit.space.page);
    let range = pages_of(page, at, len);
    let anonymous = flags.has(MapFlags::ANONYMOUS);
    // Which file it is, the descriptor does not tell: the kernel's answer does.
    edit.map(VmaRow {
        sharing: if flags.map_type() == MapType::Shared { Sharing::Shared } else { Sharing::Private },
        offset: if anonymous { 0 } else { offset },
        ..VmaRow::anonymous(range, Prot::from_arg(prot))
    });
    if flags.has(GROWSDOWN) {
        edit.space.rules.grow(range);
    }
    let is_private = flags.map_type() == MapType::Private;
    if anonymous && is_private && !flags.has(HUGETLB) && !edit.space.rules.distrust() {
        edit.ask_where_alike(range);
    } else {
        // What file it is, how long its pages are.
        edit.ask(range);
    }
}

/// The size of the pages that a call's flags ask for.
fn page_of(flags: MapFlags, base: PageSize) -> PageSize {
    if !flags.has(HUGETLB) {
        return base;
    }
    let log = (flags.0 >> HUGE_SHIFT & 0x3f) as u32;
    PageSize::new(1 << if log == 0 { DEFAULT_HUGE_SHIFT } else { log }).unwrap_or(base)
}

/// What a failed MAP_FIXED may have unmapped: with huge pages whole ones go before it fails.
///
/// A file may be one of hugetlbfs, which the flags do not tell: it counts as huge pages of the default size.
pub(super) fn cleared(addr: Addr, len: Bytes, flags: MapFlags, base: PageSize) -> AddrRange {
    let page = match flags.has(MapFlags::ANONYMOUS) || flags.has(HUGETLB) {
        true => page_of(flags, base),
        false => PageSize::new(1 << DEFAULT_HUGE_SHIFT).unwrap_or(base),
    };
    pages_of(page, addr, len)
}
