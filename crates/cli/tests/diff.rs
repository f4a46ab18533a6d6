//! `vmatlas diff` as a user calls it.

#![expect(clippy::unwrap_used, reason = "a test binary")]

use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;
use vmatlas_testkit::{Capability, Tracee, need, vmatlas_command, wait_until};

fn vmatlas(words: &[&str]) -> Output {
    vmatlas_command(env!("CARGO_BIN_EXE_vmatlas")).args(words).output().unwrap()
}

fn diff(words: &[&str]) -> Value {
    let output = vmatlas(&[&["diff", "--json"], words].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn code(words: &[&str]) -> Option<i32> {
    vmatlas(&[&["diff"], words].concat()).status.code()
}

fn sleeper() -> Tracee {
    let sleeper = Tracee::start(Command::new("sleep").arg("60").stdout(Stdio::null())).unwrap();
    let maps = format!("/proc/{}/maps", sleeper.pid());
    let settled = || {
        let read = || fs::read_to_string(&maps).unwrap_or_default();
        let first = read();
        std::thread::sleep(Duration::from_millis(50));
        first.contains("[heap]") && first == read()
    };
    assert!(wait_until(settled, Duration::from_secs(10)));
    sleeper
}

/// Checks that two runs of a program are the same by file, and not by address.
#[test]
fn two_runs_are_the_same() {
    let (first, second) = (sleeper(), sleeper());
    let (a, b) = (first.pid().to_string(), second.pid().to_string());
    let found = diff(&[&a, &b]);
    assert_eq!((&found["by"], &found["by_why"]), (&"file".into(), &"layout".into()), "{found}");
    assert_eq!((&found["changes"], &found["different"]), (&Value::Array(Vec::new()), &false.into()));
    assert_eq!(code(&[&a, &b, "--exit-code"]), Some(0));
    assert_eq!(code(&[&a, &b, "--exit-code", "--by", "address"]), Some(3));
    assert_eq!(code(&[&a, &b, "--by", "address"]), Some(0));
    let itself = diff(&[&a, &a]);
    assert_eq!((&itself["by"], &itself["different"]), (&"address".into(), &false.into()));
    assert!(itself["total"]["resident_a"].as_u64().unwrap() > 0);
}

/// Ends with the test, also when it fails.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const MAPS_AND_WAITS: &str = "\
import mmap, sys
for size in (16, 77):
    kept = mmap.mmap(-1, size * 4096)
    for at in range(0, size // 2): kept[at * 4096] = 1
    keep = globals().setdefault('all', []); keep.append(kept)
    sys.stdout.write('ready\\n'); sys.stdout.flush()
    sys.stdin.readline()
";

/// Checks that what a program maps between two looks is exactly what is told, saved or living.
#[test]
fn a_new_mapping_is_the_difference() {
    let mut command = Command::new("python3");
    command.args(["-c", MAPS_AND_WAITS]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let Ok(child) = command.spawn() else {
        eprintln!("SKIPPED: no python3");
        return;
    };
    let mut python = Guard(child);
    let mut said = BufReader::new(python.0.stdout.take().unwrap()).lines();
    let mut tell = python.0.stdin.take().unwrap();
    let pid = python.0.id().to_string();
    let folder = tempfile::tempdir().unwrap();
    let save = |name: &str| {
        let path = folder.path().join(name);
        fs::write(&path, fs::read(Path::new("/proc").join(&pid).join("smaps")).unwrap()).unwrap();
        path.to_str().unwrap().to_owned()
    };
    assert_eq!(said.next().unwrap().unwrap(), "ready");
    let before = save("before");
    tell.write_all(b"\n").unwrap();
    assert_eq!(said.next().unwrap().unwrap(), "ready");
    let after = save("after");
    for b in [&after, &pid] {
        let found = diff(&[&before, b]);
        assert_eq!(found["by"], "address");
        let changes = found["changes"].as_array().unwrap();
        let added: Vec<&Value> = changes.iter().filter(|c| c["what"] == "added").collect();
        assert_eq!((changes.len(), added.len()), (1, 1), "{found}");
        assert_eq!(
            (&added[0]["size"], &added[0]["kind"]),
            (&(77 * 4096).into(), &"shared".into()),
            "{found}"
        );
        assert_eq!((&added[0]["a"], &added[0]["b"]["sharing"]), (&Value::Null, &"shared".into()));
        let shared = found["totals"].as_array().unwrap().iter().find(|t| t["kind"] == "shared").unwrap();
        assert_eq!(
            (&shared["size_change"], &shared["resident_change"]),
            (&(77 * 4096).into(), &(38 * 4096).into())
        );
    }
    assert_eq!(code(&[&before, &after, "--exit-code"]), Some(3));
    assert_eq!(code(&[&before, &after, "--exit-code", "--kind", "heap"]), Some(0));
    assert_eq!(code(&[&before, &after, "--exit-code", "--min-size", "1MiB"]), Some(0));
    let back = diff(&[&after, &before, "--no-resident"]);
    assert_eq!(back["changes"][0]["what"], "removed");
    assert_eq!(
        (&back["total"]["resident_a"], &back["total"]["resident_a_why"]),
        (&Value::Null, &"not-read".into())
    );
    let text = String::from_utf8(vmatlas(&["diff", &before, &after]).stdout).unwrap();
    assert!(text.contains("+308 KiB") && text.contains("added 1 (308 KiB)"), "{text}");
    assert!(text.lines().last().unwrap().starts_with("total"), "{text}");
}

/// Checks that what cannot be compared is refused in one line, and wrong usage is wrong usage.
#[test]
fn what_is_no_target_is_refused() {
    let own = std::process::id().to_string();
    for words in [&[own.as_str(), "/no/file"][..], &["/no/file", &own]] {
        let output = vmatlas(&[&["diff"], words].concat());
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), text.lines().count()), (Some(1), 1), "{text}");
    }
    for words in [&[own.as_str()][..], &[&own, &own, "--by", "colour"], &[&own, &own, "--kind", "x"]] {
        assert_eq!(code(words), Some(2), "{words:?}");
    }
}

const MOVES_AND_REPLACES: &str = "\
import ctypes
c = ctypes.CDLL(None)
c.mmap.restype = c.mremap.restype = ctypes.c_void_p
c.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
c.mremap.argtypes = [ctypes.c_void_p] + [ctypes.c_size_t] * 2 + [ctypes.c_int, ctypes.c_void_p]
PRIVATE_ANONYMOUS, FIXED, MAYMOVE_FIXED, size = 0x22, 0x10, 3, 33 * 4096
moved = c.mmap(None, size, 3, PRIVATE_ANONYMOUS, -1, 0)
kept = c.mmap(None, 3 * size, 1, PRIVATE_ANONYMOUS, -1, 0)
print(hex(moved), hex(kept), flush=True)
c.mremap(moved, size, size, MAYMOVE_FIXED, kept + size)
c.mmap(kept, 4096, 1, PRIVATE_ANONYMOUS | FIXED, -1, 0)
";

/// Checks that two moments of a recording tell what was moved and what was replaced by its like, which no map shows.
#[test]
fn moments_of_one_recording_tell_what_moved() {
    if !need(Capability::Ptrace) || !need(Capability::Tool("python3")) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rec");
    let rec = path.to_str().unwrap();
    let output = vmatlas(&["run", "-o", rec, "--", "python3", "-c", MOVES_AND_REPLACES]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    let (moved, kept) = said.trim().split_once(' ').unwrap();
    let at = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap();
    let log = String::from_utf8(vmatlas(&["log", rec, "--jsonl", "-e", "mremap"]).stdout).unwrap();
    let of_moved = |line: &&str| line.contains(moved);
    let call: Value = serde_json::from_str(log.lines().rfind(of_moved).unwrap()).unwrap();
    let before = format!("{rec}@{}", call["seq"].as_u64().unwrap() - 1);
    let exit = format!("{rec}@exit");
    let found = diff(&[&before, &exit]);
    assert_eq!((&found["by"], &found["by_why"]), (&"origin".into(), &"recorded".into()), "{found}");
    let changes = found["changes"].as_array().unwrap();
    let starts = |what: &str, side: &str| -> Vec<u64> {
        let of_these = changes.iter().filter(|change| change["what"] == what);
        of_these.map(|change| at(change[side]["start"].as_str().unwrap())).collect()
    };
    assert_eq!(starts("moved", "a"), [at(moved)], "{found}");
    assert_eq!(starts("moved", "b"), [at(kept) + 33 * 4096], "{found}");
    // Nothing of it is seen in the two maps: a page that nobody may tell from the one that was there.
    assert!(
        starts("removed", "a").contains(&at(kept)) && starts("added", "b").contains(&at(kept)),
        "{found}"
    );
    let by_address = diff(&[&before, &exit, "--by", "address"]);
    assert!(!by_address["changes"].as_array().unwrap().iter().any(|change| change["what"] == "moved"));
    let own = std::process::id().to_string();
    assert_eq!(code(&[&before, &own, "--by", "origin"]), Some(1));
}
