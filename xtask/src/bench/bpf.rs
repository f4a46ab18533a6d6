//! What the BPF backend costs: each memory call, with stacks and without, each other call, and a program that makes none.

use super::pairs::{Asked, Row, Side};
use super::rows::{spinning, untraced};
use super::subject::Programs;
use super::watchers::{self, NONE, Watcher};
use anyhow::{Context, Result};
use std::process::Command;
use std::rc::Rc;

/// What is asked of a call, in microseconds: its order and the kernel's answers included, then with frame pointers.
const WITHOUT: f64 = 0.9;
const FRAME_POINTERS: f64 = 1.8;

pub(super) fn rows(programs: &Rc<Programs>) -> Vec<Row> {
    const BPF: &[&str] = &["--backend", "bpf"];
    let mut rows = Vec::new();
    let compared = [
        ("no stacks", "vmatlas run --backend bpf", "perf record", Asked::ValueAtMost(WITHOUT)),
        (
            "frame pointers",
            "vmatlas run --backend bpf --stacks=fp",
            "perf record -g",
            Asked::ValueAtMost(FRAME_POINTERS),
        ),
        (
            "stack copies",
            "vmatlas run --backend bpf --stacks",
            "perf record --call-graph dwarf, exits",
            Asked::RatioAtMost(1.0),
        ),
    ];
    for (stacks, ours, peer, asked) in compared {
        let name = format!("bpf: added to each mmap/munmap, {stacks}");
        let (Some(ours), Some(peer)) = (find(programs, ours), find(programs, peer)) else { continue };
        if let Some(why) = ours.missing(programs).or_else(|| peer.missing(programs)) {
            eprintln!("left out, {why}: {name}");
            continue;
        }
        rows.push(Row {
            name,
            unit: "us",
            asked,
            ours: added(programs, &ours),
            peer: added(programs, &peer),
        });
        let tenth = if stacks == "stack copies" { Asked::RatioAtMost(0.1) } else { Asked::Nothing };
        rows.push(Row {
            name: format!("bpf: kept of each mmap/munmap, {stacks}"),
            unit: "bytes",
            asked: tenth,
            ours: kept(programs, &ours),
            peer: kept(programs, &peer),
        });
    }
    // The others cannot be without BPF either.
    if !rows.is_empty() {
        rows.push(untraced(programs, "bpf: one system call that is none of memory", BPF));
        rows.push(spinning(programs, "bpf: a program without memory calls", BPF, Asked::RatioAtMost(1.01)));
        rows.push(start(programs));
    }
    rows
}

/// From the command to the end of a program that does nothing: the BPF programs are checked by the kernel meanwhile.
fn start(programs: &Rc<Programs>) -> Row {
    let run = |backend: &'static str| {
        let vmatlas = programs.vmatlas.clone();
        Side::command(format!("vmatlas run --backend {backend}"), move || {
            let mut command = Command::new(&vmatlas);
            command.args(["run", "--backend", backend, "-c", "--", "true"]);
            command
        })
    };
    Row {
        name: "bpf: a program that does nothing, from start to end".to_owned(),
        unit: "ms",
        asked: Asked::Nothing,
        ours: run("bpf"),
        peer: run("ptrace"),
    }
}

fn find(programs: &Programs, name: &str) -> Option<Rc<Watcher>> {
    watchers::all(programs).into_iter().find(|watcher| watcher.name == name).map(Rc::new)
}

/// Microseconds that a watcher adds to each call: with it, less without it.
fn added(programs: &Rc<Programs>, watcher: &Rc<Watcher>) -> Side {
    let (programs, watcher) = (programs.clone(), watcher.clone());
    Side::new(watcher.name, move || {
        let alone = watchers::unwatched(&programs)?;
        let cost = watcher.watch(&programs, watcher.pairs)?;
        if let Some(lost) = watcher.lost(&programs)?.filter(|lost| *lost > 0) {
            eprintln!("WARNING: {}: {lost} events were lost, which cost nothing", watcher.name);
        }
        Ok((cost.call_ns - alone) / 1e3)
    })
}

/// Bytes that it keeps of each, less what it keeps of next to nothing.
fn kept(programs: &Rc<Programs>, watcher: &Rc<Watcher>) -> Side {
    let (programs, watcher) = (programs.clone(), watcher.clone());
    Side::new(watcher.name, move || -> Result<f64> {
        let (all, fixed) = (watcher.watch(&programs, watcher.pairs)?, watcher.watch(&programs, NONE)?);
        let bytes = all.bytes.checked_sub(fixed.bytes).context("more was kept of less")?;
        Ok(bytes as f64 / (2 * (watcher.pairs - NONE)) as f64)
    })
}
