//! The readers on a made-up /proc: processes that are hard to come by, and moments that are hard to hit.

#![expect(clippy::unwrap_used, reason = "a test binary")]

use vmatlas_event::{Addr, Kernel, KernelError, Pid, TaskId, Tid};
use vmatlas_proc::{ErrorKind, MapsReader, ProcKernel, ProcRoot};
use vmatlas_testkit::{FakeProc, FakeProcess, FakeThread};

const MAP: &str = "00400000-00401000 r-xp 00000000 08:01 42                                 /bin/fake\n\
    7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0                          [stack]\n";

fn proc_with(processes: &[FakeProcess]) -> (FakeProc, ProcRoot) {
    let fake = FakeProc::new().unwrap();
    for process in processes {
        fake.add(process).unwrap();
    }
    let root = ProcRoot::at(fake.path());
    (fake, root)
}

/// Checks that each sort of process that has no map of its own is an error of its own kind.
#[test]
fn processes_without_a_map_are_told_apart() {
    const PF_KTHREAD: u64 = 0x0020_0000;
    let (_fake, root) = proc_with(&[
        FakeProcess::new(10).flags(PF_KTHREAD).comm("kworker/0:1"),
        FakeProcess::new(11).state('Z'),
        FakeProcess::new(12).maps(MAP),
        // A map that reads as empty although nothing else is wrong: it is gone.
        FakeProcess::new(13).maps(""),
        FakeProcess::new(14).maps("nonsense\n"),
    ]);
    let kind = |pid| root.process(Pid(pid)).and_then(|p| MapsReader::new().read(&p)).unwrap_err().kind();
    assert_eq!(kind(10), ErrorKind::KernelThread);
    assert_eq!(kind(11), ErrorKind::Zombie);
    assert_eq!(kind(13), ErrorKind::Gone);
    assert_eq!(kind(14), ErrorKind::Malformed);
    assert_eq!(kind(15), ErrorKind::NoSuchProcess);
    let maps = MapsReader::new().read(&root.process(Pid(12)).unwrap()).unwrap();
    assert_eq!(maps.rows.len(), 2);
}

/// Checks that a process whose first thread has ended is read through one that lives, and never through an ended one.
#[test]
fn a_zombie_leader_is_read_through_a_living_thread() {
    let (_fake, root) = proc_with(&[FakeProcess::new(20)
        .state('Z')
        .maps("")
        .thread(FakeThread::new(21).state('Z'))
        .thread(FakeThread::new(22).stack_pointer(0x7ffc_0000_1000))
        .file("task/22/maps", MAP)]);
    let process = root.process(Pid(20)).unwrap();
    assert!(process.leader_has_ended());
    assert_eq!(MapsReader::new().read(&process).unwrap().rows.len(), 2);
    let sleeping = process.threads().into_iter().find(|t| t.tid == Tid(22)).unwrap();
    assert_eq!(sleeping.stack_pointer, Some(Addr(0x7ffc_0000_1000)));
}

/// Checks that a PID that was used again while we read is noticed by the start time.
#[test]
fn a_reused_pid_is_noticed() {
    let (fake, root) = proc_with(&[FakeProcess::new(30).started(1000).maps(MAP)]);
    let process = root.process(Pid(30)).unwrap();
    process.still_there().unwrap();
    fake.remove(Pid(30)).unwrap();
    assert_eq!(process.still_there().unwrap_err().kind(), ErrorKind::Gone);
    fake.add(&FakeProcess::new(30).started(2000).maps(MAP)).unwrap();
    assert_eq!(process.still_there().unwrap_err().kind(), ErrorKind::Gone);
    assert_eq!(MapsReader::new().read(&process).unwrap_err().kind(), ErrorKind::Gone);
}

/// Checks names: cut by the kernel, shared, of strange bytes, and a program's file name that differs from the comm.
#[test]
fn names_are_matched_as_a_person_means_them() {
    let (_fake, root) = proc_with(&[
        FakeProcess::new(40).comm("a-very-long-program-name").exe("/opt/a-very-long-program-name"),
        FakeProcess::new(41).comm("a-very-long-program-other").exe("/opt/a-very-long-program-other"),
        FakeProcess::new(42).comm(b") R 1 (\n\xff").exe("/bin/strange"),
        FakeProcess::new(43).comm("MainThread").exe("/usr/bin/node"),
        FakeProcess::new(44).comm("sh"),
        FakeProcess::new(45).comm("sh"),
    ]);
    let pids = |name: &[u8]| {
        let found = root.find_by_name(name).unwrap();
        found.iter().map(|c| c.pid.0).collect::<Vec<_>>()
    };
    assert_eq!(pids(b"a-very-long-program-name"), [40]);
    // What the kernel keeps of both names is the same.
    assert_eq!(pids(b"a-very-long-pro"), [40, 41]);
    assert_eq!(pids(b") R 1 (\n\xff"), [42]);
    assert_eq!(pids(b"node"), [43]);
    assert_eq!(pids(b"MainThread"), [43]);
    assert_eq!(pids(b"sh"), [44, 45]);
    assert_eq!(pids(b"nobody"), [0; 0]);
}

/// Checks that the limit of VMAs is read, and unknown where it cannot be.
#[test]
fn settings_are_read_or_unknown() {
    let (fake, root) = proc_with(&[]);
    assert_eq!(root.max_map_count(), None);
    fake.sysctl("vm/max_map_count", 65_530).unwrap();
    assert_eq!(root.max_map_count(), Some(65_530));
    fake.sysctl("vm/max_map_count", "many").unwrap();
    assert_eq!(root.max_map_count(), None);
}

/// Checks that a tracer's questions are answered from maps where a file cannot be asked, and that gone is gone.
#[test]
fn questions_fall_back_to_the_whole_map() {
    let (_fake, root) = proc_with(&[FakeProcess::new(50).maps(MAP).started(7)]);
    let mut kernel = ProcKernel::new(root);
    let task = |pid| TaskId { pid: Pid(pid), tid: Tid(pid), started: None };
    let range = vmatlas_event::AddrRange::new(Addr(0x40_0000), Addr(0x50_0000)).unwrap();
    // An ordinary file answers the query's ioctl with ENOTTY, as a kernel without it does.
    let rows = kernel.vmas_in(task(50), range).unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(kernel.all_vmas(task(50)).unwrap().len(), 2);
    assert_eq!(kernel.start_time(Tid(50)), Some(vmatlas_event::StartTime(7)));
    assert_eq!(kernel.process_of(Tid(50)), Some(Pid(50)));
    assert_eq!(kernel.all_vmas(task(51)), Err(KernelError::Gone));
    assert_eq!(kernel.start_time(Tid(51)), None);
}
