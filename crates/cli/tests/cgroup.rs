//! `--cgroup` of `attach` and `run` as a user types it: who is shown, who is not, and what is said where that cannot be.

#![expect(clippy::unwrap_used, reason = "a test binary")]

use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use vmatlas_event::Pid;
use vmatlas_testkit::{OwnCgroup, Tracee, need_bpf, vmatlas_command};

const SIGTERM: i32 = 15;

fn vmatlas(words: &[&str]) -> Command {
    let mut command = vmatlas_command(env!("CARGO_BIN_EXE_vmatlas"));
    command.args(words);
    command
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A cgroup, where BPF programs can be loaded too; says so otherwise.
fn own_cgroup() -> Option<OwnCgroup> {
    if !need_bpf(env!("CARGO_BIN_EXE_vmatlas")) {
        return None;
    }
    OwnCgroup::new()
}

/// A shell that starts a program for each line it is given.
fn shell() -> Tracee {
    let script = "echo ready; while read line; do ls / >/dev/null; echo done; done";
    let mut shell = Command::new("sh");
    let mut shell =
        Tracee::start(shell.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped())).unwrap();
    assert_eq!(shell.read_line().unwrap(), "ready");
    shell
}

/// The command at work, and what it says, event by event.
struct Watching {
    attach: Child,
    lines: Lines<BufReader<ChildStderr>>,
    seen: Vec<Value>,
}

impl Watching {
    fn begin(cgroup: &Path, options: &[&str]) -> Watching {
        let words = ["attach", "--backend", "bpf", "--jsonl", "--cgroup", cgroup.to_str().unwrap()];
        let mut attach = vmatlas(&[&words, options].concat())
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(attach.stderr.take().unwrap()).lines();
        Watching { attach, lines, seen: Vec::new() }
    }

    /// The first event of this kind of a process; reads on until there is one.
    fn until(&mut self, pid: Pid, call: &str) -> Value {
        let is_it = |event: &&Value| event["pid"] == pid.0 && event["call"] == call;
        let mut from = 0;
        loop {
            if let Some(event) = self.seen[from..].iter().find(is_it) {
                return event.clone();
            }
            from = self.seen.len();
            let Some(line) = self.lines.next() else { panic!("no {call} of {pid} in {:?}", self.seen) };
            let line = line.unwrap();
            self.seen.push(serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}")));
        }
    }

    /// Ends it as a service manager would; what it has said, the summary last.
    fn end(mut self) -> Vec<Value> {
        vmatlas_sys::kill(Pid(self.attach.id() as i32), SIGTERM).unwrap();
        let rest: Vec<Value> =
            self.lines.by_ref().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
        assert_eq!(self.attach.wait().unwrap().code(), Some(0));
        self.seen.extend(rest);
        std::mem::take(&mut self.seen)
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        // It has ended already, where nothing failed.
        let _ = self.attach.kill();
        let _ = self.attach.wait();
    }
}

/// Checks that what is in a cgroup and below it is shown, what comes, and what is made by these; that one elsewhere is not; and
/// that all go on afterwards, untraced.
#[test]
fn the_processes_of_a_cgroup_are_shown() {
    let Some(cgroup) = own_cgroup() else { return };
    let lower = cgroup.below().unwrap();
    let (mut inside, mut below, mut coming, mut elsewhere) = (shell(), shell(), shell(), shell());
    cgroup.take(inside.pid()).unwrap();
    lower.take(below.pid()).unwrap();
    let mut watching = Watching::begin(cgroup.folder(), &[]);
    for pid in [inside.pid(), below.pid()] {
        assert_eq!(watching.until(pid, "snapshot")["args"]["reason"], "attach");
    }
    lower.take(coming.pid()).unwrap();
    assert_eq!(watching.until(coming.pid(), "snapshot")["args"]["reason"], "attach");
    for shell in [&mut elsewhere, &mut inside, &mut coming, &mut below] {
        shell.write_line("go").unwrap();
        assert_eq!(shell.read_line().unwrap(), "done");
    }
    for pid in [inside.pid(), coming.pid(), below.pid()] {
        let fork = watching.until(pid, "fork");
        let child = Pid(i32::try_from(fork["args"]["pid"].as_i64().unwrap()).unwrap());
        watching.until(child, "exit");
        let has_mapped = |event: &Value| event["pid"] == child.0 && event["call"] == "mmap";
        assert!(watching.seen.iter().any(has_mapped), "{child} has mapped nothing");
    }
    let all = watching.end();
    let summary = all.last().unwrap();
    assert_eq!((&summary["schema"], &summary["drift"]), (&"vmatlas/run-summary/1".into(), &0.into()));
    let of_others = all.iter().find(|event| event["pid"] == elsewhere.pid().0);
    assert_eq!(of_others, None);
    for shell in [&mut inside, &mut below, &mut coming] {
        shell.write_line("go").unwrap();
        assert_eq!(shell.read_line().unwrap(), "done");
    }
}

