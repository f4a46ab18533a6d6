//! The lab on another kernel: every experiment inside Debian's user-mode-linux, a Linux 6.1.

use super::{Watch, need};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

/// Before the line with all experiments.
const MARK: &str = "vmatlas-lab ";

pub(super) fn run(watch: &Watch) -> Result<()> {
    need("linux.uml", "user-mode-linux")?;
    // Not over /tmp: the tree, and so vmatlas, may lie there.
    let init = watch.folder.join("init-lab.sh");
    let script = format!(
        "#!/bin/sh\n\
         mount -t proc proc /proc; mount -t tmpfs tmp /mnt; export TMPDIR=/mnt\n\
         exec > /dev/console 2>&1\n\
         {} lab --all --json > /mnt/all; echo \"{MARK}$(cat /mnt/all)\"\n\
         echo o > /proc/sysrq-trigger; sleep 5\n",
        watch.vmatlas.display(),
    );
    fs::write(&init, script)?;
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755))?;
    let init = format!("init={}", init.display());
    let root = ["root=/dev/root", "rootfstype=hostfs", "hostfs=/", "ro", "mem=512M"];
    let words = [&["linux.uml"], &root[..], &["con0=null,fd:1", "con=null", "quiet", &init]].concat();
    let ended = watch.one("uml-lab", &words, Duration::from_secs(180))?;
    let line = ended.output.lines().rev().find_map(|line| line.split_once(MARK).map(|(_, rest)| rest.trim()));
    let all: Value = serde_json::from_str(line.context("no result on the console")?)?;
    let experiments = all["experiments"].as_array().context("no experiments")?;
    let mut broken = Vec::new();
    for experiment in experiments {
        let name = experiment["experiment"].as_str().unwrap_or("?");
        let facts = experiment["facts"].as_array().map_or(&[][..], Vec::as_slice);
        let number = |holds: &Value| facts.iter().filter(|fact| fact["holds"] == *holds).count();
        let (open, held) = (number(&Value::Null), number(&Value::Bool(true)));
        println!("{name}: {held} of {} facts hold, {open} open", facts.len());
        broken
            .extend(facts.iter().filter(|fact| fact["holds"] == false).map(|fact| format!("{name}: {fact}")));
        if facts.is_empty() {
            broken.push(format!("{name}: {}", experiment["error"]));
        }
    }
    if broken.is_empty() { Ok(()) } else { bail!("does not hold:\n{}", broken.join("\n")) }
}
