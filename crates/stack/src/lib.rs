//! Call stacks: which code asked.
//!
//! The files of the program are hostile input: they are read, never mapped, and every length and depth is bounded.

#![forbid(unsafe_code)]

pub mod symbolize;
