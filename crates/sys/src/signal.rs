//! Signals: what was inherited, what a tracer forwards, and stopping together with the traced program.

mod ears;

pub use ears::Ears;

use crate::PidFd;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use vmatlas_event::Pid;

/// The signals a terminal stops a whole job with.
const JOB_STOPS: [i32; 3] = [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];

/// The signals that were ignored when the process started, bit N-1 for signal N.
static IGNORED_AT_START: AtomicU64 = AtomicU64::new(0);

/// The kernel's own `struct sigaction` of x86_64 and aarch64 (libc's wrapper hides the two signals that it uses itself).
#[repr(C)]
#[derive(Clone, Copy)]
struct KernelSigaction {
    handler: usize,
    flags: u64,
    restorer: usize,
    mask: u64,
}

fn is_ignored(signal: i32) -> bool {
    let mut old = KernelSigaction { handler: 0, flags: 0, restorer: 0, mask: 0 };
    // SAFETY: a NULL new action only asks; `old` is a valid place for the answer, and the mask's size is given.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signal,
            std::ptr::null::<KernelSigaction>(),
            &raw mut old,
            size_of::<u64>(),
        )
    };
    ret == 0 && old.handler == libc::SIG_IGN
}

/// Sets a signal to be ignored, or to its default. Async-signal-safe.
fn set_action(signal: i32, ignore: bool) {
    set_handler(signal, if ignore { libc::SIG_IGN } else { libc::SIG_DFL }, 0);
}

/// From now on a stop of a child sends this process no SIGCHLD, as its end still does: for who asks waitpid(2) alone.
///
/// Making that signal costs 0.4 to 1.3 us for the two stops of a call, though nobody takes it (Linux 6.18,
/// `signal.c:do_notify_parent_cldstop()`). [`Wishes`] and [`Ears`] begin it again: they wait for the signal.
pub fn no_signal_of_stops() {
    if !is_ignored(libc::SIGCHLD) {
        set_handler(libc::SIGCHLD, libc::SIG_DFL, libc::SA_NOCLDSTOP as u64);
    }
}

/// Sets one of the two actions that run no code. Async-signal-safe.
fn set_handler(signal: i32, handler: usize, flags: u64) {
    let new = KernelSigaction { handler, flags, restorer: 0, mask: 0 };
    // SAFETY: neither action runs code; the old action is not wanted, and the mask's size is given.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signal,
            &raw const new,
            std::ptr::null::<KernelSigaction>(),
            size_of::<u64>(),
        )
    };
}

extern "C" fn remember_start() {
    let ignored =
        (1..=64).filter(|signal| is_ignored(*signal)).fold(0u64, |set, signal| set | 1 << (signal - 1));
    IGNORED_AT_START.store(ignored, Ordering::Relaxed);
    crate::spawn::remember_closed();
}

/// Runs before Rust's runtime, which ignores SIGPIPE, and before the first thread, which makes libc take two signals
/// for itself: a program we start must get what we got.
#[used]
// SAFETY: .init_array holds pointers to functions of this type; this one only asks and stores numbers.
#[unsafe(link_section = ".init_array")]
static REMEMBER_START: extern "C" fn() = remember_start;

/// The signal state a program was started with, to be handed on to one that it starts.
#[derive(Clone, Copy)]
pub struct Inherited {
    mask: libc::sigset_t,
    ignored: u64,
}

impl std::fmt::Debug for Inherited {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inherited").field("ignored", &self.ignored).finish_non_exhaustive()
    }
}

fn empty_set() -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: sigemptyset initialises the set it is given.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: initialised on the line above.
    unsafe { set.assume_init() }
}

pub(crate) fn set_of(signals: &[i32]) -> libc::sigset_t {
    let mut set = empty_set();
    for signal in signals {
        // SAFETY: an initialised set and a valid signal number.
        unsafe { libc::sigaddset(&mut set, *signal) };
    }
    set
}

