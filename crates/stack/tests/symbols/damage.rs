//! Files that are cut, damaged or made by an enemy.

use super::build::{Built, address, folders, functions, texts, without_build_id};
use std::fs;
use std::path::Path;
use vmatlas_event::Addr;
use vmatlas_stack::symbolize::{Answer, Flaw, Limits, Lookup, Note, Symbolizer};
use vmatlas_testkit::{Capability, need};

/// Asks for some places of a file that is written anew each time, by one symbolizer, as a session would.
struct Victim {
    folder: tempfile::TempDir,
    symbolizer: Symbolizer,
    places: Vec<Lookup>,
}

impl Victim {
    fn new(places: &[u64]) -> Victim {
        let limits = Limits { kept: 1 << 20, ..Limits::default() };
        Victim {
            folder: tempfile::tempdir().unwrap(),
            symbolizer: Symbolizer::new(folders(Path::new("/none")), limits),
            places: places.iter().map(|at| Lookup { at: Addr(*at), is_return: true }).collect(),
        }
    }

    fn ask(&mut self, number: usize, bytes: &[u8]) -> Answer {
        let path = self.folder.path().join(number.to_string());
        fs::write(&path, bytes).unwrap();
        let answer = self.symbolizer.names(&without_dev(&path), &self.places);
        fs::remove_file(path).unwrap();
        assert_eq!(answer.names.len(), self.places.len());
        answer
    }
}

/// `without_build_id` without a process for each file.
fn without_dev(path: &Path) -> vmatlas_event::Module {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::MetadataExt;
    static DEV: std::sync::OnceLock<Option<vmatlas_event::Dev>> = std::sync::OnceLock::new();
    vmatlas_event::Module {
        name: Some(vmatlas_event::Name::new(path.as_os_str().as_bytes())),
        build_id: Vec::new(),
        dev: *DEV.get_or_init(|| without_build_id(path).dev),
        inode: fs::metadata(path).unwrap().ino(),
    }
}

fn subject() -> (Vec<u8>, Vec<u64>) {
    let built = Built::c(&[
        "-nostdlib",
        "-nostartfiles",
        "-static",
        "-DTINY",
        "-Wl,-e,main",
        "-fno-pie",
        "-no-pie",
        "-Wl,--unresolved-symbols=ignore-all",
    ]);
    let mut places: Vec<u64> = functions(&built.path)
        .iter()
        .flat_map(|(_, start, size)| [start + 1, start + size / 2, start + size])
        .collect();
    places.extend([0, u64::MAX]);
    (fs::read(&built.path).unwrap(), places)
}

/// Checks that a file cut at every 64th byte gives names or a reason, and never more than the whole file gives.
#[test]
fn a_cut_file_gives_names_or_a_reason() {
    if !need(Capability::Tool("cc")) {
        return;
    }
    let (whole, places) = subject();
    let mut victim = Victim::new(&places);
    let names = victim.ask(0, &whole).names;
    assert!(names.iter().filter(|n| n.is_ok()).count() >= 3);
    for cut in (0..whole.len()).step_by(64) {
        let answer = victim.ask(cut + 1, &whole[..cut]);
        // Section headers are at the end: without them there is nothing.
        assert!(answer.names.iter().all(Result::is_err), "cut at {cut}");
        assert!(!texts(&answer.names[0])[0].contains("too long"), "cut at {cut}");
    }
}

/// Checks that flipped bits and overwritten bytes never end in a panic or a hang.
#[test]
fn a_damaged_file_never_breaks_us() {
    if !need(Capability::Tool("cc")) {
        return;
    }
    let (whole, places) = subject();
    let mut victim = Victim::new(&places);
    let mut state = 7u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    let flips = std::env::var("VMATLAS_FLIPS").ok().and_then(|n| n.parse().ok()).unwrap_or(2000);
    for number in 0..flips {
        let mut bytes = whole.clone();
        for _ in 0..=random() % 4 {
            let at = random() % bytes.len();
            match random() % 3 {
                0 => bytes[at] ^= 1 << (random() % 8),
                1 => bytes[at] = 0xff,
                _ => bytes[at] = 0,
            }
        }
        let answer = victim.ask(number, &bytes);
        for names in &answer.names {
            assert!(!texts(names)[0].contains("too long"), "flip {number}");
            assert_ne!(texts(names), ["the file is damaged"], "flip {number}: a parser panicked");
        }
    }
}

