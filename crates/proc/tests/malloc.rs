//! The look into malloc against glibc's own account of itself (malloc_info(3)), on living programs.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test binary")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use vmatlas_proc::malloc::{ArenaReport, GlibcReport, Limits, Presence, look};
use vmatlas_proc::{MapsReader, ProcRoot, Process};
use vmatlas_testkit::{Capability, Tracee, left_off, need};

/// What malloc_info(3) says of one arena: fast chunks, other free ones without top, and what came from the kernel.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    fast: (u64, u64),
    rest: (u64, u64),
    system: u64,
}

/// Reads the text of malloc_info(3); the last is the sum of all arenas, and the pair the chunks with own mappings.
fn told(text: &str) -> (Vec<Told>, (u64, u64)) {
    let number = |line: &str, name: &str| -> u64 {
        let (_, rest) = line.split_once(&format!("{name}=\"")).unwrap_or_else(|| panic!("{name} in {line}"));
        rest.split('"').next().unwrap().parse().unwrap()
    };
    let (mut all, mut fast, mut rest, mut mapped) = (Vec::new(), (0, 0), (0, 0), (0, 0));
    for line in text.lines() {
        let pair = |line: &str| (number(line, "count"), number(line, "size"));
        if line.starts_with("<total type=\"fast\"") {
            fast = pair(line);
        } else if line.starts_with("<total type=\"rest\"") {
            // Counts top as a chunk; adds up sizes with their PREV_INUSE bit, except that of top.
            let (count, size) = pair(line);
            rest = (count - 1, size - (count - 1));
        } else if line.starts_with("<total type=\"mmap\"") {
            mapped = pair(line);
        } else if line.starts_with("<system type=\"current\"") {
            all.push(Told { fast, rest, system: number(line, "size") });
        }
    }
    all.pop();
    (all, mapped)
}

fn found(arena: &ArenaReport) -> Told {
    let (fast, bins) = (arena.fast.unwrap(), arena.bins.unwrap());
    Told {
        fast: (fast.count, fast.bytes.0),
        rest: (bins.count, bins.bytes.0 + arena.top.unwrap().0),
        system: arena.system.unwrap().0,
    }
}

/// The subject, compiled once for all tests of this program.
fn subject() -> Option<&'static Path> {
    static BUILT: OnceLock<Option<tempfile::TempDir>> = OnceLock::new();
    static PROGRAM: OnceLock<std::path::PathBuf> = OnceLock::new();
    let folder = BUILT.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/malloc_subject.c");
        let mut cc = Command::new("cc");
        cc.args(["-O1", "-pthread", "-o"]).arg(folder.path().join("subject")).arg(source);
        // A libc that is not glibc has no malloc_info.
        cc.status().is_ok_and(|status| status.success()).then_some(folder)
    });
    let folder = folder.as_ref()?;
    Some(PROGRAM.get_or_init(|| folder.path().join("subject")))
}

/// Starts the subject; what it printed before it was ready.
fn start(args: &[&str]) -> Option<(Tracee, String)> {
    if !need(Capability::Tool("cc")) {
        return None;
    }
    let Some(program) = subject() else {
        left_off("a C compiler for glibc");
        return None;
    };
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut tracee = Tracee::start(&mut command).unwrap();
    let mut text = String::new();
    loop {
        match tracee.read_line().unwrap().as_str() {
            "ready" => return Some((tracee, text)),
            line => text.extend([line, "\n"]),
        }
    }
}

fn open(tracee: &Tracee) -> Process {
    ProcRoot::system().process(tracee.pid()).unwrap()
}

fn report(process: &Process) -> GlibcReport {
    let rows = MapsReader::new().read(process).unwrap().rows;
    let limits = Limits { deadline: Duration::from_secs(30), ..Limits::default() };
    look(process, &rows, limits).unwrap()
}

/// Checks every arena's figures against malloc_info: the main arena alone, several, and arenas of several heaps.
#[test]
fn figures_are_those_of_malloc_info() {
    for (threads, chunks, largest) in [("0", "5000", "5000"), ("4", "3000", "20000"), ("2", "4000", "100000")]
    {
        let Some((tracee, text)) = start(&[threads, chunks, largest]) else { return };
        let report = report(&open(&tracee));
        let (arenas, mapped) = told(&text);
        assert_eq!(report.presence, Presence::Found);
        assert_eq!(report.missing_arenas, None);
        assert_eq!(report.arenas.iter().map(found).collect::<Vec<_>>(), arenas, "{threads} threads");
        assert!(report.arenas.iter().all(|arena| arena.steady && arena.attached_threads == Ok(1)));
        let own = report.mapped.unwrap();
        assert_eq!((own.count, own.bytes.0), mapped);
        let found: u64 = report.mapped_at.as_ref().unwrap().iter().map(|range| range.len().0).sum();
        assert_eq!(found, mapped.1, "big chunks that were found");
        assert_eq!(report.thread_caches.of, Ok(arenas.len() as u64));
        assert!(report.thread_caches.chunks.unwrap().bytes < report.used().unwrap());
        if largest == "100000" {
            assert!(report.arenas[1].heaps.as_ref().unwrap().len() > 1, "{:?}", report.arenas[1]);
        }
        let pages: u64 = report.free_ranges().unwrap().iter().map(|range| range.len().0).sum();
        assert!(pages > 0 && pages <= report.free().unwrap().0);
    }
}

