//! `vmatlas run` as a user runs it: the program must not notice, and every line must be true.

#![expect(clippy::unwrap_used, reason = "a test binary")]

use serde_json::Value;
use std::fs;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use vmatlas_testkit::{Capability, Tracee, need, vmatlas_binary, vmatlas_command, wait_until};

fn vmatlas() -> Command {
    vmatlas_command(env!("CARGO_BIN_EXE_vmatlas"))
}

/// Runs a program watched; `None` where tracing is not possible.
fn run(options: &[&str], program: &[&str]) -> Option<Output> {
    if !need(Capability::Ptrace) {
        return None;
    }
    Some(vmatlas().args(["run", "--backend=ptrace"]).args(options).arg("--").args(program).output().unwrap())
}

/// The events of a watched program, the summary last.
fn events(program: &[&str]) -> Option<Vec<Value>> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.jsonl");
    run(&[&format!("--jsonl={}", path.display())], program)?;
    let text = fs::read_to_string(path).unwrap();
    Some(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Checks that the program's output stays its own and its status is ours.
#[test]
fn output_and_status_are_the_programs() {
    let Some(output) = run(&[], &["sh", "-c", "echo out; exit 7"]) else { return };
    assert_eq!(text(&output.stdout), "out\n");
    assert_eq!(output.status.code(), Some(7));
    let lines = text(&output.stderr);
    assert!(lines.contains("mmap(") && lines.contains("memory calls of sh"), "{lines}");
}

/// Checks the statuses a shell would give: a signal, not found, not executable; and a script without #!.
#[test]
fn statuses_are_those_of_a_shell() {
    let Some(killed) = run(&["-c"], &["sh", "-c", "kill -TERM $$"]) else { return };
    assert_eq!(killed.status.code(), Some(128 + 15));
    let code = |program: &str| run(&["-c"], &[program]).unwrap().status.code();
    assert_eq!(code("no-such-program"), Some(127));
    assert_eq!(code("/nowhere/program"), Some(127));
    assert_eq!(code("/etc/passwd"), Some(126));
    assert_eq!(code("/"), Some(126));
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("script");
    fs::write(&script, "echo script $1\nexit 3\n").unwrap();
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let output = run(&["-c"], &[script.to_str().unwrap(), "arg"]).unwrap();
    assert_eq!((text(&output.stdout).as_str(), output.status.code()), ("script arg\n", Some(3)));
}

/// Checks that the sums of the changes are what the kernel says: mapped minus unmapped is the size of the last map.
#[test]
fn changes_add_up_to_the_last_map() {
    let Some(events) = events(&["ls", "/"]) else { return };
    let mut size = 0i64;
    let mut at_exec = 0;
    for event in &events {
        let rows = |key: &str| event["change"][key].as_array().cloned().unwrap_or_default();
        let sum = |rows: &[Value]| -> i64 {
            // [vsyscall] is listed, but no VMA.
            let sizes =
                rows.iter().filter(|r| r["name"] != "[vsyscall]").map(|r| r["size"].as_i64().unwrap());
            sizes.sum()
        };
        match event["call"].as_str() {
            Some("snapshot") if event["args"]["reason"] == "exec" => {
                at_exec = sum(&rows("vmas_after"));
                size = at_exec;
            }
            Some("exit") => assert_eq!(sum(&rows("vmas_before")), size),
            _ => size += sum(&rows("vmas_after")) - sum(&rows("vmas_before")),
        }
    }
    assert!(at_exec > 0 && size > at_exec, "{at_exec} at exec, {size} at the end");
    let summary = events.last().unwrap();
    assert_eq!(summary["schema"], "vmatlas/run-summary/1");
    assert_eq!(summary["status"], 0);
    assert_eq!(summary["drift"], 0);
    assert!(summary["peak"].as_i64().unwrap() >= size);
}

/// Checks that every memory call that strace sees is seen, in the same numbers.
#[test]
fn as_many_calls_as_strace_sees() {
    if !need(Capability::Tool("strace")) {
        return;
    }
    let program = ["sh", "-c", "ls / >/dev/null; true"];
    let Some(events) = events(&program) else { return };
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("strace");
    let calls = "mmap,munmap,mremap,mprotect,brk,madvise,shmat,shmdt";
    let status = Command::new("strace")
        .args(["-f", "-qq", "-e", &format!("trace={calls}"), "-e", "signal=none", "-o"])
        .arg(&log)
        .args(program)
        .status()
        .unwrap();
    assert!(status.success());
    let theirs = fs::read_to_string(log).unwrap();
    for call in calls.split(',') {
        // A call that another process interrupts in the log is on two lines; its first has the name and a parenthesis.
        let seen = theirs.lines().filter(|l| l.contains(&format!(" {call}("))).count();
        let ours = events.iter().filter(|e| e["call"] == call).count();
        assert_eq!(ours, seen, "{call}");
    }
}

/// Checks what the talk shows: 1 GiB by mmap is 1 GiB more, and a failed call changes nothing. Python asks for both.
#[test]
fn a_gibibyte_and_a_failure() {
    if !need(Capability::Tool("python3")) {
        return;
    }
    let script = "import mmap\nm = mmap.mmap(-1, 1 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n\
        try:\n    mmap.mmap(-1, 1 << 62)\nexcept OSError:\n    pass\n";
    let Some(events) = events(&["python3", "-c", script]) else { return };
    let of = |event: &Value| event["args"]["length"].as_u64();
    let gib = events.iter().find(|e| e["call"] == "mmap" && of(e) == Some(1 << 30)).unwrap();
    let added: u64 = gib["change"]["pages"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|p| p["what"] == "added")
        .map(|p| p["size"].as_u64().unwrap())
        .sum();
    assert_eq!(added, 1 << 30);
    let failed = events.iter().find(|e| e["call"] == "mmap" && of(e) == Some(1 << 62)).unwrap();
    assert_eq!(failed["error"], "ENOMEM");
    assert_eq!(failed["change"]["pages"], Value::Array(vec![]));
}

/// Checks that filters leave out lines but not sums, and that children are hidden only when asked.
#[test]
fn filters_leave_out_lines_only() {
    let Some(output) = run(&["-e", "brk", "--no-children"], &["sh", "-c", "ls / > /dev/null; true"]) else {
        return;
    };
    let lines = text(&output.stderr);
    let (events, summary) = lines.split_once("memory calls of").unwrap();
    assert!(events.contains("brk(") && !events.contains("mmap("), "{events}");
    assert!(summary.contains("mmap"));
    let tids: std::collections::BTreeSet<&str> =
        events.lines().filter_map(|l| l.split_ascii_whitespace().nth(1)).collect();
    assert_eq!(tids.len(), 1, "{events}");
    let count = text(&run(&["-c"], &["true"]).unwrap().stderr);
    assert!(!count.contains("mmap(NULL") || count.contains("largest"), "{count}");
    let large = text(&run(&["--min-size", "1TiB"], &["true"]).unwrap().stderr);
    assert!(large.trim_start().starts_with("memory calls of"), "{large}");
}

/// Checks that threads and children of every sort are followed, and that the last status is the program's.
#[test]
fn threads_and_children_are_followed() {
    if !need(Capability::Tool("python3")) {
        return;
    }
    let script = "import os, subprocess, threading\n\
        ts = [threading.Thread(target=lambda: bytearray(8 << 20)) for _ in range(8)]\n\
        [t.start() for t in ts]; [t.join() for t in ts]\n\
        pid = os.fork()\n\
        if pid == 0: os._exit(5)\n\
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5\n\
        subprocess.run(['true'], check=True)\n\
        os._exit(9)";
    let Some(output) = run(&["--jsonl"], &["python3", "-c", script]) else { return };
    assert_eq!(output.status.code(), Some(9), "{}", text(&output.stderr));
    let lines = text(&output.stderr);
    let events: Vec<Value> = lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let summary = events.last().unwrap();
    assert_eq!(summary["threads"], 8);
    assert!(summary["processes"].as_u64().unwrap() >= 3, "{summary}");
    assert_eq!(summary["drift"], 0);
    let forks = events.iter().filter(|e| e["call"] == "fork" && e["args"]["how"] != "thread").count() as u64;
    assert_eq!(forks + 1, summary["processes"].as_u64().unwrap());
}

/// Checks that the program has the signals, descriptors and environment it would have without us.
#[test]
fn the_program_is_as_without_us() {
    let script = "grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status; ls -l /proc/self/fd | wc -l; env | cut -d= -f1 | sort";
    let mut plain = Command::new("sh");
    plain.env_remove("LC_ALL").env_remove("LC_MESSAGES").env("LANG", "C.UTF-8");
    let plain = plain.args(["-c", script]).stdin(Stdio::null()).output().unwrap();
    let Some(watched) = run(&["-c"], &["sh", "-c", script]) else { return };
    let lines = |output: &Output| text(&output.stdout).lines().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(lines(&watched), lines(&plain));
}

/// Checks that a descriptor that is closed without us is closed with us.
#[test]
fn closed_descriptors_stay_closed() {
    if !need(Capability::Ptrace) {
        return;
    }
    let listed = |with: &str| {
        let script = format!("exec 3>&1 0<&-; {with} sh -c 'ls /proc/$$/fd >&3; :'");
        let vmatlas = vmatlas_binary(env!("CARGO_BIN_EXE_vmatlas"));
        let output = Command::new("sh").args(["-c", &script]).env("V", vmatlas).output().unwrap();
        text(&output.stdout)
    };
    let plain = listed("");
    assert!(!plain.lines().any(|fd| fd == "0"), "{plain}");
    assert_eq!(listed("\"$V\" run -c --log /dev/null --"), plain);
}

/// Checks that a signal sent to us reaches the program, whose handler decides.
#[test]
fn signals_are_passed_on() {
    if !need(Capability::Ptrace) {
        return;
    }
    let script = "trap 'echo caught; exit 4' TERM; echo ready; while :; do sleep 0.1; done";
    let mut command = vmatlas();
    command.args(["run", "-c", "--", "sh", "-c", script]).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut watched = Tracee::start(&mut command).unwrap();
    assert_eq!(watched.read_line().unwrap(), "ready");
    watched.signal(15).unwrap();
    assert_eq!(watched.read_line().unwrap(), "caught");
    assert_eq!(watched.wait().unwrap().code(), Some(4));
}

/// Checks that nothing is left when we are killed: the program ends with us, it does not go on with calls that fail.
#[test]
fn the_program_ends_with_its_tracer() {
    if !need(Capability::Ptrace) {
        return;
    }
    let mut command = vmatlas();
    command.args(["run", "-c", "--", "sh", "-c", "echo $$; exec sleep 60"]);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut watched = Tracee::start(&mut command).unwrap();
    let pid: u32 = watched.read_line().unwrap().parse().unwrap();
    assert!(fs::metadata(format!("/proc/{pid}")).is_ok());
    watched.signal(9).unwrap();
    assert_eq!(watched.wait().unwrap().signal(), Some(9));
    let gone = || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
        stat.is_err() || stat.is_ok_and(|s| s.contains(") Z "))
    };
    assert!(wait_until(gone, Duration::from_secs(10)), "the program lives on");
}

