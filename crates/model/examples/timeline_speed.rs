//! What time travel costs, without the cost of reading: 10,000,000 events over 10,000 VMAs, made on demand.
//!
//! `timeline_speed [DISTANCE...]`: for each distance between keyframes, what opening, seeking, stepping and finding a peak
//! take, and the most memory so far. Half of the VMAs are anonymous, half are files that the kernel is asked about.

#![forbid(unsafe_code)]

use std::error::Error;
use std::time::{Duration, Instant};
use vmatlas_event::{
    Addr, AddrRange, Bytes, Dev, Event, EventSource, Keyframe, MapFlags, MmId, MonoNs, Name, Op, Outcome,
    PageSize, Pid, Prot, ProtArg, Seq, SnapshotReason, Source, SpaceState, TaskId, Tid, VmaRow,
};
use vmatlas_model::timeline::{Moment, Timeline, TimelineError, Whose};

const EVENTS: u64 = 10_000_000;
/// VMAs of each of the two sorts.
const HALF: u64 = 5_000;
const BASE: u64 = 0x7f00_0000_0000;
const PAGE: u64 = 4096;
/// Events in one round: an anonymous VMA and a file go and come back.
const ROUND: u64 = 6;
/// Has nothing in common with [`HALF`], so each slot comes once in so many rounds.
const FACTOR: u64 = 3_781;

fn main() -> Result<(), Box<dyn Error>> {
    let mut distances: Vec<u64> = Vec::new();
    for arg in std::env::args().skip(1) {
        distances.push(arg.parse()?);
    }
    if distances.is_empty() {
        distances = vec![1_000, 5_000, 20_000];
    }
    let mut machine = Machine::new(ROUND);
    let start = Instant::now();
    const REPLAYED: u64 = 1_000_000;
    let mut seen = 0;
    machine.events(Seq(0), &mut |event| {
        seen += event.seq.0 & 1;
        event.seq.0 < REPLAYED
    })?;
    println!("events made, not read: {:.0} ns each ({seen} odd)", nanos(start.elapsed()) / REPLAYED as f64);
    check()?;
    for distance in distances {
        measure(distance)?;
    }
    Ok(())
}

/// The keyframes made here are those of the model.
fn check() -> Result<(), Box<dyn Error>> {
    let mut timeline =
        Timeline::open(Machine { last: 30_001, ..Machine::new(6_000) }, PageSize::FOUR_KIB, false)?;
    let found = timeline.verify(|_| true)?;
    if (found.keyframes, found.wrong_keyframes, found.tally.drift) != (5, 0, 0) {
        return Err(format!("{found:?}").into());
    }
    Ok(())
}

fn measure(distance: u64) -> Result<(), Box<dyn Error>> {
    let mut machine = Machine::new(distance / ROUND * ROUND);
    let mut random = Random(1);
    let mut made: Vec<Duration> = Vec::new();
    for _ in 0..100 {
        let start = Instant::now();
        machine.keyframe(Seq(random.below(EVENTS)))?;
        made.push(start.elapsed());
    }
    let start = Instant::now();
    let mut timeline = Timeline::open(machine, PageSize::FOUR_KIB, false)?;
    timeline.seek(&Moment::Exit, Whose::First)?;
    println!("\nkeyframe every {distance} events; open at the exit: {:.2} ms", nanos(start.elapsed()) / 1e6);
    told("a keyframe made by the source", made);
    let mut seeks = Vec::new();
    let mut backs = Vec::new();
    let mut forwards = Vec::new();
    for _ in 0..500 {
        let to = Seq(random.below(EVENTS));
        let start = Instant::now();
        timeline.seek_event(to)?;
        seeks.push(start.elapsed());
        for _ in 0..20 {
            timed(&mut backs, || timeline.step_back(None))?;
        }
        for _ in 0..20 {
            timed(&mut forwards, || timeline.step_forward(None))?;
        }
    }
    told("seek to any event", seeks);
    // What others do on the machine hits one of three, hardly all: this is nearer to what a seek itself takes.
    let mut best = Vec::new();
    for _ in 0..500 {
        let to = Seq(random.below(EVENTS));
        let mut times = Vec::new();
        for _ in 0..3 {
            timeline.seek_event(Seq((to.0 + EVENTS / 2) % EVENTS))?;
            let start = Instant::now();
            timeline.seek_event(to)?;
            times.push(start.elapsed());
        }
        best.extend(times.into_iter().min());
    }
    told("seek to any event, the best of three each", best);
    told("step back, 20 after a seek", backs);
    told("step forward", forwards);
    timeline.seek_event(Seq(EVENTS / 2))?;
    let mut long = Vec::new();
    for _ in 0..100_000 {
        timed(&mut long, || timeline.step_back(None))?;
    }
    told("step back, 100,000 in a row", long);
    let start = Instant::now();
    let spot = timeline.seek(&Moment::Peak, Whose::First)?;
    println!("  peak found at {}: {:.2} ms", spot.seq, nanos(start.elapsed()) / 1e6);
    println!("  most memory so far: {:.0} MiB", most_memory()? as f64 / 1024.0);
    Ok(())
}

