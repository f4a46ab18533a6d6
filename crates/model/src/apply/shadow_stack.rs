//! map_shadow_stack(2).

use super::{Edit, pages_of};
use vmatlas_event::{Addr, Bytes};

pub(super) fn apply(edit: &mut Edit<'_>, at: Addr, len: Bytes) {
    edit.ask(pages_of(edit.space.page, at, len));
}
