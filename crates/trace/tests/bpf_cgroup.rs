//! All processes of a cgroup through BPF.

#![expect(clippy::unwrap_used, reason = "a test binary")]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::Duration;
use vmatlas_event::{Event, Next, Op, Pid, Sink};
use vmatlas_model::Spaces;
use vmatlas_proc::{ProcKernel, ProcRoot};
use vmatlas_testkit::{Capability, OwnCgroup, Tracee, need, need_root, wait_until, without_bpf};
use vmatlas_trace::{Bpf, BpfOptions, Members, Shortage, TraceError};

/// Everything here ends long before; where a word gets lost it must end all the same.
const LIMIT: Duration = Duration::from_secs(30);

/// Moves a second process into the cgroup once the first one is known, and ends the watching when that one calls.
struct Mover<'a> {
    spaces: Spaces,
    cgroup: &'a OwnCgroup,
    first: Pid,
    second: Pid,
    has_moved: bool,
    seen: Vec<Pid>,
}

impl Sink for Mover<'_> {
    fn event(&mut self, event: &Event) -> Next {
        let progress = self.spaces.event(event);
        let is_snapshot = matches!(event.op, Op::Snapshot { .. });
        if is_snapshot && !self.seen.contains(&event.task.pid) {
            self.seen.push(event.task.pid);
        }
        if is_snapshot && event.task.pid == self.first && !self.has_moved {
            self.has_moved = true;
            self.cgroup.take(self.second).unwrap();
        }
        if is_snapshot && event.task.pid == self.second {
            return Next::Stop;
        }
        if progress.ask.is_empty() { Next::Go } else { Next::Ask(progress.ask) }
    }
}

fn resting() -> Tracee {
    Tracee::start(Command::new("sleep").arg("1000").stdin(Stdio::null())).unwrap()
}

/// The programs that watch a cgroup; `None`, said aloud, where that cannot be.
fn programs(cgroup: &OwnCgroup, shortage: Shortage) -> Option<Bpf> {
    let inode = cgroup.folder().metadata().unwrap().ino();
    match Bpf::short(BpfOptions { cgroup: Some(inode), ..BpfOptions::default() }, shortage) {
        Err(TraceError::Bpf(why)) => {
            without_bpf(&why);
            None
        }
        bpf => Some(bpf.unwrap()),
    }
}

/// A cgroup, and the programs that watch it.
fn watched(shortage: Shortage) -> Option<(OwnCgroup, Bpf)> {
    if !need_root("BPF programs are loaded") {
        return None;
    }
    let cgroup = OwnCgroup::new()?;
    let bpf = programs(&cgroup, shortage)?;
    Some((cgroup, bpf))
}

fn run(bpf: Bpf, members: Members, sink: &mut dyn Sink) {
    let mut kernel = ProcKernel::new(ProcRoot::system());
    bpf.group(members, &mut kernel).run(Some(LIMIT), &mut kernel, sink);
}

/// Whether a process in a cgroup is known, one that is moved there is taken in, and one elsewhere is not.
fn check_who_comes(shortage: Shortage) {
    let Some((cgroup, bpf)) = watched(shortage) else { return };
    let cgroup = Rc::new(cgroup);
    let (first, second, other) = (resting(), resting(), resting());
    cgroup.take(first.pid()).unwrap();
    let mut mover = Mover {
        spaces: Spaces::new(vmatlas_sys::page_size()),
        cgroup: &cgroup,
        first: first.pid(),
        second: second.pid(),
        has_moved: false,
        seen: Vec::new(),
    };
    let listed = Rc::clone(&cgroup);
    run(bpf, Box::new(move || listed.processes()), &mut mover);
    assert_eq!(mover.seen, [first.pid(), second.pid()], "and not {}", other.pid());
    drop((first, second, other));
}

/// Checks that a process in a cgroup is known, that one which is moved there is taken in, and that one elsewhere is not.
#[test]
fn processes_of_a_cgroup_are_watched() {
    check_who_comes(Shortage::default());
}

/// Checks the same where every word of it is lost.
#[test]
fn who_came_unheard_is_found() {
    check_who_comes(Shortage { dropped: 100, ..Shortage::default() });
}

