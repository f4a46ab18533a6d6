//! `vmatlas run`: a program, its memory calls, and what each changed.

use crate::args::RunArgs;
use crate::backend::Chosen;
use crate::context::Context;
use crate::recording::Subject;
use crate::watcher::{Failure, Patience, Watcher};
use std::process::ExitCode;
use vmatlas_proc::ProcKernel;
use vmatlas_trace::{Launch, Tracer};

pub(crate) fn run(args: &RunArgs, context: &Context) -> ExitCode {
    let context = &context.for_program(args.watch.jsonl.is_some());
    match watch(args, context) {
        Ok(status) => ExitCode::from(status as u8),
        Err(failure) => failure.tell(context),
    }
}

fn watch(args: &RunArgs, context: &Context) -> Result<i32, Failure> {
    let failure = |error| Failure::of_trace(&error, context);
    let path = std::env::var_os("PATH");
    let mut launch = Launch::new(&args.command, path.as_deref()).map_err(failure)?;
    launch.same_cpu = args.same_cpu;
    launch.check = args.watch.check;
    launch.stacks = args.watch.has_stacks();
    launch.faults = args.watch.watched_faults();
    launch.is_job = true;
    let word = |word: &std::ffi::OsString| word.to_string_lossy().into_owned();
    let only_ptrace = args.watch.only_ptrace(true).or(args.same_cpu.then_some("--same-cpu"));
    let chosen = args.backend.choose(only_ptrace, None, context)?;
    let subject = Subject {
        how: "run",
        backend: chosen.name(),
        program: args.command.first().map(word).unwrap_or_default(),
        args: args.watch.record_args.then(|| args.command.iter().skip(1).map(word).collect()),
        distrust: vmatlas_sys::read_implies_exec(),
        interval: None,
        faults: launch.faults.is_some(),
    };
    let mut watcher = Watcher::new(&args.watch, context, Patience::Waiting, subject)?;
    let mut kernel = ProcKernel::new(context.proc_root());
    let end = match chosen {
        Chosen::Ptrace => {
            let tracer = Tracer::start(&launch).map_err(failure)?;
            watcher.root(tracer.pid());
            tracer.run(&launch, &mut kernel, &mut watcher)
        }
        Chosen::Bpf(bpf) => {
            let mut launched = bpf.start(&launch).map_err(failure)?;
            watcher.root(launched.pid());
            launched.run(&mut kernel, &mut watcher)
        }
    };
    let end = end.map_err(failure)?;
    let program = args.command.first().map(|p| p.as_encoded_bytes()).unwrap_or_default();
    Ok(watcher.finish(program, Some(end.shell_status())))
}
