//! Page faults through BPF beside what the kernel counts itself: faults, and resident sizes.

#![expect(clippy::unwrap_used, reason = "a test binary")]

use std::ffi::OsString;
use std::io::{Read, Write};
use std::process::{ChildStdin, Command, Stdio};
use vmatlas_event::{Addr, Bytes, Event, FaultCounts, Next, Op, OpKind, Outcome, Pid, Sink, Source};
use vmatlas_model::{Spaces, fault_place};
use vmatlas_proc::{ProcKernel, ProcRoot};
use vmatlas_testkit::{Capability, left_off, need, need_root, without_bpf};
use vmatlas_trace::{Attach, Bpf, BpfOptions, End, FaultWatch, Launch, Shortage, TraceError};

struct Keeper {
    spaces: Spaces,
    /// With whether the page was in a VMA, where it is a fault.
    events: Vec<(Event, bool)>,
    counts: Option<FaultCounts>,
    /// A program that waits for a word on its input until its map was read: what ends before has no map to be read.
    waits: Option<ChildStdin>,
}

impl Keeper {
    fn new() -> Keeper {
        Keeper {
            spaces: Spaces::new(vmatlas_sys::page_size()),
            events: Vec::new(),
            counts: None,
            waits: None,
        }
    }

    fn faults(&self) -> impl Iterator<Item = (Addr, bool)> {
        self.events.iter().filter_map(|(event, is_somewhere)| match event.op {
            Op::Fault { addr, .. } => Some((addr, *is_somewhere)),
            _ => None,
        })
    }
}

impl Sink for Keeper {
    fn event(&mut self, event: &Event) -> Next {
        let progress = self.spaces.event(event);
        if matches!(event.op, Op::Snapshot { .. })
            && let Some(mut program) = self.waits.take()
        {
            program.write_all(b".").unwrap();
        }
        let place = match (&event.op, self.spaces.get(event.mm)) {
            (Op::Fault { addr, .. }, Some(space)) => fault_place(space, *addr).row.is_some(),
            _ => false,
        };
        self.events.push((event.clone(), place));
        if progress.ask.is_empty() { Next::Go } else { Next::Ask(progress.ask) }
    }

    fn fault_counts(&mut self, counts: &FaultCounts) {
        self.counts = Some(*counts);
    }
}

/// Loads the programs; `None` where this kernel cannot.
fn bpf(ring: Option<Bytes>) -> Option<Bpf> {
    bpf_by(ring, Shortage::default())
}

/// As on a kernel without tracepoints of page faults.
const EVENTS: Shortage = Shortage { fault_events: true, ring: None, dropped: 0, processes: None };

fn bpf_by(ring: Option<Bytes>, shortage: Shortage) -> Option<Bpf> {
    if !need_root("BPF programs are loaded") || !need(Capability::Tool("python3")) {
        return None;
    }
    let faults = Some(FaultWatch { ring, ..FaultWatch::default() });
    match Bpf::short(BpfOptions { faults, ..BpfOptions::default() }, shortage) {
        Err(TraceError::Bpf(why)) => {
            without_bpf(&why);
            None
        }
        bpf => Some(bpf.unwrap()),
    }
}

fn launch(script: &str) -> Launch {
    let command: Vec<OsString> = ["python3", "-Sc", script].iter().map(OsString::from).collect();
    Launch::new(&command, Some("/usr/bin:/bin".as_ref())).unwrap()
}

fn watched(ring: Option<Bytes>, script: &str) -> Option<(Keeper, FaultCounts)> {
    watched_by(bpf(ring)?, script)
}

fn watched_by(bpf: Bpf, script: &str) -> Option<(Keeper, FaultCounts)> {
    let (mut keeper, mut kernel) = (Keeper::new(), ProcKernel::new(ProcRoot::system()));
    let end = bpf.start(&launch(script)).unwrap().run(&mut kernel, &mut keeper).unwrap();
    assert_eq!(end, End::Exited(0));
    let counts = keeper.counts.unwrap();
    println!("{counts:?}");
    Some((keeper, counts))
}

/// Private memory of so many pages without huge pages, each touched once.
const TOUCH: &str = "import mmap, os, threading\n\
    def fresh(n):\n  m = mmap.mmap(-1, n * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n  \
    m.madvise(mmap.MADV_NOHUGEPAGE); return m\n\
    def touch(m):\n  for at in range(0, len(m), 4096): m[at] = 1\n";

