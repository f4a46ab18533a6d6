//! The walls of the house: which crate may use which, and where `unsafe` may be.

use crate::metadata::{self, Kind, Package};
use crate::{fail_on, root, source};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// Every crate below crates/, without its `vmatlas-`, and the crates it may use; tests may use any.
const ARROWS: &[(&str, &[&str])] = &[
    ("event", &[]),
    ("model", &["event"]),
    ("view", &["event", "model"]),
    ("sys", &["event"]),
    ("proc", &["event", "sys"]),
    ("trace", &["event", "sys"]),
    ("stack", &["event", "sys"]),
    ("record", &["event", "sys"]),
    ("lab", &["event", "model", "view", "sys", "proc", "trace", "stack", "record"]),
    ("tui", &["event", "model", "view", "sys", "proc", "trace", "stack", "record", "lab"]),
    ("web", &["event", "model", "view", "sys", "proc", "trace", "stack", "record", "lab"]),
    ("cli", &["event", "model", "view", "sys", "proc", "trace", "stack", "record", "lab", "tui", "web"]),
    ("testkit", &["event", "sys"]),
];

/// Crates that are no part of the product: only tests may use them.
const TOOLS: &[&str] = &["testkit", "xtask"];

/// The one crate that may hold `unsafe`.
const FENCE: &str = "sys";

/// Checks the arrows between the crates of the workspace and the fence around `unsafe`.
pub(crate) fn check() -> Result<()> {
    let packages = metadata::workspace()?;
    let mut faults = broken_arrows(&packages, ARROWS);
    for package in packages.iter().filter(|p| short(&p.name) != FENCE) {
        faults.extend(unsafe_outside_the_fence(package)?);
    }
    fail_on(&faults, "broken walls between crates:")?;
    println!("{} crates: every arrow allowed, unsafe in {FENCE} only", packages.len());
    Ok(())
}

fn short(name: &str) -> &str {
    name.strip_prefix("vmatlas-").unwrap_or(name)
}

/// One sentence for each use that the table does not allow; what third parties use is not looked at.
fn broken_arrows(packages: &[Package], arrows: &[(&str, &[&str])]) -> Vec<String> {
    let ours = |name: &str| packages.iter().any(|p| p.name == name);
    let mut faults = Vec::new();
    // xtask is no part of the house; it may use what it likes.
    for package in packages.iter().filter(|p| p.name != "xtask") {
        let name = short(&package.name);
        let Some((_, allowed)) = arrows.iter().find(|(from, _)| *from == name) else {
            faults.push(format!(
                "{} is in no row of the table of arrows: say in xtask/src/layers.rs what it may use",
                package.name
            ));
            continue;
        };
        let uses = package.dependencies.iter().filter(|d| d.kind != Kind::Dev && ours(&d.name));
        for used in uses.map(|d| short(&d.name)).filter(|used| !allowed.contains(used)) {
            faults.push(if TOOLS.contains(&used) {
                format!("{name} uses {used}, which is for tests alone: make it a dev-dependency")
            } else {
                format!("{name} uses {used}, but may use only: {}", list(allowed))
            });
        }
    }
    faults
}

fn list(allowed: &[&str]) -> String {
    if allowed.is_empty() { "nothing of ours".to_owned() } else { allowed.join(", ") }
}

fn unsafe_outside_the_fence(package: &Package) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for path in &package.product_roots {
        if !source::forbids_unsafe(&read(path)?) {
            faults.push(format!("{}: #![forbid(unsafe_code)] is missing", shown(path)));
        }
    }
    // The attribute guards a library and its programs; tests, benchmarks and examples are crates of their own.
    for path in rust_files(&package.folder)? {
        for line in source::unsafe_lines(&read(&path)?) {
            faults.push(format!("{}:{line}: unsafe belongs in {FENCE} only", shown(&path)));
        }
    }
    Ok(faults)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| path.display().to_string())
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

fn rust_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if entry.file_name() != "target" {
                found.extend(rust_files(&path)?);
            }
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Dependency;

    fn package(name: &str, uses: &[(&str, Kind)]) -> Package {
        let dependencies =
            uses.iter().map(|(name, kind)| Dependency { name: (*name).to_owned(), kind: *kind }).collect();
        Package { name: name.to_owned(), dependencies, ..Package::default() }
    }

    fn house(model_uses: &[(&str, Kind)]) -> Vec<Package> {
        vec![
            package("vmatlas-event", &[]),
            package("vmatlas-sys", &[("vmatlas-event", Kind::Normal), ("libc", Kind::Normal)]),
            package("vmatlas-testkit", &[("vmatlas-sys", Kind::Normal)]),
            package("vmatlas-model", model_uses),
            package("xtask", &[("vmatlas-model", Kind::Normal)]),
        ]
    }

    /// Checks that a house whose arrows are all in the table has no fault, third parties and tests included.
    #[test]
    fn a_sound_house_has_no_fault() {
        let uses = [
            ("vmatlas-event", Kind::Normal),
            ("rustc-hash", Kind::Normal),
            ("vmatlas-sys", Kind::Dev),
            ("vmatlas-testkit", Kind::Dev),
        ];
        assert_eq!(broken_arrows(&house(&uses), ARROWS), [""; 0]);
    }

    /// Checks that a broken arrow is one line that names both crates and what would be allowed.
    #[test]
    fn a_broken_arrow_names_both_ends_and_the_allowed() {
        let faults = broken_arrows(&house(&[("vmatlas-sys", Kind::Normal)]), ARROWS);
        assert_eq!(faults, ["model uses sys, but may use only: event"]);
        let faults = broken_arrows(&house(&[("vmatlas-sys", Kind::Build)]), ARROWS);
        assert_eq!(faults, ["model uses sys, but may use only: event"]);
        let upside_down = [
            package("vmatlas-event", &[("vmatlas-model", Kind::Normal)]),
            package("vmatlas-model", &[("vmatlas-event", Kind::Normal)]),
        ];
        let faults = broken_arrows(&upside_down, ARROWS);
        assert_eq!(faults, ["event uses model, but may use only: nothing of ours"]);
    }

    /// Checks that the product cannot depend on the tools of the tests.
    #[test]
    fn tools_are_for_tests_alone() {
        let faults = broken_arrows(&house(&[("vmatlas-testkit", Kind::Normal)]), ARROWS);
        assert_eq!(faults, ["model uses testkit, which is for tests alone: make it a dev-dependency"]);
        let faults = broken_arrows(&house(&[("xtask", Kind::Build)]), ARROWS);
        assert_eq!(faults, ["model uses xtask, which is for tests alone: make it a dev-dependency"]);
    }

    /// Checks that a new crate must be given its place.
    #[test]
    fn an_unknown_crate_is_a_fault() {
        let faults = broken_arrows(&[package("vmatlas-attic", &[])], ARROWS);
        assert_eq!(faults.len(), 1);
        assert!(faults[0].starts_with("vmatlas-attic is in no row"), "{faults:?}");
    }

    /// Checks that the table itself has no circle: whoever is used comes before its user, the tools last.
    #[test]
    fn the_table_has_no_circle() {
        for (at, (name, allowed)) in ARROWS.iter().enumerate() {
            for used in *allowed {
                let before = ARROWS[..at].iter().any(|(earlier, _)| earlier == used);
                assert!(before, "{name} may use {used}, which is not above it");
                assert!(!TOOLS.contains(used), "{name} may use {used}");
            }
        }
    }
}