/// Checks that children whose creator is killed while it forks do not wait for its word for ever, when a process of the
/// same tree is made their parent.
#[test]
fn children_of_killed_creators_go_on() {
    if !need(Capability::Ptrace) || !need(Capability::Tool("python3")) {
        return;
    }
    let script = "import ctypes, os, signal, time\n\
        PR_SET_CHILD_SUBREAPER = 36\n\
        assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0\n\
        def forks():\n    \
            while True:\n        \
                if os.fork() == 0: os._exit(0)\n        \
                os.waitpid(-1, os.WNOHANG)\n\
        for i in range(40):\n    \
            pid = os.fork()\n    \
            if pid == 0: forks()\n    \
            time.sleep(0.002 + i * 37 % 11 / 4000)\n    \
            os.kill(pid, signal.SIGKILL)\n    \
            os.waitpid(pid, 0)\n\
        try:\n    \
            while True: os.wait()\n\
        except ChildProcessError: pass\n\
        os._exit(7)";
    let mut command = vmatlas();
    command.args(["run", "-c", "--log", "/dev/null", "--", "python3", "-c", script]);
    let mut watched = Tracee::start(&mut command).unwrap();
    assert!(wait_until(|| watched.has_ended(), Duration::from_secs(60)), "it waits for ever");
    assert_eq!(watched.wait().unwrap().code(), Some(7));
}

