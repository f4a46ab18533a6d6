//! The recorder where a disk is in the way, and on programs with many tasks: the program goes on, the recording is sound.

#![expect(clippy::unwrap_used, reason = "a test binary")]

use serde_json::Value;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use vmatlas_testkit::{Capability, Tracee, need, need_root, vmatlas_binary, vmatlas_command};

/// Runs some programs, which fit, and after a while more than fit; ends with a status of its own.
const FORKS: &str = "n() { i=0; while [ $i -lt $1 ]; do /bin/true; i=$((i+1)); done; }; n 20; sleep 1; n 500; echo done; exit 9";

fn vmatlas() -> Command {
    vmatlas_command(env!("CARGO_BIN_EXE_vmatlas"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn json(command: &str, path: &Path) -> Value {
    let output = vmatlas().arg(command).arg(path).arg("--json").output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)))
}

/// Checks that the program did all of its work, that one line says what happened, and that what was written is sound.
fn assert_unharmed(output: &Output, path: &Path) {
    let stderr = text(&output.stderr);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(9), "done\n"), "{stderr}");
    assert!(stderr.lines().count() == 1 && stderr.contains("recording stopped"), "{stderr}");
    let (info, verify) = (json("info", path), json("verify", path));
    assert!(info["events"].as_u64().unwrap() > 100 && info["recording"]["ended"] == false, "{info}");
    assert_eq!((&verify["damage"], &verify["differences"]), (&Value::Array(Vec::new()), &0.into()));
}

/// Checks that a recording is whole: nothing lost, replay equal to every snapshot and keyframe; gives how many were compared.
fn assert_sound(path: &Path) -> u64 {
    let (info, verify) = (json("info", path), json("verify", path));
    let recording = &info["recording"];
    assert_eq!((&recording["lost"], &recording["drift"]), (&0.into(), &0.into()), "{info}");
    assert_eq!((&verify["sound"], &verify["differences"]), (&true.into(), &0.into()), "{verify}");
    verify["snapshots"]["compared"].as_u64().unwrap() + verify["keyframes"]["compared"].as_u64().unwrap()
}

/// A small file system that is taken away again.
struct Small<'a>(&'a Path);

impl Drop for Small<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}

/// Checks that a full file system is told in one line, that the program goes on, and that what was written stays valid.
#[test]
fn a_full_file_system_does_not_stop_the_program() {
    if !need(Capability::Ptrace) || !need_root("mounts a small tmpfs") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mount = ["-t", "tmpfs", "-o", "size=1m", "tmpfs"];
    if !Command::new("mount").args(mount).arg(folder.path()).status().is_ok_and(|status| status.success()) {
        vmatlas_testkit::left_off("a full file system: mount(8) is not allowed here");
        return;
    }
    let _small = Small(folder.path());
    let path = folder.path().join("r");
    let output = vmatlas().args(["run", "-o"]).arg(&path).args(["--", "sh", "-c", FORKS]).output().unwrap();
    assert!(text(&output.stderr).contains("No space left on device"), "{}", text(&output.stderr));
    assert_unharmed(&output, &path);
    // In the other language too.
    fs::remove_dir_all(&path).unwrap();
    let japanese = ["--lang", "ja", "run", "-o"];
    let output = vmatlas().args(japanese).arg(&path).args(["--", "sh", "-c", FORKS]).output().unwrap();
    assert!(text(&output.stderr).contains("記録を中止しました"), "{}", text(&output.stderr));
    assert_eq!(output.status.code(), Some(9));
}

/// Checks that the limit on the size of files (EFBIG, and SIGXFSZ, which ends whoever does not care) ends recording alone.
#[test]
fn a_limit_on_files_does_not_end_the_recorder() {
    if !need(Capability::Ptrace) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r");
    // 1 MiB.
    let mut sh = Command::new("sh");
    sh.args(["-c", "ulimit -f 2048; exec \"$@\"", "sh"]).arg(vmatlas_binary(env!("CARGO_BIN_EXE_vmatlas")));
    sh.args(["run", "-o"]).arg(&path).args(["--", "sh", "-c", FORKS]).env("LANG", "C.UTF-8");
    let output = sh.env_remove("LC_ALL").env_remove("LC_MESSAGES").stdin(Stdio::null()).output().unwrap();
    assert_unharmed(&output, &path);
}

