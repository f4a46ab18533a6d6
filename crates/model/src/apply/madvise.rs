//! madvise(2): the advice that sets a flag splits VMAs; the rest acts on pages only.

use super::{Edit, pages_of};
use vmatlas_event::{Addr, AddrRange, Advice, Bytes};

pub(super) fn apply(edit: &mut Edit<'_>, addr: Addr, len: Bytes, advice: Advice) {
    if advice.changes_vmas() {
        edit.ask(pages_of(edit.space.page, addr, len));
    }
}

/// process_madvise(2): on itself it splits as madvise does; the ranges lie in the program's memory.
pub(super) fn of_process(edit: &mut Edit<'_>, advice: Advice) {
    if advice.changes_vmas() {
        edit.ask(AddrRange::ALL);
    }
}