/// Checks that we do not wait for children that the shell had before it became us: they may wait for our end.
#[test]
fn inherited_children_are_not_waited_for() {
    if !need(Capability::Ptrace) {
        return;
    }
    let mut command = Command::new("sh");
    // The background cat reads our pipe: it ends when this test lets go of it.
    let script = r#"exec 3<&0; cat <&3 >/dev/null & exec "$0" run -c --log /dev/null -- sh -c 'exit 3' 3<&-"#;
    command.args(["-c", script]).arg(vmatlas_binary(env!("CARGO_BIN_EXE_vmatlas"))).stdin(Stdio::piped());
    let mut watched = Tracee::start(&mut command).unwrap();
    assert!(
        wait_until(|| watched.has_ended(), Duration::from_secs(20)),
        "it waits for a child that is not ours"
    );
    assert_eq!(watched.wait().unwrap().code(), Some(3));
}

/// Checks that after the program's end a signal ends us, and with us what the program left behind.
#[test]
fn a_signal_ends_us_after_the_program() {
    if !need(Capability::Ptrace) || !need(Capability::Tool("setsid")) {
        return;
    }
    let script = "setsid sleep 60 >/dev/null 2>&1 & echo $$ $!; exit 4";
    let mut command = vmatlas();
    command.args(["run", "-c", "--log", "/dev/null", "--", "sh", "-c", script]).stdout(Stdio::piped());
    let mut watched = Tracee::start(&mut command).unwrap();
    let line = watched.read_line().unwrap();
    let (program, left) = line.split_once(' ').unwrap();
    let gone = |pid: &str| fs::metadata(format!("/proc/{pid}")).is_err();
    assert!(wait_until(|| gone(program), Duration::from_secs(20)), "the program did not end");
    // Reaped: from now on what is sent to us is for us, as soon as the tracer has taken note.
    assert!(!watched.has_ended(), "the program's daemon lives, and so do we");
    let ended = || {
        let _ = watched.signal(15);
        watched.has_ended()
    };
    assert!(wait_until(ended, Duration::from_secs(20)), "SIGTERM did not end us");
    assert_eq!(watched.wait().unwrap().signal(), Some(15));
    assert!(wait_until(|| gone(left), Duration::from_secs(20)), "the daemon lives on");
}