pub(crate) fn change_mask(how: i32, set: &libc::sigset_t) -> libc::sigset_t {
    let mut old = empty_set();
    // SAFETY: two initialised sets.
    unsafe { libc::pthread_sigmask(how, set, &mut old) };
    old
}

/// Does `work` with every signal blocked: a thread started in it never takes a signal meant for the main thread.
///
/// A helper thread that can take SIGTSTP stops the whole process at once, whatever the main thread blocks.
pub fn shielded<T>(work: impl FnOnce() -> T) -> T {
    let all: Vec<i32> = (1..=64).collect();
    let before = change_mask(libc::SIG_BLOCK, &set_of(&all));
    let done = work();
    change_mask(libc::SIG_SETMASK, &before);
    done
}

impl Inherited {
    /// The state as it is now; take it before [`Job::begin`] changes it.
    pub fn now() -> Inherited {
        Inherited {
            mask: change_mask(libc::SIG_BLOCK, &empty_set()),
            ignored: IGNORED_AT_START.load(Ordering::Relaxed),
        }
    }

    /// Puts it back, between fork and exec. Handlers need no care: exec resets them. Async-signal-safe.
    pub(crate) fn restore(&self) {
        set_action(libc::SIGPIPE, false);
        for signal in (1..=64).filter(|signal| self.ignored >> (signal - 1) & 1 == 1) {
            set_action(signal, true);
        }
        // SAFETY: an initialised set; the old one is not wanted.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.mask, std::ptr::null_mut()) };
    }
}

/// The program that gets what is sent to us; NOBODY for none.
static FORWARD_TO: AtomicI32 = AtomicI32::new(NOBODY);
/// The same as a pidfd: never a process that got its PID later. NOBODY where the kernel has none (before Linux 5.3).
static FORWARD_TO_FD: AtomicI32 = AtomicI32::new(NOBODY);
const NOBODY: i32 = -1;

/// What ends a process that does not care.
const ENDING: [i32; 4] = [libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGHUP];

extern "C" fn forward(signal: i32, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: the kernel gives a valid siginfo to a handler installed with SA_SIGINFO.
    let code = unsafe { (*info).si_code };
    let (pid, pidfd) = (FORWARD_TO.load(Ordering::Relaxed), FORWARD_TO_FD.load(Ordering::Relaxed));
    // From the kernel (a key on the terminal, a hang-up) it went to the whole job: the program has it already.
    if code <= 0 && pid != NOBODY {
        let saved = crate::errno::last_errno();
        match pidfd {
            // SAFETY: kill is async-signal-safe and takes two numbers.
            NOBODY => unsafe { libc::kill(pid, signal) },
            // SAFETY: a system call with numbers alone (a NULL siginfo): async-signal-safe.
            pidfd => unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd, signal, 0, 0) as i32 },
        };
        // SAFETY: always a valid place of this thread.
        let errno = unsafe { libc::__errno_location() };
        // SAFETY: as above; a handler must leave errno as it was.
        unsafe { *errno = saved.0 };
    }
}

/// While it lives, this process steps back for the program it runs: keys of the terminal reach the program alone,
/// signals sent to us are passed on, and a stop of the whole job is taken only when [`Job::stop_too`] says so.
#[derive(Debug)]
pub struct Job {
    /// Open as long as the handler may use it.
    _pidfd: Option<PidFd>,
}

impl Job {
    /// Begins it. Dropping it only stops forwarding: the process is about to end then.
    pub fn begin(program: Pid) -> Job {
        let pidfd = PidFd::open(program).ok();
        FORWARD_TO_FD.store(pidfd.as_ref().map_or(NOBODY, |fd| fd.as_fd().as_raw_fd()), Ordering::Relaxed);
        FORWARD_TO.store(program.0, Ordering::Relaxed);
        let mut action = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: zeroed plain data; the fields that matter are set below.
        let action = unsafe { action.assume_init_mut() };
        action.sa_sigaction = forward as extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
        action.sa_mask = empty_set();
        for signal in ENDING.into_iter().chain([libc::SIGUSR1, libc::SIGUSR2, libc::SIGWINCH]) {
            // A signal that was ignored when we started (nohup, a background job) stays ignored, for both.
            if !is_ignored(signal) {
                // SAFETY: the handler is async-signal-safe and lives as long as the program.
                unsafe { libc::sigaction(signal, action, std::ptr::null_mut()) };
            }
        }
        change_mask(libc::SIG_BLOCK, &set_of(&JOB_STOPS));
        Job { _pidfd: pidfd }
    }

