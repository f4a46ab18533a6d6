//! The list over a made-up /proc: what is hard to come by, and what may not be looked at.

use super::*;
use crate::args::{Cli, Command};
use clap::Parser;
use vmatlas_testkit::{FakeProc, FakeProcess, FakeThread};

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn view_of(processes: &[FakeProcess], words: &[&str]) -> PsView {
    let fake = FakeProc::new().unwrap();
    for process in processes {
        fake.add(process).unwrap();
    }
    fake.sysctl("vm/max_map_count", 65_530).unwrap();
    let Command::Ps(args) = Cli::parse_from([&["vmatlas", "ps"], words].concat()).command else { panic!() };
    read(&ProcRoot::at(fake.path()), &args).unwrap()
}

fn process(pid: i32, name: &str, rss_kib: u64) -> FakeProcess {
    FakeProcess::new(pid)
        .comm(name)
        .status_line("VmSize", "9000 kB")
        .status_line("VmRSS", &format!("{rss_kib} kB"))
        .status_line("VmSwap", "4 kB")
}

fn pids(view: &PsView) -> Vec<i32> {
    view.rows.iter().map(|row| row.pid.0).collect()
}

/// Checks figures, order and filters, and that what was not asked for was not read.
#[test]
fn processes_are_listed_with_their_figures() {
    let all = [process(10, "small", 100), process(11, "large", 3000), process(12, "middle", 2000)];
    let view = view_of(&all, &[]);
    assert_eq!(pids(&view), [11, 12, 10]);
    let large = &view.rows[0];
    assert_eq!((large.name.as_deref(), large.uid), (Some(&b"large"[..]), Some(1000)));
    assert_eq!((large.virtual_size, large.resident), (Ok(Bytes(9000 << 10)), Ok(Bytes(3000 << 10))));
    assert_eq!((large.swapped, large.page_tables), (Ok(Bytes(4096)), Err(Missing::Unknown)));
    assert_eq!(
        (large.vmas, large.pss, large.uss),
        (Err(Missing::NotRead), Err(Missing::NotRead), Err(Missing::NotRead))
    );
    assert_eq!(view.about.max_map_count, Some(65_530));
    assert_eq!(pids(&view_of(&all, &["--sort", "pid"])), [10, 11, 12]);
    assert_eq!(pids(&view_of(&all, &["--sort", "name"])), [11, 12, 10]);
    assert_eq!(pids(&view_of(&all, &["--min-rss", "2MB"])), [11]);
    assert_eq!(pids(&view_of(&all, &["--name", "ddl"])), [12]);
}

/// Checks that threads of the kernel and zombies have no memory and are left out, and that a process whose first thread
/// has ended still has its memory.
#[test]
fn what_has_no_memory_is_left_out() {
    let all = [
        FakeProcess::new(20).comm("kworker/0:1").status_line("Kthread", "1"),
        FakeProcess::new(21).comm("dead").state('Z'),
        FakeProcess::new(22)
            .comm("headless")
            .state('Z')
            .thread(FakeThread::new(23))
            .file("status", "Name:\theadless\nState:\tZ (zombie)\nTgid:\t22\nUid:\t5\t5\t5\t5\nThreads:\t2\n")
            .file(
                "task/23/status",
                "Name:\tworker\nState:\tS\nTgid:\t22\nVmSize:\t8 kB\nVmRSS:\t4 kB\nThreads:\t2\n",
            ),
        process(24, "plain", 1),
    ];
    assert_eq!(pids(&view_of(&all, &["--sort", "pid"])), [22, 24]);
    let view = view_of(&all, &["--sort", "pid", "--all"]);
    let what: Vec<What> = view.rows.iter().map(|row| row.what).collect();
    assert_eq!(what, [What::KernelThread, What::Zombie, What::Process, What::Process]);
    for row in &view.rows[..2] {
        assert_eq!(
            (row.resident, row.vmas, row.pss),
            (Err(Missing::NoMemory), Err(Missing::NoMemory), Err(Missing::NoMemory))
        );
    }
    assert_eq!(view.rows[2].name.as_deref(), Some(&b"headless"[..]));
    assert_eq!(view.rows[2].resident, Ok(Bytes(4096)));
}

