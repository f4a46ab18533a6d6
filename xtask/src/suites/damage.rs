//! Recordings with flipped bits, and cut at each byte: many more than the tests try in every run.

use crate::metadata::cargo;
use anyhow::{Result, bail};
use std::process::Stdio;

pub(super) fn run(args: &[&str]) -> Result<()> {
    let flips: u32 = match args {
        [] => 100_000,
        ["--flips", flips] => flips.parse()?,
        _ => bail!("{}", super::USAGE),
    };
    let mut command = cargo();
    // Not the release profile: it would hide arithmetic that overflows.
    command.args(["test", "-p", "vmatlas-record", "--test", "damage", "--"]);
    command.args(["--nocapture", "flipped_bits", "cut"]).env("VMATLAS_FLIPS", flips.to_string());
    let status = command.stdin(Stdio::null()).status()?;
    if !status.success() {
        bail!("the tests ended with {status}");
    }
    Ok(())
}
