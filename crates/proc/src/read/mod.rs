//! Reading /proc: which process, its map, its pages.

pub mod backing;
pub mod error;
pub mod frames;
pub mod kernel;
pub mod process;
pub mod residency;
pub mod root;
pub mod smaps;
pub mod snapshot;
pub mod walk;
