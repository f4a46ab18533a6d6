//! Who else hands out memory in this process, and which command of its own tells more than any look from outside.

use super::facts::{Facts, base_name};
use super::runtimes;
use super::sheet::Sheet;
use super::{Confidence, Evidence, Why};
use vmatlas_event::{PageSize, Prot, VmaRow};

/// A runtime or allocator with memory statistics of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Runtime {
    /// jemalloc.
    Jemalloc,
    /// tcmalloc, of gperftools or its newer namesake.
    Tcmalloc,
    /// mimalloc.
    Mimalloc,
    /// The Go runtime.
    Go,
    /// HotSpot or another JVM.
    Jvm,
    /// V8: Node.js, Chromium, Deno.
    V8,
    /// CPython with pymalloc.
    Python,
}

impl Runtime {
    /// Every runtime, in the order in which hints come.
    pub const ALL: [Runtime; 7] = [
        Runtime::Jvm,
        Runtime::Go,
        Runtime::V8,
        Runtime::Python,
        Runtime::Jemalloc,
        Runtime::Tcmalloc,
        Runtime::Mimalloc,
    ];

    /// The name in JSON; it never changes.
    pub const fn id(self) -> &'static str {
        match self {
            Runtime::Jemalloc => "jemalloc",
            Runtime::Tcmalloc => "tcmalloc",
            Runtime::Mimalloc => "mimalloc",
            Runtime::Go => "go",
            Runtime::Jvm => "jvm",
            Runtime::V8 => "v8",
            Runtime::Python => "python",
        }
    }

    /// What its own manual calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Runtime::Jemalloc => "jemalloc",
            Runtime::Tcmalloc => "tcmalloc",
            Runtime::Mimalloc => "mimalloc",
            Runtime::Go => "Go",
            Runtime::Jvm => "JVM",
            Runtime::V8 => "V8",
            Runtime::Python => "CPython",
        }
    }

    /// What tells more, the most useful first: commands that ask a running process (`PID` is to be replaced), then
    /// settings to start it with and calls to make inside it.
    ///
    /// Java Diagnostic Commands; Go runtime and net/http/pprof; Node.js CLI; Python library `sys`, `tracemalloc`;
    /// jemalloc(3); gperftools docs/heapprofile.html, docs/tcmalloc.html; mimalloc readme.
    pub const fn commands(self) -> &'static [&'static str] {
        match self {
            Runtime::Jvm => &[
                "jcmd PID GC.heap_info",
                "jcmd PID VM.native_memory summary",
                "java -XX:NativeMemoryTracking=summary ...",
            ],
            Runtime::Go => &[
                "go tool pprof http://HOST:PORT/debug/pprof/heap",
                "GODEBUG=gctrace=1 PROGRAM ...",
                "runtime.ReadMemStats()",
            ],
            Runtime::V8 => &[
                "node --heapsnapshot-signal=SIGUSR2 ...",
                "node --trace-gc ...",
                "process.memoryUsage()",
                "v8.getHeapSpaceStatistics()",
            ],
            Runtime::Python => &[
                "PYTHONMALLOCSTATS=1 python3 ...",
                "python3 -X tracemalloc ...",
                "sys._debugmallocstats()",
                "tracemalloc.take_snapshot()",
            ],
            Runtime::Jemalloc => &["MALLOC_CONF=stats_print:true PROGRAM ...", "malloc_stats_print()"],
            Runtime::Tcmalloc => {
                &["MALLOCSTATS=1 PROGRAM ...", "HEAPPROFILE=FILE PROGRAM ...", "MallocExtension::GetStats()"]
            }
            Runtime::Mimalloc => &["MIMALLOC_SHOW_STATS=1 PROGRAM ...", "mi_stats_print()"],
        }
    }
}

/// A runtime that seems to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuntimeHint {
    /// Which.
    pub runtime: Runtime,
    /// How sure that is.
    pub confidence: Confidence,
    /// The row that shows it.
    pub row: usize,
}

/// Names by which allocators and runtimes label their memory: after `anon:`.
const LABELS: &[(&[u8], Runtime)] = &[
    (b" Go: ", Runtime::Go),
    (b"jemalloc_pg", Runtime::Jemalloc),
    (b"tcmalloc_region_", Runtime::Tcmalloc),
    (b"mimalloc", Runtime::Mimalloc),
    (b"cpython:", Runtime::Python),
    (b"v8", Runtime::V8),
];

/// The runtimes and allocators beside glibc's malloc that a map shows, each once, with the best proof.
///
/// One that is linked into the program without a mark of its own is not seen.
///
/// ```
/// use vmatlas_model::kind::{Runtime, runtime_hints};
/// assert_eq!(runtime_hints(&[]), []);
/// assert_eq!(Runtime::Jvm.commands()[0], "jcmd PID GC.heap_info");
/// ```
pub fn runtime_hints(rows: &[VmaRow]) -> Vec<RuntimeHint> {
    let mut hints: Vec<RuntimeHint> = Vec::new();
    for (row, vma) in rows.iter().enumerate() {
        let named = vma.special().and_then(|label| label.strip_prefix(b"anon:")).and_then(by_label);
        add(&mut hints, named, Confidence::Named, row);
        if vma.prot.has(Prot::EXEC) {
            add(&mut hints, by_file(vma.name_bytes()), Confidence::Evidence, row);
        }
    }
    let facts = Facts::gather(rows, &Evidence::none(PageSize::FOUR_KIB));
    // Named memory is none of theirs, and Go's arenas lie where mimalloc's would be guessed.
    let mut sheet = Sheet::new(rows);
    runtimes::go(&mut sheet, &facts);
    runtimes::mimalloc(&mut sheet, &facts);
    for (row, verdict) in sheet.claimed() {
        let seen = match verdict.why {
            Why::GoArena => Some(Runtime::Go),
            Why::MimallocAddress => Some(Runtime::Mimalloc),
            _ => None,
        };
        add(&mut hints, seen, verdict.confidence, row);
    }
    hints.sort_unstable_by_key(|hint| Runtime::ALL.iter().position(|runtime| *runtime == hint.runtime));
    hints
}

