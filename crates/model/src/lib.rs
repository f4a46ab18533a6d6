//! The address-space model: what each call does to the map, and what each part of the map is for.
//!
//! You give it events (`vmatlas-event`) and rows the kernel reported; you get changes and verdicts. No I/O, no clock:
//! everything is an argument.

#![forbid(unsafe_code)]

pub mod kind;
