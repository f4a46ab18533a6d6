//! The light reader: its ways agree, it leaves no trace, and it survives what its targets do meanwhile.

#![allow(clippy::unwrap_used, reason = "a test binary")]

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use vmatlas_event::{PageCounts, VmaRow};
use vmatlas_proc::read::{deadline, residency, whole};
use vmatlas_proc::{Budget, ErrorKind, MapsReader, Method, ProcError, ProcRoot, Process};
use vmatlas_testkit::{Tracee, wait_until};

const SIGSTOP: i32 = 19;

type Reading = (Vec<VmaRow>, Vec<Option<PageCounts>>);

fn read_by(process: &Process, method: Option<Method>) -> Result<Reading, ProcError> {
    let budget = Budget { method, ..Budget::default() };
    deadline::run(process, deadline::LIMIT, move |process| {
        whole::read(process, |process| {
            let rows = MapsReader::new().read(process)?.rows;
            let residency = residency::read(process, &rows, budget)?;
            assert_eq!(residency.per_row.len(), rows.len());
            Ok((rows, residency.per_row))
        })
    })
}

/// A python that has touched memory of several makes, stopped.
fn stopped() -> (Tracee, Process) {
    const SCRIPT: &str = "import mmap, sys, time\n\
        a = mmap.mmap(-1, 8 << 20); a[5 << 20] = 1\n\
        b = mmap.mmap(-1, 8 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n\
        b[0:3 << 20] = bytes([7]) * (3 << 20); b[7 << 20]\n\
        f = open(sys.executable, 'rb'); c = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ); sum(c[0:1 << 20])\n\
        print('ready', flush=True); time.sleep(60)";
    let mut python = Command::new("python3");
    let mut python = Tracee::start(python.args(["-c", SCRIPT]).stdout(Stdio::piped())).unwrap();
    assert_eq!(python.read_line().unwrap(), "ready");
    python.signal(SIGSTOP).unwrap();
    let process = ProcRoot::system().process(python.pid()).unwrap();
    let stopped = || {
        process.stat().is_ok_and(|_| {
            let stat = fs::read_to_string(format!("/proc/{}/stat", python.pid())).unwrap_or_default();
            stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
        })
    };
    assert!(wait_until(stopped, Duration::from_secs(10)));
    (python, process)
}

/// Checks that all ways tell the same of every VMA of a stopped process, as far as each can: the zero page only the
/// scan knows, huge pages the entries do not, and files mapped by huge pages smaps counts elsewhere.
#[test]
fn all_ways_agree_on_a_stopped_process() {
    let (_python, process) = stopped();
    let (rows, scan) = read_by(&process, Some(Method::PagemapScan)).unwrap();
    let (_, entries) = read_by(&process, Some(Method::PagemapEntries)).unwrap();
    let (_, smaps) = read_by(&process, Some(Method::Smaps)).unwrap();
    let mut resident = 0;
    for (index, row) in rows.iter().enumerate() {
        let (Some(scan), Some(entries)) = (scan[index], entries[index]) else {
            assert_eq!(row.special(), Some(&b"vsyscall"[..]));
            continue;
        };
        resident += scan.resident.0;
        assert_eq!(entries.resident, scan.resident + scan.zero + scan.hugetlb, "{row:?}");
        assert_eq!(entries.swapped, scan.swapped, "{row:?}");
        let smaps = smaps[index].unwrap();
        assert_eq!((smaps.resident, smaps.anonymous), (scan.resident, scan.anonymous), "{row:?}");
        assert_eq!((smaps.huge, smaps.hugetlb), (scan.huge, scan.hugetlb), "{row:?}");
    }
    assert!(resident > 8 << 20, "{resident}");
}

