//! Recordings as a user makes and reads them.

#![expect(clippy::unwrap_used, reason = "a test binary")]

use serde_json::Value;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;
use vmatlas_event::{EventSource, Seq};
use vmatlas_record::Reader;
use vmatlas_testkit::{Capability, need, vmatlas_binary, vmatlas_command, wait_until};

fn vmatlas() -> Command {
    vmatlas_command(env!("CARGO_BIN_EXE_vmatlas"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Records a program; `None` where tracing is not possible.
fn record(path: &Path, options: &[&str], program: &[&str]) -> Option<Output> {
    if !need(Capability::Ptrace) {
        return None;
    }
    Some(vmatlas().arg("run").arg("-o").arg(path).args(options).arg("--").args(program).output().unwrap())
}

fn log(path: &Path, options: &[&str]) -> String {
    let output = vmatlas().arg("log").arg(path).args(options).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

fn info(path: &Path) -> Value {
    let output = vmatlas().arg("info").arg(path).arg("--json").output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Ends with the test, also when it fails.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const FORKS: &str = "for i in 1 2 3; do /bin/cat /dev/null; done; exit 5";

/// Ends by itself, should nobody end it.
const FOR_LONG: &str = "i=0; while [ $i -lt 20000 ]; do /bin/true; i=$((i+1)); done";

/// Checks that recording is quiet, that the status is the program's, and that `log` has the very lines of `run`.
#[test]
fn log_tells_what_run_told() {
    let folder = tempfile::tempdir().unwrap();
    let (path, lines) = (folder.path().join("r"), folder.path().join("lines"));
    let Some(output) = record(&path, &[], &["sh", "-c", FORKS]) else { return };
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(5), String::new()));
    let option = format!("--log={}", lines.display());
    let output =
        record(&path, &["-v", "--force", "--backend=ptrace", &option], &["sh", "-c", FORKS]).unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(5), String::new()));
    let lines = fs::read_to_string(lines).unwrap();
    let lines = lines.split("\n\n").next().unwrap();
    assert_eq!(log(&path, &[]).trim_end(), lines.trim_end());
    let info = info(&path);
    assert_eq!(info["schema"], "vmatlas/info/1");
    assert_eq!((&info["recording"]["status"], &info["recording"]["drift"]), (&5.into(), &0.into()));
    assert_eq!(info["recording"]["args"], Value::Null);
    assert_eq!(info["recording"]["args_why"], "not-read");
    assert!(info["processes"].as_array().unwrap().len() >= 3, "{info}");
}

/// Checks each filter of `log`.
#[test]
fn log_is_filtered() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r");
    if record(&path, &["--record-args"], &["sh", "-c", FORKS]).is_none() {
        return;
    }
    assert_eq!(info(&path)["recording"]["args"][1], FORKS);
    let all = log(&path, &["--jsonl"]);
    let events: Vec<Value> = all.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let only = log(&path, &["-e", "brk"]);
    assert!(only.lines().count() > 1 && only.lines().all(|line| line.contains("brk(")), "{only}");
    let pid = events.last().unwrap()["pid"].as_u64().unwrap();
    let mine = log(&path, &["--pid", &pid.to_string(), "--jsonl"]);
    assert!(mine.lines().count() < events.len());
    let pid_of = |line: &str| serde_json::from_str::<Value>(line).unwrap()["pid"].as_u64();
    assert!(mine.lines().all(|line| pid_of(line) == Some(pid)));
    assert_eq!(log(&path, &["--tid", "0"]), "");
    assert_eq!(log(&path, &["--min-size", "1TiB"]), "");
    let early = log(&path, &["--to", "0.002"]);
    let late = log(&path, &["--from", "0.002000001"]);
    assert_eq!(early + &late, log(&path, &[]));
    // Of kind: the heap is what brk moves, and what ends with the process.
    let heap = log(&path, &["--kind", "heap"]);
    assert!(heap.contains("brk(") && !heap.contains("munmap("), "{heap}");
    assert_eq!(heap, log(&path, &["--kind", "heap,jit"]));
    assert_eq!(log(&path, &["--kind", "jit"]), "");
    // By address: one mmap, and nothing that was elsewhere.
    let is_mmap = |event: &&Value| event["call"] == "mmap" && event["result"].is_string();
    let mmap = events.iter().find(is_mmap).unwrap();
    let address = mmap["result"].as_str().unwrap();
    let there = log(&path, &["--addr", address, "--pid", &mmap["pid"].to_string(), "--jsonl"]);
    let there: Vec<Value> = there.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(there.iter().any(|event| event["seq"] == mmap["seq"]), "{there:?}");
    assert!(there.len() < events.len() && there.iter().all(|event| event["call"] != "brk"), "{there:?}");
    assert_eq!(log(&path, &["--addr", "0x1000-0x2000"]), "");
}

