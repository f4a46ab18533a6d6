//! The machine: huge pages, promises of memory, swap.

use crate::info::Info;

/// In the order to learn from them; those in comments are still to come, each at its place.
pub(super) static ALL: &[&Info] = &[
    // &huge_pages::INFO,
    // &explicit_huge_pages::INFO,
    // &overcommit::INFO,
    // &swap::INFO,
];
