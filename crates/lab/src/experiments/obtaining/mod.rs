//! Obtaining memory: calls that give a process addresses.

use crate::info::Info;

mod brk;
mod malloc;
pub(super) mod mmap;
mod one_byte;

/// In the order to learn from them.
pub(super) static ALL: &[&Info] = &[&mmap::INFO, &one_byte::INFO, &brk::INFO, &malloc::INFO];
