//! Rows of recordings: what making one costs, and how fast any moment is there again.

use super::pairs::{Asked, Row, Side};
use super::ps::cpu_ms;
use super::rows::{looping, number_of};
use super::sizes::Recording;
use super::subject::{Programs, Sleeper};
use anyhow::{Context, Result, bail, ensure};
use std::cell::RefCell;
use std::fs;
use std::process::{Command, Stdio};
use std::rc::Rc;

/// Events of the large recording.
const EVENTS: u64 = 10_000_000;

pub(super) fn rows(programs: &Rc<Programs>) -> Result<Vec<Row>> {
    let mut rows = super::sizes::rows(programs);
    rows.extend(added_by_recording(programs));
    rows.extend(made(programs));
    rows.extend(read(programs));
    rows.push(watch(programs)?);
    Ok(rows)
}

/// The same loop, traced on one CPU with and without a recording.
///
/// Program and tracing thread wait for each other, so what a call takes is what both take of a CPU: told by the kernel's own
/// accounting, in which nobody else's work and no waiting is, as in the clock. What the thread that writes takes is in it where
/// there is no other CPU for it: the second row.
fn added_by_recording(programs: &Rc<Programs>) -> [Row; 2] {
    let row = |name: &str, asked, which: usize| {
        let (ours, peer) = (programs.clone(), programs.clone());
        Row {
            name: format!("run -o: added to each event of a mmap/munmap loop by recording, {name}"),
            unit: "us",
            asked,
            ours: Side::new("vmatlas run -o, less run -c", move || {
                Ok(shares(&ours, true)?[which] - shares(&ours, false)?[which])
            }),
            peer: Side::new("vmatlas run -c in all", move || Ok(shares(&peer, false)?[which])),
        }
    };
    [
        row("time of program and tracing thread", Asked::ValueAtMost(1.0), 0),
        row("where the writing thread has no other CPU", Asked::Nothing, 1),
    ]
}

/// What an event takes of a CPU, in us: of the program and the thread that traces it, and of all.
fn shares(programs: &Programs, is_recorded: bool) -> Result<[f64; 2]> {
    // Three events are two calls: mmap, the kernel's answer, munmap.
    const CALLS_PER_EVENT: f64 = 2.0 / 3.0;
    let vmatlas = programs.vmatlas.display().to_string();
    let folder = programs.scratch.join("added").display().to_string();
    let with = [&vmatlas, "run", "--force", "-o", &folder, "--"].map(str::to_owned).to_vec();
    let without = [&vmatlas, "run", "-c", "--"].map(str::to_owned).to_vec();
    let mut command = looping(programs, true, if is_recorded { with } else { without }, &["shares", "30000"]);
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let _ = fs::remove_dir_all(&folder);
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    let told = String::from_utf8_lossy(&output.stdout);
    two_numbers(&told)
        .map(|both| both.map(|ns| ns * CALLS_PER_EVENT / 1e3))
        .with_context(|| format!("{command:?} printed: {told}"))
}

/// The numbers of the first line that is two numbers.
fn two_numbers(told: &str) -> Option<[f64; 2]> {
    let numbers = |line: &str| -> Option<[f64; 2]> {
        let (first, second) = line.trim().split_once(' ')?;
        Some([first.parse().ok()?, second.parse().ok()?])
    };
    told.lines().find_map(numbers)
}

/// What a writer takes that has its events from no program.
fn made(programs: &Rc<Programs>) -> [Row; 2] {
    let side = |what: &'static str| {
        let programs = programs.clone();
        Side::new("1,000,000 events, 200 keyframes of 10,000 VMAs", move || {
            let folder = programs.scratch.join("made");
            let made = Command::new(&programs.recording_speed)
                .arg("make")
                .arg(&folder)
                .args(["1000000", what])
                .output()
                .context("recording_speed")?;
            let _ = fs::remove_dir_all(&folder);
            number_in(&made)
        })
    };
    let row = |name: &str, unit, limit, what| Row {
        name: format!("recording: {name}"),
        unit,
        asked: Asked::ValueAtMost(limit),
        ours: side(what),
        peer: asked_of(limit),
    };
    [
        // 300,000 a second.
        row("what the writer takes of an event, keyframes included", "ns", 3333.0, "event"),
        row("most memory of the recorder, its model included", "MiB", 64.0, "memory"),
    ]
}

