//! mmap(2).

use super::{Edit, pages_of};
use vmatlas_event::{Addr, Bytes, MapFlags, MapType, Prot, ProtArg, Sharing, VmaRow};

/// Bits 26 to 31 of the flags hold the logarithm of the huge page size; 0 means the default, 2 MiB on x86_64.
const HUGETLB: u64 = 0x4_0000;
const HUGE_SHIFT: u32 = 26;

pub(super) fn apply(edit: &mut Edit<'_>, at: Addr, len: Bytes, prot: ProtArg, flags: MapFlags, offset: u64) {
    let page = match flags.has(HUGETLB) {
        true => {
            let log = (flags.0 >> HUGE_SHIFT & 0x3f) as u32;
            vmatlas_event::PageSize::new(1 << if log == 0 { 21 } else { log }).unwrap_or(edit.space.page)
        }
        false => edit.space.page,
    };
    let range = pages_of(page, at, len);
    let anonymous = flags.has(MapFlags::ANONYMOUS);
    // Which file it is, the descriptor does not tell: the kernel's answer does.
    edit.map(VmaRow {
        sharing: if flags.map_type() == MapType::Shared { Sharing::Shared } else { Sharing::Private },
        offset: if anonymous { 0 } else { offset },
        ..VmaRow::anonymous(range, Prot::from_arg(prot))
    });
    // Whether it merged with a neighbour depends on which pages were touched and on the open file: ask.
    edit.ask(range);
}
