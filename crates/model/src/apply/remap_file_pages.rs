//! remap_file_pages(2): emulated since Linux 4.0, a new mapping of the same file over a part of the old one.

use super::{Edit, pages_of};
use vmatlas_event::{Addr, Bytes};

pub(super) fn apply(edit: &mut Edit<'_>, addr: Addr, len: Bytes) {
    // Which part it replaced and what it merged with, the answer tells.
    edit.ask(pages_of(edit.space.page, addr, len));
}
