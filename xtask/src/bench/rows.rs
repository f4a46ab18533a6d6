//! What is measured. A row has a name, a unit, what is asked of it, and two sides that do the same work.
//!
//! A side is a command (`Side::command`, its wall time) or a closure that returns a number (`Side::new`): any number,
//! as long as both sides count in `unit` and less is better. To add a row, add a function and name it in [`all`].

use super::pairs::{Asked, Row, Side};
use super::subject::{Programs, Sleeper};
use anyhow::{Context, Result, bail};
use std::process::Command;
use std::rc::Rc;

/// All rows, in the order of the table; what they need (a program to look at, a release build) is made here.
pub(super) fn all() -> Result<Vec<Row>> {
    let programs = Rc::new(Programs::build()?);
    let mut rows = vec![
        parse_60_000(&programs)?,
        show_ordinary(&programs)?,
        spinning(&programs, "run: a program without memory calls", &[], Asked::RatioAtMost(1.02)),
        untraced(&programs, "run: one system call that is none of memory", &[]),
    ];
    rows.extend(super::reader::rows(&programs)?);
    rows.extend(memory_of_a_million(&programs));
    rows.extend(model(&programs));
    rows.extend(pairs_on_one_cpu(&programs));
    rows.extend(pairs_as_placed(&programs));
    rows.extend(super::bpf::rows(&programs));
    rows.extend(super::faults::rows(&programs));
    rows.extend(super::recording::rows(&programs)?);
    rows.extend(super::ps::rows(&programs));
    Ok(rows)
}

/// The same work on both sides: how far its ratio is from 1 is what this machine adds to every other ratio.
pub(super) fn control() -> Row {
    let work = || Side::command("true", || Command::new("true"));
    Row {
        name: "control".to_owned(),
        unit: "ms",
        asked: Asked::RatioAtMost(1.15),
        ours: work(),
        peer: work(),
    }
}

/// The first number a command prints.
pub(super) fn number_of(command: &mut Command) -> Result<f64> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8(output.stdout)?;
    let first = text.split_ascii_whitespace().next().context("no number printed")?;
    first.parse().with_context(|| text.clone())
}

fn parse_60_000(programs: &Rc<Programs>) -> Result<Row> {
    let sleeper = Rc::new(Sleeper::start(&programs.subject, &["vmas", "60000"])?);
    let side = |name: &str, mode: &'static str| {
        let (programs, sleeper) = (programs.clone(), sleeper.clone());
        Side::new(name, move || {
            let maps = format!("/proc/{}/maps", sleeper.pid());
            number_of(Command::new(&programs.read_maps).args([mode, &maps, "5"]))
        })
    };
    Ok(Row {
        name: "parse maps of 60,000 VMAs".to_owned(),
        unit: "us",
        asked: Asked::RatioAtMost(1.15),
        ours: side("read and parse", "parse"),
        peer: side("bare read(2) loop", "raw"),
    })
}

/// A file of a million lines, since the kernel allows a process 65,530 VMAs unless somebody raises the limit.
fn memory_of_a_million(programs: &Rc<Programs>) -> Option<Row> {
    let file = programs.scratch.join("million.maps");
    let mut text = String::new();
    for i in 0..1_000_000u64 {
        use std::fmt::Write;
        let start = 0x7f00_0000_0000 + i * 0x1000;
        let perms = if i % 2 == 0 { "rw-p" } else { "r--p" };
        let _ = writeln!(text, "{start:08x}-{:08x} {perms} 00000000 00:00 0 ", start + 0x1000);
    }
    std::fs::write(&file, text).ok()?;
    let programs = programs.clone();
    let bytes = move || -> Result<f64> {
        let output = Command::new(&programs.read_maps).arg("parse").arg(&file).arg("1").output()?;
        let text = String::from_utf8(output.stdout)?;
        text.split_ascii_whitespace().nth(2).context("no third number")?.parse().context("a number")
    };
    Some(Row {
        name: "memory per VMA, 1,000,000 VMAs".to_owned(),
        unit: "bytes",
        asked: Asked::ValueAtMost(200.0),
        ours: Side::new("snapshot", bytes),
        // What the text of one such line takes.
        peer: Side::new("text", || Ok(50.0)),
    })
}

