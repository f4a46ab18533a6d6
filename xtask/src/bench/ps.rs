//! Listing 1,000 processes: what counts is CPU time, user and system together.

use super::pairs::{Asked, Row, Side};
use super::subject::Programs;
use anyhow::{Context, Result, bail};
use std::cell::RefCell;
use std::io::{PipeWriter, pipe};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;

/// The rows; smem's is left out where it is not installed.
pub(super) fn rows(programs: &Rc<Programs>) -> Vec<Row> {
    const PROCESSES: usize = 1000;
    // Started when it is first needed: other rows shall not meet it. These rows come last.
    let herd: Rc<RefCell<Option<Herd>>> = Rc::default();
    let side = |name: &str, words: Vec<String>| {
        let herd = herd.clone();
        Side::new(name, move || {
            let mut herd = herd.borrow_mut();
            if herd.is_none() {
                *herd = Some(Herd::start(PROCESSES)?);
            }
            cpu_ms(&words)
        })
    };
    let ours = |options: &[&str]| -> Vec<String> {
        let vmatlas = programs.vmatlas.display().to_string();
        [&[vmatlas.as_str(), "ps"], options].concat().into_iter().map(str::to_owned).collect()
    };
    let row = |name: &str, asked, ours, peer| Row {
        name: format!("{name} of {PROCESSES} processes, CPU time"),
        unit: "ms",
        asked,
        ours,
        peer,
    };
    let ps_aux = || side("ps aux", ["ps", "aux"].map(str::to_owned).to_vec());
    let mut rows = vec![
        row("ps", Asked::RatioAtMost(1.0), side("vmatlas ps", ours(&[])), ps_aux()),
        row("ps --vmas", Asked::Nothing, side("vmatlas ps --vmas", ours(&["--vmas"])), ps_aux()),
    ];
    if Command::new("smem").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok() {
        let smem = side("smem", vec!["smem".to_owned()]);
        rows.push(row("ps --pss", Asked::RatioAtMost(1.0), side("vmatlas ps --pss", ours(&["--pss"])), smem));
    } else {
        eprintln!("left out, smem is not installed: ps --pss");
    }
    rows
}

/// What a command takes of the CPU, its output thrown away.
pub(super) fn cpu_ms(words: &[String]) -> Result<f64> {
    let mut command = Command::new("bash");
    command
        .args(["-c", "TIMEFORMAT='%U %S'; time \"$@\" > /dev/null", "bash"])
        .args(words)
        .env("LC_ALL", "C");
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))?;
    let text = String::from_utf8(output.stderr)?;
    if !output.status.success() {
        bail!("{words:?} ended with {}: {text}", output.status);
    }
    let times = text.lines().last().context("no times")?.split_ascii_whitespace();
    let seconds: f64 = times.map(str::parse::<f64>).sum::<Result<f64, _>>().with_context(|| text.clone())?;
    Ok(seconds * 1e3)
}

/// Processes that wait for the end of one pipe, and so end with us, however we end.
struct Herd(Vec<Child>, Option<PipeWriter>);

impl Herd {
    fn start(n: usize) -> Result<Herd> {
        let (reader, writer) = pipe()?;
        let mut herd = Herd(Vec::new(), Some(writer));
        for _ in 0..n {
            let child = Command::new("cat").stdin(reader.try_clone()?).stdout(Stdio::null()).spawn();
            herd.0.push(child.context("cat")?);
        }
        Ok(herd)
    }
}

impl Drop for Herd {
    fn drop(&mut self) {
        drop(self.1.take());
        for child in &mut self.0 {
            let _ = child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that CPU time is that of the command, and that a failed one is no measurement.
    #[test]
    fn cpu_time_is_measured() {
        let words = |list: &[&str]| list.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        assert!(cpu_ms(&words(&["sleep", "0.1"])).unwrap() < 90.0);
        assert!(cpu_ms(&words(&["bash", "-c", "for ((i = 0; i < 200000; i++)); do :; done"])).unwrap() > 5.0);
        assert!(cpu_ms(&words(&["false"])).is_err());
    }

    /// Checks that a herd ends when it is dropped.
    #[test]
    fn a_herd_ends() {
        let herd = Herd::start(3).unwrap();
        let pids: Vec<u32> = herd.0.iter().map(Child::id).collect();
        assert!(pids.iter().all(|pid| std::path::Path::new(&format!("/proc/{pid}")).exists()));
        drop(herd);
        assert!(!pids.iter().any(|pid| std::path::Path::new(&format!("/proc/{pid}")).exists()));
    }
}
