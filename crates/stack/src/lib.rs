//! Call stacks: which code asked.
//!
//! You give: a thread after a call, which stands still or left a copy of its stack ([`Stopped`](vmatlas_event::Stopped)), and
//! the rows of its map at that moment ([`Rows`]).
//! You get: the number of its stack from a [`Walker`], which keeps each stack, frame and module once. Files and memory
//! of the target are read in bounded pieces, nothing of it is changed, and nothing is guessed: where no rule tells
//! the caller, the stack ends and says so ([`StackEnd`](vmatlas_event::StackEnd)).
//!
//! The files of the program are hostile input: they are read, never mapped, and every length and depth is bounded.

#![forbid(unsafe_code)]

mod arch;
mod chain;
mod elf;
mod image;
mod intern;
mod memory;
mod modules;
mod open;
mod rule;
pub mod symbolize;
mod tables;
mod unwind;
mod walker;

pub use walker::Walker;

use vmatlas_event::{Addr, VmaRow};

/// The map of a thread that stands still, as the live model has it.
pub trait Rows {
    /// The VMA that holds an address.
    fn row_at(&self, addr: Addr) -> Option<&VmaRow>;

    /// The VMA above an address where nothing is known to be mapped, if it grows down and may have grown to it: no call
    /// tells of a stack that grows.
    fn grows_to(&self, _addr: Addr) -> Option<&VmaRow> {
        None
    }
}
