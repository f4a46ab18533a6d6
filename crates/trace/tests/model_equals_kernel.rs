//! The tracer, the model and the reader together: after every call the model's map is compared with the kernel's.

#![expect(clippy::unwrap_used, reason = "a test binary")]

use std::ffi::OsString;
use vmatlas_event::{Addr, Bytes, Event, MapFlags, Next, ProtArg, Sink, VmaRow};
use vmatlas_model::{PageChange, Spaces, page_changes};
use vmatlas_proc::{MapsReader, ProcKernel, ProcRoot};
use vmatlas_sys::mem::{Arena, Touch, touch};
use vmatlas_trace::{End, Launch, TraceError, Tracer};

/// Compares the model with /proc after every call, while the task is still stopped.
struct Judge {
    spaces: Spaces,
    calls: u64,
    /// The first disagreements, in words.
    wrong: Vec<String>,
}

impl Judge {
    fn new() -> Judge {
        Judge { spaces: Spaces::new(vmatlas_sys::page_size()), calls: 0, wrong: Vec::new() }
    }

    fn compare(&mut self, event: &Event) {
        let Ok(process) = ProcRoot::system().process(event.task.pid) else { return };
        let Ok(maps) = MapsReader::new().read(&process) else { return };
        let Some(space) = self.spaces.get(event.mm) else { return };
        // The stack grows by touching, without any call; everything else must be equal, boundaries included.
        let settled = |row: &VmaRow| row.special() != Some(b"stack");
        let ours: Vec<VmaRow> = space.vmas().filter(|r| settled(r)).cloned().collect();
        let theirs: Vec<VmaRow> = maps.rows.iter().filter(|r| settled(r)).cloned().collect();
        let ranges = |rows: &[VmaRow]| {
            rows.iter().map(|r| (r.range, r.prot, r.sharing, r.inode, r.offset)).collect::<Vec<_>>()
        };
        if ranges(&ours) != ranges(&theirs) && self.wrong.len() < 5 {
            let pages: Vec<PageChange> = page_changes(&ours, &theirs, &[]);
            let missing: Vec<_> = theirs.iter().filter(|r| !ours.contains(r)).collect();
            let extra: Vec<_> = ours.iter().filter(|r| !theirs.contains(r)).collect();
            self.wrong.push(format!(
                "after {:?} = {:?}\n  pages {pages:?}\n  only the kernel has {missing:?}\n  only the model has {extra:?}",
                event.op, event.outcome
            ));
        }
    }
}

impl Sink for Judge {
    fn event(&mut self, event: &Event) -> Next {
        let progress = self.spaces.event(event);
        if let Some(done) = &progress.done
            && done.event.op.is_call()
        {
            self.calls += 1;
            self.compare(&done.event);
        }
        if progress.ask.is_empty() { Next::Go } else { Next::Ask(progress.ask) }
    }
}

/// Runs a command under the judge; `None` where tracing is not possible at all.
fn judged(command: &[&str]) -> Option<(Judge, End)> {
    let command: Vec<OsString> = command.iter().map(OsString::from).collect();
    let launch = Launch::new(&command, Some("/usr/bin:/bin".as_ref())).unwrap();
    let tracer = match Tracer::start(&launch) {
        Err(TraceError::NotPermitted { .. }) => {
            vmatlas_testkit::left_off("permission to trace");
            return None;
        }
        tracer => tracer.unwrap(),
    };
    let mut judge = Judge::new();
    let mut kernel = ProcKernel::new(ProcRoot::system());
    let end = tracer.run(&mut kernel, &mut judge).unwrap();
    Some((judge, end))
}

/// Checks that the model equals the kernel after every call of a real program with shared libraries.
#[test]
fn equal_after_every_call_of_ls() {
    let Some((judge, end)) = judged(&["ls", "/"]) else { return };
    assert_eq!(end, End::Exited(0));
    assert!(judge.calls > 10, "{} calls", judge.calls);
    assert!(judge.wrong.is_empty(), "{}", judge.wrong.join("\n"));
    assert_eq!(judge.spaces.tally().drift, 0);
}

/// Checks the same for a shell that forks and executes, with a failing command at its end.
#[test]
fn equal_across_fork_and_exec() {
    let script = "true; (exit 3); ls / | cat > /dev/null; exit 7";
    let Some((judge, end)) = judged(&["sh", "-c", script]) else { return };
    assert_eq!(end, End::Exited(7));
    assert!(judge.wrong.is_empty(), "{}", judge.wrong.join("\n"));
    assert_eq!(judge.spaces.tally().drift, 0);
}

/// Checks the same for hundreds of random calls in one area, some of them failing: this very binary's `random_calls`.
#[test]
fn equal_after_random_calls() {
    let me = std::env::current_exe().unwrap();
    let me = me.to_str().unwrap();
    let Some((judge, end)) = judged(&[me, "--exact", "random_calls", "--test-threads=1"]) else { return };
    assert_eq!(end, End::Exited(0));
    assert!(judge.calls > 1000, "{} calls", judge.calls);
    assert!(judge.wrong.is_empty(), "{}", judge.wrong.join("\n"));
    assert_eq!(judge.spaces.tally().drift, 0);
}

/// Checks that random calls on an area of our own do not crash us; it is also the subject of `equal_after_random_calls`.
#[test]
fn random_calls() {
    const PAGES: u64 = 64;
    const CALLS: u64 = 1200;
    let page = vmatlas_sys::page_size().bytes();
    let arena = Arena::new(Bytes(PAGES * page), ProtArg(3), MapFlags(2)).unwrap();
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = |below: u64| {
        // xorshift64: the same calls on every run, so that a difference can be looked at again.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let mut done = 0;
    for _ in 0..CALLS {
        let first = random(PAGES);
        let count = 1 + random(PAGES - first);
        let at = Addr(arena.range().start().0 + first * page);
        let len = Bytes(count * page);
        let prot = ProtArg([0, 1, 3, 3][random(4) as usize]);
        // Errors are part of it: calls on holes fail and may still have changed what lies before them.
        let result = match random(12) {
            0..3 => arena.map_over(at, len, prot, MapFlags([2, 2, 1, 0x4002][random(4) as usize])),
            3..5 => arena.unmap(at, len),
            5..8 => arena.protect(at, len, prot),
            8 => arena.advise(at, len, [10, 11, 14, 15, 16, 17, 4][random(7) as usize]),
            9 => arena.remap(at, len, Bytes((1 + random(count)) * page), false).map(|_| ()),
            _ => {
                arena.map_over(at, Bytes(page), ProtArg(3), MapFlags(2)).unwrap();
                touch(arena.range(), first, 1, Touch::Write).map(|_| ())
            }
        };
        done += u64::from(result.is_ok());
    }
    assert!(done > CALLS / 3, "{done} calls succeeded");
    arena.unmap(arena.range().start(), arena.range().len()).unwrap();
}
