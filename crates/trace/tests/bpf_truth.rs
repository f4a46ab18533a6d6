//! The BPF backend's model beside the kernel's map while the program stands still: threads, lost records, and changes that
//! no call of the program makes included.

#![expect(clippy::unwrap_used, reason = "a test binary")]

use std::collections::VecDeque;
use std::ffi::OsString;
use std::process::Command;
use vmatlas_event::{Event, MmId, Next, Op, Sink};
use vmatlas_model::{Level, Spaces};
use vmatlas_proc::{ProcKernel, ProcRoot};
use vmatlas_testkit::{Capability, left_off, need, need_root, program, without_bpf};
use vmatlas_trace::{Bpf, BpfOptions, Counts, End, Launch, Shortage, TraceError};

/// So many calls are made where the environment does not say otherwise.
const CALLS: &str = "10000";

/// Keeps what the model came to.
struct Keeper {
    spaces: Spaces,
    latest: VecDeque<String>,
    differences: Vec<String>,
    /// How often the map was compared, and the pages were other ones.
    wrong_pages: u64,
    lost: u64,
    others: u64,
}

impl Keeper {
    fn new() -> Keeper {
        Keeper {
            spaces: Spaces::new(vmatlas_sys::page_size()),
            latest: VecDeque::new(),
            differences: Vec::new(),
            wrong_pages: 0,
            lost: 0,
            others: 0,
        }
    }
}

impl Sink for Keeper {
    fn event(&mut self, event: &Event) -> Next {
        const LATEST: usize = 12;
        let drift = self.spaces.tally().drift;
        let progress = self.spaces.event(event);
        if let Op::Lost { count, .. } = &event.op {
            self.lost += count.unwrap_or(0);
        }
        let mut text = format!("{:?} mm {} {:?} = {:?}", event.task.tid, event.mm.0, event.op, event.outcome);
        text.truncate(1000);
        self.latest.push_back(text);
        if self.latest.len() > LATEST {
            self.latest.pop_front();
        }
        let has_drifted = self.spaces.tally().drift > drift;
        if (progress.difference.is_some() || has_drifted) && self.differences.len() < 3 {
            let latest: Vec<&str> = self.latest.iter().map(String::as_str).collect();
            self.differences.push(format!("{:#?}\nafter\n{}", progress.difference, latest.join("\n")));
        }
        let is_of_pages = progress.difference.is_some_and(|difference| difference.level == Level::Coverage);
        self.wrong_pages += u64::from(is_of_pages);
        if progress.ask.is_empty() { Next::Go } else { Next::Ask(progress.ask) }
    }

    fn other_change(&mut self, _mm: MmId) {
        self.others += 1;
    }
}

/// Runs a program with so many of a hundred records lost, and compares; `None` where this kernel cannot.
fn compared(command: &[&str], lost: u64) -> Option<(Keeper, End, Counts)> {
    if !need_root("BPF programs are loaded") {
        return None;
    }
    let shortage = Shortage { dropped: lost, ..Shortage::default() };
    let bpf = match Bpf::short(BpfOptions::default(), shortage) {
        Err(TraceError::Bpf(why)) => {
            without_bpf(&why);
            return None;
        }
        bpf => bpf.unwrap(),
    };
    let command: Vec<OsString> = command.iter().map(OsString::from).collect();
    let mut launch = Launch::new(&command, Some("/usr/bin:/bin".as_ref())).unwrap();
    launch.check = true;
    let (mut keeper, mut kernel) = (Keeper::new(), ProcKernel::new(ProcRoot::system()));
    let mut launched = bpf.start(&launch).unwrap();
    let end = launched.run(&mut kernel, &mut keeper).unwrap();
    Some((keeper, end, launched.counts()))
}

/// Random calls; `None` where the program that makes them was not built, or nothing can be compared.
fn random_calls(threads: &str, lost: u64) -> Option<(Keeper, End, Counts)> {
    // Of another package: built with the whole workspace.
    let me = std::env::current_exe().unwrap();
    let subject = program(me.parent().unwrap().with_file_name("vmatlas-truth-subject").to_str().unwrap());
    if !subject.exists() {
        left_off("vmatlas-truth-subject (cargo build -p vmatlas-testkit)");
        return None;
    }
    let calls = std::env::var("VMATLAS_BPF_CALLS").unwrap_or_else(|_| CALLS.to_owned());
    let seed = std::env::var("VMATLAS_BPF_SEED").unwrap_or_else(|_| "7".to_owned());
    let subject = subject.to_str().unwrap();
    compared(&[subject, "--calls", &calls, "--seed", &seed, "--threads", threads], lost)
}

/// Checks that of random calls no page and no boundary is ever another one than the kernel's while the program is stopped, but
/// where the model says that it does not know.
#[test]
fn the_model_equals_a_stopped_program() {
    let Some((keeper, ..)) = random_calls("1", 0) else { return };
    check(&keeper);
}

