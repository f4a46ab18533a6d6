//! `--stacks` on code made at run time: frames without tables, and names out of what its maker writes.

#![cfg(target_arch = "x86_64")]
#![expect(clippy::unwrap_used, reason = "a test binary")]
#![forbid(unsafe_code)]

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use vmatlas_testkit::{Capability, left_off, need, need_root, vmatlas_binary};

fn vmatlas() -> Command {
    let mut command = Command::new(vmatlas_binary(env!("CARGO_BIN_EXE_vmatlas")));
    command.env_remove("LC_ALL").env_remove("LC_MESSAGES").env("LANG", "C.UTF-8").stdin(Stdio::null());
    command
}

/// A runtime in small: it makes two functions that call what they are given, with a frame pointer and without one, calls
/// them, and writes about them in one format or the other.
const RUNTIME: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
volatile int sink;
__attribute__((noinline)) void map(void) { mmap(0, 0x5000, 3, 0x22, -1, 0); sink++; }
static const unsigned char with_pointer[] = { 0x55, 0x48, 0x89, 0xe5, 0xff, 0xd7, 0x5d, 0xc3 };
static const unsigned char without[] = { 0x48, 0x83, 0xec, 8, 0xff, 0xd7, 0x48, 0x83, 0xc4, 8, 0xc3 };
static const unsigned char outer[] = { 0x55, 0x48, 0x89, 0xe5, 0xff, 0xd6, 0x5d, 0xc3 };
static const unsigned char hidden[] = { 0x48, 0x83, 0xec, 8, 0xff, 0xd7, 0x85, 0xc0, 0x74, 0, 0x48, 0x83, 0xc4, 8, 0xc3 };
static unsigned char *code;
static FILE *out;
static uint64_t now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1000000000ull + t.tv_nsec; }
static void put(const void *bytes, size_t n) { fwrite(bytes, 1, n, out); }
static void loaded(int is_dump, unsigned long start, size_t size, uint64_t index, const char *name) {
    if (!is_dump) { fprintf(out, "%lx %zx %s\n", start, size, name); fflush(out); return; }
    uint32_t head[2] = { 0, 16 + 8 + 4 * 8 + strlen(name) + 1 + size };
    uint32_t ids[2] = { getpid(), getpid() };
    uint64_t time = now(), rest[4] = { start, start, size, index };
    put(head, 8); put(&time, 8); put(ids, 8); put(rest, 32); put(name, strlen(name) + 1); put(code, size); fflush(out);
}
__attribute__((noinline)) void enter(unsigned char *at) { ((void (*)(void (*)(void))) at)(map); sink++; }
int main(int argc, char **argv) {
    char path[64];
    int is_dump = !strcmp(argv[1], "dump");
    code = mmap(0, 4096, 3, 0x22, -1, 0);
    memcpy(code, with_pointer, sizeof with_pointer);
    memcpy(code + 64, without, sizeof without);
    memcpy(code + 128, outer, sizeof outer);
    memcpy(code + 192, hidden, sizeof hidden);
    mprotect(code, 4096, PROT_READ | PROT_EXEC);
    snprintf(path, sizeof path, is_dump ? "jit-%d.dump" : "/tmp/perf-%d.map", getpid());
    if (argc > 2 && *argv[2] == 'f') {
        mkfifo(path, 0600);
        strcpy(path, "/dev/null");
    }
    out = fopen(path, "w+");
    if (argc > 2 && *argv[2] == 'g') fchown(fileno(out), 12345, 12345);
    if (is_dump) {
        uint32_t head[6] = { 0x4a695444, 1, 40, 62, 0, getpid() };
        uint64_t rest[2] = { now(), 0 };
        put(head, 24); put(rest, 16); fflush(out);
        mmap(0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fileno(out), 0);
    }
    loaded(is_dump, (unsigned long) code, sizeof with_pointer, 1, "made::first");
    loaded(is_dump, (unsigned long) code + 64, sizeof without, 2, "made::lasting");
    enter(code);
    enter(code + 64);
    loaded(is_dump, (unsigned long) code, sizeof with_pointer, 3, "made::second");
    enter(code);
    enter(code + 64);
    if (argc > 2 && *argv[2] == 'n') {
        loaded(is_dump, (unsigned long) code + 128, sizeof outer, 4, "made::outer");
        loaded(is_dump, (unsigned long) code + 192, sizeof hidden, 5, "made::hidden");
        ((void (*)(void *, void *)) (code + 128))(map, code + 192);
    }
    if (is_dump) unlink(path);
    return 0;
}
"#;

