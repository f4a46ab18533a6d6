//! The readers of recordings and of programs under cargo-fuzz, for a bounded time, beginning with the corpus in fixtures/fuzz.

use super::folder;
use crate::root;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

const TARGETS: [&str; 6] = ["tail", "segment", "json", "replay", "symbols", "packed"];

pub(super) fn run(args: &[&str]) -> Result<()> {
    let (targets, seconds) = match args {
        [targets @ .., "--seconds", seconds] => (targets, seconds.parse::<u32>()?),
        targets => (targets, 60),
    };
    if let Some(unknown) = targets.iter().find(|target| !TARGETS.contains(target)) {
        bail!("no target {unknown}: {}", TARGETS.join(", "));
    }
    let targets = if targets.is_empty() { &TARGETS[..] } else { targets };
    let folder = folder()?.join("fuzz");
    // Each input is a folder of files: in memory where there is a file system for that.
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() { memory } else { folder.as_path() };
    let place = place.join(format!("vmatlas-fuzz-{}", std::process::id()));
    fs::create_dir_all(&place).with_context(|| place.display().to_string())?;
    let fuzzed = targets.iter().try_for_each(|target| one(target, seconds, &folder, &place));
    fs::remove_dir_all(&place).with_context(|| place.display().to_string())?;
    fuzzed
}

fn one(target: &str, seconds: u32, folder: &Path, place: &Path) -> Result<()> {
    // New inputs go to the first folder; the corpus of the tree stays as it is.
    let (new, corpus) = (folder.join(target), root().join("fixtures/fuzz").join(target));
    fs::create_dir_all(&new).with_context(|| new.display().to_string())?;
    println!("fuzzing {target} for {seconds} s");
    let mut command = Command::new("cargo");
    // A sanitizer would watch what is unsafe in the decoders of others (ours is none), and takes long to build and to run:
    // `cargo +nightly fuzz run` has it. Panics, overflows, hangs and memory are found without.
    command.args(["+nightly", "fuzz", "run", "--dev", "--sanitizer", "none", target]);
    command.arg(&new).arg(&corpus).arg("--");
    // Some seconds for one input would be a hang; 2 GiB are several times what the reader's limits allow.
    command.args(["-timeout=10", "-rss_limit_mb=2048", "-max_len=70000", "-print_final_stats=1"]);
    command.arg(format!("-max_total_time={seconds}"));
    // A toolchain that was named for us is not for it.
    command.env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO").env("TMPDIR", place);
    let status = command.current_dir(root().join("fuzz")).stdin(Stdio::null()).status()?;
    if !status.success() {
        bail!(
            "{target}: cargo fuzz ended with {status} (it needs `cargo install cargo-fuzz` and a nightly toolchain)"
        );
    }
    Ok(())
}
