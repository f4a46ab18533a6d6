//! What parameters and limits change in the experiments about areas and stacks.

#![expect(clippy::unwrap_used, reason = "a test binary")]

use serde_json::Value;
use std::process::{Command, Stdio};
use vmatlas_testkit::{Capability, need, vmatlas_binary};

/// The report of an experiment; `before` are a shell's commands in front of it.
fn report(before: &str, words: &str) -> Value {
    let binary = vmatlas_binary(env!("CARGO_BIN_EXE_vmatlas"));
    let line = format!("{before} exec \"$0\" lab {words} --json");
    let output = Command::new("sh").arg("-c").arg(line).arg(binary).stdin(Stdio::null()).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{before} {words}: {error}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn measured<'a>(report: &'a Value, id: &str) -> &'a Value {
    let facts = report["facts"].as_array().unwrap();
    &facts.iter().find(|fact| fact["id"] == id).unwrap_or_else(|| panic!("no fact {id}"))["measured"]
}

/// Checks what a student would ask: more than fits, nothing written, another limit.
#[test]
fn parameters_and_limits_change_what_happens() {
    if !need(Capability::PagemapScan) {
        return;
    }
    for (before, words, id, value) in [
        ("", "mremap --grow 2", "in-place", Value::from(true)),
        ("", "mremap --grow 3", "in-place", Value::from(false)),
        ("", "mremap --pages 7 --grow 8", "in-place", Value::from(false)),
        ("", "madvise --then write", "value", Value::from(9)),
        ("", "madvise --then read --pages 16", "value", Value::from(0)),
        ("", "mlock-populate --pages 16", "populated", Value::from(16)),
        ("", "threads --threads 4", "signal", Value::from("SIGSEGV")),
        ("ulimit -Ss 1024;", "threads --threads 1", "virtual", Value::from(1028 << 10)),
        ("ulimit -Ss 2048;", "stack", "reached", Value::from(2 << 20)),
        ("", "stack --use 1 --limit 1MiB", "reached", Value::from(1 << 20)),
        ("", "map-count --calls 50", "calls", Value::from(50)),
    ] {
        assert_eq!(*measured(&report(before, words), id), value, "{before} {words}");
    }
}

/// Checks that a limit for locked memory is predicted: none of it, room for one area, and plenty.
#[test]
fn limits_of_locked_memory_are_predicted() {
    if !need(Capability::PagemapScan) {
        return;
    }
    // Whoever may lock without a limit sees that they change nothing.
    for limit in [0, 24, 4096] {
        let report = report(&format!("ulimit -Sl {limit};"), "mlock-populate");
        assert_eq!(report["holds"], true, "{limit}: {report}");
    }
}
