//! shmat(2) and shmdt(2): the segment's size is not among the arguments.

use super::Edit;
use vmatlas_event::{Addr, AddrRange, Bytes};

/// SHM_REMAP: over whatever is there.
pub(super) const REMAP: i32 = 0x4000;

pub(super) fn attach(edit: &mut Edit<'_>, at: Addr) {
    if let Some(first_page) = AddrRange::from_len(at, Bytes(edit.space.page.bytes())) {
        edit.ask(first_page);
    }
}

/// Only pieces of that very segment go (kernel `ipc/shm.c:ksys_shmdt()`), so all rows of its file are read again.
pub(super) fn detach(edit: &mut Edit<'_>, addr: Addr) {
    let Some(row) = edit.space.vma_at(addr).cloned() else {
        edit.ask(AddrRange::ALL);
        return;
    };
    let same =
        |r: &&vmatlas_event::VmaRow| r.dev == row.dev && r.inode == row.inode && r.range.start() >= addr;
    let hull = edit.space.vmas.iter().filter(same).fold(row.range, |hull, r| hull.hull(r.range));
    edit.ask(hull);
}
