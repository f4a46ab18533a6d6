//! What a large recording costs: how fast it is made, and how fast any moment of it is there again.
//!
//! `recording_speed make FOLDER EVENTS [WHAT]` makes one of calls over 10,000 living VMAs, with the keyframes that a model
//! takes of them, and tells what it took: `event` ns that the writer took of each, `memory` MiB.
//! `recording_speed read FOLDER [WHAT]` opens it (`open` ms), goes to 500 places (`seek` ms, 99 of 100), steps around
//! each and 100,000 times in a row (`step` us, 99 of 100; `worst` us), and needed `memory` MiB. With WHAT only that number is
//! printed. Seeks and steps are made three times at the same places and the least counts: others on the machine hit one of
//! three, hardly all. Beside the time on the clock stands what the thread had of a CPU.

#![forbid(unsafe_code)]

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};
use vmatlas_event::{
    Addr, AddrRange, Bytes, Dev, Event, MapFlags, MmId, MonoNs, Name, Op, Outcome, PageSize, Pid, Prot,
    ProtArg, Seq, SnapshotReason, Source, TaskId, Tid, VmaRow,
};
use vmatlas_model::Spaces;
use vmatlas_model::timeline::{Moment, Timeline, Whose};
use vmatlas_record::{End, Existing, Meta, Options, Reader, Writer};

/// VMAs of each of the two sorts.
const HALF: u64 = 5_000;
const BASE: u64 = 0x7f00_0000_0000;
const PAGE: u64 = 4096;
/// Events in one round: an anonymous VMA and a file go and come back.
const ROUND: u64 = 6;
/// Has nothing in common with [`HALF`], so each slot comes once in so many rounds.
const FACTOR: u64 = 3_781;
/// As the recorder takes them.
const KEYFRAME_EVERY: u64 = 5_000;
const ROUNDS: usize = 3;

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (found, what) = match words.as_slice() {
        ["make", folder, events, what @ ..] => (make(Path::new(folder), events.parse()?)?, what.first()),
        ["read", folder, what @ ..] => (read(Path::new(folder), what.first().copied())?, what.first()),
        _ => return Err("usage: recording_speed make FOLDER EVENTS [WHAT] | read FOLDER [WHAT]".into()),
    };
    for (name, value, text) in found {
        match what {
            None => println!("{name:14} {value:10.3} {text}"),
            Some(what) if **what == *name => println!("{value:.3}"),
            Some(_) => {}
        }
    }
    Ok(())
}

/// A name, a value, and what it is.
type Found = Vec<(&'static str, f64, String)>;

fn make(folder: &Path, count: u64) -> Result<Found, Box<dyn Error>> {
    const AT_ONCE: u64 = 1000;
    let name = Name::new(b"/usr/lib/libexample.so.1");
    let meta = Meta { page_size: PAGE, program: "made".to_owned(), ..Meta::default() };
    let options = Options { existing: Existing::Replace, ..Options::default() };
    let mut writer = Writer::create(folder, meta, options)?;
    let mut spaces = Spaces::new(PageSize::FOUR_KIB);
    let (mut written, mut modelled, mut keyframes) = (Cost::default(), Cost::default(), 0);
    let start = Instant::now();
    for first in (0..count).step_by(AT_ONCE as usize) {
        let events: Vec<Event> = (first..count.min(first + AT_ONCE)).map(|seq| event(seq, &name)).collect();
        let began = Cost::now();
        events.iter().for_each(|event| drop(spaces.event(event)));
        modelled.add(began.since());
        let due = (first + AT_ONCE).is_multiple_of(KEYFRAME_EVERY);
        let last = events.last().filter(|_| due);
        let keyframe = last.and_then(|last| spaces.keyframe(last.seq, last.left));
        let began = Cost::now();
        events.iter().for_each(|event| writer.event(event));
        if let Some(keyframe) = &keyframe {
            writer.keyframe(keyframe);
            keyframes += 1;
        }
        written.add(began.since());
    }
    let taken = start.elapsed();
    if let Some(error) = writer.take_failure() {
        return Err(error.into());
    }
    writer.finish(End::default())?;
    let per = |time: Duration| nanos(time) / count as f64;
    let cpu = |cost: &Cost| format!("ns per event; {:.0} of a CPU", per(cost.cpu));
    Ok(vec![
        ("event", per(written.wall), format!("{} ({:.0} a second)", cpu(&written), 1e9 / per(written.wall))),
        ("model", per(modelled.wall), cpu(&modelled)),
        ("all", per(taken), "ns per event, making it included".to_owned()),
        ("sealed", per(start.elapsed()), "ns per event until it was sealed".to_owned()),
        ("memory", most_memory()?, format!("MiB; {keyframes} keyframes")),
    ])
}

fn read(folder: &Path, what: Option<&str>) -> Result<Found, Box<dyn Error>> {
    let wants = |names: &[&str]| what.is_none_or(|what| names.contains(&what));
    let began = Cost::now();
    let reader = Reader::open(folder)?;
    let size = reader.size() as f64 / f64::from(1 << 20);
    let mut timeline = Timeline::open(reader, PageSize::FOUR_KIB, false)?;
    let opened = began.since();
    let last = timeline.last().ok_or("no events")?.0;
    let mut found: Found = Vec::new();
    let mut tell = |name: &'static str, cost: Cost| {
        found.push((name, millis(cost.wall), format!("ms; {:.3} of a CPU", millis(cost.cpu))));
    };
    tell("open", opened);
    if wants(&["tree"]) {
        let began = Cost::now();
        timeline.tree()?;
        tell("tree", began.since());
    }
    if wants(&["moments"]) {
        for (moment, name) in [
            (Moment::Exec(1), "exec"),
            (Moment::Time(last / 3 * 3000), "time"),
            (Moment::Peak, "peak"),
            (Moment::Exit, "exit"),
        ] {
            let began = Cost::now();
            timeline.seek(&moment, Whose::First)?;
            tell(name, began.since());
        }
    }
    if wants(&["seek", "step", "worst", "memory"]) {
        let mut times = Times::default();
        // Memory is the same each time.
        for _ in 0..if what == Some("memory") { 1 } else { ROUNDS } {
            times.least(&steps(&mut timeline, last)?);
        }
        times.told(&mut found);
    }
    found.push(("memory", most_memory()?, "MiB".to_owned()));
    found.push(("size", size, "MiB on disk".to_owned()));
    Ok(found)
}

