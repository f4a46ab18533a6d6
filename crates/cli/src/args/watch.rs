//! The options of what watches a program: run, attach.

use super::values::{parse_call, parse_duration, parse_size};
use crate::backend::BackendArgs;
use crate::privilege::UserArgs;
use clap::Args;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;
use vmatlas_event::{Bytes, OpKind};

/// What a person should know before watching a program.
pub(super) const RUN_NOTES: &str = "\
    With ptrace (--backend auto takes it here) its memory calls stop the program for a moment each; nothing else does, and each \
    call is confirmed. What it can notice then: a seccomp filter in /proc/self/status, being traced, one CPU with \
    --same-cpu, and under an unprivileged vmatlas that set-user-ID programs gain nothing. With --backend bpf nothing stops \
    the program, it notices nothing, and it goes on when vmatlas is killed. With ptrace it is ended when vmatlas is ended, \
    because its memory calls would fail without us; so vmatlas also waits \
    for every process the program leaves behind.\n\n\
    Started through sudo, doas or pkexec, the program runs as the user who did that, and what is written is that user's; \
    vmatlas itself keeps only what reading maps needs. --as-root leaves both to root.\n\n\
    Exit status: the program's own; 128+N when signal N ended it; 127 not found; 126 not executable; 3 when --check \
    found a difference; 125 when vmatlas \
    itself fails.";

/// What a person should know before joining a running program.
pub(super) const ATTACH_NOTES: &str = "\
    With BPF (--backend auto takes it where it is permitted, and says so) nothing stops the process, and it notices nothing. \
    With ptrace every system call of it stops it for a moment. ^C, SIGTERM or the end of --duration lets it go on as before; \
    if vmatlas is killed, the kernel lets it go. SIGUSR1 to vmatlas has the whole map read at once; ^Z does nothing. What it can notice of ptrace: calls that wait (epoll_wait, semtimedop, sigtimedwait, \
    ...) may return EINTR once when we come and once when we go, it cannot be traced by others meanwhile, and it is \
    slower. What was mapped before has no origin and is told as \"before attach\".\n\n\
    Exit status: 0 when the process was let go; its own when it ended before; 3 when --check found a difference; 125 when \
    vmatlas itself fails.";

/// What `run` and `attach` have in common.
#[derive(Args, Debug)]
pub(crate) struct WatchArgs {
    /// Only the summary at the end
    #[arg(short = 'c', long)]
    pub(crate) count: bool,
    /// Only these calls (mmap, munmap, mremap, brk, mprotect, mlock, ...; a wrong one lists them all); madvise that acts
    /// on pages only is shown when it is named here, and so are page faults (fault)
    #[arg(short = 'e', long, value_name = "CALL,...", value_delimiter = ',', value_parser = parse_call)]
    pub(crate) expr: Vec<OpKind>,
    /// Only calls that mapped or unmapped at least this much
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) min_size: Option<Bytes>,
    /// Do not show what child processes do (they are traced all the same)
    #[arg(long)]
    pub(crate) no_children: bool,
    /// Write lines to this file instead of standard error
    #[arg(long, value_name = "FILE", conflicts_with = "jsonl")]
    pub(crate) log: Option<PathBuf>,
    /// One JSON object per event on standard error (or to FILE), the summary last
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "-")]
    pub(crate) jsonl: Option<PathBuf>,
    /// Hold all tasks after every memory call and compare the model with the kernel; a difference is told with both
    /// maps, and the exit status is 3. Slow; threads see more EINTR than otherwise. With run --backend bpf the program
    /// is stopped (SIGSTOP) and compared at random moments instead, some hundred times a second; attach needs ptrace for it
    #[arg(long)]
    pub(crate) check: bool,
    /// Record into this new folder; nothing is written to standard error then, unless with -v
    #[arg(short, long, value_name = "REC")]
    pub(crate) output: Option<PathBuf>,
    /// With -o: write lines and the summary too
    #[arg(short, long)]
    pub(crate) verbose: bool,
    /// With -o: replace a recording that is there
    #[arg(long, requires = "output")]
    pub(crate) force: bool,
    /// With -o: keep the program's arguments in the recording (they may hold secrets)
    #[arg(long, requires = "output")]
    pub(crate) record_args: bool,
    /// With -o: record which pages are resident too, before each process ends, on SIGUSR1 to attach, and while memory calls are
    /// made about once a second, at most 1 % of the time ('origins --by resident', 'show', 'rss'). Needs ptrace, which --backend
    /// auto then takes
    #[arg(long, requires = "output")]
    pub(crate) pages: bool,
    #[command(flatten)]
    pub(crate) faults: crate::faults::FaultArgs,
    #[command(flatten)]
    pub(crate) stacks: crate::stacks::StackArgs,
}

