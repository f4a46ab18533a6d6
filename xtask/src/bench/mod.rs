//! Benchmarks: ours and a peer's do the same work in turns, and the ratio of each pair is what counts.
//!
//! Ratios travel from machine to machine; absolute times do not. To add a row, see `rows.rs`.

mod blocks;
mod bpf;
mod costs;
mod faults;
mod machine;
mod pairs;
mod ps;
mod reader;
mod recording;
mod rows;
mod sizes;
mod stall;
mod subject;
mod table;
mod watchers;

use crate::root;
use anyhow::{Context, Result, bail};
use machine::Machine;
use pairs::measure;
use std::fs;

const USAGE: &str = "usage: cargo xtask bench [--rounds N] [--write] [NAME...]";

/// What was typed.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    rounds: usize,
    write: bool,
    /// Parts of the names of rows; none means all.
    names: Vec<String>,
}

/// Measures the rows that are named, or all, and fails when one does not hold what is asked of it.
pub(crate) fn run(args: &[&str]) -> Result<()> {
    if let ["stall", rest @ ..] = args {
        return stall::run(rest);
    }
    if let ["blocks", rest @ ..] = args {
        return blocks::run(rest);
    }
    if let ["costs", rest @ ..] = args {
        return costs::run(rest);
    }
    let options = options(args, USAGE)?;
    let machine = Machine::here();
    println!("{}", machine.line());
    for warning in machine.warnings() {
        eprintln!("WARNING: {warning}");
    }
    if cfg!(debug_assertions) {
        eprintln!("WARNING: xtask is a debug build: rows that measure in this process mean nothing;");
        eprintln!("         `cargo run --release --package xtask -- bench` makes them mean something");
    }
    let control = measure(&mut rows::control(), options.rounds)?;
    println!("{}", table::control_line(&control));
    if !control.holds() {
        eprintln!("WARNING: the same work twice did not take the same time: this machine is too restless");
    }
    let mut rows = rows::all()?;
    rows.retain(|row| {
        options.names.is_empty() || options.names.iter().any(|n| row.name.contains(n.as_str()))
    });
    if rows.is_empty() {
        if options.names.is_empty() {
            println!("no rows yet: xtask/src/bench/rows.rs is the place for them");
            return Ok(());
        }
        bail!("no row of that name");
    }
    let mut measured = Vec::new();
    for row in &mut rows {
        measured.push(measure(row, options.rounds).with_context(|| row.name.clone())?);
        eprintln!("measured {}", row.name);
    }
    let text =
        format!("{}\n{}\n\n{}", machine.line(), table::control_line(&control), table::markdown(&measured));
    println!("\n{text}");
    if options.write && options.names.is_empty() {
        write_between(&table::ROWS, &text)?;
    } else if options.write {
        write_rows(&machine.line(), &measured)?;
    }
    let missed: Vec<&str> = measured.iter().filter(|m| !m.holds()).map(|m| m.name.as_str()).collect();
    if !missed.is_empty() {
        bail!("not as asked: {}", missed.join(", "));
    }
    Ok(())
}

/// What was typed, for a command whose usage this is.
fn options(args: &[&str], usage: &'static str) -> Result<Options> {
    const ROUNDS: usize = 9;
    let mut options = Options { rounds: ROUNDS, write: false, names: Vec::new() };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match *arg {
            "--write" => options.write = true,
            "--rounds" => {
                options.rounds =
                    args.next().and_then(|n| n.parse().ok()).filter(|n| *n > 0).context(usage)?;
            }
            name if !name.starts_with('-') => options.names.push(name.to_owned()),
            _ => bail!(usage),
        }
    }
    Ok(options)
}

/// Puts rows into the table of docs/BENCHMARKS.md, in place of those that have their names.
fn write_rows(machine: &str, rows: &[pairs::Measured]) -> Result<()> {
    let old = fs::read_to_string(root().join("docs/BENCHMARKS.md")).context("docs/BENCHMARKS.md")?;
    let table = table::with_rows(&table::ROWS, &old, machine, rows)
        .context("docs/BENCHMARKS.md has the numbers of another machine: measure all rows")?;
    write_between(&table::ROWS, &table)
}

/// Puts a table into docs/BENCHMARKS.md, between its two marks.
fn write_between(marks: &table::Marks, table: &str) -> Result<()> {
    let path = root().join("docs/BENCHMARKS.md");
    let old = match fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        text => Some(text.with_context(|| path.display().to_string())?),
    };
    let new = table::into_document(marks, old.as_deref(), table)
        .context("docs/BENCHMARKS.md has not both marks")?;
    fs::write(&path, new).with_context(|| path.display().to_string())?;
    println!("wrote docs/BENCHMARKS.md");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that what is typed is understood, and that nonsense is refused.
    #[test]
    fn options_are_understood() {
        let understood = options(&["--rounds", "3", "maps"], USAGE).unwrap();
        assert_eq!(understood, Options { rounds: 3, write: false, names: vec!["maps".to_owned()] });
        assert!(options(&["--write"], USAGE).unwrap().write);
        for bad in [&["--rounds"][..], &["--rounds", "0"], &["--what"]] {
            assert!(options(bad, USAGE).is_err(), "{bad:?}");
        }
    }
}