/// Time on the clock, and time on a CPU.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    wall: Duration,
    cpu: Duration,
}

impl Cost {
    fn now() -> Cost {
        Cost { wall: Duration::from_nanos(vmatlas_sys::now().0), cpu: vmatlas_sys::thread_cpu_time() }
    }

    fn since(self) -> Cost {
        let now = Cost::now();
        Cost { wall: now.wall.saturating_sub(self.wall), cpu: now.cpu.saturating_sub(self.cpu) }
    }

    fn add(&mut self, other: Cost) {
        self.wall += other.wall;
        self.cpu += other.cpu;
    }

    fn least(self, other: Cost) -> Cost {
        Cost { wall: self.wall.min(other.wall), cpu: self.cpu.min(other.cpu) }
    }
}

/// What each of many seeks and steps took, in order.
#[derive(Default)]
struct Times {
    seeks: Vec<Cost>,
    /// Up to 1,020 after a seek.
    backs: Vec<Cost>,
    forwards: Vec<Cost>,
    /// One after another.
    long_backs: Vec<Cost>,
    long_forwards: Vec<Cost>,
}

impl Times {
    /// The least of each.
    fn least(&mut self, other: &Times) {
        for (mine, other) in [
            (&mut self.seeks, &other.seeks),
            (&mut self.backs, &other.backs),
            (&mut self.forwards, &other.forwards),
            (&mut self.long_backs, &other.long_backs),
            (&mut self.long_forwards, &other.long_forwards),
        ] {
            if mine.is_empty() {
                mine.clone_from(other);
            }
            mine.iter_mut().zip(other).for_each(|(mine, other)| *mine = mine.least(*other));
        }
    }

    fn told(&self, found: &mut Found) {
        let mut all = Vec::new();
        for (name, costs) in [
            ("back", &self.backs),
            ("forward", &self.forwards),
            ("long-back", &self.long_backs),
            ("long-forward", &self.long_forwards),
        ] {
            all.extend(costs.iter().copied());
            told(name, "us", 1e6, costs, 1.0, found);
        }
        told("seek", "ms", 1e3, &self.seeks, 0.99, found);
        told("step", "us", 1e6, &all, 0.99, found);
        told("worst", "us", 1e6, &all, 1.0, found);
    }
}

/// The value below which so much of them is, and others beside it.
fn told(name: &'static str, unit: &str, scale: f64, costs: &[Cost], part: f64, found: &mut Found) {
    let sorted = |time: fn(&Cost) -> Duration| {
        let mut times: Vec<Duration> = costs.iter().map(time).collect();
        times.sort_unstable();
        move |part: f64| {
            let time = times.get((times.len() as f64 * part) as usize).or(times.last());
            time.copied().unwrap_or_default().as_secs_f64() * scale
        }
    };
    let (wall, cpu) = (sorted(|cost| cost.wall), sorted(|cost| cost.cpu));
    let text =
        |of: &dyn Fn(f64) -> f64| [0.5, 0.99, 0.999, 1.0].map(|part| format!("{:.1}", of(part))).join(" ");
    let text = format!(
        "{unit} ({} times; half, 99 %, 99.9 %, most: {}; of a CPU: {})",
        costs.len(),
        text(&wall),
        text(&cpu)
    );
    found.push((name, wall(part), text));
}

