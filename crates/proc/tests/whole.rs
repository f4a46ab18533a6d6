//! A reading is of one address space, also when the process executes another program meanwhile.

#![expect(clippy::unwrap_used, reason = "a test binary")]

use std::process::{Command, Stdio};
use std::time::Duration;
use vmatlas_event::{Bytes, Pid};
use vmatlas_proc::read::residency;
use vmatlas_proc::read::whole::{self, Space};
use vmatlas_proc::{Budget, ErrorKind, MapsReader, ProcRoot, Process};
use vmatlas_testkit::{FakeProc, FakeProcess, Tracee, wait_until};

/// A shell that becomes another program when it reads a line.
fn shell() -> (Tracee, Process) {
    let mut command = Command::new("sh");
    command.args(["-c", "echo ready; read line; exec sleep 60"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut shell = Tracee::start(&mut command).unwrap();
    assert_eq!(shell.read_line().unwrap(), "ready");
    let process = ProcRoot::system().process(shell.pid()).unwrap();
    (shell, process)
}

fn becomes_sleep(shell: &mut Tracee, process: &Process) {
    let is_sleep = || {
        process.stat().is_ok_and(|stat| stat.comm == b"sleep")
            && process.status().is_ok_and(|status| status.vm_rss > Some(Bytes(0)))
    };
    if !is_sleep() {
        shell.write_line("go").unwrap();
        assert!(wait_until(is_sleep, Duration::from_secs(10)));
    }
}

/// Checks a program that is executed between the map and its pages: all is read again, and never as not present.
#[test]
fn map_and_pages_are_of_one_program() {
    let (mut shell, process) = shell();
    let mut readings = 0;
    let (rows, resident) = whole::read(&process, |process| {
        readings += 1;
        let rows = MapsReader::new().read(process)?.rows;
        becomes_sleep(&mut shell, process);
        let pages = residency::read(process, &rows, Budget::default())?;
        Ok((rows, pages.per_row.iter().flatten().map(|pages| pages.resident).sum::<Bytes>()))
    })
    .unwrap();
    assert_eq!(readings, 2);
    assert!(rows.iter().any(|row| row.name_bytes().ends_with(b"sleep")));
    assert!(resident > Bytes(0));
}

/// Checks that who cannot begin anew is told, also where the old address space lives on as that of a vfork parent does.
#[test]
fn another_program_is_another_space() {
    let (mut shell, process) = shell();
    let space = Space::of(&process).unwrap();
    space.still().unwrap();
    becomes_sleep(&mut shell, &process);
    assert!(!space.is_still().unwrap());
    assert_eq!(space.still().unwrap_err().kind(), ErrorKind::Gone);
    Space::of(&process).unwrap().still().unwrap();

    let fake = FakeProc::new().unwrap();
    let root = ProcRoot::at(fake.path());
    fake.add(&FakeProcess::new(7).start_stack(0x7ffc_1000)).unwrap();
    let process = root.process(Pid(7)).unwrap();
    let space = Space::of(&process).unwrap();
    space.still().unwrap();
    fake.add(&FakeProcess::new(7).start_stack(0x7ffd_2000)).unwrap();
    assert!(!space.is_still().unwrap());
}
