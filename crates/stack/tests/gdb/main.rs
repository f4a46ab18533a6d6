//! gdb is the oracle: at the same stop its backtrace and ours must be the same addresses.
//!
//! gdb traces the program and prints registers and frames after a memory call; while it waits for our word, the program
//! stands still, and we walk the same stack from the same registers.

#![expect(clippy::unwrap_used, reason = "a test binary")]

mod programs;

use programs::{Program, compile};
use std::process::{Command, Stdio};
use vmatlas_event::{Addr, MmId, Pid, Prot, Registers, StackEnd, StackFrom, Stopped, TaskId, Tid, VmaRow};
use vmatlas_proc::{MapsReader, ProcRoot};
use vmatlas_stack::{Rows, Walker};
use vmatlas_testkit::{Capability, Tracee, left_off, need};

/// What gdb does: goes on to the next return from a memory call, and prints what it sees there.
const SCRIPT: &str = r#"
import gdb
MASK = (1 << 64) - 1
NAMES = 'rax rdx rcx rbx rsi rdi rbp rsp r8 r9 r10 r11 r12 r13 r14 r15'.split()
for setting in ['pagination off', 'confirm off', 'backtrace past-main on', 'backtrace past-entry on',
                'backtrace limit 400', 'debuginfod enabled off', 'print thread-events off',
                'detach-on-fork off', 'schedule-multiple off']:
    try:
        gdb.execute('set ' + setting)
    except gdb.error:
        pass

gdb.execute('handle all nostop noprint pass', to_string=True)

def go(calls):
    while calls > 0:
        try:
            gdb.execute('continue', to_string=True)
        except gdb.error:
            pass
        if not gdb.selected_thread():
            print('GONE', flush=True)
            return
        # The kernel puts ENOSYS there before a call.
        if int(gdb.newest_frame().read_register('rax')) & MASK != MASK - 37:
            calls -= 1
    frame = gdb.newest_frame()
    thread = gdb.selected_thread()
    print('STOP', thread.ptid[0], thread.ptid[1], int(frame.read_register('rip')) & MASK,
          *[int(frame.read_register(name)) & MASK for name in NAMES])
    try:
        while frame is not None:
            # What was inlined, or called by a jump, has no frame of its own: gdb makes those up.
            if frame.type() not in (gdb.INLINE_FRAME, gdb.TAILCALL_FRAME):
                print('FRAME', frame.pc(), frame.name() or '?')
            frame = frame.older()
    except gdb.error:
        pass
    print('END', flush=True)
"#;

struct Map(Vec<VmaRow>);

impl Rows for Map {
    fn row_at(&self, addr: Addr) -> Option<&VmaRow> {
        let after = self.0.partition_point(|row| row.range.end() <= addr);
        self.0.get(after).filter(|row| row.range.contains(addr))
    }
}

/// How a program's stacks compared.
#[derive(Debug, Default)]
struct Sample {
    stops: usize,
    frames: usize,
    /// Those that reached the start.
    whole: usize,
    differences: Vec<String>,
}

