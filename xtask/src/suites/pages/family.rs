//! A program and all it started: stopped together, and ended together by their numbers.

use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// How long a program may take to be ready or to stand still.
const LIMIT: Duration = Duration::from_secs(120);

pub(super) struct Family {
    child: Child,
    /// A swap file that was switched on for it.
    pub(super) swap_file: Option<PathBuf>,
}

impl Family {
    /// Starts a command whose standard input stays open.
    pub(super) fn start(command: &mut Command) -> Result<Family> {
        command.stdin(Stdio::piped()).stderr(Stdio::null());
        let child = command.spawn().with_context(|| format!("{command:?}"))?;
        Ok(Family { child, swap_file: None })
    }

    /// Starts a command that says "ready" on standard output.
    pub(super) fn start_and_hear(command: &mut Command) -> Result<Family> {
        let mut family = Family::start(command.stdout(Stdio::piped()))?;
        let stdout = family.child.stdout.take().context("no output")?;
        let (send, hear) = mpsc::channel();
        thread::spawn(move || {
            let mut line = String::new();
            let read = BufReader::new(stdout).read_line(&mut line);
            // Nobody may listen any more.
            let _ = send.send(read.map(|_| line));
        });
        match hear.recv_timeout(LIMIT) {
            Ok(Ok(line)) if line.trim() == "ready" => Ok(family),
            other => bail!("{command:?} is not ready: {other:?}"),
        }
    }

    /// Waits until something is there.
    pub(super) fn wait_for(&mut self, what: &str, mut is_there: impl FnMut() -> bool) -> Result<()> {
        let start = Instant::now();
        while !is_there() {
            if let Some(status) = self.child.try_wait()? {
                bail!("ended before {what}: {status}");
            }
            if start.elapsed() > LIMIT {
                bail!("no {what}");
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The program and all its descendants.
    pub(super) fn pids(&self) -> BTreeSet<u32> {
        let mut all = BTreeSet::from([self.child.id()]);
        loop {
            let known = all.len();
            for pid in numbers("/proc") {
                let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                // The name may hold anything, a parenthesis too.
                let parent =
                    stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
                if parent.is_some_and(|parent| all.contains(&parent)) {
                    all.insert(pid);
                }
            }
            if all.len() == known {
                return all;
            }
        }
    }

    /// Stops all of them and waits until every thread stands still.
    pub(super) fn stop(&mut self) -> Result<BTreeSet<u32>> {
        let pids = self.pids();
        let pids: BTreeSet<u32> =
            pids.into_iter().filter(|pid| state(&format!("/proc/{pid}")) != "Z").collect();
        signal("-STOP", &pids)?;
        let stands = |pid: &u32| {
            let tasks = format!("/proc/{pid}/task");
            numbers(&tasks).iter().all(|tid| ["T", "Z"].contains(&state(&format!("{tasks}/{tid}")).as_str()))
        };
        self.wait_for("standstill", || pids.iter().all(stands))?;
        // Some ended just then, or were ended before and are not collected yet.
        Ok(pids.into_iter().filter(|pid| state(&format!("/proc/{pid}")) != "Z").collect())
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        // Those that are ended already need nothing.
        let _ = signal("-KILL", &self.pids());
        let _ = self.child.wait();
        if let Some(file) = &self.swap_file {
            let off = Command::new("swapoff").arg(file).status();
            if !off.is_ok_and(|status| status.success()) {
                eprintln!("{} is still switched on: swapoff it", file.display());
            }
        }
    }
}

fn signal(signal: &str, pids: &BTreeSet<u32>) -> Result<()> {
    let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
    Command::new("kill").arg(signal).args(pids).stderr(Stdio::null()).status().context("kill")?;
    Ok(())
}

fn state(folder: &str) -> String {
    let stat = fs::read_to_string(format!("{folder}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").map(|(_, rest)| rest.chars().take(1).collect()).unwrap_or_else(|| "Z".to_owned())
}

fn numbers(folder: &str) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}
