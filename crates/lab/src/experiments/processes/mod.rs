//! Processes: copies of a map, and new ones.

use crate::info::Info;

mod fork_cow;
mod fork_exec;
mod linking;
mod randomisation;

/// In the order to learn from them.
pub(super) static ALL: &[&Info] = &[&fork_cow::INFO, &fork_exec::INFO, &linking::INFO, &randomisation::INFO];
