//! `vmatlas rss` as a user runs it: the sheet of a program that stands still equals what the kernel says of it.

#![expect(clippy::unwrap_used, reason = "a test binary")]

use serde_json::Value;
use std::process::{Command, Output, Stdio};
use vmatlas_testkit::{Capability, Tracee, need, need_root, vmatlas_command};

const SIGSTOP: i32 = 19;

fn vmatlas(words: &[&str]) -> Output {
    vmatlas_command(env!("CARGO_BIN_EXE_vmatlas")).args(words).output().unwrap()
}

fn json(words: &[&str]) -> Value {
    let output = vmatlas(words);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text(words: &[&str]) -> String {
    let output = vmatlas(words);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Touches MIB MiB of private memory; a child, which ends with its parent, then writes the first half of it.
const FAMILY: &str = "
import mmap, os, sys
size = int(sys.argv[1]) << 20
memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for at in range(0, size, 4096): memory[at] = 1
read, write = os.pipe()
if os.fork() == 0:
    os.close(write)
    for at in range(0, size // 2, 4096): memory[at] = 2
    print('ready', flush=True)
    os.read(read, 1)
    os._exit(0)
os.close(read)
sys.stdin.read()
";

/// A program that has touched this many MiB of its own and stands still, and its child.
fn stopped(mib: u64) -> Tracee {
    let mut command = Command::new("python3");
    command.args(["-c", FAMILY, &mib.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut subject = Tracee::start(&mut command).unwrap();
    assert_eq!(subject.read_line().unwrap().trim(), "ready");
    subject.signal(SIGSTOP).unwrap();
    subject
}

fn has_python() -> bool {
    need(Capability::Tool("python3"))
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// Checks that the lines add up to the sum, and the sum to smaps_rollup, to the byte, for a program that is stopped.
#[test]
fn the_sheet_equals_the_kernels_own_walk() {
    if !need(Capability::PagemapScan) || !has_python() {
        return;
    }
    let subject = stopped(8);
    let sheet = json(&["rss", &subject.pid().to_string(), "--rollup", "--json"]);
    assert_eq!(sheet["schema"], "vmatlas/rss/1");
    let lines = sheet["lines"].as_array().unwrap();
    for key in ["size", "resident", "anonymous", "file", "swapped", "touched"] {
        let sum: u64 = lines.iter().map(|line| number(&line[key])).sum();
        assert_eq!(sum, number(&sheet["sum"][key]), "{key}");
    }
    assert_eq!(sheet["against_rollup"]["remainder"], 0);
    assert_eq!(sheet["sum"]["resident"], sheet["kernel"]["rollup_rss"]);
    assert!(number(&sheet["sum"]["resident"]) > 8 << 20);
    let sorted: Vec<u64> = lines.iter().map(|line| number(&line["resident"])).collect();
    assert!(sorted.is_sorted_by(|a, b| a >= b), "{sorted:?}");
}

/// Checks that without --rollup the kernel is not made to walk, and that this is told as not read.
#[test]
fn the_rollup_is_read_only_when_asked_for() {
    if !has_python() {
        return;
    }
    let subject = stopped(1);
    let pid = subject.pid().to_string();
    let sheet = json(&["rss", &pid, "--json"]);
    assert_eq!((&sheet["kernel"]["rollup_rss"], &sheet["against_rollup"]), (&Value::Null, &Value::Null));
    assert!(text(&["rss", &pid]).contains("not read (--rollup"));
    assert!(text(&["rss", &pid, "--lang", "ja"]).contains("未取得"));
}

/// Checks that a profiler's figure is set beside what it can and cannot contain, which together is all there is.
#[test]
fn a_profiler_is_answered() {
    if !has_python() {
        return;
    }
    let subject = stopped(4);
    let pid = subject.pid().to_string();
    let sheet = json(&["rss", &pid, "--profiler-total", "1MiB", "--json"]);
    let profiler = &sheet["profiler"];
    let parts = ["can_contain", "may_contain_in_part", "cannot_contain"];
    let sum: u64 = parts.iter().map(|key| number(&profiler[key])).sum();
    assert_eq!(sum, number(&sheet["sum"]["resident"]) + number(&sheet["sum"]["hugetlb"]));
    assert!(number(&profiler["beyond_most"]) >= 3 << 20, "{profiler}");
    assert!(text(&["rss", &pid, "--profiler-total", "1MiB"]).contains("it cannot contain"));
}

/// Checks that a line opens to its VMAs, and that one which is not there is said to be.
#[test]
fn a_line_opens() {
    if !has_python() {
        return;
    }
    let subject = stopped(1);
    let pid = subject.pid().to_string();
    let opened = text(&["rss", &pid, "--line", "image"]);
    assert!(opened.contains("libc.so") && !opened.contains("[stack]"), "{opened}");
    let absent = vmatlas(&["rss", &pid, "--line", "aio"]);
    assert_eq!(absent.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&absent.stderr).contains("no memory of kind 'AIO ring'"));
}

/// Checks that a family counts each frame once: a parent with 8 MiB of which its child has written one half.
#[test]
fn a_family_counts_each_frame_once() {
    const HALF: u64 = 4 << 20;
    if !need_root("frames are shown to root alone") || !has_python() {
        return;
    }
    let subject = stopped(8);
    let family = json(&["rss", "--tree", &subject.pid().to_string(), "--json"]);
    assert_eq!(family["schema"], "vmatlas/rss-family/1");
    let members = family["members"].as_array().unwrap();
    assert_eq!(members.len(), 2, "{family}");
    assert_eq!(members[1]["parent"], members[0]["pid"]);
    let copies = family["copies"].as_array().unwrap();
    let copied =
        copies.iter().find(|c| number(&c["copied"]) + number(&c["still_shared"]) >= 2 * HALF).unwrap();
    assert_eq!((number(&copied["copied"]), number(&copied["still_shared"])), (HALF, HALF), "{copied}");
    let (one, sum) = (number(&family["as_one"]), number(&family["sum_of_rss"]));
    assert!(one + HALF <= sum, "{one} as one, {sum} in sum");
    let sharing: u64 =
        family["sharing"].as_array().unwrap().iter().map(|entry| number(&entry["bytes"])).sum();
    assert_eq!(sharing, one);
    assert!(text(&["rss", "--tree", &subject.pid().to_string()]).contains("Inherited by fork"));
}

/// Checks that frames which are hidden are told as hidden, and the members all the same.
#[test]
fn hidden_frames_are_hidden() {
    if vmatlas_sys::effective_uid() == 0 {
        eprintln!("SKIPPED: root sees all frames; the ordinary user's run of the tests checks this");
        return;
    }
    if !has_python() {
        return;
    }
    let subject = stopped(1);
    let family = json(&["rss", "--tree", &subject.pid().to_string(), "--json"]);
    assert_eq!((&family["as_one"], &family["as_one_why"]), (&Value::Null, &"hidden".into()));
    assert_eq!(family["members"].as_array().unwrap().len(), 2);
    let sheet = json(&["rss", &subject.pid().to_string(), "--pss", "--json"]);
    assert_eq!(sheet["sum"]["pss"], Value::Null);
    assert_eq!(sheet["sum"]["pss_why"], "hidden");
    assert!(text(&["rss", &subject.pid().to_string(), "--pss"]).contains("PSS and USS are hidden"));
}

/// Checks that what cannot be meant is refused with one line.
#[test]
fn what_is_not_there_is_refused() {
    for (words, says) in [
        (&["rss", "--cgroup", "/no/such/cgroup"][..], "no memory cgroup"),
        (&["rss", "--tree", "2147483647"], "no process"),
        (&["rss", "2147483647"], "no process"),
    ] {
        let output = vmatlas(words);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
        assert!(said.contains(says), "{said}");
    }
    assert_eq!(vmatlas(&["rss", "--tree", "1", "--line", "heap"]).status.code(), Some(2));
}

/// Checks that in a PID namespace with the /proc of another one, whose numbers are not ours, nothing is read by number:
/// the memory of quite another process would be told.
#[test]
fn numbers_of_another_namespace_are_not_used() {
    if !need_root("making a PID namespace") || !need(Capability::Tool("unshare")) {
        return;
    }
    let sleeper = Tracee::start(Command::new("sleep").arg("60").stdout(Stdio::null())).unwrap();
    let settled = || {
        std::fs::read_to_string(format!("/proc/{}/smaps", sleeper.pid()))
            .is_ok_and(|text| text.contains("[heap]"))
    };
    assert!(vmatlas_testkit::wait_until(settled, std::time::Duration::from_secs(10)));
    let pid = sleeper.pid().to_string();
    let binary = vmatlas_testkit::vmatlas_binary(env!("CARGO_BIN_EXE_vmatlas"));
    let output = Command::new("unshare")
        .args(["--pid", "--fork"])
        .arg(binary)
        .args(["rss", &pid, "--json"])
        .output()
        .unwrap();
    let sheet: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(number(&sheet["sum"]["resident"]) > 0);
    assert_eq!(
        (&sheet["malloc"]["arenas"], &sheet["malloc"]["unknown_why"]),
        (&Value::Array(Vec::new()), &"unsupported".into())
    );
}

/// Checks that malloc is looked into also where the first thread has ended and another one lives.
#[test]
fn malloc_of_a_zombie_leader() {
    if !has_python() {
        return;
    }
    // Python ends its threads with the first one, so that one is ended by the system call alone (exit, 60).
    const PROGRAM: &str = "import ctypes, threading, time\n\
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n\
        print('ready', flush=True); ctypes.CDLL(None).syscall(60, 0)";
    let mut command = Command::new("python3");
    let mut python = Tracee::start(command.args(["-c", PROGRAM]).stdout(Stdio::piped())).unwrap();
    assert_eq!(python.read_line().unwrap(), "ready");
    let stat = format!("/proc/{}/stat", python.pid());
    let is_zombie = || std::fs::read_to_string(&stat).is_ok_and(|text| text.contains(") Z "));
    assert!(vmatlas_testkit::wait_until(is_zombie, std::time::Duration::from_secs(10)));
    let sheet = json(&["rss", &python.pid().to_string(), "--json"]);
    let main = &sheet["malloc"]["arenas"][0];
    assert!(main["main"] == true && number(&main["system"]) > 0, "{}", sheet["malloc"]);
}

/// Checks a child of vfork, which has the very memory of its parent: it is told once, and nothing of it is a copy.
#[test]
fn a_vfork_child_has_the_memory_of_its_parent() {
    if !has_python() {
        return;
    }
    // Forks as vfork does (clone: CLONE_VM 0x100, SIGCHLD 17), on a stack of its own, but both go on.
    const PROGRAM: &str = "import ctypes, mmap\n\
        libc = ctypes.CDLL(None); stack = ctypes.create_string_buffer(1 << 16)\n\
        top = ctypes.c_void_p(ctypes.addressof(stack) + (1 << 16) - 64)\n\
        libc.clone(libc.sleep, top, 0x100 | 17, ctypes.c_void_p(60))\n\
        print('ready', flush=True); libc.sleep(60)";
    let mut command = Command::new("python3");
    let mut python = Tracee::start(command.args(["-c", PROGRAM]).stdout(Stdio::piped())).unwrap();
    assert_eq!(python.read_line().unwrap(), "ready");
    let pid = python.pid().to_string();
    let family = json(&["rss", "--tree", &pid, "--json"]);
    let members = family["members"].as_array().unwrap();
    assert_eq!(members.len(), 2, "{family}");
    assert_eq!(
        (&members[0]["same_memory_as"], &members[1]["same_memory_as"]),
        (&Value::Null, &members[0]["pid"])
    );
    assert_eq!(family["sum_of_rss"], members[0]["rss"]);
    assert!(family["copies"].as_array().is_none_or(Vec::is_empty));
    assert!(text(&["rss", "--tree", &pid]).contains("vfork"));
    let child = vmatlas_event::Pid(i32::try_from(members[1]["pid"].as_i64().unwrap()).unwrap());
    drop(python);
    vmatlas_sys::kill(child, 9).unwrap_or_default();
}

/// Holds 48 MiB in three big blocks of malloc, and a shared mapping of 4 MiB twice, half of it touched at both places.
const BLOCKS: &str = "
import mmap, os, sys
blocks = [bytearray(b'x' * (16 << 20)) for _ in range(3)]
fd = os.memfd_create('twice')
os.ftruncate(fd, 4 << 20)
for view in (mmap.mmap(fd, 4 << 20), mmap.mmap(fd, 4 << 20)):
    for at in range(0, 2 << 20, 4096): view[at] = 1
    blocks.append(view)
print('ready', flush=True)
sys.stdin.read()
";

/// Checks that malloc's big blocks are found in memory of unknown use, and shared pages that are mapped again.
#[test]
fn big_blocks_and_pages_mapped_again_are_told() {
    if !need(Capability::PagemapScan) || !has_python() {
        return;
    }
    let mut command = Command::new("python3");
    // Blocks of this size have mappings of their own, whatever was freed before.
    command.env("MALLOC_MMAP_THRESHOLD_", "1048576").args(["-c", BLOCKS]);
    let mut subject = Tracee::start(command.stdin(Stdio::piped()).stdout(Stdio::piped())).unwrap();
    assert_eq!(subject.read_line().unwrap().trim(), "ready");
    let pid = subject.pid().to_string();
    let sheet = json(&["rss", &pid, "--json", "--profiler-total", "1"]);
    assert_eq!(number(&sheet["mapped_again_most"]), 2 << 20);
    if sheet["malloc"]["arenas"].as_array().is_none_or(Vec::is_empty) {
        return;
    }
    let malloc = |key: &str| number(&sheet["malloc"][key]);
    assert!(
        malloc("mapped") >= 48 << 20 && malloc("mapped_found") <= malloc("mapped"),
        "{}",
        sheet["malloc"]
    );
    assert!(malloc("mapped_resident") >= 48 << 20, "{}", sheet["malloc"]);
    assert!(number(&sheet["profiler"]["can_contain"]) >= malloc("mapped_resident"));
    let text = text(&["rss", &pid]);
    assert!(text.contains("malloc's big blocks") && text.contains("the same file pages again"), "{text}");
}