/// Checks that each fault is told once, joined to a VMA, after the call that mapped its page, and that all figures are those
/// of the kernel: told when they begin.
#[test]
fn faults_are_those_the_kernel_counted() {
    let Some(bpf) = bpf(None) else { return };
    equals_the_kernel(bpf);
}

/// Checks the same where the kernel has no tracepoints of faults: told by software events when they have ended.
#[test]
fn faults_of_software_events_are_those_the_kernel_counted() {
    let Some(bpf) = bpf_by(None, EVENTS) else { return };
    equals_the_kernel(bpf);
}

fn equals_the_kernel(bpf: Bpf) {
    let script = format!("{TOUCH}m = fresh(1000); touch(m)");
    let Some((keeper, counts)) = watched_by(bpf, &script) else { return };
    assert_eq!((counts.lost, counts.of_others), (0, 0), "{counts:?}");
    assert_eq!(counts.told(), counts.produced, "{counts:?}");
    assert_eq!(Some(counts.told()), counts.handled, "{counts:?}");
    assert!(counts.accounted.is_some_and(|accounted| accounted >= counts.told()), "{counts:?}");
    assert_eq!(keeper.faults().count() as u64, counts.told());
    assert!(keeper.faults().all(|(_, is_somewhere)| is_somewhere));
    assert!(keeper.events.iter().all(|(event, _)| match event.op.kind() {
        OpKind::Fault => event.source == Source::Perf,
        _ => event.source == Source::Bpf,
    }));
    let mapped = keeper
        .events
        .iter()
        .position(|(event, _)| matches!(event.op, Op::Mmap { len, .. } if len == Bytes(1000 * 4096)));
    let mapped = mapped.unwrap();
    let Outcome::Done(start) = keeper.events[mapped].0.outcome else { panic!() };
    let of_it = |event: &Event| match event.op {
        Op::Fault { addr, .. } => Some(addr.0).filter(|at| (start..start + 1000 * 4096).contains(at)),
        _ => None,
    };
    let before = keeper.events[..mapped].iter().filter_map(|(event, _)| of_it(event)).count();
    let after: Vec<u64> = keeper.events[mapped..].iter().filter_map(|(event, _)| of_it(event)).collect();
    assert_eq!((before, after.len()), (0, 1000));
    assert!(after.is_sorted());
}

/// Checks that faults of threads, of children and of executed programs are told in their own address spaces, where they find
/// the calls that made their pages.
#[test]
fn faults_of_threads_and_children_find_their_calls() {
    let script = format!(
        "{TOUCH}m = fresh(1000); touch(m)\n\
         def work():\n  for _ in range(20):\n    m = fresh(50); touch(m); m.close()\n\
         all = [threading.Thread(target=work) for _ in range(4)]\n\
         [t.start() for t in all]; [t.join() for t in all]\n\
         pid = os.fork()\n\
         if pid == 0:\n  touch(m); os._exit(0)\n\
         os.waitpid(pid, 0); os.execv('/bin/true', ['true'])"
    );
    let Some((keeper, counts)) = watched(None, &script) else { return };
    assert_eq!((counts.lost, counts.of_others), (0, 0), "{counts:?}");
    assert_eq!(Some(counts.told()), counts.handled, "{counts:?}");
    let nowhere = keeper.faults().filter(|(_, is_somewhere)| !is_somewhere).count();
    assert_eq!(nowhere, 0);
}

/// Checks that while a program stands still the changes of its resident size add up to what the kernel says it is, whoever
/// filled the memory: touches, MAP_POPULATE, read(2), a parent, and around pages of files.
#[test]
fn the_resident_size_is_that_of_the_kernel() {
    let Some(bpf) = bpf(None) else { return };
    the_size_is_that_of_the_kernel(bpf);
}

/// Checks the same where the kernel has no tracepoints of faults.
#[test]
fn the_resident_size_by_software_events_is_that_of_the_kernel() {
    let Some(bpf) = bpf_by(None, EVENTS) else { return };
    the_size_is_that_of_the_kernel(bpf);
}

