//! `--faults` as a user has it: each page fault once, joined to what had mapped its page, beside the kernel's own count.

#![expect(clippy::unwrap_used, reason = "a test binary")]

use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use vmatlas_testkit::{Capability, Tracee, need, vmatlas_command};

fn vmatlas(words: &[&str]) -> Command {
    let mut command = vmatlas_command(env!("CARGO_BIN_EXE_vmatlas"));
    command.args(words);
    command
}

fn can_run() -> bool {
    [Capability::Ptrace, Capability::FaultEvents, Capability::Tool("python3")].into_iter().all(need)
}

/// Private memory of 1,000 pages without huge pages, each touched once; `more` comes after that.
fn toucher(more: &str) -> String {
    format!(
        "import mmap, threading\n\
         def fresh(n):\n  m = mmap.mmap(-1, n * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n  \
         m.madvise(mmap.MADV_NOHUGEPAGE); return m\n\
         def touch(m):\n  for at in range(0, len(m), 4096): m[at] = 1\n\
         m = fresh(1000); touch(m)\n{more}"
    )
}

/// What a program's faults came to: each event, and the summary.
fn watched(folder: &Path, options: &[&str], script: &str) -> (Vec<Value>, Value) {
    let lines = folder.join("lines");
    let jsonl = format!("--jsonl={}", lines.display());
    let words = [&["run", "--faults", &jsonl], options, &["--", "python3", "-Sc", script]].concat();
    let output = vmatlas(&words).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = fs::read_to_string(&lines).unwrap();
    let mut all: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let summary = all.pop().unwrap();
    (all, summary)
}

fn faults(events: &[Value]) -> Vec<&Value> {
    events.iter().filter(|event| event["call"] == "fault").collect()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value}"))
}

/// Checks that nothing is lost, that what is told equals the kernel's PERF_COUNT_SW_PAGE_FAULTS and is no more than it
/// accounts to the task, and that each page of an area that was touched page by page is told once and in order.
#[test]
fn faults_are_those_the_kernel_counted() {
    if !can_run() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (events, summary) = watched(folder.path(), &[], &toucher(""));
    let sums = &summary["faults"];
    let told = number(&sums["minor"]) + number(&sums["major"]);
    assert_eq!((number(&sums["lost"]), number(&sums["of_others"])), (0, 0), "{sums}");
    assert_eq!(told, number(&sums["handled"]), "{sums}");
    assert!(number(&sums["accounted"]) >= told, "{sums}");
    let faults = faults(&events);
    assert_eq!(faults.len() as u64, told);
    assert!(faults.iter().all(|fault| !fault["vma"].is_null() && !fault["origin"].is_null()));
    let area = sums["by_origin"].as_array().unwrap().iter().find(|o| o["asked"] == 1000 * 4096).unwrap();
    assert_eq!((number(&area["minor"]), &area["call"]), (1000, &"mmap".into()), "{area}");
    let of_area: Vec<&str> = faults
        .iter()
        .filter(|fault| fault["origin"] == area["origin"])
        .map(|fault| fault["args"]["addr"].as_str().unwrap())
        .collect();
    assert_eq!(of_area.len(), 1000);
    assert!(of_area.is_sorted());
    // After the call that mapped it, and before what the program does next.
    let seqs: Vec<u64> = events.iter().map(|event| number(&event["seq"])).collect();
    assert!(seqs.is_sorted());
}

/// Checks that threads' faults are joined to the calls that mapped what they touch, whoever of them made the call, and
/// that children and executed programs are told in their own address spaces.
#[test]
fn faults_of_threads_and_children_find_their_calls() {
    if !can_run() {
        return;
    }
    let script = toucher(
        "import os, subprocess\n\
         def work():\n  for _ in range(20):\n    m = fresh(50); touch(m); m.close()\n\
         all = [threading.Thread(target=work) for _ in range(4)]\n\
         [t.start() for t in all]; [t.join() for t in all]\n\
         pid = os.fork()\n\
         if pid == 0:\n  touch(m); os._exit(0)\n\
         os.waitpid(pid, 0); subprocess.run(['/bin/true'])",
    );
    let folder = tempfile::tempdir().unwrap();
    let (events, summary) = watched(folder.path(), &[], &script);
    let sums = &summary["faults"];
    assert_eq!(number(&sums["lost"]), 0, "{sums}");
    assert_eq!(number(&sums["minor"]) + number(&sums["major"]), number(&sums["handled"]), "{sums}");
    let faults = faults(&events);
    let nowhere: Vec<_> = faults.iter().filter(|fault| fault["vma"].is_null()).collect();
    assert!(nowhere.is_empty(), "{nowhere:?}");
    let sum = |wanted: &dyn Fn(&Value) -> bool| -> u64 {
        let origins = sums["by_origin"].as_array().unwrap().iter();
        origins.filter(|origin| wanted(origin)).map(|origin| number(&origin["minor"])).sum()
    };
    let of_workers = sum(&|origin| origin["asked"] == 50 * 4096);
    assert!(of_workers <= 4 * 20 * 50, "{sums}");
    // One thread may get the very place that another one is giving back: where their calls overlap, no order is known, and
    // what is there is told by the kernel's answer: to no call, or to the one that gave the place back.
    let of_nobody = sum(&|origin| origin["by"] == "unknown" || origin["call"] == "munmap");
    assert!(of_workers + of_nobody >= 4 * 20 * 50, "{sums}");
    assert!(of_workers == 4 * 20 * 50 || number(&summary["conflicts"]) > 0, "{sums}");
    let mms: std::collections::BTreeSet<u64> = faults.iter().map(|fault| number(&fault["mm"])).collect();
    assert!(mms.len() >= 3, "{mms:?}");
}

