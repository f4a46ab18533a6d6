//! `vmatlas ps` as a user runs it, on the processes of this machine.

#![expect(clippy::unwrap_used, reason = "a test binary")]

use serde_json::Value;
use std::process::{Command, Output, Stdio};
use vmatlas_testkit::{Capability, Tracee, need, need_root, vmatlas_command};

fn vmatlas(words: &[&str]) -> Output {
    vmatlas_command(env!("CARGO_BIN_EXE_vmatlas")).args(words).output().unwrap()
}

fn json(words: &[&str]) -> Value {
    let output = vmatlas(words);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn process(list: &Value, pid: u32) -> &Value {
    list["processes"].as_array().unwrap().iter().find(|p| p["pid"] == pid).unwrap()
}

/// Checks that this process is listed with the figures of its status, and that sums are those of the list.
#[test]
fn we_are_listed() {
    let list = json(&["ps", "--vmas", "--json"]);
    let me = process(&list, std::process::id());
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let kib = |name: &str| -> u64 {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let resident = me["resident"].as_u64().unwrap();
    assert!(resident.abs_diff(kib("VmRSS:") << 10) < 8 << 20, "{me}");
    assert!(me["virtual"].as_u64().unwrap() >= resident);
    assert_eq!(me["name"].as_str().unwrap().len(), status.lines().next().unwrap().len() - "Name:\t".len());
    assert!(me["vmas"].as_u64().unwrap() > 10);
    assert!(me.get("args").is_none() && me["pss"].is_null() && me["pss_why"] == "not-read");
    let sum: u64 = list["processes"].as_array().unwrap().iter().filter_map(|p| p["resident"].as_u64()).sum();
    assert_eq!(list["totals"]["resident"].as_u64().unwrap(), sum);
}

/// Checks that our PSS and USS of a sleeping process are about those of the kernel, and the same when the kernel is asked.
#[test]
fn shares_are_the_kernels() {
    if !need_root("frame numbers and /proc/kpagecount") || !need(Capability::PagemapScan) {
        return;
    }
    let sleeper = Tracee::start(Command::new("sleep").arg("60").stdout(Stdio::null())).unwrap();
    let pid = u32::try_from(sleeper.pid().0).unwrap();
    let settled = || {
        let text = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let state = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        text == "sleep\n" && state.contains("State:\tS")
    };
    assert!(vmatlas_testkit::wait_until(settled, std::time::Duration::from_secs(10)));
    // Others come and go, vmatlas among them, and with them what is shared: one agreeing reading in a few is the claim.
    let agree = || {
        let list = json(&["ps", "--pss", "--name", "sleep", "--json"]);
        let ours = process(&list, pid);
        assert_eq!(ours["shares_from"], "pages");
        let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
        let kib = |name: &str| -> u64 {
            let line = rollup.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
        };
        let pss = kib("Pss:") << 10;
        ours["uss"].as_u64().unwrap() == (kib("Private_Clean:") + kib("Private_Dirty:")) << 10
            && ours["pss"].as_u64().unwrap().abs_diff(pss) <= pss / 4
    };
    assert!(vmatlas_testkit::wait_until(agree, std::time::Duration::from_secs(20)));
}

/// Checks that without privileges hidden figures say so, and that the list is whole all the same.
#[test]
fn hidden_is_not_zero() {
    let list = json(&["ps", "--pss", "--vmas", "--json"]);
    for process in list["processes"].as_array().unwrap() {
        for key in ["resident", "vmas", "pss", "uss"] {
            assert!(process[key].is_u64() != process[format!("{key}_why")].is_string(), "{process}");
        }
    }
}

/// Checks the table: our line, the totals after the processes, and one line per group.
#[test]
fn the_table_ends_with_the_totals() {
    let text = String::from_utf8(vmatlas(&["ps", "--no-pager"]).stdout).unwrap();
    assert!(text.starts_with("  PID") || text.trim_start().starts_with("PID"), "{text}");
    let total = text.lines().position(|line| line.trim_start().starts_with("total")).unwrap();
    let us = text.lines().position(|line| line.trim_start().starts_with(&format!("{} ", std::process::id())));
    assert!(us.unwrap() < total);
    let groups = String::from_utf8(vmatlas(&["ps", "--by", "user"]).stdout).unwrap();
    assert!(groups.lines().next().unwrap().ends_with("USER"));
    let japanese = String::from_utf8(vmatlas(&["ps", "--lang", "ja", "-n", "1"]).stdout).unwrap();
    assert!(japanese.contains("合計"), "{japanese}");
}

/// Checks that wrong values are refused as wrong usage.
#[test]
fn wrong_values_are_wrong_usage() {
    for words in [["ps", "--by", "size"], ["ps", "--sort", "heat"], ["ps", "--min-rss", "much"]] {
        assert_eq!(vmatlas(&words).status.code(), Some(2), "{words:?}");
    }
}

/// Checks that a child of vfork(2), which uses its parent's address space, says so, and is in the sums with its parent once.
#[test]
fn a_borrowed_address_space_counts_once() {
    const PROGRAM: &str = "#include <stdio.h>\n#include <unistd.h>\n\
        int main(void) { puts(\"ready\"); fflush(stdout); if (vfork() == 0) { sleep(60); _exit(0); } return 0; }";
    if !need(Capability::PagemapScan) || !need(Capability::Tool("cc")) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (source, program) = (folder.path().join("p.c"), folder.path().join("borrower"));
    std::fs::write(&source, PROGRAM).unwrap();
    assert!(Command::new("cc").arg("-o").arg(&program).arg(&source).status().unwrap().success());
    let mut parent = Tracee::start(Command::new(&program).stdout(Stdio::piped())).unwrap();
    assert_eq!(parent.read_line().unwrap(), "ready");
    let mut list = Value::Null;
    let both = || {
        list = json(&["ps", "--pss", "--name", "borrower", "--json"]);
        list["processes"].as_array().unwrap().len() == 2
    };
    assert!(vmatlas_testkit::wait_until(both, std::time::Duration::from_secs(10)));
    let pid = u32::try_from(parent.pid().0).unwrap();
    let processes = list["processes"].as_array().unwrap();
    let child = processes.iter().find(|process| process["pid"] != pid).unwrap();
    assert_eq!(child["address_space_of"], pid, "{list}");
    assert_eq!(list["totals"]["uss"], process(&list, pid)["uss"], "{list}");
    // Its parent waits for it, so it would outlive us.
    vmatlas_sys::kill(vmatlas_event::Pid(child["pid"].as_i64().unwrap() as i32), 9).unwrap();
}
