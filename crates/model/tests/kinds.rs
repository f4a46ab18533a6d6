//! The kinds of real programs' memory: fixtures/maps, captured as its README tells.

#![allow(clippy::unwrap_used, reason = "helpers of tests; a capture that cannot be read is a failure")]

use std::collections::HashSet;
use std::fs;
use vmatlas_event::{Addr, Dev, Name, PageSize, Prot, Tid, VmaRow};
use vmatlas_model::kind::{Confidence, Evidence, Kind, Verdict, Why, classify};
use vmatlas_proc::parse::maps::{Parsed, parse_at};

const MIB: u64 = 1 << 20;
const ALL: [&str; 8] = ["glibc", "musl", "go", "jvm", "jvm-growing", "node", "python", "redis"];

/// A captured process and what we say of it.
struct Capture {
    rows: Vec<VmaRow>,
    /// Resident bytes of each row, from smaps.
    resident: Vec<u64>,
    evidence: Evidence,
    verdicts: Vec<Verdict>,
}

fn rows(text: &[u8]) -> Vec<VmaRow> {
    let mut rows = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let Ok(Parsed::Line(line, next)) = parse_at(text, at) else { panic!("a whole line at {at}") };
        rows.push(line.row((!line.name.is_empty()).then(|| Name::new(line.name))));
        at = next;
    }
    rows
}

impl Capture {
    fn open(name: &str) -> Capture {
        let folder = vmatlas_testkit::fixtures().join("maps").join(name);
        let read = |file: &str| fs::read_to_string(folder.join(file)).unwrap();
        let rows = rows(&fs::read(folder.join("maps")).unwrap());
        let resident: Vec<u64> = read("smaps")
            .lines()
            .filter_map(|line| line.strip_prefix("Rss:")?.strip_suffix("kB")?.trim().parse().ok())
            .map(|kib: u64| kib << 10)
            .collect();
        assert_eq!(rows.len(), resident.len());
        let exe = read("exe");
        let (path, id) = exe.trim_end().split_once('\n').unwrap();
        let (dev, inode) = id.split_once(' ').unwrap();
        let (major, minor) = dev.split_once(':').unwrap();
        let dev = Dev { major: major.parse().unwrap(), minor: minor.parse().unwrap() };
        let hex = |s: &str| u64::from_str_radix(s.strip_prefix("0x").unwrap(), 16).unwrap();
        let threads = read("threads")
            .lines()
            .map(|line| {
                // TID, then proc_pid_syscall(5): number, six arguments, stack pointer, program counter.
                let field: Vec<&str> = line.split(' ').collect();
                (Tid(field[0].parse().unwrap()), field.get(8).map(|sp| Addr(hex(sp))))
            })
            .collect();
        // Field 47 of proc_pid_stat(5); the name in field 2 has no spaces in these captures.
        let start_brk = read("stat").split(' ').nth(46).unwrap().parse().unwrap();
        let evidence = Evidence {
            exe: Some((dev, inode.parse().unwrap())),
            exe_path: path.as_bytes().to_vec(),
            threads,
            start_brk: Some(Addr(start_brk)),
            ..Evidence::none(PageSize::FOUR_KIB)
        };
        let verdicts = classify(&rows, &evidence);
        assert_eq!(rows.len(), verdicts.len());
        Capture { rows, resident, evidence, verdicts }
    }

    fn each(&self) -> impl Iterator<Item = (&VmaRow, &Verdict)> {
        self.rows.iter().zip(&self.verdicts)
    }

    fn at(&self, address: Addr) -> (usize, &VmaRow, Verdict) {
        let at = self.rows.iter().position(|row| row.range.contains(address)).unwrap();
        (at, &self.rows[at], self.verdicts[at])
    }

    fn size(&self, kind: Kind) -> u64 {
        self.each().filter(|(_, v)| v.kind == kind).map(|(row, _)| row.range.len().0).sum()
    }

    fn resident(&self, kind: Kind) -> u64 {
        self.verdicts.iter().zip(&self.resident).filter(|(v, _)| v.kind == kind).map(|(_, bytes)| bytes).sum()
    }

