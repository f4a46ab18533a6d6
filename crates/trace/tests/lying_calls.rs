//! Calls whose result does not say what became of the map: made for real, and the model compared with the kernel after
//! each. Each is a row of the table of calls that need a second look; what the kernel does differs between versions, what
//! must not differ is that the model knows.

#![expect(clippy::unwrap_used, reason = "a test binary")]

use std::ffi::OsString;
use std::fmt::Write;
use std::sync::Mutex;
use vmatlas_event::{Event, Next, Op, OpKind, Outcome, Sink};
use vmatlas_model::{Difference, Done, Spaces};
use vmatlas_proc::{ProcKernel, ProcRoot};
use vmatlas_testkit::truth::{Stage, text};
use vmatlas_testkit::{Capability, need};
use vmatlas_trace::{End, Launch, Tracer};

/// Keeps every memory call with what it did, and every difference between model and kernel.
struct Judge {
    spaces: Spaces,
    done: Vec<Done>,
    differences: Vec<Difference>,
}

impl Sink for Judge {
    fn event(&mut self, event: &Event) -> Next {
        let progress = self.spaces.event(event);
        self.done.extend(progress.done.filter(|done| done.event.op.is_call()).map(|done| *done));
        self.differences.extend(progress.difference.map(|difference| *difference));
        if progress.ask.is_empty() { Next::Go } else { Next::Ask(progress.ask) }
    }
}

/// The variable that makes `subject` play a program.
const PROGRAM: &str = "VMATLAS_TEST_PROGRAM";
/// One program at a time: each runs at the same fixed addresses, and the environment is this process's.
static ONE: Mutex<()> = Mutex::new(());

/// Plays a program in a child under the tracer; the call of its last step that is of this kind, with what it did.
fn last(kind: OpKind, program: &str) -> Option<Done> {
    if !need(Capability::Ptrace) {
        return None;
    }
    let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), program).unwrap();
    let me = std::env::current_exe().unwrap();
    let assignment = format!("{PROGRAM}={}", file.path().display());
    let command = ["env", &assignment, me.to_str().unwrap(), "--exact", "subject", "--test-threads=1"]
        .map(OsString::from);
    let mut launch = Launch::new(&command, Some("/usr/bin:/bin".as_ref())).unwrap();
    launch.check = true;
    let mut judge =
        Judge { spaces: Spaces::new(vmatlas_sys::page_size()), done: Vec::new(), differences: Vec::new() };
    let end = Tracer::start(&launch).unwrap().run(&mut ProcKernel::new(ProcRoot::system()), &mut judge);
    assert_eq!(end.unwrap(), End::Exited(0), "{program}");
    assert_eq!(judge.differences, [], "{program}");
    assert_eq!(judge.spaces.tally().drift, 0, "{program}");
    let mine = |done: &&Done| done.event.op.kind() == kind && is_on_stage(&done.event);
    Some(judge.done.iter().rev().find(mine).unwrap().clone())
}

/// Whether a call is one of the program's: they name the stage, which the test harness around it never does.
fn is_on_stage(event: &Event) -> bool {
    const STAGE: std::ops::Range<u64> = 0x20_0000_0000..0x21_0000_0000;
    match event.op {
        // The stage is cleared as a whole in the end.
        Op::Munmap { len, .. } if len.0 > 1 << 28 => false,
        Op::Mmap { addr, .. }
        | Op::Munmap { addr, .. }
        | Op::Mprotect { addr, .. }
        | Op::Madvise { addr, .. }
        | Op::Mlock { addr, .. }
        | Op::Shmat { addr, .. } => STAGE.contains(&addr.0),
        Op::Mremap { old, .. } => STAGE.contains(&old.0),
        _ => false,
    }
}

/// The program that is watched: this very binary, when the variable asks for it.
#[test]
fn subject() {
    let Some(file) = std::env::var_os(PROGRAM) else { return };
    let steps = text::parse(&std::fs::read_to_string(file).unwrap()).unwrap();
    Stage::new().unwrap().play(&steps);
}

