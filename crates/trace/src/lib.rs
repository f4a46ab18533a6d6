//! Starts a program and watches its memory calls.
//!
//! You give a program, a [`Kernel`](vmatlas_event::Kernel) to ask and a [`Sink`](vmatlas_event::Sink); you get every
//! memory call of the program, its threads and its children as an event, in the order the stops were seen. What this
//! crate does not do: know what a call means for the map (that is `vmatlas-model`) or show anything.
//!
//! Only memory calls stop the program: a seccomp filter marks them. The program is ended when its tracer is, because
//! marked calls fail with ENOSYS without one.

#![forbid(unsafe_code)]

mod decode;
mod engine;
mod error;
mod filter;
mod launch;
mod task;

pub use decode::decode;
pub use engine::{End, Tracer};
pub use error::TraceError;
pub use filter::memory_calls;
pub use launch::Launch;