    fn count(&self, kind: Kind) -> usize {
        self.verdicts.iter().filter(|v| v.kind == kind).count()
    }

    /// The verdicts of the rows whose name ends so.
    fn named<'a>(&'a self, end: &'a str) -> impl Iterator<Item = Verdict> + 'a {
        self.each().filter(move |(row, _)| row.name_bytes().ends_with(end.as_bytes())).map(|(_, v)| *v)
    }
}

/// Checks that every sleeping thread's stack pointer lies in a stack that says so, with a guard directly below.
#[test]
fn every_thread_has_a_stack() {
    for name in ["glibc", "musl", "jvm", "jvm-growing", "node", "python", "redis"] {
        let capture = Capture::open(name);
        let mut stacks = 0;
        for (tid, pointer) in &capture.evidence.threads {
            let (at, row, verdict) = capture.at(pointer.unwrap());
            if verdict.kind == Kind::MainStack {
                assert_eq!(row.name_bytes(), b"[stack]");
                continue;
            }
            assert_eq!(
                (verdict.kind, verdict.confidence, verdict.why),
                (Kind::ThreadStack, Confidence::Evidence, Why::StackPointer(*tid)),
                "{name} {tid}"
            );
            let below = capture.verdicts[at - 1];
            assert_eq!(
                (below.kind, below.why),
                (Kind::Guard, Why::BelowStack(row.range.start())),
                "{name} {tid}"
            );
            stacks += 1;
        }
        assert_eq!(stacks, capture.evidence.threads.len() - 1, "{name}: all but the first thread");
        assert_eq!(capture.count(Kind::ThreadStack), stacks, "{name}: no other row is a stack");
    }
}

/// Checks that goroutines are seen to run on Go's heap, not on thread stacks.
#[test]
fn goroutines_run_on_the_heap() {
    let go = Capture::open("go");
    assert!(go.evidence.threads.len() > 4);
    for (tid, pointer) in &go.evidence.threads {
        assert_eq!(go.at(pointer.unwrap()).2.kind, Kind::ManagedHeap, "{tid}");
    }
    assert_eq!(go.count(Kind::ThreadStack), 0);
}

/// Checks that programs and libraries are images in all their parts, that nothing else with a file is, and that what is
/// called anonymous has no file.
#[test]
fn images_are_files_with_code() {
    for name in ALL {
        let capture = Capture::open(name);
        let id = |row: &VmaRow| (row.dev, row.inode);
        let code: HashSet<(Dev, u64)> =
            capture.rows.iter().filter(|row| row.has_file() && row.prot.has(Prot::EXEC)).map(id).collect();
        assert!(!code.is_empty());
        for (row, verdict) in capture.each() {
            if row.has_file() {
                assert_eq!(verdict.kind == Kind::Image, code.contains(&id(row)), "{name} {row:?}");
                assert!(!matches!(verdict.kind, Kind::Anonymous | Kind::Reserved), "{name} {row:?}");
            }
            if Some(id(row)) == capture.evidence.exe {
                assert_eq!(verdict.why, Why::ProgramFile);
            }
        }
    }
}

/// Checks that every bss that was captured is found, by its size in the program files.
#[test]
fn bss_belongs_to_images() {
    for (name, pages) in
        [("glibc", vec![256, 13]), ("go", vec![52]), ("python", vec![69, 13]), ("musl", vec![])]
    {
        let capture = Capture::open(name);
        let bss: Vec<u64> = capture
            .each()
            .filter(|(_, v)| v.why == Why::Bss)
            .map(|(row, v)| {
                assert_eq!((v.kind, v.confidence), (Kind::Image, Confidence::Evidence));
                row.range.len().0 / 4096
            })
            .collect();
        assert_eq!(bss, pages, "{name}");
    }
}

