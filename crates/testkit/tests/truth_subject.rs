//! The subject of the truth test, as a program.

#![expect(clippy::unwrap_used, reason = "a test binary")]

use std::collections::BTreeSet;
use std::process::{Command, Output};
use vmatlas_testkit::program;

fn subject(args: &[&str]) -> Output {
    Command::new(program(env!("CARGO_BIN_EXE_vmatlas-truth-subject"))).args(args).output().unwrap()
}

/// The ids of the System V segments that this process's user made and nobody uses.
fn segments() -> BTreeSet<String> {
    let text = std::fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
    text.lines().skip(1).filter_map(|line| line.split_ascii_whitespace().nth(1)).map(str::to_owned).collect()
}

fn counts(output: &Output) -> String {
    assert!(output.status.success(), "{:?} {}", output.status, String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Checks that thousands of calls end without a signal, that most but not all succeed, and that no segment stays.
#[test]
fn many_calls_end_well_and_leave_nothing() {
    let before = segments();
    let line = counts(&subject(&["--calls", "2000", "--seed", "1"]));
    let calls: u64 = line.strip_prefix("calls=").unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(calls >= 2000, "{line}");
    let mprotect = line.split(' ').find_map(|word| word.strip_prefix("mprotect=")).unwrap();
    let (done, failed) = mprotect.trim().split_once('/').unwrap();
    let (done, failed): (u64, u64) = (done.parse().unwrap(), failed.parse().unwrap());
    assert!(done > failed && failed > 0, "{line}");
    // Other tests of other programs may come and go meanwhile, but ours has an id nobody had before.
    let left: Vec<String> = segments().difference(&before).cloned().collect();
    for id in &left {
        let text = std::fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
        let still = text.lines().find(|line| line.split_ascii_whitespace().nth(1) == Some(id));
        let unused = still.is_some_and(|line| line.split_ascii_whitespace().nth(6) == Some("0"));
        assert!(!unused, "segment {id} stays behind: {still:?}");
    }
}

/// Checks that the same seed makes the same calls with the same outcomes, and that its printed program does too.
#[test]
fn an_epoch_and_its_printed_program_do_the_same() {
    let epoch = ["--epoch", "3", "--seed", "9"];
    let first = counts(&subject(&epoch));
    assert_eq!(counts(&subject(&epoch)), first);
    let text = subject(&["--print", "--epoch", "3", "--seed", "9"]).stdout;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    assert_eq!(counts(&subject(&["--program", file.path().to_str().unwrap()])), first);
}

/// Checks that threads that play in one place at the same time end well.
#[test]
fn threads_play_together() {
    let line = counts(&subject(&["--calls", "3000", "--seed", "4", "--threads", "3"]));
    assert!(line.starts_with("calls="), "{line}");
}

/// Checks that nonsense is refused with the usage, and that a program with a fault names the line.
#[test]
fn nonsense_is_refused() {
    for bad in
        [&["--calls"][..], &["--epoch", "1", "--calls", "2"], &[], &["--calls", "1", "--without", "walk"]]
    {
        assert_eq!(subject(bad).status.code(), Some(2), "{bad:?}");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "mmap 1 1 rw private fixed\nmunmap\n").unwrap();
    let output = subject(&["--program", file.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("line 2"), "{output:?}");
}
