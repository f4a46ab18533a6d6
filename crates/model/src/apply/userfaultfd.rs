//! ioctl(2) on a userfaultfd(2): registered memory is split from the rest; the range lies in the program's memory.

use super::Edit;
use vmatlas_event::AddrRange;

pub(super) fn apply(edit: &mut Edit<'_>) {
    edit.ask(AddrRange::ALL);
}
