//! Programs that watch the memory calls of another one, each with its options, and what they leave behind.

use super::rows::number_of;
use super::subject::Programs;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// So many rounds of mmap and munmap a watcher gets that costs microseconds.
const MANY: u64 = 100_000;
/// And one that costs a hundred times more.
const SOME: u64 = 10_000;
const FEW: u64 = 500;
/// What a watcher keeps of so few is what it keeps of nothing.
pub(super) const NONE: u64 = 10;

/// A program that watches another one's memory calls.
pub(super) struct Watcher {
    pub(super) name: &'static str,
    /// How it tells stacks.
    pub(super) stacks: &'static str,
    /// Its words; CMD stands for the watched command in one word, which comes last otherwise.
    words: Vec<String>,
    /// Where it writes to.
    kept: PathBuf,
    pub(super) pairs: u64,
}

/// What watching a loop of mmap and munmap came to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    /// What a call took, in nanoseconds.
    pub(super) call_ns: f64,
    /// What was written of all calls.
    pub(super) bytes: u64,
}

/// All of them, ours first.
pub(super) fn all(programs: &Programs) -> Vec<Watcher> {
    let vmatlas = programs.vmatlas.display().to_string();
    let run = |options: &'static str| -> Vec<String> {
        let words = [&vmatlas, "run"].into_iter().chain(options.split_whitespace());
        words.chain(["--force", "-o", "KEPT", "--"]).map(str::to_owned).collect()
    };
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<String>>();
    let perf = |points: &[&str], options: &str| {
        let event = |point: &&str| format!("-e syscalls:sys_{point}_mmap -e syscalls:sys_{point}_munmap");
        let events = points.iter().map(event).collect::<Vec<_>>().join(" ");
        in_tracing(words(&format!("perf record -q {events}{options} -o KEPT --")))
    };
    // The arguments are told at the entry, the result at the exit; a vmatlas tells both.
    let (both, exit) = (&["enter", "exit"][..], &["exit"][..]);
    let bpftrace = |key: &str| {
        let exits = "tracepoint:syscalls:sys_exit_mmap,tracepoint:syscalls:sys_exit_munmap";
        let script = format!("{exits} /pid == cpid/ {{ @[{key}] = count(); }}");
        let mut all = words("bpftrace -q -o KEPT -c CMD -e");
        all.push(script);
        in_tracing(all)
    };
    let scratch = programs.scratch.join("watched");
    let watcher = |name, stacks, words, pairs| {
        let file = format!("{name} {stacks}").replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        Watcher { name, stacks, words, kept: scratch.join(file), pairs }
    };
    vec![
        watcher("vmatlas run --backend bpf", "none", run("--backend bpf"), MANY),
        watcher(
            "vmatlas run --backend bpf --stacks=fp",
            "frame pointers",
            run("--backend bpf --stacks=fp"),
            MANY,
        ),
        watcher("vmatlas run --backend bpf --stacks", "tables", run("--backend bpf --stacks"), MANY),
        watcher("perf record", "none", perf(both, ""), MANY),
        watcher("perf record -g", "frame pointers", perf(both, " -g"), MANY),
        watcher("perf record, exits", "none, no arguments", perf(exit, ""), MANY),
        watcher("perf record -g, exits", "frame pointers, no arguments", perf(exit, " -g"), MANY),
        watcher(
            "perf record --call-graph dwarf, exits",
            "tables, 8 KiB, no arguments",
            perf(exit, " --call-graph dwarf,8192"),
            SOME,
        ),
        watcher("bpftrace, count()", "none, no events", bpftrace("probe"), MANY),
        watcher("bpftrace, count() by ustack", "frame pointers, no events", bpftrace("ustack"), MANY),
        watcher("perf trace", "none", in_tracing(words("perf trace -e mmap,munmap -o KEPT --")), SOME),
        watcher("vmatlas run --backend ptrace", "none", run("--backend ptrace"), SOME),
        watcher("vmatlas run --backend ptrace --stacks", "tables", run("--backend ptrace --stacks"), SOME),
        watcher(
            "strace --seccomp-bpf",
            "none",
            words("strace -f --seccomp-bpf -e trace=memory -o KEPT"),
            SOME,
        ),
        watcher(
            "strace --seccomp-bpf -k",
            "tables",
            words("strace -f --seccomp-bpf -k -e trace=memory -o KEPT"),
            FEW,
        ),
    ]
}

