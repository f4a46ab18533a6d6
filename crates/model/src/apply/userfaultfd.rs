//! ioctl(2) on a userfaultfd(2): registered memory is split from the rest; the range lies in the program's memory.

use super::Edit;
use vmatlas_event::AddrRange;

/// UFFDIO_REGISTER (include/uapi/linux/userfaultfd.h).
const REGISTER: u64 = 0xc020_aa00;

pub(super) fn apply(edit: &mut Edit<'_>, fd: i32, request: u64) {
    if request == REGISTER {
        edit.space.rules.add_userfaultfd(fd);
    }
    edit.ask(AddrRange::ALL);
}
