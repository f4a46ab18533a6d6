//! The experiments about the whole machine: what its settings change in them, and that a setting that was asked for is
//! put back, however the experiment ends.

#![expect(clippy::unwrap_used, reason = "a test binary")]

use serde_json::Value;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use vmatlas_event::Pid;
use vmatlas_testkit::{Capability, Tracee, left_off, need, need_root, vmatlas_command, wait_until};

const THP: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
const SET_ASIDE: &str = "/proc/sys/vm/nr_hugepages";
const OVERCOMMIT: &str = "/proc/sys/vm/overcommit_memory";
const SWAPS: &str = "/proc/swaps";
const SIGINT: i32 = 2;
const SIGKILL: i32 = 9;

/// Experiments that change a setting, with the option that asks for it, and where it can be read.
const CHANGES: [(&[&str], &str); 5] = [
    (&["huge-pages", "--mode", "never"], THP),
    (&["huge-pages", "--mode", "always"], THP),
    (&["explicit-huge-pages", "--reserve", "2"], SET_ASIDE),
    (&["overcommit", "--mode", "1"], OVERCOMMIT),
    (&["swap", "--file", "8MiB"], SWAPS),
];

/// The settings belong to the whole machine: one test at a time.
fn one_at_a_time() -> MutexGuard<'static, ()> {
    static MACHINE: Mutex<()> = Mutex::new(());
    MACHINE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn vmatlas(folder: &Path) -> Command {
    let mut command = vmatlas_command(env!("CARGO_BIN_EXE_vmatlas"));
    command.env("TMPDIR", folder);
    command
}

fn lab(folder: &Path, words: &[&str]) -> Output {
    vmatlas(folder).arg("lab").args(words).arg("--json").output().unwrap()
}

/// The facts of an experiment, all of which hold or are open; `None` where the machine has no such setting, or
/// forbids to change it, which root in a container may meet.
fn facts(folder: &Path, words: &[&str]) -> Option<Vec<Value>> {
    let output = lab(folder, words);
    let why = String::from_utf8_lossy(&output.stderr);
    let forbidden = [
        "Operation not permitted",
        "Permission denied",
        "Read-only file system",
        "Invalid argument",
        "No such file or directory",
    ];
    if output.status.code() == Some(1) && forbidden.iter().any(|error| why.contains(error)) {
        left_off(&format!("{words:?}: {why}"));
        return None;
    }
    assert_eq!(output.status.code(), Some(0), "{words:?}: {why} {}", String::from_utf8_lossy(&output.stdout));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    Some(report["facts"].as_array().unwrap().clone())
}

fn fact<'a>(facts: &'a [Value], id: &str) -> &'a Value {
    facts.iter().find(|fact| fact["id"] == id).unwrap_or_else(|| panic!("no fact {id}"))
}

/// Checks that whoever may not change a setting is told so, and that nothing else happens.
#[test]
fn settings_are_not_for_everybody() {
    if vmatlas_sys::effective_uid() == 0 {
        return;
    }
    let _machine = one_at_a_time();
    let dir = tempfile::tempdir().unwrap();
    for (words, path) in CHANGES {
        let before = fs::read(path).ok();
        let output = lab(dir.path(), words);
        let why = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{words:?}: {why}");
        assert!(why.starts_with("vmatlas: cannot open /"), "{words:?}: {why}");
        assert_eq!(before, fs::read(path).ok(), "{words:?}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "{words:?}");
    }
}

/// Checks what needs no setting to be changed: sizes, numbers of pages, and a file that is only in memory.
#[test]
fn sizes_change_what_happens() {
    let _machine = one_at_a_time();
    let dir = tempfile::tempdir().unwrap();
    for words in [&["overcommit", "--size", "64MiB"][..], &["overcommit", "--size", "1TiB"]] {
        let facts = facts(dir.path(), words).unwrap();
        assert_eq!(fact(&facts, "limit")["measured"], "ENOMEM", "{words:?}");
        assert_eq!(fact(&facts, "touched")["measured"], 0, "{words:?}");
    }
    let value =
        |folder: &Path, words: &[&str]| fact(&facts(folder, words).unwrap(), "value")["measured"].clone();
    assert_eq!(value(dir.path(), &["swap", "--pages", "256"]), 42);
    // A file that is nowhere but in memory.
    if let Ok(dir) = tempfile::tempdir_in("/dev/shm") {
        assert_eq!(value(dir.path(), &["swap"]), 42);
    }
}

/// Checks what each setting changes: which page one byte brings, whether huge pages and promises are to be had, and where
/// pages go.
#[test]
fn settings_change_what_happens() {
    if !need_root("settings of the machine are changed") || !need(Capability::PagemapScan) {
        return;
    }
    let _machine = one_at_a_time();
    let dir = tempfile::tempdir().unwrap();
    let page = vmatlas_sys::page_size().bytes();
    let expect = |words: &[&str], facts_there: &[(&str, Value)]| {
        let Some(facts) = facts(dir.path(), words) else { return };
        for (id, value) in facts_there {
            let fact = fact(&facts, id);
            // Where memory is fragmented, or the kernel has no such pages, it says so.
            assert!(fact["measured"] == *value || fact["predicted"] != *value, "{words:?} {fact}");
        }
    };
    expect(
        &["huge-pages", "--mode", "never"],
        &[("first", page.into()), ("by-itself", page.into()), ("rest-huge", 0.into())],
    );
    expect(&["huge-pages", "--mode", "madvise"], &[("first", (2 << 20).into()), ("by-itself", page.into())]);
    expect(
        &["huge-pages", "--mode", "always"],
        &[("first", (2 << 20).into()), ("by-itself", (2 << 20).into())],
    );
    expect(
        &["explicit-huge-pages", "--reserve", "2"],
        &[("call", "0".into()), ("rss", 0.into()), ("faults", 2.into()), ("signal", "SIGBUS".into())],
    );
    expect(&["explicit-huge-pages", "--reserve", "1"], &[("call", "ENOMEM".into())]);
    expect(&["overcommit", "--mode", "1"], &[("too-much", "0".into()), ("together", "0".into())]);
    expect(&["overcommit", "--mode", "0"], &[("too-much", "ENOMEM".into()), ("together", "0".into())]);
    expect(
        &["swap", "--file", "8MiB", "--pages", "64"],
        &[("there", 0.into()), ("swapped", 64.into()), ("copies", 0.into()), ("value", 42.into())],
    );
}

/// The processes of the group that this child of ours leads.
fn group(leader: Pid) -> Vec<Pid> {
    let pids =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let is_in_group = |pid: &i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let group = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(2)?.parse().ok());
        group == Some(leader.0)
    };
    pids.filter(is_in_group).map(Pid).collect()
}

