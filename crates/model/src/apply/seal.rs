//! mseal(2): a flag that splits VMAs and stays for good.

use super::{Edit, pages_of};
use vmatlas_event::{Addr, Bytes};

pub(super) fn apply(edit: &mut Edit<'_>, addr: Addr, len: Bytes) {
    edit.ask(pages_of(edit.space.page, addr, len));
}