/// What the call did, in short words: outcome, then the pages.
fn told(done: &Done) -> String {
    let mut out = match done.event.outcome {
        Outcome::Done(_) => "done".to_owned(),
        Outcome::Failed(errno) => vmatlas_sys::errno_name(errno).unwrap_or("?").to_owned(),
        Outcome::NoReturn => "no return".to_owned(),
    };
    for page in &done.pages {
        let (word, range) = match page {
            vmatlas_model::PageChange::Added(row) => ("added", row.range),
            vmatlas_model::PageChange::Removed(row) => ("removed", row.range),
            vmatlas_model::PageChange::Altered { to, .. } => ("altered", to.range),
            vmatlas_model::PageChange::Moved { to, .. } => ("moved", *to),
        };
        let (from, to) = ((range.start().0 & 0xffff_ffff) >> 12, (range.end().0 & 0xffff_ffff) >> 12);
        write!(out, " {word} {from}-{to}").unwrap();
    }
    out
}

/// Checks that a failed MAP_FIXED of huge pages is known to have taken the old mapping away, or to have left it.
#[test]
fn huge_pages_that_are_not_there() {
    let program = "mmap 512 600 rw private fixed\nmmap 600 1 rw private fixed hugetlb";
    let Some(done) = last(OpKind::Mmap, program) else { return };
    // Where there are huge pages it succeeds.
    let told = told(&done);
    assert!(
        ["ENOMEM", "ENOMEM removed 512-1024", "EINVAL"].contains(&told.as_str()) || told.starts_with("done"),
        "{told}"
    );
}

/// Checks that a MAP_FIXED whose driver refuses it leaves the hole it leaves.
#[test]
fn a_driver_that_refuses() {
    let program = "mmap 10 9 rw private fixed\nmmap 12 4 rw shared fixed perf+0";
    let Some(done) = last(OpKind::Mmap, program) else { return };
    // Without perf_event_open(2) the descriptor is none.
    assert!(
        ["EINVAL removed 12-16", "EINVAL", "EBADF", "EPERM"].contains(&told(&done).as_str()),
        "{}",
        told(&done)
    );
}

/// Checks that a MAP_FIXED refused before anything was done leaves all as it was.
#[test]
fn a_sealed_file() {
    let program = "mmap 10 9 rw private fixed\nmmap 12 3 rw shared fixed sealed+0";
    let Some(done) = last(OpKind::Mmap, program) else { return };
    assert_eq!(told(&done), "EPERM");
}

/// Checks that munmap and MAP_FIXED which run into sealed memory are known to leave a VMA split in look-alike halves.
#[test]
fn calls_that_run_into_sealed_memory() {
    for (kind, call) in [(OpKind::Munmap, "munmap 12 9"), (OpKind::Mmap, "mmap 12 9 r private fixed")] {
        let program =
            format!("mmap 10 5 rw private fixed\nmmap 16 5 r private fixed\nfork\nmseal 16 5\n{call}\nend");
        let Some(done) = last(kind, &program) else { return };
        // Without mseal(2) (before Linux 6.10) nothing is sealed, and the call is made.
        assert!(told(&done).starts_with("EPERM") || told(&done).starts_with("done"), "{}", told(&done));
    }
}

/// Checks that mprotect over a hole is known to have changed what lies before it.
#[test]
fn mprotect_over_a_hole() {
    let program = "mmap 10 5 rw private fixed\nmmap 20 5 rw private fixed\nmprotect 12 10 r";
    let Some(done) = last(OpKind::Mprotect, program) else { return };
    assert_eq!(told(&done), "ENOMEM altered 12-15");
    // A file that must not be written: what lies before it is changed all the same.
    let program = "mmap 10 2 r private fixed\nmmap 12 3 r shared fixed rofile+0\nmprotect 10 5 rw";
    let Some(done) = last(OpKind::Mprotect, program) else { return };
    assert_eq!(told(&done), "EACCES altered 10-12");
}

