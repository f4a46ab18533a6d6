//! shmat(2) and shmdt(2): the segment's size is not among the arguments.

use super::Edit;
use vmatlas_event::{Addr, AddrRange, VmaRow};

/// SHM_REMAP: over whatever is there.
pub(super) const REMAP: i32 = 0x4000;

/// Where it was put, the result says; how much, nothing does, and asking about its first page tells only as much as another
/// thread has not cut meanwhile.
pub(super) fn attach(edit: &mut Edit<'_>) {
    edit.ask(AddrRange::ALL);
}

/// Whatever of the segment lies where this attach had put it goes, also when something else is at its start by now
/// (kernel `ipc/shm.c:ksys_shmdt()`). What may be of it is read again.
pub(super) fn detach(edit: &mut Edit<'_>, addr: Addr) {
    let in_place = |row: &&VmaRow| {
        row.has_file() && row.range.start().0.checked_sub(addr.0).is_some_and(|ahead| ahead == row.offset)
    };
    let pieces = edit.space.vmas.iter().filter(in_place).map(|row| row.range);
    let hull = pieces.reduce(AddrRange::hull).unwrap_or(AddrRange::ALL);
    edit.ask(hull);
}
