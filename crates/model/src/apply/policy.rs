//! mbind(2) and set_mempolicy_home_node(2): VMAs split by memory policy, which neither maps nor smaps shows.

use super::{Edit, pages_of};
use vmatlas_event::{Addr, Bytes};

pub(super) fn apply(edit: &mut Edit<'_>, addr: Addr, len: Bytes) {
    edit.ask(pages_of(edit.space.page, addr, len));
}