/// Runs an experiment up to its prompt number `stop`, and ends it there with a signal to its process group, as ^C does;
/// whether its setting was changed then, or `None` when it has no such prompt.
fn interrupted(words: &[&str], path: &str, stop: usize, signal: i32, folder: &Path) -> Option<bool> {
    let before = fs::read(path).unwrap();
    let mut command = vmatlas(folder);
    command
        .arg("lab")
        .args(words)
        .arg("--wait")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .process_group(0);
    let mut made = Tracee::start(&mut command).unwrap();
    let mut prompts = 0;
    let found = loop {
        let Ok(line) = made.read_line() else { break false };
        if line.contains("Press Enter") {
            if prompts == stop {
                break true;
            }
            prompts += 1;
            made.write_line("").unwrap();
        }
    };
    let is_changed = fs::read(path).unwrap() != before;
    if found {
        // The janitor has a group of its own.
        for pid in group(made.pid()) {
            // One that ended with another before it was its turn is gone.
            let _ = vmatlas_sys::kill(pid, signal);
        }
    }
    made.wait().unwrap();
    // Its janitor is the last to let go of the setting.
    let is_free = || fs::File::open(path).unwrap().try_lock().is_ok();
    assert!(wait_until(is_free, Duration::from_secs(20)), "{words:?} at {stop}: {path} is still held");
    let is_back = || fs::read(path).unwrap() == before;
    assert!(wait_until(is_back, Duration::from_secs(20)), "{words:?} at {stop}: {path} is not as it was");
    let files = || fs::read_dir(folder).unwrap().count();
    assert!(wait_until(|| files() == 0, Duration::from_secs(10)), "{words:?} at {stop} left files");
    found.then_some(is_changed)
}

/// Checks that nobody takes a changed setting for the machine's: a second experiment may not change it meanwhile.
#[test]
fn settings_are_changed_by_one_at_a_time() {
    if !need_root("settings of the machine are changed") {
        return;
    }
    let _machine = one_at_a_time();
    let dir = tempfile::tempdir().unwrap();
    if facts(dir.path(), &["overcommit", "--mode", "1"]).is_none() {
        return;
    }
    let before = fs::read(OVERCOMMIT).unwrap();
    let mut command = vmatlas(dir.path());
    command.args(["lab", "overcommit", "--mode", "1", "--wait"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut first = Tracee::start(&mut command).unwrap();
    while !first.read_line().unwrap().contains("Press Enter") {}
    let second = lab(dir.path(), &["overcommit", "--mode", "0"]);
    let why = String::from_utf8_lossy(&second.stderr);
    assert!(second.status.code() == Some(1) && why.contains("busy"), "{why}");
    assert_eq!(fs::read(OVERCOMMIT).unwrap(), b"1\n");
    vmatlas_sys::kill(first.pid(), SIGKILL).unwrap();
    first.wait().unwrap();
    assert!(wait_until(|| fs::read(OVERCOMMIT).unwrap() == before, Duration::from_secs(20)));
    // Its janitor lets go of the setting a moment later.
    let again = || lab(dir.path(), &["overcommit", "--mode", "0"]).status.success();
    assert!(wait_until(again, Duration::from_secs(20)));
}

/// Checks that a setting is as it was after the experiment, wherever it is interrupted, or killed.
#[test]
fn settings_are_put_back() {
    if !need_root("settings of the machine are changed") {
        return;
    }
    let _machine = one_at_a_time();
    let dir = tempfile::tempdir().unwrap();
    for (words, path) in CHANGES {
        // A kernel may lack the setting.
        let before = fs::read(path).unwrap_or_default();
        if facts(dir.path(), words).is_none() {
            continue;
        }
        assert_eq!(before, fs::read(path).unwrap(), "{words:?}");
        let changed: Vec<bool> =
            (0..100).map_while(|stop| interrupted(words, path, stop, SIGINT, dir.path())).collect();
        // A machine may have what was asked for.
        let can_change =
            !before.windows(words[2].len() + 2).any(|part| part == format!("[{}]", words[2]).as_bytes());
        assert!(
            changed.len() >= 2 && changed.iter().all(|was| *was || !can_change),
            "{words:?}: {changed:?}"
        );
        for stop in [0, changed.len() / 2, changed.len() - 1] {
            assert!(interrupted(words, path, stop, SIGKILL, dir.path()).is_some(), "{words:?} {stop}");
        }
    }
}
