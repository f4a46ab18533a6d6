//! `vmatlas attach`: the memory calls of a running process, and what each changed.

use crate::args::AttachArgs;
use crate::backend::{Chosen, Whom};
use crate::cgroup::Cgroup;
use crate::context::Context;
use crate::failure::Failure;
use crate::log::Patience;
use crate::privilege::{FAULT_EVENTS, People};
use crate::recording::Subject;
use crate::target;
use crate::texts;
use crate::watcher::Watcher;
use anyhow::anyhow;
use std::path::Path;
use std::process::ExitCode;
use vmatlas_event::Pid;
use vmatlas_proc::ProcKernel;
use vmatlas_sys::privilege::Caps;
use vmatlas_trace::{Attach, Attached};

pub(crate) fn attach(args: &AttachArgs, context: &Context) -> ExitCode {
    let context = &context.for_program(args.watch.jsonl.is_some());
    match watch(args, context) {
        Ok(status) => ExitCode::from(status as u8),
        Err(failure) => failure.tell(context),
    }
}

fn watch(args: &AttachArgs, context: &Context) -> Result<i32, Failure> {
    if let Some(path) = &args.cgroup {
        return watch_cgroup(path, args, context);
    }
    let root = context.proc_root();
    let process = match (&args.target, args.pid) {
        (_, Some(pid)) => target::by_pid(&root, Pid(pid), context)?,
        (Some(name), None) => target::open(&root, name, context)?,
        (None, None) => return Err(anyhow!(texts::BAD_PID.fill(context.lang, &[("pid", &"")])).into()),
    };
    let pid = process.pid();
    if pid == vmatlas_sys::self_pid() {
        return Err(anyhow!(texts::ATTACH_SELF.get(context.lang)).into());
    }
    let name = std::fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    let people = People::of_attach(args.as_root, context)?;
    let (chosen, choice) =
        args.backend.choose(Whom::Theirs, args.watch.only_ptrace(false), args.watch.for_bpf(), context)?;
    let subject = Subject {
        how: "attach",
        backend: chosen.name(),
        program: String::from_utf8_lossy(name.trim_ascii_end()).into_owned(),
        args: args.watch.record_args.then(|| arguments(pid)),
        // What ran before we came may have made its own rules: a personality, a supervisor that answers calls.
        distrust: true,
        interval: None,
        faults: args.watch.watched_faults().is_some(),
    };
    // What needs privileges comes first, but nobody stands still while files are made: joining by ptrace needs what reading does.
    let for_faults = if args.watch.watched_faults().is_some() { FAULT_EVENTS } else { Caps::NONE };
    let needs = match &chosen {
        Chosen::Ptrace => for_faults,
        Chosen::Bpf(bpf) => bpf.needs().union(for_faults),
    };
    people.lower(needs, context)?;
    let mut watcher = Watcher::new(&args.watch, context, Patience::Losing, subject)?;
    if let Some(choice) = choice {
        watcher.note(&choice.line(context.lang));
    }
    watcher.root(pid);
    let mut kernel = ProcKernel::new(root);
    let attach = Attach {
        pid,
        follow: args.follow,
        duration: args.duration,
        check: args.watch.check,
        stacks: args.watch.has_stacks(),
        faults: args.watch.watched_faults(),
    };
    let refused = |error| refused(&error, pid, context);
    let end = match chosen {
        Chosen::Ptrace => {
            let attached = Attached::start(attach, &mut kernel).map_err(refused)?;
            attached.run(&mut kernel, &mut watcher)
        }
        Chosen::Bpf(bpf) => {
            let attached = bpf.attach(attach, &mut kernel).map_err(refused)?;
            attached.run(&mut kernel, &mut watcher)
        }
    };
    let end = end.map_err(|error| Failure::of_trace(&error, context))?;
    Ok(watcher.finish(name.trim_ascii_end(), end.map(vmatlas_trace::End::shell_status)))
}

/// Watches all processes of a cgroup.
fn watch_cgroup(path: &Path, args: &AttachArgs, context: &Context) -> Result<i32, Failure> {
    let cgroup = Cgroup::find(path, context)?;
    let people = People::of_attach(args.as_root, context)?;
    let options = vmatlas_trace::BpfOptions { cgroup: Some(cgroup.inode), ..args.watch.for_bpf() };
    if let Some(option) = args.watch.only_ptrace(false) {
        return Err(anyhow!(texts::CGROUP_NO_STOPS.fill(context.lang, &[("option", &option)])).into());
    }
    let (chosen, choice) = args.backend.or_bpf().choose(Whom::Theirs, None, options, context)?;
    let Chosen::Bpf(bpf) = chosen else {
        return Err(anyhow!(texts::CGROUP_NEEDS_BPF.get(context.lang)).into());
    };
    let program = path.as_os_str().as_encoded_bytes();
    let subject = Subject {
        how: "attach",
        backend: "bpf",
        program: path.display().to_string(),
        args: None,
        distrust: true,
        interval: None,
        faults: args.watch.watched_faults().is_some(),
    };
    let for_faults = if args.watch.watched_faults().is_some() { FAULT_EVENTS } else { Caps::NONE };
    people.lower(bpf.needs().union(for_faults), context)?;
    let mut watcher = Watcher::new(&args.watch, context, Patience::Losing, subject)?;
    if let Some(choice) = choice {
        watcher.note(&choice.line(context.lang));
    }
    let mut kernel = ProcKernel::new(context.proc_root());
    // The programs are at work already: who comes after this is told of.
    let group = bpf.group(Box::new(move || cgroup.processes()), &mut kernel);
    group.run(args.duration, &mut kernel, &mut watcher);
    Ok(watcher.finish(program, None))
}

/// The arguments of a running process, the program's own name left out.
fn arguments(pid: Pid) -> Vec<String> {
    const MOST: u64 = 1 << 20;
    use std::io::Read;
    let mut bytes = Vec::new();
    let file = std::fs::File::open(format!("/proc/{pid}/cmdline"));
    let _ = file.and_then(|file| file.take(MOST).read_to_end(&mut bytes));
    let words = bytes.strip_suffix(b"\0").unwrap_or(&bytes).split(|b| *b == 0).skip(1);
    words.map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// Says who keeps us away, where that can be told.
fn refused(error: &vmatlas_trace::TraceError, pid: Pid, context: &Context) -> Failure {
    use vmatlas_trace::TraceError;
    let status = |pid: Pid| {
        std::fs::read(format!("/proc/{pid}/status")).map(|text| vmatlas_proc::parse::status::parse(&text))
    };
    if let TraceError::NotPermitted { .. } = error {
        if let Some(tracer) = status(pid).ok().and_then(|s| s.tracer).filter(|tracer| tracer.0 != 0) {
            return anyhow!(texts::OTHER_TRACER.fill(context.lang, &[("pid", &pid), ("tracer", &tracer)]))
                .into();
        }
        let scope = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
        let text = match scope.trim() {
            "" | "0" => &texts::ATTACH_NOT_PERMITTED,
            _ => &texts::ATTACH_YAMA,
        };
        return anyhow!(text.fill(context.lang, &[("pid", &pid), ("scope", &scope.trim())])).into();
    }
    Failure::of_trace(error, context)
}
