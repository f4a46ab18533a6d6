//! `run --pages`, from outside: what is resident in a traced program at some moments, and unknown at all others.

#![expect(clippy::unwrap_used, reason = "a test binary")]
#![forbid(unsafe_code)]

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};
use vmatlas_testkit::{Capability, need, vmatlas_binary};

fn vmatlas(args: &[&str]) -> Output {
    let binary = vmatlas_binary(env!("CARGO_BIN_EXE_vmatlas"));
    Command::new(binary).env("LC_ALL", "C").env("NO_COLOR", "1").args(args).output().unwrap()
}

fn json(args: &[&str]) -> Value {
    let output = vmatlas(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Records a program that prints what the kernel counts of it; the recording, and how much was resident then, in bytes.
fn record(folder: &Path, options: &[&str]) -> (String, u64) {
    let rec = folder.join("rec").display().to_string();
    let args = [&["run", "-o", &rec, "--pages"], options, &["--", "cat", "/proc/self/smaps_rollup"]].concat();
    let output = vmatlas(&args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let rss = text.lines().find_map(|line| line.strip_prefix("Rss:")).unwrap();
    (rec, rss.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024)
}

fn sum(sites: &Value, key: &str) -> u64 {
    sites.as_array().unwrap().iter().map(|site| site[key].as_u64().unwrap()).sum()
}

/// Checks that the resident pages before the end are those that the kernel counted a moment before, that every call site has its
/// part of them, and that replay agrees.
#[test]
fn pages_before_the_end_are_the_kernels() {
    if !need(Capability::Ptrace) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for options in [&[][..], &["--stacks", "--force"]] {
        let (rec, rss) = record(folder.path(), options);
        let shown = json(&["show", &rec, "--json"]);
        let vmas = shown["vmas"].as_array().unwrap();
        let resident: u64 = vmas.iter().filter_map(|vma| vma["resident"].as_u64()).sum();
        // It wrote its output and ended since: some pages more, none less.
        assert!(rss <= resident && resident - rss < 1 << 20, "{rss} {resident}");
        let origins = json(&["origins", &rec, "--json", "--by", "resident"]);
        assert_eq!(sum(&origins["sites"], "resident"), resident, "{origins:#}");
        let order: Vec<u64> = origins["sites"]
            .as_array()
            .unwrap()
            .iter()
            .map(|site| site["resident"].as_u64().unwrap())
            .collect();
        assert!(order.is_sorted_by(|a, b| a >= b), "{order:?}");
        let sheet = vmatlas(&["rss", &rec]);
        assert!(sheet.status.success(), "{}", String::from_utf8_lossy(&sheet.stderr));
        let verified = json(&["verify", &rec, "--json"]);
        assert_eq!((&verified["looks"]["compared"], &verified["differences"]), (&1.into(), &0.into()));
        assert_eq!(json(&["info", &rec, "--json"])["recording"]["page_snapshots"], 1);
    }
}

/// Checks that residency is unknown at every other moment, with word of where it is known, and that `pages` says what there is.
#[test]
fn between_snapshots_nothing_is_known() {
    if !need(Capability::Ptrace) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (rec, _) = record(folder.path(), &[]);
    let at_exec = format!("{rec}@exec");
    let origins = json(&["origins", &at_exec, "--json"]);
    let known_at = &origins["process"]["source"]["pages_at"];
    let sites = origins["sites"].as_array().unwrap();
    assert!(
        sites.iter().all(|site| site["resident"].is_null() && site["resident_why"] == "unknown"),
        "{origins:#}"
    );
    let named = known_at[0].as_str().unwrap();
    let there = json(&["show", named, "--json"]);
    assert_eq!(there["vmas"], json(&["show", &rec, "--json"])["vmas"]);
    let refused = vmatlas(&["rss", &at_exec]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && said.contains(named) && said.lines().count() == 1, "{said}");
    let refused = vmatlas(&["pages", &at_exec]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(
        !refused.status.success() && said.contains("--by resident") && said.lines().count() == 1,
        "{said}"
    );
}

/// Checks that a recording without page snapshots says so, and that they are refused where nothing holds the program.
#[test]
fn what_was_not_recorded_is_said() {
    if !need(Capability::Ptrace) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let rec = folder.path().join("rec").display().to_string();
    assert!(vmatlas(&["run", "-o", &rec, "--", "true"]).status.success());
    let shown = json(&["show", &rec, "--json"]);
    assert_eq!(shown["vmas"][0]["resident_why"], "not-recorded", "{shown:#}");
    let other = folder.path().join("other").display().to_string();
    let refused = vmatlas(&["run", "-o", &other, "--pages", "--backend", "bpf", "--", "true"]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.status.code() == Some(125) && said.contains("--pages"), "{said}");
    assert_eq!(vmatlas(&["run", "--pages", "--", "true"]).status.code(), Some(2));
}
