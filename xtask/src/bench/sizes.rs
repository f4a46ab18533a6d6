//! Rows of what recordings take on disk: events, keyframes and the fixed cost apart, beside the files of other tracers.

use super::pairs::{Asked, Row, Side};
use super::subject::Programs;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::rc::Rc;

/// What some tables of a recording take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// Events alone.
    Events,
    /// With the rows and tasks that belong to them.
    EventsAndRows,
    Keyframes,
    All,
}

impl Part {
    fn has(self, file: &str) -> bool {
        let (stem, is_table) = file.strip_suffix(".parquet").map_or((file, false), |stem| (stem, true));
        match self {
            Part::Events => is_table && stem == "events",
            Part::EventsAndRows => is_table && matches!(stem, "events" | "rows" | "in_flight"),
            Part::Keyframes => is_table && (stem.starts_with("state") || stem == "keyframes"),
            Part::All => true,
        }
    }
}

pub(super) fn rows(programs: &Rc<Programs>) -> Vec<Row> {
    const LOOP: &str = "a mmap/munmap loop";
    const PYTHON: &str = "20 times python3 with imports";
    const COMPILE: &str = "20 times cc -O2";
    let import = "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do \
                  python3 -c 'import json, http.client, decimal, sqlite3'; done";
    let compile = "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do \
                   printf '#include <stdio.h>\\nint main(void) { return puts(\"x\"); }\\n' | \
                   cc -O2 -x c -c -o /dev/null -; done";
    let subject = programs.subject.display().to_string();
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>();
    let pairs = words(&[&subject, "pairs", "100000"]);
    let python = words(&["sh", "-c", import]);
    let cc = words(&["sh", "-c", compile]);
    let row = |what: &str, of: &str, part, asked, command: &[String], peer| Row {
        name: format!("recording: {what}, {of}"),
        unit: "bytes",
        asked,
        ours: bytes_per_event(programs, command, part),
        peer,
    };
    let strace = |command: &[String]| strace(programs, command);
    let mut rows = vec![
        row("events table per event", LOOP, Part::Events, Asked::ValueAtMost(4.0), &pairs, strace(&pairs)),
        row("with the kernel's answers", LOOP, Part::EventsAndRows, Asked::Nothing, &pairs, strace(&pairs)),
        row("keyframes per event", LOOP, Part::Keyframes, Asked::Nothing, &pairs, strace(&pairs)),
        row(
            "events table per event",
            PYTHON,
            Part::Events,
            Asked::ValueAtMost(12.0),
            &python,
            strace(&python),
        ),
        row(
            "with the kernel's answers",
            PYTHON,
            Part::EventsAndRows,
            Asked::Nothing,
            &python,
            strace(&python),
        ),
        row("keyframes per event", PYTHON, Part::Keyframes, Asked::Nothing, &python, strace(&python)),
        row("events table per event", COMPILE, Part::Events, Asked::ValueAtMost(12.0), &cc, strace(&cc)),
        row("with the kernel's answers", COMPILE, Part::EventsAndRows, Asked::Nothing, &cc, strace(&cc)),
    ];
    if Command::new("perf").arg("--version").stdout(Stdio::null()).status().is_ok_and(|s| s.success()) {
        let perf = perf(programs, &pairs);
        rows.push(row("all files per event", LOOP, Part::All, Asked::Nothing, &pairs, perf));
    } else {
        eprintln!("left out, perf is not there: recording: all files per event");
    }
    let quiet = words(&["true"]);
    let whole = programs.clone();
    rows.push(Row {
        name: "recording: all files, of `true`".to_owned(),
        unit: "bytes",
        asked: Asked::Nothing,
        ours: Side::new("vmatlas run -o", {
            let quiet = quiet.clone();
            move || Ok(recorded(&whole, &quiet)?.bytes(Part::All)? as f64)
        }),
        peer: Side::new("strace -f -e trace=memory", {
            let programs = programs.clone();
            move || Ok(straced(&programs, &quiet)?.0 as f64)
        }),
    });
    rows
}

/// A recording that is removed again.
pub(super) struct Recording(pub(super) PathBuf);

