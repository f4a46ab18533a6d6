//! What parameters and the environment change in the experiments about malloc and about new processes.

#![expect(clippy::unwrap_used, reason = "a test binary")]

use serde_json::Value;
use std::process::{Command, Stdio};
use vmatlas_testkit::{Capability, need, vmatlas_binary};

/// The report of an experiment; `before` is what a shell does in front of it.
fn report(before: &str, words: &str) -> Value {
    let binary = vmatlas_binary(env!("CARGO_BIN_EXE_vmatlas"));
    let line = format!("{before} \"$0\" lab {words} --json");
    let mut command = Command::new("sh");
    let output = command.arg("-c").arg(line).arg(binary).stdin(Stdio::null()).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{before} {words}: {error}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn fact<'a>(report: &'a Value, id: &str) -> &'a Value {
    let facts = report["facts"].as_array().unwrap();
    facts.iter().find(|fact| fact["id"] == id).unwrap_or_else(|| panic!("no fact {id}"))
}

/// Checks where malloc takes blocks of other sizes from, and what it gives back: from the heap, whose end goes back; so
/// large that the heap is kept afterwards; too large to change anything.
#[test]
fn the_size_decides_where_malloc_looks() {
    if !need(Capability::PagemapScan) {
        return;
    }
    for (size, place, again, shrinks) in [
        ("1", "heap", "heap", true),
        ("1041", "heap", "heap", true),
        ("100KiB", "heap", "heap", true),
        ("1MiB", "mmap", "heap", false),
        ("32MiB", "mmap", "mmap", true),
    ] {
        let report = report("exec", &format!("malloc --size {size}"));
        assert_eq!(fact(&report, "where")["measured"], place, "{size}");
        assert_eq!(fact(&report, "again")["measured"], again, "{size}");
        assert_eq!(fact(&report, "top")["measured"].as_u64().unwrap() > 0, shrinks, "{size}");
    }
}

/// Checks that nothing is predicted of a malloc whose settings were changed, and that it is measured all the same.
#[test]
fn a_tuned_malloc_is_not_predicted() {
    let report = report("MALLOC_ARENA_MAX=1 exec", "malloc");
    let place = fact(&report, "where");
    assert!(place["predicted"].is_null() && place["measured"] == "mmap", "{place}");
    assert_eq!(place["predicted_why"], "unknown");
    assert_eq!(fact(&report, "other-arena")["measured"], false);
}

/// Checks that every page costs the parent a fault after fork, however many there are, and none after posix_spawn.
#[test]
fn fork_costs_a_fault_for_each_page() {
    if !need(Capability::PagemapScan) {
        return;
    }
    let page = vmatlas_sys::page_size().bytes();
    for pages in [16, 1000] {
        let report = report("exec", &format!("fork-exec --size {}", pages * page));
        let faults = |id| fact(&report, id)["measured"].as_u64().unwrap();
        assert!(faults("fork-faults") >= pages && faults("spawn-faults") < pages, "{report}");
    }
}

/// Checks that libraries are found by the beginning of their names, and that one that is not there is not measured.
#[test]
fn any_library_can_be_looked_at() {
    for name in ["libgcc", "libc.so"] {
        let report = report("exec", &format!("linking --library {name}"));
        assert_eq!(fact(&report, "relro")["measured"], "r--p", "{name}");
    }
    let report = report("exec", "linking --library libnone");
    assert!(fact(&report, "relro")["measured"].is_null());
    assert_eq!(fact(&report, "static-vmas")["measured"], 2);
}

/// Checks the bound for random bits with few and with many starts.
#[test]
fn more_starts_show_more_bits() {
    let bound = |starts| {
        let report = report("exec", &format!("randomisation --starts {starts}"));
        let program = fact(&report, "program-bits");
        program["predicted"]["at_least"].as_u64().unwrap_or(0)
    };
    let (few, many) = (bound(2), bound(32));
    // Nothing is random where that is switched off.
    assert!(few < many || many == 0, "{few} {many}");
}

/// Checks that addresses are predicted to stay where randomisation is switched off from the beginning.
#[test]
fn addresses_stay_where_randomisation_is_off() {
    if !need(Capability::Tool("setarch")) {
        return;
    }
    let allowed = Command::new("setarch").args(["-R", "true"]).status().unwrap();
    if !allowed.success() {
        // A container may forbid this personality; the experiment says so then, too.
        let off = report("exec", "randomisation --starts 2");
        assert!(fact(&off, "off")["measured"].is_null());
        return;
    }
    let report = report("exec setarch -R", "randomisation --starts 3");
    for id in ["program-bits", "heap-bits", "loader-bits", "vdso-bits", "stack-bits"] {
        assert_eq!(fact(&report, id)["predicted"], 0, "{id}");
        assert_eq!(fact(&report, id)["measured"], 0, "{id}");
    }
}
