//! Our figures beside those of smaps, VMA by VMA.
//!
//! vmatlas reads both (`show --smaps`), because a reader counts: while it lives it maps the C library too, and the share
//! of every other process is smaller. What does not depend on others is checked with a reading of smaps of our own.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Our figure, and the keys of smaps whose sum it must be.
const FIGURES: &[(&str, &[&str])] = &[
    ("resident", &["Rss"]),
    ("anonymous", &["Anonymous"]),
    ("swapped", &["Swap"]),
    ("huge", &["AnonHugePages", "ShmemPmdMapped", "FilePmdMapped"]),
    ("hugetlb", &["Shared_Hugetlb", "Private_Hugetlb"]),
    ("private", &["Private_Clean", "Private_Dirty"]),
    ("shared", &["Shared_Clean", "Shared_Dirty"]),
    ("pss", &["Pss"]),
];

/// What was compared.
#[derive(Default)]
pub(super) struct Compared {
    pub(super) processes: u64,
    pub(super) vmas: u64,
    pub(super) resident: u64,
    pub(super) huge: u64,
    pub(super) swapped: u64,
    pub(super) figures: u64,
    /// Not told by us: swapped pages of shared objects, which only smaps knows.
    pub(super) unknown: u64,
    /// Never stood still while others mapped and unmapped the same files.
    pub(super) unsteady: u64,
    /// Process, address, figure, ours, theirs.
    pub(super) differences: Vec<String>,
}

/// The sizes of each VMA of smaps, by its first address; a reader of its own, to check ours.
fn smaps(pid: u32) -> Result<BTreeMap<String, BTreeMap<String, u64>>> {
    let text = fs::read(format!("/proc/{pid}/smaps"))?;
    let mut vmas: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    let mut at = String::new();
    for line in String::from_utf8_lossy(&text).lines() {
        let first = line.split_ascii_whitespace().next().unwrap_or_default();
        if let Some(key) = first.strip_suffix(':') {
            let kib = line.split_ascii_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok());
            if let (true, Some(kib)) = (line.ends_with(" kB"), kib) {
                vmas.entry(at.clone()).or_default().insert(key.to_owned(), kib * 1024);
            }
        } else if let Some((start, _)) = first.split_once('-') {
            at = format!("{:#x}", u64::from_str_radix(start, 16).context("an address of smaps")?);
        }
    }
    Ok(vmas)
}

fn ours(vmatlas: &Path, pid: u32) -> Result<Vec<Value>> {
    let output = Command::new(vmatlas)
        .args(["show", "--json", "--columns", "private,shared,pss", "--smaps", "-p", &pid.to_string()])
        .output()?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr));
    }
    let mut shown: Value = serde_json::from_slice(&output.stdout)?;
    match shown["vmas"].take() {
        Value::Array(vmas) => Ok(vmas),
        _ => bail!("no VMAs"),
    }
}

/// Compares a process that stands still. Other processes do not: a figure is compared where ours was the same before
/// and after smaps was read, and read again where it was not.
pub(super) fn compare(vmatlas: &Path, pid: u32, sum: &mut Compared) -> Result<()> {
    const TRIES: u32 = 30;
    let mut before = ours(vmatlas, pid)?;
    sum.processes += 1;
    sum.vmas += before.len() as u64;
    let of = |name: &str| before.iter().filter_map(|vma| vma[name].as_u64()).sum::<u64>();
    sum.resident += of("resident");
    sum.huge += of("huge");
    sum.swapped += of("swapped");
    let mut open: Vec<(usize, usize)> =
        (0..before.len()).flat_map(|vma| (0..FIGURES.len()).map(move |figure| (vma, figure))).collect();
    for _ in 0..TRIES {
        let theirs = smaps(pid)?;
        let after = ours(vmatlas, pid)?;
        if after.len() != before.len() {
            bail!("process {pid} changed its map while it was stopped");
        }
        open.retain(|(vma, figure)| {
            let (Some(a), Some(b), Some((name, keys))) =
                (before.get(*vma), after.get(*vma), FIGURES.get(*figure))
            else {
                return false;
            };
            if a[*name] != b[*name] {
                return true;
            }
            let start = b["start"].as_str().unwrap_or_default();
            if b["name"] == "[vsyscall]" {
                return false;
            }
            // A figure that comes from smaps proves nothing.
            let Some(own) = b[*name].as_u64().filter(|_| b[format!("{name}_from")].is_null()) else {
                sum.unknown += 1;
                return false;
            };
            let kernel: u64 = keys.iter().filter_map(|key| a["smaps"][*key].as_u64()).sum();
            let is_own = !["private", "shared", "pss"].contains(name);
            if let Some(fields) = theirs.get(start).filter(|_| is_own) {
                let again: u64 = keys.iter().filter_map(|key| fields.get(*key)).sum();
                if again != kernel {
                    sum.differences
                        .push(format!("{pid} {start}: {name} of smaps {kernel}, read again {again}"));
                }
            } else if is_own {
                sum.differences.push(format!("{pid} {start}: not in smaps"));
                return false;
            }
            // smaps rounds the proportional share down to a KiB.
            let own = if *name == "pss" { own / 1024 * 1024 } else { own };
            sum.figures += 1;
            if own != kernel {
                sum.differences.push(format!("{pid} {start} {}: {name} {own}, smaps {kernel}", b["name"]));
            }
            false
        });
        before = after;
        if open.is_empty() {
            break;
        }
    }
    sum.unsteady += open.len() as u64;
    Ok(())
}