/// The model alone, with 60,000 VMAs, beside two bare BTreeMaps that do the same insertions and removals.
fn model(programs: &Rc<Programs>) -> [Row; 6] {
    let side = |who: &'static str, what: &'static str| {
        let programs = programs.clone();
        let name = match who {
            "apply" => "AddressSpace::apply",
            "undo" => "AddressSpace::apply and undo",
            "spaces" => "Spaces::event",
            _ => "two bare BTreeMaps",
        };
        Side::new(name, move || {
            // What is freed goes back at once, so that resident memory tells what is in use.
            let mut command = Command::new(&programs.model_speed);
            number_of(command.args([who, what]).env("MALLOC_MMAP_THRESHOLD_", "65536"))
        })
    };
    let row = |name: &str, unit, asked, who, what| Row {
        name: format!("model: {name}, 60,000 VMAs"),
        unit,
        asked,
        ours: side(who, what),
        peer: side("btrees", what),
    };
    [
        row("a call at a random place", "ns", Asked::ValueAtMost(1000.0), "apply", "random"),
        row("a call at one place", "ns", Asked::ValueAtMost(200.0), "apply", "one-place"),
        row("a call and its undoing at a random place", "ns", Asked::Nothing, "undo", "random"),
        row("a call and the kernel's answer at a random place", "ns", Asked::Nothing, "spaces", "random"),
        row("a call and the kernel's answer at one place", "ns", Asked::Nothing, "spaces", "one-place"),
        row("memory per VMA", "bytes", Asked::ValueAtMost(160.0), "apply", "memory"),
    ]
}

fn show_ordinary(programs: &Rc<Programs>) -> Result<Row> {
    let sleeper = Rc::new(Sleeper::start(
        "python3".as_ref(),
        &["-c", "import sys; print('ready', flush=True); sys.stdin.read()"],
    )?);
    let (vmatlas, ours, peer) = (programs.vmatlas.clone(), sleeper.clone(), sleeper);
    Ok(Row {
        name: "show --no-resident of an ordinary process".to_owned(),
        unit: "ms",
        asked: Asked::RatioAtMost(3.0),
        ours: Side::command("vmatlas show --no-resident", move || {
            let mut command = Command::new(&vmatlas);
            command.args(["show", "--no-resident", "-p", &ours.pid().to_string()]);
            command
        }),
        peer: Side::command("cat /proc/PID/maps", move || {
            let mut command = Command::new("cat");
            command.arg(format!("/proc/{}/maps", peer.pid()));
            command
        }),
    })
}

/// A program that only computes, beside itself under `run` with these options, by its own clock.
pub(super) fn spinning(
    programs: &Rc<Programs>,
    name: &str,
    options: &'static [&'static str],
    asked: Asked,
) -> Row {
    own_numbers(programs, (name, "ms"), options, asked, ["spin", "1500"])
}

/// A system call that nobody wants to know of, under `run` with these options.
pub(super) fn untraced(programs: &Rc<Programs>, name: &str, options: &'static [&'static str]) -> Row {
    own_numbers(programs, (name, "ns"), options, Asked::Nothing, ["calls", "1000000"])
}