struct Runtime {
    folder: tempfile::TempDir,
}

impl Runtime {
    fn new() -> Option<Runtime> {
        if !need(Capability::Tool("cc")) || !need(Capability::Ptrace) {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("runtime.c"), RUNTIME).unwrap();
        let mut cc = Command::new("cc");
        cc.args([
            "-w",
            "-O1",
            "-fomit-frame-pointer",
            "-fno-optimize-sibling-calls",
            "-o",
            "runtime",
            "runtime.c",
        ]);
        assert!(cc.current_dir(folder.path()).status().unwrap().success());
        Some(Runtime { folder })
    }

    fn output(&self, words: &[&str]) -> Output {
        vmatlas().args(words).current_dir(self.folder.path()).output().unwrap()
    }

    /// Records a run; what the runtime left in /tmp is taken away.
    fn record(&self, args: &[&str]) -> Output {
        let output =
            self.output(&[&["run", "--stacks", "--force", "-o", "rec", "--", "./runtime"], args].concat());
        assert!(output.status.success(), "{output:?}");
        for event in self.events("rec") {
            remove_map(&event);
        }
        output
    }

    fn events(&self, recording: &str) -> Vec<Value> {
        let output = self.output(&["log", recording, "--stacks", "--jsonl"]);
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The functions around the frame of made code, for each of the four calls.
    fn made(&self, recording: &str) -> Vec<String> {
        let events = self.events(recording);
        let asked = events.iter().filter(|e| e["call"] == "mmap" && e["args"]["length"] == 0x5000);
        asked.map(|event| around(&event["stack"])).collect()
    }
}

fn remove_map(event: &Value) {
    if let Some(pid) = event["pid"].as_i64() {
        let _ = fs::remove_file(format!("/tmp/perf-{pid}.map"));
    }
}

/// The functions of a stack from `map` to `main`, and its end where it is cut.
fn around(stack: &Value) -> String {
    let name = |frame: &Value| frame["symbols"][0]["function"].as_str().unwrap_or("?").to_owned();
    let frames: Vec<String> = stack["frames"].as_array().unwrap().iter().map(name).collect();
    let from = frames.iter().position(|name| name == "map").unwrap_or(0);
    let to = frames.iter().position(|name| name == "main").map_or(frames.len(), |at| at + 1);
    let end = if stack["truncated"] == true { " (cut)" } else { "" };
    format!("{}{end}", frames[from..to].join(" "))
}

/// Checks names out of a perf map: the last entry of an address counts; they are in the recording when the map is gone.
#[test]
fn a_perf_map_names_code() {
    let Some(runtime) = Runtime::new() else { return };
    runtime.record(&["map"]);
    let (second, lasting) = ("map made::second enter main", "map made::lasting enter main");
    assert_eq!(runtime.made("rec"), [second, lasting, second, lasting]);
    let text = String::from_utf8(runtime.output(&["log", "rec", "--stacks"]).stdout).unwrap();
    assert!(text.contains("at made::lasting (0x"), "{text}");
}

/// Checks names out of a jitdump that its process deleted: code that was another's before has no name, other code has.
#[test]
fn a_dump_names_code_at_its_time() {
    let Some(runtime) = Runtime::new() else { return };
    runtime.record(&["dump"]);
    let (reused, lasting) = ("map ? enter main", "map made::lasting enter main");
    assert_eq!(runtime.made("rec"), [reused, lasting, reused, lasting]);
}

/// Checks that lines which are printed while the program runs have the names of their time.
#[test]
fn lines_have_names_of_their_time() {
    let Some(runtime) = Runtime::new() else { return };
    for format in ["map", "dump"] {
        let output = runtime.output(&["run", "--stacks", "--jsonl=lines", "--", "./runtime", format]);
        assert!(output.status.success(), "{output:?}");
        let text = fs::read_to_string(runtime.folder.path().join("lines")).unwrap();
        let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        events.iter().for_each(remove_map);
        let asked = events.iter().filter(|e| e["call"] == "mmap" && e["args"]["length"] == 0x5000);
        let made: Vec<String> = asked.map(|event| around(&event["stack"])).collect();
        let wanted =
            ["first", "lasting", "second", "lasting"].map(|name| format!("map made::{name} enter main"));
        assert_eq!(made, wanted, "{format}");
    }
}

/// Checks that a stack ends where a made function keeps no frame pointer and does not go straight to its end: the one that
/// is there is its caller's, and to follow it would leave that one out.
#[test]
fn no_caller_is_left_out() {
    let Some(runtime) = Runtime::new() else { return };
    runtime.record(&["map", "nested"]);
    assert_eq!(runtime.made("rec").last().map(String::as_str), Some("map made::hidden (cut)"));
}

/// Checks that a map which somebody else owns names nothing, and that this is said.
#[test]
fn what_others_wrote_names_nothing() {
    if !need_root("gives a file away") {
        return;
    }
    let Some(runtime) = Runtime::new() else { return };
    let output = runtime.record(&["map", "given away"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("belongs to another user"), "{said}");
    assert_eq!(runtime.made("rec"), vec!["map ? enter main"; 4]);
}

/// Checks that a FIFO in the place of a map holds nobody up, names nothing, and that this is said, with lines too.
#[test]
fn a_fifo_names_nothing() {
    let Some(runtime) = Runtime::new() else { return };
    let output = runtime.record(&["map", "fifo"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("is no regular file"), "{said}");
    assert_eq!(runtime.made("rec"), vec!["map ? enter main"; 4]);
    let output = runtime.output(&["run", "--stacks", "--jsonl=lines", "--", "./runtime", "map", "fifo"]);
    assert!(output.status.success(), "{output:?}");
    let text = fs::read_to_string(runtime.folder.path().join("lines")).unwrap();
    text.lines().for_each(|line| remove_map(&serde_json::from_str(line).unwrap()));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("is no regular file"), "{said}");
}

/// A program in Go whose goroutine maps memory through the runtime.
const GO: &str = r#"
package main

var keep [][]byte

//go:noinline
func deep(n int) {
	if n == 0 {
		keep = append(keep, make([]byte, 8<<20))
		return
	}
	deep(n - 1)
}

func main() {
	done := make(chan bool)
	for i := 0; i < 3; i++ {
		go func() { deep(3); done <- true }()
		<-done
	}
	println(len(keep))
}
"#;

fn go(folder: &Path, options: &[&str]) -> Option<PathBuf> {
    fs::write(folder.join("main.go"), GO).unwrap();
    let mut go = Command::new("go");
    go.arg("build").args(options).args(["-o", "program", "main.go"]).current_dir(folder);
    go.env("HOME", folder).env("GOCACHE", folder.join("cache")).env("CGO_ENABLED", "0").env("GOFLAGS", "");
    go.env("GOTOOLCHAIN", "local").env("GO111MODULE", "off");
    if !go.output().unwrap().status.success() {
        left_off("go that makes a program");
        return None;
    }
    Some(folder.join("program"))
}

/// Checks a Go program: its tables are in `.debug_frame`, and it allocates on the stack of the thread, beyond which the
/// goroutine's own goes on.
#[test]
fn go_reaches_the_goroutine() {
    if !need(Capability::Tool("go")) || !need(Capability::Ptrace) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let Some(program) = go(folder.path(), &[]) else { return };
    let lines = folder.path().join("lines");
    let mut run = vmatlas();
    run.args(["run", "--stacks"]).arg(format!("--jsonl={}", lines.display())).arg("--").arg(program);
    let output = run.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = fs::read_to_string(lines).unwrap();
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let stacks: Vec<&Value> = events.iter().map(|e| &e["stack"]).filter(|s| s.is_object()).collect();
    let cut: Vec<String> = stacks.iter().filter(|s| s["truncated"] == true).map(|s| around(s)).collect();
    assert!(cut.is_empty(), "{cut:#?}");
    let through = stacks.iter().map(|stack| around(stack)).filter(|frames| {
        frames.contains("runtime.systemstack") && frames.ends_with("main.main.func1 runtime.goexit")
    });
    let deep = " main.deep main.deep main.deep main.deep main.main.func1";
    assert!(through.filter(|frames| frames.contains(deep)).count() >= 3, "{stacks:#?}");
}
