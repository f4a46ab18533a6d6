//! What the model alone costs, for the benchmark: 60,000 VMAs, and calls at random places or at one.
//!
//! `model_speed WHO WHAT`: WHO is `apply` (AddressSpace::apply), `undo` (the same, and all of it undone, latest first),
//! `spaces` (Spaces::event, the kernel's answer to each question included) or `btrees` (two bare BTreeMaps doing the same inserts and removals); WHAT is `random` or
//! `one-place`, which print nanoseconds a call and calls a second, or `memory`, which prints bytes a VMA: after the map was
//! read, and after calls at random places. To be told the truth about memory, set MALLOC_MMAP_THRESHOLD_=65536: what
//! is freed then goes back at once.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::time::Instant;
use vmatlas_event::{
    Addr, AddrRange, Bytes, Event, MapFlags, MmId, MonoNs, Op, Outcome, PageSize, Pid, Prot, ProtArg, Seq,
    SnapshotReason, Source, TaskId, Tid, VmaRow,
};
use vmatlas_model::{AddressSpace, Change, Spaces};

/// As many as fit below the kernel's default limit of 65,530.
const VMAS: u64 = 60_000;
const BASE: u64 = 0x7f00_0000_0000;
const PAGE: u64 = 4096;
/// Calls in one list; the list leaves the map as it was, so that it can be repeated.
const CALLS: usize = 60_000;
const LISTS: usize = 20;

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let args: Vec<String> = std::env::args().collect();
    let [_, who, what] = args.as_slice() else { return Err(usage()) };
    let mut model: Box<dyn Model> = match who.as_str() {
        "apply" => Box::new(AddressSpace::new(PageSize::FOUR_KIB)),
        "undo" => Box::new(Undo(AddressSpace::new(PageSize::FOUR_KIB))),
        "spaces" => Box::new(Spaces::new(PageSize::FOUR_KIB)),
        "btrees" => Box::new(Trees::default()),
        _ => return Err(usage()),
    };
    let calls = match what.as_str() {
        "random" | "memory" => at_random_places(),
        "one-place" => at_one_place(),
        _ => return Err(usage()),
    };
    let map = event(Op::Snapshot { reason: SnapshotReason::Request, rows: (0..VMAS).map(row).collect() }, 0);
    let bare = rss()?;
    model.take(std::slice::from_ref(&map));
    let per_vma = |now: u64| now.saturating_sub(bare) as f64 / VMAS as f64;
    let read = per_vma(rss()?);
    // Once to warm up, then the median of many.
    model.take(&calls);
    if what == "memory" {
        println!("{:.1} {read:.1}", per_vma(rss()?).max(read));
        return Ok(());
    }
    let mut took: Vec<f64> = (0..LISTS)
        .map(|_| {
            let start = Instant::now();
            model.take(&calls);
            start.elapsed().as_nanos() as f64 / calls.len() as f64
        })
        .collect();
    took.sort_by(f64::total_cmp);
    let median = took[LISTS / 2];
    println!("{median:.1} {:.0}", 1e9 / median);
    Ok(())
}

fn usage() -> Error {
    "model_speed apply|undo|spaces|btrees random|one-place|memory".into()
}

/// Something that keeps a map.
trait Model {
    /// Takes events, and makes what it makes of them.
    fn take(&mut self, events: &[Event]);
}

impl Model for AddressSpace {
    fn take(&mut self, events: &[Event]) {
        for event in events {
            std::hint::black_box(&self.apply(event));
        }
    }
}

/// A space that always goes back to the map it was given.
struct Undo(AddressSpace);

impl Model for Undo {
    fn take(&mut self, events: &[Event]) {
        let changes: Vec<Change> = events.iter().map(|event| self.0.apply(event).change).collect();
        if !matches!(events, [Event { op: Op::Snapshot { .. }, .. }]) {
            changes.iter().rev().for_each(|change| self.0.undo(change));
        }
    }
}

impl Model for Spaces {
    fn take(&mut self, events: &[Event]) {
        for event in events {
            for asked in self.event(event).ask {
                let rows = self.get(event.mm).and_then(|space| space.vma_at(asked.start())).cloned();
                let op = Op::Observed {
                    rows: rows.into_iter().collect(),
                    asked,
                    late: false,
                    in_flight: Vec::new(),
                };
                std::hint::black_box(self.event(&Event { op, ..event.clone() }));
            }
        }
    }
}

/// The two maps of a model, bare: rows and origins by where they start. It is told nothing but whole rows.
#[derive(Default)]
struct Trees {
    vmas: BTreeMap<u64, VmaRow>,
    origins: BTreeMap<u64, (AddrRange, Seq)>,
}