/// Seeks and steps at places that are the same each time.
fn steps(timeline: &mut Timeline<Reader>, last: u64) -> Result<Times, Box<dyn Error>> {
    const LONG: usize = 100_000;
    let mut random = Random(1);
    let mut times = Times::default();
    for turn in 0..500u64 {
        // Every fifth goes to where a keyframe is: steps back from there need what is before it.
        let to = random.below(last);
        let to = if turn % 5 == 0 { to / KEYFRAME_EVERY * KEYFRAME_EVERY } else { to };
        timed(&mut times.seeks, || timeline.seek_event(Seq(to)))?;
        let back = random.below(2) * 1000 + 20;
        for _ in 0..back {
            timed(&mut times.backs, || timeline.step_back(None).map(drop))?;
        }
        for _ in 0..back + 20 {
            timed(&mut times.forwards, || timeline.step_forward(None).map(drop))?;
        }
    }
    timeline.seek_event(Seq(last / 2))?;
    for _ in 0..LONG {
        timed(&mut times.long_backs, || timeline.step_back(None).map(drop))?;
    }
    for _ in 0..LONG + LONG / 2 {
        timed(&mut times.long_forwards, || timeline.step_forward(None).map(drop))?;
    }
    Ok(times)
}

fn timed<E>(times: &mut Vec<Cost>, work: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
    let start = Cost::now();
    work()?;
    times.push(start.since());
    Ok(())
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn nanos(time: Duration) -> f64 {
    time.as_nanos() as f64
}

/// In MiB.
fn most_memory() -> Result<f64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 20) % limit
    }
}

/// Anonymous VMAs, then files, one page and a hole each.
fn range(slot: u64) -> AddrRange {
    let start = Addr(BASE + slot * 2 * PAGE);
    AddrRange::from_len(start, Bytes(PAGE)).unwrap_or(AddrRange::ALL)
}

fn row(slot: u64, name: &Name) -> VmaRow {
    let row = VmaRow::anonymous(range(slot), Prot::READ);
    if slot < HALF {
        return row;
    }
    VmaRow { dev: Dev { major: 8, minor: 1 }, inode: slot, name: Some(name.clone()), ..row }
}

fn event(seq: u64, name: &Name) -> Event {
    let turn = seq.saturating_sub(2) / ROUND;
    let slot = turn * FACTOR % HALF;
    let (anonymous, file) = (range(slot), range(slot + HALF));
    let unmap = |range: AddrRange| Op::Munmap { addr: range.start(), len: range.len() };
    let map = |range: AddrRange, prot, flags| Op::Mmap {
        addr: range.start(),
        len: range.len(),
        prot: ProtArg(prot),
        flags: MapFlags(flags),
        fd: 3,
        offset: 0,
    };
    let mut outcome = Outcome::Done(0);
    let op = match (seq, seq.saturating_sub(2) % ROUND) {
        (0, _) => Op::Exec { old_mm: MmId(0) },
        (1, _) => Op::Snapshot {
            reason: SnapshotReason::Exec,
            rows: (0..HALF * 2).map(|slot| row(slot, name)).collect(),
        },
        (_, 0) => unmap(anonymous),
        (_, 1) => {
            outcome = Outcome::Done(anonymous.start().0);
            map(anonymous, 3, 0x32)
        }
        (_, 2) => {
            Op::Mprotect { addr: anonymous.start(), len: anonymous.len(), prot: ProtArg(1), pkey: None }
        }
        (_, 3) => unmap(file),
        (_, 4) => {
            outcome = Outcome::Done(file.start().0);
            map(file, 1, 0x12)
        }
        _ => Op::Observed { rows: vec![row(slot + HALF, name)], asked: file, late: false, in_flight: vec![] },
    };
    let at = 1_000_000_000 + seq * 3_000 + seq * 104_729 % 1_500;
    let took = if matches!(op, Op::Observed { .. }) { 0 } else { 700 + seq * 7_919 % 300 };
    Event {
        seq: Seq(seq),
        entered: MonoNs(at),
        left: MonoNs(at + took),
        task: TaskId { pid: Pid(1), tid: Tid(1), started: None },
        mm: MmId(1),
        op,
        outcome,
        stack: None,
        source: Source::Ptrace,
    }
}
