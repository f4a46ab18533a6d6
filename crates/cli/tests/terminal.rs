//! Keys and job control: a watched program in a real terminal behaves as without us.

#![expect(clippy::unwrap_used, reason = "a test binary")]

use std::process::{Command, Output};
use std::time::Duration;
use tempfile::TempDir;
use vmatlas_testkit::{Capability, need, vmatlas_binary, wait_until};

/// A terminal with a shell in it; both end with the test.
struct Terminal {
    sockets: TempDir,
}

impl Terminal {
    /// `None` where a terminal or tracing is not possible.
    fn open() -> Option<Terminal> {
        let possible =
            need(Capability::Tool("tmux")) && need(Capability::Tool("bash")) && need(Capability::Ptrace);
        if !possible {
            return None;
        }
        let terminal = Terminal { sockets: tempfile::tempdir().unwrap() };
        // As words of their own, so that tmux needs no shell of the user's to start it (nobody has none).
        let size = ["new-session", "-d", "-x", "150", "-y", "40"];
        let shell = ["env", "PS1=> ", "LANG=C.UTF-8", "bash", "--norc", "--noprofile"];
        let output = terminal.tmux(&[size, shell].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        // The screen is captured without blanks at the ends of lines.
        terminal.wait_for(">");
        Some(terminal)
    }

    fn tmux(&self, words: &[&str]) -> Output {
        Command::new("tmux")
            .args(["-f", "/dev/null"])
            .args(words)
            .env("TMUX_TMPDIR", self.sockets.path())
            .env_remove("TMUX")
            .output()
            .unwrap()
    }

    fn keys(&self, keys: &[&str]) {
        assert!(self.tmux(&[&["send-keys"], keys].concat()).status.success());
    }

    fn line(&self, text: &str) {
        self.keys(&["-l", text]);
        self.keys(&["Enter"]);
    }

    fn screen(&self) -> String {
        String::from_utf8(self.tmux(&["capture-pane", "-p"]).stdout).unwrap()
    }

    fn wait_for(&self, text: &str) {
        let there = wait_until(|| self.screen().contains(text), Duration::from_secs(20));
        assert!(there, "no {text:?} on:\n{}", self.screen());
    }

    /// Starts a program under us that says `ready` when it runs.
    fn watch(&self, script: &str) {
        let vmatlas = vmatlas_binary(env!("CARGO_BIN_EXE_vmatlas"));
        // The word is put together on the way, so that the typed line does not hold it.
        self.line(&format!("{} run -c -- sh -c 'printf rea; echo dy; {script}'", vmatlas.display()));
        self.wait_for("\nready");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

/// Checks that ^C ends the program, not us before it: its status and our summary are there.
#[test]
fn interrupting_ends_the_program() {
    let Some(terminal) = Terminal::open() else { return };
    terminal.watch("exec sleep 60");
    terminal.keys(&["C-c"]);
    terminal.wait_for("memory calls of sh");
    terminal.line("echo status=$?");
    terminal.wait_for("status=130");
}

/// Checks that a program which handles ^C is not ended by it.
#[test]
fn a_handler_of_the_program_decides() {
    let Some(terminal) = Terminal::open() else { return };
    terminal.watch("trap \"echo caught\" INT; while :; do sleep 0.1; test -e /nowhere && break; done");
    terminal.keys(&["C-c"]);
    terminal.wait_for("^Ccaught");
    terminal.keys(&["C-\\"]);
    terminal.wait_for("memory calls of sh");
}

/// Checks that ^Z stops the job as a whole, that the shell knows, and that fg continues it.
#[test]
fn a_job_stops_and_continues() {
    let Some(terminal) = Terminal::open() else { return };
    // In its own place: a shell that the key meets while it waits in vfork(2) for a child that stops does not stop itself.
    terminal.watch("exec sleep 60");
    terminal.keys(&["C-z"]);
    terminal.wait_for("Stopped");
    terminal.line("echo shell is here");
    terminal.wait_for("\nshell is here");
    terminal.line("fg");
    terminal.keys(&["C-c"]);
    terminal.wait_for("memory calls of sh");
}

/// Checks that a program which takes the whole screen works, and that ^Z gives the screen back first.
#[test]
fn a_full_screen_program_works() {
    let Some(terminal) = Terminal::open() else { return };
    if !need(Capability::Tool("less")) {
        return;
    }
    let vmatlas = vmatlas_binary(env!("CARGO_BIN_EXE_vmatlas"));
    terminal.line(&format!("seq 1000 | {} run -c -- less 2>/dev/null", vmatlas.display()));
    terminal.wait_for("\n39\n");
    terminal.keys(&["G"]);
    terminal.wait_for("\n1000\n");
    terminal.keys(&["C-z"]);
    terminal.wait_for("Stopped");
    // The program gave the screen back before it stopped: the shell's own is there again.
    let screen = terminal.screen();
    assert!(screen.contains("seq 1000 |") && !screen.contains("\n1000\n"), "{screen}");
    terminal.line("fg");
    terminal.wait_for("(END)");
    terminal.keys(&["q"]);
    terminal.line("echo status=$?");
    terminal.wait_for("status=0");
}