impl Recording {
    fn bytes(&self, part: Part) -> Result<u64> {
        let mut sum = 0;
        let mut folders = vec![self.0.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
                let entry = entry?;
                let meta = entry.metadata()?;
                if meta.is_dir() {
                    folders.push(entry.path());
                } else if part.has(&entry.file_name().to_string_lossy()) {
                    sum += meta.len();
                }
            }
        }
        Ok(sum)
    }

    fn events(&self) -> Result<u64> {
        let meta: serde_json::Value = serde_json::from_slice(&fs::read(self.0.join("meta.json"))?)?;
        meta["end"]["events"].as_u64().context("a recording that was not ended")
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn recorded(programs: &Programs, command: &[String]) -> Result<Recording> {
    let folder = programs.scratch.join("recording");
    let mut run = Command::new(&programs.vmatlas);
    run.args(["run", "--force", "-o"]).arg(&folder).arg("--").args(command);
    run.stdin(Stdio::null()).stdout(Stdio::null());
    let status = run.status().with_context(|| format!("{run:?}"))?;
    ensure!(status.success(), "{run:?} ended with {status}");
    Ok(Recording(folder))
}

fn bytes_per_event(programs: &Rc<Programs>, command: &[String], part: Part) -> Side {
    const FEWEST: u64 = 5_000;
    let (programs, command) = (programs.clone(), command.to_vec());
    Side::new("vmatlas run -o", move || {
        let recording = recorded(&programs, &command)?;
        let events = recording.events()?;
        ensure!(events >= FEWEST, "{events} events are too few to say something");
        Ok(recording.bytes(part)? as f64 / events as f64)
    })
}

/// Bytes and lines of its log.
fn straced(programs: &Programs, command: &[String]) -> Result<(u64, u64)> {
    let log = programs.scratch.join("strace.log");
    let mut strace = Command::new("strace");
    strace.args(["-f", "--seccomp-bpf", "-e", "trace=memory", "-o"]).arg(&log).args(command);
    strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let status = strace.status().with_context(|| format!("{strace:?}"))?;
    ensure!(status.success(), "{strace:?} ended with {status}");
    let text = fs::read(&log)?;
    Ok((text.len() as u64, text.iter().filter(|byte| **byte == b'\n').count() as u64))
}

fn strace(programs: &Rc<Programs>, command: &[String]) -> Side {
    let (programs, command) = (programs.clone(), command.to_vec());
    Side::new("strace -f -e trace=memory, per line", move || {
        let (bytes, lines) = straced(&programs, &command)?;
        Ok(bytes as f64 / lines.max(1) as f64)
    })
}

/// Entry and exit of mmap and munmap: what it keeps of each call.
fn perf(programs: &Rc<Programs>, command: &[String]) -> Side {
    const EVENTS: &str =
        "syscalls:sys_enter_mmap,syscalls:sys_exit_mmap,syscalls:sys_enter_munmap,syscalls:sys_exit_munmap";
    let (file, command) = (programs.scratch.join("perf.data"), command.to_vec());
    Side::new("perf record of entry and exit, per call", move || {
        let mut perf = Command::new("perf");
        perf.args(["record", "-q", "-m", "4M", "-e", EVENTS, "-o"]).arg(&file).arg("--").args(&command);
        perf.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let status = perf.status()?;
        ensure!(status.success(), "{perf:?} ended with {status}");
        let calls = command.last().and_then(|pairs| pairs.parse::<f64>().ok()).context("a number")? * 2.0;
        let size = fs::metadata(&file)?.len();
        fs::remove_file(&file)?;
        Ok(size as f64 / calls)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that each file of a recording counts where it belongs.
    #[test]
    fn files_count_where_they_belong() {
        let in_part = |part: Part| {
            let files = ["events", "rows", "in_flight", "names", "keyframes", "states", "state_rows"];
            files.into_iter().filter(|file| part.has(&format!("{file}.parquet"))).collect::<Vec<_>>()
        };
        assert_eq!(in_part(Part::Events), ["events"]);
        assert_eq!(in_part(Part::EventsAndRows), ["events", "rows", "in_flight"]);
        assert_eq!(in_part(Part::Keyframes), ["keyframes", "states", "state_rows"]);
        assert_eq!(in_part(Part::All).len(), 7);
        assert!(!Part::Events.has("events") && Part::All.has("meta.json"));
    }
}
