//! From a chunk that failed to the few steps that do it.

use super::options::Options;
use super::programs::{Programs, Verdict};
use super::running::{Failure, common_args};
use super::shrink::{ddmin, without_words};
use anyhow::Result;
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// For one run of one program.
const RUN: Duration = Duration::from_secs(20);
/// For all of the shrinking.
const SHRINKING: Duration = Duration::from_secs(300);
/// For looking through the epochs of a chunk.
const LOOKING: Duration = Duration::from_secs(300);
/// How often a program is tried before it is said not to fail.
const TRIES: usize = 3;
/// Epochs before the failing one that may be needed for it; each is tried.
const BEFORE: [u64; 3] = [0, 1, 4];

/// A failing program and what was said of it.
struct Found {
    lines: Vec<String>,
    verdict: Verdict,
}

/// Says all that can be said about a failure, and where the program that fails was put.
pub(super) fn report(programs: &Programs, options: &Options, failure: &Failure) -> Result<String> {
    let mut text = format!("{}\n", said(&failure.verdict));
    let mut chunk_args = failure.chunk.args(options);
    text.push_str(&format!("the chunk      {}\n", command(programs, &chunk_args)));
    let Some(last) = failure.epoch else {
        text.push_str("It failed before its first epoch.\n");
        return Ok(text);
    };
    let epoch = if failure.ran_to_its_end { look(programs, options, failure, last)? } else { Some(last) };
    let Some(epoch) = epoch else {
        text.push_str("None of its epochs fails alone.\n");
        return Ok(text);
    };
    chunk_args = epoch_args(options, epoch);
    text.push_str(&format!("its epoch      {}\n", command(programs, &chunk_args)));
    if options.threads > 1 || options.is_bpf {
        text.push_str(&threads(programs, &chunk_args, &failure.verdict)?);
        return Ok(text);
    }
    eprintln!("epoch {epoch} of seed {} failed; looking for the steps that do it", options.seed);
    let Some(found) = reproduce(programs, options, epoch, failure)? else {
        text.push_str("The epoch does not fail alone, nor with those before it: use the chunk's command.\n");
        return Ok(text);
    };
    let whole = found.lines.len();
    let found = shrink(programs, found)?;
    let file = programs.folder.join(format!("seed-{}-epoch-{epoch}.txt", options.seed));
    fs::write(&file, found.lines.join("\n") + "\n")?;
    text.push_str(&format!(
        "\n{} of {whole} steps are needed, in {}:\n\n{}\n\n{}\nagain with      {}\n",
        found.lines.len(),
        file.display(),
        found.lines.join("\n"),
        said(&found.verdict),
        command(programs, &program_args(&file)),
    ));
    Ok(text)
}

/// The first epoch that fails alone.
fn look(programs: &Programs, options: &Options, failure: &Failure, last: u64) -> Result<Option<u64>> {
    eprintln!("looking through epochs {} to {last}", failure.chunk.first_epoch);
    let end = Instant::now() + LOOKING;
    for epoch in (failure.chunk.first_epoch..=last).take_while(|_| Instant::now() < end) {
        let verdict = programs.watch("look", &epoch_args(options, epoch), RUN, &AtomicBool::new(false))?;
        if verdict.is_like(&failure.verdict) {
            return Ok(Some(epoch));
        }
    }
    Ok(None)
}

fn epoch_args(options: &Options, epoch: u64) -> Vec<String> {
    let mut args = common_args(options);
    args.extend(["--epoch".to_owned(), epoch.to_string()]);
    args
}

/// What a run said against the model.
pub(super) fn said(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Differs(sums, text) if text.trim().is_empty() => {
            sums.first.clone().unwrap_or_else(|| "The model differs from the kernel.".to_owned())
        }
        Verdict::Differs(_, text) => text.trim_end().to_owned(),
        Verdict::Broken(text) => format!("The run failed: {}", text.trim_end()),
        Verdict::Equal(_) | Verdict::Stopped => String::new(),
    }
}

fn command(programs: &Programs, args: &[String]) -> String {
    programs.words(args, None).join(" ")
}

fn program_args(file: &Path) -> Vec<String> {
    vec!["--program".to_owned(), file.display().to_string()]
}

/// What threads do depends on their timing, and BPF compares at other moments each time: the epoch is tried again, but not
/// shrunk.
fn threads(programs: &Programs, args: &[String], like: &Verdict) -> Result<String> {
    const TRIES_OF_THREADS: usize = 10;
    let mut failed = 0;
    for _ in 0..TRIES_OF_THREADS {
        let verdict = programs.watch("again", args, RUN, &AtomicBool::new(false))?;
        failed += usize::from(verdict.is_like(like));
    }
    Ok(format!(
        "Alone, the epoch failed {failed} of {TRIES_OF_THREADS} times; what depends on the moment is not shrunk.\n"
    ))
}

