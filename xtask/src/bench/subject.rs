//! The programs that take part in a measurement.

use crate::root;
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

/// Release builds of everything that is measured, and a folder for what they write.
pub(super) struct Programs {
    pub(super) vmatlas: PathBuf,
    /// Does one thing many times (crates/testkit/src/bin/vmatlas-subject.rs).
    pub(super) subject: PathBuf,
    /// Two ptrace stops for each call and nothing else (crates/trace/examples/ptrace_floor.rs).
    pub(super) floor: PathBuf,
    /// Reads a maps file (crates/proc/examples/read_maps.rs).
    pub(super) read_maps: PathBuf,
    /// Reads the pages of each VMA (crates/proc/examples/read_pages.rs).
    pub(super) read_pages: PathBuf,
    /// Applies calls to the model alone (crates/model/examples/model_speed.rs).
    pub(super) model_speed: PathBuf,
    /// Makes and reads a large recording (crates/record/examples/recording_speed.rs).
    pub(super) recording_speed: PathBuf,
    pub(super) scratch: PathBuf,
}

impl Programs {
    /// Builds them.
    pub(super) fn build() -> Result<Programs> {
        let cargo = |args: &[&str]| -> Result<()> {
            let status = Command::new("cargo")
                .args(["build", "--release", "--quiet"])
                .args(args)
                .current_dir(root())
                .status()?;
            if !status.success() {
                bail!("cargo build {} failed", args.join(" "));
            }
            Ok(())
        };
        cargo(&["-p", "vmatlas-cli", "-p", "vmatlas-testkit", "--bins"])?;
        let measuring = ["vmatlas-trace", "vmatlas-proc", "vmatlas-model", "vmatlas-record"];
        cargo(&[&["--examples"][..], &measuring.map(|name| ["-p", name]).concat()].concat())?;
        let release = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| root().join("target"), PathBuf::from)
            .join("release");
        let scratch = release.join("bench");
        std::fs::create_dir_all(&scratch).with_context(|| scratch.display().to_string())?;
        Ok(Programs {
            vmatlas: release.join("vmatlas"),
            subject: release.join("vmatlas-subject"),
            floor: release.join("examples/ptrace_floor"),
            read_maps: release.join("examples/read_maps"),
            read_pages: release.join("examples/read_pages"),
            model_speed: release.join("examples/model_speed"),
            recording_speed: release.join("examples/recording_speed"),
            scratch,
        })
    }
}

/// A program that has printed `ready` and waits until its input ends, which it does when this is dropped.
pub(super) struct Sleeper {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Sleeper {
    pub(super) fn start(program: &Path, args: &[&str]) -> Result<Sleeper> {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("{command:?}"))?;
        let stdout = BufReader::new(child.stdout.take().context("stdout is piped")?);
        let mut sleeper = Sleeper { child, stdout };
        if sleeper.read_line()? != "ready" {
            bail!("{command:?} did not get ready");
        }
        Ok(sleeper)
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line that it prints.
    pub(super) fn read_line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }

    /// Tells it something.
    pub(super) fn write_line(&mut self, line: &str) -> Result<()> {
        writeln!(self.child.stdin.as_mut().context("stdin is piped")?, "{line}")?;
        Ok(())
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
