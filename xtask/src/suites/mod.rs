//! `cargo xtask suites`: programs that others wrote to try the kernel's memory calls, under `vmatlas run --check`.
//!
//! What they find must be the same with and without us, and the model must be the kernel's after each of their calls.
//! Some need no `run --check`: `vma` compares the model alone with the kernel's own code, `pages` what is told of pages with
//! smaps; `parquet`, `damage` and `fuzz` are about recordings.

mod damage;
mod fuzz;
mod kills;
mod lab;
mod pages;
pub(crate) mod parquet;
mod replays;
mod selftests;
mod stacks;
mod storms;
mod stress_ng;
mod uml;
mod vma;

use crate::metadata::{cargo, release_folder};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const USAGE: &str = "\
usage: cargo xtask suites stress-ng [--backend bpf] [STRESSOR...]   Debian's stress-ng, the stressors of memory
       cargo xtask suites selftests [TREE]             the kernel's selftests/mm (TREE: unpacked kernel sources; else
                                                       Debian's linux-source-6.12, unpacked below target/)
       cargo xtask suites storms [threads|forks|vforks...]   many tasks: nothing lost, the tracer's memory flat
       cargo xtask suites kills [ROUNDS]               recorders killed at 1,000 random moments: all that was flushed is read
       cargo xtask suites replays                      recordings of python3 and of a compile by cargo: verify finds nothing
       cargo xtask suites uml [--calls N] [--seed S]   random calls inside Debian's user-mode-linux (Linux 6.1)
       cargo xtask suites lab                          every experiment of the lab, inside the same Linux 6.1
       cargo xtask suites pages [PROGRAM...]           real programs, stopped: our figures against smaps for each VMA (as
                                                       root; swap only where it is named: it switches a file on)
       cargo xtask suites stacks                       real programs under run --stacks: how many stacks are whole
       cargo xtask suites vma [TREE] [--operations N] [--seed S]   the model alone against the kernel's own mm/vma.c, built
                                                       as a program (TREE: as above; Linux 6.12)
       cargo xtask suites parquet                      every sealed table in DuckDB and pyarrow (from PyPI, kept below
                                                       target/), and the queries of docs/QUERIES.md
       cargo xtask suites damage [--flips N]           recordings with flipped bits, and cut at each byte (100,000 flips)
       cargo xtask suites fuzz [TARGET...] [--seconds N]   cargo-fuzz on the reader (nightly; 60 seconds for each of tail,
                                                       segment, json, replay, symbols, packed)";

pub(crate) fn run(args: &[&str]) -> Result<()> {
    match args {
        ["stress-ng", "--backend", "bpf", stressors @ ..] => {
            stress_ng::run(&Watch { is_bpf: true, ..Watch::build()? }, stressors)
        }
        ["stress-ng", stressors @ ..] => stress_ng::run(&Watch::build()?, stressors),
        ["stacks"] => stacks::run(&Watch::build()?),
        ["pages", programs @ ..] => pages::run(&Watch::build()?, programs),
        ["vma", rest @ ..] => vma::run(rest),
        ["parquet"] => parquet::run(),
        ["damage", rest @ ..] => damage::run(rest),
        ["fuzz", rest @ ..] => fuzz::run(rest),
        ["replays"] => replays::run(&Watch::build()?),
        ["kills"] => kills::run(&Watch::build()?, None),
        ["kills", rounds] => kills::run(&Watch::build()?, Some(rounds)),
        ["selftests"] => selftests::run(&Watch::build()?, None),
        ["selftests", tree] => selftests::run(&Watch::build()?, Some(Path::new(tree))),
        ["storms", storms @ ..] => storms::run(&Watch::build()?, storms),
        ["uml", rest @ ..] => uml::run(&Watch::build()?, rest),
        ["lab"] => lab::run(&Watch::build()?),
        _ => bail!("{USAGE}"),
    }
}

/// Where results go.
fn folder() -> Result<PathBuf> {
    let release = release_folder();
    let folder = release.parent().unwrap_or(&release).join("suites");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder)
}

/// The programs of ours, and where results go.
struct Watch {
    vmatlas: PathBuf,
    subject: PathBuf,
    folder: PathBuf,
    /// Whether it watches through BPF.
    is_bpf: bool,
}

/// How a program ended, with and without us.
struct Outcome {
    plain: Ended,
    watched: Ended,
    /// The summary of the watched run.
    summary: Value,
}

/// How one run ended.
struct Ended {
    status: Option<ExitStatus>,
    output: String,
    took: Duration,
}

