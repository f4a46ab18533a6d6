//! Recordings on a disk that is stuck: the program does not wait for it, and what is missing is said.

#![expect(clippy::unwrap_used, reason = "a test binary")]

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use vmatlas_event::{Pid, Tid};
use vmatlas_sys::ptrace;
use vmatlas_testkit::{Capability, Tracee, need, vmatlas_command, wait_until};

/// More maps than wait for a disk, a word, and on request calls for some seconds.
const FORKS: &str = "import mmap, os, sys, time
kept = [mmap.mmap(-1, 4096, prot=1 + 2 * (i % 2)) for i in range(4000)]
for _ in range(60):
    child = os.fork()
    if child == 0: os._exit(0)
    os.waitpid(child, 0)
print('done', flush=True)
sys.stdin.readline()
end = time.time() + 2
while time.time() < end: mmap.mmap(-1, 8192).close()
sys.exit(6)";

fn vmatlas(words: &[&str], path: &Path) -> Command {
    let mut command = vmatlas_command(env!("CARGO_BIN_EXE_vmatlas"));
    command.args(words).arg(path);
    command
}

fn json(words: &[&str], path: &Path) -> Value {
    let output = vmatlas(words, path).arg("--json").output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The thread of a process that writes its recording.
fn writer_of(pid: Pid) -> Option<Tid> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?.filter_map(Result::ok);
    let is_it = |path: &Path| fs::read_to_string(path.join("comm")).is_ok_and(|name| name == "record\n");
    let task = tasks.map(|task| task.path()).find(|path| is_it(path))?;
    task.file_name()?.to_str()?.parse().ok().map(Tid)
}

/// Checks that a program goes on while the thread that writes stands still, as in write(2) to a disk that is stuck, that
/// the loss is told at the end and in the recording, and that replay is exact after it.
#[test]
fn a_stuck_disk_holds_no_program_up() {
    if !need(Capability::Ptrace) || !need(Capability::Tool("python3")) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (path, errors) = (folder.path().join("r"), folder.path().join("errors"));
    let mut run = vmatlas(&["run", "-o"], &path);
    run.args(["--", "python3", "-c", FORKS]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut run = Tracee::start(run.stderr(fs::File::create(&errors).unwrap())).unwrap();
    let mut writer = None;
    assert!(wait_until(
        || {
            writer = writer.or(writer_of(run.pid()));
            writer.is_some()
        },
        Duration::from_secs(10)
    ));
    let writer = writer.unwrap();
    ptrace::seize(writer, ptrace::Options::default()).unwrap();
    ptrace::interrupt(writer).unwrap();
    // It says so with nothing written of all its calls.
    assert_eq!(run.read_line().unwrap(), "done");
    assert!(fs::metadata(path.join("tail-000001")).unwrap().len() < 1 << 20);
    assert!(wait_until(|| ptrace::detach(writer, 0).is_ok(), Duration::from_secs(10)));
    run.write_line("go on").unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(6));

    let errors = fs::read_to_string(errors).unwrap();
    assert!(errors.lines().count() == 1 && errors.contains("events were not recorded"), "{errors}");
    let info = json(&["info"], &path);
    let lost = info["recording"]["lost"].as_u64().unwrap();
    assert!(lost > 20 && info["kinds"]["lost"]["count"].as_u64().unwrap() >= 1, "{info}");
    let verified = json(&["verify"], &path);
    assert_eq!(
        (&verified["sound"], &verified["differences"], &verified["lost"]),
        (&true.into(), &0.into(), &lost.into())
    );
    assert!(verified["keyframes"]["compared"].as_u64().unwrap() > 1, "{verified}");
    let log = String::from_utf8(vmatlas(&["log"], &path).output().unwrap().stdout).unwrap();
    let (before, after) = log.split_once("could not be written in time").unwrap();
    assert!(before.lines().count() > 4_000 && after.lines().count() > 100, "{}", after.lines().count());
}