/// Checks a main arena in pieces: its brk heap could not grow, so it went on in mappings.
#[test]
fn a_main_arena_in_pieces_is_read() {
    let Some((tracee, text)) = start(&["1", "5000", "5000", "blocked"]) else { return };
    let report = report(&open(&tracee));
    assert_eq!(report.arenas.iter().map(found).collect::<Vec<_>>(), told(&text).0);
    assert!(report.arenas[0].heaps.as_ref().unwrap().len() > 1);
}

/// What smaps says, without what others change (who else maps the pages of libc) and what reading does change: a page
/// that is read counts as referenced.
fn smaps(process: &Process) -> Vec<String> {
    const OTHERS: [&str; 4] = ["Referenced:", "Pss", "Shared_", "Private_"];
    let text = String::from_utf8(std::fs::read(format!("/proc/{}/smaps", process.pid())).unwrap()).unwrap();
    let own = |line: &&str| !OTHERS.iter().any(|field| line.starts_with(field));
    text.lines().filter(own).map(str::to_owned).collect()
}

/// Checks that looking brings no page into the target: its smaps before and after are the same.
#[test]
fn looking_leaves_the_target_as_it_is() {
    // Chunks of up to 100 kB, of which only the first 20 kB are written.
    let Some((tracee, _)) = start(&["2", "1000", "100000"]) else { return };
    let process = open(&tracee);
    let before = smaps(&process);
    let report = report(&process);
    let after = smaps(&process);
    let changed: Vec<_> = before.iter().zip(&after).filter(|(before, after)| before != after).collect();
    assert!(changed.is_empty() && before.len() == after.len(), "{changed:?}");
    assert!(report.used().is_ok());
}

/// Checks that a program which goes on allocating is read in bounded time, and that what is told does not contradict
/// itself.
#[test]
fn a_busy_program_is_read_or_unknown() {
    let Some((tracee, _)) = start(&["3", "20000", "3000", "busy"]) else { return };
    let process = open(&tracee);
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(1) {
        let report = report(&process);
        assert!(matches!(report.presence, Presence::Found | Presence::NotFound(_)));
        for arena in &report.arenas {
            assert!(arena.used().is_ok() || arena.trouble().is_some());
            assert_eq!(arena.free_ranges.is_ok(), arena.bins.is_ok());
        }
    }
}

/// Checks that a program which ends in the middle is an error or unknown, and nothing else.
#[test]
fn a_program_that_ends_is_told() {
    let Some((tracee, _)) = start(&["3", "20000", "3000", "busy"]) else { return };
    let process = open(&tracee);
    let rows = MapsReader::new().read(&process).unwrap().rows;
    drop(tracee);
    assert!(look(&process, &rows, Limits::default()).is_err());
}

/// Checks a program that nobody wrote for this test, asked by a debugger while it stands still.
#[test]
fn python_agrees_through_gdb() {
    let tools = ["gdb", "python3"].map(Capability::Tool);
    if !tools.into_iter().all(need) || !need(Capability::Ptrace) {
        return;
    }
    let script = "import sys\nx = [('k%d' % i) * (i % 50) for i in range(50000)]\ndel x[::3]\nprint('ready', flush=True)\n\
                  sys.stdin.read()";
    let mut command = Command::new("python3");
    command.args(["-c", script]).env("PYTHONMALLOC", "malloc");
    let mut python = Tracee::start(command.stdin(Stdio::piped()).stdout(Stdio::piped())).unwrap();
    assert_eq!(python.read_line().unwrap(), "ready");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("malloc_info");
    // The file's buffer is allocated by the first write, so that nothing changes between our look and theirs.
    let mut command = Command::new("gdb");
    command.args(["-nx", "-batch", "-p", &python.pid().to_string(), "-ex", "set language c", "-ex"]);
    command.arg(format!(
        "set $f = ((void *(*)(const char *, const char *)) fopen)(\"{}\", \"w\")",
        file.display()
    ));
    command.args(["-ex", "print ((int (*)(const char *, void *)) fputs)(\"\\n\", $f)"]);
    command.args([
        "-ex",
        "shell echo paused; read go",
        "-ex",
        "print ((int (*)(int, void *)) malloc_info)(0, $f)",
    ]);
    command.args(["-ex", "print ((int (*)(void *)) fclose)($f)"]);
    command.env_remove("LD_LIBRARY_PATH").stderr(Stdio::null());
    let mut gdb = Tracee::start(command.stdin(Stdio::piped()).stdout(Stdio::piped())).unwrap();
    loop {
        match gdb.read_line() {
            Ok(line) if line == "paused" => break,
            Ok(_) => {}
            Err(_) => return left_off("gdb that can call functions of python3"),
        }
    }
    let report = report(&open(&python));
    gdb.write_line("go").unwrap();
    gdb.wait().unwrap();
    let (arenas, mapped) = told(&std::fs::read_to_string(file).unwrap());
    if arenas.is_empty() {
        return left_off("gdb that can call functions of python3");
    }
    assert_eq!(report.arenas.iter().map(found).collect::<Vec<_>>(), arenas);
    assert_eq!(report.mapped.map(|own| (own.count, own.bytes.0)), Ok(mapped));
}