/// Checks that a place where nothing can be made is refused before anything is started.
#[test]
fn what_cannot_be_made_is_refused() {
    if !need(Capability::Ptrace) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let started = folder.path().join("started");
    let refused = |path: &Path, options: &[&str], why: &str| {
        let mut command = vmatlas();
        command.arg("run").arg("-o").arg(path).args(options).args(["--", "touch"]).arg(&started);
        let output = command.output().unwrap();
        let stderr = text(&output.stderr);
        assert_eq!((output.status.code(), stderr.lines().count()), (Some(125), 1), "{stderr}");
        assert!(stderr.contains(why), "{stderr}");
        assert!(!started.exists());
    };
    let dangling = folder.path().join("dangling");
    symlink(folder.path().join("nowhere"), &dangling).unwrap();
    refused(&dangling, &[], "exists already");
    refused(&dangling, &["--force"], "is no recording");
    assert!(dangling.is_symlink() && !folder.path().join("nowhere").exists());
    let other = folder.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("letter"), "dear").unwrap();
    refused(&other, &["--force"], "is no recording");
    assert_eq!(fs::read(other.join("letter")).unwrap(), b"dear");
    refused(&folder.path().join("no/such/folder"), &[], "No such file or directory");
    if vmatlas_sys::effective_uid() == 0 {
        // Root may write where the mode says that nobody may.
        refused(Path::new("/proc/r"), &[], "cannot write");
    } else {
        let closed = folder.path().join("closed");
        fs::create_dir(&closed).unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o500)).unwrap();
        refused(&closed.join("r"), &[], "Permission denied");
    }
}

/// Checks that a Python program and all its imports are replayed without a difference.
#[test]
fn python_is_replayed_without_a_difference() {
    if !need(Capability::Ptrace) || !need(Capability::Tool("python3")) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r");
    let program = ["--", "python3", "-c", "import json"];
    assert!(vmatlas().args(["run", "-o"]).arg(&path).args(program).status().unwrap().success());
    assert!(assert_sound(&path) > 0);
}

/// Checks that all of 1,000 children that a program forks are recorded, and replayed without a difference.
#[test]
fn a_thousand_children_are_recorded() {
    if !need(Capability::Ptrace) || !need(Capability::Tool("python3")) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r");
    let script = "import os
for _ in range(1000):
    child = os.fork()
    if child == 0: os._exit(0)
    os.waitpid(child, 0)";
    let program = ["--", "python3", "-c", script];
    assert!(vmatlas().args(["run", "-o"]).arg(&path).args(program).status().unwrap().success());
    assert!(assert_sound(&path) >= 1000);
    let info = json("info", &path);
    // What starts python3 may be a script that forks too.
    let (forks, processes) = (&info["kinds"]["fork"]["count"], info["processes"].as_array().unwrap());
    let root = processes.iter().find(|process| process["parent"].is_null()).unwrap()["pid"].as_u64();
    let children = processes.iter().filter(|process| process["parent"].as_u64() == root).count();
    assert!(forks.as_u64().unwrap() >= 1000 && children >= 1000, "{forks} {children}");
}

/// Checks that 50 threads that map all the time are recorded by `attach`, and replayed without a difference.
#[test]
fn fifty_busy_threads_are_recorded() {
    if !need(Capability::Ptrace) || !need(Capability::Tool("python3")) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r");
    let script = "import mmap, threading, time
end = time.time() + 20
def work():
    while time.time() < end: mmap.mmap(-1, 8192).close()
threads = [threading.Thread(target=work) for _ in range(49)]
for thread in threads: thread.start()
print('ready', flush=True)
work()";
    let mut python = Command::new("python3");
    let mut python = Tracee::start(python.args(["-c", script]).stdout(Stdio::piped())).unwrap();
    assert_eq!(python.read_line().unwrap(), "ready");
    let pid = python.pid().to_string();
    let attach = ["attach", "--backend", "ptrace", &pid, "-f", "--duration", "2s", "-o"];
    let output = vmatlas().args(attach).arg(&path).output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    assert!(!python.has_ended());
    assert!(assert_sound(&path) > 0);
    let info = json("info", &path);
    assert_eq!(info["kinds"]["joined"]["count"], 50, "{info}");
    assert!(info["kinds"]["mmap"]["count"].as_u64().unwrap() > 100, "{info}");
}
