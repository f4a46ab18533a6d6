//! What watching page faults adds to each of them, beside perf record, which writes each to a file too.

use super::pairs::{Asked, Row, Side};
use super::rows::number_of;
use super::subject::Programs;
use anyhow::Result;
use std::path::PathBuf;
use std::process::Command;
use std::rc::Rc;

const PAGES: &str = "200000";

/// At most this is asked of a fault, in microseconds: in ptrace mode, under BPF, and there with its stack.
const PTRACE: f64 = 0.8;
const BPF: f64 = 0.3;
const BPF_STACKS: f64 = 1.0;

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

pub(super) fn rows(programs: &Rc<Programs>) -> Vec<Row> {
    let perf = |more: &'static [&'static str]| {
        let name = ["perf record -e page-faults -c 1 -d", &more.join(" ")].join(" ");
        side(name.trim(), programs, move |programs| {
            let file = programs.scratch.join("perf.data");
            let record = ["perf", "record", "-q", "-e", "page-faults", "-c", "1", "-d"];
            words(&[&record[..], more, &["-o", "@", "--"]].concat(), &[file])
        })
    };
    let run = |options: &'static [&'static str]| {
        let name =
            ["vmatlas run --faults", &options.join(" ").replace(" --force", "").replace(" @", "")].join(" ");
        side(&name, programs, move |programs| {
            let paths = [programs.vmatlas.clone(), programs.scratch.join("faults.vmatlas")];
            words(&[&["@", "run", "--faults"][..], options, &["--"]].concat(), &paths)
        })
    };
    let row = |name: &str, most: f64, ours: Side, peer: Side| Row {
        name: format!("faults: added to each, {name}"),
        unit: "us",
        asked: Asked::ValueAtMost(most),
        ours,
        peer,
    };
    let mut rows = vec![
        row("sums alone", PTRACE, run(&["-c"]), perf(&[])),
        row("recorded", PTRACE, run(&["--force", "-o", "@"]), perf(&[])),
    ];
    if let Err(error) = added(
        programs,
        words(&["@", "run", "--backend", "bpf", "-c", "--"], std::slice::from_ref(&programs.vmatlas)),
    ) {
        eprintln!("left out, {}: faults with BPF", format!("{error:#}").lines().last().unwrap_or_default());
        return rows;
    }
    rows.extend([
        row("BPF, sums alone", BPF, run(&["--backend", "bpf", "-c"]), perf(&[])),
        row("BPF, recorded", BPF, run(&["--backend", "bpf", "--force", "-o", "@"]), perf(&[])),
        row(
            "BPF, recorded, frame pointers",
            BPF_STACKS,
            run(&["--backend", "bpf", "--stacks=fp", "--force", "-o", "@"]),
            perf(&["-g"]),
        ),
        row(
            "BPF, recorded, stack copies",
            BPF_STACKS,
            run(&["--backend", "bpf", "--stacks", "--force", "-o", "@"]),
            perf(&["--call-graph", "dwarf,8192"]),
        ),
    ]);
    rows
}
