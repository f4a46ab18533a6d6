//! Processes: copies of a map, and new ones.

use crate::info::Info;

mod fork_cow;

/// In the order to learn from them; those in comments are still to come, each at its place.
pub(super) static ALL: &[&Info] = &[
    &fork_cow::INFO,
    // &fork_exec::INFO,
    // &linking::INFO,
    // &randomisation::INFO,
];