/// Adds what was seen, or keeps the surer of two proofs.
fn add(hints: &mut Vec<RuntimeHint>, seen: Option<Runtime>, confidence: Confidence, row: usize) {
    let Some(runtime) = seen else { return };
    match hints.iter_mut().find(|hint| hint.runtime == runtime) {
        Some(hint) if confidence < hint.confidence => *hint = RuntimeHint { runtime, confidence, row },
        Some(_) => {}
        None => hints.push(RuntimeHint { runtime, confidence, row }),
    }
}

fn by_label(label: &[u8]) -> Option<Runtime> {
    LABELS.iter().find(|(begin, _)| label.starts_with(begin)).map(|(_, runtime)| *runtime)
}

/// The runtime by a file that is mapped executable.
fn by_file(path: &[u8]) -> Option<Runtime> {
    const LIBRARIES: &[(&[u8], Runtime)] = &[
        (b"libjemalloc", Runtime::Jemalloc),
        (b"libtcmalloc", Runtime::Tcmalloc),
        (b"libmimalloc", Runtime::Mimalloc),
    ];
    if !path.starts_with(b"/") {
        return None;
    }
    let name = base_name(path);
    let mut facts = Facts::empty();
    facts.runtime(name);
    if facts.jvm {
        return Some(Runtime::Jvm);
    }
    if facts.v8 {
        return Some(Runtime::V8);
    }
    if facts.python {
        return Some(Runtime::Python);
    }
    LIBRARIES.iter().find(|(begin, _)| name.starts_with(begin)).map(|(_, runtime)| *runtime)
}

#[cfg(test)]
mod tests {
    use super::super::tests::parse;
    use super::*;

    fn hints(text: &str) -> Vec<(Runtime, Confidence, usize)> {
        runtime_hints(&parse(text))
            .into_iter()
            .map(|hint| (hint.runtime, hint.confidence, hint.row))
            .collect()
    }

    /// Checks that each runtime is known by its executable file, also after an upgrade, and by nothing less.
    #[test]
    fn files_tell() {
        for (path, runtime) in [
            ("/usr/lib/jvm/java-17/lib/server/libjvm.so", Runtime::Jvm),
            ("/usr/bin/node (deleted)", Runtime::V8),
            ("/opt/chrome", Runtime::V8),
            ("/usr/bin/python3.11", Runtime::Python),
            ("/usr/lib/libpython3.11.so.1.0", Runtime::Python),
            ("/usr/lib/libjemalloc.so.2", Runtime::Jemalloc),
            ("/usr/lib/libtcmalloc_minimal.so.4", Runtime::Tcmalloc),
            ("/usr/lib/libmimalloc.so.2.0", Runtime::Mimalloc),
        ] {
            let code = format!("1000-2000 r--p 0 08:01 7 {path}\n2000-3000 r-xp 0 08:01 7 {path}\n");
            assert_eq!(hints(&code), [(runtime, Confidence::Evidence, 1)], "{path}");
            assert_eq!(hints(&format!("1000-2000 r--p 0 08:01 7 {path}\n")), [], "{path} as data");
        }
        assert_eq!(hints("1000-2000 r-xp 0 08:01 7 /usr/lib/libc.so.6\n"), []);
    }

    /// Checks that labels are the surest proof, that a file cannot have one, and that each runtime comes once.
    #[test]
    fn labels_tell_best() {
        let text = "1000-2000 r-xp 0 08:01 7 /usr/lib/libjemalloc.so.2\n\
                    3000-4000 rw-p 0 00:00 0 [anon:jemalloc_pg]\n5000-6000 rw-p 0 00:00 0 [anon:jemalloc_pg]\n";
        assert_eq!(hints(text), [(Runtime::Jemalloc, Confidence::Named, 1)]);
        assert_eq!(hints("1000-2000 rw-p 0 08:01 7 [anon:jemalloc_pg]\n"), []);
        assert_eq!(
            hints("1000-2000 rw-p 0 00:00 0 [anon: Go: heap]\n"),
            [(Runtime::Go, Confidence::Named, 0)]
        );
    }

    /// Checks that Go and a linked-in mimalloc are known by where their memory lies, one not mistaken for the other.
    #[test]
    fn layouts_tell() {
        let go = "c000000000-c000400000 rw-p 0 00:00 0\nc000400000-c004000000 ---p 0 00:00 0\n";
        assert_eq!(hints(go), [(Runtime::Go, Confidence::Evidence, 0)]);
        let late = "40000000000-40000400000 rw-p 0 00:00 0\n7f0000500000-7f0000501000 rw-p 0 00:00 0\n";
        assert_eq!(hints(late), [(Runtime::Mimalloc, Confidence::Guess, 0)]);
        let go_later = "3c000000000-3c000400000 rw-p 0 00:00 0\n3c000400000-3c004000000 ---p 0 00:00 0\n\
                        7f0000500000-7f0000501000 rw-p 0 00:00 0\n";
        assert_eq!(hints(go_later), [(Runtime::Go, Confidence::Evidence, 0)]);
    }

    /// Checks that every runtime has an identifier of its own and something to run.
    #[test]
    fn every_runtime_tells_more() {
        for (index, runtime) in Runtime::ALL.into_iter().enumerate() {
            assert!(!runtime.commands().is_empty());
            assert!(Runtime::ALL[..index].iter().all(|other| other.id() != runtime.id()));
        }
    }
}