    /// Stops this process too, when the terminal stopped the whole job: call it when the program is in group-stop.
    ///
    /// Returns at once when the stop was meant for the program alone (`kill -TSTP`): stopping ourselves then would
    /// keep the program from being continued from outside. Otherwise returns after SIGCONT.
    pub fn stop_too(&self) {
        let mut pending = empty_set();
        // SAFETY: a valid place for the answer.
        unsafe { libc::sigpending(&mut pending) };
        // SAFETY: an initialised set and valid numbers.
        let job_stopped = JOB_STOPS.iter().any(|s| unsafe { libc::sigismember(&pending, *s) } == 1);
        if job_stopped {
            let stops = set_of(&JOB_STOPS);
            // The pending signal acts here, with its default action, and SIGCONT brings us back.
            change_mask(libc::SIG_UNBLOCK, &stops);
            change_mask(libc::SIG_BLOCK, &stops);
        }
    }
    /// The program has ended and others that it started have not: signals and keys are for us again.
    pub fn program_ended(&self) {
        FORWARD_TO.store(NOBODY, Ordering::Relaxed);
        for signal in ENDING.into_iter().filter(|signal| !is_ignored(*signal)) {
            set_action(signal, false);
        }
        change_mask(libc::SIG_UNBLOCK, &set_of(&JOB_STOPS));
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        FORWARD_TO.store(NOBODY, Ordering::Relaxed);
    }
}

/// While it lives, SIGINT, SIGTERM and SIGHUP end nothing by themselves: they become a wish that is asked for. SIGUSR1 is
/// the wish to look at everything. SIGTSTP is let go: with us stopped, what we trace would stand still at its next call.
///
/// Signals are blocked, not handled: so none is lost between looking and waiting, and a stop of a child (SIGCHLD) and a
/// wish are waited for at once.
#[derive(Debug)]
pub struct Wishes {
    before: Mask,
    is_to_end: std::cell::Cell<bool>,
    is_to_look: std::cell::Cell<bool>,
}

/// A signal mask.
struct Mask(libc::sigset_t);

impl std::fmt::Debug for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mask")
    }
}

impl Wishes {
    const ENDING: [i32; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];
    const OTHERS: [i32; 2] = [libc::SIGUSR1, libc::SIGTSTP];

    /// Begins it, for the calling thread; other threads must not take these signals (see [`shielded`]).
    pub fn begin() -> Wishes {
        // Ignored or not, it must be told: a blocked signal with its default action is.
        set_action(libc::SIGCHLD, false);
        let mut set = set_of(&[libc::SIGCHLD]);
        for signal in Self::ENDING.into_iter().chain(Self::OTHERS).filter(|signal| !is_ignored(*signal)) {
            // SAFETY: an initialised set and a valid signal number.
            unsafe { libc::sigaddset(&mut set, signal) };
        }
        let before = Mask(change_mask(libc::SIG_BLOCK, &set));
        Wishes { before, is_to_end: false.into(), is_to_look: false.into() }
    }

    /// Whether somebody wished for the end.
    pub fn is_to_end(&self) -> bool {
        if !self.is_to_end.get() {
            self.wait_for(&Self::all(), std::time::Duration::ZERO);
        }
        self.is_to_end.get()
    }

    /// Whether somebody wished for a look at everything since this was last asked.
    pub fn take_look(&self) -> bool {
        self.is_to_look.take()
    }

