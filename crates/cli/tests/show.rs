//! `vmatlas show` as a user runs it: on this very test process, and on programs that are hard to show.

#![expect(clippy::unwrap_used, reason = "a test binary")]

use serde_json::Value;
use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use vmatlas_event::{Addr, AddrRange, Bytes, MapFlags, ProtArg};
use vmatlas_sys::mem::{Arena, MmapArgs, Touch, map, touch};
use vmatlas_testkit::{Capability, Tracee, need, oracle, vmatlas_binary, vmatlas_command, wait_until};

fn vmatlas(words: &[&str]) -> Output {
    vmatlas_command(env!("CARGO_BIN_EXE_vmatlas")).args(words).output().unwrap()
}

fn json(words: &[&str]) -> Value {
    let output = vmatlas(words);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn me() -> String {
    std::process::id().to_string()
}

/// The one line that a failing command says, without the prefix.
fn complaint(words: &[&str]) -> String {
    let output = vmatlas(words);
    assert_eq!(output.status.code(), Some(1), "{words:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(output.stdout.is_empty());
    text.strip_prefix("vmatlas: ").unwrap().trim_end().to_owned()
}

/// A process that sleeps and does nothing else, so that its map stays as it is.
fn sleeper() -> Tracee {
    let sleeper = Tracee::start(Command::new("sleep").arg("60").stdout(Stdio::null())).unwrap();
    let maps = || oracle::maps(sleeper.pid()).unwrap_or_default();
    // Its libraries are mapped when it sleeps: two readings in a row are equal then.
    let settled = || {
        let first = maps();
        std::thread::sleep(Duration::from_millis(50));
        first.len() > 10 && first == maps()
    };
    assert!(wait_until(settled, Duration::from_secs(10)));
    sleeper
}

/// Checks that what is shown is what /proc has, VMA by VMA, read by a parser of its own.
#[test]
fn the_map_equals_proc() {
    let sleeper = sleeper();
    let shown = json(&["show", &sleeper.pid().to_string(), "--json"]);
    assert_eq!(shown["schema"], "vmatlas/show/1");
    let lines = oracle::maps(sleeper.pid()).unwrap();
    let vmas = shown["vmas"].as_array().unwrap();
    assert_eq!(vmas.len(), lines.len());
    for (vma, line) in vmas.iter().zip(&lines) {
        assert_eq!(vma["start"], format!("{:#x}", line.start));
        assert_eq!(vma["end"], format!("{:#x}", line.end));
        assert_eq!(vma["name"].as_str().unwrap().as_bytes(), line.name);
    }
    assert_eq!(shown["process"]["vmas"], lines.len());
    let sizes: u64 = shown["totals"].as_array().unwrap().iter().map(|t| t["size"].as_u64().unwrap()).sum();
    assert_eq!(sizes, lines.iter().map(|l| l.end - l.start).sum::<u64>());
}

/// Checks that resident sizes are those of smaps, for every VMA of a process that sleeps.
#[test]
fn resident_sizes_equal_smaps() {
    if !need(Capability::PagemapScan) {
        return;
    }
    let sleeper = sleeper();
    let shown = json(&["show", &sleeper.pid().to_string(), "--json"]);
    let smaps = fs::read_to_string(format!("/proc/{}/smaps", sleeper.pid())).unwrap();
    let rss: Vec<u64> = smaps
        .lines()
        .filter_map(|line| line.strip_prefix("Rss:"))
        .map(|rest| rest.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() * 1024)
        .collect();
    let vmas = shown["vmas"].as_array().unwrap();
    assert_eq!(vmas.len(), rss.len());
    for (vma, rss) in vmas.iter().zip(rss) {
        if vma["name"] != "[vsyscall]" {
            assert_eq!(vma["resident"], rss, "{vma}");
        }
    }
}

/// Checks that any columns can be chosen, that frames are told to root and hidden from others, never 0.
#[test]
fn columns_are_told_or_say_why() {
    if !need(Capability::PagemapScan) {
        return;
    }
    let sleeper = sleeper();
    let pid = sleeper.pid().to_string();
    let shown = json(&["show", &pid, "--json", "--columns", "private,shared,pss,active,dirty,locked"]);
    let is_root = vmatlas_sys::effective_uid() == 0;
    for vma in shown["vmas"].as_array().unwrap().iter().filter(|vma| vma["resident"].as_u64() > Some(0)) {
        let sum = vma["private"].as_u64().unwrap() + vma["shared"].as_u64().unwrap();
        assert_eq!(Some(sum), vma["resident"].as_u64(), "{vma}");
        let hidden_pss = !is_root && vma["shared"].as_u64() > Some(0);
        assert_eq!(vma["pss"].is_null(), hidden_pss, "{vma}");
        assert!(!hidden_pss || vma["pss_why"] == "hidden", "{vma}");
        assert_eq!(vma["active"].is_null(), !is_root, "{vma}");
        assert_eq!((vma["dirty"].is_null(), vma["dirty_why"].as_str()), (true, Some("unknown")), "{vma}");
        assert_eq!(vma["locked"], 0, "{vma}");
    }
    let text = String::from_utf8(vmatlas(&["show", &pid, "--columns", "pss,name"]).stdout).unwrap();
    assert_eq!(text.contains("hidden"), !is_root, "{text}");
    let all = vmatlas(&["show", &pid, "--columns", "all", "--lang", "ja"]);
    assert!(all.status.success() && String::from_utf8(all.stdout).unwrap().contains("専有"));
}

/// Checks that smaps is announced before it is read, shown under the kernel's keys, and equal to what we found.
#[test]
fn smaps_stands_beside_ours() {
    if !need(Capability::PagemapScan) {
        return;
    }
    let sleeper = sleeper();
    let pid = sleeper.pid().to_string();
    let output = vmatlas(&["show", &pid, "--json", "--smaps", "--columns", "flags,dirty"]);
    assert!(String::from_utf8(output.stderr).unwrap().starts_with("vmatlas: reading smaps, which holds"));
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    for vma in shown["vmas"].as_array().unwrap().iter().filter(|vma| vma["name"] != "[vsyscall]") {
        assert_eq!(vma["resident"], vma["smaps"]["Rss"], "{vma}");
        assert_eq!(vma["anonymous"], vma["smaps"]["Anonymous"], "{vma}");
        assert!(vma["smaps"]["VmFlags"].as_array().unwrap().iter().any(|flag| flag == "mr"), "{vma}");
        assert!(vma["dirty"].is_u64(), "{vma}");
    }
    let text = String::from_utf8(vmatlas(&["show", &pid, "--smaps"]).stdout).unwrap();
    assert!(text.contains("SMAPS RSS") && !text.contains('≠'), "{text}");
}

/// Checks that VMAs made of one area, in turn writable and not, are counted, and that look-alikes are found.
#[test]
fn the_map_count_is_a_budget() {
    let page = vmatlas_sys::page_size().bytes();
    let arena = Arena::new(Bytes(8 * page), ProtArg(3), MapFlags(0x4002)).unwrap();
    // Not to be dumped: a flag that no line of the map shows.
    arena.advise(Addr(arena.range().start().0 + 2 * page), Bytes(2 * page), 16).unwrap();
    let shown = json(&["show", &me(), "--map-count", "--json", "--smaps"]);
    assert_eq!(shown["schema"], "vmatlas/map-count/1");
    let budget = &shown["map_count"];
    let counted: u64 =
        budget["kinds"].as_array().unwrap().iter().map(|kind| kind["count"].as_u64().unwrap()).sum();
    assert_eq!(budget["vmas"], counted);
    let alike = budget["look_alikes"].as_array().unwrap();
    assert!(alike.iter().any(|a| a["why"] == "flags" && a["flags"] == "dd"), "{alike:?}");
    let text = String::from_utf8(vmatlas(&["show", &me(), "--map-count"]).stdout).unwrap();
    assert!(text.contains("vm.max_map_count") && text.contains("--smaps tells"), "{text}");
    arena.unmap(arena.range().start(), arena.range().len()).unwrap();
}

/// Checks that exactly the touched pages are resident, and what each kind of mapping is called.
#[test]
fn touched_pages_and_kinds() {
    let page = vmatlas_sys::page_size().bytes();
    // Guards keep it apart: glibc makes its thread arenas of the same flags, NORESERVE too.
    let guarded = Arena::new(Bytes(514 * page), ProtArg(0), MapFlags(0x4002)).unwrap();
    let inner = AddrRange::from_len(Addr(guarded.range().start().0 + page), Bytes(512 * page)).unwrap();
    guarded.protect(inner.start(), inner.len(), ProtArg(3)).unwrap();
    let shared = Arena::new(Bytes(3 * page), ProtArg(3), MapFlags(1)).unwrap();
    let reserved = Arena::new(Bytes(1 << 30), ProtArg(0), MapFlags(0x4002)).unwrap();
    let jit = Arena::new(Bytes(4 * page), ProtArg(5), MapFlags(0x4002)).unwrap();
    touch(inner, 7, 5, Touch::Write).unwrap();
    let one = |range: AddrRange| {
        let addr = range.start().to_string();
        let shown = json(&["show", &me(), "--json", "--addr", &addr]);
        assert_eq!(shown["vmas"].as_array().unwrap().len(), 1);
        shown["vmas"][0].clone()
    };
    if need(Capability::PagemapScan) {
        assert_eq!(one(inner)["resident"], 5 * page);
    }
    assert_eq!(one(inner)["swapped"], 0);
    assert_eq!(one(shared.range())["kind"], "shared");
    assert_eq!(one(reserved.range())["kind"], "reserved");
    assert_eq!(one(jit.range())["kind"], "jit");
    let kinds = json(&["show", &me(), "--json", "--kind", "jit,shared", "--no-resident"]);
    let vmas = kinds["vmas"].as_array().unwrap();
    assert!(vmas.iter().all(|v| v["kind"] == "jit" || v["kind"] == "shared"));
    assert!(vmas.iter().all(|v| v["resident"].is_null() && v["resident_why"] == "not-read"));
    for arena in [guarded, shared, reserved, jit] {
        arena.unmap(arena.range().start(), arena.range().len()).unwrap();
    }
}

/// Checks that names made to fool a reader are shown safely and never taken for something else.
#[test]
fn hostile_names_are_shown_safely() {
    let dir = tempfile::tempdir().unwrap();
    let page = vmatlas_sys::page_size().bytes();
    let names: [&[u8]; 8] = [
        b"[heap]",
        b"[stack]",
        b"SYSV1",
        b"a\nb",
        b"\x1b[31mred\x1b[0m",
        b"\xff\xfe",
        b"\xe2\x80\xae gpj.exe ",
        b"00400000-00401000 r-xp 00000000 00:00 0   (deleted)",
    ];
    let mut mapped = Vec::new();
    for name in names {
        let path = dir.path().join(std::ffi::OsStr::from_bytes(name));
        fs::write(&path, vec![0; page as usize]).unwrap();
        let file = File::open(&path).unwrap();
        let args = MmapArgs {
            addr: Addr(0),
            len: Bytes(page),
            prot: ProtArg(1),
            flags: MapFlags(2),
            fd: file.as_raw_fd(),
            offset: 0,
        };
        mapped.push((name, map(args).unwrap()));
    }
    let shown = json(&["show", &me(), "--json"]);
    for (name, addr) in mapped {
        let vma = shown["vmas"].as_array().unwrap().iter().find(|v| v["start"] == addr.to_string()).unwrap();
        assert_eq!(vma["kind"], "mapped-file", "{vma}");
        assert_eq!(vma["size"], page);
        let kernel_form: Vec<u8> =
            name.iter().flat_map(|b| if *b == b'\n' { b"\\012".to_vec() } else { vec![*b] }).collect();
        match std::str::from_utf8(&kernel_form) {
            Ok(text) => assert!(vma["name"].as_str().unwrap().ends_with(text), "{vma}"),
            Err(_) => assert!(vma["name_hex"].as_str().unwrap().ends_with("fffe"), "{vma}"),
        }
    }
    let text = vmatlas(&["show", &me()]).stdout;
    assert!(!text.contains(&0x1b), "an escape reached the terminal");
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("\\x1b[31mred") && text.contains("\\u{202e}") && text.contains("\\xff\\xfe"));
}

/// Checks that a path longer than PATH_MAX allows a query for is still shown whole.
#[test]
fn very_long_lines_are_shown_whole() {
    let dir = tempfile::tempdir().unwrap();
    // Newlines are printed as four bytes each: 16 names of 240 make a line of over 15,000.
    let part = "\n".repeat(240);
    let mut path = dir.path().to_owned();
    for _ in 0..15 {
        path.push(&part);
    }
    fs::create_dir_all(&path).unwrap();
    path.push("end");
    let file = OpenOptions::new().create(true).truncate(true).read(true).write(true).open(&path).unwrap();
    file.set_len(4096).unwrap();
    let args = MmapArgs {
        addr: Addr(0),
        len: Bytes(4096),
        prot: ProtArg(1),
        flags: MapFlags(2),
        fd: file.as_raw_fd(),
        offset: 0,
    };
    let addr = map(args).unwrap();
    let shown = json(&["show", &me(), "--json", "--addr", &addr.to_string()]);
    let name = shown["vmas"][0]["name"].as_str().unwrap();
    assert!(name.len() > 14_000 && name.ends_with("\\012/end"), "{} bytes", name.len());
}

/// Checks that each way to fail has a line of its own that says which one it is.
#[test]
fn each_way_to_fail_has_its_line() {
    assert_eq!(complaint(&["show", "2147483647"]), "there is no process 2147483647");
    assert!(complaint(&["show", "99999999999999999999"]).contains("is no PID"));
    assert!(complaint(&["show", "no-such-process-name"]).contains("no process is called"));
    assert!(complaint(&["show", "-p", "0"]).contains("is no PID"));
    // kthreadd, where we can see the kernel's threads at all (not in a PID namespace).
    if fs::read("/proc/2/stat").is_ok_and(|s| s.starts_with(b"2 (kthreadd)")) {
        assert!(complaint(&["show", "2"]).contains("kernel thread"));
    }
}

/// Checks that a zombie is told as such.
#[test]
fn a_zombie_is_told_as_such() {
    let zombie = Tracee::start(Command::new("true").stdout(Stdio::null())).unwrap();
    let stat = format!("/proc/{}/stat", zombie.pid());
    assert!(wait_until(
        || fs::read_to_string(&stat).is_ok_and(|s| s.contains(") Z ")),
        Duration::from_secs(10)
    ));
    assert!(complaint(&["show", &zombie.pid().to_string()]).contains("zombie"));
}

/// Checks that a process whose first thread has ended is still shown, through one that lives.
#[test]
fn a_zombie_leader_with_living_threads_is_shown() {
    if !need(Capability::Tool("python3")) {
        return;
    }
    // SYS_exit (60 on x86_64) ends the calling thread alone.
    let script = "import ctypes, threading, time\n\
        threading.Thread(target=time.sleep, args=(60,)).start()\n\
        print('ready', flush=True)\n\
        ctypes.CDLL(None).syscall(60, 0)";
    let mut python =
        Tracee::start(Command::new("python3").args(["-c", script]).stdout(Stdio::piped())).unwrap();
    assert_eq!(python.read_line().unwrap(), "ready");
    let stat = format!("/proc/{}/stat", python.pid());
    assert!(wait_until(
        || fs::read_to_string(&stat).is_ok_and(|s| s.contains(") Z ")),
        Duration::from_secs(10)
    ));
    let shown = json(&["show", &python.pid().to_string(), "--json"]);
    assert_eq!(shown["process"]["leader_ended"], true);
    assert!(shown["vmas"].as_array().unwrap().len() > 10);
}

/// Checks that a name that several processes have is refused with their PIDs, and a unique one is found.
#[test]
fn names_are_found_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let name = "vmatlas-test-program-with-a-long-name";
    let program = dir.path().join(name);
    let sleep = Command::new("sh").args(["-c", "command -v sleep"]).output().unwrap().stdout;
    // cp as a process of its own: a child that another test starts meanwhile would inherit our descriptor open for
    // writing, and the program could not be executed (ETXTBSY).
    assert!(
        Command::new("cp")
            .arg(String::from_utf8(sleep).unwrap().trim())
            .arg(&program)
            .status()
            .unwrap()
            .success()
    );
    let start = || Tracee::start(Command::new(&program).arg("60").stdout(Stdio::null())).unwrap();
    let first = start();
    let is_it = |pid| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.ends_with(name));
    assert!(wait_until(|| is_it(first.pid()), Duration::from_secs(10)));
    assert_eq!(json(&["show", name, "--json"])["process"]["pid"], first.pid().0);
    let second = start();
    assert!(wait_until(|| is_it(second.pid()), Duration::from_secs(10)));
    let text = complaint(&["show", name]);
    assert!(text.contains(&first.pid().to_string()) && text.contains(&second.pid().to_string()), "{text}");
}

