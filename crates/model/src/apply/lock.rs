//! mlock(2), mlock2(2), munlock(2), mlockall(2), munlockall(2): a flag that splits VMAs, no page comes or goes.
//!
//! mlockall(MCL_FUTURE) also gives the flag to what is mapped later, which then does not merge with what was there.

use super::{Edit, pages_of};
use vmatlas_event::{Addr, AddrRange, Bytes};

pub(super) fn apply(edit: &mut Edit<'_>, addr: Addr, len: Bytes) {
    edit.ask(pages_of(edit.space.page, addr, len));
}

pub(super) fn all(edit: &mut Edit<'_>) {
    edit.ask(AddrRange::ALL);
}
