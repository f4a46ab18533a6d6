//! Signals to a watched program: it ends, stops and goes on as it would without us.

#![expect(clippy::unwrap_used, reason = "a test binary")]

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;
use vmatlas_event::Pid;
use vmatlas_testkit::{Capability, Tracee, need, vmatlas_binary, wait_until};

/// What the program is doing when the signal comes.
#[derive(Clone, Copy, Debug)]
enum State {
    Running,
    InACall,
    GroupStopped,
}

/// How it is watched.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Watch {
    Not,
    Run,
    Attach,
}

const CONT: i32 = 18;
const STOP: i32 = 19;
/// Ends what the signal did not end.
const USR1: i32 = 10;

/// A shell with the default action for every signal: it says its PID, and works or sleeps.
fn program(state: State) -> &'static str {
    match state {
        State::Running => "ulimit -c 0; echo $$; while :; do :; done",
        State::InACall | State::GroupStopped => "ulimit -c 0; echo $$; exec sleep 60",
    }
}

fn state_of(pid: Pid) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

fn is_sleep(pid: Pid) -> bool {
    std::fs::read(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == b"sleep\n")
}

/// Like a shell: its own status, or 128 + N.
fn shell_status(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap())
}

/// How the program ends when it gets `signal` in this state.
fn end(signal: i32, state: State, watch: Watch) -> i32 {
    let vmatlas = vmatlas_binary(env!("CARGO_BIN_EXE_vmatlas"));
    let mut command = Command::new(if watch == Watch::Run { vmatlas.as_os_str() } else { "sh".as_ref() });
    if watch == Watch::Run {
        command.args(["run", "-c", "--log", "/dev/null", "--", "sh"]);
    }
    command.arg("-c").arg(program(state)).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut tracee = Tracee::start(&mut command).unwrap();
    let pid = Pid(tracee.read_line().unwrap().parse().unwrap());
    let patience = Duration::from_secs(20);
    // Others may be running too: what is not sleeping runs.
    let is_there = |pid| match state {
        State::Running => true,
        _ => matches!(state_of(pid), Some('S')) && is_sleep(pid),
    };
    assert!(wait_until(|| is_there(pid), patience));
    let _attached = (watch == Watch::Attach).then(|| {
        let mut command = Command::new(&vmatlas);
        command
            .args(["attach", "--backend", "ptrace", "-c", "--log", "/dev/null", &pid.to_string()])
            .stdin(Stdio::null());
        let attached = Tracee::start(command.stdout(Stdio::null()).stderr(Stdio::null())).unwrap();
        let traced = format!("TracerPid:\t{}\n", attached.pid());
        let status = || std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        assert!(wait_until(|| status().contains(&traced), patience));
        assert!(wait_until(|| is_there(pid), patience));
        attached
    });
    let send = |signal| {
        // It may be gone: that is what is asked.
        let _ = vmatlas_sys::kill(pid, signal);
    };
    let has_ended = || matches!(state_of(pid), None | Some('Z'));
    if matches!(state, State::GroupStopped) {
        send(STOP);
        // A tracee on its way there shows the same letter for a moment.
        let is_still = || {
            (0..10).all(|_| {
                std::thread::sleep(Duration::from_millis(2));
                matches!(state_of(pid), Some('T' | 't'))
            })
        };
        assert!(wait_until(is_still, patience));
    }
    send(signal);
    if matches!(state, State::GroupStopped) && signal != 9 {
        // Nothing but SIGKILL acts before SIGCONT.
        let ended = wait_until(has_ended, Duration::from_millis(20));
        assert!(!ended || signal == CONT, "{watch:?}: signal {signal} ended it while it was stopped");
        send(CONT);
    }
    // A busy machine may take its time over an end, but those that end nothing need not be waited for.
    let ends_nothing = [17, CONT, STOP, 20, 21, 22, 23, 28].contains(&signal);
    let time = if ends_nothing { Duration::from_millis(40) } else { Duration::from_secs(5) };
    if !wait_until(has_ended, time) {
        // It was ignored, or stopped it.
        send(CONT);
        send(USR1);
    }
    shell_status(tracee.wait().unwrap())
}

/// Checks each of the 31 standard signals in three states: the same end with us and without us, both ways of watching.
#[test]
fn every_signal_ends_it_as_without_us() {
    if !need(Capability::Ptrace) {
        return;
    }
    let next = AtomicI32::new(1);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                loop {
                    let signal = next.fetch_add(1, Ordering::Relaxed);
                    if signal > 31 {
                        return;
                    }
                    for state in [State::Running, State::InACall, State::GroupStopped] {
                        let plain = end(signal, state, Watch::Not);
                        assert_eq!(end(signal, state, Watch::Run), plain, "run: signal {signal}, {state:?}");
                        assert_eq!(
                            end(signal, state, Watch::Attach),
                            plain,
                            "attach: signal {signal}, {state:?}"
                        );
                    }
                }
            });
        }
    });
}
