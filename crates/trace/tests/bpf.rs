//! The BPF backend beside ptrace.

#![expect(clippy::unwrap_used, reason = "a test binary")]

use std::ffi::OsString;
use vmatlas_event::{Addr, Bytes, Event, MmId, Next, Op, OpKind, Outcome, Sink, SnapshotReason, VmaRow};
use vmatlas_model::Spaces;
use vmatlas_proc::{ProcKernel, ProcRoot};
use vmatlas_testkit::{need_root, without_bpf};
use vmatlas_trace::{Bpf, BpfOptions, End, Launch, Shortage, TraceError, Tracer};

/// Keeps what it is told, and asks what the model wants to know.
struct Keeper {
    spaces: Spaces,
    events: Vec<Event>,
    /// Calls that the kernel did not confirm.
    unconfirmed: u64,
    /// Processes that were not watched.
    untracked: u64,
}

impl Keeper {
    fn new() -> Keeper {
        Keeper {
            spaces: Spaces::new(vmatlas_sys::page_size()),
            events: Vec::new(),
            unconfirmed: 0,
            untracked: 0,
        }
    }

    fn calls(&self) -> Vec<&Event> {
        self.events.iter().filter(|event| event.op.is_call()).collect()
    }
}

impl Sink for Keeper {
    fn event(&mut self, event: &Event) -> Next {
        let progress = self.spaces.event(event);
        self.events.push(event.clone());
        for done in progress.unanswered.iter().chain(&progress.done) {
            self.unconfirmed += u64::from(!done.confirmed);
        }
        if progress.ask.is_empty() { Next::Go } else { Next::Ask(progress.ask) }
    }

    fn untracked(&mut self, count: u64) {
        self.untracked += count;
    }
}

fn launch(command: &[&str]) -> Launch {
    let command: Vec<OsString> = command.iter().map(OsString::from).collect();
    Launch::new(&command, Some("/usr/bin:/bin".as_ref())).unwrap()
}

/// Loads the programs; `None` where this kernel cannot.
fn bpf() -> Option<Bpf> {
    if !need_root("BPF programs are loaded") {
        return None;
    }
    match Bpf::load() {
        Err(TraceError::Bpf(why)) => {
            without_bpf(&why);
            None
        }
        bpf => Some(bpf.unwrap()),
    }
}

fn watched(command: &[&str]) -> Option<(Keeper, End)> {
    let mut keeper = Keeper::new();
    let mut kernel = ProcKernel::new(ProcRoot::system());
    let end = bpf()?.start(&launch(command)).unwrap().run(&mut kernel, &mut keeper).unwrap();
    Some((keeper, end))
}

fn traced(command: &[&str]) -> (Keeper, End) {
    let mut keeper = Keeper::new();
    let mut kernel = ProcKernel::new(ProcRoot::system());
    let launch = launch(command);
    let end = Tracer::start(&launch).unwrap().run(&mut kernel, &mut keeper).unwrap();
    (keeper, end)
}

/// Checks that the programs load, and that a program's calls, its exec and its end are told, its map whole.
#[test]
fn a_program_is_seen() {
    let Some((keeper, end)) = watched(&["sh", "-c", "exit 7"]) else { return };
    assert_eq!(end, End::Exited(7));
    let kinds: Vec<OpKind> = keeper.events.iter().map(|event| event.op.kind()).collect();
    assert_eq!(kinds[..2], [OpKind::Exec, OpKind::Snapshot], "{kinds:?}");
    assert!(kinds.contains(&OpKind::Mmap) && kinds.last() == Some(&OpKind::Exit), "{kinds:?}");
    let Op::Snapshot { reason: SnapshotReason::Exec, rows } = &keeper.events[1].op else { panic!() };
    let names: Vec<&[u8]> = rows.iter().map(VmaRow::name_bytes).collect();
    for name in [&b"[stack]"[..], b"[vdso]", b"/usr/bin/dash"] {
        assert!(names.contains(&name), "{rows:#?}");
    }
    assert_eq!((keeper.spaces.tally().drift, keeper.unconfirmed), (0, 0));
    assert!(keeper.spaces.alive().is_empty());
}

