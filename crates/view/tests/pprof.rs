//! `go tool pprof` reads what we write.

#![expect(clippy::unwrap_used, reason = "a test binary")]
#![forbid(unsafe_code)]

use std::process::Command;
use vmatlas_event::{Addr, Module, Name, Symbol};
use vmatlas_testkit::{Capability, need};
use vmatlas_view::export::{Place, Profile, Sample, Unit, Weight, pprof};

fn symbol(function: &str, line: u32, is_inlined: bool) -> Symbol {
    let text = |text: &str| Some(Name::new(text.as_bytes()));
    Symbol { function: text(function), file: text("/src/a.c"), line: Some(line), is_inlined }
}

/// main calls grow, into which fill was inlined, which calls mmap; and a stack whose callers are missing.
fn profile() -> Profile {
    let module = Module { name: Some(Name::new(b"/bin/a")), build_id: vec![0xab; 20], ..Module::default() };
    let place = |address, functions| Place { module: Some(0), address: Addr(address), functions };
    Profile {
        title: "a".to_owned(),
        weights: vec![
            Weight { name: "calls", unit: Unit::Count },
            Weight { name: "mapped", unit: Unit::Bytes },
        ],
        preferred: 1,
        modules: vec![module],
        places: vec![
            place(0x100, vec![symbol("mmap", 1, false)]),
            place(0x200, vec![symbol("fill", 7, true), symbol("grow", 20, false)]),
            place(0x300, vec![symbol("main", 30, false)]),
            place(0x400, Vec::new()),
        ],
        samples: vec![
            Sample { stack: vec![0, 1, 2], values: vec![1, 3 << 20], ..Sample::default() },
            Sample { stack: vec![0, 1, 2], values: vec![1, 1 << 20], ..Sample::default() },
            Sample { stack: vec![3], values: vec![5, 1 << 20], is_truncated: true, ..Sample::default() },
        ],
        began: Some(1_700_000_000_000_000_000),
        duration: Some(1_000_000_000),
    }
}

fn top(path: &std::path::Path, option: &str) -> String {
    let mut command = Command::new("go");
    // Its own folder for what it keeps; no telemetry, no network.
    command.args(["tool", "pprof", "-top", option]).arg(path).env("HOME", path.parent().unwrap());
    let output = command.env("PPROF_TMPDIR", path.parent().unwrap()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Checks that pprof accepts the file, and its sums of both weights with their units.
#[test]
fn pprof_reads_what_we_write() {
    if !need(Capability::Tool("go")) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.pb.gz");
    std::fs::write(&path, pprof(&profile()).unwrap()).unwrap();
    let mapped = top(&path, "-cum");
    let row = |text: &str, name: &str| -> Vec<String> {
        let line = text.lines().find(|line| line.split_whitespace().nth(5) == Some(name));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).split_whitespace().map(str::to_owned).collect()
    };
    assert!(mapped.contains("Type: mapped"), "{mapped}");
    for (name, flat, cumulative) in [
        ("main", "0", "4MB"),
        ("grow", "0", "4MB"),
        ("fill", "0", "4MB"),
        ("mmap", "4MB", "4MB"),
        ("a+0x400", "1MB", "1MB"),
        ("[truncated]", "0", "1MB"),
    ] {
        let row = row(&mapped, name);
        assert_eq!((row[0].as_str(), row[3].as_str()), (flat, cumulative), "{name}: {mapped}");
    }
    assert!(mapped.contains("fill") && mapped.contains("(inline)"), "{mapped}");
    let calls = top(&path, "-sample_index=calls");
    assert_eq!(row(&calls, "mmap")[0], "2");
    assert_eq!(row(&calls, "a+0x400")[0], "5");
}