/// Checks that a process which ends before all of it was read is passed over and counted.
#[test]
fn those_that_end_meanwhile_are_counted() {
    let fake = FakeProc::new().unwrap();
    fake.add(&process(30, "stays", 4).maps("00400000-00401000 r-xp 00000000 08:01 42 /bin/x\n")).unwrap();
    fake.add(&process(31, "goes", 4)).unwrap();
    std::fs::remove_file(fake.path().join("31/maps")).unwrap();
    std::fs::create_dir(fake.path().join("32")).unwrap();
    let Command::Ps(args) = Cli::parse_from(["vmatlas", "ps", "--vmas"]).command else { panic!() };
    let view = read(&ProcRoot::at(fake.path()), &args).unwrap();
    assert_eq!((pids(&view), view.about.ended), (vec![30], 2));
    assert_eq!(view.rows[0].vmas, Ok(1));
}

/// Checks that VMAs are counted, and that what maps prints for the old system calls is none.
#[test]
fn vsyscall_is_no_vma() {
    let line = "00400000-00401000 r-xp 00000000 08:01 42                         /bin/x\n";
    let vsyscall = "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n";
    let long: String = line.repeat(5000) + vsyscall;
    let odd = line.replace("/bin/x", "/tmp/[vsyscall]");
    let all = [
        process(40, "a", 4).maps(line.to_owned() + vsyscall),
        process(41, "b", 4).maps(&long),
        process(42, "c", 4).maps(&odd),
        process(43, "empty", 4).maps(""),
    ];
    let view = view_of(&all, &["--vmas", "--sort", "pid"]);
    let vmas: Vec<Figure<u64>> = view.rows.iter().map(|row| row.vmas).collect();
    assert_eq!(vmas, [Ok(1), Ok(5000), Ok(1), Err(Missing::Unknown)]);
}

/// Checks that processes are grouped by container, with the pod, and that others are in none.
#[test]
fn containers_are_told_by_the_cgroup() {
    let all = [
        process(50, "web", 100).file("cgroup", format!("0::/system.slice/docker-{ID}.scope\n")),
        process(51, "worker", 200).file("cgroup", format!("4:memory:/docker/{ID}\n0::/\n")),
        process(52, "sshd", 50).file("cgroup", "0::/system.slice/ssh.service\n"),
    ];
    let view = view_of(&all, &["--by", "container"]);
    let groups = view.groups(By::Container, Sort::Rss);
    let told: Vec<(String, u64, u64)> = groups
        .iter()
        .map(|g| (g.key.text(vmatlas_view::Lang::En), g.sums.processes, g.sums.resident.total >> 10))
        .collect();
    assert_eq!(told, [("docker 0123456789ab".to_owned(), 2, 300), ("no container".to_owned(), 1, 50)]);
    assert_eq!(view.rows[2].workload.unit.as_deref(), Some(&b"ssh.service"[..]));
}

/// Checks that a file which this kernel does not have is no sign of an ended process.
#[test]
fn a_missing_file_is_no_end() {
    let map = "00400000-00401000 r-xp 00000000 08:01 42                         /bin/x\n";
    let view = view_of(&[process(60, "here", 4).maps(map)], &["--pss"]);
    assert_eq!((view.rows[0].pss, view.about.ended), (Err(Missing::Unknown), 0));
}

/// Checks that large processes are not summed unless that is asked for.
#[test]
fn large_processes_are_not_summed_unasked() {
    let view = view_of(&[process(60, "large", 300 << 10)], &["--pss"]);
    assert_eq!((view.rows[0].pss, view.about.too_large), (Err(Missing::NotRead), 1));
    let rollup = "00400000-7fff0000 ---p 00000000 00:00 0                                  [rollup]\nRss: 8 kB\nPss: 6 kB\nPrivate_Clean: 1 kB\n\
                  Private_Dirty: 2 kB\n";
    let view = view_of(&[process(60, "large", 300 << 10).file("smaps_rollup", rollup)], &["--rollup"]);
    assert_eq!((view.rows[0].pss, view.rows[0].uss), (Ok(Bytes(6 << 10)), Ok(Bytes(3 << 10))));
    assert_eq!(view.rows[0].shares_from, Some(ShareSource::Rollup));
    assert_eq!(view.about.rollup.map(|cost| cost.processes), Some(1));
}

/// Checks that arguments are shown only when asked for.
#[test]
fn arguments_are_private() {
    let secret = process(70, "db", 1).file("cmdline", "db\0--password=x\0");
    assert_eq!(view_of(std::slice::from_ref(&secret), &[]).rows[0].args, Err(Missing::NotRead));
    assert_eq!(view_of(&[secret], &["--args"]).rows[0].args, Ok(b"db\0--password=x\0".to_vec()));
}
