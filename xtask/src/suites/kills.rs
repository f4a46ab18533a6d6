//! A recorder killed with SIGKILL at random moments: every recording opens, all that was flushed is there, the rest is said.

use super::Watch;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Ends by itself, should nobody end it.
const PROGRAM: &str = "i=0; while [ $i -lt 20000 ]; do /bin/true; i=$((i+1)); done";
const ROUNDS: u64 = 1000;
/// The longest time from the first file to the kill, in milliseconds.
const LONGEST: u64 = 1200;
/// An event waits less than a second for the disk; the rest is for a busy machine.
const LATE: Duration = Duration::from_secs(3);

pub(super) fn run(watch: &Watch, rounds: Option<&str>) -> Result<()> {
    let rounds = rounds.map_or(Ok(ROUNDS), str::parse)?;
    let folder = watch.folder.join(format!("kills-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let done = all(&watch.vmatlas, &folder, rounds);
    fs::remove_dir_all(&folder)?;
    done
}

fn all(vmatlas: &Path, folder: &Path, rounds: u64) -> Result<()> {
    let mut random = u64::from(std::process::id());
    let (mut late, mut events, mut torn, mut snapshots, mut keyframes) = (Vec::new(), 0, 0, 0, 0);
    for round in 0..rounds {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let path = folder.join("r");
        let after = Duration::from_micros((random >> 33) % (LONGEST * 1000));
        let one = one(vmatlas, &path, after).with_context(|| format!("round {round}, after {after:?}"))?;
        fs::remove_dir_all(&path)?;
        late.push(one.late);
        events += one.events;
        torn += u64::from(one.is_torn);
        snapshots += one.snapshots;
        keyframes += one.keyframes;
    }
    late.sort_unstable();
    let at = |share: usize| late.get(late.len() * share / 100).or(late.last()).copied().unwrap_or_default();
    println!("{rounds} recorders killed: each recording opened, and had all events of its whole frames");
    println!(
        "{events} events; {torn} tails were torn; verify: {snapshots} snapshots and {keyframes} keyframes, 0 differ"
    );
    println!("last event before the kill: median {:?}, 99 % {:?}, longest {:?}", at(50), at(99), at(100));
    Ok(())
}

struct One {
    events: u64,
    late: Duration,
    is_torn: bool,
    snapshots: u64,
    keyframes: u64,
}

fn one(vmatlas: &Path, path: &Path, after: Duration) -> Result<One> {
    let start = Instant::now();
    let mut child = Command::new(vmatlas)
        .args(["run", "-o"])
        .arg(path)
        .args(["--", "sh", "-c", PROGRAM])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()?;
    let tail = path.join("tail-000001");
    while !tail.exists() && start.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(after);
    child.kill()?;
    let killed = start.elapsed();
    child.wait()?;
    let whole = whole_events(&fs::read(&tail)?);
    let info = json(vmatlas, "info", path)?;
    let verify = json(vmatlas, "verify", path)?;
    let events = info["events"].as_u64().context("no count")?;
    let damage = info["recording"]["damage"].as_array().map_or(0, Vec::len);
    if events != whole {
        bail!("{whole} events are whole in the file, {events} were read");
    }
    if damage > 1 || info["recording"]["ended"] != Value::Bool(false) || verify["differences"] != 0 {
        bail!("{info} {verify}");
    }
    // From the start of the program on, which is a bit later than ours: what is said is rather too much.
    let last = info["recording"]["duration"].as_f64().unwrap_or(0.0);
    let late = killed.saturating_sub(Duration::from_secs_f64(last));
    if late > LATE {
        bail!("the last event is {late:?} older than the kill");
    }
    let number = |what: &str| verify[what]["compared"].as_u64().unwrap_or(0);
    let (snapshots, keyframes) = (number("snapshots"), number("keyframes"));
    Ok(One { events, late, is_torn: damage == 1, snapshots, keyframes })
}

fn json(vmatlas: &Path, command: &str, path: &Path) -> Result<Value> {
    let output = Command::new(vmatlas).arg(command).arg(path).arg("--json").stdin(Stdio::null()).output()?;
    serde_json::from_slice(&output.stdout)
        .with_context(|| format!("{command}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// How many events are in the whole frames of a tail, counted without the reader: see docs/RECORDING-FORMAT.md.
fn whole_events(bytes: &[u8]) -> u64 {
    const HEADER: usize = 32;
    const EVENTS: u32 = 1;
    let mut rest = bytes.get(16..).unwrap_or_default();
    let mut events = 0;
    while let Some((header, after)) = rest.split_at_checked(HEADER) {
        let four = |at: usize| {
            let mut out = [0; 4];
            out.copy_from_slice(&header[at..at + 4]);
            u32::from_le_bytes(out)
        };
        let Some(next) = after.get(four(0) as usize..) else { break };
        events += if four(4) == EVENTS { u64::from(four(12)) } else { 0 };
        rest = next;
    }
    events
}
