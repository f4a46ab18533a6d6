//! What can go wrong when a program is started and traced.

use vmatlas_event::{Errno, Pid};
use vmatlas_sys::bpf::BpfError;
use vmatlas_sys::{ExecFailure, errno_name, errno_text};

const ENOENT: Errno = Errno(2);
const ENOTDIR: Errno = Errno(20);

/// Why a program could not be watched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TraceError {
    /// There is no such program.
    #[error("{program}: not found")]
    NotFound {
        /// As it was typed.
        program: String,
    },
    /// It is there but cannot be executed.
    #[error("{program}: cannot be executed: {}", describe(*errno))]
    NotExecutable {
        /// As it was typed.
        program: String,
        /// The kernel's reason.
        errno: Errno,
    },
    /// There is no such process any more.
    #[error("process {pid}: it has ended")]
    Gone {
        /// Its PID.
        pid: Pid,
    },
    /// The name or an argument holds a NUL byte.
    #[error("{program}: a name or argument holds a NUL byte")]
    NulByte {
        /// As it was typed.
        program: String,
    },
    /// The kernel does not let us trace.
    #[error("tracing is not permitted: {}", describe(*errno))]
    NotPermitted {
        /// The kernel's reason; EPERM also when another tracer has the program already.
        errno: Errno,
    },
    /// This kernel lacks what tracing needs.
    #[error("this kernel cannot tell system calls to a tracer (PTRACE_GET_SYSCALL_INFO, Linux 5.3)")]
    TooOld,
    /// The kernel does not let us watch page faults (perf_event_open(2)).
    #[error("page faults cannot be watched: {}", describe(*errno))]
    Faults {
        /// The kernel's reason.
        errno: Errno,
    },
    /// BPF programs cannot be used.
    #[error("{0}")]
    Bpf(BpfError),
    /// The program cannot be started as that user.
    #[error("the program cannot be run as another user: {}", describe(*errno))]
    User {
        /// The kernel's reason.
        errno: Errno,
    },
    /// Another system call failed.
    #[error("{what}: {}", describe(*errno))]
    System {
        /// What was being done.
        what: &'static str,
        /// The kernel's reason.
        errno: Errno,
    },
}

impl TraceError {
    /// What kept the program from being executed.
    pub(crate) fn of_exec(failure: ExecFailure, program: String) -> TraceError {
        match failure {
            ExecFailure::Exec(ENOENT | ENOTDIR) => TraceError::NotFound { program },
            ExecFailure::Exec(errno) => TraceError::NotExecutable { program, errno },
            ExecFailure::User(errno) => TraceError::User { errno },
            ExecFailure::Filter(errno) | ExecFailure::Setup(errno) => {
                TraceError::System { what: "preparing the program", errno }
            }
        }
    }
}

fn describe(errno: Errno) -> String {
    match errno_name(errno) {
        Some(name) => format!("{} ({name})", errno_text(errno)),
        None => errno_text(errno),
    }
}
