//! io_setup(2) and io_destroy(2): a ring named `/[aio] (deleted)` comes and goes without mmap or munmap.

use super::Edit;
use vmatlas_event::{Addr, AddrRange};

/// Where the ring is, the call writes to the program's memory.
pub(super) fn setup(edit: &mut Edit<'_>) {
    edit.ask(AddrRange::ALL);
}

/// The context is the ring's address, also after mremap(2) moved it.
pub(super) fn destroy(edit: &mut Edit<'_>, ctx: Addr) {
    let ring = edit.space.vma_at(ctx).map(|row| row.range);
    edit.ask(ring.unwrap_or(AddrRange::ALL));
}