/// Checks the same of threads whose calls overlap.
#[test]
fn the_model_equals_a_stopped_program_with_threads() {
    let Some((keeper, ..)) = random_calls("4", 0) else { return };
    check(&keeper);
}

fn check(keeper: &Keeper) {
    let tally = keeper.spaces.tally();
    println!("{tally:?}, others {}, wrong pages {}", keeper.others, keeper.wrong_pages);
    assert!(keeper.differences.is_empty(), "{tally:?}\n{}", keeper.differences.join("\n\n"));
    assert!(tally.compared > 0 && tally.drift == 0, "{tally:?}");
    assert_eq!(keeper.lost, 0);
}

/// Checks that where a hundredth, a tenth or a half of all records is lost, as many are told as lost as were made and not
/// taken, and that what the model claims afterwards is true.
#[test]
fn losses_are_told_exactly() {
    for of_hundred in [1, 10, 50] {
        let Some((keeper, end, Counts { produced, taken })) = random_calls("1", of_hundred) else { return };
        let tally = keeper.spaces.tally();
        println!("{of_hundred} %: {produced} made, {taken} taken, {} told as lost, {tally:?}", keeper.lost);
        assert_eq!(end, End::Exited(0));
        assert_eq!(keeper.lost, produced - taken);
        let share = keeper.lost as f64 / produced as f64 * 100.0;
        let wanted = of_hundred as f64;
        assert!((wanted / 2.0..wanted * 1.5).contains(&share), "{share} of {wanted} %");
        assert!(
            keeper.differences.is_empty(),
            "{of_hundred} %: {tally:?}\n{}",
            keeper.differences.join("\n\n")
        );
        assert!(tally.snapshots > 0 && tally.drift == 0, "{tally:?}");
        assert!(keeper.spaces.alive().is_empty(), "{:?}", keeper.spaces.alive());
    }
}

/// Checks that a stack that grows without a call is counted, and is no drift.
#[test]
fn a_stack_that_grows_is_another_change() {
    let script = "f() { [ \"$1\" -gt 0 ] && f $(( $1 - 1 )); :; }; f 900; sleep 1; exit 4";
    let Some((keeper, end, _)) = compared(&["sh", "-c", script], 0) else { return };
    assert_eq!(end, End::Exited(4));
    let tally = keeper.spaces.tally();
    assert!(keeper.differences.is_empty(), "{}", keeper.differences.join("\n\n"));
    assert!(keeper.others > 0 && tally.observed > 0 && tally.drift == 0, "{} {tally:?}", keeper.others);
}

/// A program that has an io_uring worker split a VMA (IORING_OP_MADVISE with MADV_DONTDUMP), then rests.
const RINGS: &str = r#"
#include <linux/io_uring.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(void)
{
    struct io_uring_params p;
    char *pages = mmap(0, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int fd;

    memset(&p, 0, sizeof(p));
    fd = syscall(SYS_io_uring_setup, 4, &p);
    if (fd < 0)
        return 77;
    char *sq = mmap(0, p.sq_off.array + p.sq_entries * 4, PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQ_RING);
    struct io_uring_sqe *sqe =
        mmap(0, p.sq_entries * sizeof(*sqe), PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQES);
    usleep(50000);
    memset(sqe, 0, sizeof(*sqe));
    sqe->opcode = IORING_OP_MADVISE;
    sqe->addr = (unsigned long)pages + 4096;
    sqe->len = 4096;
    sqe->fadvise_advice = MADV_DONTDUMP;
    *(unsigned *)(sq + p.sq_off.array) = 0;
    __atomic_store_n((unsigned *)(sq + p.sq_off.tail), 1, __ATOMIC_RELEASE);
    if (syscall(SYS_io_uring_enter, fd, 1, 1, IORING_ENTER_GETEVENTS, 0, 0) != 1)
        return 78;
    usleep(1000000);
    return 0;
}
"#;

/// Checks that a VMA which the kernel splits for a request in a ring, without a system call that says so, is counted, and that
/// the map is read again for it.
#[test]
fn a_split_by_io_uring_is_another_change() {
    if !need_root("BPF programs are loaded") || !need(Capability::Tool("cc")) {
        return;
    }
    let folder = std::env::temp_dir().join(format!("vmatlas-rings-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (source, binary) = (folder.join("rings.c"), folder.join("rings"));
    std::fs::write(&source, RINGS).unwrap();
    assert!(Command::new("cc").arg("-o").arg(&binary).arg(&source).status().unwrap().success());
    let run = compared(&[binary.to_str().unwrap()], 0);
    std::fs::remove_dir_all(&folder).unwrap();
    let Some((keeper, end, _)) = run else { return };
    if end == End::Exited(77) {
        left_off("io_uring");
        return;
    }
    assert_eq!(end, End::Exited(0));
    let tally = keeper.spaces.tally();
    assert!(keeper.differences.is_empty(), "{}", keeper.differences.join("\n\n"));
    assert!(keeper.others > 0 && tally.observed > 0 && tally.drift == 0, "{} {tally:?}", keeper.others);
}