/// Checks that a reader which goes away early is no error, and that a command that cannot write says so.
#[test]
fn a_closed_pipe_is_no_error() {
    let mut child = Command::new(vmatlas_binary(env!("CARGO_BIN_EXE_vmatlas")))
        .args(["show", &me()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Checks that Japanese is Japanese, chosen by option and by environment.
#[test]
fn japanese_is_japanese() {
    let by_option = String::from_utf8(vmatlas(&["show", &me(), "--summary", "--lang", "ja"]).stdout).unwrap();
    assert!(by_option.contains("領域") && by_option.contains("合計"), "{by_option}");
    let by_environment = Command::new(vmatlas_binary(env!("CARGO_BIN_EXE_vmatlas")))
        .args(["show", &me(), "--summary"])
        .env("LC_ALL", "ja_JP.UTF-8")
        .output()
        .unwrap();
    assert!(String::from_utf8(by_environment.stdout).unwrap().contains("合計"));
}

/// Checks that commands of the design that do not exist yet say so, and others that they do not exist.
#[test]
fn planned_commands_say_not_yet() {
    for (name, words) in [("tui", "not yet"), ("serve", "not yet"), ("frobnicate", "no command")] {
        let output = vmatlas(&[name]);
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8(output.stderr).unwrap().contains(words), "{name}");
    }
}

/// Checks that the picture is written as SVG, that a path that cannot be written is one clear line, and that filters, which
/// the whole address space to scale does not know, are refused.
#[test]
fn the_picture_is_svg() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("map.svg");
    assert!(vmatlas(&["show", &me(), "--svg", path.to_str().unwrap()]).status.success());
    let svg = fs::read_to_string(&path).unwrap();
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    assert!(complaint(&["show", &me(), "--svg", "/nowhere/map.svg"]).contains("/nowhere/map.svg"));
    let filtered = vmatlas(&["show", &me(), "--svg", path.to_str().unwrap(), "--kind", "heap"]);
    assert_eq!(filtered.status.code(), Some(2));
}

/// Checks that the fallbacks of kernels without PROCMAP_QUERY and PAGEMAP_SCAN show the same map and pages.
#[test]
fn older_kernels_show_the_same() {
    let sleeper = sleeper();
    sleeper.signal(19).unwrap();
    let pid = sleeper.pid().to_string();
    let vmas = |words: &[&str]| {
        let mut shown = json(&[&["show", &pid, "--json"], words].concat());
        let vmas = shown["vmas"].as_array_mut().unwrap();
        // Entries of pagemap do not tell the page of zeros, nor the sizes of pages.
        let is_told = |key: &str| !key.starts_with("zero") && !key.starts_with("huge");
        vmas.iter_mut().for_each(|vma| vma.as_object_mut().unwrap().retain(|key, _| is_told(key)));
        shown["vmas"].clone()
    };
    let usual = vmas(&[]);
    assert_eq!(vmas(&["--no-procmap-query"]), usual);
    assert_eq!(vmas(&["--no-procmap-query", "--method", "pagemap-entries"]), usual);
}
