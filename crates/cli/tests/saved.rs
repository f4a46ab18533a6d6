//! `vmatlas show` on what was saved of a process, compared with the living one.

#![expect(clippy::unwrap_used, reason = "a test binary")]

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use vmatlas_testkit::{Tracee, vmatlas_command, wait_until};

fn vmatlas(words: &[&str]) -> Output {
    vmatlas_command(env!("CARGO_BIN_EXE_vmatlas")).args(words).output().unwrap()
}

fn show(target: &str) -> Value {
    let output = vmatlas(&["show", target, "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn pick(json: &Value, keys: &[&str]) -> Vec<Vec<Value>> {
    json["vmas"].as_array().unwrap().iter().map(|v| keys.iter().map(|k| v[*k].clone()).collect()).collect()
}

/// Checks that a copied /proc folder, saved maps and saved smaps show the VMAs, kinds and pages of the living process.
#[test]
fn saved_equals_living() {
    let sleeper = Tracee::start(Command::new("sleep").arg("60").stdout(Stdio::null())).unwrap();
    let proc = Path::new("/proc").join(sleeper.pid().to_string());
    let settled = || {
        let read = || fs::read(proc.join("smaps")).unwrap_or_default();
        let first = read();
        std::thread::sleep(Duration::from_millis(50));
        first.len() > 5000 && first == read()
    };
    assert!(wait_until(settled, Duration::from_secs(10)));
    let dir = tempfile::tempdir().unwrap();
    for name in ["maps", "smaps", "status", "stat", "auxv"] {
        fs::write(dir.path().join(name), fs::read(proc.join(name)).unwrap()).unwrap();
    }
    std::os::unix::fs::symlink("/gone/sleep", dir.path().join("exe")).unwrap();
    let living = show(&sleeper.pid().to_string());
    let folder = show(dir.path().to_str().unwrap());
    let keys = ["start", "end", "prot", "sharing", "offset", "dev", "inode", "name", "kind"];
    assert_eq!(pick(&folder, &keys), pick(&living, &keys));
    assert_eq!(pick(&folder, &["resident", "swapped"]), pick(&living, &["resident", "swapped"]));
    assert_eq!(
        (&folder["process"]["pid"], &folder["process"]["exe"]),
        (&living["process"]["pid"], &"/gone/sleep".into())
    );
    assert_eq!(folder["process"]["source"]["type"], "proc-folder");
    assert!(living["process"]["source"].is_null());
    let maps = show(dir.path().join("maps").to_str().unwrap());
    assert_eq!(
        pick(&maps, &["start", "end", "name", "kind"]),
        pick(&living, &["start", "end", "name", "kind"])
    );
    assert_eq!(
        (&maps["vmas"][0]["resident"], &maps["vmas"][0]["resident_why"]),
        (&Value::Null, &"not-recorded".into())
    );
    let smaps = show(dir.path().join("smaps").to_str().unwrap());
    assert_eq!(smaps["process"]["source"]["type"], "smaps");
    assert_eq!(pick(&smaps, &["resident"]), pick(&living, &["resident"]));
    // The folder of a living process is the process.
    assert!(show(proc.to_str().unwrap())["process"]["source"].is_null());
}

/// Checks that a core made by gcore shows the heap, the stacks and what was dumped, and what it cannot know as null.
#[test]
fn a_core_of_gcore_is_shown() {
    let sleeper = Tracee::start(Command::new("sleep").arg("60").stdout(Stdio::null())).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let prefix = dir.path().join("core");
    let pid = sleeper.pid().to_string();
    let mapped = || fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default().contains("[heap]");
    assert!(wait_until(mapped, Duration::from_secs(10)));
    let made = Command::new("gcore").arg("-o").arg(&prefix).arg(&pid).output();
    if !made.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: gcore (gdb) made no core file");
        return;
    }
    let core = show(&format!("{}.{pid}", prefix.display()));
    assert_eq!(
        (&core["process"]["source"]["type"], &core["process"]["name"]),
        (&"core".into(), &"sleep".into())
    );
    let kinds: Vec<&str> =
        core["vmas"].as_array().unwrap().iter().map(|v| v["kind"].as_str().unwrap()).collect();
    for kind in ["heap", "main-stack", "kernel", "image"] {
        assert!(kinds.contains(&kind), "{kind} is not among {kinds:?}");
    }
    let heap = core["vmas"].as_array().unwrap().iter().find(|v| v["kind"] == "heap").unwrap();
    assert_eq!(heap["dumped"], heap["size"]);
    assert_eq!((&heap["sharing"], &heap["sharing_why"]), (&Value::Null, &"unknown".into()));
    assert_eq!(heap["resident_why"], "not-recorded");
}

/// Checks that what is no source is refused in one line, without waiting.
#[test]
fn no_source_is_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    for target in
        [fifo.to_str().unwrap(), dir.path().to_str().unwrap(), "/dev/null", "/proc/self/exe", "/no/file"]
    {
        let output = vmatlas(&["show", target]);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), text.lines().count()), (Some(1), 1), "{target}: {text}");
        assert!(text.contains(target), "{text}");
    }
}