impl Trees {
    fn map(&mut self, row: VmaRow, seq: Seq) {
        let start = row.range.start().0;
        self.origins.insert(start, (row.range, seq));
        self.vmas.insert(start, row);
    }
}

impl Model for Trees {
    fn take(&mut self, events: &[Event]) {
        for event in events {
            match &event.op {
                Op::Snapshot { rows, .. } => rows.iter().for_each(|row| self.map(row.clone(), event.seq)),
                Op::Mmap { addr, len, prot, .. } => {
                    if let Some(range) = AddrRange::from_len(*addr, *len) {
                        self.map(VmaRow::anonymous(range, Prot::from_arg(*prot)), event.seq);
                    }
                }
                Op::Munmap { addr, .. } => {
                    std::hint::black_box((self.vmas.remove(&addr.0), self.origins.remove(&addr.0)));
                }
                Op::Mprotect { addr, prot, .. } => {
                    if let Some(row) = self.vmas.get_mut(&addr.0) {
                        row.prot = Prot::from_arg(*prot);
                    }
                }
                _ => {}
            }
        }
    }
}

/// Every other page may be written to, so that no two are one VMA.
fn prot(page: u64) -> u64 {
    if page.is_multiple_of(2) { 3 } else { 1 }
}

fn row(page: u64) -> VmaRow {
    let start = BASE + page * PAGE;
    let range = AddrRange::from_len(Addr(start), Bytes(PAGE)).unwrap_or(AddrRange::ALL);
    VmaRow::anonymous(range, Prot::from_arg(ProtArg(prot(page))))
}

fn munmap(page: u64) -> Op {
    Op::Munmap { addr: Addr(BASE + page * PAGE), len: Bytes(PAGE) }
}

fn mprotect(page: u64, prot: u64) -> Op {
    Op::Mprotect { addr: Addr(BASE + page * PAGE), len: Bytes(PAGE), prot: ProtArg(prot), pkey: None }
}

fn mmap(page: u64) -> Op {
    let (addr, len, prot) = (Addr(BASE + page * PAGE), Bytes(PAGE), ProtArg(prot(page)));
    // PRIVATE, FIXED, ANONYMOUS.
    Op::Mmap { addr, len, prot, flags: MapFlags(0x32), fd: -1, offset: 0 }
}

/// Equally many of the three calls, each at a place that has nothing to do with the one before; a thousand pages are
/// unmapped at a time, and none in the end.
fn at_random_places() -> Vec<Event> {
    const HOLES: usize = 1000;
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut holes = Vec::new();
    let mut mapped = vec![true; VMAS as usize];
    let mut ops = Vec::new();
    while ops.len() < CALLS {
        let page = random.below(VMAS);
        if !mapped[page as usize] {
            continue;
        }
        mapped[page as usize] = false;
        holes.push(page);
        ops.push(munmap(page));
        if holes.len() > HOLES {
            let page = holes.swap_remove(random.below(holes.len() as u64) as usize);
            mapped[page as usize] = true;
            ops.push(mmap(page));
        }
        let page = random.below(VMAS);
        if mapped[page as usize] {
            // It is executable then too, or not any more: its neighbours are neither.
            let exec = if random.below(2) == 0 { 4 } else { 0 };
            ops.push(mprotect(page, prot(page) | exec));
        }
    }
    ops.extend(holes.into_iter().map(mmap));
    (1..).zip(ops).map(|(seq, op)| event(op, seq)).collect()
}

fn at_one_place() -> Vec<Event> {
    let page = VMAS / 3;
    let round = || [munmap(page), mmap(page), mprotect(page, prot(page) | 4)];
    let ops = std::iter::repeat_with(round).flatten().take(CALLS / 3 * 3);
    (1..).zip(ops).map(|(seq, op)| event(op, seq)).collect()
}

fn event(op: Op, seq: u64) -> Event {
    let outcome = match op {
        Op::Mmap { addr, .. } => Outcome::Done(addr.0),
        _ => Outcome::Done(0),
    };
    let task = TaskId { pid: Pid(1), tid: Tid(1), started: None };
    let (entered, left) = (MonoNs(seq * 2), MonoNs(seq * 2 + 1));
    let (mm, stack, source) = (MmId(1), None, Source::Ptrace);
    Event { seq: Seq(seq), entered, left, task, mm, op, outcome, stack, source }
}

/// xorshift64*: the same places in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) % limit
    }
}

/// Our resident size in bytes.
fn rss() -> Result<u64, Error> {
    let status = std::fs::read("/proc/self/status")?;
    Ok(vmatlas_proc::parse::status::parse(&status).vm_rss.ok_or("no VmRSS")?.0)
}