/// What the subject prints under `run` with these options, beside what it prints alone.
fn own_numbers(
    programs: &Rc<Programs>,
    (name, unit): (&str, &'static str),
    options: &'static [&'static str],
    asked: Asked,
    work: [&'static str; 2],
) -> Row {
    let (vmatlas, subject, alone) =
        (programs.vmatlas.clone(), programs.subject.clone(), programs.subject.clone());
    Row {
        name: name.to_owned(),
        unit,
        asked,
        ours: Side::new("vmatlas run", move || {
            let mut command = Command::new(&vmatlas);
            number_of(command.arg("run").args(options).args(["-c", "--"]).arg(&subject).args(work))
        }),
        peer: Side::new("untraced", move || number_of(Command::new(&alone).args(work))),
    }
}

const PAIRS: &str = "10000";

/// What a tracer adds to each call of the mmap+munmap loop, in microseconds: with it, less without it.
fn added(
    name: &str,
    programs: &Rc<Programs>,
    pinned: bool,
    tracer: impl Fn(&Programs) -> Vec<String> + 'static,
) -> Side {
    let programs = programs.clone();
    Side::new(name, move || {
        let alone = one_call(&programs, pinned, Vec::new(), PAIRS)?;
        Ok((one_call(&programs, pinned, tracer(&programs), PAIRS)? - alone) / 1e3)
    })
}

/// What a call of the mmap+munmap loop takes below a tracer, in nanoseconds.
pub(super) fn one_call(programs: &Programs, pinned: bool, tracer: Vec<String>, pairs: &str) -> Result<f64> {
    number_of(&mut looping(programs, pinned, tracer, &["pairs", pairs]))
}

/// The subject below a tracer.
pub(super) fn looping(programs: &Programs, pinned: bool, tracer: Vec<String>, words: &[&str]) -> Command {
    let pin = if pinned { vec!["taskset".to_owned(), "-c".to_owned(), "1".to_owned()] } else { vec![] };
    let before: Vec<String> = pin.into_iter().chain(tracer).collect();
    let mut command = match before.split_first() {
        Some((first, rest)) => {
            let mut command = Command::new(first);
            command.args(rest).arg(&programs.subject);
            command
        }
        None => Command::new(&programs.subject),
    };
    command.args(words);
    command
}

fn vmatlas_run(programs: &Programs) -> Vec<String> {
    let log = programs.scratch.join("run.log");
    let words = [&programs.vmatlas.display().to_string(), "run", "--log", &log.display().to_string(), "--"];
    words.map(str::to_owned).to_vec()
}

/// Recorded with whole stacks; the text would be larger than all else.
fn vmatlas_stacks(programs: &Programs) -> Vec<String> {
    let folder = programs.scratch.join("stacks").display().to_string();
    let vmatlas = programs.vmatlas.display().to_string();
    [&vmatlas, "run", "--stacks", "--force", "-o", &folder, "--"].map(str::to_owned).to_vec()
}

fn floor(programs: &Programs) -> Vec<String> {
    vec![programs.floor.display().to_string()]
}

fn strace(programs: &Programs) -> Vec<String> {
    let log = programs.scratch.join("strace.log").display().to_string();
    ["strace", "-f", "--seccomp-bpf", "-e", "trace=memory", "-o", &log].map(str::to_owned).to_vec()
}

fn pairs_rows(
    programs: &Rc<Programs>,
    pinned: bool,
    place: &str,
    (floor_limit, stacks_limit): (Asked, Asked),
) -> Vec<Row> {
    let ours = || added("vmatlas run --log", programs, pinned, vmatlas_run);
    vec![
        Row {
            name: format!("run: added to each mmap/munmap, {place}, over two bare stops"),
            unit: "us",
            asked: floor_limit,
            ours: ours(),
            peer: added("two bare ptrace stops", programs, pinned, floor),
        },
        Row {
            name: format!("run --stacks: added to each mmap/munmap, {place}, over two bare stops"),
            unit: "us",
            asked: stacks_limit,
            ours: added("vmatlas run --stacks -o", programs, pinned, vmatlas_stacks),
            peer: added("two bare ptrace stops", programs, pinned, floor),
        },
        Row {
            name: format!("run: added to each mmap/munmap, {place}, against strace"),
            unit: "us",
            asked: Asked::RatioAtMost(1.0),
            ours: ours(),
            peer: added("strace -f --seccomp-bpf -e trace=memory", programs, pinned, strace),
        },
    ]
}

fn pairs_on_one_cpu(programs: &Rc<Programs>) -> Vec<Row> {
    pairs_rows(programs, true, "one CPU", (Asked::RatioAtMost(1.2), Asked::RatioAtMost(1.6)))
}

fn pairs_as_placed(programs: &Rc<Programs>) -> Vec<Row> {
    pairs_rows(programs, false, "as the scheduler places them", (Asked::Nothing, Asked::Nothing))
}
