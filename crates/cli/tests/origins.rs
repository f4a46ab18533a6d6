//! `vmatlas origins`, from outside: sums of recorded programs against the map they are sums of.

#![expect(clippy::unwrap_used, reason = "a test binary")]
#![forbid(unsafe_code)]

use serde_json::Value;
use std::path::Path;
use std::process::Output;
use vmatlas_testkit::{Capability, need, vmatlas_command};

fn vmatlas(args: &[&str]) -> Output {
    vmatlas_command(env!("CARGO_BIN_EXE_vmatlas")).args(args).output().unwrap()
}

fn json(args: &[&str]) -> Value {
    let output = vmatlas(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text(args: &[&str]) -> String {
    let output = vmatlas(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Records `cat` reading a short file, with these options.
fn record(folder: &Path, options: &[&str]) -> String {
    let rec = folder.join("rec").display().to_string();
    let args = [&["run", "-o", &rec], options, &["--", "cat", "/proc/self/comm"]].concat();
    assert!(vmatlas(&args).status.success());
    rec
}

fn sum(sites: &[Value], key: &str) -> i64 {
    sites.iter().map(|site| site[key].as_i64().unwrap_or(0)).sum()
}

/// Checks that over all sites what is mapped and the VMAs are those that `show` counts at the same moment, and the calls those
/// that `log` tells.
#[test]
fn sites_add_up_to_the_map() {
    if !need(Capability::Ptrace) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for options in [&[][..], &["--stacks"]] {
        let rec = record(folder.path(), &[options, &["--force"]].concat());
        let origins = json(&["origins", &rec, "--json"]);
        assert_eq!(origins["schema"], "vmatlas/origins/1");
        let sites = origins["sites"].as_array().unwrap();
        let shown = json(&["show", &rec, "--json"]);
        let vmas: Vec<&Value> =
            shown["vmas"].as_array().unwrap().iter().filter(|vma| vma["name"] != "[vsyscall]").collect();
        let size: i64 = vmas.iter().map(|vma| vma["size"].as_i64().unwrap()).sum();
        // Nothing is left over that no event tells.
        assert!(sites.iter().all(|site| site["reason"] != "fork"), "{origins:#}");
        assert_eq!((sum(sites, "vmas"), sum(sites, "mapped")), (vmas.len() as i64, size), "{origins:#}");
        assert_eq!(origins["total"]["mapped"], size);
        let log = text(&["log", &rec, "--jsonl"]);
        let is_call = |line: &&str| {
            let event: Value = serde_json::from_str(line).unwrap();
            !["exec", "exit", "snapshot"].contains(&event["call"].as_str().unwrap())
        };
        let calls = log.lines().filter(is_call).count() as i64;
        assert!(calls > 10 && sum(sites, "calls") == calls, "{calls} calls, {origins:#}");
        let has = |kind: &str| sites.iter().any(|site| site["site"] == kind);
        assert_eq!(
            (has("stack"), has("call"), has("found")),
            (!options.is_empty(), options.is_empty(), true)
        );
    }
}

/// Checks that each order is one, and that a figure that is none is refused with those there are.
#[test]
fn rows_come_in_the_order_asked_for() {
    if !need(Capability::Ptrace) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let rec = record(folder.path(), &[]);
    for by in ["mapped", "asked", "calls", "vmas"] {
        let origins = json(&["origins", &rec, "--json", "--by", by]);
        let figures: Vec<i64> =
            origins["sites"].as_array().unwrap().iter().map(|site| site[by].as_i64().unwrap()).collect();
        assert!(figures.is_sorted_by(|a, b| a >= b) && figures.len() > 2, "{by}: {figures:?}");
    }
    let refused = vmatlas(&["origins", &rec, "--by", "weight"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("touched"));
}

/// Checks that a living process is one row, "before attach", with its resident size, and that it is said how to see more.
#[test]
fn a_living_process_was_not_seen() {
    let me = std::process::id().to_string();
    let origins = json(&["origins", &me, "--json"]);
    let sites = origins["sites"].as_array().unwrap();
    assert_eq!((sites.len(), sites[0]["reason"].as_str()), (1, Some("attach")));
    assert!(sites[0]["calls"].is_null() && sites[0]["calls_why"] == "not-recorded");
    assert!(sites[0]["resident"].as_u64().unwrap() > 100_000);
    let told = text(&["origins", &me]);
    assert!(told.contains("before attach") && told.contains("attach PID --stacks"), "{told}");
    assert!(text(&["origins", &me, "--lang", "ja"]).contains("接続前"));
}

/// Checks that stacks stand below their row, that only so many rows and frames are shown as asked for, and that the rest is counted.
#[test]
fn stacks_stand_below_their_row() {
    if !need(Capability::Ptrace) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let rec = record(folder.path(), &["--stacks"]);
    let told = text(&["origins", &rec, "--top", "2", "--frames", "2"]);
    assert!(told.contains("more call sites") && told.contains("more frames"), "{told}");
    let all = text(&["origins", &rec, "--top", "0", "--frames", "0"]);
    assert!(!all.contains("more call sites") && !all.contains("more frames"), "{all}");
    assert!(all.lines().count() > told.lines().count() && all.contains("libc"), "{all}");
}
