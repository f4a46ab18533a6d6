//! How far a long piece of work is: told on a terminal, and nowhere else.
//!
//! Nobody waits for a second here: the program's clock is one that goes on by a second whenever it is read.

#![expect(clippy::unwrap_used, reason = "a test binary")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;
use vmatlas_testkit::{Capability, fixtures, need, vmatlas_binary, vmatlas_command};

/// clock_gettime(2) of the C library is found by its name, and so this one first.
const CLOCK: &str = "
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t id, struct timespec *now) {
    static long reads;
    long answer = syscall(SYS_clock_gettime, id, now);
    now->tv_sec += __atomic_add_fetch(&reads, 1, __ATOMIC_RELAXED);
    return answer;
}
";

/// Runs its arguments on a new terminal of 80 columns, the first of them a word for what is no terminal; copies what it wrote.
const TERMINAL: &str = "
import fcntl, os, pty, struct, subprocess, sys, termios
master, terminal = pty.openpty()
fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 80, 0, 0))
pipe = subprocess.PIPE if sys.argv[1] == 'stdout-is-a-pipe' else terminal
child = subprocess.Popen(sys.argv[2:], stdin=terminal, stdout=pipe, stderr=terminal)
os.close(terminal)
if child.stdout:
    child.stdout.read()
while True:
    try:
        some = os.read(master, 4096)
    except OSError:
        break
    if not some:
        break
    sys.stdout.buffer.write(some)
sys.exit(child.wait())
";

struct Fast {
    folder: TempDir,
}

impl Fast {
    /// `None` where there is no compiler for its clock, or nobody who makes terminals.
    fn new() -> Option<Fast> {
        if !need(Capability::Tool("cc")) || !need(Capability::Tool("python3")) {
            return None;
        }
        let fast = Fast { folder: tempfile::tempdir().unwrap() };
        let source = fast.folder.path().join("clock.c");
        fs::write(&source, CLOCK).unwrap();
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-o"]).arg(fast.clock()).arg(source);
        assert!(cc.status().unwrap().success());
        Some(fast)
    }

    fn clock(&self) -> PathBuf {
        self.folder.path().join("clock.so")
    }

    /// What is seen on a terminal of this kind.
    fn on_terminal(&self, kind: &str, stdout: &str, words: &[&str]) -> String {
        let mut command = Command::new("python3");
        command.args(["-c", TERMINAL, stdout, "env"]);
        command.arg(format!("LD_PRELOAD={}", self.clock().display()));
        command.args([&format!("TERM={kind}"), "NO_COLOR=1"]);
        command.arg(vmatlas_binary(env!("CARGO_BIN_EXE_vmatlas"))).args(words);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn recording() -> PathBuf {
    fixtures().join("recordings/v3/sealed")
}

/// Checks that a terminal shows how far the work is, in one line that is gone again before the answer, in both languages.
#[test]
fn a_terminal_shows_how_far_it_is() {
    let Some(fast) = Fast::new() else { return };
    let path = recording();
    let path = path.to_str().unwrap();
    for (lang, line, answer) in [("en", "\rchecking ", "sound"), ("ja", "\r検査しています ", "問題")]
    {
        let seen = fast.on_terminal("xterm", "terminal", &["verify", path, "--lang", lang]);
        assert!(seen.contains(line), "{seen:?}");
        let (progress, rest) = seen.rsplit_once("\r\x1b[K").unwrap();
        assert!(progress.contains(" %") && !progress.contains('\n'), "{progress:?}");
        assert!(!rest.contains('\x1b') && rest.contains(answer), "{rest:?}");
        // What is written over one another keeps to the width, its last column left free.
        assert!(progress.split('\r').all(|line| line.trim_end_matches("\x1b[K").chars().count() < 80));
    }
}

/// Checks that nothing of it is written where nobody would see it: not to a terminal that cannot take a line back, nor where
/// another program reads the answer, nor to a pipe.
#[test]
fn nothing_is_shown_elsewhere() {
    let Some(fast) = Fast::new() else { return };
    let path = recording();
    let words = ["verify", path.to_str().unwrap(), "--lang", "en"];
    let is_silent = |seen: &str| !seen.contains("checking") && !seen.contains('\x1b');
    let dumb = fast.on_terminal("dumb", "terminal", &words);
    assert!(is_silent(&dumb) && dumb.contains("sound"), "{dumb:?}");
    let piped = fast.on_terminal("xterm", "stdout-is-a-pipe", &words);
    assert_eq!(piped, "");
    let json = fast.on_terminal("xterm", "terminal", &[&words[..], &["--json"]].concat());
    assert!(is_silent(&json), "{json:?}");
    let Output { status, stdout, stderr } = piped_run(&fast.clock(), &words);
    assert!(status.success() && text(&stdout).contains("sound"));
    assert_eq!(text(&stderr), "");
}

fn piped_run(clock: &Path, words: &[&str]) -> Output {
    let mut command = vmatlas_command(env!("CARGO_BIN_EXE_vmatlas"));
    command.args(words).env("LD_PRELOAD", clock).env("TERM", "xterm").output().unwrap()
}