/// Checks that with rings much too small what is lost is what the kernel produced less what was told, and that each loss
/// says from when to when.
#[test]
fn a_loss_is_counted_and_has_a_time() {
    if !can_run() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = toucher("for _ in range(30):\n  m = fresh(4000); m.read(); m.close()");
    let (events, summary) = watched(folder.path(), &["--faults-ring=4096"], &script);
    let sums = &summary["faults"];
    let told = number(&sums["minor"]) + number(&sums["major"]);
    assert!(number(&sums["lost"]) > 0, "{sums}");
    assert_eq!(told + number(&sums["lost"]), number(&sums["handled"]), "{sums}");
    assert_eq!(faults(&events).len() as u64, told);
    let losses: Vec<&Value> = events.iter().filter(|event| event["call"] == "lost").collect();
    let lost: u64 = losses.iter().map(|loss| number(&loss["args"]["count"])).sum();
    assert_eq!(lost, number(&sums["lost"]));
    assert!(losses.iter().all(|loss| loss["args"]["from_ns"].as_u64() <= loss["args"]["to_ns"].as_u64()));
    // No map is lost with them.
    assert_eq!(number(&summary["drift"]), 0);
}

/// Checks a recording with faults: `log`, `info`, `why`, a moment after a fault, and `verify`.
#[test]
fn a_recording_has_them_too() {
    if !can_run() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let rec = folder.path().join("rec");
    let rec = rec.to_str().unwrap();
    // The area is still there at the end.
    let words = ["run", "--faults", "-o", rec, "--", "python3", "-Sc", &toucher("import os; os._exit(0)")];
    let output = vmatlas(&words).output().unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let say = |words: &[&str]| {
        let output = vmatlas(words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let info: Value = serde_json::from_str(&say(&["info", rec, "--json"])).unwrap();
    let count = number(&info["kinds"]["fault"]["count"]);
    let lines = say(&["log", rec, "-e", "fault"]);
    assert!(count >= 1000 && lines.lines().count() as u64 == count, "{count}");
    assert!(lines.lines().all(|line| line.contains("page fault 0x")));
    assert!(!say(&["log", rec]).contains("page fault"));
    // The hundredth page of the area: the first fault there, and the call.
    let jsonl = say(&["log", rec, "--jsonl"]);
    let events: Vec<Value> = jsonl.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let area = events.iter().rfind(|e| e["call"] == "mmap" && e["args"]["length"] == 1000 * 4096).unwrap();
    let start = u64::from_str_radix(area["result"].as_str().unwrap().trim_start_matches("0x"), 16).unwrap();
    let addr = format!("{:#x}", start + 100 * 4096 + 5);
    let why: Value = serde_json::from_str(&say(&["why", rec, &addr, "--json"])).unwrap();
    assert_eq!((&why["origin"]["seq"], number(&why["faults"])), (&area["seq"], 1));
    assert_eq!(why["first_fault"]["args"]["addr"], format!("{:#x}", start + 100 * 4096));
    assert!(say(&["why", rec, &addr]).contains("First recorded fault on this page"));
    let seq = number(&why["first_fault"]["seq"]);
    say(&["show", &format!("{rec}@{seq}"), "--summary"]);
    say(&["verify", rec]);
}

/// Checks that faults of a running program are told from the attach on, and that it goes on.
#[test]
fn attach_tells_them_from_then_on() {
    if !can_run() {
        return;
    }
    let mut python = Command::new("python3");
    let script = toucher(
        "import sys\nprint('ready', flush=True)\nfor line in sys.stdin:\n  touch(fresh(300)); print('touched', flush=True)",
    );
    python.args(["-Suc", &script]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut python = Tracee::start(&mut python).unwrap();
    assert_eq!(python.read_line().unwrap(), "ready");
    let pid = python.pid().to_string();
    let mut child = vmatlas(&["attach", "--faults", "--jsonl", &pid]).stderr(Stdio::piped()).spawn().unwrap();
    let mut err = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("\"attach\"") {
        line.clear();
        assert_ne!(err.read_line(&mut line).unwrap(), 0, "it ended before it was there");
    }
    for _ in 0..2 {
        python.write_line("go").unwrap();
        assert_eq!(python.read_line().unwrap(), "touched");
    }
    vmatlas_sys::kill(vmatlas_event::Pid(child.id() as i32), 15).unwrap();
    let lines: Vec<String> = err.lines().map(Result::unwrap).collect();
    assert!(child.wait().unwrap().success(), "{lines:?}");
    let summary: Value = serde_json::from_str(lines.last().unwrap()).unwrap();
    let sums = &summary["faults"];
    let told = number(&sums["minor"]) + number(&sums["major"]);
    assert!(told >= 600 && number(&sums["lost"]) == 0, "{sums}");
    assert_eq!(told + number(&sums["of_others"]), number(&sums["handled"]), "{sums}");
    python.write_line("go").unwrap();
    assert_eq!(python.read_line().unwrap(), "touched");
}

/// Checks the words at the end, in both languages: sums by what had mapped the pages, that a fault is no page, and the
/// kernel's own figures.
#[test]
fn the_end_says_what_they_came_to() {
    if !can_run() {
        return;
    }
    for (lang, words) in [
        ("en", ["MAPPED BY", "a fault is not a page", "the start of a program", "0 lost"]),
        ("ja", ["マップした呼び出し", "ページ数ではありません", "プログラムの開始", "欠落 0"]),
    ] {
        let words_of_run = ["run", "--faults", "-c", "--lang", lang, "--", "python3", "-Sc", &toucher("")];
        let output = vmatlas(&words_of_run).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
        assert!(text.contains("mmap(NULL, 3.9 MiB"), "{text}");
    }
}
