//! Recordings with flipped bits, and cut at each byte: many more than the tests try in every run.

use crate::metadata::cargo;
use anyhow::{Result, bail};
use std::path::Path;
use std::process::Stdio;

pub(super) fn run(args: &[&str]) -> Result<()> {
    let flips: u32 = match args {
        [] => 100_000,
        ["--flips", flips] => flips.parse()?,
        _ => bail!("{}", super::USAGE),
    };
    // Most with the reader alone, optimized; one in a hundred by the program that the tests build, as people meet it. Not the
    // release profile: it would hide arithmetic that overflows.
    test(&["--profile", "checked", "-p", "vmatlas-record", "--test", "flips"], flips)?;
    test(&["-p", "vmatlas-cli", "--test", "flips"], flips)
}

/// Runs the tests that these words name.
fn test(words: &[&str], flips: u32) -> Result<()> {
    let mut command = cargo();
    command.arg("test").args(words).args(["--", "--nocapture"]);
    command.env("VMATLAS_FLIPS", flips.to_string());
    // In memory where there is a file system for that.
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        command.env("TMPDIR", memory);
    }
    let status = command.stdin(Stdio::null()).status()?;
    if !status.success() {
        bail!("the tests ended with {status}");
    }
    Ok(())
}
