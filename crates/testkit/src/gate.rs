//! Gates: a test that cannot run here says so aloud, and fails where somebody promised that it can run.

use crate::tracee::Tracee;
use std::env;
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::panic::Location;
use std::process::{Command, Stdio};
use vmatlas_event::{Addr, AddrRange, Tid};
use vmatlas_sys::ptrace;

/// What a test may need of the machine; each is tried, never concluded from a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// Asking for one VMA of a process (PROCMAP_QUERY).
    ProcmapQuery,
    /// Scanning the pages of a process (PAGEMAP_SCAN).
    PagemapScan,
    /// Tracing a child of ours (ptrace(2)); a test that runs under a tracer itself may still do it.
    Ptrace,
    /// Perf events of the page faults of our own programs (perf_event_open(2)).
    FaultEvents,
    /// A Rust compiler that runs: what $PATH leads to can be a proxy whose toolchain is another user's.
    Rustc,
    /// A program in $PATH.
    Tool(&'static str),
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Capability::ProcmapQuery => f.write_str("PROCMAP_QUERY"),
            Capability::PagemapScan => f.write_str("PAGEMAP_SCAN"),
            Capability::Ptrace => f.write_str("ptrace"),
            Capability::FaultEvents => f.write_str("perf events of page faults"),
            Capability::Rustc => f.write_str("a Rust compiler"),
            Capability::Tool(name) => write!(f, "the program {name}"),
        }
    }
}

/// Whether the test may go on as root; otherwise says why it is skipped.
///
/// # Panics
/// When $VMATLAS_REQUIRE_ROOT_TESTS is 1 and we are not root: then a skip is a failure.
#[must_use]
#[track_caller]
pub fn need_root(reason: &str) -> bool {
    let promise = Promise::of_root_tests();
    gate(vmatlas_sys::effective_uid() == 0, "root", reason, promise)
}

/// Whether the machine can do what the test needs; otherwise says that it is skipped.
///
/// # Panics
/// When a promised thing is missing: a program under $VMATLAS_CI = 1, which installs them; ptrace under
/// $VMATLAS_REQUIRE_ROOT_TESTS = 1, since root may trace its children; a Rust compiler under $VMATLAS_CI = 1 where cargo runs
/// the test, which has one (the run as an ordinary user has none). What a kernel lacks is no failure.
#[must_use]
#[track_caller]
pub fn need(capability: Capability) -> bool {
    let (there, promise) = match capability {
        Capability::ProcmapQuery => (can_query_maps(), Promise::NONE),
        Capability::PagemapScan => (can_scan_pages(), Promise::NONE),
        Capability::Ptrace => (can_trace(), Promise::of_root_tests()),
        Capability::FaultEvents => (can_watch_faults(), Promise::NONE),
        Capability::Rustc => (has_rustc(), Promise::of_rustc(env::var_os("CARGO").is_some())),
        Capability::Tool(name) => (find_program(name, env::var_os("PATH").as_deref()), Promise::of_tools()),
    };
    gate(there, &capability.to_string(), "not available here", promise)
}

