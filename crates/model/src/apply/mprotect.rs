//! mprotect(2) and pkey_mprotect(2).

use super::{Edit, pages_of};
use vmatlas_event::{Addr, Bytes, Prot, ProtArg};

pub(super) fn apply(edit: &mut Edit<'_>, addr: Addr, len: Bytes, prot: ProtArg) {
    let range = pages_of(edit.space.page, addr, len);
    if range.is_empty() {
        return;
    }
    edit.open_vmas(range);
    edit.space.vmas.update(range, |row| row.prot = Prot::from_arg(prot));
    // It may split, and it may merge with both neighbours and inside.
    edit.ask(range);
}
