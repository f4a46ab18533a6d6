//! All processes of a cgroup through BPF.

#![expect(clippy::unwrap_used, reason = "a test binary")]

use std::process::{Command, Stdio};
use std::time::Duration;
use vmatlas_event::{Event, Next, Op, Pid, Sink};
use vmatlas_model::Spaces;
use vmatlas_proc::{ProcKernel, ProcRoot};
use vmatlas_testkit::{OwnCgroup, Tracee, left_off, need_root};
use vmatlas_trace::{Bpf, TraceError};

/// Moves a second process into the cgroup once the first one is known, and ends the watching when that one calls.
struct Mover<'a> {
    spaces: Spaces,
    cgroup: &'a OwnCgroup,
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
            self.cgroup.take(self.second).unwrap();
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
    let Some(cgroup) = OwnCgroup::new() else { return };
    let inode = cgroup.folder().metadata().unwrap().ino();
    let options = vmatlas_trace::BpfOptions { cgroup: Some(inode), ..Default::default() };
    let bpf = match Bpf::with(options) {
        Err(TraceError::Bpf(why)) => {
            left_off(&format!("BPF ({why})"));
            return;
        }
        bpf => bpf.unwrap(),
    };
    let (first, second, other) = (resting(), resting(), resting());
    cgroup.take(first.pid()).unwrap();
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
