//! What watching memory calls costs, watcher by watcher: the time that is added to each call, and what is kept of each.

use super::Options;
use super::machine::Machine;
use super::pairs::median;
use super::subject::Programs;
use super::table;
use super::watchers::{self, NONE, Watcher};
use anyhow::{Context, Result, bail};

const USAGE: &str = "usage: cargo xtask bench costs [--rounds N] [--write] [NAME...]";

/// What was measured of one watcher.
struct Row {
    watcher: Watcher,
    /// Bytes that it keeps of next to nothing.
    fixed: u64,
    added_us: Vec<f64>,
    bytes: Vec<f64>,
    lost: u64,
}

/// Measures all watchers in turns.
pub(super) fn run(args: &[&str]) -> Result<()> {
    let options = super::options(args, USAGE)?;
    let machine = Machine::here();
    machine.warnings().iter().for_each(|warning| eprintln!("WARNING: {warning}"));
    let programs = Programs::build()?;
    let mut rows = Vec::new();
    let mut skipped = Vec::new();
    for watcher in watchers::all(&programs) {
        let is_wanted =
            options.names.is_empty() || options.names.iter().any(|name| watcher.name.contains(name.as_str()));
        match is_wanted.then(|| watcher.missing(&programs)) {
            None => {}
            Some(None) => {
                let fixed = watcher.watch(&programs, NONE)?.bytes;
                rows.push(Row { watcher, fixed, added_us: Vec::new(), bytes: Vec::new(), lost: 0 });
            }
            Some(Some(why)) => {
                eprintln!("SKIPPED: {}: {why}", watcher.name);
                skipped.push(watcher.name);
            }
        }
    }
    for round in 1..=options.rounds {
        for row in &mut rows {
            row.measure(&programs).with_context(|| row.watcher.name)?;
        }
        eprintln!("round {round} of {}", options.rounds);
    }
    let text = markdown(&machine, &options, &rows, &skipped);
    println!("{text}");
    if options.write && !options.names.is_empty() {
        bail!("some rows alone are not written: measure all");
    }
    if options.write {
        super::write_between(&table::COSTS, &text)?;
    }
    Ok(())
}

impl Row {
    fn measure(&mut self, programs: &Programs) -> Result<()> {
        let alone = watchers::unwatched(programs)?;
        let cost = self.watcher.watch(programs, self.watcher.pairs)?;
        let calls = 2 * (self.watcher.pairs - NONE);
        self.added_us.push((cost.call_ns - alone) / 1e3);
        self.bytes.push(cost.bytes.saturating_sub(self.fixed) as f64 / calls as f64);
        self.lost += self.watcher.lost(programs)?.unwrap_or(0);
        Ok(())
    }
}

fn markdown(machine: &Machine, options: &Options, rows: &[Row], skipped: &[&str]) -> String {
    let mut text = format!(
        "{}\nA loop of mmap (64 KiB) and munmap; medians of {} rounds, watchers in turns.\n\n\
         | watcher | stacks | added to each call (least-most) | kept of each call |\n|---|---|---|---|\n",
        machine.line(),
        options.rounds
    );
    for row in rows {
        let (added, bytes) = (median(&row.added_us), median(&row.bytes));
        let least = row.added_us.iter().copied().fold(f64::INFINITY, f64::min);
        let most = row.added_us.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let number = |value: Option<f64>| value.map(table::number).unwrap_or_default();
        let lost = match row.lost {
            0 => String::new(),
            lost => format!(", **{lost} events lost**"),
        };
        text.push_str(&format!(
            "| {} | {} | {} us ({}-{}){lost} | {} bytes |\n",
            row.watcher.name,
            row.watcher.stacks,
            number(added),
            table::number(least),
            table::number(most),
            number(bytes),
        ));
    }
    if !skipped.is_empty() {
        text.push_str(&format!("\nNot here: {}.\n", skipped.join("; ")));
    }
    text
}
