//! mprotect(2) and pkey_mprotect(2).

use super::{Edit, pages_of};
use vmatlas_event::{Addr, AddrRange, Bytes, Prot, ProtArg};

/// Changes everything from the start of the VMA on, where that one grows down.
const GROWSDOWN: u64 = 0x0100_0000;

pub(super) fn apply(edit: &mut Edit<'_>, addr: Addr, len: Bytes, arg: ProtArg, has_key: bool) {
    let mut range = pages_of(edit.space.page, addr, len);
    if range.is_empty() {
        return;
    }
    if arg.0 & GROWSDOWN != 0
        && let Some(row) = edit.space.vma_at(range.start())
        && let Some(whole) = AddrRange::new(row.range.start(), range.end())
    {
        range = whole;
        // It may have grown since we looked.
        edit.guessed = true;
    }
    let prot = Prot::from_arg(arg);
    // Bits beyond these three, a key, execute-only (which takes a key where there are any) and READ_IMPLIES_EXEC make
    // flags differ that the map does not show.
    let is_plain = arg.0 & !7 == 0 && !has_key && prot != Prot::EXEC && !edit.space.rules.distrust();
    if is_plain && edit.space.vmas.meeting(range).all(|row| row.prot == prot) {
        // The kernel leaves a VMA alone whose flags stay the same (mm/mprotect.c:mprotect_fixup()).
        return;
    }
    edit.open_vmas(range);
    edit.space.vmas.update(range, |row| row.prot = prot);
    match is_plain {
        true => edit.ask_where_alike(range),
        false => edit.ask(range),
    }
}
