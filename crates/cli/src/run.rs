//! `vmatlas run`: a program, its memory calls, and what each changed.

use crate::args::RunArgs;
use crate::backend::{Chosen, Whom};
use crate::cgroup::Cgroup;
use crate::context::Context;
use crate::failure::Failure;
use crate::log::Patience;
use crate::privilege::People;
use crate::recording::Subject;
use crate::watcher::Watcher;
use std::process::ExitCode;
use vmatlas_event::Pid;
use vmatlas_proc::ProcKernel;
use vmatlas_sys::privilege::Caps;
use vmatlas_trace::{BpfLaunched, Launch, Tracer};

pub(crate) fn run(args: &RunArgs, context: &Context) -> ExitCode {
    let context = &context.for_program(args.watch.jsonl.is_some());
    match watch(args, context) {
        Ok(status) => ExitCode::from(status as u8),
        Err(failure) => failure.tell(context),
    }
}

fn watch(args: &RunArgs, context: &Context) -> Result<i32, Failure> {
    let failure = |error| Failure::of_trace(&error, context);
    let people = People::of_run(&args.user, context)?;
    let cgroup = args.cgroup.as_deref().map(|path| Cgroup::find(path, context)).transpose()?;
    let path = std::env::var_os("PATH");
    let mut launch = Launch::new(&args.command, path.as_deref()).map_err(failure)?;
    launch.same_cpu = args.same_cpu;
    launch.check = args.watch.check;
    launch.stacks = args.watch.has_stacks();
    launch.faults = args.watch.watched_faults();
    launch.is_job = true;
    launch.user = people.program.clone();
    launch.env = people.environment();
    let word = |word: &std::ffi::OsString| word.to_string_lossy().into_owned();
    let only_ptrace = args.watch.only_ptrace(true).or(args.same_cpu.then_some("--same-cpu"));
    let (chosen, choice) = args.backend.choose(Whom::Ours, only_ptrace, args.watch.for_bpf(), context)?;
    let subject = Subject {
        how: "run",
        backend: chosen.name(),
        program: args.command.first().map(word).unwrap_or_default(),
        args: args.watch.record_args.then(|| args.command.iter().skip(1).map(word).collect()),
        distrust: vmatlas_sys::read_implies_exec(),
        interval: None,
        faults: launch.faults.is_some(),
    };
    // What needs privileges comes first; the program is there, and waits.
    let started = match chosen {
        Chosen::Ptrace => Started::Ptrace(Box::new(Tracer::start(&launch).map_err(failure)?)),
        Chosen::Bpf(bpf) => Started::Bpf(Box::new(bpf.start(&launch).map_err(failure)?)),
    };
    if let Some(cgroup) = &cgroup {
        // vmatlas stays where it is: what it takes is not charged to the program's cgroup.
        cgroup.take(started.pid(), context)?;
    }
    people.lower(started.needs(), context)?;
    let mut watcher = Watcher::new(&args.watch, context, Patience::Waiting, subject)?;
    let notes = [choice.map(|choice| choice.line(context.lang)), people.note(context)];
    notes.iter().flatten().for_each(|note| watcher.note(note));
    let mut kernel = ProcKernel::new(context.proc_root());
    watcher.root(started.pid());
    let end = match started {
        Started::Ptrace(tracer) => tracer.run(&mut kernel, &mut watcher),
        Started::Bpf(mut launched) => launched.run(&mut kernel, &mut watcher),
    };
    let end = end.map_err(failure)?;
    let program = args.command.first().map(|p| p.as_encoded_bytes()).unwrap_or_default();
    Ok(watcher.finish(program, Some(end.shell_status())))
}

/// A program that waits before its first instruction.
enum Started {
    Ptrace(Box<Tracer>),
    Bpf(Box<BpfLaunched>),
}

impl Started {
    fn pid(&self) -> Pid {
        match self {
            Started::Ptrace(tracer) => tracer.pid(),
            Started::Bpf(launched) => launched.pid(),
        }
    }

    /// Which capabilities watching it needs from now on, besides those for reading.
    fn needs(&self) -> Caps {
        match self {
            Started::Ptrace(_) => Caps::NONE,
            Started::Bpf(launched) => launched.needs(),
        }
    }
}
