//! When memory comes: touching, and what brings pages in advance.

use crate::info::Info;

mod demand_paging;
mod mlock_populate;
mod zero_page;

/// In the order to learn from them; those in comments are still to come, each at its place.
pub(super) static ALL: &[&Info] = &[&demand_paging::INFO, &zero_page::INFO, &mlock_populate::INFO];
