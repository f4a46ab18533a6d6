//! Starts a program, or joins a running one, and watches its memory calls.
//!
//! You give a program, a [`Kernel`](vmatlas_event::Kernel) to ask and a [`Sink`](vmatlas_event::Sink); you get every
//! memory call of the program, its threads and its children as an event, in the order the stops were seen. What this
//! crate does not do: know what a call means for the map (that is `vmatlas-model`) or show anything.
//!
//! Only memory calls stop a program that we start: a seccomp filter marks them. It is ended when its tracer is, because
//! marked calls fail with ENOSYS without one. A running program that we join is stopped at every system call instead,
//! and let go again.
//!
//! With [`Bpf`] nothing is stopped: programs in the kernel tell of the calls.

#![forbid(unsafe_code)]

mod attached;
mod bpf;
mod decode;
mod end;
mod engine;
mod error;
mod faults;
mod filter;
mod launch;
mod launched;
mod task;

pub use attached::{Attach, Attached};
pub use bpf::{Bpf, BpfAttached, BpfGroup, BpfLaunched, BpfOptions, Counts, Members, Shortage};
pub use decode::decode;
pub use end::End;
pub use error::TraceError;
pub use faults::FaultWatch;
pub use filter::memory_calls;
pub use launch::Launch;
pub use launched::Tracer;
