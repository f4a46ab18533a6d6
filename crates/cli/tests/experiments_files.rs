//! What parameters and the file system change in the experiments with files and shared memory, and that no segment of
//! a child is left behind.

#![expect(clippy::unwrap_used, reason = "a test binary")]

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use vmatlas_testkit::{Capability, Tracee, need, vmatlas_command, wait_until};

fn vmatlas() -> Command {
    vmatlas_command(env!("CARGO_BIN_EXE_vmatlas"))
}

/// The facts of an experiment with its temporary file in this folder; all of them hold.
fn facts(folder: &Path, words: &[&str]) -> Vec<Value> {
    let output = vmatlas().env("TMPDIR", folder).arg("lab").args(words).arg("--json").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    report["facts"].as_array().unwrap().clone()
}

fn measured(facts: &[Value], id: &str) -> Value {
    facts.iter().find(|fact| fact["id"] == id).unwrap_or_else(|| panic!("no fact {id}"))["measured"].clone()
}

/// Checks other sizes and numbers: files that end within a page, with one, and one byte before and after.
#[test]
fn parameters_change_what_happens() {
    if !need(Capability::PagemapScan) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for (size, rest) in
        [("1", Some(0)), ("4095", Some(0)), ("4096", None), ("4097", Some(0)), ("12288", None)]
    {
        let facts = facts(dir.path(), &["past-the-end", "--size", size]);
        if vmatlas_sys::page_size().bytes() == 4096 {
            assert_eq!(measured(&facts, "rest").as_u64(), rest, "{size}");
            // Nothing is written after the end where the page has no room for it.
            let kept: Option<u64> = rest.and(size.parse().ok());
            assert_eq!(measured(&facts, "size-same").as_u64(), kept, "{size}");
        }
    }
    for (words, id, value) in [
        (&["shared-memory", "--value", "21"][..], "shared-parent", 42),
        (&["shared-memory", "--value", "21"], "private-parent", 21),
        (&["file-private", "--pages", "16"], "copies", 1),
        (&["file-shared", "--pages", "16"], "file-has", 99),
        (&["page-cache", "--pages", "1000"], "cached-first", 1000),
        (&["memfd", "--pages", "64"], "links", 0),
        (&["sysv", "--pages", "1"], "value", 42),
    ] {
        assert_eq!(measured(&facts(dir.path(), words), id), value, "{words:?}");
    }
}

/// Checks a file system that is only in memory: nothing is written back, and nothing can be dropped.
#[test]
fn memory_has_nothing_to_write_back_to() {
    let Ok(dir) = tempfile::tempdir_in("/dev/shm") else { return };
    if !need(Capability::PagemapScan) {
        return;
    }
    assert_eq!(measured(&facts(dir.path(), &["file-shared"]), "fault-again"), 0);
    let cache = facts(dir.path(), &["page-cache"]);
    assert_eq!((measured(&cache, "dropped"), measured(&cache, "major-again")), (64.into(), 0.into()));
}

/// Segments of seven pages: nobody else makes such.
fn segments() -> usize {
    let size = (7 * vmatlas_sys::page_size().bytes()).to_string();
    let table = fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
    table.lines().filter(|line| line.split_whitespace().nth(3) == Some(&size)).count()
}

/// Checks that the segment that a child has made goes, wherever the experiment is killed.
#[test]
fn no_segment_is_left() {
    for stop in 1..=6 {
        let mut command = vmatlas();
        command.args(["lab", "sysv", "--pages", "7", "--wait"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut made = Tracee::start(&mut command).unwrap();
        let mut prompts = 0;
        while prompts < stop {
            if made.read_line().unwrap().contains("Press Enter") {
                prompts += 1;
                if prompts < stop {
                    made.write_line("").unwrap();
                }
            }
        }
        // There is a prompt before the first step; the second step makes one, and the last step detaches it.
        assert_eq!(segments(), usize::from((3..=6).contains(&stop)), "prompt {stop}");
        vmatlas_sys::kill(made.pid(), 9).unwrap();
        made.wait().unwrap();
        assert!(wait_until(|| segments() == 0, Duration::from_secs(10)), "prompt {stop}");
    }
}