/// Checks that what exists is refused before anything is started, and that nothing is left of what could not start.
#[test]
fn what_is_in_the_way_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r");
    let started = folder.path().join("started");
    let touch = ["touch", started.to_str().unwrap()];
    fs::create_dir(&path).unwrap();
    let Some(output) = record(&path, &[], &touch) else { return };
    assert_eq!(output.status.code(), Some(125));
    assert!(text(&output.stderr).contains("exists already"), "{}", text(&output.stderr));
    let output = record(&path, &["--force"], &touch).unwrap();
    assert!(text(&output.stderr).contains("is no recording"), "{}", text(&output.stderr));
    symlink(folder.path().join("elsewhere"), folder.path().join("link")).unwrap();
    assert_eq!(record(&folder.path().join("link"), &[], &touch).unwrap().status.code(), Some(125));
    assert_eq!(record(Path::new("/proc/r"), &[], &touch).unwrap().status.code(), Some(125));
    assert!(!started.exists() && !folder.path().join("elsewhere").exists());
    let none = folder.path().join("none");
    assert_eq!(record(&none, &[], &["/no/such/program"]).unwrap().status.code(), Some(127));
    assert!(!none.exists());
    for command in ["info", "log"] {
        let output = vmatlas().arg(command).arg(folder.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains("is no recording"), "{}", text(&output.stderr));
    }
}

/// Checks that a full disk (here a limit on file sizes) is told in one line, and that the program goes on unharmed.
#[test]
fn a_full_disk_does_not_stop_the_program() {
    if !need(Capability::Ptrace) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r");
    // 64 KiB; the signal that would end us is ignored, so that write(2) fails.
    let script = "ulimit -f 128; trap '' XFSZ; exec \"$@\"";
    let program = "i=0; while [ $i -lt 400 ]; do /bin/true; i=$((i+1)); done; echo done; exit 9";
    let mut command = Command::new("sh");
    let binary = vmatlas_binary(env!("CARGO_BIN_EXE_vmatlas"));
    command
        .args(["-c", script, "sh"])
        .arg(binary)
        .args(["run", "-o"])
        .arg(&path)
        .args(["--", "sh", "-c", program]);
    let output = command.env("LANG", "C.UTF-8").stdin(Stdio::null()).output().unwrap();
    let stderr = text(&output.stderr);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(9), "done\n"), "{stderr}");
    assert!(stderr.lines().count() == 1 && stderr.contains("recording stopped"), "{stderr}");
    let mut reader = Reader::open(&path).unwrap();
    let mut next = 0;
    let read = reader.events(Seq(0), &mut |event| {
        assert_eq!(event.seq, Seq(next));
        next += 1;
        true
    });
    read.unwrap();
    assert!(reader.meta().end.is_none());
}

/// How many events are in the whole frames of a tail, counted without the reader: see docs/RECORDING-FORMAT.md.
fn whole_events(bytes: &[u8]) -> u64 {
    let mut rest = bytes.get(16..).unwrap_or_default();
    let mut events = 0;
    while let Some((header, after)) = rest.split_at_checked(32) {
        let four = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap());
        let Some(next) = after.get(four(0) as usize..) else { break };
        // Table 1, and how many rows.
        events += if four(4) == 1 { u64::from(four(12)) } else { 0 };
        rest = next;
    }
    events
}

/// Checks that a recorder killed at any moment leaves a recording that opens, with all that was flushed.
#[test]
fn killed_at_random_moments() {
    const ROUNDS: u64 = 100;
    if !need(Capability::Ptrace) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for round in 0..ROUNDS {
        let path = folder.path().join(round.to_string());
        let mut command = vmatlas();
        command.arg("run").arg("-o").arg(&path).args(["--", "sh", "-c", FOR_LONG]);
        let mut guard = Guard(command.stdout(Stdio::null()).spawn().unwrap());
        assert!(wait_until(|| path.join("tail-000001").exists(), Duration::from_secs(10)));
        std::thread::sleep(Duration::from_millis(round * round * 7919 % 700));
        let killed = vmatlas_sys::now();
        guard.0.kill().unwrap();
        guard.0.wait().unwrap();
        let whole = whole_events(&fs::read(path.join("tail-000001")).unwrap());
        let mut reader = Reader::open(&path).unwrap();
        let mut times = Vec::new();
        let read = reader.events(Seq(0), &mut |event| {
            assert_eq!(event.seq, Seq(times.len() as u64));
            times.push(event.left);
            true
        });
        read.unwrap();
        assert_eq!(times.len() as u64, whole, "round {round}");
        let started = reader.meta().started;
        let last = times.last().map_or(started, |time| time.0);
        // An event waits half a second at most; the rest is for a busy machine.
        assert!(last + 1_500_000_000 > killed.0, "round {round}: {} s late", (killed.0 - last) as f64 / 1e9);
        if round % 10 == 0 {
            let output = vmatlas().arg("info").arg(&path).output().unwrap();
            assert!(text(&output.stdout).contains("not ended"), "{}", text(&output.stdout));
        }
    }
}

