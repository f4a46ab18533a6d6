//! Reads /proc: bytes in, values out ([`parse`]), the reading itself without disturbing the target ([`read`]), and what
//! was saved of a process that may be long gone: maps, smaps, copied folders, core files ([`saved`]).
//!
//! You get maps, page residency, status and the evidence that tells what a mapping is for. Every file of the target is
//! hostile input: names are bytes, lines have no length limit, numbers are checked. What this crate does not do: decide
//! what a mapping is for (that is `vmatlas-model`) or show anything.

#![forbid(unsafe_code)]

pub mod malloc;
pub mod parse;
pub mod read;
pub mod saved;

pub use read::again::MapsAgain;
pub use read::cgroup::{Cgroup, Cgroups, Members};
pub use read::error::{ErrorKind, ProcError};
pub use read::frames::{Frames, NoFrames};
pub use read::kernel::ProcKernel;
pub use read::memory::Memory;
pub use read::pages_again::PagesAgain;
pub use read::process::{Process, Thread};
pub use read::residency::Residency;
pub use read::root::{Candidate, ProcRoot};
pub use read::snapshot::{Maps, MapsReader};
pub use read::walk::{Budget, Method, WalkCost};