/// Checks that what has ended and was not waited for is not watched, nor is a thread of the kernel: neither would ever end.
#[test]
fn what_executes_nothing_is_not_watched() {
    let Some((_cgroup, bpf)) = watched(Shortage::default()) else { return };
    let mut ended = Tracee::start(&mut Command::new("true")).unwrap();
    assert!(wait_until(|| ended.has_ended(), LIMIT));
    let first = resting();
    let mut members = vec![ended.pid(), first.pid()];
    // It is in the cgroup of all.
    members.extend(fs::read("/proc/2/comm").is_ok_and(|name| name == b"kthreadd\n").then_some(Pid(2)));
    let mut seen = Vec::new();
    let mut sink = |event: &Event| {
        seen.push(event.task.pid);
        if matches!(event.op, Op::Snapshot { .. }) { Next::Stop } else { Next::Go }
    };
    run(bpf, Box::new(move || members.clone()), &mut sink);
    seen.dedup();
    assert_eq!(seen, [first.pid()]);
}

/// Checks that a process whose first thread has ended before is at its end when the last one of the others is.
#[test]
fn a_first_thread_that_had_ended_is_not_waited_for() {
    if !need(Capability::Tool("python3")) {
        return;
    }
    let Some((cgroup, bpf)) = watched(Shortage::default()) else { return };
    // exit(2), of this thread alone.
    let script = "import ctypes, os, sys, threading\n\
        print('here', flush=True)\nsys.stdin.readline()\n\
        def rest():\n print('ready', flush=True)\n sys.stdin.readline()\n os._exit(0)\n\
        threading.Thread(target=rest).start()\n\
        ctypes.CDLL(None).syscall(60, 0)";
    let mut python = Command::new("python3");
    let mut python =
        Tracee::start(python.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped())).unwrap();
    assert_eq!(python.read_line().unwrap(), "here");
    // What has ended cannot be moved any more.
    cgroup.take(python.pid()).unwrap();
    python.write_line("go").unwrap();
    assert_eq!(python.read_line().unwrap(), "ready");
    let status = format!("/proc/{}/status", python.pid());
    assert!(wait_until(|| fs::read_to_string(&status).unwrap().contains("State:\tZ"), LIMIT));
    assert_eq!(cgroup.processes(), [python.pid()]);
    let (mut joined, mut has_ended) = (0, false);
    let members = cgroup.processes();
    let mut sink = |event: &Event| match event.op {
        Op::Joined => {
            joined += 1;
            Next::Go
        }
        Op::Snapshot { .. } => {
            python.write_line("go").unwrap();
            Next::Go
        }
        Op::Exit { last: true, .. } => {
            has_ended = true;
            Next::Stop
        }
        _ => Next::Go,
    };
    run(bpf, Box::new(move || members.clone()), &mut sink);
    assert!(has_ended && joined == 1, "{joined} joined");
}

/// Checks that what a process of the cgroup makes which is not watched itself is taken in, and with the map it has.
#[test]
fn a_child_of_an_unwatched_process_is_watched() {
    if !need_root("BPF programs are loaded") {
        return;
    }
    let Some(cgroup) = OwnCgroup::new() else { return };
    let script = "exec 3<&0; echo ready; read line; cat <&3 & echo $!; wait";
    let mut shell = Command::new("sh");
    let mut shell =
        Tracee::start(shell.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped())).unwrap();
    assert_eq!(shell.read_line().unwrap(), "ready");
    // Before anybody looks, and nobody is told of it.
    cgroup.take(shell.pid()).unwrap();
    let Some(bpf) = programs(&cgroup, Shortage::default()) else { return };
    shell.write_line("go").unwrap();
    let child = Pid(shell.read_line().unwrap().parse().unwrap());
    let mut seen = Vec::new();
    let mut sink = |event: &Event| {
        seen.push((event.task.pid, event.op.kind()));
        let is_it = event.task.pid == child && matches!(event.op, Op::Snapshot { .. });
        if is_it { Next::Stop } else { Next::Go }
    };
    run(bpf, Box::new(Vec::new), &mut sink);
    assert!(seen.contains(&(child, vmatlas_event::OpKind::Snapshot)), "{seen:?}");
}

/// Checks that members of a cgroup for whom there is no room are counted, each once however often it is met.
#[test]
fn members_that_are_too_many_are_counted() {
    struct Counter(Option<u64>);
    impl Sink for Counter {
        fn event(&mut self, event: &Event) -> Next {
            if matches!(event.op, Op::Snapshot { .. }) { Next::Stop } else { Next::Go }
        }
        fn untracked(&mut self, count: u64) {
            self.0 = Some(count);
        }
    }
    let Some((cgroup, bpf)) = watched(Shortage { processes: Some(1), ..Shortage::default() }) else { return };
    let all = [resting(), resting(), resting()];
    // The words of these are met after the list.
    all.iter().for_each(|one| cgroup.take(one.pid()).unwrap());
    let members = cgroup.processes();
    let mut counter = Counter(None);
    run(bpf, Box::new(move || members.clone()), &mut counter);
    assert_eq!(counter.0, Some(2));
}
