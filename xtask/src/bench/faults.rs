//! What watching page faults adds to each of them, beside perf record, which writes each to a file too.

use super::pairs::{Asked, Row, Side};
use super::rows::number_of;
use super::subject::Programs;
use anyhow::Result;
use std::path::PathBuf;
use std::process::Command;
use std::rc::Rc;

const PAGES: &str = "1000000";

/// At most this is asked of a fault in ptrace mode, in microseconds.
const MOST: f64 = 0.8;

/// Microseconds that a watcher adds to each fault: with it, less without it.
fn added(programs: &Programs, watcher: Vec<String>) -> Result<f64> {
    let one = |words: &[String]| {
        let mut command = match words.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(&programs.subject);
                command
            }
            None => Command::new(&programs.subject),
        };
        // What perf says of its file goes to standard error.
        number_of(command.args(["touch", PAGES]))
    };
    let alone = one(&[])?;
    Ok((one(&watcher)? - alone) / 1e3)
}

fn side(name: &str, programs: &Rc<Programs>, watcher: impl Fn(&Programs) -> Vec<String> + 'static) -> Side {
    let programs = programs.clone();
    Side::new(name, move || added(&programs, watcher(&programs)))
}

fn words(words: &[&str], paths: &[PathBuf]) -> Vec<String> {
    let mut paths = paths.iter();
    let word = |word: &&str| match *word {
        // Where a path belongs.
        "@" => paths.next().map(|path| path.display().to_string()).unwrap_or_default(),
        word => word.to_owned(),
    };
    words.iter().map(word).collect()
}

pub(super) fn rows(programs: &Rc<Programs>) -> [Row; 2] {
    let perf = |programs: &Programs| {
        let file = programs.scratch.join("perf.data");
        words(&["perf", "record", "-q", "-e", "page-faults", "-c", "1", "-d", "-o", "@", "--"], &[file])
    };
    let sums = |programs: &Programs| {
        words(&["@", "run", "--faults", "-c", "--"], std::slice::from_ref(&programs.vmatlas))
    };
    let recorded = |programs: &Programs| {
        let paths = [programs.vmatlas.clone(), programs.scratch.join("faults.vmatlas")];
        words(&["@", "run", "--faults", "--force", "-o", "@", "--"], &paths)
    };
    let row = |name: &str, ours: Side| Row {
        name: format!("faults: added to each, {name}"),
        unit: "us",
        asked: Asked::ValueAtMost(MOST),
        ours,
        peer: side("perf record -e page-faults -c 1 -d", programs, perf),
    };
    [
        row("sums alone", side("vmatlas run --faults -c", programs, sums)),
        row("recorded", side("vmatlas run --faults -o", programs, recorded)),
    ]
}
