//! All processes of a cgroup through BPF.

#![expect(clippy::unwrap_used, reason = "a test binary")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;
use vmatlas_event::{Event, Next, Op, Pid, Sink};
use vmatlas_model::Spaces;
use vmatlas_proc::{ProcKernel, ProcRoot};
use vmatlas_testkit::{Tracee, left_off, need_root, wait_until};
use vmatlas_trace::{Bpf, TraceError};

/// A cgroup that goes with it.
struct Cgroup(PathBuf);

impl Cgroup {
    fn new() -> Option<Cgroup> {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let place = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"))?;
        let folder = PathBuf::from(place.split(' ').nth(1)?).join(format!("vmatlas-{}", std::process::id()));
        fs::create_dir(&folder).ok()?;
        Some(Cgroup(folder))
    }

    fn take(&self, pid: Pid) {
        fs::write(self.0.join("cgroup.procs"), pid.0.to_string()).unwrap();
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // What has just ended may still be in it.
        let _ = wait_until(|| fs::remove_dir(&self.0).is_ok(), Duration::from_secs(5));
    }
}

/// Moves a second process into the cgroup once the first one is known, and ends the watching when that one calls.
struct Mover<'a> {
    spaces: Spaces,
    cgroup: &'a Cgroup,
    first: Pid,
    second: Pid,
    has_moved: bool,
    seen: Vec<Pid>,
}

impl Sink for Mover<'_> {
    fn event(&mut self, event: &Event) -> Next {
        let progress = self.spaces.event(event);
        let is_snapshot = matches!(event.op, Op::Snapshot { .. });
        if is_snapshot && !self.seen.contains(&event.task.pid) {
            self.seen.push(event.task.pid);
        }
        if is_snapshot && event.task.pid == self.first && !self.has_moved {
            self.has_moved = true;
            self.cgroup.take(self.second);
        }
        if is_snapshot && event.task.pid == self.second {
            return Next::Stop;
        }
        if progress.ask.is_empty() { Next::Go } else { Next::Ask(progress.ask) }
    }
}

fn resting() -> Tracee {
    Tracee::start(Command::new("sleep").arg("1000").stdin(Stdio::null())).unwrap()
}

/// Checks that a process in a cgroup is known, that one which is moved there is taken in, and that one elsewhere is not.
#[test]
fn processes_of_a_cgroup_are_watched() {
    use std::os::unix::fs::MetadataExt;
    if !need_root("BPF programs are loaded") {
        return;
    }
    let Some(cgroup) = Cgroup::new() else {
        left_off("cgroup version 2");
        return;
    };
    let bpf = match Bpf::of_cgroup(cgroup.0.metadata().unwrap().ino()) {
        Err(TraceError::Bpf(why)) => {
            left_off(&format!("BPF ({why})"));
            return;
        }
        bpf => bpf.unwrap(),
    };
    let (first, second, other) = (resting(), resting(), resting());
    cgroup.take(first.pid());
    let mut mover = Mover {
        spaces: Spaces::new(vmatlas_sys::page_size()),
        cgroup: &cgroup,
        first: first.pid(),
        second: second.pid(),
        has_moved: false,
        seen: Vec::new(),
    };
    let mut kernel = ProcKernel::new(ProcRoot::system());
    // It ends long before; where a word gets lost it must end all the same.
    bpf.group(&[first.pid()], &mut kernel).run(Some(Duration::from_secs(60)), &mut kernel, &mut mover);
    assert_eq!(mover.seen, [first.pid(), second.pid()], "and not {}", other.pid());
    drop((first, second, other));
}