impl Watch {
    /// Builds them for release, where `$VMATLAS_BIN` does not name a vmatlas that is built already.
    fn build() -> Result<Watch> {
        if let Some(vmatlas) = std::env::var_os("VMATLAS_BIN").map(PathBuf::from) {
            let subject = vmatlas.with_file_name("vmatlas-truth-subject");
            return Ok(Watch { vmatlas, subject, folder: folder()?, is_bpf: false });
        }
        let packages = ["-p", "vmatlas-cli", "-p", "vmatlas-testkit"];
        let status = cargo().args(["build", "--release", "--quiet", "--bins"]).args(packages).status()?;
        if !status.success() {
            bail!("cargo build failed");
        }
        let (release, folder) = (release_folder(), folder()?);
        let (vmatlas, subject) = (release.join("vmatlas"), release.join("vmatlas-truth-subject"));
        Ok(Watch { vmatlas, subject, folder, is_bpf: false })
    }

    /// Runs a command alone and under `run --check`.
    fn both(&self, name: &str, command: &[&str], limit: Duration) -> Result<Outcome> {
        let plain = self.one(&format!("{name}.plain"), command, limit)?;
        let json = self.folder.join(format!("{name}.jsonl"));
        let (vmatlas, jsonl) = (self.vmatlas.display().to_string(), format!("--jsonl={}", json.display()));
        let backend = if self.is_bpf { "--backend=bpf" } else { "--backend=ptrace" };
        let words =
            [&[vmatlas.as_str(), "run", "--check", "-c", backend, jsonl.as_str(), "--"], command].concat();
        // A comparison of both maps takes much longer than most calls.
        let watched = self.one(&format!("{name}.watched"), &words, limit * 10)?;
        let lines = fs::read_to_string(&json).unwrap_or_default();
        let summary =
            lines.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or(Value::Null);
        Ok(Outcome { plain, watched, summary })
    }

    /// Runs a command with its output in a file; a status of `None` says that it was ended for taking too long.
    fn one(&self, name: &str, words: &[&str], limit: Duration) -> Result<Ended> {
        let path = self.folder.join(name);
        let file = File::create(&path).with_context(|| path.display().to_string())?;
        let (program, args) = words.split_first().context("no command")?;
        let start = Instant::now();
        let mut child = Command::new(program)
            .args(args)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| (*program).to_owned())?;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break Some(status);
            }
            if start.elapsed() > limit {
                // What it traces ends with it; what a plain program started ends by its own limit.
                child.kill()?;
                child.wait()?;
                break None;
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let output = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
        Ok(Ended { status, output, took: start.elapsed() })
    }
}

impl Outcome {
    /// One line: statuses, comparisons, differences; and whether all is well.
    fn line(&self, name: &str, same_verdict: bool) -> (String, bool) {
        let number = |value: &Value| value.as_u64().unwrap_or(0);
        let check = &self.summary["check"];
        let status = |ended: &Ended| match ended.status {
            None => "too long".to_owned(),
            Some(status) => status.code().map_or_else(|| status.to_string(), |code| code.to_string()),
        };
        let differences = number(&check["differences"]);
        let is_well = same_verdict && differences == 0 && number(&check["compared"]) > 0;
        let calls = number(&self.summary["total"]["calls"]);
        let line = format!(
            "{name:<22} {:>8} {:>8}  {:<9} {calls:>8} {:>9} {differences:>5} {:>5} {:>8.1} s {:>8.1} s",
            status(&self.plain),
            status(&self.watched),
            if same_verdict { "same" } else { "DIFFERENT" },
            number(&check["compared"]),
            number(&self.summary["drift"]),
            self.plain.took.as_secs_f64(),
            self.watched.took.as_secs_f64(),
        );
        (line, is_well)
    }
}

/// Runs programs one after the other, a line for each; fails, with all their names, when any is not well.
fn each<'a>(
    watch: &Watch,
    what: &str,
    names: impl IntoIterator<Item = &'a str>,
    mut run: impl FnMut(&str) -> Result<(Outcome, bool)>,
) -> Result<()> {
    println!("{}", heading(what));
    let mut wrong = Vec::new();
    for name in names {
        let (outcome, same_verdict) = run(name)?;
        let (line, is_well) = outcome.line(name, same_verdict);
        println!("{line}");
        if !is_well {
            wrong.push(name);
        }
    }
    if !wrong.is_empty() {
        bail!(
            "not as without us, or not equal: {} (outputs in {})",
            wrong.join(", "),
            watch.folder.display()
        );
    }
    Ok(())
}

/// The heading over [`Outcome::line`].
fn heading(name: &str) -> String {
    format!(
        "{name:<22} {:>8} {:>8}  {:<9} {:>8} {:>9} {:>5} {:>5} {:>10} {:>10}",
        "alone", "watched", "verdict", "calls", "compared", "diff", "drift", "alone", "watched"
    )
}

/// Fails when a program of a package is missing.
fn need(program: &str, package: &str) -> Result<()> {
    let there = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()));
    if !there {
        bail!("{program} is missing: apt-get install {package}");
    }
    Ok(())
}
