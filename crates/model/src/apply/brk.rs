//! brk(2): the result is the new break, or the unchanged one; only whole pages show in the map.

use super::Edit;
use vmatlas_event::{Addr, AddrRange, Name, Prot, VmaRow};

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
        let heap = Some(Name::new(b"[heap]"));
        edit.map(VmaRow { name: heap, ..VmaRow::anonymous(grown, Prot::RW) });
        edit.ask_where_alike(grown);
    } else if let Some(shrunk) = AddrRange::new(new, old).filter(|r| !r.is_empty()) {
        edit.clear(shrunk);
    }
}