/// Checks that both backends tell the same calls, arguments, results and answers included, of programs whose addresses are
/// the same each time.
#[test]
fn both_backends_tell_the_same() {
    for command in [
        &["setarch", "-R", "ls", "/"][..],
        &["setarch", "-R", "sh", "-c", "true; (exit 3); ls / | cat > /dev/null; exit 7"],
    ] {
        let Some((bpf, bpf_end)) = watched(command) else { return };
        let (ptrace, ptrace_end) = traced(command);
        assert_eq!(bpf_end, ptrace_end);
        assert_eq!(bpf.spaces.tally().drift, 0);
        // Processes by the order of their execs are not the same when they run beside each other: by what they did.
        let histories = |keeper: &Keeper| {
            let mut spaces: Vec<MmId> = Vec::new();
            keeper.events.iter().for_each(|e| {
                if !spaces.contains(&e.mm) {
                    spaces.push(e.mm);
                }
            });
            let of = |mm: &MmId| {
                let calls = keeper.events.iter().filter(|e| e.mm == *mm && e.op.is_call());
                calls.map(|e| format!("{:?} = {:?}", e.op, e.outcome)).collect::<Vec<String>>()
            };
            // The first program of all runs before its addresses are the same.
            // A process that only executes makes no call before.
            let mut histories: Vec<Vec<String>> =
                spaces.iter().skip(1).map(of).filter(|history| !history.is_empty()).collect();
            histories.sort();
            histories
        };
        assert_eq!(histories(&bpf), histories(&ptrace));
    }
}

/// Checks that records which a tiny ring loses are counted, that nothing is claimed after them, and that the model is true
/// again after the next reading.
#[test]
fn what_is_lost_is_told() {
    if bpf().is_none() {
        return;
    }
    let shortage = Shortage { ring: Some(Bytes(4096)), ..Shortage::default() };
    let small = Bpf::short(BpfOptions::default(), shortage).unwrap();
    let (mut keeper, mut kernel) = (Keeper::new(), ProcKernel::new(ProcRoot::system()));
    let command = launch(&["sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do ls / > /dev/null; done; exit 4"]);
    let end = small.start(&command).unwrap().run(&mut kernel, &mut keeper).unwrap();
    assert_eq!(end, End::Exited(4));
    let lost = |event: &Event| match &event.op {
        Op::Lost { count, .. } => *count,
        _ => None,
    };
    let lost: u64 = keeper.events.iter().filter_map(lost).sum();
    assert!(lost > 0);
    assert_eq!(keeper.spaces.tally().drift, 0);
    assert!(keeper.spaces.alive().is_empty(), "{:?}", keeper.spaces.alive());
}

/// Checks that calls that fail, and break calls, keep their results.
#[test]
fn results_are_kept() {
    let Some((keeper, _)) = watched(&["sh", "-c", "exit 0"]) else { return };
    let breaks: Vec<&Event> =
        keeper.calls().into_iter().filter(|event| event.op == Op::Brk { addr: Addr(0) }).collect();
    assert!(breaks.iter().all(|event| matches!(event.outcome, Outcome::Done(at) if at > 0)), "{breaks:?}");
    assert!(!breaks.is_empty());
}

/// Checks that processes which are too many to be watched at once are counted, and that all others are told as ever.
#[test]
fn processes_that_are_too_many_are_counted() {
    if bpf().is_none() {
        return;
    }
    // All live until the last one is there.
    let script = "sleep 60 & a=$!; sleep 60 & b=$!; sleep 60 & kill $a $b $!; wait; exit 4";
    for (room, untracked) in [(4, 0), (3, 1), (2, 2)] {
        let shortage = Shortage { processes: Some(room), ..Shortage::default() };
        let few = Bpf::short(BpfOptions::default(), shortage).unwrap();
        let (mut keeper, mut kernel) = (Keeper::new(), ProcKernel::new(ProcRoot::system()));
        let command = launch(&["sh", "-c", script]);
        let end = few.start(&command).unwrap().run(&mut kernel, &mut keeper).unwrap();
        assert_eq!((end, keeper.untracked), (End::Exited(4), untracked));
        let forks = keeper.events.iter().filter(|event| matches!(event.op, Op::Fork { .. })).count();
        assert_eq!(forks as u64, 3 - untracked);
        assert!(keeper.spaces.alive().is_empty(), "{:?}", keeper.spaces.alive());
    }
}