/// Whether somebody promised that a need is met, and by which variable.
#[derive(Clone, Copy)]
struct Promise(Option<&'static str>);

impl Promise {
    const NONE: Promise = Promise(None);

    fn of_root_tests() -> Promise {
        Promise::by("VMATLAS_REQUIRE_ROOT_TESTS")
    }

    fn of_tools() -> Promise {
        Promise::by("VMATLAS_CI")
    }

    /// Nobody installs a toolchain for tests: the one that runs them is there.
    fn of_rustc(is_run_by_cargo: bool) -> Promise {
        if is_run_by_cargo { Promise::of_tools() } else { Promise::NONE }
    }

    fn by(variable: &'static str) -> Promise {
        Promise(env::var_os(variable).is_some_and(|v| v == "1").then_some(variable))
    }
}

/// Says aloud that a test leaves off here, because something turned out to be missing on the way: return after it.
#[track_caller]
pub fn left_off(what: &str) {
    gate(false, what, "found on the way", Promise::NONE);
}

/// Whether BPF programs can be loaded here, as root and by the `vmatlas` binary (its compiled-in path); otherwise says so.
///
/// # Panics
/// As [`without_bpf`].
#[must_use]
#[track_caller]
pub fn need_bpf(compiled_in: &str) -> bool {
    if !need_root("BPF programs are loaded") {
        return false;
    }
    let mut command = crate::vmatlas_command(compiled_in);
    let Ok(output) = command.args(["run", "--backend", "bpf", "-c", "--", "true"]).output() else {
        return true;
    };
    let is_loaded = output.status.code() != Some(125);
    if !is_loaded {
        without_bpf(&String::from_utf8_lossy(&output.stderr).trim());
    }
    is_loaded
}

/// Says aloud that BPF programs cannot be loaded here: return after it.
///
/// # Panics
/// Where nothing is in the way of them: then it is our programs that the kernel refused, which is no reason to skip.
#[track_caller]
pub fn without_bpf(why: &dyn fmt::Display) {
    assert!(!has_bpf(), "nothing is in the way of BPF programs here, and yet: {why}");
    left_off(&format!("BPF ({why})"));
}

/// Whether this kernel has what our programs ask of it, told by itself and not by them.
fn has_bpf() -> bool {
    // What they call that is youngest (include/uapi/linux/bpf.h: enum bpf_func_id).
    let helpers = [&b"BPF_FUNC_find_vma\0"[..], b"BPF_FUNC_loop\0"];
    let has = |types: &[u8], name: &[u8]| types.windows(name.len()).any(|bytes| bytes == name);
    vmatlas_sys::bpf::obstacle().is_none()
        && fs::read("/sys/kernel/btf/vmlinux").is_ok_and(|types| helpers.iter().all(|name| has(&types, name)))
}

#[track_caller]
fn gate(there: bool, what: &str, why: &str, promise: Promise) -> bool {
    if there {
        return true;
    }
    if let Promise(Some(variable)) = promise {
        panic!("this test may not be skipped while {variable}=1: it needs {what} ({why})");
    }
    let place = Location::caller();
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    say_skipped(&format!("SKIPPED (needs {what}): {why} [{test}, {}:{}]", place.file(), place.line()));
    false
}

/// Says it on the real stderr, which the test harness does not capture, and in the list that `cargo xtask ci` prints.
fn say_skipped(line: &str) {
    // A skip that cannot be told is still a skip; the test has no better place to complain.
    let _ = writeln!(io::stderr().lock(), "{line}");
    if let Some(list) = env::var_os("VMATLAS_SKIP_LIST") {
        // One write, so that lines of tests that run at the same time do not mix (O_APPEND).
        let _ = OpenOptions::new()
            .create(true)
            .append(true)
            .open(list)
            .and_then(|mut f| f.write_all(format!("{line}\n").as_bytes()));
    }
}

fn can_query_maps() -> bool {
    let Ok(maps) = File::open("/proc/self/maps") else { return false };
    vmatlas_sys::procmap_query(maps.as_fd(), Addr(0), vmatlas_sys::QueryMode::CoveringOrNext).is_ok()
}

fn can_scan_pages() -> bool {
    let Ok(pagemap) = File::open("/proc/self/pagemap") else { return false };
    let page = vmatlas_sys::page_size().bytes();
    let Some(range) = AddrRange::new(Addr(0), Addr(page)) else { return false };
    let mut runs = [vmatlas_sys::PageRun::default()];
    vmatlas_sys::pagemap_scan(pagemap.as_fd(), range, 1, &mut runs).is_ok()
}

fn can_watch_faults() -> bool {
    use vmatlas_sys::perf::{Event, Faults, Options};
    let options =
        Options { cpu: None, kernel: false, on_exec: true, sampled: true, execs: false, stacks: None };
    Event::open(Tid(0), Faults::Minor, options).is_ok()
}

fn can_trace() -> bool {
    let Ok(child) = Tracee::start(Command::new("sleep").arg("60")) else { return false };
    ptrace::seize(Tid(child.pid().0), ptrace::Options::default()).is_ok()
}

fn has_rustc() -> bool {
    let output = Command::new("rustc").arg("--version").stdin(Stdio::null()).output();
    output.is_ok_and(|output| output.status.success())
}

fn find_program(name: &str, path: Option<&OsStr>) -> bool {
    let Some(path) = path else { return false };
    env::split_paths(path).any(|folder| {
        // Under another user some folders of $PATH cannot be entered: what is in there is missing for us.
        fs::metadata(folder.join(name)).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that a need that is met lets the test run, whatever was promised.
    #[test]
    fn a_need_that_is_met_opens_the_gate() {
        assert!(gate(true, "nothing", "a test", Promise::NONE));
        assert!(gate(true, "nothing", "a test", Promise(Some("X"))));
    }

    /// Checks that a broken promise fails the test and names the variable that made it.
    #[test]
    #[should_panic(expected = "may not be skipped while X=1: it needs root (reads PFNs)")]
    fn a_broken_promise_is_a_failure() {
        let _ = gate(false, "root", "reads PFNs", Promise(Some("X")));
    }

    /// Checks that a Rust compiler is promised by cargo alone: a user who was given built tests need not have one.
    #[test]
    fn a_rust_compiler_is_there_where_cargo_is() {
        assert!(Promise::of_rustc(false).0.is_none());
        assert_eq!(Promise::of_rustc(true).0, Promise::of_tools().0);
    }

    /// Checks that a program is found by $PATH, and that a folder or a plain file does not count.
    #[test]
    fn programs_are_looked_for_in_path() {
        let path = OsStr::new("/nowhere:/usr/bin:/bin");
        assert!(find_program("sleep", Some(path)));
        assert!(!find_program("no-such-program-at-all", Some(path)));
        assert!(!find_program("passwd", Some(OsStr::new("/etc"))));
        assert!(!find_program("bin", Some(OsStr::new("/usr"))));
        assert!(!find_program("sleep", None));
    }

    /// Checks that probing is quiet and repeatable: the same machine gives the same answer twice.
    #[test]
    fn probes_agree_with_themselves() {
        assert_eq!(can_query_maps(), can_query_maps());
        assert_eq!(can_scan_pages(), can_scan_pages());
        assert_eq!(can_trace(), can_trace());
        assert_eq!(has_rustc(), has_rustc());
    }

    /// Checks that root passes the root gate; that others do not is seen in the list of skips of every other test.
    #[test]
    fn root_passes_the_root_gate() {
        if vmatlas_sys::effective_uid() == 0 {
            assert!(need_root("a look at the gate itself"));
        }
    }
}
