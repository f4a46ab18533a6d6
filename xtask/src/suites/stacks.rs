//! How many call stacks of real programs are whole: each must reach the thread's start, or that of its loader.

use super::{Watch, need};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

const CPP: &str = include_str!("../../../crates/stack/tests/programs/shapes.cc");
const RUST: &str = include_str!("../../../crates/stack/tests/programs/deep.rs");
const THREADS: &str = include_str!("../../../crates/stack/tests/programs/threads.c");
const PYTHON: &str = "import json, decimal, re, ctypes, threading\n\
    x = [bytes(200000) for i in range(300)]\n\
    t = [threading.Thread(target=lambda: bytearray(10**7)) for i in range(4)]\n\
    [a.start() for a in t]; [a.join() for a in t]\n";

/// Of a hundred stacks so many must be whole.
const WANTED: f64 = 95.0;

pub(super) fn run(watch: &Watch) -> Result<()> {
    need("cc", "gcc libc6-dev")?;
    need("c++", "g++")?;
    let folder = watch.folder.join("stacks");
    fs::create_dir_all(&folder)?;
    let made = |name: &str, source: &str, compiler: &str, options: &[&str]| {
        make(&folder, name, source, compiler, options)
    };
    let cpp = made("shapes.cc", CPP, "c++", &["-O2", "-fomit-frame-pointer"])?;
    let rust = made("deep.rs", RUST, "rustc", &["-O", "-Cforce-frame-pointers=no"])?;
    let threads = made("threads.c", THREADS, "cc", &["-O2", "-pthread"])?;
    let fixed = made("static.c", THREADS, "cc", &["-O2", "-static", "-pthread"])?;
    let programs: [(&str, Vec<&str>); 6] = [
        ("/bin/ls", vec!["/bin/ls", "-laR", "/etc"]),
        ("python3", vec!["/usr/bin/python3", "-c", PYTHON]),
        ("C++", vec![&cpp]),
        ("Rust", vec![&rust]),
        ("C, threads and signals", vec![&threads]),
        ("the same, static", vec![&fixed]),
    ];
    println!("{:<24} {:>8} {:>8} {:>8}  others", "program", "stacks", "frames", "whole");
    let mut wrong = Vec::new();
    for (name, command) in programs {
        if !Path::new(command[0]).exists() {
            println!("{name:<24} SKIPPED: {} is not here", command[0]);
            continue;
        }
        let counted = count(watch, &folder, &command)?;
        let all: u64 = counted.ends.values().sum();
        let whole = counted.ends.get("start").copied().unwrap_or(0);
        let percent = 100.0 * whole as f64 / all.max(1) as f64;
        let others: Vec<String> = counted
            .ends
            .iter()
            .filter(|(end, _)| *end != "start")
            .map(|(end, n)| format!("{end} {n}"))
            .collect();
        println!("{name:<24} {all:>8} {:>8} {percent:>7.1}%  {}", counted.frames, others.join(", "));
        if percent < WANTED {
            wrong.push(format!("{name}: {percent:.1} % of {all} stacks are whole"));
        }
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    Ok(())
}

fn make(folder: &Path, name: &str, source: &str, compiler: &str, options: &[&str]) -> Result<String> {
    let (from, to) = (folder.join(name), folder.join(name).with_extension("program"));
    fs::write(&from, source)?;
    let made = Command::new(compiler).args(options).arg("-o").arg(&to).arg(&from).status();
    if !made.with_context(|| compiler.to_owned())?.success() {
        bail!("{compiler} failed");
    }
    Ok(to.display().to_string())
}

#[derive(Default)]
struct Counted {
    ends: BTreeMap<String, u64>,
    frames: u64,
}

fn count(watch: &Watch, folder: &Path, command: &[&str]) -> Result<Counted> {
    let json = folder.join("events.jsonl");
    let status = Command::new(&watch.vmatlas)
        .args(["run", "--stacks"])
        .arg(format!("--jsonl={}", json.display()))
        .arg("--")
        .args(command)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()?;
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    let mut counted = Counted::default();
    for line in fs::read_to_string(&json)?.lines() {
        let event: Value = serde_json::from_str(line)?;
        let Some(end) = event["stack"]["end"].as_str() else { continue };
        *counted.ends.entry(end.to_owned()).or_default() += 1;
        counted.frames += event["stack"]["frames"].as_array().map_or(0, Vec::len) as u64;
    }
    Ok(counted)
}
