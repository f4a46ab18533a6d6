//! Programs that are hard to trace: other kinds of calls, namespaces, supervisors, first threads that end.

#![expect(clippy::unwrap_used, reason = "a test binary")]

use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use tempfile::TempDir;
use vmatlas_testkit::{Capability, Tracee, left_off, need, need_root, vmatlas_binary};

/// Builds a small C program; `None` without a compiler.
fn build(source: &str) -> Option<(TempDir, PathBuf)> {
    if !need(Capability::Ptrace) || !need(Capability::Tool("cc")) {
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let (file, program) = (dir.path().join("program.c"), dir.path().join("program"));
    std::fs::write(&file, source).unwrap();
    let built =
        Command::new("cc").arg("-w").arg("-o").arg(&program).arg(&file).arg("-lpthread").status().unwrap();
    assert!(built.success());
    Some((dir, program))
}

/// Runs a program under `run --check`: its events, the summary last.
fn checked(words: &[&str]) -> Vec<Value> {
    let output = Command::new(vmatlas_binary(env!("CARGO_BIN_EXE_vmatlas")))
        .args(["run", "--check", "--jsonl", "--"])
        .args(words)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}");
    let events: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let summary = events.last().unwrap();
    assert_eq!(summary["check"]["differences"], 0, "{summary}");
    assert_eq!(summary["drift"], 0, "{summary}");
    events
}

fn named<'a>(events: &'a [Value], call: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["call"] == call).collect()
}

/// Checks 32-bit calls of a 64-bit program: their numbers, their width, calls whose arguments lie in memory, and numbers
/// that mean something else in 64 bits.
#[test]
fn calls_of_32_bits() {
    let source = r#"
        #define _GNU_SOURCE
        #include <sys/mman.h>
        #include <string.h>
        static long call(long nr, long a, long b, long c, long d, long e, long f) {
            long ret;
            asm volatile("push %%rbp; mov %[f], %%rbp; int $0x80; pop %%rbp" : "=a"(ret)
                : "a"(nr), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e), [f] "r"(f) : "memory", "r8", "r9", "r10", "r11");
            return (unsigned)ret;
        }
        int main(void) {
            long mmap2 = call(192, 0, 77824, 3, 0x22, -1, 0);
            if (mmap2 > 0xfffff000u) return 0;
            unsigned *old = mmap(0, 4096, 3, 0x62, -1, 0);
            unsigned args[6] = { 0, 8192, 1, 0x22, -1, 0 };
            memcpy(old, args, sizeof args);
            if (call(90, (long)old, 0, 0, 0, 0, 0) > 0xfffff000u) return 1;
            if (call(125, mmap2, 4096, 1, 0, 0, 0)) return 2;
            call(150, mmap2, 4096, 0, 0, 0, 0);
            call(151, mmap2, 4096, 0, 0, 0, 0);
            if (call(91, mmap2, 8192, 0, 0, 0, 0)) return 3;
            return 0;
        }"#;
    let Some((_dir, program)) = build(source) else { return };
    let events = checked(&[program.to_str().unwrap()]);
    let munlock = named(&events, "munlock");
    if munlock.is_empty() {
        left_off("32-bit calls");
        return;
    }
    assert_eq!(named(&events, "mlock").len(), 1);
    assert_eq!(munlock[0]["args"]["length"], 4096);
    assert_eq!(named(&events, "other").len(), 1, "the old mmap, whose arguments lie in memory");
    let mmap2 = named(&events, "mmap").into_iter().find(|event| event["args"]["length"] == 77824).unwrap();
    assert!(mmap2["result"].as_str().unwrap().len() <= "0xffffffff".len());
}

/// Checks that a filter with a supervisor, which lets memory calls run unseen, is told at the end; and one without.
#[test]
fn filters_of_the_program_are_told() {
    let source = r#"
        #define _GNU_SOURCE
        #include <linux/filter.h>
        #include <linux/seccomp.h>
        #include <stdlib.h>
        #include <sys/prctl.h>
        #include <sys/syscall.h>
        #include <unistd.h>
        int main(int argc, char **argv) {
            struct sock_filter all = { 6, 0, 0, SECCOMP_RET_ALLOW };
            struct sock_fprog program = { 1, &all };
            prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, atoi(argv[1]), &program) < 0;
        }"#;
    let Some((_dir, program)) = build(source) else { return };
    for (flags, supervised) in [("0", 0), ("8", 1)] {
        let events = checked(&[program.to_str().unwrap(), flags]);
        let summary = events.last().unwrap();
        assert_eq!(
            (&summary["seccomp_filters"], &summary["seccomp_supervised"]),
            (&1.into(), &supervised.into())
        );
        assert_eq!(named(&events, "seccomp").len(), 1);
    }
}

