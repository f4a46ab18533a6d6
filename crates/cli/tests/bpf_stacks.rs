//! `--stacks` with `--backend bpf`: stacks are taken at the call and walked later, and are those that a stopped program has.

#![expect(clippy::unwrap_used, reason = "a test binary")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use vmatlas_testkit::{Capability, Tracee, need, need_bpf, vmatlas_binary};

fn vmatlas() -> Command {
    let mut command = Command::new(vmatlas_binary(env!("CARGO_BIN_EXE_vmatlas")));
    command.env_remove("LC_ALL").env_remove("LC_MESSAGES").env("LANG", "C.UTF-8").stdin(Stdio::null());
    command.env("PYTHONHASHSEED", "0");
    command
}

/// Whether BPF programs can be loaded here, and the other backend and the compiler are there to compare with; says so otherwise.
fn is_possible() -> bool {
    ["cc", "setarch"].into_iter().all(|tool| need(Capability::Tool(tool)))
        && need(Capability::Ptrace)
        && need_bpf(env!("CARGO_BIN_EXE_vmatlas"))
}

const MAP: &str = "#define _GNU_SOURCE\n#include <pthread.h>\n#include <signal.h>\n#include <stdlib.h>\n\
    #include <string.h>\n#include <sys/mman.h>\n#include <sys/wait.h>\n#include <unistd.h>\nvolatile int sink;\n\
    __attribute__((noinline)) void map(void) { mmap(0, 0x5000, 3, 0x22, -1, 0); sink++; }\n";

fn compile(folder: &Path, source: &str, options: &[&str]) -> PathBuf {
    let (file, program) = (folder.join("program.c"), folder.join("program"));
    fs::write(&file, format!("{MAP}{source}")).unwrap();
    let mut cc = Command::new("cc");
    cc.args(["-w", "-O1", "-fno-optimize-sibling-calls"]).args(options).arg("-o").arg(&program).arg(&file);
    assert!(cc.arg("-lpthread").status().unwrap().success());
    program
}

/// The stacks of a program's calls, each with how many calls had it; its addresses are the same each time.
fn stacks(folder: &Path, backend: &str, how: &str, command: &[&str]) -> BTreeMap<String, u64> {
    let rec = folder.join(format!("{backend}-{how}"));
    let mut run = vmatlas();
    run.args(["run", "--backend", backend, &format!("--stacks={how}"), "--force", "-o"]).arg(&rec);
    let output = run.args(["--", "setarch", "-R"]).args(command).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let output = vmatlas().arg("verify").arg(&rec).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let output =
        vmatlas().args(["export", "--format", "collapsed", "--by", "calls"]).arg(&rec).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let line = |line: &str| {
        let (stack, count) = line.rsplit_once(' ').unwrap();
        (stack.to_owned(), count.parse().unwrap())
    };
    text.lines().map(line).collect()
}

/// Those of calls of `map`, without what is outside of `main`.
fn of_map(stacks: BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let inner = |(stack, count): (String, u64)| {
        let (_, inner) = stack.split_once(";main;").filter(|(_, inner)| inner.contains("map;mmap"))?;
        Some((inner.to_owned(), count))
    };
    stacks.into_iter().filter_map(inner).collect()
}

/// Checks that a copy unwound later tells what a stopped program's stack tells: recursion, threads, children, large frames
/// whose pages were never touched; and of an interpreter.
#[test]
fn copies_are_what_stopped_stacks_are() {
    if !is_possible() {
        return;
    }
    let source = "__attribute__((noinline)) int down(int n) { if (n) return down(n - 1) + 1; map(); return sink; }\n\
        __attribute__((noinline)) int wide(void) { char b[20000]; b[0] = 1; map(); return b[sink & 1]; }\n\
        void *thread(void *a) { down(3); wide(); free(malloc(1 << 20)); return 0; }\n\
        int main(void) { for (int i = 0; i < 50; i++) { down(i); wide(); free(malloc(1 << 20)); }\n\
        for (int i = 0; i < 3; i++) { pthread_t t; pthread_create(&t, 0, thread, 0); pthread_join(t, 0); }\n\
        if (!fork()) { wide(); _exit(0); } wait(0); return 0; }";
    let folder = tempfile::tempdir().unwrap();
    let program = compile(folder.path(), source, &["-fomit-frame-pointer", "-fno-stack-clash-protection"]);
    let python = "import json, zlib; x = [bytearray(1 << 20) for i in range(20)]";
    for command in [&[program.to_str().unwrap()][..], &["python3", "-c", python]] {
        if command[0] == "python3" && !need(Capability::Tool("python3")) {
            continue;
        }
        let bpf = stacks(folder.path(), "bpf", "dwarf", command);
        let ptrace = stacks(folder.path(), "ptrace", "dwarf", command);
        assert!(ptrace.len() > 10, "{ptrace:#?}");
        assert_eq!(bpf, ptrace, "{command:?}");
    }
    let own = stacks(folder.path(), "bpf", "dwarf", &[program.to_str().unwrap()]);
    let truncated: Vec<&String> = own.keys().filter(|stack| stack.contains("[truncated]")).collect();
    assert!(truncated.is_empty(), "{truncated:?}");
}

