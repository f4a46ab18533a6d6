//! Names of code made at run time, by files that node, Python and Java wrote (fixtures/jit).

#![expect(clippy::unwrap_used, reason = "a test binary")]
#![forbid(unsafe_code)]

use std::fs;
use vmatlas_event::{Addr, MonoNs, Symbol};
use vmatlas_stack::symbolize::jit::{JitDump, PerfMap};

fn fixture(name: &str) -> Vec<u8> {
    fs::read(vmatlas_testkit::fixtures().join("jit").join(name)).unwrap()
}

fn told(symbol: Option<Symbol>) -> String {
    let Some(symbol) = symbol else { return "nothing".to_owned() };
    let text = |name: &vmatlas_event::Name| String::from_utf8_lossy(name.as_bytes()).into_owned();
    let place = symbol.file.as_ref().map_or_else(String::new, |file| format!(" {}", text(file)));
    let line = symbol.line.map_or_else(String::new, |line| format!(":{line}"));
    format!("{}{place}{line}", text(symbol.function.as_ref().unwrap()))
}

/// Checks that every line of the maps is understood, and places in the functions of the programs.
#[test]
fn perf_maps_of_three_languages() {
    for (file, at, name) in [
        ("node.map", 0x2a17_e4e4_b266, "grow /srv/a.js:1"),
        ("node.map", 0x7f20_777c_5b80 + 0x1c3, "shrink /srv/a.js:2"),
        ("node.map", 0x7f20_777c_6640 + 0x104, "nothing"),
        ("python.map", 0x7f34_6f40_e7bc, "grow /srv/a.py"),
        ("python.map", 0x7f34_6f40_e7bc + 0xb, "shrink /srv/a.py"),
        ("java.map", 0x7f48_84ec_7620, "int A.grow(int)"),
    ] {
        let bytes = fixture(file);
        let map = PerfMap::parse(&bytes);
        assert_eq!(map.left_out(), 0, "{file}");
        assert_eq!(map.len(), bytes.split(|b| *b == b'\n').count() - 1, "{file}");
        assert_eq!(told(map.name_at(Addr(at))), name, "{file} {at:#x}");
    }
}

/// Checks a jitdump of Python: a function is there from its time on.
#[test]
fn a_jitdump_of_python() {
    let dump = JitDump::parse(&fixture("python.dump")).unwrap();
    assert!(!dump.is_cut() && dump.len() >= 10);
    let grow = Addr(0x7f09_0c9d_a8c0 + 10);
    let loaded = 3_054_747_410_706;
    assert_eq!(told(dump.name_at(grow, Some(MonoNs(loaded)))), "grow /srv/a.py");
    assert_eq!(told(dump.name_at(grow, Some(MonoNs(loaded - 1)))), "nothing");
    assert_eq!(told(dump.name_at(grow, None)), "grow /srv/a.py");
    assert_eq!(told(dump.name_at(Addr(grow.0 + 1), None)), "nothing");
}
