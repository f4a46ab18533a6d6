//! Reading the memory of a process: only what is known, only while it is the same, and never for ever.

#![allow(clippy::unwrap_used, reason = "a test binary")]

use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use vmatlas_event::{Addr, AddrRange, Bytes, MapFlags, ProtArg, VmaRow};
use vmatlas_proc::{ErrorKind, MapsReader, Memory, ProcRoot, Process};
use vmatlas_sys::mem::{Arena, Touch, touch};
use vmatlas_sys::playground::Userfault;
use vmatlas_testkit::{Tracee, left_off, wait_until};

fn me() -> Process {
    ProcRoot::system().process(vmatlas_sys::self_pid()).unwrap()
}

/// What one test unmaps, a mapping of the other must not fill.
static ALONE: Mutex<()> = Mutex::new(());

/// Private, anonymous and NORESERVE.
fn arena(pages: u64, prot: u64) -> Arena {
    Arena::new(Bytes(pages * vmatlas_sys::page_size().bytes()), ProtArg(prot), MapFlags(0x4002)).unwrap()
}

fn rows_of(process: &Process) -> Vec<VmaRow> {
    MapsReader::new().read(process).unwrap().rows
}

/// Checks that bytes come as they are, that a read ends where the known VMA ends, and that what is not known, cannot
/// be read or is gone by now is 0 bytes and no error.
#[test]
fn reads_end_where_the_known_memory_ends() {
    let _alone = ALONE.lock();
    let page = vmatlas_sys::page_size().bytes();
    let known = arena(4, 3);
    assert_eq!(touch(known.range(), 1, 1, Touch::Write), Ok(1));
    let hidden = arena(1, 0);
    let row = VmaRow::anonymous(known.range(), vmatlas_event::Prot::RW);
    let memory = Memory::new(&me(), &[row]).unwrap();
    let mut buf = vec![0xff; 16 * page as usize];
    let at = |pages: u64| Addr(known.range().start().0 + pages * page);
    assert_eq!(memory.read(at(1), &mut buf).unwrap() as u64, 3 * page);
    assert_eq!((buf[0], buf[1], buf[page as usize]), (1, 0, 0));
    assert_eq!(memory.read(Addr(0), &mut buf).unwrap(), 0);
    assert_eq!(memory.read(Addr(u64::MAX), &mut buf).unwrap(), 0);
    assert_eq!(memory.read(hidden.range().start(), &mut buf).unwrap(), 0);
    assert_eq!(memory.read(known.range().end(), &mut buf).unwrap(), 0);
    let all = Memory::new(&me(), &rows_of(&me())).unwrap();
    assert_eq!(all.read(hidden.range().start(), &mut buf[..8]).unwrap(), 0);
    known.unmap(at(2), Bytes(2 * page)).unwrap();
    assert_eq!(memory.read(at(1), &mut buf).unwrap() as u64, page);
    assert_eq!(memory.read(at(2), &mut buf[..1]).unwrap(), 0);
}

/// Checks that memory which never answers costs the deadline and no more, a few times, and that other memory can
/// still be read.
#[test]
fn memory_that_never_answers_is_left() {
    const LIMIT: Duration = Duration::from_millis(100);
    let _alone = ALONE.lock();
    let stuck = arena(4, 3);
    let other = arena(1, 3);
    let blocked = match Userfault::block(&stuck) {
        Ok(blocked) => blocked,
        Err(errno) => return left_off(&format!("userfaultfd gave error {}", errno.0)),
    };
    let memory = Memory::with_limit(&me(), &rows_of(&me()), LIMIT).unwrap();
    let mut buf = [0u8; 64];
    let start = Instant::now();
    for _ in 0..50 {
        let error = memory.read(stuck.range().start(), &mut buf).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        if start.elapsed() < LIMIT * 2 {
            assert_eq!(memory.read(other.range().start(), &mut buf).unwrap(), buf.len());
        }
    }
    assert!(start.elapsed() < LIMIT * 20, "{:?}", start.elapsed());
    drop(blocked);
}

/// Checks that memory of a process that runs another program by now, or has ended, is gone and not misread.
#[test]
fn another_program_is_not_misread() {
    let mut shell = Command::new("sh");
    shell.args(["-c", "echo ready; read go; exec sleep 60"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut shell = Tracee::start(&mut shell).unwrap();
    assert_eq!(shell.read_line().unwrap(), "ready");
    let process = ProcRoot::system().process(shell.pid()).unwrap();
    let rows = rows_of(&process);
    let stack: AddrRange = rows.iter().find(|r| r.special() == Some(b"stack")).unwrap().range;
    let memory = Memory::new(&process, &rows).unwrap();
    let mut buf = [0u8; 64];
    let at = Addr(stack.end().0 - 64);
    assert_eq!(memory.read(at, &mut buf).unwrap(), 64);
    assert!(buf.iter().any(|b| *b != 0), "the end of a stack holds the program's path");
    shell.write_line("go").unwrap();
    let gone = || memory.read(at, &mut [0u8; 8]).is_err_and(|e| e.kind() == ErrorKind::Gone);
    assert!(wait_until(gone, Duration::from_secs(10)));
    let again = Memory::new(&process, &rows_of(&process)).unwrap();
    let sleeper = rows_of(&process).iter().find(|r| r.special() == Some(b"stack")).unwrap().range;
    assert_eq!(again.read(sleeper.start(), &mut buf).unwrap(), 64);
    drop(shell);
    assert_eq!(again.read(sleeper.start(), &mut buf).unwrap_err().kind(), ErrorKind::Gone);
}