fn timed(
    times: &mut Vec<Duration>,
    step: impl FnOnce() -> Result<bool, TimelineError<Never>>,
) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    step()?;
    times.push(start.elapsed());
    Ok(())
}

fn told(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |part: f64| {
        times.get((times.len() as f64 * part) as usize).or(times.last()).copied().unwrap_or_default()
    };
    let ms = |time: Duration| nanos(time) / 1e6;
    println!(
        "  {what}: p50 {:.4} ms, p99 {:.4} ms, most {:.4} ms ({} times)",
        ms(at(0.5)),
        ms(at(0.99)),
        ms(at(1.0)),
        times.len()
    );
}

fn nanos(time: Duration) -> f64 {
    time.as_nanos() as f64
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

/// Cannot happen.
#[derive(Clone, Copy, Debug)]
enum Never {}

impl std::fmt::Display for Never {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {}
    }
}

impl Error for Never {}

/// A recording that is made when it is read.
struct Machine {
    distance: u64,
    last: u64,
    name: Name,
    /// In which round, of each [`HALF`] rounds, a slot's turn is.
    turns: Vec<u64>,
}

impl Machine {
    fn new(distance: u64) -> Machine {
        let mut turns = vec![0; HALF as usize];
        for turn in 0..HALF {
            turns[(turn * FACTOR % HALF) as usize] = turn;
        }
        Machine {
            distance: distance.max(ROUND),
            last: EVENTS - 1,
            name: Name::new(b"/usr/lib/libexample.so.1"),
            turns,
        }
    }

    /// Anonymous VMAs, then files, one page and a hole each.
    fn range(slot: u64) -> AddrRange {
        let start = Addr(BASE + slot * 2 * PAGE);
        AddrRange::from_len(start, Bytes(PAGE)).unwrap_or(AddrRange::ALL)
    }

    fn row(&self, slot: u64) -> VmaRow {
        let row = VmaRow::anonymous(Machine::range(slot), Prot::READ);
        if slot < HALF {
            return row;
        }
        VmaRow { dev: Dev { major: 8, minor: 1 }, inode: slot, name: Some(self.name.clone()), ..row }
    }

    fn rows(&self) -> Vec<VmaRow> {
        (0..HALF * 2).map(|slot| self.row(slot)).collect()
    }

    fn event(&self, seq: u64) -> Event {
        let turn = seq.saturating_sub(2) / ROUND;
        let slot = turn * FACTOR % HALF;
        let (anonymous, file) = (Machine::range(slot), Machine::range(slot + HALF));
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
            (1, _) => Op::Snapshot { reason: SnapshotReason::Exec, rows: self.rows() },
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
            _ => Op::Observed {
                rows: vec![self.row(slot + HALF)],
                asked: file,
                late: false,
                in_flight: vec![],
            },
        };
        Event {
            seq: Seq(seq),
            entered: MonoNs(seq * 1000),
            left: MonoNs(seq * 1000 + 500),
            task: TaskId { pid: Pid(1), tid: Tid(1), started: None },
            mm: MmId(1),
            op,
            outcome,
            stack: None,
            source: Source::Ptrace,
        }
    }
}

impl EventSource for Machine {
    type Error = Never;

    fn events(&mut self, from: Seq, found: &mut dyn FnMut(Event) -> bool) -> Result<(), Never> {
        for seq in from.0..=self.last {
            if !found(self.event(seq)) {
                break;
            }
        }
        Ok(())
    }

    fn keyframe(&mut self, at: Seq) -> Result<Option<Keyframe>, Never> {
        let rounds = at.0.saturating_sub(1) / self.distance * (self.distance / ROUND);
        if rounds == 0 {
            return Ok(None);
        }
        let after = 1 + rounds * ROUND;
        let origin = |slot: u64| {
            let turn = self.turns.get((slot % HALF) as usize).copied().unwrap_or_default();
            let mapped = if slot < HALF { 1 } else { 4 };
            match (rounds - 1).checked_sub(turn) {
                Some(since) => Seq(2 + (turn + since / HALF * HALF) * ROUND + mapped),
                None => Seq(1),
            }
        };
        let task = TaskId { pid: Pid(1), tid: Tid(1), started: None };
        let state = SpaceState {
            mm: MmId(1),
            users: vec![task],
            rows: self.rows(),
            origins: (0..HALF * 2).map(|slot| (Machine::range(slot), origin(slot))).collect(),
            brk: None,
            peak: Bytes(HALF * 2 * PAGE),
            grows: Vec::new(),
            distrust: false,
            userfaultfds: Vec::new(),
            recent: Vec::new(),
        };
        Ok(Some(Keyframe { after: Seq(after), at: MonoNs(after * 1000 + 500), spaces: vec![state] }))
    }

    fn last(&self) -> Option<Seq> {
        Some(Seq(self.last))
    }

    fn landmarks(&mut self, found: &mut dyn FnMut(Event) -> bool) -> Result<(), Never> {
        for seq in 0..2 {
            let mut event = self.event(seq);
            if let Op::Snapshot { rows, .. } = &mut event.op {
                rows.clear();
            }
            if !found(event) {
                break;
            }
        }
        Ok(())
    }
}