/// Checks that `attach -o` records, and says that the program was left running.
#[test]
fn attach_records() {
    if !need(Capability::Ptrace) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r");
    let mut sh = Command::new("sh");
    sh.args(["-c", FOR_LONG]).stdout(Stdio::null());
    let guard = Guard(sh.spawn().unwrap());
    let pid = guard.0.id().to_string();
    let attach = ["attach", "--backend", "ptrace", &pid, "--duration", "300ms", "-o"];
    let output = vmatlas().args(attach).arg(&path).output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    let info = info(&path);
    let recording = &info["recording"];
    assert_eq!((&recording["how"], &recording["ended"]), (&"attach".into(), &true.into()));
    assert_eq!(recording["status"], Value::Null);
    assert!(info["kinds"]["fork"]["count"].as_u64().unwrap() > 0, "{info}");
}

/// A log in which frames are their places alone: where the very files of a recording are on this machine, they give names.
fn places(log: &str) -> String {
    let place = |line: &str| -> Option<String> {
        let Some(frame) = line.trim_start().strip_prefix("at ") else { return Some(line.to_owned()) };
        let word = frame.rsplit(['(', ' ']).next()?.trim_end_matches(')');
        // Inlined functions have no place of their own.
        word.contains("+0x").then(|| format!("at {word}"))
    };
    log.lines().filter_map(place).collect::<Vec<_>>().join("\n")
}

/// Checks that recordings of each version of the format are read as they were when they were made, torn ones too.
#[test]
fn golden_recordings_are_read() {
    let folder = vmatlas_testkit::fixtures().join("recordings");
    let made = [
        ("v1/sealed", 0),
        ("v1/torn", 1),
        ("v2/sealed", 0),
        ("v2/watched", 0),
        ("v2/watched-torn", 1),
        ("v3/sealed", 0),
        ("v4/sealed", 0),
        ("v4/torn", 1),
    ];
    for (name, damage) in made {
        let path = folder.join(name);
        let wanted = fs::read_to_string(folder.join(format!("{name}.log"))).unwrap();
        assert_eq!(places(&log(&path, &["--stacks"])), places(&wanted), "{name}");
        let info = info(&path);
        assert_eq!(info["recording"]["damage"].as_array().unwrap().len(), damage, "{info}");
        assert_eq!(info["recording"]["ended"], Value::Bool(damage == 0));
        if name.contains("watched") {
            let output = vmatlas().arg("show").arg(&path).args(["--json"]).output().unwrap();
            let show: Value = serde_json::from_slice(&output.stdout).unwrap();
            let resident = |vma: &Value| vma["resident"].as_u64();
            let sum: u64 = show["vmas"].as_array().unwrap().iter().filter_map(resident).sum();
            assert_eq!(Some(sum), info["recording"]["looks"]["resident_last"].as_u64(), "{name}");
        }
    }
}

/// Checks that `info` names a damaged table of looks, and says of all looks nothing that it does not know.
#[test]
fn damaged_looks_are_not_counted() {
    let (folder, made) =
        (tempfile::tempdir().unwrap(), vmatlas_testkit::fixtures().join("recordings/v2/watched"));
    let segment = folder.path().join("seg-000001");
    fs::create_dir(&segment).unwrap();
    fs::copy(made.join("meta.json"), folder.path().join("meta.json")).unwrap();
    for file in fs::read_dir(made.join("seg-000001")).unwrap().map(Result::unwrap) {
        fs::copy(file.path(), segment.join(file.file_name())).unwrap();
    }
    assert_eq!(info(folder.path())["recording"]["looks"]["count"], 7);
    let looks = segment.join("looks.parquet");
    let mut bytes = fs::read(&looks).unwrap();
    bytes[60] ^= 1;
    fs::write(&looks, bytes).unwrap();
    let all = info(folder.path());
    let recording = &all["recording"];
    assert!(recording["damage"][0].as_str().unwrap().starts_with("seg-000001/looks.parquet"), "{recording}");
    let looks = &recording["looks"];
    assert_eq!((&looks["count"], &looks["count_why"]), (&Value::Null, &Value::from("damaged")));
    let output = vmatlas().arg("info").arg(folder.path()).arg("--no-pager").output().unwrap();
    assert!(text(&output.stdout).contains("0 looks can be read, the others are damaged"));
}
