//! The chores of this repository, as `cargo xtask NAME`.

#![forbid(unsafe_code)]

mod bench;
mod bpf;
mod ci;
mod layers;
mod licences;
mod links;
mod metadata;
mod source;
mod suites;
mod truth;

use anyhow::{Result, bail};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask ci [--fast]     every check and test; --fast leaves out the docs and the run as an ordinary user
       cargo xtask layers          checks which crate uses which, and where unsafe is
       cargo xtask licences        checks the licences of all dependencies
       cargo xtask bpf [--check]   builds the BPF object with clang, or compares it with the one that is kept
       cargo xtask links           checks the relative links of all Markdown files
       cargo xtask suites stress-ng|selftests|storms|kills|replays|uml|lab|pages|vma|stacks|parquet|damage|fuzz
                                   longer runs: programs of others, readers of others, the fuzzer; alone it says more
       cargo xtask bench [--rounds N] [--write] [NAME...]
                                   measures against the peers; --write updates docs/BENCHMARKS.md
       cargo xtask bench stall [--gib N,...] [--rounds N] [--realtime] [--write]
                                   what readers make a busy target wait
       cargo xtask bench costs [--rounds N] [--write] [NAME...]
                                   what watching memory calls costs, watcher by watcher
       cargo xtask bench blocks [--rounds N] [NAME...]
                                   what a watched program itself feels of each call and each page fault
       cargo xtask truth --calls N --seed S [--threads T] [--jobs J] [--without STEP,...] [--drift]
                   [--backend ptrace|bpf]
                                   compares the model with the kernel after each of N random calls";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[&str]) -> Result<()> {
    match args {
        ["ci"] => ci::run(ci::Extent::Full),
        ["ci", "--fast"] => ci::run(ci::Extent::Fast),
        ["layers"] => layers::check(),
        ["licences"] => licences::check(),
        ["bpf"] => bpf::run(false),
        ["bpf", "--check"] => bpf::run(true),
        ["links"] => links::check(),
        ["bench", rest @ ..] => bench::run(rest),
        ["suites", rest @ ..] => suites::run(rest),
        ["truth", rest @ ..] => truth::run(rest),
        ["--help" | "-h" | "help"] => {
            println!("{USAGE}");
            Ok(())
        }
        _ => bail!("no such chore\n{USAGE}"),
    }
}

/// The top of the tree.
fn root() -> PathBuf {
    // Cargo sets the variable when it runs us; the tree may have moved since we were built.
    let here = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let here = PathBuf::from(here);
    here.parent().map_or_else(|| here.clone(), Path::to_owned)
}

/// Fails with every fault on a line of its own, the heading first.
fn fail_on(faults: &[String], heading: &str) -> Result<()> {
    if faults.is_empty() {
        return Ok(());
    }
    bail!("{heading}\n  {}", faults.join("\n  "))
}