/// Checks that a call of ipc(2) that is none of memory leaves no call behind that never was.
#[test]
fn a_semaphore_is_no_memory_call() {
    // push rbx; semget(0, 0, 0) = ipc(2, 0, 0, 0) through int 0x80; pop rbx; ret
    let script = "import ctypes, mmap\n\
        code = bytes.fromhex('53b875000000bb0200000031c931d231f631ffcd805bc3')\n\
        page = mmap.mmap(-1, 4096, prot=7)\n\
        page.write(code)\n\
        ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()\n\
        other = mmap.mmap(-1, 123 << 12)";
    if !need(Capability::Tool("python3")) {
        return;
    }
    let plain = Command::new("python3").args(["-c", script]).output().unwrap();
    if !plain.status.success() {
        vmatlas_testkit::left_off("32-bit calls");
        return;
    }
    let Some(events) = events(&["python3", "-c", script]) else { return };
    let failed: Vec<_> = events.iter().filter(|e| e["error"] == "ENOSYS" || e["call"] == "other").collect();
    assert!(failed.is_empty(), "{failed:?}");
    let size = 123 << 12;
    assert!(
        events.iter().any(|e| e["call"] == "mmap" && e["args"]["length"] == size),
        "the mmap after it is lost"
    );
}

/// Checks that no line is lost when the program makes the standard error that we share not wait.
#[test]
fn a_full_pipe_loses_nothing() {
    if !need(Capability::Ptrace) || !need(Capability::Tool("python3")) {
        return;
    }
    let script = "import fcntl, mmap, os\n\
        fcntl.fcntl(2, fcntl.F_SETFL, fcntl.fcntl(2, fcntl.F_GETFL) | os.O_NONBLOCK)\n\
        for _ in range(2000): mmap.mmap(-1, 77 << 12).close()";
    let mut command = vmatlas();
    command.args(["run", "--", "python3", "-c", script]).stderr(Stdio::piped()).stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    // Until the pipe is full; a pipe holds 64 KiB.
    std::thread::sleep(Duration::from_millis(1500));
    let mut lines = String::new();
    child.stderr.take().unwrap().read_to_string(&mut lines).unwrap();
    assert!(child.wait().unwrap().success());
    let made = lines.lines().filter(|line| line.contains("308 KiB") && line.contains(" mmap(NULL, ")).count();
    assert!(made >= 2000, "{made} lines of 2000");
    assert!(lines.contains("memory calls of python3"), "no summary");
}