/// Checks a glibc program: five arena heaps of 64 MiB for four threads, shared memory of every sort, a reservation.
#[test]
fn a_glibc_program() {
    let glibc = Capture::open("glibc");
    // The last thread used more than one heap holds, so it has two, side by side and merged.
    assert_eq!(glibc.size(Kind::MallocArena), 5 * 64 * MIB);
    assert!(glibc.resident(Kind::MallocArena) > 95 * MIB);
    for end in [
        "/SYSV00000000 (deleted)",
        "/dev/zero (deleted)",
        "/memfd:fixture (deleted)",
        "/dev/shm/vmatlas-fixture (deleted)",
    ] {
        let kinds: Vec<Kind> = glibc.named(end).map(|v| v.kind).collect();
        assert_eq!(kinds, [Kind::Shared], "{end}");
    }
    assert_eq!(glibc.size(Kind::Shared), (64 + 128 + 64 + 64) << 10);
    assert_eq!(glibc.named("/etc/services").map(|v| v.kind).collect::<Vec<_>>(), [Kind::MappedFile]);
    assert_eq!(glibc.size(Kind::Reserved), 1 << 30);
    assert_eq!(glibc.count(Kind::Heap), 1);
}

/// Checks a static musl program: stacks of 132 KiB above two guard pages, everything else on the brk heap.
#[test]
fn a_musl_program() {
    let musl = Capture::open("musl");
    assert_eq!((musl.size(Kind::ThreadStack), musl.size(Kind::Guard)), (3 * (132 << 10), 3 * 8192));
    assert_eq!((musl.count(Kind::Anonymous), musl.count(Kind::MallocArena)), (0, 0));
    assert!(musl.resident(Kind::Heap) > MIB);
}

/// Checks that Go's heap is whole arenas of 64 MiB and holds what the program allocated.
#[test]
fn a_go_program() {
    let go = Capture::open("go");
    let sized =
        |why: Why| -> u64 { go.each().filter(|(_, v)| v.why == why).map(|(row, _)| row.range.len().0).sum() };
    assert_eq!(sized(Why::GoArena), 2 * 64 * MIB);
    // Summaries of all pages of a 48-bit address space alone take 585 MiB of addresses.
    assert!(sized(Why::GoOwn) > 585 * MIB);
    assert_eq!(go.count(Kind::Anonymous) + go.count(Kind::Reserved), 0);
    assert!(go.resident(Kind::ManagedHeap) > 100 * MIB);
    assert_eq!(go.at(Addr(0xc0_0000_0000)).2.why, Why::GoArena);
}

/// Checks a JVM by what it was told: 256 MiB of heap, 240 MiB of code cache, 1 GiB of class space.
#[test]
fn a_java_program() {
    let jvm = Capture::open("jvm");
    let low: u64 = jvm
        .each()
        .filter(|(row, v)| {
            let archive = row.name_bytes().ends_with(b".jsa");
            row.range.end().0 <= 32 << 30 && (v.kind == Kind::ManagedHeap || archive)
        })
        .map(|(row, _)| row.range.len().0)
        .sum();
    assert_eq!(low, 256 * MIB, "-Xmx256m, archived objects included");
    assert_eq!(jvm.size(Kind::Jit), 240 * MIB, "ReservedCodeCacheSize");
    let classes: u64 =
        jvm.each().filter(|(_, v)| v.why == Why::JavaClasses).map(|(row, _)| row.range.len().0).sum();
    assert!(classes >= 1 << 30, "CompressedClassSpaceSize");
    let metaspace: u64 =
        jvm.each().filter(|(_, v)| v.why == Why::JavaMetaspace).map(|(row, _)| row.range.len().0).sum();
    assert_eq!(metaspace, 64 * MIB);
    assert!(jvm.resident(Kind::ManagedHeap) > 100 * MIB);
    assert!(jvm.named("lib/modules").all(|v| v.kind == Kind::MappedFile));
}

/// Checks that the tables of a G1 heap are found by its proportion: two bitmaps, and three with a byte for 512.
#[test]
fn a_java_heap_that_grows_has_tables() {
    let jvm = Capture::open("jvm-growing");
    let tables: u64 =
        jvm.each().filter(|(_, v)| v.why == Why::JavaTables).map(|(row, _)| row.range.len().0).sum();
    // Their ends for the archived objects at the heap's end, 32 KiB and 4 KiB, may have merged with other memory.
    assert!(tables >= (1 << 30) / 64 * 2 + (1 << 30) / 512 * 3 - ((2 * 32 + 3 * 4) << 10), "{tables}");
}