fn the_size_is_that_of_the_kernel(bpf: Bpf) {
    let script = format!(
        "{TOUCH}m = fresh(3000); touch(m)\n\
         p = mmap.mmap(-1, 500 * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x8000)\n\
         s = mmap.mmap(-1, 200 * 4096); touch(s)\n\
         r = fresh(300); os.readv(os.open('/dev/zero', os.O_RDONLY), [r])\n\
         f = open('/proc/self/exe', 'rb'); e = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)\n\
         sum(e[::4096])\n\
         m.madvise(mmap.MADV_DONTNEED, 0, 1000 * 4096)\n\
         os.kill(os.getpid(), 19)"
    );
    let (mut keeper, mut kernel) = (Keeper::new(), ProcKernel::new(ProcRoot::system()));
    let mut launched = bpf.start(&launch(&script)).unwrap();
    let pid = launched.pid();
    launched.go(&mut kernel);
    let is_stopped = || {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        text.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    };
    while !is_stopped() {
        std::thread::sleep(std::time::Duration::from_millis(1));
        launched.tell(&mut kernel, &mut keeper);
    }
    launched.tell(&mut kernel, &mut keeper);
    let mm = keeper.spaces.alive()[0];
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let rss = rollup.lines().find_map(|line| line.strip_prefix("Rss:")?.trim().strip_suffix(" kB"));
    let rss: i64 = rss.unwrap().trim().parse().unwrap();
    let (grown, why) = (launched.grown(mm), launched.grown_why().unwrap_or_default().to_owned());
    let _ = vmatlas_sys::kill(pid, 9);
    launched.run(&mut kernel, &mut keeper).unwrap();
    let Some(grown) = grown else {
        left_off(&format!("resident sizes ({why})"));
        return;
    };
    println!("{grown:?}");
    assert_eq!(grown.resident(), rss * 1024, "{grown:?}");
    assert_eq!(grown.sum(), grown.resident() + grown.swap);
    let page = 4096;
    assert!(grown.by_fault >= 3300 * page && grown.by_call >= 500 * page, "{grown:?}");
    assert!(grown.gone <= -1000 * page, "{grown:?}");
}

/// Checks that the size of a program that ran already is followed, also where the first that it does is a call.
#[test]
fn a_running_program_is_followed_from_its_first_call_on() {
    let Some((_, of_started)) = watched(None, "pass") else { return };
    if of_started.grown.is_none() {
        left_off("resident sizes");
        return;
    }
    let script = format!(
        "{TOUCH}m = fresh(10); touch(m); m.close()\nos.write(1, b'.'); os.read(0, 1)\nm = fresh(2000); touch(m)"
    );
    let mut program = Command::new("python3")
        .args(["-Sc", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    program.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    let (mut keeper, mut kernel) = (Keeper::new(), ProcKernel::new(ProcRoot::system()));
    let pid = Pid(i32::try_from(program.id()).unwrap());
    let attach = Attach { pid, follow: false, duration: None, check: false, stacks: false, faults: None };
    let attached = bpf(None).unwrap().attach(attach, &mut kernel).unwrap();
    keeper.waits = program.stdin.take();
    attached.run(&mut kernel, &mut keeper).unwrap();
    assert!(program.wait().unwrap().success());
    let counts = keeper.counts.unwrap();
    assert!(counts.told() >= 2000 && counts.lost == 0, "{counts:?}");
    let grown = counts.grown.unwrap();
    // The first page may be what it began with.
    assert!(grown.by_fault >= 1990 * 4096, "{grown:?}");
}

/// Checks that what a tiny ring loses is counted: as much as was produced and not told.
#[test]
fn what_is_lost_is_counted() {
    let script = format!("{TOUCH}m = fresh(20000); touch(m)");
    let Some((keeper, counts)) = watched(Some(Bytes(4096)), &script) else { return };
    assert!(counts.lost > 0, "{counts:?}");
    assert_eq!(counts.told() + counts.lost + counts.of_others, counts.produced, "{counts:?}");
    let told = keeper.events.iter().filter_map(|(event, _)| match event.op {
        Op::Lost { count, .. } => count.filter(|_| event.source == Source::Perf),
        _ => None,
    });
    assert_eq!(told.sum::<u64>(), counts.lost);
    assert!(
        !keeper
            .events
            .iter()
            .any(|(event, _)| event.op.kind() == OpKind::Lost && event.source == Source::Bpf)
    );
}