/// Words that need tracefs: where nobody has mounted it, they get a mount namespace of their own with it.
fn in_tracing(words: Vec<String>) -> Vec<String> {
    const MOUNT: &str = "mount -t tracefs none /sys/kernel/tracing && \
                         mount -t debugfs none /sys/kernel/debug && exec \"$@\"";
    if Path::new("/sys/kernel/tracing/events/syscalls").exists() {
        return words;
    }
    let prefix = ["unshare", "--mount", "sh", "-c", MOUNT, "sh"].map(str::to_owned);
    prefix.into_iter().chain(words).collect()
}

impl Watcher {
    /// Why it cannot be measured here; `None` where it can.
    pub(super) fn missing(&self, programs: &Programs) -> Option<String> {
        let error = self.watch(programs, NONE).err()?;
        let text = format!("{error:#}");
        Some(text.lines().last().unwrap_or_default().trim().to_owned())
    }

    /// Watches a loop of so many mmap and munmap.
    pub(super) fn watch(&self, programs: &Programs, pairs: u64) -> Result<Cost> {
        fs::create_dir_all(self.kept.parent().context("a folder")?)?;
        let _ = fs::remove_dir_all(&self.kept).or_else(|_| fs::remove_file(&self.kept));
        let watched = [programs.subject.display().to_string(), "pairs".to_owned(), pairs.to_string()];
        let is_one_word = self.words.iter().any(|word| word == "CMD");
        let kept = self.kept.display().to_string();
        let word = |word: &String| match word.as_str() {
            "CMD" => watched.join(" "),
            "KEPT" => kept.clone(),
            word => word.to_owned(),
        };
        let mut words: Vec<String> = self.words.iter().map(word).collect();
        if !is_one_word {
            words.extend(watched.clone());
        }
        let (program, rest) = words.split_first().context("no words")?;
        let call_ns = number_of(Command::new(program).args(rest))?;
        Ok(Cost { call_ns, bytes: size(&self.kept)? })
    }

    /// Of a recording of ours: how many events were lost while it was made.
    pub(super) fn lost(&self, programs: &Programs) -> Result<Option<u64>> {
        if !self.kept.is_dir() {
            return Ok(None);
        }
        let output = Command::new(&programs.vmatlas).args(["info", "--json"]).arg(&self.kept).output()?;
        let text = String::from_utf8(output.stdout)?;
        // The last one is that of the recording; kinds of events come before.
        let lost = text.rsplit_once("\"lost\":").map(|(_, rest)| rest);
        let number = lost.and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok());
        number.map(Some).context("info --json does not say what was lost")
    }
}

/// What a call takes that nobody watches, in nanoseconds.
pub(super) fn unwatched(programs: &Programs) -> Result<f64> {
    number_of(Command::new(&programs.subject).args(["pairs", &MANY.to_string()]))
}

/// The size of a file, or of all files below a folder.
fn size(path: &Path) -> Result<u64> {
    let meta = fs::symlink_metadata(path).with_context(|| path.display().to_string())?;
    if !meta.is_dir() {
        return Ok(meta.len());
    }
    let sizes = fs::read_dir(path)?.map(|file| size(&file?.path())).collect::<Result<Vec<u64>>>()?;
    if sizes.is_empty() {
        bail!("{} is empty", path.display());
    }
    Ok(sizes.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that the files of folders in a folder count: a recording has its tables in segments.
    #[test]
    fn what_lies_deeper_counts() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("seg")).unwrap();
        fs::write(folder.path().join("seg/table"), [0; 100]).unwrap();
        fs::write(folder.path().join("meta"), [0; 7]).unwrap();
        assert_eq!(size(folder.path()).unwrap(), 107);
        fs::create_dir(folder.path().join("empty")).unwrap();
        assert!(size(folder.path()).is_err());
    }
}
