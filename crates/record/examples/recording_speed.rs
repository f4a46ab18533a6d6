//! What a large recording costs: how fast it is made, and how fast any moment of it is there again.
//!
//! `recording_speed make FOLDER EVENTS` makes one of calls over 10,000 living VMAs, with the keyframes that a model takes
//! of them, and prints events a second, or with a word after it (`events`, `memory`) that number first ·
//! `recording_speed read FOLDER [WHAT]` prints, or prints first, what it took: `open` ms, `seek` ms (99 of 100), `step` us
//! (99 of 100), `worst` us of a step, `back` us of 100,000 steps back, `memory` MiB.

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
    match words.as_slice() {
        ["make", folder, events, ..] => make(Path::new(folder), events.parse()?),
        ["read", folder, rest @ ..] => read(Path::new(folder), rest.first().copied()),
        _ => Err("usage: recording_speed make FOLDER EVENTS | read FOLDER [WHAT]".into()),
    }
}

fn make(folder: &Path, count: u64) -> Result<(), Box<dyn Error>> {
    let name = Name::new(b"/usr/lib/libexample.so.1");
    let meta = Meta { page_size: PAGE, program: "made".to_owned(), ..Meta::default() };
    let options = Options { existing: Existing::Replace, ..Options::default() };
    let mut writer = Writer::create(folder, meta, options)?;
    let mut spaces = Spaces::new(PageSize::FOUR_KIB);
    let (mut written, mut modelled) = (Duration::ZERO, Duration::ZERO);
    let mut keyframes = 0;
    let start = Instant::now();
    for first in (0..count).step_by(1000) {
        let events: Vec<Event> = (first..count.min(first + 1000)).map(|seq| event(seq, &name)).collect();
        let began = Instant::now();
        events.iter().for_each(|event| drop(spaces.event(event)));
        let applied = Instant::now();
        events.iter().for_each(|event| writer.event(event));
        modelled += applied - began;
        written += applied.elapsed();
        if (first + 1000) % KEYFRAME_EVERY == 0
            && let Some(keyframe) = events.last().and_then(|last| spaces.keyframe(last.seq, last.left))
        {
            let began = Instant::now();
            writer.keyframe(&keyframe);
            written += began.elapsed();
            keyframes += 1;
        }
    }
    let taken = start.elapsed();
    if let Some(error) = writer.take_failure() {
        return Err(error.into());
    }
    writer.finish(End::default())?;
    let per = |time: Duration| time.as_nanos() as f64 / count as f64;
    println!(
        "{:.0} events/s taken and written, without the model's {:.0} ns",
        1e9 / per(written),
        per(modelled)
    );
    println!("{:.0} ns per event in all, {:.0} until it was sealed", per(taken), per(start.elapsed()));
    println!("{keyframes} keyframes; most memory {:.1} MiB", most_memory()? as f64 / 1024.0);
    Ok(())
}

fn read(folder: &Path, what: Option<&str>) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let reader = Reader::open(folder)?;
    let opened = start.elapsed();
    let size = reader.size();
    let mut timeline = Timeline::open(reader, PageSize::FOUR_KIB, false)?;
    let first = start.elapsed();
    let last = timeline.last().ok_or("no events")?.0;
    let mut found: Vec<(&str, &str, f64)> =
        vec![("open", "ms", millis(opened)), ("first", "ms", millis(first))];
    let began = Instant::now();
    timeline.tree()?;
    found.push(("tree", "ms", millis(began.elapsed())));
    // What others do on the machine hits one of three, hardly all.
    let mut times = Times::default();
    for _ in 0..ROUNDS {
        times.least(&steps(&mut timeline, last)?);
    }
    let names = [
        ("seek", "ms", &mut times.seeks, 1e3),
        ("back", "us", &mut times.backs, 1e6),
        ("forward", "us", &mut times.forwards, 1e6),
        ("long-back", "us", &mut times.long_backs, 1e6),
        ("long-forward", "us", &mut times.long_forwards, 1e6),
    ];
    for (name, unit, times, scale) in names {
        times.sort_unstable();
        let at = |part: f64| {
            let index = (times.len() as f64 * part) as usize;
            times.get(index).or(times.last()).copied().unwrap_or_default().as_secs_f64() * scale
        };
        println!(
            "{name:14} p50 {:8.2}  p99 {:8.2}  p99.9 {:8.2}  worst {:8.2} {unit} of {}",
            at(0.5),
            at(0.99),
            at(0.999),
            at(1.0),
            times.len()
        );
    }
    for (moment, name) in [
        (Moment::Exec(1), "exec"),
        (Moment::Time(last / 3 * 1000), "time"),
        (Moment::Peak, "peak"),
        (Moment::Exit, "exit"),
    ] {
        let began = Instant::now();
        timeline.seek(&moment, Whose::First)?;
        found.push((name, "ms", millis(began.elapsed())));
    }
    found.push(("memory", "MiB", most_memory()? as f64 / 1024.0));
    found.push(("size", "MiB", size as f64 / 1024.0 / 1024.0));
    for (name, unit, value) in found {
        println!("{name:14} {value:10.3} {unit}");
    }
    let _ = what;
    Ok(())
}

/// What each of many seeks and steps took, in order.
#[derive(Default)]
struct Times {
    seeks: Vec<Duration>,
    /// After a seek.
    backs: Vec<Duration>,
    forwards: Vec<Duration>,
    /// One after another.
    long_backs: Vec<Duration>,
    long_forwards: Vec<Duration>,
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
            mine.iter_mut().zip(other).for_each(|(mine, other)| *mine = (*mine).min(*other));
        }
    }
}

/// Seeks and steps at places that are the same each time.
fn steps(timeline: &mut Timeline<Reader>, last: u64) -> Result<Times, Box<dyn Error>> {
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
    for _ in 0..100_000 {
        timed(&mut times.long_backs, || timeline.step_back(None).map(drop))?;
    }
    for _ in 0..150_000 {
        timed(&mut times.long_forwards, || timeline.step_forward(None).map(drop))?;
    }
    Ok(times)
}

fn timed<E>(times: &mut Vec<Duration>, work: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
    let start = Instant::now();
    work()?;
    times.push(start.elapsed());
    Ok(())
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// In KiB.
fn most_memory() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
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