/// A program of one function, and the beginning of debug information that an enemy made.
const ENEMY: &str = r#"
        .text
        .globl _start
        .type _start, @function
_start: .skip 64, 0x90
        .size _start, 64
        .section .debug_abbrev, "", @progbits
"#;

fn enemy(debug: &str) -> Built {
    Built::new("cc", &["-nostdlib", "-static", "-Wl,--build-id"], "enemy.S", &format!("{ENEMY}{debug}"))
}

/// Checks debug information made by an enemy: three million inlined functions nested into each other.
#[test]
fn nesting_without_end_is_left_alone() {
    if !need(Capability::Tool("cc")) {
        return;
    }
    let source = r#"
        .uleb128 1, 0x11
        .byte 1
        .uleb128 0x11, 1, 0x12, 6, 0, 0
        .uleb128 2, 0x2e
        .byte 1
        .uleb128 0x11, 1, 0x12, 6, 0, 0
        .uleb128 3, 0x1d
        .byte 1
        .uleb128 0, 0
        .byte 0
        .section .debug_info, "", @progbits
        .long end - begin
begin:  .short 4
        .long 0
        .byte 8
        .uleb128 1
        .quad _start
        .long 64
        .uleb128 2
        .quad _start
        .long 64
        .fill 3000000, 1, 3
end:
    "#;
    let built = enemy(source);
    let at = address(&built.path, "_start");
    let answer = super::build::ask(&built.module(), Path::new("/none"), &[at + 1, at + 2]);
    // The table of symbols still tells the function.
    assert_eq!(answer.names.iter().map(texts).collect::<Vec<_>>(), [["_start"], ["_start"]]);
}

/// Checks that files which are no programs give a reason.
#[test]
fn what_is_no_program_gives_a_reason() {
    let mut victim = Victim::new(&[1]);
    for (number, bytes) in [&b""[..], b"\x7fELF", b"#!/bin/sh\nexit\n", &[0; 4096]].into_iter().enumerate() {
        let names = victim.ask(number, bytes).names;
        assert_eq!(texts(&names[0]), ["not an ELF file of a little-endian machine"]);
    }
}

/// Checks debug information that takes for ever: a hundred thousand units that each run one long line program. Functions
/// are told all the same.
#[test]
fn what_takes_too_long_is_told_by_symbols() {
    if !need(Capability::Tool("cc")) {
        return;
    }
    let source = r#"
        .uleb128 1, 0x11
        .byte 0
        .uleb128 0x10, 6, 0, 0
        .byte 0
        .section .debug_info, "", @progbits
        .rept 100000
        .long 12
        .short 4
        .long 0
        .byte 8
        .uleb128 1
        .long 0
        .endr
        .section .debug_line, "", @progbits
        .long lines_end - lines
lines:  .short 2
        .long head_end - head
head:   .byte 1, 1, 0, 1, 13
        .byte 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1
        .byte 0
        .ascii "a\0"
        .byte 0, 0, 0
        .byte 0
head_end:
        .byte 0, 9, 2
        .quad _start
        .fill 1000000, 1, 0x20
        .byte 0, 1, 1
lines_end:
    "#;
    let built = enemy(source);
    let lookup = Lookup { at: Addr(address(&built.path, "_start") + 1), is_return: false };
    // Far too little for what it wants, and enough for its symbols.
    let limits = Limits { time: std::time::Duration::from_secs(2), ..Limits::default() };
    let mut symbolizer = Symbolizer::new(folders(Path::new("/none")), limits);
    for _ in 0..2 {
        let answer = symbolizer.names(&built.module(), &[lookup]);
        // Where it is not slow it is refused, for reading so much more than there is.
        let told =
            answer.notes.iter().any(|note| matches!(note, Note::Slow | Note::Unused(Flaw::Damaged(_))));
        assert!(told, "{answer:?}");
        assert_eq!(texts(&answer.names[0]), ["_start"], "{answer:?}");
    }
}
