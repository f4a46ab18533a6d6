//! Calls that are told many at once: they are the same as those told one by one, and none waits for the next.

#![expect(clippy::unwrap_used, reason = "a test binary")]

use std::ffi::OsString;
use std::io::PipeWriter;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use vmatlas_event::{
    Addr, AddrRange, Bytes, Event, Kernel, KernelError, MapFlags, MonoNs, Next, Op, Outcome, Pid, ProtArg,
    Sink, SnapshotReason, StackId, StartTime, Stopped, TaskId, Tid, VmaRow,
};
use vmatlas_model::Spaces;
use vmatlas_proc::{ProcKernel, ProcRoot};
use vmatlas_sys::mem::{Arena, MmapArgs, Touch, map, touch};
use vmatlas_testkit::{Capability, Dice, left_off, need};
use vmatlas_trace::{End, Launch, TraceError, Tracer};

/// A model, and all that it was told, with the moment of telling.
struct Heard {
    is_patient: bool,
    spaces: Spaces,
    events: Vec<(Event, MonoNs)>,
    /// When each stack was to be walked, and what the model had then.
    walked: Vec<(MonoNs, Vec<AddrRange>)>,
}

impl Heard {
    fn new(is_patient: bool) -> Heard {
        Heard {
            is_patient,
            spaces: Spaces::new(vmatlas_sys::page_size()),
            events: Vec::new(),
            walked: Vec::new(),
        }
    }
}

impl Sink for Heard {
    fn event(&mut self, event: &Event) -> Next {
        self.events.push((event.clone(), vmatlas_sys::now()));
        let progress = self.spaces.event(event);
        if progress.ask.is_empty() { Next::Go } else { Next::Ask(progress.ask) }
    }

    fn stack(&mut self, at: &Stopped<'_>) -> Option<StackId> {
        let rows = self.spaces.get(at.mm).into_iter().flat_map(|space| space.vmas());
        let id = StackId(self.walked.len() as u32);
        self.walked.push((at.at, rows.map(|row| row.range).collect()));
        Some(id)
    }

    fn is_patient(&self) -> bool {
        self.is_patient
    }
}

/// A kernel, and how often it was asked about a range.
struct Counting {
    inner: ProcKernel,
    asked: u64,
}

impl Kernel for Counting {
    fn vmas_in(&mut self, task: TaskId, range: AddrRange) -> Result<Vec<VmaRow>, KernelError> {
        self.asked += 1;
        self.inner.vmas_in(task, range)
    }
    fn reads_ranges(&self) -> bool {
        self.inner.reads_ranges()
    }
    fn all_vmas(&mut self, task: TaskId) -> Result<Vec<VmaRow>, KernelError> {
        self.inner.all_vmas(task)
    }
    fn start_time(&mut self, tid: Tid) -> Option<StartTime> {
        self.inner.start_time(tid)
    }
    fn process_of(&mut self, tid: Tid) -> Option<Pid> {
        self.inner.process_of(tid)
    }
    fn threads(&mut self, pid: Pid) -> Result<Vec<Tid>, KernelError> {
        self.inner.threads(pid)
    }
    fn children(&mut self, pid: Pid) -> Vec<Pid> {
        self.inner.children(pid)
    }
    fn forget(&mut self, task: TaskId) {
        self.inner.forget(task)
    }
}

/// Runs a command; `None` where tracing is not possible at all.
fn run(command: &[String], fds: &[(i32, i32)], sink: &mut dyn Sink) -> Option<End> {
    run_by(&mut ProcKernel::new(ProcRoot::system()), command, (fds, false), sink)
}

/// The same, by a kernel, and perhaps with the stack of each call.
fn run_by(
    kernel: &mut dyn Kernel,
    command: &[String],
    (fds, stacks): (&[(i32, i32)], bool),
    sink: &mut dyn Sink,
) -> Option<End> {
    let command: Vec<OsString> = command.iter().map(OsString::from).collect();
    let mut launch = Launch::new(&command, Some("/usr/bin:/bin".as_ref())).unwrap();
    launch.fds = fds.to_vec();
    launch.stacks = stacks;
    let tracer = match Tracer::start(&launch) {
        Err(TraceError::NotPermitted { .. }) => {
            left_off("permission to trace");
            return None;
        }
        tracer => tracer.unwrap(),
    };
    Some(tracer.run(kernel, sink).unwrap())
}

