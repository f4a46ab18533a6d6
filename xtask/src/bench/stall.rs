//! What a reader makes its target wait: the worst latency of a program that maps, touches and unmaps memory while it is
//! read, with much memory resident.

use super::machine::Machine;
use super::pairs::median;
use super::subject::{Programs, Sleeper};
use super::table;
use anyhow::{Context, Result, bail};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const USAGE: &str = "usage: cargo xtask bench stall [--gib N,...] [--rounds N] [--realtime] [--write]";
/// Above idle; what is asked of `vmatlas show`.
const ASKED_MS: f64 = 1.0;
/// For so long the target is watched at a time.
const WATCHED: Duration = Duration::from_millis(400);

struct Options {
    gib: Vec<u64>,
    rounds: usize,
    /// Both run before everything else on the machine, which then need not be quiet.
    realtime: bool,
    write: bool,
}

/// A way to read, with PID where the target's number goes; no words is idling.
struct Reader {
    name: &'static str,
    words: Vec<String>,
    asked: bool,
}

/// What the target saw in one round.
#[derive(Clone, Copy)]
struct Seen {
    worst_ms: f64,
    p999_ms: f64,
    rounds_per_second: f64,
}

/// Measures each reader in turns, and fails when ours stalls the target for longer than is asked.
pub(super) fn run(args: &[&str]) -> Result<()> {
    let options = options(args)?;
    let machine = Machine::here();
    let programs = Programs::build()?;
    let mut text = format!("{}\n", machine.line());
    if options.realtime {
        text.push_str("Target and reader ran with real-time priority (`--realtime`), so that others did not disturb them.\n");
    } else {
        machine.warnings().iter().for_each(|warning| eprintln!("WARNING: {warning}"));
    }
    text.push_str(&format!(
        "Medians of {} rounds of {} ms each, readers in turns.\n\n\
         | resident | reader | worst latency | above idle | 99.9th percentile | mmap+touch+munmap a second | asked |\n\
         |---|---|---|---|---|---|---|\n",
        options.rounds,
        WATCHED.as_millis()
    ));
    let mut missed = Vec::new();
    for gib in &options.gib {
        measure(*gib, &options, &programs, &mut text, &mut missed)?;
    }
    println!("{text}");
    if options.write {
        super::write_between(&table::STALL, &text)?;
    }
    if !missed.is_empty() {
        bail!("not as asked: {}", missed.join(", "));
    }
    Ok(())
}

fn options(args: &[&str]) -> Result<Options> {
    let mut options = Options { gib: vec![6, 12], rounds: 9, realtime: false, write: false };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match *arg {
            "--write" => options.write = true,
            "--realtime" => options.realtime = true,
            "--rounds" => {
                options.rounds =
                    args.next().and_then(|n| n.parse().ok()).filter(|n| *n > 0).context(USAGE)?;
            }
            "--gib" => {
                let list = args.next().context(USAGE)?.split(',').map(str::parse).collect::<Result<_, _>>();
                options.gib = list.context(USAGE)?;
            }
            _ => bail!(USAGE),
        }
    }
    Ok(options)
}

fn readers(programs: &Programs) -> Vec<Reader> {
    let reader = |name, words: &[&str], asked| Reader {
        name,
        words: words.iter().map(|&word| word.to_owned()).collect(),
        asked,
    };
    let vmatlas = programs.vmatlas.display().to_string();
    let scan = programs.read_pages.display().to_string();
    let psutil = "import psutil, sys; psutil.Process(int(sys.argv[1])).memory_maps(grouped=False)";
    let mut readers = vec![
        reader("nobody (idle)", &[], false),
        reader("cat maps", &["cat", "/proc/PID/maps"], false),
        reader(
            "vmatlas show --no-resident",
            &[&vmatlas, "show", "--no-resident", "--json", "-p", "PID"],
            true,
        ),
        reader("vmatlas show", &[&vmatlas, "show", "--json", "-p", "PID"], true),
        reader("cat smaps", &["cat", "/proc/PID/smaps"], false),
        reader("cat smaps_rollup", &["cat", "/proc/PID/smaps_rollup"], false),
        reader("pmap -x", &["pmap", "-x", "PID"], false),
        reader("psutil memory_maps", &["python3", "-c", psutil, "PID"], false),
        reader("PAGEMAP_SCAN in one call", &[&scan, "scan", "PID", "1"], false),
    ];
    readers.retain(|reader| {
        let there = reader.words.is_empty() || once(reader, std::process::id(), false).is_ok();
        if !there {
            eprintln!("SKIPPED: {} is not there or does not work", reader.name);
        }
        there
    });
    readers
}

