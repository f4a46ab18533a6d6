//! The two programs: vmatlas and its subject, and how one is run under the other.

use super::options::Options;
use super::summary::Summary;
use crate::metadata::{cargo, release_folder};
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// `vmatlas run --check` ends with this when the model and the kernel differ.
const DIFFERS: i32 = 3;
const LOOK_EVERY: Duration = Duration::from_millis(5);

pub(super) struct Programs {
    pub(super) vmatlas: PathBuf,
    pub(super) subject: PathBuf,
    /// Whether this vmatlas can compare at all.
    pub(super) checks: bool,
    /// Whether it watches through BPF, and compares now and then.
    pub(super) is_bpf: bool,
    /// Whether drift is a difference too.
    pub(super) drift: bool,
    /// Where results go.
    pub(super) folder: PathBuf,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The model was equal to the kernel all the way.
    Equal(Summary),
    /// It was not; what vmatlas said of it.
    Differs(Summary, String),
    /// Something ended that should not have; what was said.
    Broken(String),
    /// We ended it, because another run had a result.
    Stopped,
}

impl Verdict {
    /// Whether both are faults of the same sort: by the first words of what was said, places and numbers aside.
    pub(super) fn is_like(&self, other: &Verdict) -> bool {
        match (self, other) {
            (Verdict::Differs(_, a), Verdict::Differs(_, b)) => sort(a) == sort(b),
            (Verdict::Broken(a), Verdict::Broken(b)) => sort(a) == sort(b),
            _ => false,
        }
    }
}

/// The first line up to the first place in it, without its numbers.
fn sort(text: &str) -> String {
    let first = text.lines().next().unwrap_or_default();
    first.split(" at ").next().unwrap_or_default().chars().filter(|c| !c.is_ascii_digit()).collect()
}

impl Programs {
    pub(super) fn build(options: &Options) -> Result<Programs> {
        let mut packages = vec!["-p", "vmatlas-testkit"];
        if options.vmatlas.is_none() {
            packages.extend(["-p", "vmatlas-cli"]);
        }
        let status = cargo().args(["build", "--release", "--quiet", "--bins"]).args(packages).status()?;
        if !status.success() {
            bail!("cargo build failed");
        }
        let release = release_folder();
        let vmatlas = options.vmatlas.clone().unwrap_or_else(|| release.join("vmatlas"));
        let folder = release.parent().unwrap_or(&release).join("truth");
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let help = Command::new(&vmatlas).args(["run", "--help"]).stdin(Stdio::null()).output();
        let help = help.with_context(|| vmatlas.display().to_string())?;
        let checks = String::from_utf8_lossy(&help.stdout).contains("--check") && !options.is_unchecked;
        Ok(Programs {
            vmatlas,
            subject: release.join("vmatlas-truth-subject"),
            checks,
            is_bpf: options.is_bpf,
            drift: options.drift,
            folder,
        })
    }

    /// The words of the command that watches the subject do what `args` say; `summary` is the file for the summary.
    pub(super) fn words(&self, args: &[String], summary: Option<&Path>) -> Vec<String> {
        let mut words = vec![self.vmatlas.display().to_string(), "run".to_owned()];
        words.extend(self.checks.then(|| "--check".to_owned()));
        words.push("-c".to_owned());
        words.extend(self.is_bpf.then(|| "--backend=bpf".to_owned()));
        // One processor is a fifth faster for tracer and tracee; threads need more than one to get in each other's way.
        let is_alone = !self.is_bpf && !args.iter().any(|arg| arg == "--threads");
        words.extend(is_alone.then(|| "--same-cpu".to_owned()));
        words.extend(summary.map(|file| format!("--jsonl={}", file.display())));
        words.extend(["--".to_owned(), self.subject.display().to_string()]);
        words.extend_from_slice(args);
        words
    }

    /// Runs it; `name` tells its files from those of others that run at the same time.
    pub(super) fn watch(
        &self,
        name: &str,
        args: &[String],
        limit: Duration,
        stop: &AtomicBool,
    ) -> Result<Verdict> {
        let (summary, said) = (self.scratch(name, "summary"), self.scratch(name, "stderr"));
        fs::write(&summary, "")?;
        let words = self.words(args, Some(&summary));
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&said)?)
            .spawn()
            .with_context(|| words[0].clone())?;
        let end = wait(&mut child, limit, stop)?;
        let text = String::from_utf8_lossy(&fs::read(&said)?).into_owned();
        let sums = Summary::parse(&String::from_utf8_lossy(&fs::read(&summary)?));
        for file in [summary, said] {
            fs::remove_file(file)?;
        }
        Ok(match end {
            End::Stopped => Verdict::Stopped,
            End::TooLate => Verdict::Broken(format!("no end within {} s\n{text}", limit.as_secs())),
            End::Itself(status) => self.verdict(status, sums, text),
        })
    }

    /// A file that this very xtask uses for a while.
    pub(super) fn scratch(&self, name: &str, what: &str) -> PathBuf {
        self.folder.join(format!("{name}-{}.{what}", std::process::id()))
    }

    fn verdict(&self, status: ExitStatus, sums: Option<Summary>, text: String) -> Verdict {
        let differs = status.code() == Some(DIFFERS) || sums.as_ref().is_some_and(|s| s.differences > 0);
        match sums {
            sums if differs => Verdict::Differs(sums.unwrap_or_default(), text),
            Some(sums) if status.success() && self.drift && sums.drift > 0 => {
                let text = format!("{text}The kernel's answers contradicted {} predictions.\n", sums.drift);
                Verdict::Differs(sums, text)
            }
            Some(sums) if status.success() => Verdict::Equal(sums),
            _ => Verdict::Broken(format!("{status}\n{text}")),
        }
    }

    /// The program of an epoch as text.
    pub(super) fn print(&self, seed: u64, epoch: u64, without: Option<&str>) -> Result<String> {
        let mut command = Command::new(&self.subject);
        command.args(["--print", "--seed", &seed.to_string(), "--epoch", &epoch.to_string()]);
        if let Some(without) = without {
            command.args(["--without", without]);
        }
        let output = command.output().with_context(|| self.subject.display().to_string())?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}

enum End {
    Itself(ExitStatus),
    TooLate,
    Stopped,
}

fn wait(child: &mut Child, limit: Duration, stop: &AtomicBool) -> Result<End> {
    let start = Instant::now();
    let why = loop {
        if let Some(status) = child.try_wait()? {
            return Ok(End::Itself(status));
        }
        if stop.load(Ordering::Relaxed) {
            break End::Stopped;
        }
        if start.elapsed() > limit {
            break End::TooLate;
        }
        thread::sleep(LOOK_EVERY);
    };
    // What vmatlas watches ends with it.
    child.kill()?;
    child.wait()?;
    Ok(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that the same fault elsewhere is alike, and that another sort of fault is not.
    #[test]
    fn faults_are_alike_by_their_first_words() {
        let differs = |text: &str| Verdict::Differs(Summary::default(), text.to_owned());
        let pages = differs("pages differ at 0x1000-0x2000\n  after munmap");
        assert!(pages.is_like(&differs("pages differ at 0x5000-0x6000\n  after mmap")));
        assert!(!pages.is_like(&differs("VMAs end elsewhere at 0x1000-0x2000")));
        assert!(differs("contradicted 8 predictions").is_like(&differs("contradicted 1 predictions")));
        assert!(!pages.is_like(&Verdict::Broken("pages differ at 0x1000-0x2000".to_owned())));
        assert!(!Verdict::Stopped.is_like(&Verdict::Stopped));
    }
}
