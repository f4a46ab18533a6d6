//! Recordings of real programs, replayed: against every snapshot of the kernel, every keyframe and every page snapshot in them.

use super::Watch;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

const MANIFEST: &str =
    "[package]\nname = \"replayed\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[workspace]\n";
const SOURCE: &str = "use std::collections::BTreeMap;\n\
    fn main() {\n    let words = std::env::args().skip(1);\n    let mut counts: BTreeMap<String, usize> = BTreeMap::new();\n    \
    words.for_each(|word| *counts.entry(word).or_default() += 1);\n    println!(\"{counts:?}\");\n}\n";

pub(super) fn run(watch: &Watch) -> Result<()> {
    let folder = watch.folder.join(format!("replays-{}", std::process::id()));
    fs::create_dir_all(folder.join("src"))?;
    let done = all(watch, &folder);
    fs::remove_dir_all(&folder)?;
    done
}

fn all(watch: &Watch, folder: &Path) -> Result<()> {
    fs::write(folder.join("Cargo.toml"), MANIFEST)?;
    fs::write(folder.join("src/main.rs"), SOURCE)?;
    let programs: [(&str, &[&str]); 2] = [
        ("python3 -c \"import json\"", &["python3", "-c", "import json"]),
        ("cargo build --offline", &["cargo", "build", "--offline", "--quiet"]),
    ];
    println!(
        "{:<26} {:>8} {:>10} {:>10} {:>10} {:>8} {:>6}",
        "program", "events", "snapshots", "keyframes", "pages", "answers", "differ"
    );
    let mut wrong = Vec::new();
    for (name, command) in programs {
        let value = one(watch, folder, command).with_context(|| name.to_owned())?;
        let number = |pointer: &str| value.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
        let differences = number("/differences");
        println!(
            "{name:<26} {:>8} {:>10} {:>10} {:>10} {:>8} {differences:>6}",
            number("/events"),
            number("/snapshots/compared"),
            number("/keyframes/compared"),
            number("/looks/compared"),
            number("/asked"),
        );
        let is_compared = number("/snapshots/compared") > 0 && number("/looks/compared") > 0;
        if differences > 0 || value["sound"] != true || value["ended"] != true || !is_compared {
            wrong.push(name);
        }
    }
    if !wrong.is_empty() {
        bail!("not sound, or nothing was compared: {}", wrong.join(", "));
    }
    Ok(())
}

/// Records a program with its call stacks and pages; what `verify` says of it.
fn one(watch: &Watch, folder: &Path, command: &[&str]) -> Result<Value> {
    let rec = folder.join("rec");
    let status = Command::new(&watch.vmatlas)
        .args(["run", "--stacks", "--pages", "--force", "-o"])
        .arg(&rec)
        .arg("--")
        .args(command)
        .current_dir(folder)
        // The compiler and the place of what it makes are those of the small program, not ours.
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("CARGO")
        .stdin(Stdio::null())
        .status()?;
    if !status.success() {
        bail!("ended with {status}");
    }
    let verified =
        Command::new(&watch.vmatlas).arg("verify").arg(&rec).arg("--json").stdin(Stdio::null()).output()?;
    let value = serde_json::from_slice(&verified.stdout);
    fs::remove_dir_all(folder.join("target")).ok();
    value.with_context(|| String::from_utf8_lossy(&verified.stderr).into_owned())
}