/// Checks that a log that could not be written to the end is told, and the status is still the program's.
#[test]
fn a_full_disk_is_told() {
    let Some(output) = run(&["--log", "/dev/full"], &["sh", "-c", "exit 9"]) else { return };
    assert_eq!(output.status.code(), Some(9));
    assert!(text(&output.stderr).contains("/dev/full"), "{}", text(&output.stderr));
}

/// Checks that few descriptors cost time only: every answer is there.
#[test]
fn few_descriptors_are_enough() {
    if !need(Capability::Ptrace) || !need(Capability::Tool("python3")) {
        return;
    }
    let script = "import threading\n\
        gate = threading.Barrier(41)\n\
        work = lambda: (gate.wait(), bytearray(4 << 20), gate.wait())\n\
        ts = [threading.Thread(target=work) for _ in range(40)]\n\
        [t.start() for t in ts]; gate.wait(); gate.wait(); [t.join() for t in ts]";
    let mut command = Command::new("sh");
    command.args(["-c", r#"ulimit -n 24; exec "$0" run -- python3 -c "$1""#]);
    command.arg(vmatlas_binary(env!("CARGO_BIN_EXE_vmatlas"))).arg(script).env("LANG", "C.UTF-8");
    let output = command.stdin(Stdio::null()).output().unwrap();
    let lines = text(&output.stderr);
    assert!(output.status.success() && lines.contains("memory calls of python3"), "{lines}");
    // A thread that the end of the program kills inside its last madvise is no lost answer.
    let unanswered = |line: &&str| line.contains("not confirmed") && !line.contains("the task ended");
    assert_eq!(lines.lines().find(unanswered), None);
}

/// Checks that the program goes on when nobody reads our lines any more.
#[test]
fn a_closed_log_does_not_disturb_the_program() {
    if !need(Capability::Ptrace) {
        return;
    }
    let mut child = vmatlas()
        .args(["run", "--", "sh", "-c", "ls / >/dev/null; ls / >/dev/null; echo done; exit 6"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stderr.take());
    let mut out = String::new();
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    assert_eq!((out.as_str(), child.wait().unwrap().code()), ("done\n", Some(6)));
}

/// Checks that a log that cannot be written is our own failure, before the program starts.
#[test]
fn an_unwritable_log_is_our_failure() {
    let output = vmatlas().args(["run", "--log", "/nowhere/log", "--", "echo", "ran"]).output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(text(&output.stderr).contains("/nowhere/log"));
    assert!(output.stdout.is_empty());
}

/// Checks that an exec from a thread that is not the first keeps the right process and status.
#[test]
fn exec_from_another_thread() {
    if !need(Capability::Tool("python3")) {
        return;
    }
    let script = "import os, threading, time\n\
        threading.Thread(target=lambda: (time.sleep(0.1), os.execv('/bin/sh', ['sh', '-c', 'echo exec; exit 8']))).start()\n\
        time.sleep(60)";
    let Some(output) = run(&["-c"], &["python3", "-c", script]) else { return };
    assert_eq!((text(&output.stdout).as_str(), output.status.code()), ("exec\n", Some(8)));
}

/// Checks that under another tracer we fail with a line that says so, and do not hang.
#[test]
fn under_another_tracer_we_say_so() {
    if !need(Capability::Tool("strace")) || !need(Capability::Ptrace) {
        return;
    }
    let binary = vmatlas_binary(env!("CARGO_BIN_EXE_vmatlas"));
    let output = Command::new("strace")
        .args(["-f", "-qq", "-e", "trace=none", "-e", "signal=none", "-o", "/dev/null"])
        .arg(binary)
        .args(["run", "--", "true"])
        .env("LANG", "C.UTF-8")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(125), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("another tracer"), "{}", text(&output.stderr));
}
