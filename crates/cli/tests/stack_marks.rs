//! `--stacks`: what a stack does not tell, and what is less certain in it, is marked in text, JSON and recordings.

#![cfg(target_arch = "x86_64")]
#![expect(clippy::unwrap_used, reason = "a test binary")]
#![forbid(unsafe_code)]

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use vmatlas_testkit::{Capability, left_off, need, vmatlas_binary};

/// A 32-bit program without a library: it maps five pages and ends.
const SMALL: &str = r#"
static long call(long n, long a, long b, long c, long d, long e, long f)
{
    long ret;
    asm volatile("push %%ebp; mov %[f], %%ebp; int $0x80; pop %%ebp" : "=a"(ret)
        : "a"(n), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e), [f] "m"(f) : "memory");
    return ret;
}
void _start(void) { call(192, 0, 0x5000, 3, 0x22, -1, 0); call(1, 0, 0, 0, 0, 0, 0); }
"#;

/// Functions that keep a frame pointer.
const CHAIN: &str = r#"
#include <sys/mman.h>
volatile int sink;
__attribute__((noinline)) void inner(void) { mmap(0, 0x5000, 3, 0x22, -1, 0); sink++; }
__attribute__((noinline)) void outer(void) { inner(); sink++; }
int main(void) { outer(); return 0; }
"#;

/// A folder with the program; `None` where it cannot be made or run here.
fn program(source: &str, options: &[&str]) -> Option<tempfile::TempDir> {
    if !need(Capability::Tool("cc")) || !need(Capability::Ptrace) {
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.c"), source).unwrap();
    let mut cc = Command::new("cc");
    cc.args(["-w", "-O1", "-fno-optimize-sibling-calls", "-o", "a", "a.c"])
        .args(options)
        .current_dir(folder.path());
    let is_made = cc.stderr(Stdio::null()).status().unwrap().success();
    let runs = || Command::new(folder.path().join("a")).status().is_ok_and(|status| status.success());
    (is_made && runs()).then_some(folder)
}

fn vmatlas(folder: &Path, words: &[&str]) -> String {
    let mut command = Command::new(vmatlas_binary(env!("CARGO_BIN_EXE_vmatlas")));
    command.env_remove("LC_ALL").env_remove("LC_MESSAGES").env("LANG", "C.UTF-8").stdin(Stdio::null());
    let output = command.args(words).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

/// The stack of the call as JSON: as it is traced, and out of a recording `rec` that is made.
fn stacks(folder: &Path, how: &str) -> [Value; 2] {
    vmatlas(folder, &["run", how, "--jsonl=lines", "--", "./a"]);
    vmatlas(folder, &["run", how, "-o", "rec", "--", "./a"]);
    let texts = [
        fs::read_to_string(folder.join("lines")).unwrap(),
        vmatlas(folder, &["log", "rec", "--stacks", "--jsonl"]),
    ];
    texts.map(|text| {
        let mut events = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut asked = events.find(|e| e["call"] == "mmap" && e["args"]["length"] == 0x5000).unwrap();
        asked["stack"].take()
    })
}

/// Checks that the stack of 32-bit code has its innermost frame, and says why there are no others.
#[test]
fn stacks_of_32_bit_code_say_why() {
    let options = ["-m32", "-nostdlib", "-static", "-fno-stack-protector", "-fno-pic", "-no-pie"];
    let Some(folder) = program(SMALL, &options) else { return left_off("32-bit programs") };
    for stack in stacks(folder.path(), "--stacks") {
        assert_eq!((&stack["end"], &stack["truncated"]), (&"32-bit".into(), &true.into()), "{stack}");
        assert_eq!(stack["frames"].as_array().unwrap().len(), 1, "{stack}");
        assert_eq!(stack["frames"][0]["found_by"], "registers");
    }
    for words in [&["run", "--stacks", "--", "./a"][..], &["log", "rec", "--stacks"]] {
        let text = vmatlas(folder.path(), words);
        assert!(text.contains("callers unknown: 32-bit"), "{text}");
    }
}

/// Checks that frames which frame pointers alone tell are marked, and that others are not.
#[test]
fn frames_by_frame_pointer_are_marked() {
    let Some(folder) = program(CHAIN, &["-fno-omit-frame-pointer"]) else { return };
    for (how, wanted) in [("--stacks=fp", "frame-pointer"), ("--stacks", "tables")] {
        for stack in stacks(folder.path(), how) {
            let frames = stack["frames"].as_array().unwrap();
            let outer = frames.iter().find(|frame| frame["symbols"][0]["function"] == "outer").unwrap();
            assert_eq!(outer["found_by"], wanted, "{how}");
            assert_eq!(frames[0]["found_by"], "registers", "{how}");
        }
        for words in [&["run", how, "--", "./a"][..], &["log", "rec", "--stacks"]] {
            let text = vmatlas(folder.path(), words);
            let (marked, plain) = (text.contains("at [fp] outer "), text.contains("at outer "));
            assert_eq!((marked, plain), (how == "--stacks=fp", how == "--stacks"), "{text}");
        }
        fs::remove_dir_all(folder.path().join("rec")).unwrap();
    }
}
