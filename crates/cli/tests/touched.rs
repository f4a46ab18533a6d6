//! Who touched the memory of a program, and who broke copy-on-write: a recording with page faults and their call stacks.

#![expect(clippy::unwrap_used, reason = "a test binary")]
#![forbid(unsafe_code)]

use serde_json::Value;
use std::path::Path;
use std::process::Output;
use vmatlas_testkit::{Capability, left_off, need, vmatlas_command};

/// Touches 400 pages; of these the child writes to 100, then the parent to another 50.
const SCRIPT: &str = "import mmap, os\n\
    n = 400\n\
    m = mmap.mmap(-1, n * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n\
    try: m.madvise(mmap.MADV_NOHUGEPAGE)\n\
    except (AttributeError, OSError): pass\n\
    for i in range(n): m[i * 4096] = 1\n\
    pid = os.fork()\n\
    if pid == 0:\n  [m.__setitem__(i * 4096, 2) for i in range(100)]; os._exit(0)\n\
    os.waitpid(pid, 0)\n\
    for i in range(300, 350): m[i * 4096] = 3";

fn vmatlas(args: &[&str]) -> Output {
    vmatlas_command(env!("CARGO_BIN_EXE_vmatlas")).args(args).output().unwrap()
}

fn text(args: &[&str]) -> String {
    let output = vmatlas(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn json(args: &[&str]) -> Value {
    serde_json::from_str(&text(args)).unwrap()
}

/// A recording of the script; `None` where there are no page faults to be had, pages have another size or Python is missing.
fn record(folder: &Path, options: &[&str]) -> Option<String> {
    let can = need(Capability::Ptrace) && need(Capability::FaultEvents) && need(Capability::Tool("python3"));
    if !can || vmatlas_sys::page_size().bytes() != 4096 {
        return None;
    }
    let rec = folder.join("rec").display().to_string();
    let program = ["--", "/usr/bin/python3", "-c", SCRIPT];
    let output = vmatlas(&[&["run", "--backend=ptrace", "-o", &rec], options, &program].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // A user's rings are small, and copies of stacks are not.
    if json(&["info", &rec, "--json"])["recording"]["faults"]["lost"].as_u64().is_some_and(|lost| lost > 0) {
        left_off("locked memory for all faults of one run (perf_event_mlock_kb)");
        return None;
    }
    Some(rec)
}

/// Checks that the pages which stopped being shared are told by who wrote to them, for the child and the parent, each once.
#[test]
fn who_broke_copy_on_write_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let Some(rec) = record(folder.path(), &["--faults", "--stacks"]) else { return };
    let copies = json(&["origins", &rec, "--copies", "--json"]);
    assert_eq!((copies["forks"].as_u64(), copies["complete"].as_bool()), (Some(1), Some(true)));
    let rows = copies["unshared"].as_array().unwrap();
    for (side, pages) in [("child", 100), ("parent", 50)] {
        let found: Vec<_> = rows.iter().filter(|row| row["side"] == side && row["pages"] == pages).collect();
        assert_eq!(found.len(), 1, "{pages} pages of the {side}: {rows:#?}");
        assert_eq!(found[0]["bytes"], pages * 4096);
        assert!(found[0]["frames"].as_array().unwrap().len() > 3, "{:#?}", found[0]);
    }
    let told = text(&["origins", &rec, "--copies", "--lang", "en"]);
    assert!(told.contains("400 KiB") && told.contains("200 KiB"), "{told}");
    assert!(text(&["origins", &rec, "--copies", "--lang", "ja"]).contains("根拠"));
}

/// Checks that over all sites and who touched them the faults are those that were recorded, and that an export has as many.
#[test]
fn who_touched_adds_up() {
    let folder = tempfile::tempdir().unwrap();
    let Some(rec) = record(folder.path(), &["--faults", "--stacks=fp"]) else { return };
    let told = json(&["info", &rec, "--json"])["recording"]["faults"]["told"].as_u64().unwrap();
    let exported = text(&["export", &rec, "--format", "collapsed", "--by", "faults"]);
    let of_stacks: u64 =
        exported.lines().map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum();
    assert_eq!(of_stacks, told, "of all processes");
    let origins = json(&["origins", &rec, "--by", "faults", "--json"]);
    for site in origins["sites"].as_array().unwrap() {
        let touched_by = site["touched_by"].as_array().map(Vec::as_slice).unwrap_or_default();
        let sum: u64 = touched_by.iter().map(|by| by["faults"].as_u64().unwrap()).sum();
        assert_eq!(Some(sum), site["faults"].as_u64(), "{}", site["site"]);
    }
    // First touched once each, 50 of them written to again after the fork.
    let asked = origins["sites"].as_array().unwrap().iter().find(|site| site["faults"] == 450);
    let touched_by = asked.unwrap()["touched_by"].as_array().unwrap();
    assert_eq!((touched_by.len(), touched_by[0]["by"].as_str()), (1, Some("stack")));
    let shown = text(&["origins", &rec, "--by", "faults", "--lang", "en"]);
    assert!(shown.contains("touched by (450 faults): at "), "{shown}");
}

/// Checks that VMAs are told beside their budget, and that what was not recorded is refused with the command that would tell.
#[test]
fn what_was_not_recorded_is_not_told() {
    let folder = tempfile::tempdir().unwrap();
    let Some(rec) = record(folder.path(), &[]) else { return };
    let output = vmatlas(&["origins", &rec, "--copies", "--lang", "en"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), error.lines().count()), (Some(1), 1), "{error}");
    assert!(error.contains("run --faults --stacks -o"), "{error}");
    let limit = std::fs::read_to_string("/proc/sys/vm/max_map_count").unwrap();
    let origins = json(&["origins", &rec, "--by", "vmas", "--json"]);
    assert_eq!(origins["max_map_count"].as_u64(), limit.trim().parse().ok());
    let shown = text(&["origins", &rec, "--by", "vmas", "--lang", "en"]);
    assert!(shown.contains("(vm.max_map_count)"), "{shown}");
}
