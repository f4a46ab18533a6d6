//! Many tasks: idle threads by the thousand, a thousand forks a second, five hundred vforks that execute.
//!
//! Nothing may be lost or left over, and the tracer's memory must stay as it is.

use super::{Watch, need};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const SOURCE: &str = include_str!("storm.c");

struct Storm {
    words: [&'static str; 3],
    /// How many processes and threads it makes, itself not counted.
    tasks: u64,
    executions: u64,
}

const STORMS: &[Storm] = &[
    Storm { words: ["threads", "0", "5000"], tasks: 0, executions: 0 },
    Storm { words: ["threads", "1000", "5000"], tasks: 1000, executions: 0 },
    Storm { words: ["threads", "10000", "5000"], tasks: 10_000, executions: 0 },
    Storm { words: ["forks", "60000", "1000"], tasks: 60_000, executions: 0 },
    Storm { words: ["vforks", "30000", "500"], tasks: 30_000, executions: 30_000 },
];

pub(super) fn run(watch: &Watch, chosen: &[&str]) -> Result<()> {
    need("gcc", "gcc libc6-dev")?;
    let program = watch.folder.join("storm");
    let source = watch.folder.join("storm.c");
    fs::write(&source, SOURCE)?;
    let built =
        Command::new("gcc").arg("-O2").arg("-o").arg(&program).arg(&source).arg("-lpthread").status()?;
    if !built.success() {
        bail!("gcc failed");
    }
    println!("threads: nanoseconds a call; forks and vforks: how many a second. Memory is VmRSS of vmatlas.");
    println!(
        "{:<22} {:>9} {:>9} {:>9} {:>7} {:>9} {:>9} {:>6}",
        "storm", "alone", "watched", "tasks", "execs", "early", "late", "drift"
    );
    let mut wrong = Vec::new();
    for storm in STORMS.iter().filter(|storm| chosen.is_empty() || chosen.contains(&storm.words[0])) {
        let name = storm.words.join(" ");
        if let Some(fault) = one(watch, &program, storm, &name)? {
            wrong.push(format!("{name}: {fault}"));
        }
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    Ok(())
}

/// Runs one; what is wrong with it.
fn one(watch: &Watch, program: &PathBuf, storm: &Storm, name: &str) -> Result<Option<String>> {
    let plain = Command::new(program).args(storm.words).stdin(Stdio::null()).output()?;
    let json = watch.folder.join("storm.jsonl");
    let out = watch.folder.join("storm.out");
    let mut child = Command::new(&watch.vmatlas)
        .args(["run", "-c", &format!("--jsonl={}", json.display()), "--"])
        .arg(program)
        .args(storm.words)
        .stdin(Stdio::null())
        .stdout(File::create(&out)?)
        .spawn()?;
    let mut memory = Vec::new();
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if start.elapsed() > Duration::from_secs(600) {
            child.kill()?;
        }
        memory.extend(resident(child.id()));
        std::thread::sleep(Duration::from_millis(200));
    };
    let lines = fs::read_to_string(&json)?;
    let summary: Value = serde_json::from_str(lines.lines().last().context("no summary")?)?;
    let number = |name: &str| summary[name].as_u64().unwrap_or(0);
    // The first process is no child, the first program no execution of it.
    let tasks = number("processes").saturating_sub(1) + number("threads");
    let executions = number("execs").saturating_sub(1);
    // The first tenth fills caches; a leak would show from then on.
    let early = memory.get(memory.len() / 10).copied().unwrap_or(0);
    let late = memory.last().copied().unwrap_or(0);
    println!(
        "{name:<22} {:>9} {:>9} {tasks:>9} {executions:>7} {:>5} KiB {:>5} KiB {:>6}",
        String::from_utf8_lossy(&plain.stdout).trim(),
        fs::read_to_string(&out)?.trim(),
        early,
        late,
        number("drift"),
    );
    let is_lost = (tasks, executions) != (storm.tasks, storm.executions);
    // Threads are kept while they live, so only where tasks come and go must memory stay.
    let has_grown = storm.words[0] != "threads" && late > early + early / 10 + 512;
    Ok(match (status.success(), is_lost, has_grown, number("drift")) {
        (false, ..) => Some(format!("ended with {status}")),
        (_, true, ..) => Some(format!("{tasks} tasks and {executions} executions were seen")),
        (_, _, true, _) => Some(format!("memory grew from {early} to {late} KiB")),
        (_, _, _, 1..) => Some("drift".to_owned()),
        _ => None,
    })
}

/// VmRSS in KiB.
fn resident(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().split(' ').next()?.parse().ok()
}
