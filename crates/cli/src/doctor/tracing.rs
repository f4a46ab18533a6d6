//! Tracing, tried on a child that waits for a word and never gets it.

use super::{error, has, setcap, setting, sysctl, tried};
use vmatlas_event::{Errno, Tid};
use vmatlas_sys::privilege::Cap;
use vmatlas_sys::ptrace::{self, Options};
use vmatlas_sys::signal::Inherited;
use vmatlas_sys::{Program, probe, spawn};
use vmatlas_view::doctor::{Finding, Item, State, texts};

const EPERM: Errno = Errno(1);

pub(super) fn look() -> Vec<Finding> {
    let traced = trace_a_child();
    let filters = probe::seccomp_can_trace();
    let info = traced.ok();
    let (attach, others, yama) = attach(traced.map(|_| ()));
    vec![
        run(traced.map(|_| ()), filters, info),
        attach,
        others,
        tried(Item::Seccomp, filters),
        match info {
            None => Finding::new(Item::SyscallInfo, State::Unknown).because(texts::REFUSED, error(EPERM)),
            Some(answer) => tried(Item::SyscallInfo, answer),
        },
        tried(Item::Kcmp, probe::can_compare_tasks()),
        yama,
    ]
}

/// Whether a child can be traced; then whether its system calls are told.
fn trace_a_child() -> Result<Result<(), Errno>, Errno> {
    const SIGKILL: i32 = 9;
    let program = Program {
        path: c"/",
        args: &[],
        env: None,
        filter: None,
        user: None,
        signals: Inherited::now(),
        fds: &[],
    };
    let child = spawn(&program)?;
    let tid = Tid(child.pid.0);
    let answer = ptrace::seize(tid, Options { exit_kill: true, seccomp: false }).map(|()| {
        ptrace::interrupt(tid)?;
        vmatlas_sys::wait_for(child.pid)?;
        ptrace::syscall_stop(tid).map(|_| ())
    });
    // It is ours, and waits for us: nobody else can have got its number.
    let _ = vmatlas_sys::kill(child.pid, SIGKILL);
    while let Ok(vmatlas_sys::WaitStatus::Stopped { .. }) = vmatlas_sys::wait_for(child.pid) {
        let _ = ptrace::resume(tid, ptrace::Resume::Continue, 0);
    }
    answer
}

fn run(traced: Result<(), Errno>, filters: Result<(), Errno>, info: Option<Result<(), Errno>>) -> Finding {
    match (traced, filters, info) {
        (Err(EPERM), ..) if is_traced() => {
            Finding::new(Item::Run, State::Missing).because(texts::TRACED, error(EPERM))
        }
        (Err(errno), ..) => tried(Item::Run, Err(errno)),
        (Ok(()), Ok(()), _) => Finding::new(Item::Run, State::Works),
        (Ok(()), Err(errno), Some(Ok(()))) => {
            Finding::new(Item::Run, State::InPart).because(texts::ALL_STOP, error(errno))
        }
        (Ok(()), Err(errno), _) => tried(Item::Run, Err(errno)),
    }
}

/// Whether somebody traces this very process.
fn is_traced() -> bool {
    let text = std::fs::read("/proc/self/status").unwrap_or_default();
    vmatlas_proc::parse::status::parse(&text).tracer.is_some_and(|tracer| tracer.0 != 0)
}

/// Joining processes of ours, of others, and what Yama has to say about it.
fn attach(traced: Result<(), Errno>) -> (Finding, Finding, Finding) {
    let is_mighty = has(Cap::SysPtrace);
    let others = match (traced, is_mighty) {
        (Ok(()), true) => Finding::new(Item::AttachOthers, State::Works),
        (Ok(()), false) => Finding::new(Item::AttachOthers, State::Missing)
            .because(texts::NEEDS, "CAP_SYS_PTRACE")
            .granted_by(setcap("cap_sys_ptrace")),
        (Err(errno), _) => tried(Item::AttachOthers, Err(errno)),
    };
    let level = setting("kernel.yama.ptrace_scope");
    let own = match (traced, level.as_deref()) {
        (Err(errno), _) => tried(Item::Attach, Err(errno)),
        (Ok(()), None | Some("0")) => Finding::new(Item::Attach, State::Works),
        (Ok(()), Some("1" | "2")) if is_mighty => Finding::new(Item::Attach, State::Works),
        (Ok(()), Some("3")) => Finding::new(Item::Attach, State::Missing).because(texts::YAMA_NONE, "3"),
        (Ok(()), Some(level)) => Finding::new(Item::Attach, State::Missing)
            .because(texts::YAMA_LEVEL, level)
            .granted_by(sysctl("kernel.yama.ptrace_scope", "0")),
    };
    let yama = match level.as_deref() {
        None => Finding::new(Item::Yama, State::Works).because(texts::NO_YAMA, ""),
        Some("3") => Finding::new(Item::Yama, State::Missing).because(texts::YAMA_NONE, "3"),
        Some(level @ ("1" | "2")) if !is_mighty => {
            Finding::new(Item::Yama, State::InPart).because(texts::YAMA_LEVEL, level)
        }
        Some(level) => Finding::new(Item::Yama, State::Works)
            .because(texts::SETTING, format!("kernel.yama.ptrace_scope = {level}")),
    };
    (own, others, yama)
}