    fn all() -> libc::sigset_t {
        let mut set = set_of(&Self::ENDING);
        for signal in Self::OTHERS {
            // SAFETY: an initialised set and a valid signal number.
            unsafe { libc::sigaddset(&mut set, signal) };
        }
        set
    }

    /// Waits until a child has something to tell, somebody wishes for the end, or the time is over.
    pub fn wait(&self, time: std::time::Duration) {
        let mut set = Self::all();
        // SAFETY: an initialised set and a valid signal number.
        unsafe { libc::sigaddset(&mut set, libc::SIGCHLD) };
        self.wait_for(&set, time);
    }

    /// Whether one of them came.
    fn wait_for(&self, set: &libc::sigset_t, time: std::time::Duration) -> bool {
        let signal = wait_for_one(set, time);
        if Self::ENDING.contains(&signal) {
            self.is_to_end.set(true);
        } else if signal == libc::SIGUSR1 {
            self.is_to_look.set(true);
        }
        signal > 0
    }
}

impl Drop for Wishes {
    fn drop(&mut self) {
        // Others that came meanwhile would end us by themselves: the work is done, that is what they wished.
        while self.wait_for(&Self::all(), std::time::Duration::ZERO) {}
        change_mask(libc::SIG_SETMASK, &self.before.0);
    }
}

/// Takes one of these signals, or waits for one; what sigtimedwait(2) returns.
fn wait_for_one(set: &libc::sigset_t, time: std::time::Duration) -> i32 {
    let time = libc::timespec {
        tv_sec: libc::time_t::try_from(time.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: time.subsec_nanos().into(),
    };
    // SAFETY: an initialised set, no place for details, a valid time.
    unsafe { libc::sigtimedwait(set, std::ptr::null_mut(), &time) }
}

/// The name of a signal (`SIGTERM`), or its number.
pub fn name(signal: i32) -> String {
    const NAMES: [(i32, &str); 31] = [
        (libc::SIGHUP, "SIGHUP"),
        (libc::SIGINT, "SIGINT"),
        (libc::SIGQUIT, "SIGQUIT"),
        (libc::SIGILL, "SIGILL"),
        (libc::SIGTRAP, "SIGTRAP"),
        (libc::SIGABRT, "SIGABRT"),
        (libc::SIGBUS, "SIGBUS"),
        (libc::SIGFPE, "SIGFPE"),
        (libc::SIGKILL, "SIGKILL"),
        (libc::SIGUSR1, "SIGUSR1"),
        (libc::SIGSEGV, "SIGSEGV"),
        (libc::SIGUSR2, "SIGUSR2"),
        (libc::SIGPIPE, "SIGPIPE"),
        (libc::SIGALRM, "SIGALRM"),
        (libc::SIGTERM, "SIGTERM"),
        (libc::SIGSTKFLT, "SIGSTKFLT"),
        (libc::SIGCHLD, "SIGCHLD"),
        (libc::SIGCONT, "SIGCONT"),
        (libc::SIGSTOP, "SIGSTOP"),
        (libc::SIGTSTP, "SIGTSTP"),
        (libc::SIGTTIN, "SIGTTIN"),
        (libc::SIGTTOU, "SIGTTOU"),
        (libc::SIGURG, "SIGURG"),
        (libc::SIGXCPU, "SIGXCPU"),
        (libc::SIGXFSZ, "SIGXFSZ"),
        (libc::SIGVTALRM, "SIGVTALRM"),
        (libc::SIGPROF, "SIGPROF"),
        (libc::SIGWINCH, "SIGWINCH"),
        (libc::SIGIO, "SIGIO"),
        (libc::SIGPWR, "SIGPWR"),
        (libc::SIGSYS, "SIGSYS"),
    ];
    match NAMES.iter().find(|(n, _)| *n == signal) {
        Some((_, name)) => (*name).to_owned(),
        None => format!("signal {signal}"),
    }
}
