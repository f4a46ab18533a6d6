//! Starting a program that waits for its tracer before it runs.

use crate::errno::{check, last_errno};
use crate::privilege::{User, become_user};
use crate::seccomp::{self, Insn};
use crate::signal::Inherited;
use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU8, Ordering};
use vmatlas_event::{Errno, Pid};

/// Which of the first three descriptors were closed when this process started, bit N for descriptor N.
static CLOSED_AT_START: AtomicU8 = AtomicU8::new(0);

/// Looks before Rust's runtime does, which opens /dev/null where one is closed.
pub(crate) fn remember_closed() {
    // SAFETY: fcntl asks about a number.
    let is_closed = |fd: &i32| unsafe { libc::fcntl(*fd, libc::F_GETFD) } < 0;
    CLOSED_AT_START.store((0..3).filter(is_closed).fold(0, |set, fd| set | 1 << fd), Ordering::Relaxed);
}

/// A program to start: everything is prepared here, because a forked child may not allocate.
#[derive(Debug)]
pub struct Program<'a> {
    /// The file to execute.
    pub path: &'a CStr,
    /// Its arguments, the name first.
    pub args: &'a [CString],
    /// Its environment; `None` hands on our own.
    pub env: Option<&'a [CString]>,
    /// The seccomp filter to install; with no_new_privs where the kernel asks for it.
    pub filter: Option<&'a [Insn]>,
    /// The user to become; `None` for our own. It needs CAP_SETUID and CAP_SETGID.
    pub user: Option<&'a User>,
    /// The signal state to start it with.
    pub signals: Inherited,
    /// Descriptors to hand on: (ours, the number it shall have).
    pub fds: &'a [(RawFd, RawFd)],
}

/// A started child that waits for [`Spawned::go`].
#[derive(Debug)]
pub struct Spawned {
    /// Its PID.
    pub pid: Pid,
    go: OwnedFd,
    report: OwnedFd,
}

/// Why the program never ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecFailure {
    /// execve(2) failed.
    Exec(Errno),
    /// The seccomp filter could not be installed.
    Filter(Errno),
    /// A descriptor could not be handed on.
    Setup(Errno),
    /// It could not become the user.
    User(Errno),
}

impl Spawned {
    /// Lets the child go on to its exec.
    pub fn go(&self) {
        // SAFETY: one byte of a constant; a broken pipe means that the child is gone, which waiting will tell.
        unsafe { libc::write(self.go.as_raw_fd(), c"g".as_ptr().cast(), 1) };
    }

    /// What stopped the child before its program ran; `None` when it ran. Call it only after the child ended or exec'ed.
    pub fn failure(&self) -> Option<ExecFailure> {
        let mut report = [0u8; 5];
        // SAFETY: reads at most the array's length into it.
        let n = unsafe { libc::read(self.report.as_raw_fd(), report.as_mut_ptr().cast(), report.len()) };
        if n != report.len() as isize {
            return None;
        }
        let errno = Errno(i32::from_ne_bytes([report[1], report[2], report[3], report[4]]));
        Some(match report[0] {
            b'e' => ExecFailure::Exec(errno),
            b'f' => ExecFailure::Filter(errno),
            b'u' => ExecFailure::User(errno),
            _ => ExecFailure::Setup(errno),
        })
    }
}

fn pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    let mut fds = [0; 2];
    // SAFETY: a valid array of two.
    check(i64::from(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) }))?;
    // SAFETY: descriptors that were just made for us.
    let read = unsafe { OwnedFd::from_raw_fd(fds[0]) };
    // SAFETY: as above.
    let write = unsafe { OwnedFd::from_raw_fd(fds[1]) };
    Ok((read, write))
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
}

