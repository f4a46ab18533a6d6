//! Reading /proc: which process, its map, its pages.

pub mod again;
pub mod backing;
pub mod cgroup;
pub mod cmdline;
pub mod deadline;
pub mod error;
pub mod frames;
pub mod kernel;
pub mod memory;
pub mod pages;
pub mod pages_again;
mod parallel;
pub mod process;
pub mod processes;
pub mod residency;
pub mod root;
pub mod share;
pub mod smaps;
pub mod snapshot;
pub mod walk;
pub mod whole;
