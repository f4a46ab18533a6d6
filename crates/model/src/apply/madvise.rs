//! madvise(2): the advice that sets a flag splits VMAs; the rest acts on pages only.

use super::{Edit, pages_of};
use vmatlas_event::{Addr, Advice, Bytes};

pub(super) fn apply(edit: &mut Edit<'_>, addr: Addr, len: Bytes, advice: Advice) {
    if advice.changes_vmas() {
        edit.ask(pages_of(edit.space.page, addr, len));
    }
}