/// This very binary with one of its tests, as the program that is traced.
fn subject(test: &str) -> Vec<String> {
    let me = std::env::current_exe().unwrap();
    ["env", IS_SUBJECT, me.to_str().unwrap(), "--exact", test, "--test-threads=1"].map(str::to_owned).to_vec()
}

const IS_SUBJECT: &str = "VMATLAS_KEPT_CALLS=1";

fn is_subject() -> bool {
    std::env::var_os("VMATLAS_KEPT_CALLS").is_some()
}

/// Checks that memory can be mapped and unmapped 500 times; it is also the subject of other tests.
#[test]
fn pairs_of_calls() {
    for _ in 0..500 {
        let arena = Arena::new(Bytes(64 << 10), ProtArg(3), MapFlags(2)).unwrap();
        arena.unmap(arena.range().start(), arena.range().len()).unwrap();
    }
}

/// Checks, where it is the subject of another test, that its input ends after it has mapped a page.
#[test]
fn a_page_and_a_wait() {
    if is_subject() {
        let _arena = Arena::new(Bytes(4096), ProtArg(3), MapFlags(0x4002)).unwrap();
        assert!(std::io::stdin().lines().next().is_none());
    }
}

/// Checks that memory can be mapped between neighbours, touched and unmapped again, mostly what was mapped last; it is also the
/// subject of other tests.
#[test]
fn mappings_between_neighbours() {
    const SLOTS: usize = 12;
    let page = vmatlas_sys::page_size().bytes();
    let arena = Arena::new(Bytes(SLOTS as u64 * page), ProtArg(3), MapFlags(2)).unwrap();
    arena.unmap(arena.range().start(), arena.range().len()).unwrap();
    let slot = |at: usize, pages: usize| {
        AddrRange::from_len(Addr(arena.range().start().0 + at as u64 * page), Bytes(pages as u64 * page))
            .unwrap()
    };
    let make = |range: AddrRange| {
        let (addr, len, prot) = (range.start(), range.len(), ProtArg(3));
        let args = MmapArgs { addr, len, prot, flags: MapFlags(0x22), fd: -1, offset: 0 };
        assert_eq!(map(args).unwrap(), addr);
    };
    let end = |range: AddrRange| arena.unmap(range.start(), range.len()).unwrap();
    // What joins its neighbours the first time does not when each of them was touched alone.
    let three = [slot(1, 1), slot(3, 1), slot(2, 1)];
    three.into_iter().for_each(make);
    end(three[2]);
    touch(three[0], 0, 1, Touch::Write).unwrap();
    touch(three[1], 0, 1, Touch::Write).unwrap();
    make(three[2]);
    three.into_iter().for_each(end);
    let mut dice = Dice(7);
    let mut made: Vec<AddrRange> = Vec::new();
    for _ in 0..if is_subject() { 2000 } else { 100 } {
        let wanted = slot(1 + dice.below(SLOTS - 3), 1 + dice.below(2));
        let is_free = !made.iter().any(|range| range.intersects(wanted));
        match (dice.below(8), made.last().copied()) {
            (0..3, _) if is_free => {
                make(wanted);
                made.push(wanted);
            }
            (3, Some(_)) => end(made.swap_remove(dice.below(made.len()))),
            (4, Some(_)) => {
                touch(made[dice.below(made.len())], 0, 1, Touch::Write).unwrap();
            }
            (5, Some(last)) => {
                made.pop();
                end(last);
            }
            // Again and again, and perhaps with pages touched beside it while it is not there, or in it.
            (_, Some(last)) => {
                for _ in 0..4 {
                    end(last);
                    for beside in made.iter().filter(|range| **range != last) {
                        touch(*beside, 0, u64::from(dice.below(3) == 0), Touch::Write).unwrap();
                    }
                    make(last);
                    touch(last, 0, dice.below(2) as u64, Touch::Write).unwrap();
                }
            }
            _ => {}
        }
    }
    made.into_iter().for_each(end);
}

/// The calls of the last program and what the kernel answered.
fn told(heard: &Heard) -> Vec<(Op, Outcome)> {
    let exec = heard.events.iter().rposition(|(event, _)| matches!(event.op, Op::Exec { .. })).unwrap();
    let events = heard.events[exec..].iter().map(|(event, _)| event);
    let calls = events.filter(|event| event.op.is_call() || matches!(event.op, Op::Observed { .. }));
    calls.map(|event| (event.op.clone(), event.outcome)).collect()
}