/// Forks a child that waits for its tracer, then installs the filter and executes the program.
///
/// The child is ours alone: a file without `#!` that the kernel does not know runs with /bin/sh, as a shell would.
///
/// # Errors
/// EAGAIN or ENOMEM when no process can be made, EMFILE when no pipe can.
pub fn spawn(program: &Program<'_>) -> Result<Spawned, Errno> {
    let (go_read, go_write) = pipe()?;
    let (report_read, report_write) = pipe()?;
    let argv = pointers(program.args);
    let env = program.env.map(pointers);
    let mut sh_argv = vec![c"sh".as_ptr(), program.path.as_ptr()];
    sh_argv.extend(argv.iter().skip(1));

    // SAFETY: the child calls async-signal-safe functions only (no allocation, no locks), then execs or exits.
    match unsafe { libc::fork() } {
        -1 => Err(last_errno()),
        0 => child(
            program,
            ChildPlan {
                argv: &argv,
                sh_argv: &sh_argv,
                env: env.as_deref(),
                go: go_read.as_raw_fd(),
                go_write: go_write.as_raw_fd(),
                report: report_write.as_raw_fd(),
            },
        ),
        pid => Ok(Spawned { pid: Pid(pid), go: go_write, report: report_read }),
    }
}

struct ChildPlan<'a> {
    argv: &'a [*const libc::c_char],
    sh_argv: &'a [*const libc::c_char],
    env: Option<&'a [*const libc::c_char]>,
    go: RawFd,
    go_write: RawFd,
    report: RawFd,
}

unsafe extern "C" {
    static environ: *const *const libc::c_char;
}

fn child(program: &Program<'_>, mut plan: ChildPlan<'_>) -> ! {
    if let Some(most) = program.fds.iter().map(|(_, to)| *to).max() {
        // Out of the way of the numbers that the program shall have.
        // SAFETY: three numbers.
        let report = unsafe { libc::fcntl(plan.report, libc::F_DUPFD_CLOEXEC, most + 1) };
        // SAFETY: as above.
        let go = unsafe { libc::fcntl(plan.go, libc::F_DUPFD_CLOEXEC, most + 1) };
        if report >= 0 && go >= 0 {
            (plan.report, plan.go) = (report, go);
        }
    }
    let fail = |stage: u8, errno: Errno| -> ! {
        let e = errno.0.to_ne_bytes();
        let report = [stage, e[0], e[1], e[2], e[3]];
        // SAFETY: writes a stack array to the parent's pipe.
        unsafe { libc::write(plan.report, report.as_ptr().cast(), report.len()) };
        crate::exit_now(127)
    };
    // Our own copy of the writing end would keep the read below from seeing the parent's death.
    // SAFETY: a descriptor of this process that nothing here uses.
    unsafe { libc::close(plan.go_write) };
    let mut byte = 0u8;
    // SAFETY: reads one byte into a local.
    if unsafe { libc::read(plan.go, (&raw mut byte).cast(), 1) } != 1 {
        crate::exit_now(125);
    }
    for (from, to) in program.fds {
        let done = match from == to {
            // SAFETY: three numbers. dup2 onto itself would leave close-on-exec as it is.
            true => unsafe { libc::fcntl(*from, libc::F_SETFD, 0) },
            // SAFETY: dup2 takes two numbers; the copy has no close-on-exec.
            false => unsafe { libc::dup2(*from, *to) },
        };
        if done < 0 {
            fail(b's', last_errno());
        }
    }
    let closed = CLOSED_AT_START.load(Ordering::Relaxed);
    for fd in (0..3).filter(|fd| closed >> fd & 1 == 1 && program.fds.iter().all(|(_, to)| to != fd)) {
        // SAFETY: what Rust's runtime put there; the program shall have none, as without us.
        unsafe { libc::close(fd) };
    }
    program.signals.restore();
    if let Some(filter) = program.filter
        && let Err(errno) = seccomp::install(filter)
    {
        fail(b'f', errno);
    }
    // After the filter: installed without privileges it would need no_new_privs, and set-user-ID programs would gain nothing.
    if let Some(user) = program.user
        && let Err(errno) = become_user(user)
    {
        fail(b'u', errno);
    }
    // SAFETY: `environ` is libc's own, not changed since the fork.
    let env = plan.env.map_or(unsafe { environ }, <[_]>::as_ptr);
    // SAFETY: NULL-terminated arrays of C strings that live in the parent's copied memory.
    unsafe { libc::execve(program.path.as_ptr(), plan.argv.as_ptr(), env) };
    let mut errno = last_errno();
    if errno == Errno(libc::ENOEXEC) {
        // SAFETY: as above.
        unsafe { libc::execve(c"/bin/sh".as_ptr(), plan.sh_argv.as_ptr(), env) };
        errno = last_errno();
    }
    fail(b'e', errno)
}
