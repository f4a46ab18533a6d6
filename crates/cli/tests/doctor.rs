//! `vmatlas doctor` as a user has it.

#![expect(clippy::unwrap_used, reason = "a test binary")]

use serde_json::Value;
use std::process::Output;
use vmatlas_testkit::{Capability, need, need_root, vmatlas_command};

fn doctor(words: &[&str]) -> Output {
    vmatlas_command(env!("CARGO_BIN_EXE_vmatlas")).arg("doctor").args(words).output().unwrap()
}

fn json() -> Value {
    let output = doctor(&["--json"]);
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

fn state<'a>(view: &'a Value, id: &str) -> &'a str {
    let check = view["checks"].as_array().unwrap().iter().find(|check| check["id"] == id).unwrap();
    check["state"].as_str().unwrap()
}

/// Checks that what tests find out by themselves is what the doctor says, whoever asks.
#[test]
fn it_says_what_is_so() {
    let view = json();
    for (id, capability) in [
        ("procmap-query", Capability::ProcmapQuery),
        ("pagemap-scan", Capability::PagemapScan),
        ("run", Capability::Ptrace),
        ("page-faults", Capability::FaultEvents),
    ] {
        let works = matches!(state(&view, id), "works");
        let in_part = matches!(state(&view, id), "in-part");
        // What is missing is stood in for, and then not the thing itself; faults work in part without the kernel's.
        let is_there = works || in_part && matches!(id, "page-faults" | "run");
        assert_eq!(is_there, need(capability), "{id}: {view}");
    }
}

/// Checks that each thing has a state and a purpose, that what does not work has a reason, and that the exit status says
/// something only where it is asked to.
#[test]
fn nothing_is_left_unsaid() {
    let view = json();
    for check in view["checks"].as_array().unwrap() {
        assert!(["works", "in-part", "missing", "unknown"].contains(&check["state"].as_str().unwrap()));
        assert!(!check["for"].as_str().unwrap().is_empty());
        assert!(check["state"] == "works" || check["note"].is_string(), "{check}");
    }
    let expected = if view["well"] == true { 0 } else { 3 };
    assert_eq!(doctor(&["--check"]).status.code(), Some(expected));
    assert_eq!(doctor(&[]).status.code(), Some(0));
}

/// Checks that root, who may do everything, is shown what only root may do.
#[test]
fn root_may_more() {
    if !need_root("attach to processes of others") {
        return;
    }
    let view = json();
    assert_eq!(state(&view, "attach-others"), "works");
    assert_eq!(state(&view, "maps-of-others"), "works");
}

/// Checks both languages, and that the table is as wide in both as a terminal.
#[test]
fn both_languages_are_told() {
    for (lang, words) in [("en", ["Ways to watch", "works"]), ("ja", ["監視の手段", "使用可"])] {
        let text = String::from_utf8(doctor(&["--lang", lang]).stdout).unwrap();
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    }
}
