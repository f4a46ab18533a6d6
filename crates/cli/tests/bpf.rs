//! `--backend bpf` as a user runs it: nothing is stopped, and what is missing is said.

#![expect(clippy::unwrap_used, reason = "a test binary")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};
use vmatlas_testkit::{Capability, Tracee, need, need_bpf, vmatlas_binary, vmatlas_command};

fn vmatlas(words: &[&str]) -> Command {
    let mut command = vmatlas_command(env!("CARGO_BIN_EXE_vmatlas"));
    command.args(words);
    command
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Whether BPF programs can be loaded here; says so otherwise.
fn has_bpf() -> bool {
    need_bpf(env!("CARGO_BIN_EXE_vmatlas"))
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
    let output = vmatlas(&["run", "--backend", "bpf", "--same-cpu", "--", "true"]).output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(err(&output).contains("--same-cpu"), "{}", err(&output));
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

/// A running program, and how it is joined without a word about the backend.
fn joined(options: &[&str]) -> (String, String) {
    let sleeper = Tracee::start(Command::new("sleep").arg("60").stdout(Stdio::null())).unwrap();
    let pid = sleeper.pid().to_string();
    let words = [&["attach", "--duration", "100ms", "-c"], options, &[&pid]].concat();
    let output = vmatlas(&words).output().unwrap();
    assert!(output.status.success(), "{}", err(&output));
    let text = err(&output);
    (text.lines().next().unwrap().to_owned(), text)
}

/// Checks that `attach` takes BPF where it can, that an option which needs stops decides otherwise, that `run` takes ptrace,
/// and that each says so once, before everything else.
#[test]
fn the_choice_is_told() {
    if !has_bpf() {
        return;
    }
    let (first, text) = joined(&[]);
    assert!(first.starts_with("vmatlas: watching with bpf: "), "{text}");
    let (first, text) = joined(&["--check"]);
    assert!(first.starts_with("vmatlas: watching with ptrace: --check "), "{text}");
    let output = vmatlas(&["run", "--", "true"]).output().unwrap();
    assert!(err(&output).starts_with("vmatlas: watching with ptrace: "), "{}", err(&output));
    let (_, text) = joined(&["--backend", "ptrace"]);
    assert!(!text.contains("watching with"), "{text}");
}

/// What joining a program of its own comes to for a shell that was started by these words: without a word about the
/// backend, and with BPF asked for.
fn joined_by(words: &[&str], prepared: &str) -> (Output, Output) {
    let binary = vmatlas_binary(env!("CARGO_BIN_EXE_vmatlas"));
    let join = |options: &str| {
        let script = format!(
            "{prepared} sleep 60 & \"$0\" attach {options} --duration 100ms -c $!; s=$?; kill $!; exit $s"
        );
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).args(["sh", "-c", &script]).arg(&binary);
        command.env("LC_ALL", "C").stdin(Stdio::null()).output().unwrap()
    };
    (join(""), join("--backend bpf"))
}

fn assert_stood_in(words: &[&str], prepared: &str, reason: &str) {
    let (auto, asked) = joined_by(words, prepared);
    let text = err(&auto);
    assert_eq!(auto.status.code(), Some(0), "{words:?}: {text}");
    let first = text.lines().next().unwrap();
    assert!(first.starts_with("vmatlas: watching with ptrace: ") && first.contains(reason), "{text}");
    let text = err(&asked);
    assert_eq!(asked.status.code(), Some(125), "{words:?}: {text}");
    assert!(text.starts_with("vmatlas: ") && text.contains("--backend ptrace"), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
}

/// Checks that where BPF cannot be used `attach` takes ptrace and says why, and ends with one line where BPF was asked for: a
/// root without capabilities, one without those for BPF alone, a kernel without BTF, a PID namespace; an ordinary user.
#[test]
fn ptrace_stands_in() {
    if !need(Capability::Ptrace) {
        return;
    }
    if vmatlas_sys::effective_uid() != 0 {
        assert_stood_in(&["env"], "", "CAP_BPF");
        return;
    }
    if !has_bpf() || !need(Capability::Tool("setpriv")) || !need(Capability::Tool("unshare")) {
        return;
    }
    assert_stood_in(&["setpriv", "--bounding-set=-all", "--inh-caps=-all"], "", "CAP_BPF");
    let some = ["setpriv", "--bounding-set=-bpf,-perfmon,-sys_admin", "--inh-caps=-all"];
    assert_stood_in(&some, "", "CAP_BPF");
    let no_btf = "mount --bind /dev/null /sys/kernel/btf/vmlinux || exit 1;";
    assert_stood_in(&["unshare", "--mount"], no_btf, "BTF");
    assert_stood_in(&["unshare", "--pid", "--fork", "--mount-proc"], "", "PID namespace");
}
