//! `run --stacks` on programs that make it hard: which frames are told, and what is said where they are not.

#![expect(clippy::unwrap_used, reason = "a test binary")]

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use vmatlas_testkit::{Capability, left_off, need, vmatlas_command};

fn vmatlas() -> Command {
    vmatlas_command(env!("CARGO_BIN_EXE_vmatlas"))
}

/// A program in C, and what is known of where its functions are.
struct Program {
    folder: tempfile::TempDir,
    functions: Vec<(String, u64, u64)>,
}

/// Compiles a program; `None` where the machine cannot.
fn compile(source: &str, options: &[&str]) -> Option<Program> {
    if !["cc", "nm"].into_iter().all(|tool| need(Capability::Tool(tool))) || !need(Capability::Ptrace) {
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    make(folder.path(), "program", source, options)?;
    let functions = functions(&folder.path().join("program"));
    Some(Program { folder, functions })
}

fn make(folder: &Path, name: &str, source: &str, options: &[&str]) -> Option<()> {
    let file = folder.join(format!("{name}.c"));
    fs::write(&file, source).unwrap();
    let mut cc = Command::new("cc");
    cc.args(["-w", "-O1", "-fomit-frame-pointer", "-fno-optimize-sibling-calls", "-o"]);
    cc.arg(folder.join(name)).arg(&file).args(options).stderr(Stdio::null());
    if !cc.status().unwrap().success() {
        left_off("cc that makes such a program");
        return None;
    }
    Some(())
}

/// Name, first address and size of each function.
fn functions(file: &Path) -> Vec<(String, u64, u64)> {
    let output = Command::new("nm").args(["-S", "--defined-only"]).arg(file).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = |line: &str| {
        let mut words = line.split(' ');
        let hex = |word: Option<&str>| u64::from_str_radix(word?, 16).ok();
        let (start, size) = (hex(words.next())?, hex(words.next())?);
        Some((words.nth(1)?.to_owned(), start, size))
    };
    text.lines().filter_map(line).collect()
}

impl Program {
    fn path(&self) -> PathBuf {
        self.folder.path().join("program")
    }

    /// The events of a watched run.
    fn events(&self, args: &[&str]) -> Vec<Value> {
        let lines = self.folder.path().join("events.jsonl");
        let mut command = vmatlas();
        command.arg("run").arg("--stacks").arg(format!("--jsonl={}", lines.display())).arg("--");
        let output = command.arg(self.path()).args(args).current_dir(self.folder.path()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = fs::read_to_string(lines).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The stacks of calls that ask for exactly this many bytes, as names of the program's own functions (others by file).
    fn stacks(&self, args: &[&str], length: u64) -> Vec<(Vec<String>, String)> {
        let asked = |event: &Value| event["call"] == "mmap" && event["args"]["length"] == length;
        self.events(args)
            .iter()
            .filter(|event| asked(event))
            .map(|event| self.names(&event["stack"]))
            .collect()
    }

    fn names(&self, stack: &Value) -> (Vec<String>, String) {
        let name = |frame: &Value| {
            let Some(module) = frame["module"].as_str() else { return "?".to_owned() };
            let address = frame["address"].as_str().unwrap();
            let address = u64::from_str_radix(&address[2..], 16).unwrap();
            let at = address - u64::from(frame["is_return"] == true);
            let within = |(_, start, size): &&(String, u64, u64)| *start <= at && at - start < *size;
            let function = self.functions.iter().find(within).filter(|_| module.contains("/program"));
            let file = module.rsplit('/').next().unwrap().to_owned();
            function.map_or(file, |(name, ..)| name.clone())
        };
        let frames = stack["frames"].as_array().unwrap().iter().map(name).collect();
        (frames, stack["end"].as_str().unwrap().to_owned())
    }
}

/// How many bytes the calls of interest ask for.
const MARK: u64 = 0x5000;

const MAP: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
volatile int sink;
__attribute__((noinline)) void map(void) { mmap(0, 0x5000, 3, 0x22, -1, 0); sink++; }
"#;

fn with_map(source: &str) -> String {
    format!("{MAP}{source}")
}

/// Checks the frames of a plain program without frame pointers, from libc to the start.
#[test]
fn callers_are_named() {
    let source = "__attribute__((noinline)) void inner(void) { map(); sink++; }\n\
                  __attribute__((noinline)) void outer(void) { inner(); sink++; }\n\
                  int main(void) { outer(); return 0; }";
    let Some(program) = compile(&with_map(source), &[]) else { return };
    let stacks = program.stacks(&[], MARK);
    let [(frames, end)] = &stacks[..] else { panic!("{stacks:?}") };
    let own: Vec<&str> = frames.iter().map(String::as_str).filter(|name| !name.contains("libc")).collect();
    assert_eq!(own, ["map", "inner", "outer", "main", "_start"]);
    assert!(frames[0].contains("libc") && end == "start", "{frames:?} {end}");
}

/// Checks that a library which is unloaded later is in the frames of calls that were made while it was there.
#[test]
fn an_unloaded_library_is_told() {
    let library = with_map("void enter(void) { map(); sink++; }");
    let source = "int main(void) { for (int i = 0; i < 2; i++) { void *l = dlopen(\"./library\", RTLD_NOW);\n\
                  ((void (*)(void)) dlsym(l, \"enter\"))(); dlclose(l); } return 0; }";
    let Some(program) = compile(&with_map(source), &["-ldl"]) else { return };
    let Some(()) = make(program.folder.path(), "library", &library, &["-shared", "-fPIC"]) else { return };
    let stacks = program.stacks(&[], MARK);
    assert_eq!(stacks.len(), 2);
    for (frames, end) in stacks {
        assert_eq!(frames.iter().filter(|name| *name == "library").count(), 2, "{frames:?}");
        assert!(frames.contains(&"main".to_owned()) && end == "start", "{frames:?} {end}");
    }
}

/// Checks that stacks deeper than the bounds say so: by bytes, and by frames.
#[test]
fn deep_stacks_are_marked() {
    let source = "__attribute__((noinline)) int large(int n) { volatile char b[9000]; b[n] = 1;\n\
                  if (n) large(n - 1); else map(); return b[n]; }\n\
                  __attribute__((noinline)) int small(int n) { if (n) return small(n - 1) + 1; map(); return sink; }\n\
                  int main(int c, char **v) { if (c > 1) small(1000); else large(20); return 0; }";
    let Some(program) = compile(&with_map(source), &[]) else { return };
    let (frames, end) = program.stacks(&[], MARK).remove(0);
    assert_eq!(end, "bound");
    assert_eq!(frames.iter().filter(|name| *name == "large").count(), 8, "{frames:?}");
    let (frames, end) = program.stacks(&["small"], MARK).remove(0);
    assert_eq!((frames.len(), end.as_str()), (256, "depth"));
}

/// Checks a program that deleted its own file, and one that put another file in its place: frames are those of the file
/// that is mapped.
#[test]
fn a_deleted_program_is_read() {
    let source = "__attribute__((noinline)) void inner(void) { map(); sink++; }\n\
                  int main(int c, char **v) { unlink(v[0]); if (c > 1) { int f = open(v[0], O_CREAT | O_WRONLY, 0700);\n\
                  write(f, \"other\", 5); close(f); } inner(); return 0; }";
    for args in [&[][..], &["replace"]] {
        let Some(program) = compile(&with_map(source), &[]) else { return };
        let (frames, end) = program.stacks(args, MARK).remove(0);
        let own: Vec<&str> =
            frames.iter().map(String::as_str).filter(|name| !name.contains("libc")).collect();
        assert_eq!(own, ["map", "inner", "main", "_start"], "{args:?}");
        assert_eq!(end, "start");
    }
}

/// Checks that a deleted library, which no other name leads to, is unwound by the tables that are mapped.
#[test]
fn a_deleted_library_is_read_from_memory() {
    let library = with_map("void enter(void) { map(); sink++; }");
    let source = "int main(void) { void *l = dlopen(\"./library\", RTLD_NOW); unlink(\"library\");\n\
                  ((void (*)(void)) dlsym(l, \"enter\"))(); return 0; }";
    let Some(program) = compile(&with_map(source), &["-ldl"]) else { return };
    let Some(()) = make(program.folder.path(), "library", &library, &["-shared", "-fPIC"]) else { return };
    let (frames, end) = program.stacks(&[], MARK).remove(0);
    assert!(frames.contains(&"main".to_owned()) && end == "start", "{frames:?} {end}");
}

/// Checks that tables of garbage end a stack, and neither us nor the program.
#[test]
fn damaged_tables_end_the_stack() {
    let source = "int main(void) { map(); return 0; }";
    let Some(program) = compile(&with_map(source), &["-Wl,-z,norelro"]) else { return };
    let bytes = fs::read(program.path()).unwrap();
    let headers = Command::new("readelf").args(["-SW"]).arg(program.path()).output();
    let Ok(headers) = headers else { return left_off("readelf") };
    let headers = String::from_utf8(headers.stdout).unwrap();
    let place = |name: &str| {
        let line = headers.lines().find(|line| line.split_whitespace().any(|word| word == name)).unwrap();
        let rest = line.split_once(name).unwrap().1;
        let numbers: Vec<usize> =
            rest.split_whitespace().skip(1).take(3).map(|w| usize::from_str_radix(w, 16).unwrap()).collect();
        numbers[1]..numbers[1] + numbers[2]
    };
    for (section, byte) in
        [(".eh_frame", 0xff), (".eh_frame", 0), (".eh_frame", 0x41), (".eh_frame_hdr", 0xff)]
    {
        let mut damaged = bytes.clone();
        damaged[place(section)].fill(byte);
        fs::remove_file(program.path()).unwrap();
        fs::write(program.path(), &damaged).unwrap();
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(program.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let (frames, end) = program.stacks(&[], MARK).remove(0);
        assert_eq!(frames.get(1).map(String::as_str), Some("map"), "{frames:?}");
        assert_eq!((frames.len(), end.as_str()), (2, "no-rule"), "{section} {byte}: {frames:?}");
    }
}

/// Checks a signal handler on a stack of its own, a thread, and a forked child.
#[test]
fn handlers_threads_and_children() {
    let source = "void handler(int s) { map(); sink++; }\n\
                  __attribute__((noinline)) void hit(void) { raise(SIGUSR1); sink++; }\n\
                  void *thread(void *a) { map(); sink++; return 0; }\n\
                  int main(void) { static char other[65536]; stack_t s = { other, 0, sizeof other }; sigaltstack(&s, 0);\n\
                  void *m = mmap(0, 65536, 3, 0x22, -1, 0); s.ss_sp = m; sigaltstack(&s, 0);\n\
                  struct sigaction a = { .sa_handler = handler, .sa_flags = SA_ONSTACK }; sigaction(SIGUSR1, &a, 0);\n\
                  hit(); pthread_t t; pthread_create(&t, 0, thread, 0); pthread_join(t, 0);\n\
                  if (!fork()) { map(); _exit(0); } wait(0); return 0; }";
    let Some(program) = compile(&with_map(source), &["-lpthread"]) else { return };
    let stacks = program.stacks(&[], MARK);
    let own = |frames: &[String]| -> Vec<String> {
        frames.iter().filter(|name| !name.contains("libc")).cloned().collect()
    };
    let [handler, thread, child] = &stacks[..] else { panic!("{stacks:?}") };
    assert_eq!(own(&handler.0), ["map", "handler", "hit", "main", "_start"]);
    assert_eq!(own(&thread.0), ["map", "thread"]);
    assert_eq!(own(&child.0), ["map", "main", "_start"]);
    assert!(stacks.iter().all(|(_, end)| end == "start"), "{stacks:?}");
}

/// Checks that stacks are recorded, and that `log`, `why` and `info` of a recording, also packed, show them.
#[test]
fn recordings_have_stacks() {
    let source = "__attribute__((noinline)) void inner(void) { map(); sink++; }\n\
                  int main(void) { for (int i = 0; i < 100; i++) inner(); return 0; }";
    let Some(program) = compile(&with_map(source), &[]) else { return };
    let rec = program.folder.path().join("rec");
    let status = vmatlas().args(["run", "--stacks", "-o"]).arg(&rec).arg("--").arg(program.path()).status();
    assert!(status.unwrap().success());
    let told = |args: &[&str]| {
        let output = vmatlas().args(args).output().unwrap();
        assert!(output.status.success(), "{args:?} {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let rec = rec.to_str().unwrap();
    told(&["verify", rec]);
    let packed = format!("{rec}.zip");
    told(&["pack", rec, "-o", &packed]);
    for rec in [rec, &packed] {
        let lines = told(&["log", rec, "--stacks", "--jsonl"]);
        let events: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let asked: Vec<&Value> = events
            .iter()
            .filter(|event| event["call"] == "mmap" && event["args"]["length"] == MARK)
            .collect();
        assert_eq!(asked.len(), 100);
        for event in &asked {
            let (frames, end) = program.names(&event["stack"]);
            assert_eq!(frames[1..4], ["map", "inner", "main"]);
            assert_eq!(end, "start");
        }
        assert!(told(&["log", rec, "--stacks"]).contains("\n                         at inner (program+0x"));
        assert!(!told(&["log", rec]).contains("program+0x"));
        let address = asked[50]["result"].as_str().unwrap();
        let why = told(&["why", rec, address, "--no-pager"]);
        assert!(why.contains("at inner (program+0x"), "{why}");
        let why: Value = serde_json::from_str(&told(&["why", rec, address, "--json"])).unwrap();
        assert_eq!(why["origin"]["stack"]["end"], "start");
    }
}

/// Checks that attach walks stacks too, and that without the option there are none.
#[test]
fn stacks_are_asked_for() {
    let source = "int main(int argc, char **argv) {
        for (int i = 0; argc > 1 || i < 50; i++) { map(); usleep(20000); }
        return 0;
    }";
    let Some(program) = compile(&with_map(source), &[]) else { return };
    let mut child = Command::new(program.path()).arg("on").spawn().unwrap();
    let lines = program.folder.path().join("attach.jsonl");
    let watch = |duration: &str| {
        let mut command = vmatlas();
        command.args(["attach", "--stacks", "--duration", duration, &child.id().to_string()]);
        let attached = command.arg(format!("--jsonl={}", lines.display())).output().unwrap();
        let text = fs::read_to_string(&lines).unwrap();
        let events = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        (attached, events.into_iter().find(|event| event["call"] == "mmap"))
    };
    // On a busy machine a short time may pass without a call.
    let mut watched = ["300ms", "3s", "30s"].into_iter().map(watch);
    let seen = watched.find(|(attached, call)| !attached.status.success() || call.is_some());
    drop(watched);
    child.kill().unwrap();
    child.wait().unwrap();
    let (attached, call) = seen.unwrap();
    assert!(attached.status.success(), "{attached:?}");
    let call = call.unwrap();
    let (frames, end) = program.names(&call["stack"]);
    assert_eq!(frames[1..3], ["map", "main"]);
    assert_eq!(end, "start");
    let output = vmatlas().args(["run", "--"]).arg(program.path()).output().unwrap();
    assert!(!String::from_utf8(output.stderr).unwrap().contains("at program"));
}
