//! `vmatlas mark` as a user calls it, while a recording is made.

#![expect(clippy::unwrap_used, reason = "a test binary")]

use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;
use vmatlas_event::{EventSource, PageSize, Seq};
use vmatlas_model::timeline::{Moment, Timeline, Whose};
use vmatlas_record::Reader;
use vmatlas_testkit::{Capability, need, vmatlas_command, wait_until};

fn vmatlas() -> Command {
    vmatlas_command(env!("CARGO_BIN_EXE_vmatlas"))
}

fn mark(path: &Path, words: &[&str]) -> Output {
    vmatlas().arg("mark").arg(path).args(words).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Ends with the test, also when it fails.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs programs until the file `$1` is there, and then one that is called `$2`; ends by itself, should nobody end it.
const UNTIL: &str =
    "i=0; while [ ! -e \"$1\" ] && [ $i -lt 20000 ]; do /bin/true; i=$((i+1)); done; \"$2\"; exit 4";

fn record(folder: &Path, path: &Path) -> Guard {
    let mut command = vmatlas();
    command.arg("run").arg("-o").arg(path).args(["--", "sh", "-c", UNTIL, "sh"]);
    command.arg(folder.join("go")).arg("/bin/ls").stdout(Stdio::null());
    let guard = Guard(command.spawn().unwrap());
    assert!(wait_until(|| path.join("marks").exists(), Duration::from_secs(10)));
    guard
}

/// Checks that marks are in the recording where they were made, that replay is exact all the same, and that an ended
/// recording takes none.
#[test]
fn a_recording_is_marked() {
    if !need(Capability::Ptrace) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r");
    let mut guard = record(folder.path(), &path);
    assert_eq!(fs::metadata(path.join("marks")).unwrap().permissions().mode() & 0o777, 0o700);
    for round in 0..8 {
        let output = mark(&path, &[&format!("round {round}")]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        std::thread::sleep(Duration::from_millis(round * 7919 % 83));
    }
    let output = mark(&path, &["peak"]);
    assert!(text(&output.stdout).contains("@mark:peak"), "{}", text(&output.stdout));
    let output = mark(&path, &["前", "--json"]);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&told["schema"], &told["moment"]), (&"vmatlas/mark/1".into(), &"前".into()));
    for name in ["", "two\nlines", "\x1b[31m", &"x".repeat(201)] {
        assert_eq!(mark(&path, &[name]).status.code(), Some(2), "{name:?}");
    }
    fs::write(folder.path().join("go"), "").unwrap();
    assert_eq!(guard.0.wait().unwrap().code(), Some(4));
    assert!(!path.join("marks").exists());
    let output = mark(&path, &["late"]);
    assert_eq!((output.status.code(), text(&output.stderr).contains("no longer")), (Some(1), true));

    let info = vmatlas().arg("info").arg(&path).arg("--json").output().unwrap();
    let info: Value = serde_json::from_slice(&info.stdout).unwrap();
    let names: Vec<&str> =
        info["marks"].as_array().unwrap().iter().map(|mark| mark["name"].as_str().unwrap()).collect();
    let rounds: Vec<String> = (0..8).map(|round| format!("round {round}")).collect();
    let wanted: Vec<&str> = rounds.iter().map(String::as_str).chain(["peak", "前"]).collect();
    assert_eq!(names, wanted);
    let log = text(&vmatlas().arg("log").arg(&path).output().unwrap().stdout);
    let after = log.split("mark: 前").nth(1).unwrap();
    // The program that runs last was started once the mark was made.
    assert_eq!(
        (after.contains("/usr/bin/ls") || after.contains("execve"), log.matches("mark: ").count()),
        (true, 10)
    );

    let mut reader = Reader::open(&path).unwrap();
    let mut next = 0;
    let read = reader.events(Seq(0), &mut |event| {
        assert_eq!(event.seq, Seq(next));
        next += 1;
        true
    });
    read.unwrap();
    let (page, distrust) = (PageSize::new(reader.meta().page_size).unwrap(), reader.meta().distrust);
    let mut timeline = Timeline::open(reader, page, distrust).unwrap();
    let spot = timeline.locate(&Moment::Mark("round 3".to_owned()), Whose::First).unwrap();
    assert_eq!(Some(spot.seq.0), info["marks"][3]["seq"].as_u64());
    let verified = timeline.verify(|_| true).unwrap();
    assert_eq!((verified.different, verified.wrong_keyframes), (0, 0), "{verified:?}");
    assert_eq!(verified.events, next);
}

/// Checks that a recording whose writer was killed says so, and what is no recording too.
#[test]
fn nobody_takes_the_mark() {
    if !need(Capability::Ptrace) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r");
    let mut guard = record(folder.path(), &path);
    guard.0.kill().unwrap();
    guard.0.wait().unwrap();
    let output = mark(&path, &["late"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("nothing was marked"), "{}", text(&output.stderr));
    assert_eq!(fs::read_dir(path.join("marks")).unwrap().count(), 0);
    let output = mark(folder.path(), &["x"]);
    assert!(text(&output.stderr).contains("is no recording"), "{}", text(&output.stderr));
    // What is left behind does not keep it from being replaced.
    let output = vmatlas().args(["run", "--force", "-o"]).arg(&path).args(["--", "true"]).output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
}
