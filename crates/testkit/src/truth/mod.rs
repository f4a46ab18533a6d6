//! Random programs of memory calls, for comparing the model with the kernel: made from a seed, written as text, played.
//!
//! A program is a flat list of [`Step`]s. [`program`] makes the one of an epoch from a seed; [`text`] prints and parses
//! it, one step per line, so that any subset of the lines is a program again; [`Stage`] plays it. docs/TESTING.md says
//! how `cargo xtask truth` uses all this.

mod count;
mod generate;
mod guess;
mod play;
mod random;
mod stage;
mod step;
pub mod text;

pub use count::Counts;
pub use generate::{Without, program};
pub use stage::{Stage, StageError};
pub use step::{Source, Step, StepKind};
