//! brk(2): the result is the new break, or the unchanged one; only whole pages show in the map.

use super::Edit;
use vmatlas_event::{Addr, AddrRange, Name, Prot, Sharing, VmaRow};

pub(super) fn apply(edit: &mut Edit<'_>, asked: Addr, now: Addr) {
    let page = edit.space.page;
    let Some(before) = edit.space.brk.replace(now) else {
        // The first break we see: where it was before, only a call that does not move it tells.
        if asked.0 != 0 {
            edit.ask(AddrRange::ALL);
        }
        return;
    };
    let (Some(old), Some(new)) = (page.ceil(before), page.ceil(now)) else { return };
    if let Some(grown) = AddrRange::new(old, new).filter(|r| !r.is_empty()) {
        let last = Addr(grown.start().0.saturating_sub(1));
        let is_heap =
            |row: &&VmaRow| !row.has_file() && row.sharing == Sharing::Private && row.name.is_some();
        let heap = Some(Name::new(b"[heap]"));
        let is_usual = edit.space.vma_at(last).filter(is_heap).is_some_and(|row| row.prot == Prot::RW);
        edit.map(VmaRow { name: heap, ..VmaRow::anonymous(grown, Prot::RW) });
        if is_usual {
            edit.ask_where_alike(grown);
        } else {
            // Some kernels let the heap be executed (user-mode Linux: VM_DATA_DEFAULT_FLAGS); whether this one does, the
            // first part of it tells.
            edit.guessed = true;
            edit.ask(grown);
        }
    } else if let Some(shrunk) = AddrRange::new(new, old).filter(|r| !r.is_empty()) {
        edit.clear(shrunk);
    }
}
