//! What is measured. A row has a name, a unit, what is asked of it, and two sides that do the same work.
//!
//! ```text
//! Row {
//!     name: "whole map, 60,000 VMAs".to_owned(),
//!     unit: "ms",
//!     asked: Asked::RatioAtMost(2.0),
//!     ours: Side::command("vmatlas show", move || { let mut c = Command::new(&vmatlas); c.arg(&pid); c }),
//!     peer: Side::command("pmap -x", move || { let mut c = Command::new("pmap"); c.args(["-x", &pid]); c }),
//! }
//! ```
//! A side that is no command is `Side::new(name, || Ok(number))`: any number, as long as both sides count in `unit`
//! and less is better.

use super::pairs::{Asked, Row, Side};
use anyhow::Result;
use std::process::Command;

/// All rows, in the order of the table; what they need (a program to look at, a release build) is made here.
pub(super) fn all() -> Result<Vec<Row>> {
    Ok(Vec::new())
}

/// The same work on both sides: how far its ratio is from 1 is what this machine adds to every other ratio.
pub(super) fn control() -> Row {
    let work = || Side::command("true", || Command::new("true"));
    Row {
        name: "control".to_owned(),
        unit: "ms",
        asked: Asked::RatioAtMost(1.15),
        ours: work(),
        peer: work(),
    }
}