/// Checks that calls told later are those told at once, in the same order and with the same answers, that they were
/// indeed told later, that of mappings which are made again and again not each was asked about, and that neither way
/// the model differs from the last map.
#[test]
fn kept_calls_are_the_same_calls() {
    if !need(Capability::Tool("setarch")) {
        return;
    }
    for test in ["pairs_of_calls", "mappings_between_neighbours"] {
        // Without random addresses two runs can be compared.
        let command: Vec<String> =
            ["setarch", "-R"].map(str::to_owned).into_iter().chain(subject(test)).collect();
        let (mut at_once, mut later) = (Heard::new(false), Heard::new(true));
        let mut kernels = [(); 2].map(|()| Counting { inner: ProcKernel::new(ProcRoot::system()), asked: 0 });
        if run_by(&mut kernels[0], &command, (&[], false), &mut at_once).is_none() {
            return;
        }
        run_by(&mut kernels[1], &command, (&[], false), &mut later).unwrap();
        let is_late = |heard: &Heard| {
            let calls: Vec<_> = heard.events.iter().filter(|(event, _)| event.op.is_call()).collect();
            calls.windows(2).filter(|pair| pair[0].1 > pair[1].0.entered).count()
        };
        assert_eq!(is_late(&at_once), 0);
        assert!(is_late(&later) > 800, "{test}: {} calls were told after the next was made", is_late(&later));
        let (at_once, later) = ((told(&at_once), at_once), (told(&later), later));
        let answers = |told: &[(Op, Outcome)]| {
            let mappings = told.iter().filter(|(op, _)| matches!(op, Op::Observed { .. }));
            mappings.cloned().collect::<Vec<_>>()
        };
        let calls =
            |told: &[(Op, Outcome)]| told.iter().filter(|(op, _)| op.is_call()).cloned().collect::<Vec<_>>();
        assert_eq!(calls(&at_once.0), calls(&later.0), "{test}");
        let (asked_at_once, asked_later) = (answers(&at_once.0), answers(&later.0));
        let differs = asked_at_once.iter().zip(&asked_later).position(|(a, b)| a != b);
        assert_eq!(differs.map(|at| (&asked_at_once[at], &asked_later[at])), None, "{test}");
        assert_eq!(asked_at_once.len(), asked_later.len(), "{test}");
        for heard in [&at_once.1, &later.1] {
            let numbers: Vec<u64> = heard.events.iter().map(|(event, _)| event.seq.0).collect();
            assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]));
            let tally = heard.spaces.tally();
            assert_eq!((tally.drift, tally.observed), (0, 0), "{test}");
        }
        let mappings = later.0.iter().filter(|(op, _)| matches!(op, Op::Mmap { .. })).count() as u64;
        let asked = kernels[1].asked;
        assert!(asked < mappings / 4 * 3, "{test}: {asked} of {mappings} were asked about");
    }
}

/// Checks that each call that is told later has the stack which was walked at its return, and that it was walked by a map that
/// lacked nothing of the one at that moment.
#[test]
fn stacks_of_kept_calls_are_walked_at_their_returns() {
    if !need(Capability::Tool("setarch")) {
        return;
    }
    for test in ["pairs_of_calls", "mappings_between_neighbours"] {
        let command: Vec<String> =
            ["setarch", "-R"].map(str::to_owned).into_iter().chain(subject(test)).collect();
        let [at_once, later] = [false, true].map(|is_patient| {
            let mut heard = Heard::new(is_patient);
            let kernel = &mut ProcKernel::new(ProcRoot::system());
            run_by(kernel, &command, (&[], true), &mut heard).map(|_| heard)
        });
        let (Some(at_once), Some(later)) = (at_once, later) else { return };
        let calls = |heard: &Heard| -> Vec<(Event, MonoNs)> {
            heard.events.iter().filter(|(event, _)| event.op.is_call()).cloned().collect()
        };
        let late = calls(&later).windows(2).filter(|pair| pair[0].1 > pair[1].0.entered).count();
        assert!(late > 400, "{test}: {late} calls were told after the next was made");
        for (event, _) in calls(&later) {
            let walked = event.stack.map(|id| later.walked[id.0 as usize].0);
            assert_eq!(walked, Some(event.left), "{event:?}");
        }
        // What setarch itself maps need not be the same in both, so from the last backwards.
        let of_program = told(&at_once).iter().filter(|(op, _)| op.is_call()).count();
        let both = at_once.walked.iter().rev().zip(later.walked.iter().rev());
        for (((_, then), (_, now)), (call, _)) in both.zip(calls(&at_once).iter().rev()).take(of_program) {
            // What it has just unmapped itself is there no more.
            let gone = match call.op {
                Op::Munmap { addr, len } => AddrRange::from_len(addr, len),
                _ => None,
            };
            let mut there: Vec<AddrRange> = now.iter().copied().chain(gone).collect();
            there.sort();
            let lacks: Vec<_> = then.iter().filter(|range| !covers(&there, **range)).collect();
            assert!(lacks.is_empty(), "{test}: {lacks:?} lack in {now:?} after {call:?}");
        }
    }
}

