//! `vmatlas attach` as a user runs it, on programs of our own; and that they go on as if nobody had been there.

#![expect(clippy::unwrap_used, reason = "a test binary")]

use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use vmatlas_testkit::{Capability, Tracee, need, vmatlas_command, wait_until};

fn vmatlas(words: &[&str]) -> Command {
    let mut command = vmatlas_command(env!("CARGO_BIN_EXE_vmatlas"));
    match words {
        // What is tested here is what stops make exact; bpf.rs has the other way.
        ["attach", words @ ..] => command.args(["attach", "--backend", "ptrace"]).args(words),
        words => command.args(words),
    };
    command
}

/// A Python program that says `ready`; its further lines can be read.
fn python(script: &str) -> Tracee {
    let mut command = Command::new("python3");
    command.args(["-uc", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut python = Tracee::start(&mut command).unwrap();
    assert_eq!(python.read_line().unwrap(), "ready");
    python
}

fn status_line(pid: impl std::fmt::Display, key: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.trim_start_matches(':').trim().to_owned()
}

/// Starts `attach` with these words and waits until it has said that it is there.
fn attached(words: &[&str]) -> (Child, BufReader<std::process::ChildStderr>) {
    let mut child = vmatlas(&[&["attach"], words].concat()).stderr(Stdio::piped()).spawn().unwrap();
    let mut err = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !(line.contains("attached") || line.contains("\"attach\"")) {
        line.clear();
        assert_ne!(err.read_line(&mut line).unwrap(), 0, "it ended before it was there");
    }
    (child, err)
}

fn interrupt(child: &Child) {
    let pid = vmatlas_event::Pid(child.id() as i32);
    vmatlas_sys::kill(pid, 2).unwrap();
}

/// Checks the whole of it: what was there before, each call with its change, ^C, and a program that goes on.
#[test]
fn a_running_program_is_watched_and_let_go() {
    if !need(Capability::Ptrace) || !need(Capability::Tool("python3")) {
        return;
    }
    let mut python = python(
        "import mmap, sys\nprint('ready')\n\
         for line in sys.stdin:\n  m = mmap.mmap(-1, 1 << 20); print('mapped', flush=True); m.close()",
    );
    let pid = python.pid().to_string();
    let (mut child, mut err) = attached(&[&pid]);
    assert_eq!(status_line(&pid, "TracerPid"), child.id().to_string());
    for _ in 0..3 {
        python.write_line("go").unwrap();
        assert_eq!(python.read_line().unwrap(), "mapped");
    }
    interrupt(&child);
    let mut lines = String::new();
    err.read_to_string(&mut lines).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{lines}");
    assert_eq!(lines.matches("+1.0 MiB shared anonymous rw-").count(), 3, "{lines}");
    assert!(lines.contains("before attach") && lines.contains("0 drift"), "{lines}");
    assert_eq!(status_line(&pid, "TracerPid"), "0");
    python.write_line("go").unwrap();
    assert_eq!(python.read_line().unwrap(), "mapped");
}

/// Checks --duration, and that threads and children are followed only as asked.
#[test]
fn threads_always_and_children_when_asked() {
    if !need(Capability::Ptrace) || !need(Capability::Tool("python3")) {
        return;
    }
    // The child ends with its parent (PR_SET_PDEATHSIG), however this test ends.
    let script = "import ctypes, os, sys, threading, mmap, time\n\
        def work():\n  while True: mmap.mmap(-1, 3 << 20).close(); time.sleep(0.02)\n\
        [threading.Thread(target=work, daemon=True).start() for _ in range(3)]\n\
        print('ready')\n\
        if os.fork() == 0:\n  ctypes.CDLL(None).prctl(1, 9); work()\n\
        sys.stdin.read(); os._exit(0)";
    for follow in [false, true] {
        let python = python(script);
        let pid = python.pid().to_string();
        let words: &[&str] = if follow { &["-f"] } else { &[] };
        let words = [words, &["--duration", "300ms", "--jsonl", &pid]].concat();
        let output = vmatlas(&[&["attach"], &words[..]].concat()).output().unwrap();
        assert!(output.status.success());
        let events: Vec<Value> = String::from_utf8(output.stderr)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let mmaps: Vec<&Value> = events.iter().filter(|e| e["call"] == "mmap").collect();
        let tids: std::collections::BTreeSet<i64> =
            mmaps.iter().map(|e| e["tid"].as_i64().unwrap()).collect();
        assert_eq!(tids.len(), if follow { 4 } else { 3 }, "{tids:?}");
        let summary = events.last().unwrap();
        assert_eq!(summary["drift"], 0, "{summary}");
        assert!(summary["before_attach"]["mapped"].as_u64().unwrap() > 1 << 20);
        let child = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        let child: i32 = child.trim().parse().unwrap();
        assert_eq!(status_line(child, "TracerPid"), "0");
    }
}

/// Checks that the model is the kernel's at every call of a program that was joined, several threads of it at work.
#[test]
fn the_model_is_the_kernels() {
    if !need(Capability::Ptrace) || !need(Capability::Tool("python3")) {
        return;
    }
    let script = "import sys, threading, mmap\n\
        def work():\n  while True: mmap.mmap(-1, 1 << 16).close()\n\
        [threading.Thread(target=work, daemon=True).start() for _ in range(3)]\n\
        print('ready'); sys.stdin.read()";
    let python = python(script);
    let pid = python.pid().to_string();
    let output = vmatlas(&["attach", "--check", "--duration", "1s", "--jsonl", &pid]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}");
    let summary: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert!(summary["check"]["compared"].as_u64().unwrap() > 20, "{summary}");
    assert_eq!((&summary["check"]["differences"], &summary["drift"]), (&0.into(), &0.into()), "{summary}");
}

/// Checks that a program which ends, and one that a signal ends, give their status.
#[test]
fn its_own_end_is_our_status() {
    if !need(Capability::Ptrace) || !need(Capability::Tool("python3")) {
        return;
    }
    for (last, status) in [("sys.exit(7)", 7), ("os.kill(os.getpid(), 15)", 143)] {
        let mut python = python(&format!("import os, sys\nprint('ready'); sys.stdin.readline(); {last}"));
        let (mut child, mut err) = attached(&[&python.pid().to_string()]);
        python.write_line("end").unwrap();
        let mut rest = String::new();
        err.read_to_string(&mut rest).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(status), "{rest}");
    }
}

/// Checks that joining and leaving a program that is stopped, and one that sleeps in a call, leaves both as they were.
#[test]
fn a_stopped_program_stays_stopped() {
    if !need(Capability::Ptrace) {
        return;
    }
    let sleeper = Tracee::start(Command::new("sleep").arg("60").stdout(Stdio::null())).unwrap();
    let pid = sleeper.pid();
    let state = |expected: &str| {
        wait_until(|| status_line(pid, "State").starts_with(expected), Duration::from_secs(10))
    };
    assert!(state("S"));
    for stopped in [false, true] {
        if stopped {
            vmatlas_sys::kill(pid, 19).unwrap();
            assert!(state("T"));
        }
        let output = vmatlas(&["attach", "--duration", "100ms", &pid.to_string()]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(state(if stopped { "T" } else { "S" }), "{}", status_line(pid, "State"));
        assert_eq!(status_line(pid, "TracerPid"), "0");
    }
    vmatlas_sys::kill(pid, 18).unwrap();
    assert!(state("S"));
}

/// Checks that the program goes on when vmatlas is killed.
#[test]
fn a_killed_tracer_takes_nobody_along() {
    if !need(Capability::Ptrace) || !need(Capability::Tool("python3")) {
        return;
    }
    let mut python =
        python("import mmap, sys\nprint('ready')\nfor l in sys.stdin: mmap.mmap(-1, 4096); print('mapped')");
    let pid = python.pid().to_string();
    let (mut child, _err) = attached(&[&pid]);
    child.kill().unwrap();
    child.wait().unwrap();
    python.write_line("go").unwrap();
    assert_eq!(python.read_line().unwrap(), "mapped");
    assert!(wait_until(|| status_line(&pid, "TracerPid") == "0", Duration::from_secs(10)));
}

/// Checks that what cannot be joined is said in one line: nobody there, ourselves, another tracer.
#[test]
fn refusals_are_one_line() {
    let complaint = |words: &[&str]| {
        let output = vmatlas(words).output().unwrap();
        assert_eq!(output.status.code(), Some(125), "{words:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        text
    };
    assert!(complaint(&["attach", "999999999"]).contains("there is no process 999999999"));
    if !need(Capability::Ptrace) {
        return;
    }
    let sleeper = Tracee::start(Command::new("sleep").arg("60").stdout(Stdio::null())).unwrap();
    let pid = sleeper.pid().to_string();
    let (mut child, _err) = attached(&[&pid]);
    let text = complaint(&["attach", &pid]);
    assert!(text.contains(&child.id().to_string()), "{text}");
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// Checks that SIGUSR1 has the whole map read at once, of a program that makes no call, and that ^Z stops nobody.
#[test]
fn a_look_on_request() {
    if !need(Capability::Ptrace) {
        return;
    }
    let sleeper = Tracee::start(Command::new("sleep").arg("60").stdout(Stdio::null())).unwrap();
    let (child, mut err) = attached(&["--jsonl", &sleeper.pid().to_string()]);
    let pid = vmatlas_event::Pid(child.id() as i32);
    vmatlas_sys::kill(pid, 20).unwrap();
    vmatlas_sys::kill(pid, 10).unwrap();
    // It may still have been starting.
    let mut line = String::new();
    while !line.contains("\"request\"") {
        line.clear();
        assert_ne!(err.read_line(&mut line).unwrap(), 0, "it ended without having looked");
    }
    interrupt(&child);
    let mut child = child;
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// Checks that threads which were there before keep the model when the one whose map was read ends.
#[test]
fn threads_that_were_there_keep_the_map() {
    if !need(Capability::Ptrace) || !need(Capability::Tool("python3")) {
        return;
    }
    let script = "import mmap, threading, time\n\
        threading.Thread(target=lambda: time.sleep(0.4)).start()\n\
        print('ready'); time.sleep(0.7)\n\
        for _ in range(20): mmap.mmap(-1, 1 << 20).close(); time.sleep(0.01)";
    let python = python(script);
    let words = ["attach", "--check", "--jsonl", &python.pid().to_string()];
    let output = vmatlas(&words).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}");
    let summary: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!((&summary["drift"], &summary["check"]["differences"]), (&0.into(), &0.into()), "{summary}");
}

/// Checks that nobody reading our lines holds neither the program nor our leaving.
#[test]
fn a_reader_that_does_not_read_holds_nobody() {
    if !need(Capability::Ptrace) || !need(Capability::Tool("python3")) {
        return;
    }
    let script = "import mmap, sys, threading\n\
        count = 0\n\
        def work():\n  global count\n  while True: mmap.mmap(-1, 4096).close(); count += 1\n\
        threading.Thread(target=work, daemon=True).start()\n\
        print('ready')\nfor line in sys.stdin: print(count, flush=True)";
    let mut python = python(script);
    let pid = python.pid().to_string();
    let mut child =
        vmatlas(&["attach", "--duration", "1500ms", &pid]).stderr(Stdio::piped()).spawn().unwrap();
    // Much more than a pipe holds, and nobody reads it.
    assert!(wait_until(|| status_line(&pid, "TracerPid") != "0", Duration::from_secs(10)));
    let mut counts = Vec::new();
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(400));
        python.write_line("count").unwrap();
        counts.push(python.read_line().unwrap().parse::<u64>().unwrap());
    }
    assert!(counts.is_sorted_by(|a, b| a < b), "{counts:?}");
    assert!(wait_until(|| status_line(&pid, "TracerPid") == "0", Duration::from_secs(10)));
    drop(child.stderr.take());
    child.wait().unwrap();
}

/// Checks that two wishes for the end at once are one: the summary is there.
#[test]
fn two_ends_at_once() {
    if !need(Capability::Ptrace) {
        return;
    }
    let sleeper = Tracee::start(Command::new("sleep").arg("60").stdout(Stdio::null())).unwrap();
    let (mut child, mut err) = attached(&[&sleeper.pid().to_string()]);
    let pid = vmatlas_event::Pid(child.id() as i32);
    vmatlas_sys::kill(pid, 2).unwrap();
    vmatlas_sys::kill(pid, 15).unwrap();
    let mut lines = String::new();
    err.read_to_string(&mut lines).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{lines}");
    assert!(lines.contains("model and kernel"), "{lines}");
}