/// Stops a program after some of its memory calls, and compares; `None` where the machine cannot.
fn compare(program: &Program, wanted: usize, step: usize) -> Option<Sample> {
    let tools = ["gdb", "cc"].map(Capability::Tool);
    if !tools.into_iter().all(need) || !need(Capability::Ptrace) {
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("script.py");
    std::fs::write(&script, SCRIPT).unwrap();
    let command = program.command(folder.path())?;
    let mut gdb = Command::new("gdb");
    gdb.args(["-nx", "-q", "-ex", &format!("source {}", script.display())]);
    gdb.args([
        "-ex",
        "catch syscall mmap munmap mprotect mremap brk madvise",
        "-ex",
        // Arguments of `run` would take the place of the program's own.
        "set exec-wrapper sh -c 'exec \"$0\" \"$@\" </dev/null >/dev/null'",
        "-ex",
        "run",
        "--args",
    ]);
    gdb.args(&command).current_dir(folder.path()).env_remove("LD_LIBRARY_PATH");
    gdb.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut gdb = Tracee::start(&mut gdb).unwrap();
    let (mut walker, mut sample) = (Walker::new(), Sample::default());
    // `run` stopped at the entry of the first call.
    while sample.stops < wanted {
        gdb.write_line(&format!("python go({step})")).unwrap();
        let Some((task, registers, theirs)) = stop(&mut gdb) else { break };
        sample.stops += 1;
        let process = ProcRoot::system().process(task.pid).unwrap();
        let map = Map(MapsReader::new().read(&process).unwrap().rows);
        // Each stop is its own map to the walker: nobody tells it when one is no more.
        let mm = MmId(0);
        let (ours, end) = {
            let at =
                Stopped { task, mm, registers: &registers, stack: StackFrom::Thread, at: vmatlas_sys::now() };
            walker.addresses(&at, &map)
        };
        sample.frames += ours.len();
        sample.whole += usize::from(end == Some(StackEnd::Start));
        let ours: Vec<u64> = ours.iter().map(|addr| addr.0).collect();
        // Where ld.so starts there is no table, and gdb goes on through the arguments of the program as if they were code.
        let is_code = |addr: &u64| map.row_at(Addr(*addr)).is_some_and(|row| row.prot.has(Prot::EXEC));
        let addresses: Vec<u64> = theirs.iter().map(|(addr, _)| *addr).take_while(is_code).collect();
        let is_same = ours == addresses;
        if !is_same || end != Some(StackEnd::Start) {
            let name = |addr: u64| map.row_at(Addr(addr)).map(|row| format!("{:?}", row.name));
            let ours: Vec<_> = ours.iter().map(|a| format!("{a:#x} {:?}", name(*a))).collect();
            let theirs: Vec<_> = theirs.iter().map(|(a, n)| format!("{a:#x} {n}")).collect();
            sample.differences.push(format!("{end:?}\nours {ours:#?}\ngdb {theirs:#?}"));
        }
    }
    let _ = gdb.write_line("kill");
    let _ = gdb.write_line("quit");
    let _ = gdb.wait();
    eprintln!("{}: {} stops, {} frames, {} whole", program.name, sample.stops, sample.frames, sample.whole);
    if sample.stops == 0 {
        left_off("gdb that stops at system calls and runs Python");
        return None;
    }
    Some(sample)
}

type Stop = (TaskId, Registers, Vec<(u64, String)>);

fn stop(gdb: &mut Tracee) -> Option<Stop> {
    let mut stop: Option<Stop> = None;
    loop {
        let line = gdb.read_line().ok()?;
        // A prompt may stand before it.
        let line = line.rsplit("(gdb) ").next().unwrap_or_default();
        let mut words = line.split(' ');
        match words.next() {
            Some("GONE") => return None,
            Some("STOP") => {
                let mut numbers = words.map(|word| word.parse::<u64>().unwrap());
                let (pid, tid) = (numbers.next().unwrap() as i32, numbers.next().unwrap() as i32);
                let ip = Addr(numbers.next().unwrap());
                let mut general = [0; Registers::COUNT];
                for (slot, number) in general.iter_mut().zip(numbers) {
                    *slot = number;
                }
                let task = TaskId { pid: Pid(pid), tid: Tid(tid), started: None };
                stop = Some((task, Registers { ip, general, is_32: false }, Vec::new()));
            }
            Some("FRAME") => {
                let (_, _, frames) = stop.as_mut().unwrap();
                frames.push((words.next().unwrap().parse().unwrap(), words.collect::<Vec<_>>().join(" ")));
            }
            Some("END") => return stop,
            _ => {}
        }
    }
}

/// Compares, and says what was different: every stack the same, all but `open` of them whole.
fn check(program: &Program, wanted: usize, step: usize) {
    let Some(sample) = compare(program, wanted, step) else { return };
    assert!(
        sample.differences.is_empty(),
        "{}: {} of {} differ\n{}",
        program.name,
        sample.differences.len(),
        sample.stops,
        sample.differences[0]
    );
}

/// Checks C without frame pointers: recursion, callbacks of libc, large frames, aligned frames.
#[test]
fn c_without_frame_pointers() {
    check(&compile("c", programs::C, &["-O2", "-fomit-frame-pointer"]), 30, 1);
}

/// Checks the same with frame pointers and without optimization.
#[test]
fn c_with_frame_pointers() {
    check(&compile("c-O0", programs::C, &["-O0"]), 20, 1);
}

/// Checks a static program, which has no index of its tables.
#[test]
fn a_static_program() {
    check(&compile("static", programs::C, &["-O2", "-static", "-no-pie"]), 20, 1);
}

/// Checks threads and a signal handler that maps memory, on the thread's stack and on another one.
#[test]
fn threads_and_signal_handlers() {
    check(&compile("threads", programs::THREADS, &["-O2", "-pthread"]), 30, 1);
}

/// Checks C++: exceptions being handled, virtual calls, lambdas, templates.
#[test]
fn cpp() {
    check(&Program::cpp(), 30, 1);
}

/// Checks Rust without frame pointers.
#[test]
fn rust() {
    check(&Program::rust(), 30, 1);
}

/// Checks an interpreter that nobody compiled for this test.
#[test]
fn python() {
    let script = "import json, decimal, re; x = [bytes(200000) for i in range(30)]; del x[::2]";
    check(&Program::system("python3", &["-c", script]), 30, 3);
}

/// Checks a small program of the system.
#[test]
fn ls() {
    check(&Program::system("ls", &["-la", "/"]), 40, 1);
}