/// Checks that a cgroup can be named as /proc/PID/cgroup has it, that an empty one is watched until the time is over, and that a
/// recording of it is sound and names it.
#[test]
fn a_cgroup_is_recorded() {
    let Some(cgroup) = own_cgroup() else { return };
    let folder = tempfile::tempdir().unwrap();
    let record = |name: &str| {
        let rec = folder.path().join(name);
        let (rec, path) = (rec.to_str().unwrap(), cgroup.path());
        let path = path.to_str().unwrap();
        let output =
            vmatlas(&["attach", "--cgroup", path, "--duration", "300ms", "-o", rec]).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{}", err(&output));
        let output = vmatlas(&["verify", rec]).output().unwrap();
        assert!(output.status.success(), "{}", err(&output));
        let output = vmatlas(&["info", "--json", rec]).output().unwrap();
        let info: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            (&info["recording"]["program"], &info["recording"]["how"]),
            (&path.into(), &"attach".into())
        );
        info
    };
    assert_eq!(record("empty")["processes"], Value::Array(Vec::new()));
    let inside = shell();
    cgroup.take(inside.pid()).unwrap();
    let info = record("one");
    let pids: Vec<&Value> = info["processes"].as_array().unwrap().iter().map(|one| &one["pid"]).collect();
    assert_eq!(pids, [inside.pid().0]);
}

/// Checks that what is no cgroup ends with one line and our own status, in both languages, and so does a backend that cannot see who comes.
#[test]
fn what_cannot_be_watched_is_said() {
    let refused = |words: &[&str], part: &str| {
        let output = vmatlas(words).output().unwrap();
        let text = err(&output);
        assert_eq!(output.status.code(), Some(125), "{words:?}: {text}");
        assert!(text.starts_with("vmatlas: ") && text.contains(part), "{words:?}: {text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    };
    for lang in ["en", "ja"] {
        refused(&["--lang", lang, "attach", "--cgroup", "/no/such/cgroup"], "cgroup");
    }
    let Some(cgroup) = own_cgroup() else { return };
    let path = cgroup.folder().to_str().unwrap();
    for lang in ["en", "ja"] {
        let words = ["--lang", lang, "attach", "--backend", "ptrace", "--cgroup", path];
        refused(&words, "--backend bpf");
        refused(&[&words[..3], &["--check", "--cgroup", path]].concat(), "--check");
    }
}

/// Checks that `run --cgroup` starts the program in the cgroup, under both backends, that vmatlas itself is not in it, and that
/// what else is in it is not watched.
#[test]
fn a_program_is_started_in_a_cgroup() {
    let Some(cgroup) = own_cgroup() else { return };
    let beside = shell();
    cgroup.take(beside.pid()).unwrap();
    let procs = cgroup.folder().join("cgroup.procs");
    for backend in ["ptrace", "bpf"] {
        let folder = tempfile::tempdir().unwrap();
        let lines = folder.path().join("lines");
        let jsonl = format!("--jsonl={}", lines.display());
        let path = cgroup.path();
        let words = ["run", "--backend", backend, &jsonl, "--cgroup", path.to_str().unwrap(), "--"];
        let command = ["cat", "/proc/self/cgroup", procs.to_str().unwrap()];
        let output = vmatlas(&[&words[..], &command].concat()).output().unwrap();
        assert!(output.status.success(), "{}", err(&output));
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains(&format!("0::{}\n", path.display())), "{said}");
        let pids: Vec<i32> = said.lines().filter_map(|line| line.parse().ok()).collect();
        assert_eq!(pids.len(), 2, "{said}");
        let text = fs::read_to_string(&lines).unwrap();
        let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let mut seen: Vec<i64> = events.iter().filter_map(|event| event["pid"].as_i64()).collect();
        seen.dedup();
        assert_eq!(seen.len(), 1, "{backend}: {seen:?}");
        assert!(pids.contains(&i32::try_from(seen[0]).unwrap()) && seen[0] != i64::from(beside.pid().0));
    }
}

/// Checks that a program is not started elsewhere where its cgroup is none, or takes no processes.
#[test]
fn a_program_is_started_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let refused = |backend: &str, cgroup: &Path| {
        let cgroup = cgroup.to_str().unwrap();
        let words = ["run", "--backend", backend, "--cgroup", cgroup, "--", "touch", trace.to_str().unwrap()];
        let output = vmatlas(&words).output().unwrap();
        let text = err(&output);
        assert_eq!(output.status.code(), Some(125), "{text}");
        assert!(text.starts_with("vmatlas: ") && text.contains("cgroup"), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!trace.exists());
    };
    refused("ptrace", Path::new("/no/such/cgroup"));
    let Some(cgroup) = own_cgroup() else { return };
    let threads = cgroup.below().unwrap();
    fs::write(threads.folder().join("cgroup.type"), "threaded").unwrap();
    // Below one of threads a new one is of no use before it is one of threads too (cgroups(7)).
    let invalid = threads.below().unwrap();
    for backend in ["ptrace", "bpf"] {
        refused(backend, invalid.folder());
    }
    drop((invalid, threads));
}
