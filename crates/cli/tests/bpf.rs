//! `--backend bpf` as a user runs it: nothing is stopped, and what is missing is said.

#![expect(clippy::unwrap_used, reason = "a test binary")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};
use vmatlas_testkit::{Capability, Tracee, left_off, need, need_root, vmatlas_binary};

fn vmatlas(words: &[&str]) -> Command {
    let mut command = Command::new(vmatlas_binary(env!("CARGO_BIN_EXE_vmatlas")));
    command
        .args(words)
        .env_remove("LC_ALL")
        .env_remove("LC_MESSAGES")
        .env("LANG", "C.UTF-8")
        .stdin(Stdio::null());
    command
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Whether BPF programs can be loaded here; says so otherwise.
fn has_bpf() -> bool {
    if !need_root("BPF programs are loaded") {
        return false;
    }
    let output = vmatlas(&["run", "--backend", "bpf", "-c", "--", "true"]).output().unwrap();
    if output.status.code() == Some(125) {
        left_off(&format!("BPF ({})", err(&output).trim()));
        return false;
    }
    true
}

/// Checks that a program's calls are shown, that its own status is ours, and that all is confirmed.
#[test]
fn a_program_is_shown() {
    if !has_bpf() {
        return;
    }
    let output = vmatlas(&["run", "--backend", "bpf", "--", "sh", "-c", "exit 7"]).output().unwrap();
    let text = err(&output);
    assert_eq!(output.status.code(), Some(7), "{text}");
    for part in ["libc.so.6", "mmap(", "[heap]", "exited with 7", " 0 drift"] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    assert!(!text.contains("not confirmed"), "{text}");
    let output = vmatlas(&["run", "--backend", "bpf", "--", "/nowhere/at/all"]).output().unwrap();
    assert_eq!(output.status.code(), Some(127), "{}", err(&output));
}

/// Checks that a recording made through BPF is sound, and names its backend.
#[test]
fn a_recording_is_sound() {
    if !has_bpf() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.vmatlas");
    let path = path.to_str().unwrap();
    let output =
        vmatlas(&["run", "--backend", "bpf", "-o", path, "--", "sh", "-c", "ls / | wc -l"]).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", err(&output));
    let output = vmatlas(&["verify", path]).output().unwrap();
    assert!(output.status.success(), "{}", err(&output));
    let meta = fs::read_to_string(folder.path().join("r.vmatlas/meta.json")).unwrap();
    assert!(meta.contains("\"bpf\""), "{meta}");
}

/// Checks that a running program is joined and left without being traced, and that its calls are shown.
#[test]
fn a_running_program_is_joined() {
    if !has_bpf() || !need(Capability::Tool("python3")) {
        return;
    }
    let script = "import mmap,sys\nprint('ready')\nwhile sys.stdin.readline():\n m=mmap.mmap(-1,1<<22)\n m.close()\n print('done')";
    let mut python = Command::new("python3");
    python.args(["-uc", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut python = Tracee::start(&mut python).unwrap();
    assert_eq!(python.read_line().unwrap(), "ready");
    let pid = python.pid().to_string();
    let mut attach = vmatlas(&["attach", "--backend", "bpf", &pid]).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(attach.stderr.take().unwrap()).lines();
    assert!(lines.by_ref().any(|line| line.unwrap().contains("attached")), "it ended before it was there");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.contains("TracerPid:\t0\n"), "{status}");
    python.write_line("go").unwrap();
    assert_eq!(python.read_line().unwrap(), "done");
    assert!(lines.by_ref().any(|line| line.unwrap().contains("munmap(")));
    let _ = vmatlas_sys::kill(vmatlas_event::Pid(attach.id() as i32), 15);
    assert_eq!(attach.wait().unwrap().code(), Some(0));
    python.write_line("go").unwrap();
    assert_eq!(python.read_line().unwrap(), "done");
}

/// Checks that missing privileges end with our own status and the command that grants them, in both languages, and that
/// what only a stopped program allows is refused.
#[test]
fn what_is_missing_is_said() {
    let output = vmatlas(&["run", "--backend", "bpf", "--check", "--", "true"]).output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(err(&output).contains("--check"), "{}", err(&output));
    let vmatlas_path = vmatlas_binary(env!("CARGO_BIN_EXE_vmatlas"));
    let mut command = match vmatlas_sys::effective_uid() {
        0 if !need(Capability::Tool("setpriv")) => return,
        // A root without capabilities, as in a container.
        0 => {
            let mut command = Command::new("setpriv");
            command.args(["--bounding-set=-all", "--inh-caps=-all"]).arg(&vmatlas_path);
            command
        }
        _ => Command::new(&vmatlas_path),
    };
    command.args(["--lang", "ja", "run", "--backend", "bpf", "--", "true"]);
    let output = command.output().unwrap();
    let text = err(&output);
    assert_eq!(output.status.code(), Some(125), "{text}");
    assert!(
        text.starts_with("vmatlas: ") && text.contains("BPF") && text.contains("--backend ptrace"),
        "{text}"
    );
    assert_eq!(text.lines().count(), 1, "{text}");
}
