//! Reading /proc: which process, its map, its pages.

pub mod deadline;
pub mod error;
pub mod kernel;
pub mod memory;
pub mod process;
pub mod residency;
pub mod root;
pub mod snapshot;
pub mod walk;
pub mod whole;
