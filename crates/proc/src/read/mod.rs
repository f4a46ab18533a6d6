//! Reading /proc: which process, its map, its pages.

pub mod error;
pub mod frames;
pub mod kernel;
pub mod pages;
pub mod process;
pub mod residency;
pub mod root;
pub mod snapshot;
pub mod walk;