/// Checks that personality(2) with READ_IMPLIES_EXEC, which makes calls give more than they ask for, is no difference.
#[test]
fn readable_that_is_executable() {
    let source = r#"
        #include <stdlib.h>
        #include <sys/mman.h>
        #include <sys/personality.h>
        #include <unistd.h>
        int main(int argc, char **argv) {
            if (argc > 1) return 0;
            if (personality(READ_IMPLIES_EXEC) < 0) return 0;
            char *p = mmap(0, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            mprotect(p + 4096, 4096, PROT_READ);
            sbrk(8192);
            return execl(argv[0], argv[0], "again", (char *)0);
        }"#;
    let Some((_dir, program)) = build(source) else { return };
    let events = checked(&[program.to_str().unwrap()]);
    assert_eq!(named(&events, "personality").len(), 1);
}

/// Checks that a process whose first thread has ended, and others not, is joined, watched and let go.
#[test]
fn a_first_thread_that_has_ended() {
    let source = r#"
        #include <pthread.h>
        #include <stdio.h>
        #include <sys/mman.h>
        #include <unistd.h>
        static void *work(void *unused) {
            usleep(100000);
            puts("ready"); fflush(stdout);
            for (int i = 0; i < 3000; i++) { munmap(mmap(0, 5 << 20, 3, 0x22, -1, 0), 5 << 20); usleep(10000); }
            return 0;
        }
        int main(void) { pthread_t t; pthread_create(&t, 0, work, 0); pthread_exit(0); }"#;
    let Some((_dir, program)) = build(source) else { return };
    let mut tracee = Tracee::start(Command::new(program).stdout(Stdio::piped())).unwrap();
    assert_eq!(tracee.read_line().unwrap(), "ready");
    let output = Command::new(vmatlas_binary(env!("CARGO_BIN_EXE_vmatlas")))
        .args(["attach", "--check", "--duration", "400ms", "--jsonl", &tracee.pid().to_string()])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}");
    let summary: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert!(summary["calls"]["mmap"]["calls"].as_u64().unwrap() > 3, "{summary}");
    assert_eq!((&summary["drift"], &summary["check"]["differences"]), (&0.into(), &0.into()), "{summary}");
    assert!(!tracee.has_ended());
}

/// Checks that in a PID namespace of their own, processes that are 1 and 2 to themselves are told by our numbers.
#[test]
fn a_pid_namespace() {
    if !need_root("making a PID namespace") || !need(Capability::Tool("unshare")) {
        return;
    }
    let events = checked(&["unshare", "--pid", "--fork", "sh", "-c", "sh -c 'true; true'; true"]);
    let forks = named(&events, "fork");
    assert!(forks.len() >= 2, "{}", forks.len());
    for fork in forks {
        let pid = fork["args"]["pid"].as_i64().unwrap();
        assert!(pid > 10, "{fork}");
        assert!(events.iter().any(|event| event["call"] == "exit" && event["pid"] == pid), "{fork}");
    }
}

/// Checks vfork, posix_spawn and CLONE_VM: one address space, whoever of its processes calls.
#[test]
fn processes_that_share_a_map() {
    let source = r#"
        #define _GNU_SOURCE
        #include <sched.h>
        #include <spawn.h>
        #include <stdlib.h>
        #include <sys/mman.h>
        #include <sys/wait.h>
        #include <unistd.h>
        extern char **environ;
        static char stack[65536];
        static int shared(void *unused) { return mmap(0, 7 << 20, 3, 0x22, -1, 0) == MAP_FAILED; }
        int main(void) {
            int status;
            pid_t child = vfork();
            if (child == 0) { mmap(0, 3 << 20, 3, 0x22, -1, 0); _exit(0); }
            waitpid(child, &status, 0);
            child = clone(shared, stack + sizeof stack, CLONE_VM | SIGCHLD, 0);
            waitpid(child, &status, 0);
            char *words[] = { "true", 0 };
            if (posix_spawn(&child, "/bin/true", 0, 0, words, environ)) return 1;
            waitpid(child, &status, 0);
            return status;
        }"#;
    let source = source.replace("#include <sched.h>", "#include <sched.h>\n#include <signal.h>");
    let Some((_dir, program)) = build(&source) else { return };
    let events = checked(&[program.to_str().unwrap()]);
    let by_size = |size: u64| {
        let found = named(&events, "mmap").into_iter().find(|event| event["args"]["length"] == size);
        found.unwrap_or_else(|| panic!("no mmap of {size}")).clone()
    };
    let (vforked, cloned) = (by_size(3 << 20), by_size(7 << 20));
    let first = &events.iter().find(|event| event["call"] == "exec").unwrap()["mm"];
    assert_eq!((&vforked["mm"], &cloned["mm"]), (first, first));
    assert_ne!(vforked["pid"], cloned["pid"]);
    let shared =
        named(&events, "fork").into_iter().filter(|fork| fork["args"]["how"] == "shared-process").count();
    assert_eq!(shared, 3);
}