/// Checks that madvise over a hole is known to have split what lies before it and behind it.
#[test]
fn madvise_over_a_hole() {
    let program = "mmap 10 5 rw private fixed\nmmap 20 5 rw private fixed\nmadvise 12 10 dontfork";
    let Some(done) = last(OpKind::Madvise, program) else { return };
    assert_eq!(told(&done), "ENOMEM");
    assert_eq!((done.change.before.len(), done.change.after.len()), (2, 4));
}

/// Checks that mlock over a hole is known to have split what lies before it only.
#[test]
fn mlock_over_a_hole() {
    let program = "mmap 10 5 rw private fixed\nmmap 20 5 rw private fixed\nmlock 12 10";
    let Some(done) = last(OpKind::Mlock, program) else { return };
    // EPERM, EAGAIN: an ordinary user may lock little or nothing.
    let told = told(&done);
    match told.as_str() {
        "ENOMEM" => assert!(done.change.after.len() <= 2, "{:?}", done.change),
        other => assert!(["EPERM", "EAGAIN"].contains(&other), "{other}"),
    }
}

/// Checks that a move from a range with a hole is known to have done what this kernel does: nothing, the destination
/// unmapped (Linux 6.1), or each VMA moved by itself (Linux 6.17).
#[test]
fn a_move_over_a_hole() {
    let program = "mmap 10 2 rw private fixed\nmmap 14 2 r private fixed\nmmap 40 8 x private fixed\n\
                   touch 10 1 write\nmremap 10 6 6 maymove fixed 40";
    let Some(done) = last(OpKind::Mremap, program) else { return };
    let told = told(&done);
    let known = ["EFAULT", "EFAULT removed 40-46"];
    assert!(known.contains(&told.as_str()) || told.starts_with("done moved 40-46"), "{told}");
}

/// Checks that guard pages, which no row shows, are no change.
#[test]
fn guard_pages_show_nowhere() {
    let program = "mmap 10 5 rw private fixed\nmadvise 11 2 guard_install\nmadvise 11 2 guard_remove";
    let Some(done) = last(OpKind::Madvise, program) else { return };
    assert!(done.change.is_empty());
    assert!(["done", "EINVAL"].contains(&told(&done).as_str()));
}

/// Checks that what cannot be populated or locked is mapped all the same.
#[test]
fn a_mapping_that_cannot_be_locked() {
    let program = "mmap 10 5 rw private fixed populate\nmmap 20 5 none private fixed locked";
    let Some(done) = last(OpKind::Mmap, program) else { return };
    // EAGAIN, EPERM: an ordinary user may lock little or nothing.
    assert!(["done added 20-25", "EAGAIN", "EPERM"].contains(&told(&done).as_str()), "{}", told(&done));
}

/// Checks that shmdt removes the pieces of its segment only, and those also when another mapping lies over its start.
#[test]
fn a_segment_goes_in_pieces() {
    let program = "shmat 29\nmmap 29 1 rw shared fixed\nshmdt 29\nmunmap 29 1";
    let Some(done) = last(OpKind::Munmap, program) else { return };
    assert_eq!(told(&done), "done removed 29-30");
}

/// Checks that a program longer than any other here stays equal throughout: forks, growth, mlockall, brk.
#[test]
fn all_of_it_together() {
    let mut program = String::new();
    for epoch in 0..4 {
        program += &text::print(&vmatlas_testkit::truth::program(11, epoch, 0, &Default::default()));
    }
    program += "mmap 900 1 r private fixed\nmunmap 900 1\n";
    let Some(done) = last(OpKind::Munmap, &program) else { return };
    assert_eq!(told(&done), "done removed 900-901");
}
