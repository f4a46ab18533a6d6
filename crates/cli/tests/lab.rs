//! `vmatlas lab` as a user runs it: the facts hold on this machine, and nothing is left behind.

#![expect(clippy::unwrap_used, reason = "a test binary")]

use serde_json::Value;
use std::fs;
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use vmatlas_testkit::{Capability, Tracee, need, need_root, vmatlas_binary, vmatlas_command, wait_until};

fn vmatlas() -> Command {
    vmatlas_command(env!("CARGO_BIN_EXE_vmatlas"))
}

fn lab(words: &[&str]) -> Output {
    vmatlas().arg("lab").args(words).output().unwrap()
}

fn report(words: &[&str]) -> Value {
    let output = lab(&[words, &["--json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The names of all experiments, as the list tells them.
fn names() -> Vec<String> {
    let output = lab(&["--json"]);
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(list["schema"], "vmatlas/lab-list/1");
    let name = |info: &Value| info["experiment"].as_str().unwrap().to_owned();
    list["experiments"].as_array().unwrap().iter().map(name).collect()
}

fn fact<'a>(report: &'a Value, id: &str) -> &'a Value {
    let facts = report["facts"].as_array().unwrap();
    facts.iter().find(|fact| fact["id"] == id).unwrap_or_else(|| panic!("no fact {id} in {facts:?}"))
}

/// Whether every fact was compared and holds, but for those named.
fn holds_but_for(report: &Value, open: &[&str]) {
    for fact in report["facts"].as_array().unwrap() {
        let is_open = open.contains(&fact["id"].as_str().unwrap());
        assert!(fact["holds"] == true || is_open && fact["holds"].is_null(), "{fact}");
    }
}

/// Checks the talk's own experiment: one call, 1 GiB of addresses, nothing resident, nothing else changed; then a byte
/// is a page, and what is touched is resident.
#[test]
fn a_gibibyte_is_addresses_only() {
    if !need(Capability::Ptrace) || !need(Capability::PagemapScan) {
        return;
    }
    let report = report(&["mmap", "--touch", "5"]);
    assert_eq!(
        (report["schema"].as_str(), report["experiment"].as_str()),
        (Some("vmatlas/lab/1"), Some("mmap"))
    );
    holds_but_for(&report, &[]);
    let page = report["page_size"].as_u64().unwrap();
    assert_eq!(fact(&report, "one-call")["measured"], 1);
    assert_eq!(fact(&report, "mapped-bytes")["measured"], 1u64 << 30);
    assert_eq!(fact(&report, "resident")["measured"], 0);
    assert_eq!(fact(&report, "one-byte")["measured"], page);
    assert!(fact(&report, "touched")["measured"].as_u64().unwrap() >= 5 * page);
    assert_eq!(fact(&report, "model-equals-kernel")["measured"], true);
    let steps: Vec<&str> =
        report["steps"].as_array().unwrap().iter().map(|s| s["id"].as_str().unwrap()).collect();
    assert_eq!(steps, ["start", "call", "one-byte", "touch"]);
}

/// Checks that a call that fails is an experiment too: the error predicted, its meaning told, the map unchanged.
#[test]
fn failing_calls_are_experiments() {
    if !need(Capability::Ptrace) {
        return;
    }
    for (words, errno) in [
        (&["mmap", "--length", "0"][..], "EINVAL"),
        (&["mmap", "--length", "1EiB"], "ENOMEM"),
        (&["mmap", "--flags", "ANONYMOUS"], "EINVAL"),
        (&["mmap", "--flags", "PRIVATE"], "EBADF"),
        (&["mmap", "--offset", "1"], "EINVAL"),
        (&["mmap", "--length", "127TiB", "--prot", "NONE"], "ENOMEM"),
        (&["mmap", "--file", "/etc", "--length", "4096"], "ENODEV"),
        (&["mmap", "--flags", "PRIVATE|ANONYMOUS|FIXED", "--addr", "0x10000001"], "EINVAL"),
        (&["mmap", "--flags", "PRIVATE|ANONYMOUS|32BIT", "--length", "2GiB"], "ENOMEM"),
    ] {
        let report = report(words);
        assert_eq!(fact(&report, "outcome")["measured"], errno, "{words:?}");
        assert_eq!(fact(&report, "map-unchanged")["measured"], true, "{words:?}");
        holds_but_for(&report, &[]);
        let text = String::from_utf8(lab(words).stdout).unwrap();
        assert!(text.contains(errno), "{text}");
    }
}

/// Checks that an access which is not allowed is told, with the signal, and is no failure of ours.
#[test]
fn forbidden_accesses_are_experiments() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("short");
    fs::write(&file, "short").unwrap();
    let none = report(&["mmap", "--prot", "NONE", "--touch", "1"]);
    assert_eq!(fact(&none, "signal")["measured"], "SIGSEGV");
    let past_the_end =
        report(&["mmap", "--file", file.to_str().unwrap(), "--length", "64KiB", "--touch", "9"]);
    assert_eq!(fact(&past_the_end, "signal")["measured"], "SIGBUS");
    for report in [none, past_the_end] {
        assert_eq!(fact(&report, "signal")["holds"], true, "{report}");
    }
    let inside = report(&["mmap", "--file", file.to_str().unwrap(), "--prot", "READ|WRITE", "--touch", "1"]);
    if need(Capability::Ptrace) && need(Capability::PagemapScan) {
        holds_but_for(&inside, &[]);
    }
}

/// Checks MAP_POPULATE, shared memory and read-only memory: what is resident after the call and after touching.
#[test]
fn flags_decide_what_is_resident() {
    if !need(Capability::Ptrace) || !need(Capability::PagemapScan) {
        return;
    }
    let populated = report(&["mmap", "--length", "8MiB", "--populate"]);
    assert_eq!(fact(&populated, "resident")["measured"], 8u64 << 20);
    holds_but_for(&populated, &[]);
    holds_but_for(&report(&["mmap", "--flags", "SHARED|ANONYMOUS", "--length", "1MiB"]), &[]);
    holds_but_for(&report(&["mmap", "--prot", "READ", "--length", "1MiB"]), &[]);
}

/// Checks that the heap moves by whole pages, and back.
#[test]
fn the_heap_moves_by_pages() {
    if !need(Capability::Ptrace) {
        return;
    }
    let report = report(&["brk"]);
    holds_but_for(&report, &[]);
    assert_eq!(fact(&report, "grew")["measured"], 132 * 1024);
}

/// Checks that what is touched is resident, fault by fault, and that looks at it come in order.
#[test]
fn pages_come_when_touched() {
    if !need(Capability::PagemapScan) {
        return;
    }
    let report = report(&["demand-paging", "--length", "20MiB"]);
    holds_but_for(&report, &[]);
    let parts = report["steps"][2]["parts"].as_array().unwrap().clone();
    let samples = parts.iter().find_map(|p| p["samples"].as_array()).unwrap();
    assert!(samples.len() > 30);
    assert!(samples.windows(2).all(|w| w[0]["touched"].as_u64() < w[1]["touched"].as_u64()));
    assert_eq!(samples.last().unwrap()["touched"], 20u64 << 20);
}

/// Checks that all experiments together are one document, and that the list names each.
#[test]
fn all_experiments_hold() {
    if !need(Capability::Ptrace) {
        return;
    }
    let output = lab(&["--all", "--json"]);
    let all: Value = serde_json::from_slice(&output.stdout).unwrap();
    let experiments = all["experiments"].as_array().unwrap();
    assert_eq!(experiments.len(), names().len());
    let broken: Vec<&Value> = experiments.iter().filter(|e| e["holds"] != true).collect();
    assert!(broken.is_empty() && output.status.success(), "{} {broken:#?}", output.status);
    let list = String::from_utf8(lab(&[]).stdout).unwrap();
    assert!(
        names().len() >= 8 && experiments.iter().all(|e| list.contains(e["experiment"].as_str().unwrap()))
    );
}

/// Checks that the picture is SVG with real frames for root, and that others read "hidden", never a number.
#[test]
fn frames_are_shown_to_root_and_hidden_from_others() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lab.svg");
    let draw = || {
        let output = lab(&["mmap", "--touch", "3", "--svg", path.to_str().unwrap()]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        (fs::read_to_string(&path).unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    let (svg, text) = draw();
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    if need_root("page frame numbers are hidden from others") {
        assert!(!text.contains("hidden"), "{text}");
    } else {
        assert!(text.contains("hidden"), "{text}");
    }
}

/// Checks that every text a person reads is Japanese when asked for, heading by heading.
#[test]
fn japanese_is_japanese() {
    for name in &names() {
        let text = String::from_utf8(lab(&[name, "--lang", "ja"]).stdout).unwrap();
        for word in ["問い", "予測", "実測", "次に試すこと"] {
            assert!(text.contains(word), "{name}: {word}");
        }
        assert!(!text.contains("What it means"), "{name}");
    }
}

/// Checks that the C program printed at the end compiles and does what the experiment did.
#[test]
fn the_program_compiles_and_runs() {
    if !need(Capability::Tool("cc")) {
        return;
    }
    let text = String::from_utf8(lab(&["mmap", "--length", "16MiB"]).stdout).unwrap();
    let start = text.find("    #define _GNU_SOURCE").unwrap();
    let source: String = text[start..]
        .lines()
        .take_while(|line| line.is_empty() || line.starts_with("    "))
        .map(|line| format!("{}\n", line.strip_prefix("    ").unwrap_or(line)))
        .collect();
    let dir = tempfile::tempdir().unwrap();
    let (c, program) = (dir.path().join("lab.c"), dir.path().join("lab"));
    fs::write(&c, source).unwrap();
    let status = Command::new("cc").args(["-Wall", "-Werror", "-o"]).arg(&program).arg(&c).status().unwrap();
    assert!(status.success());
    let output = Command::new(&program).output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && lines.contains("mmap gave") && lines.contains("[stack]"), "{lines}");
}

/// Checks that under another tracer facts that need ours are not read, the others hold, and the exit status is 0.
#[test]
fn under_another_tracer_facts_are_not_read() {
    if !need(Capability::Tool("strace")) || !need(Capability::Ptrace) {
        return;
    }
    let output = Command::new("strace")
        .args(["-f", "-qq", "-e", "trace=none", "-e", "signal=none", "-o", "/dev/null"])
        .arg(vmatlas_binary(env!("CARGO_BIN_EXE_vmatlas")))
        .args(["lab", "mmap", "--json"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["traced"], false);
    assert!(fact(&report, "one-call")["measured"].is_null());
    assert_eq!(fact(&report, "one-call")["measured_why"], "not-read");
    assert_eq!(fact(&report, "virtual-grew")["holds"], true);
}

/// Checks that the subject ends with us, also when we are killed in the middle.
#[test]
fn the_subject_ends_with_us() {
    let mut command = vmatlas();
    // Long enough to be killed in the middle of touching.
    command.args(["lab", "demand-paging", "--length", "1GiB"]).stdout(Stdio::piped());
    let mut watched = Tracee::start(&mut command).unwrap();
    let subject = loop {
        let line = watched.read_line().unwrap();
        if let Some(pid) = line.trim().strip_prefix("vmatlas show ") {
            break pid.parse::<u32>().unwrap();
        }
    };
    watched.signal(9).unwrap();
    watched.wait().unwrap();
    let gone = || {
        let stat = fs::read_to_string(format!("/proc/{subject}/stat"));
        stat.is_err() || stat.is_ok_and(|s| s.contains(") Z "))
    };
    assert!(wait_until(gone, Duration::from_secs(10)), "the subject lives on");
}

/// Checks that wrong usage is one clear line: an unknown name, an option of another experiment, a file that is not there.
#[test]
fn wrong_usage_is_one_line() {
    for (words, part) in [
        (&["nonsense"][..], "no experiment 'nonsense'"),
        (&["brk", "--prot", "READ"], "unexpected argument '--prot'"),
        (&["zero-page", "--pages", "100000"], "a number from 2 to 64"),
    ] {
        let output = lab(words);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(part), "{text}");
    }
    for (words, part) in [
        (&["mmap", "--file", "/nowhere/file"][..], "/nowhere/file"),
        (&["brk", "--svg", "/tmp/x.svg"], "has no picture"),
        (&["mmap", "--file", "/nowhere/file", "--lang", "ja"], "開けません"),
        (&["demand-paging", "--length", "1EiB", "--lang", "ja"], "獲得できませんでした"),
    ] {
        let output = lab(words);
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.lines().count() == 1 && text.contains(part), "{text}");
    }
}