/// Checks that a full inspection leaves maps, the stack's size and smaps as they were, byte by byte.
#[test]
fn a_reading_leaves_no_trace() {
    let (python, process) = stopped();
    // What others do to shared pages shows in Pss and in who shares; the rest is this process's own.
    let own = |text: String| -> String {
        let foreign = ["Pss", "Shared_", "Private_", "SwapPss", "Referenced"];
        text.split_inclusive('\n').filter(|line| !foreign.iter().any(|name| line.starts_with(name))).collect()
    };
    let state = || {
        let text = |name: &str| fs::read_to_string(format!("/proc/{}/{name}", python.pid())).unwrap();
        let stack = text("status").lines().find(|l| l.starts_with("VmStk")).map(str::to_owned);
        (text("maps"), own(text("smaps")), stack)
    };
    let before = state();
    for method in [None, Some(Method::PagemapEntries), Some(Method::Smaps)] {
        read_by(&process, method).unwrap();
        process.threads();
        process.exe().unwrap();
    }
    let after = state();
    assert_eq!(before.0, after.0);
    assert_eq!(before.2, after.2);
    assert_eq!(before.1, after.1);
}

/// Reads a restless program 200 times; nothing but the kinds of error that are allowed, and each in time.
fn survive(script: &str, allowed: &[ErrorKind]) {
    let mut python = Command::new("python3");
    let python = Tracee::start(python.args(["-c", script]).stdout(Stdio::piped()));
    let mut python = python.unwrap();
    let first = python.read_line().unwrap();
    let (mut read, mut slowest) = (0, Duration::ZERO);
    for turn in 0..200 {
        // A program that starts others prints their PIDs.
        let line =
            if first == "ready" { python.pid().0 } else { python.read_line().unwrap().parse().unwrap() };
        let start = Instant::now();
        let method = [None, None, Some(Method::PagemapEntries), Some(Method::Smaps)][turn % 4];
        let answer = ProcRoot::system()
            .process(vmatlas_event::Pid(line))
            .and_then(|process| read_by(&process, method));
        slowest = slowest.max(start.elapsed());
        match answer {
            Ok((rows, _)) => {
                assert!(!rows.is_empty());
                read += 1;
            }
            Err(error) => assert!(allowed.contains(&error.kind()), "{error}"),
        }
    }
    assert!(slowest < deadline::LIMIT, "{slowest:?}");
    eprintln!("{read} of 200 read, the slowest {slowest:?}");
}

/// Checks a program that maps and unmaps in a loop: every reading succeeds.
#[test]
fn a_target_that_unmaps_is_read() {
    survive(
        "import mmap\nprint('ready', flush=True)\n\
         while True:\n    m = [mmap.mmap(-1, 1 << 20) for _ in range(50)]\n    for x in m: x[0] = 1; x.close()\n",
        &[],
    );
}

/// Checks a program that forks in a loop: every reading succeeds.
#[test]
fn a_target_that_forks_is_read() {
    survive(
        "import os\nprint('ready', flush=True)\nwhile True:\n    p = os.fork()\n    if p == 0: os._exit(0)\n    os.waitpid(p, 0)\n",
        &[],
    );
}

/// Checks a program that replaces itself in a loop: a reading is of one program or says that it is gone.
#[test]
fn a_target_that_execs_is_read_or_gone() {
    survive(
        "import os\nprint('ready', flush=True)\n\
         os.execv('/bin/sh', ['sh', '-c', 'exec sh -c \"$0\" \"$0\"', 'exec sh -c \"$0\" \"$0\"'])\n",
        &[ErrorKind::Gone, ErrorKind::Zombie],
    );
}

/// Checks children that end while they are read: an error that says so, or a reading.
#[test]
fn targets_that_exit_are_read_or_gone() {
    survive(
        "import os, time\nprint('children', flush=True)\n\
         for i in range(200):\n    p = os.fork()\n    if p == 0:\n        time.sleep(0.0002 * (i % 10)); os._exit(0)\n    \
         print(p, flush=True); os.waitpid(p, 0)\n",
        &[ErrorKind::Gone, ErrorKind::Zombie, ErrorKind::NoSuchProcess],
    );
}
