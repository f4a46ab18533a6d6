//! The test command: every check, one after the other, each with its time; it ends with all results in one place.

mod machine;
mod scratch;
mod tools;
mod unprivileged;

use crate::metadata::cargo;
use crate::suites::parquet;
use crate::{bpf, layers, licences, links, truth};
use anyhow::{Context, Result, bail};
use machine::Powers;
use scratch::Scratch;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How much is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Everything.
    Full,
    /// Without the docs and without the second run as an ordinary user.
    Fast,
}

/// So many lines of what went wrong with a step stand in the summary.
const FAULT_LINES: usize = 40;

/// Runs every step, also after one that failed, and fails when any did.
pub(crate) fn run(extent: Extent) -> Result<()> {
    let powers = Powers::now()?;
    let scratch = Scratch::new()?;
    let mut report = Report::default();
    report.step("tools", || tools::provide(powers));
    report.step("fmt", || run_command(cargo().args(["fmt", "--all", "--check"])));
    report.step("clippy", clippy);
    report.step("layers", layers::check);
    report.step("licences", deny);
    report.step("links", links::check);
    report.step("bpf", || bpf::run(true));
    if extent == Extent::Full {
        report.step("docs", docs);
    }
    let skipped = scratch.path().join("skipped");
    if extent == Extent::Full {
        report.step("truth", || truth::short(powers.can_run_root_tests()));
    }
    report.step("tests", || tests(powers, &skipped));
    report.skipped("tests", &skipped);
    if extent == Extent::Full {
        report.step("parquet", parquet::run);
        if powers.is_root() {
            let skipped = unprivileged::skip_list(&scratch);
            report.step("tests as an ordinary user", || unprivileged::run(&scratch));
            report.skipped("tests as an ordinary user", &skipped);
        } else {
            println!(
                "\nThe tests ran as an ordinary user; as root they run once more, with the tests that need root."
            );
        }
    }
    report.finish()
}

fn clippy() -> Result<()> {
    run_command(cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

fn docs() -> Result<()> {
    run_command(
        cargo().args(["doc", "--no-deps", "--workspace", "--keep-going"]).env("RUSTDOCFLAGS", "-D warnings"),
    )
}

fn deny() -> Result<()> {
    let there = Command::new("cargo-deny")
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if there {
        return run_command(cargo().args(["deny", "check", "licenses", "bans"]));
    }
    println!("cargo-deny is not installed: checking the licences alone, by deny.toml");
    licences::check()
}

/// The tests as who we are; root must run the tests that need root.
fn tests(powers: Powers, skip_list: &Path) -> Result<()> {
    let mut command = cargo();
    command
        .args(["test", "--workspace", "--no-fail-fast"])
        .env("VMATLAS_CI", "1")
        .env("VMATLAS_SKIP_LIST", skip_list)
        .env_remove("VMATLAS_BIN")
        // Tests that start vmatlas as root mean root.
        .env_remove("SUDO_UID")
        .env_remove("PKEXEC_UID")
        .env_remove("DOAS_USER")
        .env_remove("VMATLAS_FIXTURES")
        .env_remove("VMATLAS_REQUIRE_ROOT_TESTS");
    if powers.can_run_root_tests() {
        command.env("VMATLAS_REQUIRE_ROOT_TESTS", "1");
    } else if powers.is_root() {
        println!("This root lacks capabilities (a container?): tests that need them may be skipped.");
    }
    run_command(&mut command)
}

/// Says what is run and runs it, its output going where ours goes.
fn run_command(command: &mut Command) -> Result<()> {
    println!("$ {}", spelled(command));
    io::stdout().flush()?;
    let status = command.status().with_context(|| spelled(command))?;
    if !status.success() {
        bail!("{} ended with {status}", spelled(command));
    }
    Ok(())
}

fn spelled(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// What became of each step.
#[derive(Default)]
struct Report {
    steps: Vec<Step>,
    skipped: Vec<String>,
}

struct Step {
    name: String,
    took: Duration,
    fault: Option<String>,
}

impl Report {
    fn step(&mut self, name: &str, body: impl FnOnce() -> Result<()>) {
        println!("\n== {name} ==");
        let start = Instant::now();
        let fault = body().err().map(|error| format!("{error:#}"));
        let step = Step { name: name.to_owned(), took: start.elapsed(), fault };
        println!("-- {}", step.line());
        if let Some(fault) = &step.fault {
            println!("{fault}");
        }
        self.steps.push(step);
    }

    /// Takes over the list of skips that the tests of a step wrote.
    fn skipped(&mut self, step: &str, list: &Path) {
        let text = fs::read_to_string(list).unwrap_or_default();
        self.skipped.extend(text.lines().map(|line| format!("{step}: {line}")));
    }

    /// Says everything once more where it is seen: at the end.
    fn finish(self) -> Result<()> {
        println!("\n== summary ==");
        for line in &self.skipped {
            println!("{line}");
        }
        for step in &self.steps {
            println!("{}", step.line());
            // What came in between may be long, or cut where it is kept.
            for line in step.fault.iter().flat_map(|fault| fault.lines()).take(FAULT_LINES) {
                println!("    {line}");
            }
        }
        let failed: Vec<&str> =
            self.steps.iter().filter(|s| s.fault.is_some()).map(|s| s.name.as_str()).collect();
        let total: Duration = self.steps.iter().map(|s| s.took).sum();
        if !failed.is_empty() {
            bail!("failed: {} ({:.1} s)", failed.join(", "), total.as_secs_f64());
        }
        println!("all {} steps passed in {:.1} s", self.steps.len(), total.as_secs_f64());
        Ok(())
    }
}

impl Step {
    fn line(&self) -> String {
        let outcome = if self.fault.is_none() { "ok" } else { "FAILED" };
        format!("{}: {outcome} ({:.1} s)", self.name, self.took.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that a failed step does not keep the next from running, and that the end tells which failed.
    #[test]
    fn every_step_runs_and_the_end_names_the_failed() {
        let mut report = Report::default();
        let mut ran = 0;
        report.step("a", || bail!("broken"));
        report.step("b", || {
            ran += 1;
            Ok(())
        });
        assert_eq!(ran, 1);
        let error = report.finish().unwrap_err().to_string();
        assert!(error.starts_with("failed: a ("), "{error}");
    }

    /// Checks that a report of good steps is good.
    #[test]
    fn good_steps_make_a_good_report() {
        let mut report = Report::default();
        report.step("a", || Ok(()));
        report.finish().unwrap();
    }

    /// Checks that commands are shown by their names and not by the places where they are installed.
    #[test]
    fn commands_are_shown_without_their_folders() {
        assert_eq!(spelled(Command::new("/opt/x/bin/cargo").args(["test", "--all"])), "cargo test --all");
    }
}
