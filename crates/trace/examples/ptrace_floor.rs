//! The floor of tracing by ptrace: two stops for each memory call and nothing else, for the benchmark to compare with.
//!
//! `ptrace_floor PROGRAM ARGS`: runs the program with vmatlas's own filter, reads nothing at the stops, writes nothing.

#![forbid(unsafe_code)]

use std::ffi::CString;
use std::os::unix::ffi::OsStringExt;
use vmatlas_event::Tid;
use vmatlas_sys::ptrace::{self, Options, Resume, event};
use vmatlas_sys::signal::Inherited;
use vmatlas_sys::{Program, WaitStatus, spawn, wait_my_children};

fn main() {
    let args: Vec<CString> =
        std::env::args_os().skip(1).filter_map(|arg| CString::new(arg.into_vec()).ok()).collect();
    let filter = vmatlas_trace::memory_calls();
    let Some(path) = args.first() else { return };
    let program = Program {
        path,
        args: &args,
        env: None,
        filter: Some(&filter),
        user: None,
        signals: Inherited::now(),
        fds: &[],
    };
    let Ok(spawned) = spawn(&program) else { return };
    let tid = Tid(spawned.pid.0);
    if ptrace::seize(tid, Options { exit_kill: true, seccomp: true }).is_err() {
        return;
    }
    spawned.go();
    while let Ok((tid, status)) = wait_my_children() {
        let WaitStatus::Stopped { signal, event } = status else { continue };
        let (how, signal) = match (event, signal) {
            (event::SECCOMP, _) => (Resume::ToSyscall, 0),
            (0, signal) if signal != ptrace::SYSCALL_STOP => (Resume::Continue, signal),
            _ => (Resume::Continue, 0),
        };
        let _ = ptrace::resume(tid, how, signal);
    }
}
