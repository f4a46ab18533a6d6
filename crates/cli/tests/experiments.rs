//! What every experiment of `vmatlas lab` keeps to: its facts hold, its texts are whole, its quiz is answered by itself,
//! it can be written down and recorded, and nothing of it is left behind, wherever it is interrupted.

#![expect(clippy::unwrap_used, reason = "a test binary")]

use serde_json::Value;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use vmatlas_event::Pid;
use vmatlas_testkit::{Capability, Tracee, need, vmatlas_command, wait_until};

const SIGINT: i32 = 2;
const SIGKILL: i32 = 9;
/// The variable that tells our processes from those of others.
const MARK: &str = "VMATLAS_LAB_TEST";

fn vmatlas() -> Command {
    vmatlas_command(env!("CARGO_BIN_EXE_vmatlas"))
}

fn lab(words: &[&str]) -> Output {
    vmatlas().arg("lab").args(words).output().unwrap()
}

fn names() -> Vec<String> {
    let list: Value = serde_json::from_slice(&lab(&["--json"]).stdout).unwrap();
    let name = |info: &Value| info["experiment"].as_str().unwrap().to_owned();
    list["experiments"].as_array().unwrap().iter().map(name).collect()
}

fn report(words: &[&str]) -> Value {
    let output = lab(&[words, &["--json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn measured<'a>(report: &'a Value, id: &str) -> &'a Value {
    let facts = report["facts"].as_array().unwrap();
    &facts.iter().find(|fact| fact["id"] == id).unwrap_or_else(|| panic!("no fact {id}"))["measured"]
}

/// Checks what a student would ask: the same experiments with other values of their parameters.
#[test]
fn parameters_change_what_happens() {
    if !need(Capability::PagemapScan) {
        return;
    }
    for (words, id, value) in [
        (&["munmap-middle", "--hole", "0"][..], "vmas", 1),
        (&["one-byte", "--length", "4096"], "mapped", 4096),
        (&["one-byte", "--length", "4097"], "second", 8192),
        (&["munmap-middle", "--pages", "16", "--hole", "8"], "vmas", 2),
        (&["munmap-middle", "--hole", "15"], "vmas", 1),
        (&["mprotect", "--page", "0"], "split", 2),
        (&["mprotect", "--page", "4"], "split", 2),
        (&["mprotect", "--start", "ro"], "split", 3),
        (&["zero-page", "--pages", "64"], "read-faults", 64),
        (&["fork-cow", "--pages", "16"], "shared", 16),
        (&["demand-paging", "--length", "1"], "faults", 1),
    ] {
        assert_eq!(*measured(&report(words), id), value, "{words:?}");
    }
    assert_eq!(*measured(&report(&["null-pointer", "--offset", "24"]), "read-signal"), "SIGSEGV");
}

/// Checks that no text is missing, and that no value of one is, in both languages and in the handout.
#[test]
fn texts_are_whole() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("handout.md");
    for name in names() {
        for lang in ["en", "ja"] {
            let words = [&name, "--lang", lang, "--quiz", "--markdown", file.to_str().unwrap()];
            let output = lab(&words);
            let said = || String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(
                output.status.success(),
                "{words:?} {} {}",
                String::from_utf8_lossy(&output.stderr),
                said()
            );
            let text = said();
            let handout = fs::read_to_string(&file).unwrap();
            for text in [&text, &handout] {
                // Braces stand in C programs alone.
                let left = text.lines().find(|line| {
                    let open = line.split('{').skip(1);
                    open.filter_map(|rest| rest.split_once('}')).any(|(value, _)| {
                        !value.is_empty() && value.chars().all(|c| c.is_ascii_lowercase() || c == '_')
                    })
                });
                assert_eq!(left, None, "{words:?}");
            }
            assert!(handout.starts_with("# ") && handout.contains("| ✓ |"), "{handout}");
        }
    }
}

/// Checks that questions are answered by what was measured in this very run, also where a number of it is asked for.
#[test]
fn the_quiz_is_answered_by_the_experiment() {
    for name in names() {
        let report = report(&[&name]);
        let quiz = report["quiz"].as_array().unwrap();
        assert_eq!(quiz.len(), 2, "{name}");
        for question in quiz {
            let id = question["fact"].as_str().unwrap();
            let answer = question["answer"].as_str();
            let facts = report["facts"].as_array().unwrap();
            let fact =
                facts.iter().find(|fact| fact["id"] == id).unwrap_or_else(|| panic!("{name}: no fact {id}"));
            assert_eq!(answer.is_none(), fact["holds"].is_null(), "{name} {id}");
            assert!(!question["question"].as_str().unwrap().is_empty(), "{name} {id}");
        }
    }
    let mut asked = vmatlas();
    asked.args(["lab", "munmap-middle", "--wait", "--quiz"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut asked = Tracee::start(&mut asked).unwrap();
    let mut text = String::new();
    // Lines of input: one for each prompt, then what cannot be understood, a right answer, and a wrong one.
    for answer in ["", "", "", "", "", "perhaps", "2", "SIGBUS"] {
        asked.write_line(answer).unwrap();
    }
    while let Ok(line) = asked.read_line() {
        text.push_str(&line);
        text.push('\n');
    }
    assert!(asked.wait().unwrap().success());
    assert!(
        text.contains("Right.") && text.contains("Not quite.") && text.contains("SIGSEGV (measured"),
        "{text}"
    );
}

/// Checks that the process of an experiment can be recorded, and that the recording is sound.
#[test]
fn experiments_are_recorded() {
    if !need(Capability::Ptrace) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for name in names() {
        let path = dir.path().join(&name);
        let path = path.to_str().unwrap();
        let output = lab(&[&name, "-o", path]);
        let said = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy);
        assert!(output.status.success(), "{name} {said:?}");
        for words in [&["verify", path][..], &["info", path], &["log", path], &["show", path]] {
            let output = vmatlas().args(words).output().unwrap();
            assert!(output.status.success(), "{words:?} {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

/// Checks that a help shows no place for a value that only a run can fill.
#[test]
fn helps_have_no_open_values() {
    for name in names() {
        let help = String::from_utf8(lab(&[&name, "--help"]).stdout).unwrap();
        assert!(help.contains("Try next:") && !help.contains('{'), "{name}: {help}");
        let help = String::from_utf8(lab(&[&name, "--help", "--lang", "ja"]).stdout).unwrap();
        assert!(help.contains("次に試すこと:") && !help.contains('{'), "{name}: {help}");
    }
}

/// Checks that pictures are SVG, and that a handout names its picture.
#[test]
fn pictures_and_handouts_go_together() {
    let dir = tempfile::tempdir().unwrap();
    let (svg, handout) = (dir.path().join("p.svg"), dir.path().join("h.md"));
    for name in names().iter().filter(|name| *name != "brk" && *name != "null-pointer") {
        let words = [name, "--svg", svg.to_str().unwrap(), "--markdown", handout.to_str().unwrap()];
        assert!(lab(&words).status.success(), "{name}");
        let picture = fs::read_to_string(&svg).unwrap();
        assert!(picture.starts_with("<svg") && picture.trim_end().ends_with("</svg>"), "{name}");
        assert!(fs::read_to_string(&handout).unwrap().contains("](<p.svg>)"), "{name}");
    }
}

/// Processes that have our mark in their environment.
fn marked(mark: &str) -> Vec<String> {
    let entry = format!("{MARK}={mark}");
    let has_mark = |pid: &String| {
        let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.split(|b| *b == 0).any(|word| word == entry.as_bytes())
    };
    let names = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter(|name| name.bytes().all(|b| b.is_ascii_digit())).filter(has_mark).collect()
}

/// The process group of a process.
fn group_of(pid: &str) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(2)?.parse().ok()
}

/// SysV segments that a process has made.
fn segments_of(pid: &str) -> usize {
    let table = fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
    table.lines().filter(|line| line.split_whitespace().nth(4) == Some(pid)).count()
}

/// Runs an experiment up to its prompt number `stop` and ends it there with a signal to its process group, as ^C does;
/// `false` when it has no such prompt.
fn interrupted(name: &str, stop: usize, signal: i32, dir: &Path) -> bool {
    let mark = format!("{}-{name}-{stop}-{signal}", std::process::id());
    let mut command = vmatlas();
    command.args(["lab", name, "--wait"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.env(MARK, &mark).env("TMPDIR", dir).process_group(0);
    let mut made = Tracee::start(&mut command).unwrap();
    let (mut prompts, mut subject) = (0, String::new());
    let found = loop {
        let Ok(line) = made.read_line() else { break false };
        if let Some(pid) = line.trim().strip_prefix("vmatlas show ").filter(|_| subject.is_empty()) {
            pid.clone_into(&mut subject);
        }
        if line.contains("Press Enter") {
            if prompts == stop {
                break true;
            }
            prompts += 1;
            made.write_line("").unwrap();
        }
    };
    if found {
        for pid in marked(&mark).into_iter().filter(|pid| group_of(pid) == Some(made.pid().0)) {
            // One that ended with another before it was its turn is gone.
            let _ = vmatlas_sys::kill(Pid(pid.parse().unwrap()), signal);
        }
    }
    made.wait().unwrap();
    assert!(wait_until(|| marked(&mark).is_empty(), Duration::from_secs(10)), "{mark}: {:?}", marked(&mark));
    let files = || fs::read_dir(dir).unwrap().count();
    assert!(wait_until(|| files() == 0, Duration::from_secs(10)), "{mark} left files");
    assert_eq!(segments_of(&subject), 0, "{mark} left a segment");
    found
}

/// Checks that nothing is left behind of any experiment, interrupted at any of its steps, or killed at one.
#[test]
fn nothing_is_left_behind() {
    let dir = tempfile::tempdir().unwrap();
    for name in names() {
        let prompts = (0..100).take_while(|stop| interrupted(&name, *stop, SIGINT, dir.path())).count();
        assert!(prompts >= 2, "{name}: {prompts} prompts");
        assert!(interrupted(&name, prompts / 2, SIGKILL, dir.path()), "{name}");
    }
}