/// Checks a program on V8: heap chunks at chance addresses, one code range of 512 MiB for each of two isolates.
#[test]
fn a_node_program() {
    let node = Capture::open("node");
    assert!(node.count(Kind::ManagedHeap) > 300);
    assert!(node.resident(Kind::ManagedHeap) > 60 * MIB);
    let builtins: u64 = node
        .each()
        .filter(|(row, v)| row.range.start().0 > 1 << 46 && v.why == Why::ProgramFile)
        .map(|(row, _)| row.range.len().0)
        .sum();
    assert_eq!(node.size(Kind::Jit) + builtins, 2 * 512 * MIB);
    // WebAssembly memory keeps 10 GiB of address space so that no index can leave it.
    assert!(node.size(Kind::Reserved) + MIB >= 10 << 30);
}

/// Checks a Python program: most of its objects are found in whole arenas, as a guess, and its mappings by their files.
#[test]
fn a_python_program() {
    let python = Capture::open("python");
    assert!(python.resident(Kind::Allocator) > 14 * MIB);
    for (_, verdict) in python.each().filter(|(_, v)| v.kind == Kind::Allocator) {
        assert_eq!((verdict.confidence, verdict.why), (Confidence::Guess, Why::Pymalloc));
    }
    assert_eq!(python.named("/etc/services").map(|v| v.kind).collect::<Vec<_>>(), [Kind::MappedFile]);
    assert_eq!(python.size(Kind::Shared), MIB);
    assert_eq!(python.size(Kind::MallocArena), 2 * 64 * MIB);
}

/// Checks a program on jemalloc: its blocks are guessed, one that starts at no boundary but a page's among them.
#[test]
fn a_program_on_jemalloc() {
    let redis = Capture::open("redis");
    assert_eq!(redis.size(Kind::Allocator), (8 + 13 + 9 + 9 + 8) * MIB);
    assert!(redis.each().any(|(row, v)| v.kind == Kind::Allocator && row.range.start().0 % 65536 != 0));
    for (_, verdict) in redis.each().filter(|(_, v)| v.kind == Kind::Allocator) {
        assert_eq!((verdict.confidence, verdict.why), (Confidence::Guess, Why::AllocatorLibrary));
    }
    assert_eq!((redis.count(Kind::Heap), redis.count(Kind::MallocArena)), (0, 0));
}

/// Checks how little of the resident memory stays unexplained; Python's is the most, as pymalloc leaves no mark.
#[test]
fn little_stays_unexplained() {
    for (name, percent) in [
        ("glibc", 4),
        ("musl", 0),
        ("go", 0),
        ("jvm", 9),
        ("node", 14),
        ("python", 52),
        ("redis", 1),
        ("jvm-growing", 4),
    ] {
        let capture = Capture::open(name);
        let all: u64 = capture.resident.iter().sum();
        let unexplained = capture.resident(Kind::Anonymous) * 100 / all;
        assert!(unexplained <= percent, "{name}: {unexplained} %");
        assert_eq!(capture.resident(Kind::Reserved) + capture.resident(Kind::Guard), 0, "{name}");
    }
}

/// Checks that a saved map alone gives the same kinds, thread stacks as guesses; only node's small signal thread is lost.
#[test]
fn a_saved_map_is_enough() {
    for name in ALL {
        let capture = Capture::open(name);
        let alone = classify(&capture.rows, &Evidence::none(PageSize::FOUR_KIB));
        let mut lost = 0;
        for ((row, known), alone) in capture.each().zip(&alone) {
            if known.kind == Kind::ThreadStack {
                lost += usize::from(alone.kind != Kind::ThreadStack);
                assert_eq!(
                    alone.confidence == Confidence::Guess,
                    alone.kind == Kind::ThreadStack,
                    "{name} {row:?}"
                );
            } else {
                assert_eq!(alone.kind, known.kind, "{name} {row:?}");
            }
        }
        assert_eq!(lost, usize::from(name == "node"), "{name}");
    }
}
