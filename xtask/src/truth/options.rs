//! What was typed after `cargo xtask truth`.

use anyhow::{Context, Result, bail};
use std::path::PathBuf;

pub(super) const USAGE: &str = "\
usage: cargo xtask truth --calls N --seed S [--threads T] [--jobs J] [--backend B] [--without STEP,...] [--drift]
                         [--unchecked] [--vmatlas FILE]

  --calls N       compare after this many random calls
  --seed S        of the random calls: the same seed makes the same calls
  --threads T     threads that make calls in one place at the same time (1)
  --backend B     ptrace, which compares after each call, or bpf (root), which compares at random moments (ptrace)
  --jobs J        so many programs at a time (as many as there are CPUs)
  --without STEP  leave out these steps, such as uffd_close,mbind
  --drift         a prediction that the kernel's answer contradicts fails too
  --unchecked     as `run` is without --check, calls being told many at once: what its questions, the maps that it reads now
                  and then and the last one contradict is counted, and fails
  --vmatlas FILE  this vmatlas instead of the one that is built";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) calls: u64,
    pub(super) seed: u64,
    pub(super) threads: u64,
    pub(super) jobs: u64,
    pub(super) is_bpf: bool,
    pub(super) without: Option<String>,
    pub(super) drift: bool,
    pub(super) is_unchecked: bool,
    pub(super) vmatlas: Option<PathBuf>,
}

impl Options {
    pub(super) fn parse(args: &[&str]) -> Result<Options> {
        let mut args = args.iter();
        let (mut calls, mut seed) = (None, None);
        let cpus = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
        let mut options = Options {
            calls: 0,
            seed: 0,
            threads: 1,
            jobs: cpus,
            is_bpf: false,
            without: None,
            drift: false,
            is_unchecked: false,
            vmatlas: None,
        };
        while let Some(name) = args.next() {
            if *name == "--drift" || *name == "--unchecked" {
                options.drift = true;
                options.is_unchecked |= *name == "--unchecked";
                continue;
            }
            let value = args.next().context(USAGE)?;
            let number = || value.parse::<u64>().ok().context(USAGE);
            let count = || number().and_then(|n| if n > 0 { Ok(n) } else { bail!(USAGE) });
            match *name {
                "--calls" => calls = Some(count()?),
                "--seed" => seed = Some(number()?),
                "--threads" => options.threads = count()?,
                "--jobs" => options.jobs = count()?,
                "--backend" => {
                    options.is_bpf = match *value {
                        "bpf" => true,
                        "ptrace" => false,
                        _ => bail!(USAGE),
                    }
                }
                "--without" => options.without = Some((*value).to_owned()),
                "--vmatlas" => options.vmatlas = Some(PathBuf::from(value)),
                _ => bail!(USAGE),
            }
        }
        options.calls = calls.context(USAGE)?;
        options.seed = seed.context(USAGE)?;
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that what is typed is understood, and that nonsense is refused.
    #[test]
    fn options_are_understood() {
        let options = Options::parse(&[
            "--seed",
            "7",
            "--calls",
            "10",
            "--threads",
            "3",
            "--drift",
            "--without",
            "brk",
            "--backend",
            "bpf",
        ])
        .unwrap();
        assert!(options.is_bpf);
        assert_eq!((options.calls, options.seed, options.threads), (10, 7, 3));
        assert!(options.drift);
        assert_eq!(options.without.as_deref(), Some("brk"));
        assert!(!options.is_unchecked);
        let options = Options::parse(&["--seed", "7", "--unchecked", "--calls", "10"]).unwrap();
        assert!(options.is_unchecked && options.drift);
        for bad in [&["--calls", "10"][..], &["--calls", "0", "--seed", "1"], &["--seed"], &["--what", "1"]] {
            assert!(Options::parse(bad).is_err(), "{bad:?}");
        }
    }
}
