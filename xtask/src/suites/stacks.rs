//! How many call stacks of real programs are whole: each must reach the thread's start, or that of its loader; and how many
//! frames of code that was made at run time have names.

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

const GO: &str = r#"package main
import "fmt"
var keep [][]byte
func deep(n int) int { if n == 0 { keep = append(keep, make([]byte, 4<<20)); return 0 }; return 1 + deep(n-1) }
func main() {
	done := make(chan int)
	for i := 0; i < 50; i++ { go func(i int) { done <- deep(i) }(i) }
	for i := 0; i < 50; i++ { <-done }
	fmt.Println(len(keep))
}
"#;
const NODE: &str = "function grow(n) { const a = []; for (let i = 0; i < n; i++) a.push(Buffer.alloc(1 << 20, 1)); return a.length }\n\
    let s = 0; for (let i = 0; i < 200; i++) s += grow(4); console.log(s)\n";
const TRAMPOLINES: &str = "def grow(n): return [bytearray(1 << 20) for i in range(n)]\n\
    for i in range(50): grow(8)\n";
const JAVA: &str = "import java.nio.ByteBuffer;\npublic class Grow {\n\
    static ByteBuffer[] kept = new ByteBuffer[16];\n\
    static void grow(int i) { kept[i % 16] = ByteBuffer.allocateDirect(1 << 21); }\n\
    public static void main(String[] a) { for (int i = 0; i < 400; i++) grow(i); System.out.println(kept.length); }\n}\n";

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
    let mut programs: Vec<(&str, Vec<&str>)> = vec![
        ("/bin/ls", vec!["/bin/ls", "-laR", "/etc"]),
        ("python3", vec!["/usr/bin/python3", "-c", PYTHON]),
        ("C++", vec![&cpp]),
        ("Rust", vec![&rust]),
        ("C, threads and signals", vec![&threads]),
        ("the same, static", vec![&fixed]),
    ];
    let go = made_by_go(&folder);
    programs.extend(go.as_deref().map(|go| ("Go", vec![go])));
    let node = ["node", "--perf-basic-prof", "--interpreted-frames-native-stack", "-e", NODE];
    programs.extend(has("node", &["--version"]).then(|| ("node", node.to_vec())));
    let python = ["python3.13", "python3.12"].into_iter().find(|python| has(python, &["-c", ""]));
    programs.extend(python.map(|python| ("python3 -X perf", vec![python, "-X", "perf", "-c", TRAMPOLINES])));
    let source = folder.join("Grow.java").display().to_string();
    fs::write(&source, JAVA)?;
    let java = [
        "java",
        "-XX:+UnlockDiagnosticVMOptions",
        "-XX:+DumpPerfMapAtExit",
        "-XX:+PreserveFramePointer",
        "-Xint",
        "-XX:-UsePerfData",
        &source,
    ];
    programs.extend(has("java", &["-version"]).then(|| ("java", java.to_vec())));
    println!(
        "{:<24} {:>8} {:>8} {:>8} {:>12}  others",
        "program", "stacks", "frames", "whole", "made, named"
    );
    let mut wrong = Vec::new();
    for (name, command) in programs {
        if command[0].starts_with('/') && !Path::new(command[0]).exists() {
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
        let made = match counted.made {
            0 => "-".to_owned(),
            made => format!("{made}, {:.1}%", 100.0 * counted.named as f64 / made as f64),
        };
        println!(
            "{name:<24} {all:>8} {:>8} {percent:>7.1}% {made:>12}  {}",
            counted.frames,
            others.join(", ")
        );
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

/// A program in Go, where Go is.
fn made_by_go(folder: &Path) -> Option<String> {
    let (from, to) = (folder.join("grow.go"), folder.join("go.program"));
    fs::write(&from, GO).ok()?;
    let mut go = Command::new("go");
    go.arg("build")
        .arg("-o")
        .arg(&to)
        .arg(&from)
        .env("CGO_ENABLED", "0")
        .env("GOCACHE", folder.join("go-cache"));
    go.status().is_ok_and(|status| status.success()).then(|| to.display().to_string())
}

/// Whether a program is here and can do this.
fn has(program: &str, args: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let has = command.status().is_ok_and(|status| status.success());
    if !has {
        println!("{program:<24} SKIPPED: not here");
    }
    has
}

#[derive(Default)]
struct Counted {
    ends: BTreeMap<String, u64>,
    frames: u64,
    /// Frames of code that belongs to no file, and those of them that have a name.
    made: u64,
    named: u64,
}

fn count(watch: &Watch, folder: &Path, command: &[&str]) -> Result<Counted> {
    let recording = folder.join("recording");
    let mut run = Command::new(&watch.vmatlas);
    run.args(["run", "--stacks", "--force", "-o"]).arg(&recording).arg("--").args(command);
    let status = run.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    let mut log = Command::new(&watch.vmatlas);
    let output = log.args(["log", "--stacks", "--jsonl"]).arg(&recording).output()?;
    let mut counted = Counted::default();
    for line in String::from_utf8(output.stdout)?.lines() {
        let event: Value = serde_json::from_str(line)?;
        if let Some(pid) = event["pid"].as_i64() {
            // What runtimes leave behind.
            let _ = fs::remove_file(format!("/tmp/perf-{pid}.map"));
        }
        let Some(end) = event["stack"]["end"].as_str() else { continue };
        *counted.ends.entry(end.to_owned()).or_default() += 1;
        for frame in event["stack"]["frames"].as_array().into_iter().flatten() {
            counted.frames += 1;
            counted.made += u64::from(frame["module"].is_null());
            counted.named += u64::from(frame["module"].is_null() && frame["symbols"].is_array());
        }
    }
    Ok(counted)
}
