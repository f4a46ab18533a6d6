//! `vmatlas pages` as a user runs it: on pages that this test made itself, and on programs that change meanwhile.

#![expect(clippy::unwrap_used, reason = "a test binary")]

use serde_json::Value;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use vmatlas_event::{Addr, AddrRange, Bytes, MapFlags, ProtArg};
use vmatlas_sys::mem::{Arena, Touch, touch};
use vmatlas_testkit::{Capability, Tracee, left_off, need, need_root, vmatlas_binary, vmatlas_command};

const PAGE: u64 = 4096;
const MADV_HUGEPAGE: i32 = 14;
const MADV_NOHUGEPAGE: i32 = 15;
const MADV_GUARD_INSTALL: i32 = 102;

fn command(words: &[&str]) -> Command {
    let mut command = vmatlas_command(env!("CARGO_BIN_EXE_vmatlas"));
    command.args(words);
    command
}

fn vmatlas(words: &[&str]) -> Output {
    command(words).output().unwrap()
}

fn json(words: &[&str]) -> Value {
    let output = vmatlas(words);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn me() -> String {
    std::process::id().to_string()
}

/// A mapping with flags that hardly any other has; those of other tests may lie beside it and be one VMA with it.
fn arena(pages: u64) -> Arena {
    let arena = Arena::new(Bytes(pages * PAGE), ProtArg(3), MapFlags(0x4002)).unwrap();
    let _ = arena.advise(arena.range().start(), arena.range().len(), MADV_NOHUGEPAGE);
    arena
}

fn give_back(arena: &Arena) {
    arena.unmap(arena.range().start(), arena.range().len()).unwrap();
}

/// The runs of a range as (first page, pages, what).
fn runs(document: &Value, range: AddrRange) -> Vec<(u64, u64, String)> {
    let shape = |run: &Value| {
        let start = run["start"].as_str().unwrap().trim_start_matches("0x");
        let start = u64::from_str_radix(start, 16).unwrap();
        let what = run["what"].as_str().unwrap().to_owned();
        ((start - range.start().0) / PAGE, run["pages"].as_u64().unwrap(), what)
    };
    let vmas = document["vmas"].as_array().unwrap();
    vmas.iter().flat_map(|vma| vma["runs"].as_array().unwrap()).map(shape).collect()
}

/// Checks that exactly the pages that were written, read or guarded are told, with what lies between them.
#[test]
fn known_pages_are_told() {
    if !need(Capability::PagemapScan) || vmatlas_sys::page_size().bytes() != PAGE {
        return;
    }
    // A VMA of its own: between two pages that may not be touched.
    let arena = arena(514);
    let ends = [arena.range().start(), Addr(arena.range().end().0 - PAGE)];
    ends.iter().for_each(|end| arena.protect(*end, Bytes(PAGE), ProtArg(0)).unwrap());
    let range = AddrRange::new(Addr(ends[0].0 + PAGE), ends[1]).unwrap();
    touch(range, 7, 5, Touch::Write).unwrap();
    touch(range, 100, 2, Touch::Read).unwrap();
    let guarded = arena.advise(Addr(range.start().0 + 200 * PAGE), Bytes(3 * PAGE), MADV_GUARD_INSTALL);
    let document = json(&["pages", &me(), &range.to_string(), "--json"]);
    assert_eq!(document["schema"], "vmatlas/pages/1");
    let mut expected =
        vec![(0, 7, "not-present"), (7, 5, "anonymous"), (12, 88, "not-present"), (100, 2, "zero")];
    match guarded {
        Ok(()) => expected.extend([(102, 98, "not-present"), (200, 3, "guard"), (203, 309, "not-present")]),
        // Before Linux 6.13 there are no guard markers.
        Err(_) => expected.push((102, 410, "not-present")),
    }
    let expected: Vec<_> = expected.into_iter().map(|(at, n, what)| (at, n, what.to_owned())).collect();
    assert_eq!(runs(&document, range), expected);
    assert_eq!(document["vmas"][0]["runs"][1]["exclusive"], true);
    let each = json(&["pages", &me(), &range.to_string(), "--json", "--each"]);
    let present = runs(&each, range).into_iter().filter(|(_, _, what)| what == "anonymous");
    assert_eq!(
        present.map(|(at, n, _)| (at, n)).collect::<Vec<_>>(),
        [(7, 1), (8, 1), (9, 1), (10, 1), (11, 1)]
    );
    let limited = json(&["pages", &me(), &range.to_string(), "--json", "--each", "--limit", "2"]);
    assert_eq!(runs(&limited, range).len(), 2);
    assert!(limited["left_out"]["pages"].as_u64().unwrap() > 490);
    let sum = |document: &Value| -> u64 {
        document["totals"].as_array().unwrap().iter().map(|t| t["pages"].as_u64().unwrap()).sum()
    };
    assert_eq!((sum(&document), sum(&limited)), (512, 512));
    let inside = Addr(range.start().0 + 9 * PAGE).to_string();
    let by_addr = json(&["pages", "-p", &me(), &inside, "--json"]);
    assert!(runs(&by_addr, range).iter().any(|(at, n, _)| (*at, *n) == (7, 5)));
    give_back(&arena);
}

/// Checks that huge pages are called huge, where the machine gives us some.
#[test]
fn huge_pages_are_told() {
    const HUGE: u64 = 2 << 20;
    if !need(Capability::PagemapScan) || vmatlas_sys::page_size().bytes() != PAGE {
        return;
    }
    let arena = Arena::new(Bytes(4 * HUGE), ProtArg(3), MapFlags(0x4002)).unwrap();
    let _ = arena.advise(arena.range().start(), arena.range().len(), MADV_HUGEPAGE);
    touch(arena.range(), 0, 4 * HUGE / PAGE, Touch::Write).unwrap();
    let document = json(&["pages", &me(), &arena.range().to_string(), "--json"]);
    let list = document["vmas"][0]["runs"].as_array().unwrap().clone();
    give_back(&arena);
    let Some(run) = list.iter().find(|run| run["huge"] == true) else {
        return left_off("huge pages");
    };
    assert_eq!(run["what"], "anonymous");
    assert!(run["pages"].as_u64().unwrap() >= HUGE / PAGE);
}

/// A program that writes 16 pages, forks, and writes 4 of them again; prints where they are.
const FORKS: &str = "
import ctypes, mmap, os, sys, time
m = mmap.mmap(-1, 16 * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000)
m.madvise(15)
for i in range(16): m[i * 4096] = 1
r, w = os.pipe()
if os.fork() == 0:
    os.close(w)
    os.read(r, 1)
    os._exit(0)
for i in range(4): m[i * 4096] = 2
print(ctypes.addressof(ctypes.c_char.from_buffer(m)), flush=True)
sys.stdin.read()
";

/// Checks that pages shared by fork are mapped by two, those written since by one, as root and, without numbers, to
/// everybody.
#[test]
fn pages_shared_by_fork_are_told() {
    if !need(Capability::Tool("python3")) || vmatlas_sys::page_size().bytes() != PAGE {
        return;
    }
    let mut python = Command::new("python3");
    let mut python =
        Tracee::start(python.args(["-c", FORKS]).stdin(Stdio::piped()).stdout(Stdio::piped())).unwrap();
    let at: u64 = python.read_line().unwrap().parse().unwrap();
    let range = AddrRange::from_len(Addr(at), Bytes(16 * PAGE)).unwrap();
    let words = ["pages", &python.pid().to_string(), &range.to_string(), "--json"];
    let document = json(&words);
    let list = document["vmas"][0]["runs"].as_array().unwrap().clone();
    let shape: Vec<_> = list.iter().map(|run| (run["pages"].as_u64().unwrap(), &run["exclusive"])).collect();
    assert_eq!(shape, [(4, &Value::Bool(true)), (12, &Value::Bool(false))], "{document}");
    if need_root("map counts and frame numbers") {
        let counts: Vec<_> =
            list.iter().map(|run| (&run["mapped_by_least"], &run["mapped_by_most"])).collect();
        assert_eq!(counts, [(&1.into(), &1.into()), (&2.into(), &2.into())] as [(&Value, &Value); 2]);
        let frames: u64 =
            list[1]["frames"].as_array().unwrap().iter().map(|f| f["pages"].as_u64().unwrap()).sum();
        assert_eq!(frames, 12);
        let text = vmatlas(&["pages", &python.pid().to_string(), &range.to_string()]);
        assert!(String::from_utf8(text.stdout).unwrap().contains("lru"));
    }
    assert!(python.wait().unwrap().success());
}

/// Checks that an ordinary user is told "hidden", never a number, in text, JSON and picture.
#[test]
fn frames_are_hidden_from_ordinary_users() {
    const NOBODY: u32 = 65534;
    if !need_root("becoming another user") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let binary = dir.path().join("vmatlas");
    std::fs::copy(vmatlas_binary(env!("CARGO_BIN_EXE_vmatlas")), &binary).unwrap();
    std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut sleeper = Command::new("sleep");
    let sleeper = Tracee::start(sleeper.arg("60").uid(NOBODY).gid(NOBODY).stdout(Stdio::null())).unwrap();
    let pid = sleeper.pid().to_string();
    // Its stack is there once it has begun to run.
    std::thread::sleep(std::time::Duration::from_millis(200));
    let run = |words: &[&str]| {
        let mut command = Command::new(&binary);
        command.args(["pages", &pid, "main-stack"]).args(words).uid(NOBODY).gid(NOBODY).current_dir("/");
        let output =
            command.env("LANG", "C.UTF-8").env_remove("LC_ALL").stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let document: Value = serde_json::from_str(&run(&["--json"])).unwrap();
    let list = document["vmas"][0]["runs"].as_array().unwrap();
    let present = list.iter().find(|run| run["what"] == "anonymous").unwrap();
    for key in ["frames", "mapped_by_least", "mapped_by_most", "flags"] {
        assert!(present[key].is_null(), "{present}");
        assert_eq!(present[format!("{key}_why")], "hidden");
    }
    assert_eq!(present["exclusive"], true);
    let text = run(&[]);
    assert!(text.contains("alone") && text.contains("hidden") && text.contains("CAP_SYS_ADMIN"), "{text}");
    assert!(run(&["--lang", "ja"]).contains("非公開"));
    assert!(run(&["--picture"]).contains("somewhere in physical memory"));
}

/// Checks that whatever the target does meanwhile, the document is whole and what failed is told in one line.
#[test]
fn a_changing_target_is_survived() {
    let stop = AtomicBool::new(false);
    let check = |words: &[&str]| {
        let output = vmatlas(words);
        let errors = String::from_utf8(output.stderr).unwrap();
        match output.status.code() {
            Some(0) => assert!(errors.is_empty(), "{errors}"),
            Some(1) => assert_eq!(errors.lines().count(), 1, "{errors}"),
            code => panic!("{code:?}: {errors}"),
        }
        if !output.stdout.is_empty() {
            let document: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(document["complete"], output.status.success());
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let arena = arena(64);
                touch(arena.range(), 0, 64, Touch::Write).unwrap();
                give_back(&arena);
            }
        });
        (0..10).for_each(|_| check(&["pages", &me(), "--json", "--each"]));
        stop.store(true, Ordering::Relaxed);
    });
    // Another program every few milliseconds, for a while.
    let script = "n=$1; [ $n = 0 ] && exit; exec sh -c \"$0\" \"$0\" $((n - 1))";
    let mut shell = Command::new("sh");
    let mut shell = Tracee::start(shell.args(["-c", script, script, "3000"]).stdout(Stdio::null())).unwrap();
    let pid = shell.pid().to_string();
    (0..20).for_each(|_| check(&["pages", &pid, "--json"]));
    shell.signal(9).unwrap();
    let _ = shell.wait();
    check(&["pages", &pid, "--json"]);
}

/// Checks that what is not there is told in one line, in both languages, and that wrong words are usage errors.
#[test]
fn what_is_not_there_is_told() {
    for (lang, word) in [("en", "no memory mapped at"), ("ja", "領域はありません")] {
        let output = vmatlas(&["--lang", lang, "pages", &me(), "0x1000"]);
        assert_eq!(output.status.code(), Some(1));
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(word) && text.lines().count() == 1, "{text}");
    }
    assert_eq!(vmatlas(&["pages", &me(), "nonsense"]).status.code(), Some(2));
    assert_eq!(vmatlas(&["pages"]).status.code(), Some(2));
}

/// Checks the stream of lines: the process first, each run, the totals last.
#[test]
fn lines_can_be_streamed() {
    let output = vmatlas(&["pages", &me(), "main-stack", "--jsonl"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (first, last) = (lines.first().unwrap(), lines.last().unwrap());
    assert_eq!(first["process"]["pid"].as_u64().unwrap(), u64::from(std::process::id()));
    assert!(last["totals"].is_array() && last["complete"] == true);
    assert!(lines[1..lines.len() - 1].iter().all(|run| run["kind"] == "main-stack"));
}