/// Checks that frame pointers, followed by the kernel or by us, tell what tables tell where a program keeps them, and who called
/// the C library, which keeps none.
#[test]
fn frame_pointers_are_what_tables_are() {
    if !is_possible() {
        return;
    }
    let source = "__attribute__((noinline)) int down(int n) { if (n) return down(n - 1) + 1; map(); return sink; }\n\
                  int main(void) { for (int i = 0; i < 50; i++) down(i % 7); return 0; }";
    let folder = tempfile::tempdir().unwrap();
    let options = ["-fno-omit-frame-pointer", "-mno-omit-leaf-frame-pointer"];
    let program = compile(folder.path(), source, &options);
    let command = [program.to_str().unwrap()];
    let tables = of_map(stacks(folder.path(), "bpf", "dwarf", &command));
    assert_eq!((tables.len(), tables.values().sum::<u64>()), (7, 50), "{tables:#?}");
    let bpf = stacks(folder.path(), "bpf", "fp", &command);
    assert_eq!(bpf, stacks(folder.path(), "ptrace", "fp", &command));
    assert_eq!(of_map(bpf), tables);
}

/// The ends of the stacks of calls of `map`, and how many frames of a function they have.
fn ends(folder: &Path, program: &Path, function: &str) -> Vec<(String, usize)> {
    let mut run = vmatlas();
    let lines = folder.join("lines");
    run.args(["run", "--backend", "bpf", "--stacks", &format!("--jsonl={}", lines.display()), "--"]);
    let output = run.arg(program).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = fs::read_to_string(lines).unwrap();
    let end = |line: &str| {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        let frames = event["stack"]["frames"].as_array()?;
        let named = |name: &str| frames.iter().filter(|frame| frame.to_string().contains(name)).count();
        let end = event["stack"]["end"].as_str()?.to_owned();
        (event["args"]["length"] == 0x5000).then(|| (end, named(&format!("\"{function}\""))))
    };
    text.lines().filter_map(end).collect()
}

/// Checks that what is not in a copy is said: a stack that is deeper than its bound, one that goes on on another stack (a
/// signal handler's), and pages that are not there.
#[test]
fn what_is_missing_is_marked() {
    if !is_possible() {
        return;
    }
    let source = "__attribute__((noinline)) int large(int n) { volatile char b[9000]; b[n] = 1; b[4500] = 1;\n\
        if (n) large(n - 1); else map(); return b[n]; }\n\
        void handler(int s) { map(); sink++; }\n\
        __attribute__((noinline)) int below(char *page) { map(); return page[0]; }\n\
        __attribute__((noinline)) int above(void) { char b[20000]; memset(b, 1, sizeof b);\n\
        return below(b) + b[9]; }\n\
        int main(void) { large(20);\n\
        stack_t s = { mmap(0, 65536, 3, 0x22, -1, 0), 0, 65536 }; sigaltstack(&s, 0);\n\
        struct sigaction a = { .sa_handler = handler, .sa_flags = SA_ONSTACK }; sigaction(SIGUSR1, &a, 0);\n\
        raise(SIGUSR1); above(); return 0; }";
    let folder = tempfile::tempdir().unwrap();
    let program = compile(folder.path(), source, &["-fomit-frame-pointer", "-g"]);
    let large = ends(folder.path(), &program, "large");
    let [deep, handler, whole] = &large[..] else { panic!("{large:?}") };
    assert_eq!((deep.0.as_str(), handler.0.as_str(), whole.0.as_str()), ("bound", "unreadable", "start"));
    // As many as the walk of a stopped program's stack finds.
    assert!((7..9).contains(&deep.1), "{deep:?}");
    assert_eq!(ends(folder.path(), &program, "handler").get(1).map(|end| end.1), Some(1));
}

/// Checks that a running program's stacks are told without stopping it, and that nothing is taken unasked.
#[test]
fn a_running_program_has_stacks() {
    if !is_possible() {
        return;
    }
    let source = "int main(void) { char c; write(1, \"ready\\n\", 6); while (read(0, &c, 1) == 1) { map();\n\
                  write(1, \"done\\n\", 5); } return 0; }";
    let folder = tempfile::tempdir().unwrap();
    let program = compile(folder.path(), source, &["-fomit-frame-pointer"]);
    for (option, has_stacks) in [("--stacks", true), ("--stacks=fp", true), ("--stacks=off", false)] {
        let mut target = Tracee::start(Command::new(&program).stdin(Stdio::piped()).stdout(Stdio::piped()));
        let target = target.as_mut().unwrap();
        assert_eq!(target.read_line().unwrap(), "ready");
        let mut attach = vmatlas();
        attach.args(["attach", "--backend", "bpf", option, &target.pid().to_string()]);
        let mut attach = attach.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(attach.stderr.take().unwrap()).lines().map(Result::unwrap);
        assert!(lines.by_ref().any(|line| line.contains("attached")));
        target.write_line("").unwrap();
        assert_eq!(target.read_line().unwrap(), "done");
        assert!(lines.by_ref().any(|line| line.contains("mmap(NULL, 20 KiB")));
        let _ = vmatlas_sys::kill(vmatlas_event::Pid(attach.id() as i32), 15);
        let rest: Vec<String> = lines.collect();
        let named = rest.iter().any(|line| line.trim_start().starts_with("at map (program"));
        assert_eq!(named, has_stacks, "{option} {rest:#?}");
        assert_eq!(attach.wait().unwrap().code(), Some(0));
    }
}