/// Checks that what a saved source cannot answer is refused in one line, never passed over in silence.
#[test]
fn questions_to_the_kernel_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let maps = dir.path().join("maps");
    fs::write(&maps, fs::read("/proc/self/maps").unwrap()).unwrap();
    let maps = maps.to_str().unwrap();
    for words in [
        &["rss", maps, "--rollup"][..],
        &["rss", maps, "--pss"],
        &["show", maps, "--smaps"],
        &["rss", maps, "--line", "aio"],
    ] {
        let output = vmatlas(words);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), text.lines().count()), (Some(1), 1), "{words:?}: {text}");
        assert!(output.stdout.is_empty());
    }
    for words in [
        &["show", maps, "--map-count", "--kind", "heap"][..],
        &["show", maps, "--map-count", "--columns", "all"],
        &["rss", maps, "--line", "heap", "--json"],
        &["rss", "--tree", "1", "--pss"],
    ] {
        assert_eq!(vmatlas(words).status.code(), Some(2), "{words:?}");
    }
}

/// Checks that what smaps and the entries of pagemap do not tell is `null` with a reason, and no 0.
#[test]
fn what_is_not_told_is_not_zero() {
    let sleeper = Tracee::start(Command::new("sleep").arg("60").stdout(Stdio::null())).unwrap();
    let pid = sleeper.pid().to_string();
    let dir = tempfile::tempdir().unwrap();
    let smaps = dir.path().join("smaps");
    let stack = |json: Value| {
        json["vmas"].as_array().unwrap().iter().find(|v| v["kind"] == "main-stack").cloned().unwrap()
    };
    let settled =
        || fs::read_to_string(format!("/proc/{pid}/smaps")).is_ok_and(|text| text.contains("[stack]"));
    assert!(wait_until(settled, Duration::from_secs(10)));
    fs::write(&smaps, fs::read(format!("/proc/{pid}/smaps")).unwrap()).unwrap();
    let saved = stack(show(smaps.to_str().unwrap()));
    assert_eq!((&saved["zero"], &saved["zero_why"]), (&Value::Null, &"unknown".into()));
    assert!(saved["huge"].is_u64());
    let output = vmatlas(&["show", &pid, "--method", "pagemap-entries", "--json"]);
    let entries = stack(serde_json::from_slice(&output.stdout).unwrap());
    for key in ["zero", "huge", "hugetlb"] {
        assert_eq!(
            (&entries[key], &entries[format!("{key}_why")]),
            (&Value::Null, &"unknown".into()),
            "{key}"
        );
    }
    assert!(entries["resident"].as_u64().unwrap() > 0);
    let output = vmatlas(&["rss", smaps.to_str().unwrap(), "--json"]);
    let sheet: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&sheet["sum"]["zero"], &sheet["sum"]["zero_why"]), (&Value::Null, &"unknown".into()));
    let output = vmatlas(&["rss", &pid, "--json"]);
    let sheet: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&sheet["sum"]["pss"], &sheet["sum"]["pss_why"]), (&Value::Null, &"not-read".into()));
    assert!(sheet["sum"]["zero"].is_u64());
}

/// Checks figures beyond all memory: a saved text can hold any number, and every view of it must come to an end.
#[test]
fn numbers_beyond_all_memory_are_shown() {
    const MOST: u64 = u64::MAX >> 10;
    let keys = "Size Rss Pss Shared_Clean Shared_Dirty Private_Clean Private_Dirty Referenced Anonymous LazyFree \
        AnonHugePages Shared_Hugetlb Private_Hugetlb Swap SwapPss Locked";
    let fields: String = keys.split_whitespace().map(|key| format!("{key}: {MOST} kB\n")).collect();
    let rows = (1..2000u64).map(|i| {
        let head = format!("{:x}-{:x} rw-p 00000000 00:00 0", i << 40, (i + 1) << 40);
        format!("{head:<73}[heap]\n{fields}")
    });
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("smaps"), rows.collect::<String>()).unwrap();
    fs::write(dir.path().join("status"), "Name:\tx\nTgid:\t7\nVmRSS:\t1 kB\n").unwrap();
    let (folder, svg) = (dir.path().to_str().unwrap(), dir.path().join("picture.svg"));
    for words in [
        &["show", folder][..],
        &["show", folder, "--smaps", "--columns", "all", "--json"],
        &["show", folder, "--map-count"],
        &["show", folder, "--svg", svg.to_str().unwrap()],
        &["rss", folder, "--profiler-total", "1TiB"],
        &["rss", folder, "--json"],
        &["rss", folder, "--line", "heap"],
    ] {
        let output = vmatlas(words);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
