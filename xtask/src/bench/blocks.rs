//! What a watched program itself feels of being watched: the CPU time of its own thread, in blocks that count although the
//! machine has other work too (crates/testkit/src/blocks.rs), with and without a watcher in turn.

use super::machine::Machine;
use super::pairs::median;
use super::rows::number_of;
use super::subject::Programs;
use anyhow::{Context, Result};
use std::process::Command;

const USAGE: &str = "usage: cargo xtask bench blocks [--rounds N] [NAME...]";
/// So many blocks have to count for each number.
const BLOCKS: &str = "240";

/// One line of the table: the work, how it is watched, and how much that may add.
type Line = (&'static str, &'static str, &'static str, Option<f64>);

const LINES: &[Line] = &[
    ("memory call, BPF", "block-pairs", "--backend bpf", Some(0.9)),
    ("memory call, BPF, frame pointers", "block-pairs", "--backend bpf --stacks=fp", Some(1.8)),
    ("memory call, BPF, copy of the stack", "block-pairs", "--backend bpf --stacks", None),
    ("page fault, BPF", "block-touches", "--backend bpf --faults", Some(0.3)),
    ("page fault, BPF, frame pointers", "block-touches", "--backend bpf --faults --stacks=fp", Some(1.0)),
    ("page fault, BPF, copy of the stack", "block-touches", "--backend bpf --faults --stacks", Some(1.0)),
    ("page fault, ptrace", "block-touches", "--faults", Some(0.8)),
    ("system call that is none of memory, BPF", "block-calls", "--backend bpf", None),
    ("the same while faults are watched", "block-calls", "--backend bpf --faults", None),
];

/// Measures what each way to watch adds to a touch or a call; the first number is the median of all rounds.
pub(super) fn run(args: &[&str]) -> Result<()> {
    let options = super::options(args, USAGE)?;
    let programs = Programs::build()?;
    println!("{}\n", Machine::here().line());
    println!(
        "| added to each, in us | asked | measured | least and most of {} rounds | alone |",
        options.rounds
    );
    println!("|---|---|---|---|---|");
    for (name, work, watched, asked) in LINES {
        if !options.names.is_empty() && !options.names.iter().any(|part| name.contains(part.as_str())) {
            continue;
        }
        let mut alone = Vec::new();
        let mut added = Vec::new();
        for _ in 0..options.rounds {
            let bare = number_of(Command::new(&programs.subject).args([work, BLOCKS]))?;
            let mut command = Command::new(&programs.vmatlas);
            command.arg("run").args(watched.split(' ')).args(["-c", "--log", "/dev/null", "--"]);
            let with = number_of(command.arg(&programs.subject).args([work, BLOCKS]))?;
            alone.push(bare / 1e3);
            added.push((with - bare) / 1e3);
        }
        added.sort_by(f64::total_cmp);
        let (least, most) = added.first().zip(added.last()).context("no rounds")?;
        let (middle, alone) = median(&added).zip(median(&alone)).context("no rounds")?;
        let asked = asked.map(|asked| asked.to_string()).unwrap_or_default();
        println!("| {name} | {asked} | {middle:.3} | {least:.3} to {most:.3} | {alone:.2} |");
    }
    Ok(())
}
