//! prctl(2), arch_prctl(2) and personality(2), where they are about memory.

use super::{Edit, pages_of};
use vmatlas_event::{Addr, AddrRange, Bytes, PageSize};

/// Names anonymous VMAs, and splits them by name.
const SET_VMA: i32 = 0x5356_4d41;
/// Moves what the kernel takes for the heap, the stack, the code: labels, and the break.
const SET_MM: i32 = 35;
/// personality(2): whatever may be read may be executed.
const READ_IMPLIES_EXEC: u64 = 0x40_0000;

pub(super) fn apply(edit: &mut Edit<'_>, option: i32, args: [u64; 4]) {
    if option == SET_MM {
        edit.space.brk = None;
    }
    // PR_SET_MEMORY_MERGE, PR_SET_MM and whatever else comes here touch everything.
    edit.ask(range(option, args, edit.space.page).unwrap_or(AddrRange::ALL));
}

/// The range that the arguments name.
pub(super) fn range(option: i32, [_, addr, len, _]: [u64; 4], page: PageSize) -> Option<AddrRange> {
    (option == SET_VMA).then(|| pages_of(page, Addr(addr), Bytes(len)))
}

/// Maps a vdso or a shadow stack somewhere.
pub(super) fn arch(edit: &mut Edit<'_>) {
    edit.ask(AddrRange::ALL);
}

/// It is the task's own, but a task whose memory is shared acts on the same map: once seen, it may hold for any call.
pub(super) fn personality(edit: &mut Edit<'_>, persona: u64) {
    if persona & READ_IMPLIES_EXEC != 0 {
        edit.space.rules.set_distrust();
    }
}
