//! Helpers for the tests of vmatlas; never part of the product.
//!
//! You get: gates that skip a test aloud where the machine cannot run it ([`need_root`], [`need`], [`left_off`]), a made-up /proc
//! ([`FakeProc`]), a second and simpler reader of maps to compare ours with ([`oracle`]), programs that end with the
//! test that started them ([`Tracee`]), cgroups that go with it ([`OwnCgroup`]), the places of the binaries and the fixtures ([`vmatlas_binary`], [`vmatlas_command`], [`program`],
//! [`fixtures`]), what work takes on a machine that is not quiet ([`blocks`]), and random programs of memory calls ([`truth`]). docs/TESTING.md says when to use which.

#![forbid(unsafe_code)]

mod blocks;
mod cgroup;
mod dice;
mod fake_proc;
mod gate;
mod places;
mod tracee;

pub mod oracle;
pub mod truth;

pub use blocks::{Blocks, blocks, timed};
pub use cgroup::OwnCgroup;
pub use dice::Dice;
pub use fake_proc::{FakeProc, FakeProcess, FakeThread};
pub use gate::{Capability, left_off, need, need_bpf, need_root, without_bpf};
pub use places::{fixtures, program, vmatlas_binary, vmatlas_command};
pub use tracee::{Tracee, wait_until};
