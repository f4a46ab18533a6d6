//! What a map is made of: areas that split, merge, move and go, and addresses where nothing is.

use crate::info::Info;

mod madvise;
mod map_count;
mod mprotect;
mod mremap;
mod munmap_middle;
mod null_pointer;
mod stack;
mod threads;

/// In the order to learn from them; those in comments are still to come, each at its place.
pub(super) static ALL: &[&Info] = &[
    &munmap_middle::INFO,
    &mprotect::INFO,
    &mremap::INFO,
    &madvise::INFO,
    &map_count::INFO,
    &null_pointer::INFO,
    &stack::INFO,
    &threads::INFO,
];
