//! `cargo xtask truth`: the model against the kernel, call by call, over random programs.
//!
//! `vmatlas run --check` watches `vmatlas-truth-subject` and compares after each call, or with `--backend bpf` at random
//! moments. A difference is narrowed down to the few steps that show it. docs/TESTING.md says how to read what is printed.

mod hunt;
mod options;
mod programs;
mod running;
mod shrink;
mod summary;
mod table;

use anyhow::{Result, bail};
use options::Options;
use programs::Programs;
use std::time::Instant;

/// Compares, prints a table, and fails when there was a difference.
pub(crate) fn run(args: &[&str]) -> Result<()> {
    if args.iter().any(|arg| matches!(*arg, "--help" | "-h")) {
        println!("{}", options::USAGE);
        return Ok(());
    }
    compare(&Options::parse(args)?)
}

/// The run that is short enough for every day: about a minute. With root the BPF backend has its share.
pub(crate) fn short(is_root: bool) -> Result<()> {
    run(&["--calls", "250000", "--seed", "1", "--drift"])?;
    run(&["--calls", "100000", "--seed", "2", "--unchecked"])?;
    run(&["--calls", "20000", "--seed", "1", "--threads", "4"])?;
    if is_root {
        run(&["--backend", "bpf", "--calls", "60000", "--seed", "1", "--drift"])?;
        run(&["--backend", "bpf", "--calls", "40000", "--seed", "1", "--threads", "4", "--drift"])?;
    }
    Ok(())
}

fn compare(options: &Options) -> Result<()> {
    let programs = Programs::build(options)?;
    if !programs.checks && !options.is_unchecked {
        eprintln!("WARNING: {} has no `run --check`: nothing is compared", programs.vmatlas.display());
    }
    let start = Instant::now();
    let outcome = running::run_all(&programs, options)?;
    println!("{}", table::table(&outcome.sums, start.elapsed()));
    if let Some(failure) = &outcome.failure {
        println!("{}", hunt::report(&programs, options, failure)?);
        bail!("seed {}, {} threads: {}", options.seed, options.threads, hunt::said(&failure.verdict));
    }
    let compared = outcome.sums.compared.unwrap_or(0);
    if options.is_bpf || options.is_unchecked {
        return match outcome.sums.total() {
            calls if calls >= options.calls && (compared > 0 || options.is_unchecked) => Ok(()),
            calls => bail!("{calls} of {} calls were seen, and {compared} comparisons made", options.calls),
        };
    }
    match compared {
        enough if enough >= options.calls => Ok(()),
        compared => bail!("only {compared} of {} calls were compared", options.calls),
    }
}