/// Reads once.
fn once(reader: &Reader, pid: u32, realtime: bool) -> Result<()> {
    let words = reader.words.iter().map(|word| word.replace("PID", &pid.to_string()));
    let words: Vec<String> = priority(realtime, READER).into_iter().chain(words).collect();
    let (program, rest) = words.split_first().context("no words")?;
    let mut command = Command::new(program);
    command.args(rest).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let status = command.status().with_context(|| format!("{command:?}"))?;
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    Ok(())
}

/// The target comes before the reader: it should wait for locks only, never for a processor.
const TARGET: &str = "11";
const READER: &str = "10";

fn priority(realtime: bool, level: &str) -> Vec<String> {
    let words: &[&str] = if realtime { &["chrt", "-f", level] } else { &[] };
    words.iter().map(|&word| word.to_owned()).collect()
}

fn measure(
    gib: u64,
    options: &Options,
    programs: &Programs,
    text: &mut String,
    missed: &mut Vec<String>,
) -> Result<()> {
    let readers = readers(programs);
    let mut words = priority(options.realtime, TARGET);
    words.extend([programs.subject.display().to_string(), "stall".to_owned(), gib.to_string()]);
    let (first, rest) = words.split_first().context("no words")?;
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    let mut target = Sleeper::start(first.as_ref(), &rest)?;
    let mut seen: Vec<Vec<Seen>> = readers.iter().map(|_| Vec::new()).collect();
    for _ in 0..options.rounds {
        for (reader, seen) in readers.iter().zip(&mut seen) {
            seen.push(watch(&mut target, reader, options.realtime)?);
        }
    }
    let middle = |seen: &[Seen], what: fn(&Seen) -> f64| {
        median(&seen.iter().map(what).collect::<Vec<f64>>()).context("no rounds")
    };
    let mut idle = 0.0;
    for (reader, seen) in readers.iter().zip(&seen) {
        let worst = middle(seen, |s| s.worst_ms)?;
        if reader.words.is_empty() {
            idle = worst;
        }
        let above = worst - idle;
        let asked = match reader.asked {
            true if above <= ASKED_MS => "at most 1 ms above idle: yes",
            true => "at most 1 ms above idle: **no**",
            false => "",
        };
        if reader.asked && above > ASKED_MS {
            missed.push(format!("{} at {gib} GiB: {above:.2} ms", reader.name));
        }
        text.push_str(&format!(
            "| {gib} GiB | {} | {worst:.2} ms | {above:.2} ms | {:.2} ms | {:.0} | {asked} |\n",
            reader.name,
            middle(seen, |s| s.p999_ms)?,
            middle(seen, |s| s.rounds_per_second)?,
        ));
    }
    Ok(())
}

/// One round: the target loops while it is read again and again.
fn watch(target: &mut Sleeper, reader: &Reader, realtime: bool) -> Result<Seen> {
    target.write_line(&WATCHED.as_millis().to_string())?;
    let start = Instant::now();
    while start.elapsed() < WATCHED && !reader.words.is_empty() {
        once(reader, target.pid(), realtime)?;
    }
    let line = target.read_line()?;
    if realtime {
        // The kernel stops real-time tasks for 50 ms of each second unless they stop by themselves.
        std::thread::sleep(WATCHED);
    }
    let numbers: Vec<f64> = line.split_ascii_whitespace().filter_map(|n| n.parse().ok()).collect();
    match numbers.as_slice() {
        [worst, p999, rounds] => {
            Ok(Seen { worst_ms: worst / 1e3, p999_ms: p999 / 1e3, rounds_per_second: *rounds })
        }
        _ => bail!("the target printed {line:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that what is typed is understood, and that nonsense is refused.
    #[test]
    fn options_are_understood() {
        let understood = options(&["--gib", "1,2", "--rounds", "3", "--realtime"]).unwrap();
        assert_eq!((understood.gib, understood.rounds, understood.realtime), (vec![1, 2], 3, true));
        assert!(options(&["--gib", "much"]).is_err() && options(&["more"]).is_err());
    }
}