/// The epoch as a program, if need be with those before it.
fn reproduce(programs: &Programs, options: &Options, epoch: u64, failure: &Failure) -> Result<Option<Found>> {
    for before in BEFORE {
        let first = epoch.saturating_sub(before).max(failure.chunk.first_epoch);
        let mut lines = Vec::new();
        for epoch in first..=epoch {
            if !lines.is_empty() {
                lines.push("reset".to_owned());
            }
            let text = programs.print(options.seed, epoch, options.without.as_deref())?;
            lines.extend(text.lines().map(str::to_owned));
        }
        for _ in 0..TRIES {
            let verdict = play(programs, &lines)?;
            if verdict.is_like(&failure.verdict) {
                return Ok(Some(Found { lines, verdict }));
            }
        }
    }
    Ok(None)
}

fn play(programs: &Programs, lines: &[String]) -> Result<Verdict> {
    let file = programs.scratch("candidate", "txt");
    fs::write(&file, lines.join("\n") + "\n")?;
    let verdict = programs.watch("candidate", &program_args(&file), RUN, &AtomicBool::new(false));
    fs::remove_file(&file)?;
    verdict
}

fn shrink(programs: &Programs, found: Found) -> Result<Found> {
    let end = Instant::now() + SHRINKING;
    let mut best = found.verdict.clone();
    let mut fault = None;
    let mut still = |part: &[String]| {
        if fault.is_some() || Instant::now() > end {
            return false;
        }
        match play(programs, part) {
            Ok(verdict) if verdict.is_like(&found.verdict) => {
                best = verdict;
                true
            }
            Ok(_) => false,
            Err(error) => {
                fault = Some(error);
                false
            }
        }
    };
    let mut lines = ddmin(&found.lines, &mut still);
    // A line without a needed word is refused, which would look like any other run that failed.
    if matches!(found.verdict, Verdict::Differs(..)) {
        lines = without_words(&lines, &mut still);
    }
    match fault {
        Some(fault) => Err(fault),
        None => Ok(Found { lines, verdict: best }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::running::Chunk;
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    /// Two scripts in the place of vmatlas and its subject, in a folder that goes with them.
    struct Scripts(Programs);

    impl Scripts {
        /// `says` is what the one in the place of vmatlas does with the program in `$FILE`.
        fn new(name: &str, says: &str) -> Scripts {
            let folder = std::env::temp_dir().join(format!("vmatlas-truth-{name}-{}", std::process::id()));
            fs::create_dir_all(&folder).unwrap();
            let script = |name: &str, text: &str| -> PathBuf {
                let path = folder.join(name);
                fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
                path
            };
            let subject = script("subject", "seq 1 60 | sed \"s/^/epoch $5 step /\"");
            let vmatlas = script("vmatlas", &format!("FILE=$(echo \"$*\" | sed 's/.* //')\n{says}"));
            Scripts(Programs { vmatlas, subject, checks: true, is_bpf: false, drift: false, folder })
        }
    }

    impl Drop for Scripts {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0.folder);
        }
    }

    fn failure() -> Failure {
        let verdict = Verdict::Differs(Default::default(), "pages differ at 0x1000".to_owned());
        Failure { chunk: Chunk { first_epoch: 5, calls: 9 }, epoch: Some(7), ran_to_its_end: false, verdict }
    }

    fn options() -> Options {
        Options::parse(&["--calls", "9", "--seed", "1"]).unwrap()
    }

    /// Checks that a pair of steps is found, put into a file, and shown with what was said and how to see it again.
    #[test]
    fn a_failing_pair_of_steps_is_found() {
        let says = "grep -q '^epoch.* 11$' $FILE && grep -q '^epoch.* 48$' $FILE && { echo pages differ >&2; exit 3; }\n\
                    for word; do case $word in --jsonl=*) echo '{\"schema\":\"vmatlas/run-summary/1\"}' > ${word#*=}\n\
                    esac; done";
        let scripts = Scripts::new("pair", says);
        let text = report(&scripts.0, &options(), &failure()).unwrap();
        let file = scripts.0.folder.join("seed-1-epoch-7.txt");
        assert_eq!(fs::read_to_string(&file).unwrap(), "epoch 11\nepoch 48\n");
        for part in ["2 of 60 steps are needed", "pages differ", "--seed 1 --from 5 --calls 9", "--program"] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
    }

    /// Checks that the epoch before is taken along when it is needed, and that a fault that never shows again is told.
    #[test]
    fn a_fault_may_need_the_epoch_before_or_hide() {
        let says = "grep -q 'epoch 6 step 60$' $FILE && grep -q 'epoch 7 step 1$' $FILE && { echo pages differ >&2; exit 3; }\nexit 1";
        let scripts = Scripts::new("before", says);
        let text = report(&scripts.0, &options(), &failure()).unwrap();
        assert!(text.contains("2 of 121 steps are needed"), "{text}");
        let scripts = Scripts::new("hidden", "exit 1");
        let text = report(&scripts.0, &options(), &failure()).unwrap();
        assert!(text.contains("does not fail alone"), "{text}");
    }
}