impl WatchArgs {
    /// An option among these for which tasks must be stopped, or that BPF programs of ours do not tell of yet.
    /// A program that is ours may be stopped now and then, to compare it: `is_ours`.
    pub(crate) fn only_ptrace(&self, is_ours: bool) -> Option<&'static str> {
        let options = [("--check", self.check && !is_ours), ("--pages", self.pages)];
        options.into_iter().find(|(_, is_set)| *is_set).map(|(option, _)| option)
    }

    /// What BPF programs are to tell of beside calls.
    pub(crate) fn for_bpf(&self) -> vmatlas_trace::BpfOptions {
        vmatlas_trace::BpfOptions {
            stacks: self.stacks.unwinding(),
            faults: self.watched_faults(),
            cgroup: None,
        }
    }

    /// Whether call stacks are wanted.
    pub(crate) fn has_stacks(&self) -> bool {
        self.stacks.unwinding().is_some()
    }

    /// Whether page faults are watched, and how.
    pub(crate) fn watched_faults(&self) -> Option<vmatlas_trace::FaultWatch> {
        self.faults.watch(&self.expr, self.stacks.unwinding())
    }

    /// Whether all goes to the recording, and nothing to standard error.
    pub(crate) fn is_quiet(&self) -> bool {
        self.output.is_some() && !self.verbose && !self.count && self.log.is_none() && self.jsonl.is_none()
    }
}

#[derive(Args, Debug)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) watch: WatchArgs,
    /// Share one CPU with the program: cheaper for short programs, but the program then sees one CPU; needs ptrace
    #[arg(long)]
    pub(crate) same_cpu: bool,
    /// Start the program in this cgroup (version 2), under its limits: a folder, or a path as in /proc/PID/cgroup. Only the
    /// program and what it makes is watched; attach --cgroup watches all of a cgroup
    #[arg(long, value_name = "PATH")]
    pub(crate) cgroup: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) backend: BackendArgs,
    #[command(flatten)]
    pub(crate) user: UserArgs,
    /// The program and its arguments
    #[arg(value_name = "CMD", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<OsString>,
}

#[derive(Args, Debug)]
pub(crate) struct AttachArgs {
    #[command(flatten)]
    pub(crate) watch: WatchArgs,
    /// A PID or a process name
    #[arg(value_name = "PID|NAME", required_unless_present_any = ["pid", "cgroup"])]
    pub(crate) target: Option<OsString>,
    /// The process by its PID
    #[arg(short, long, value_name = "PID", conflicts_with = "target")]
    pub(crate) pid: Option<i32>,
    /// All processes of a cgroup (version 2) and of those below it, and what comes into it or is made by them; a folder, or
    /// a path as in /proc/PID/cgroup. With --backend bpf only
    #[arg(long, value_name = "PATH", conflicts_with_all = ["target", "pid", "follow"])]
    pub(crate) cgroup: Option<PathBuf>,
    /// Watch its children too: those it has, and those it will have
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Leave again after this long (10, 1.5s, 500ms, 2m)
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) duration: Option<Duration>,
    #[command(flatten)]
    pub(crate) backend: BackendArgs,
    /// Started through sudo, doas or pkexec: files are root's all the same
    #[arg(long)]
    pub(crate) as_root: bool,
}
