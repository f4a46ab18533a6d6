//! The truth of another kernel: random calls under `run --check` inside Debian's user-mode-linux, a Linux 6.1.
//!
//! It boots in a second with the host's files as its root, read-only; what comes out of it is its console.

use super::{Watch, need};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::fs;
use std::time::{Duration, Instant};

/// As many calls as one boot makes: its memory is small, and a difference is found sooner.
const CHUNK: u64 = 100_000;
/// Before the line with the summary.
const MARK: &str = "vmatlas-summary ";

pub(super) fn run(watch: &Watch, args: &[&str]) -> Result<()> {
    need("linux.uml", "user-mode-linux")?;
    let mut calls = 20_000;
    let mut seed = 1;
    for pair in args.chunks(2) {
        match pair {
            ["--calls", n] => calls = n.parse().context("--calls takes a number")?,
            ["--seed", n] => seed = n.parse().context("--seed takes a number")?,
            _ => bail!("not understood: {}", pair.join(" ")),
        }
    }
    let start = Instant::now();
    let (mut done, mut asked, mut drift, mut chunk) = (0, 0, 0, 0);
    while done < calls {
        let summary = boot(watch, seed, chunk * 1_000_000, CHUNK.min(calls - done))?;
        let number = |value: &Value| value.as_u64().unwrap_or(0);
        done += number(&summary["total"]["calls"]);
        asked += number(&summary["asked"]);
        drift += number(&summary["drift"]);
        chunk += 1;
        println!("{done} calls, {:.0} s", start.elapsed().as_secs_f64());
    }
    let share = 100.0 * asked as f64 / done as f64;
    println!("{done} calls compared, 0 differences, {drift} drift, the kernel was asked about {share:.1} %");
    Ok(())
}

/// Boots, makes the calls, halts; the summary, where there was no difference.
fn boot(watch: &Watch, seed: u64, from: u64, calls: u64) -> Result<Value> {
    let init = watch.folder.join("init.sh");
    // A page registered with userfaultfd blocks the kernel's own access there, which its steps rely on failing: UML takes
    // its own access for the program's.
    let script = format!(
        "#!/bin/sh\n\
         mount -t proc proc /proc; mount -t tmpfs tmp /run\n\
         exec > /dev/console 2>&1\n\
         cd /run; export NO_COLOR=1; uname -r\n\
         {} run --check -c --jsonl=/run/s -- {} --calls {calls} --seed {seed} --from {from} \
         --without uffd_register,uffd_unregister,uffd_close\n\
         echo \"vmatlas-status $?\"; echo \"{MARK}$(tail -1 /run/s)\"\n\
         echo o > /proc/sysrq-trigger; sleep 5\n",
        watch.vmatlas.display(),
        watch.subject.display(),
    );
    fs::write(&init, script)?;
    fs::set_permissions(&init, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let init = format!("init={}", init.display());
    let words = [
        "linux.uml",
        "root=/dev/root",
        "rootfstype=hostfs",
        "hostfs=/",
        "ro",
        "mem=512M",
        "con0=null,fd:1",
        "con=null",
        "quiet",
        &init,
    ];
    // Some 700 calls a second, and ten times as long where the machine is busy.
    let limit = Duration::from_secs(60 + calls / 70);
    let ended = watch.one(&format!("uml-{seed}-{from}"), &words, limit)?;
    let console = &ended.output;
    let line = |mark: &str| {
        console.lines().rev().find_map(|line| line.split_once(mark).map(|(_, rest)| rest.trim()))
    };
    let summary = line(MARK).and_then(|line| serde_json::from_str::<Value>(line).ok());
    match (line("vmatlas-status "), summary) {
        (Some("0"), Some(summary)) if summary["check"]["differences"] == 0 => Ok(summary),
        (status, _) => {
            let tail: Vec<&str> = console.lines().rev().take(60).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            bail!(
                "seed {seed}, epochs from {from}: status {status:?}; the end of the console:\n{}",
                tail.join("\n")
            )
        }
    }
}
