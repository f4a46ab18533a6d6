//! io_setup(2) and io_destroy(2): a ring named `/[aio] (deleted)` comes and goes without mmap or munmap.

use super::Edit;
use vmatlas_event::AddrRange;

/// Where the ring is, the call writes to the program's memory.
pub(super) fn setup(edit: &mut Edit<'_>) {
    edit.ask(AddrRange::ALL);
}

/// The context is the ring's address, also after mremap(2) moved it; how long the ring is, no row says once it was cut.
pub(super) fn destroy(edit: &mut Edit<'_>) {
    edit.ask(AddrRange::ALL);
}