/// How fast 10,000,000 events over 10,000 living VMAs are read. One run tells all numbers of a round.
fn read(programs: &Rc<Programs>) -> [Row; 5] {
    let runs = Rc::new(RefCell::new(Runs { programs: programs.clone(), recording: None, told: Vec::new() }));
    let row = |name: &str, unit, limit, what: &'static str| {
        let (runs, mut round) = (runs.clone(), 0);
        Row {
            name: format!("recording of 10,000,000 events, 10,000 VMAs: {name}"),
            unit,
            asked: Asked::ValueAtMost(limit),
            ours: Side::new("recording_speed", move || {
                round += 1;
                runs.borrow_mut().number(round, what)
            }),
            peer: asked_of(limit),
        }
    };
    [
        row("opens", "ms", 100.0, "open"),
        row("seeks to any moment, 99 of 100", "ms", 20.0, "seek"),
        row("steps, 99 of 100", "us", 1000.0, "step"),
        row("steps, the worst of some 750,000", "us", 1000.0, "worst"),
        row("most memory at all this", "MiB", 200.0, "memory"),
    ]
}

/// Runs of `recording_speed read`, one for each round.
struct Runs {
    programs: Rc<Programs>,
    recording: Option<Recording>,
    told: Vec<String>,
}

impl Runs {
    fn number(&mut self, round: usize, what: &str) -> Result<f64> {
        while self.told.len() < round {
            let recording = match self.recording.take() {
                Some(recording) => recording,
                None => large_recording(&self.programs)?,
            };
            let mut read = Command::new(&self.programs.recording_speed);
            let output = read.arg("read").arg(&recording.0).output().context("recording_speed")?;
            self.recording = Some(recording);
            ensure!(output.status.success(), "{read:?}: {}", String::from_utf8_lossy(&output.stderr));
            self.told.push(String::from_utf8(output.stdout)?);
        }
        let told = self.told.get(round - 1).context("just told")?;
        value_of(told, what).with_context(|| format!("no {what} in: {told}"))
    }
}

/// The number that a line begins with, after its name.
fn value_of(told: &str, what: &str) -> Option<f64> {
    let mut lines = told.lines().map(str::split_ascii_whitespace);
    lines.find_map(|mut words| if words.next() == Some(what) { words.next()?.parse().ok() } else { None })
}

/// Snapshots of a process of 60,000 VMAs: what each second costs, without the beginning and the end, which are there
/// once; beside what the kernel alone takes for it.
fn watch(programs: &Rc<Programs>) -> Result<Row> {
    const SHORT: u32 = 1;
    const LONG: u32 = 11;
    let sleeper = Rc::new(Sleeper::start(&programs.subject, &["vmas", "60000"])?);
    let ms_of = |seconds: u32| {
        let (programs, sleeper) = (programs.clone(), sleeper.clone());
        move || -> Result<f64> {
            let folder = programs.scratch.join("looks").display().to_string();
            let (vmatlas, pid) = (programs.vmatlas.display().to_string(), sleeper.pid().to_string());
            let time = format!("{seconds}s");
            let words = [&vmatlas, "watch", &pid, "--force", "-o", &folder, "-i", "1s", "--duration", &time];
            cpu_ms(&words.map(|word| word.to_owned()))
        }
    };
    let (short, long) = (ms_of(SHORT), ms_of(LONG));
    let (readers, watched) = (programs.clone(), sleeper.clone());
    Ok(Row {
        name: "watch -i 1s: 60,000 VMAs, part of one CPU".to_owned(),
        unit: "%",
        asked: Asked::ValueAtMost(5.0),
        ours: Side::new("vmatlas watch", move || {
            Ok((long()? - short()?) / f64::from((LONG - SHORT) * 1000) * 100.0)
        }),
        peer: Side::new("bare read(2) of maps, one PAGEMAP_SCAN", move || {
            let mut command = Command::new(&readers.read_pages);
            let us = number_of(command.args(["floor", &watched.pid().to_string(), "5"]))?;
            Ok(us / 1e6 * 100.0)
        }),
    })
}

fn large_recording(programs: &Programs) -> Result<Recording> {
    let recording = Recording(programs.scratch.join("large"));
    let mut make = Command::new(&programs.recording_speed);
    make.arg("make").arg(&recording.0).arg(EVENTS.to_string()).stdout(Stdio::null());
    let status = make.status().context("recording_speed")?;
    ensure!(status.success(), "{make:?} ended with {status}");
    Ok(recording)
}

/// No peer does this: the number that was set.
fn asked_of(limit: f64) -> Side {
    Side::new("what is asked", move || Ok(limit))
}

fn number_in(output: &std::process::Output) -> Result<f64> {
    if !output.status.success() {
        bail!("recording_speed ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().with_context(|| text.clone().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that a number is found by its name.
    #[test]
    fn numbers_are_found_by_their_names() {
        let told = "seek     6.250 ms (500 times)\nstep-x 1.0\nstep 12.5 us";
        assert_eq!((value_of(told, "seek"), value_of(told, "step")), (Some(6.25), Some(12.5)));
        assert_eq!(value_of(told, "memory"), None);
    }

    /// Checks that two numbers are found among other lines.
    #[test]
    fn two_numbers_are_found() {
        assert_eq!(two_numbers("of a run\n7 8.5\n"), Some([7.0, 8.5]));
        assert_eq!(two_numbers("7\nx 8"), None);
    }
}