/// Whether all of a range is in these, which are in order.
fn covers(ranges: &[AddrRange], range: AddrRange) -> bool {
    let mut at = range.start();
    for one in ranges {
        if one.contains(at) {
            at = one.end();
        }
    }
    at >= range.end()
}

/// Ends the program's input when its mapping is told.
struct Waiter {
    inner: Heard,
    input: Arc<Mutex<Option<PipeWriter>>>,
    was_told_in_time: bool,
}

impl Sink for Waiter {
    fn event(&mut self, event: &Event) -> Next {
        const NORESERVE: u64 = 0x4000;
        if let Op::Mmap { len: Bytes(4096), flags, .. } = event.op
            && flags.0 & NORESERVE != 0
        {
            self.was_told_in_time = self.input.lock().unwrap().take().is_some();
        }
        self.inner.event(event)
    }

    fn is_patient(&self) -> bool {
        true
    }
}

/// Checks that a call is told although the program makes no other one: it waits until we have heard of it.
#[test]
fn kept_calls_do_not_wait_for_the_next() {
    let (reader, writer) = std::io::pipe().unwrap();
    let input = Arc::new(Mutex::new(Some(writer)));
    let mut sink = Waiter { inner: Heard::new(true), input: input.clone(), was_told_in_time: false };
    let for_ever = std::thread::spawn(move || {
        // Else a test that fails would never end.
        let is_taken = || input.lock().unwrap().is_none();
        let _ = vmatlas_testkit::wait_until(is_taken, Duration::from_secs(60));
        drop(input.lock().unwrap().take());
    });
    let end = run(&subject("a_page_and_a_wait"), &[(reader.as_raw_fd(), 0)], &mut sink);
    drop(sink.input.lock().unwrap().take());
    for_ever.join().unwrap();
    assert!(end.is_none() || sink.was_told_in_time);
}

/// Wants to know everything after the tenth munmap, which the engine does not foresee.
struct Curious {
    munmaps: usize,
    events: Vec<Event>,
}

impl Sink for Curious {
    fn event(&mut self, event: &Event) -> Next {
        self.events.push(event.clone());
        self.munmaps += usize::from(matches!(event.op, Op::Munmap { .. }));
        match event.op {
            Op::Munmap { .. } if self.munmaps == 10 => Next::Ask(vec![AddrRange::ALL]),
            _ => Next::Go,
        }
    }

    fn is_patient(&self) -> bool {
        true
    }
}

/// Checks that a question which was not asked in time is answered by the whole map, and never by a map of another moment
/// as if it were of this one.
#[test]
fn what_was_not_asked_is_read_again() {
    let mut sink = Curious { munmaps: 0, events: Vec::new() };
    if run(&subject("pairs_of_calls"), &[], &mut sink).is_none() {
        return;
    }
    assert!(sink.munmaps >= 500);
    let asked = sink.events.iter().filter(|event| matches!(event.op, Op::Munmap { .. })).nth(9).unwrap().seq;
    let after = sink.events.iter().filter(|event| event.seq > asked);
    let mut answers = after.filter(|event| !event.op.is_call());
    let reason = answers.find_map(|event| match event.op {
        Op::Observed { asked, .. } => Some(Err(asked)),
        Op::Snapshot { reason, .. } => Some(Ok(reason)),
        _ => None,
    });
    assert_eq!(reason, Some(Ok(SnapshotReason::Unclear)));
}
