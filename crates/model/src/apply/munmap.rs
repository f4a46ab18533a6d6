//! munmap(2): exact, nothing to ask. What stays of a cut VMA is never merged by it.

use super::{Edit, pages_of};
use vmatlas_event::{Addr, Bytes};

pub(super) fn apply(edit: &mut Edit<'_>, addr: Addr, len: Bytes) {
    edit.clear(pages_of(edit.space.page, addr, len));
}
