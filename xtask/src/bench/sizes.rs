//! Rows of what recordings take on disk: events, keyframes and the fixed cost apart, beside the files of other tracers.

use super::pairs::{Asked, Row, Side};
use super::subject::Programs;
use anyhow::{Context, Result, ensure};
use std::cell::{OnceCell, RefCell};
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
    /// Call stacks and what names them, each once.
    Stacks,
    All,
}

impl Part {
    const EACH: [Part; 5] = [Part::Events, Part::EventsAndRows, Part::Keyframes, Part::Stacks, Part::All];

    fn has(self, file: &str) -> bool {
        let (stem, is_table) = file.strip_suffix(".parquet").map_or((file, false), |stem| (stem, true));
        match self {
            Part::Events => is_table && stem == "events",
            Part::EventsAndRows => is_table && matches!(stem, "events" | "rows" | "in_flight"),
            Part::Keyframes => is_table && (stem.starts_with("state") || stem == "keyframes"),
            Part::Stacks => is_table && matches!(stem, "stacks" | "frames" | "modules" | "symbols"),
            Part::All => true,
        }
    }
}

pub(super) fn rows(programs: &Rc<Programs>) -> Vec<Row> {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>();
    let import = "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do \
                  python3 -c 'import json, http.client, decimal, sqlite3'; done";
    let compile = "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do \
                   printf '#include <stdio.h>\\nint main(void) { return puts(\"x\"); }\\n' | \
                   cc -O2 -x c -c -o /dev/null -; done";
    let pairs = words(&[&programs.subject.display().to_string(), "pairs", "100000"]);
    let mut rows = Vec::new();
    let (one_cpu, stacks): (Options, Options) = (&["--same-cpu"], &["--stacks"]);
    for (of, command, options, limit) in [
        ("a mmap/munmap loop, one CPU", pairs.clone(), one_cpu, 4.0),
        ("a mmap/munmap loop", pairs.clone(), &[], 4.0),
        ("20 times python3 with imports", words(&["sh", "-c", import]), &[], 12.0),
        ("20 times python3 with imports, --stacks", words(&["sh", "-c", import]), stacks, 14.0),
        ("20 times cc -O2", words(&["sh", "-c", compile]), &[], 12.0),
        ("20 times cc -O2, --stacks", words(&["sh", "-c", compile]), stacks, 14.0),
    ] {
        let runs = Runs::new(programs, &command, options);
        let strace = Runs::strace(programs, &command);
        let mut row = |what: &str, part, asked| {
            rows.push(Row {
                name: format!("recording: {what}, {of}"),
                unit: "bytes",
                asked,
                ours: Runs::side(&runs, part),
                peer: strace(),
            });
        };
        row("events table per event", Part::Events, Asked::ValueAtMost(limit));
        row("with the kernel's answers", Part::EventsAndRows, Asked::Nothing);
        row("keyframes per event", Part::Keyframes, Asked::Nothing);
        if options == stacks {
            row("stacks and their names per event", Part::Stacks, Asked::Nothing);
        }
    }
    if Command::new("perf").arg("--version").stdout(Stdio::null()).status().is_ok_and(|s| s.success()) {
        rows.push(Row {
            name: "recording: all files per event, a mmap/munmap loop".to_owned(),
            unit: "bytes",
            asked: Asked::Nothing,
            ours: Runs::side(&Runs::new(programs, &pairs, &[]), Part::All),
            peer: perf(programs, &pairs),
        });
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
            move || Ok(recorded(&whole, &quiet, &[])?.bytes(Part::All)? as f64)
        }),
        peer: Side::new("strace -f -e trace=memory", {
            let programs = programs.clone();
            move || Ok(straced(&programs, &quiet)?.0 as f64)
        }),
    });
    rows
}

/// Options of `vmatlas run`.
type Options = &'static [&'static str];

/// Recordings of one command, one for each round; its rows look at different parts of the same ones.
struct Runs {
    programs: Rc<Programs>,
    command: Vec<String>,
    options: Options,
    /// The bytes per event of each part, by rounds.
    told: Vec<[f64; Part::EACH.len()]>,
}

impl Runs {
    fn new(programs: &Rc<Programs>, command: &[String], options: Options) -> Rc<RefCell<Runs>> {
        let (programs, command) = (programs.clone(), command.to_vec());
        Rc::new(RefCell::new(Runs { programs, command, options, told: Vec::new() }))
    }

    fn side(runs: &Rc<RefCell<Runs>>, part: Part) -> Side {
        let (runs, mut round) = (runs.clone(), 0);
        Side::new("vmatlas run -o", move || {
            round += 1;
            runs.borrow_mut().of_round(round, part)
        })
    }

    fn of_round(&mut self, round: usize, part: Part) -> Result<f64> {
        const FEWEST: u64 = 5_000;
        while self.told.len() < round {
            let recording = recorded(&self.programs, &self.command, self.options)?;
            let events = recording.events()?;
            ensure!(events >= FEWEST, "{events} events are too few to say something");
            let mut told = [0.0; Part::EACH.len()];
            for (told, part) in told.iter_mut().zip(Part::EACH) {
                *told = recording.bytes(part)? as f64 / events as f64;
            }
            self.told.push(told);
        }
        let at = Part::EACH.iter().position(|each| *each == part).context("each part is there")?;
        Ok(self.told[round - 1][at])
    }

    /// Sides of one run of strace: what it writes of a call hardly varies, and it takes long.
    fn strace(programs: &Rc<Programs>, command: &[String]) -> impl Fn() -> Side + use<> {
        let (programs, command) = (programs.clone(), command.to_vec());
        let told: Rc<OnceCell<f64>> = Rc::default();
        move || {
            let (programs, command, told) = (programs.clone(), command.clone(), told.clone());
            Side::new("strace -f -e trace=memory, per line", move || {
                if let Some(told) = told.get() {
                    return Ok(*told);
                }
                let (bytes, lines) = straced(&programs, &command)?;
                Ok(*told.get_or_init(|| bytes as f64 / lines.max(1) as f64))
            })
        }
    }
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

fn recorded(programs: &Programs, command: &[String], options: Options) -> Result<Recording> {
    let folder = programs.scratch.join("recording");
    let mut run = Command::new(&programs.vmatlas);
    run.args(["run", "--force", "-o"]).arg(&folder).args(options).arg("--").args(command);
    run.stdin(Stdio::null()).stdout(Stdio::null());
    let status = run.status().with_context(|| format!("{run:?}"))?;
    ensure!(status.success(), "{run:?} ended with {status}");
    Ok(Recording(folder))
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
            let files = [
                "events",
                "rows",
                "in_flight",
                "names",
                "keyframes",
                "states",
                "state_rows",
                "stacks",
                "symbols",
            ];
            files.into_iter().filter(|file| part.has(&format!("{file}.parquet"))).collect::<Vec<_>>()
        };
        assert_eq!(in_part(Part::Events), ["events"]);
        assert_eq!(in_part(Part::EventsAndRows), ["events", "rows", "in_flight"]);
        assert_eq!(in_part(Part::Keyframes), ["keyframes", "states", "state_rows"]);
        assert_eq!(in_part(Part::Stacks), ["stacks", "symbols"]);
        assert_eq!(in_part(Part::All).len(), 9);
        assert!(!Part::Events.has("events") && Part::All.has("meta.json"));
    }
}
