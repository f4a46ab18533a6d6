//! Walking the stack of a process that ends meanwhile.

#![forbid(unsafe_code)]

use std::process::Command;
use std::time::Duration;
use vmatlas_event::{Addr, MmId, Pid, Prot, Registers, StackEnd, Stopped, TaskId, Tid, VmaRow};
use vmatlas_proc::{MapsReader, ProcRoot};
use vmatlas_stack::{Rows, Walker};
use vmatlas_testkit::{Tracee, wait_until};

struct Map(Vec<VmaRow>);

impl Rows for Map {
    fn row_at(&self, addr: Addr) -> Option<&VmaRow> {
        self.0.iter().find(|row| row.range.contains(addr))
    }
}

/// Checks that a stack ends with a reason where its process is gone, whether or not its files were met before, and that its
/// memory is never taken for another process's.
#[test]
fn a_process_that_ends_has_an_end_of_its_stack() {
    let child = Tracee::start(Command::new("sleep").arg("60")).unwrap();
    let pid = Pid(child.pid().0);
    let process = ProcRoot::system().process(pid).unwrap();
    let rows = || MapsReader::new().read(&process).unwrap().rows;
    let has_libc = || rows().iter().any(|row| String::from_utf8_lossy(row.name_bytes()).contains("libc"));
    assert!(wait_until(has_libc, Duration::from_secs(10)));
    let map = Map(rows());
    let code = map.0.iter().filter(|row| row.prot.has(Prot::EXEC) && row.has_file());
    let places: Vec<Addr> = code.map(|row| Addr(row.range.start().0 + 0x800)).collect();
    let stack = map.0.iter().find(|row| row.special() == Some(b"stack")).unwrap().range;
    let task = TaskId { pid, tid: Tid(pid.0), started: None };
    let walk = |walker: &mut Walker, ip: Addr| {
        let mut general = [0; Registers::COUNT];
        // rsp and rbp, sp and x29: somewhere in the last page of the stack.
        for number in [6, 7, 29, 31] {
            general[number] = stack.end().0 - 2048;
        }
        let at = Stopped {
            task,
            mm: MmId(1),
            registers: &Registers { ip, general, is_32: false },
            stack: vmatlas_event::StackFrom::Thread,
            at: vmatlas_sys::now(),
        };
        walker.addresses(&at, &map)
    };
    let mut known = Walker::new();
    for ip in &places {
        let (addresses, end) = walk(&mut known, *ip);
        assert!(addresses.first() == Some(ip) && end.is_some());
    }
    drop(child);
    for mut walker in [known, Walker::new()] {
        for ip in &places {
            let (addresses, end) = walk(&mut walker, *ip);
            assert_eq!(addresses, [*ip]);
            assert!(matches!(end, Some(StackEnd::Unreadable | StackEnd::NoRule)), "{end:?}");
        }
    }
}
