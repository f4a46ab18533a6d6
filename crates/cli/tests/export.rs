//! `vmatlas export`, and the names that a recording keeps.

#![expect(clippy::unwrap_used, reason = "a test binary")]
#![forbid(unsafe_code)]

use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use vmatlas_testkit::{Capability, need, vmatlas_command};

/// Maps 3 MiB and 1 MiB from one place, 64 KiB from another, and waits where it is told to.
const PROGRAM: &str = r#"
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>
static inline __attribute__((always_inline)) void ask(size_t n) {
    mmap(0, n, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}
__attribute__((noinline, noipa)) void grow(size_t n) { ask(n); }
__attribute__((noinline, noipa)) void other(void) { ask(65536); }
int main(int argc, char **argv) {
    (void)argv;
    grow(3 << 20);
    grow(1 << 20);
    other();
    if (argc > 1) { puts("ready"); fflush(stdout); pause(); }
    return 0;
}
"#;

struct Subject {
    folder: tempfile::TempDir,
}

fn vmatlas() -> Command {
    vmatlas_command(env!("CARGO_BIN_EXE_vmatlas"))
}

impl Subject {
    /// The program; `None` where it cannot be made or traced here.
    fn new() -> Option<Subject> {
        if !need(Capability::Tool("cc")) || !need(Capability::Ptrace) {
            return None;
        }
        let subject = Subject { folder: tempfile::tempdir().unwrap() };
        fs::write(subject.path("subject.c"), PROGRAM).unwrap();
        let mut cc = Command::new("cc");
        cc.args(["-O2", "-g", "-fno-optimize-sibling-calls", "-Wl,--build-id", "-o", "subject", "subject.c"]);
        assert!(cc.current_dir(subject.folder.path()).status().unwrap().success());
        Some(subject)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn vmatlas(&self, words: &[&str]) -> Output {
        vmatlas().args(words).current_dir(self.folder.path()).output().unwrap()
    }

    fn text(&self, words: &[&str]) -> String {
        let output = self.vmatlas(words);
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn record(&self) {
        self.text(&["run", "--stacks", "-o", "rec", "--", "./subject"]);
    }
}

/// Checks what stacks that go through these functions weigh together. What is further in depends on the C library's own
/// debug information.
fn assert_weighs(collapsed: &str, functions: &str, weight: u64) {
    let through = collapsed.lines().filter(|line| line.contains(&format!(";{functions};")));
    let sum: u64 = through.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum();
    assert_eq!(sum, weight, "{functions}:\n{collapsed}");
}

/// Checks that stacks have names, inlined ones too, and weigh what their calls mapped, also when the program is gone.
#[test]
fn collapsed_stacks_weigh_what_was_mapped() {
    let Some(subject) = Subject::new() else { return };
    subject.record();
    fs::remove_file(subject.path("subject")).unwrap();
    let mapped = subject.text(&["export", "rec", "--format", "collapsed"]);
    assert_weighs(&mapped, "main;grow;ask", 4 << 20);
    assert_weighs(&mapped, "main;other;ask", 64 << 10);
    let calls = subject.text(&["export", "rec", "--format", "collapsed", "--by", "calls"]);
    assert_weighs(&calls, "main;grow;ask", 2);
    assert_weighs(&calls, "main;other;ask", 1);
}

/// Checks the other formats: sums of the weights, and where files are written.
#[test]
fn every_format_has_the_same_sums() {
    let Some(subject) = Subject::new() else { return };
    subject.record();
    let collapsed = subject.text(&["export", "rec", "--format", "collapsed"]);
    let sum: u64 = collapsed.lines().map(|l| l.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum();
    let json = |format: &str| -> Value {
        serde_json::from_str(&subject.text(&["export", "rec", "--format", format])).unwrap()
    };
    let speedscope = json("speedscope");
    let active = speedscope["activeProfileIndex"].as_u64().unwrap() as usize;
    assert_eq!(speedscope["profiles"][active]["endValue"], sum);
    let firefox = json("firefox");
    let weights = &firefox["threads"][active]["samples"]["weight"];
    assert_eq!(weights.as_array().unwrap().iter().map(|w| w.as_u64().unwrap()).sum::<u64>(), sum);
    subject.text(&["export", "rec", "--format", "pprof", "-o", "out.pb.gz"]);
    assert_eq!(fs::read(subject.path("out.pb.gz")).unwrap()[..2], [0x1f, 0x8b]);
    let again = subject.vmatlas(&["export", "rec", "--format", "pprof", "-o", "out.pb.gz"]);
    assert!(!again.status.success() && String::from_utf8_lossy(&again.stderr).contains("--force"));
    subject.text(&["export", "rec", "--format", "pprof", "-o", "out.pb.gz", "--force"]);
    if need(Capability::Tool("go")) {
        let mut go = Command::new("go");
        go.args(["tool", "pprof", "-top", "out.pb.gz"]).current_dir(subject.folder.path());
        let output = go.env("HOME", subject.folder.path()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("Type: mapped") && text.contains("grow"), "{output:?}");
    }
}

/// Checks that a recording whose writer was killed, and which so has no names, gets them from the files that are here, and
/// addresses where they are not.
#[test]
fn names_are_made_later_where_the_recording_has_none() {
    let Some(subject) = Subject::new() else { return };
    let mut run = vmatlas();
    run.args(["run", "--stacks", "-o", "rec", "--", "./subject", "wait"]).current_dir(subject.folder.path());
    let mut child = run.stdout(Stdio::piped()).spawn().unwrap();
    let mut ready = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut ready)
        .unwrap();
    // What was seen is in the recording after a second.
    let is_there = || {
        let output = subject.vmatlas(&["export", "rec", "--format", "collapsed"]);
        String::from_utf8_lossy(&output.stdout).contains("other")
    };
    assert!(vmatlas_testkit::wait_until(is_there, Duration::from_secs(20)));
    child.kill().unwrap();
    child.wait().unwrap();
    let mapped = subject.text(&["export", "rec", "--format", "collapsed"]);
    assert_weighs(&mapped, "main;grow;ask", 4 << 20);
    fs::remove_file(subject.path("subject")).unwrap();
    let mapped = subject.text(&["export", "rec", "--format", "collapsed"]);
    assert!(mapped.contains("subject+0x") && !mapped.contains("grow"), "{mapped}");
}

/// Checks that `log --stacks` has names, and that a recording without stacks says so.
#[test]
fn a_log_has_names() {
    let Some(subject) = Subject::new() else { return };
    subject.record();
    let log = subject.text(&["log", "rec", "--stacks"]);
    assert!(log.contains("at ask subject.c:") && log.contains("at grow subject.c:"), "{log}");
    subject.text(&["run", "-o", "plain", "--", "./subject"]);
    let output = subject.vmatlas(&["export", "plain", "--format", "collapsed"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("--stacks"), "{output:?}");
}
