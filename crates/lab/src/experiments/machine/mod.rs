//! The machine: huge pages, promises of memory, swap.

use crate::info::Info;

mod calls;
mod explicit_huge_pages;
mod huge_pages;
mod overcommit;
mod swap;

/// In the order to learn from them.
pub(super) static ALL: &[&Info] =
    &[&huge_pages::INFO, &explicit_huge_pages::INFO, &overcommit::INFO, &swap::INFO];