/// Checks that a forked map is right where fork leaves parts out or wipes them, and where it merges otherwise.
#[test]
fn what_a_fork_leaves_out() {
    let source = r#"
        #include <string.h>
        #include <sys/mman.h>
        #include <sys/wait.h>
        #include <unistd.h>
        int main(void) {
            char *p = mmap(0, 64 * 4096, 3, 0x22, -1, 0);
            memset(p, 1, 64 * 4096);
            madvise(p + 8 * 4096, 4 * 4096, MADV_DONTFORK);
            madvise(p + 20 * 4096, 4 * 4096, MADV_WIPEONFORK);
            mlock(p + 32 * 4096, 4 * 4096);
            pid_t child = fork();
            if (child == 0) {
                mmap(p + 8 * 4096, 4 * 4096, 3, 0x32, -1, 0);
                mprotect(p + 40 * 4096, 4096, PROT_READ);
                mprotect(p + 40 * 4096, 4096, PROT_READ | PROT_WRITE);
                munmap(p, 64 * 4096);
                _exit(0);
            }
            int status;
            waitpid(child, &status, 0);
            return status;
        }"#;
    let Some((_dir, program)) = build(source) else { return };
    let events = checked(&[program.to_str().unwrap()]);
    assert_eq!(named(&events, "fork").len(), 1);
    assert!(named(&events, "madvise").len() >= 2);
}

/// Checks that --check does not hold a call for another one that waits for it: a page that userfaultfd gives.
#[test]
fn a_call_that_waits_for_another() {
    let source = r#"
        #define _GNU_SOURCE
        #include <fcntl.h>
        #include <linux/userfaultfd.h>
        #include <pthread.h>
        #include <sys/ioctl.h>
        #include <sys/mman.h>
        #include <sys/syscall.h>
        #include <unistd.h>
        static int uffd;
        static char *area;
        static void *serve(void *unused) {
            struct uffd_msg msg;
            if (read(uffd, &msg, sizeof msg) != sizeof msg) _exit(3);
            munmap(mmap(0, 8192, 3, 0x22, -1, 0), 8192);
            struct uffdio_zeropage zero = { { (unsigned long)area, 4096 }, 0, 0 };
            ioctl(uffd, UFFDIO_ZEROPAGE, &zero);
            return 0;
        }
        int main(void) {
            uffd = syscall(SYS_userfaultfd, O_CLOEXEC);
            struct uffdio_api api = { UFFD_API, 0, 0 };
            if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api)) return 0;
            area = mmap(0, 4096, 3, 0x22, -1, 0);
            struct uffdio_register reg = { { (unsigned long)area, 4096 }, UFFDIO_REGISTER_MODE_MISSING, 0 };
            if (ioctl(uffd, UFFDIO_REGISTER, &reg)) return 0;
            pthread_t thread;
            pthread_create(&thread, 0, serve, 0);
            madvise(area, 4096, 23);
            pthread_join(thread, 0);
            return 0;
        }"#;
    let Some((_dir, program)) = build(source) else { return };
    let events = checked(&["timeout", "20", program.to_str().unwrap()]);
    if named(&events, "ioctl").is_empty() {
        left_off("userfaultfd(2) for this user");
    }
}

/// Checks that the model equals the kernel also where the kernel cannot be asked for one VMA (before Linux 6.11).
#[test]
fn without_procmap_query_the_model_is_as_true() {
    if !need(Capability::Ptrace) {
        return;
    }
    let output = Command::new(vmatlas_binary(env!("CARGO_BIN_EXE_vmatlas")))
        .args(["run", "--no-procmap-query", "--check", "-c", "--", "sh", "-c", "ls / >/dev/null"])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.contains(", 0 differences"), "{said}");
}
