//! What steps over events cost that change a whole map at once: `large_events FOLDER [VMAS]`.
//!
//! Makes a recording in which each such event (a map read whole, one munmap of everything, a fork, ...) stands among calls of
//! one page in a map of 10,000 VMAs, and steps over all of it: on, back, and on again; and back from a seek behind
//! each. Told is the time on a CPU of the step that goes over the event, and of the longest step near it, in us; each was made
//! three times, and the least counts.

#![forbid(unsafe_code)]

use std::error::Error;
use std::path::Path;
use std::time::Duration;
use vmatlas_event::{
    Addr, AddrRange, Bytes, Dev, Event, ForkKind, MapFlags, MmId, MonoNs, Name, Op, Outcome, PageSize, Pid,
    Prot, ProtArg, Seq, SnapshotReason, Source, TaskId, Tid, VmaRow,
};
use vmatlas_model::Spaces;
use vmatlas_model::timeline::Timeline;
use vmatlas_record::{End, Existing, Meta, Options, Reader, Writer};

const BASE: u64 = 0x7f00_0000_0000;
const PAGE: u64 = 4096;
/// Calls before and after each large event.
const CALLS: u64 = 2400;
const KEYFRAME_EVERY: u64 = 5000;
const ROUNDS: usize = 3;

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (folder, vmas) = match words.as_slice() {
        [folder] => (Path::new(folder), 10_000),
        [folder, vmas] => (Path::new(folder), vmas.parse()?),
        _ => return Err("usage: large_events FOLDER [VMAS]".into()),
    };
    let large = Made::new(folder, vmas)?.make()?;
    let mut least: Vec<Vec<Duration>> = Vec::new();
    let mut places = Vec::new();
    for _ in 0..ROUNDS {
        let (costs, at) = walk(folder, &large)?;
        places = at;
        if least.is_empty() {
            least = costs;
            continue;
        }
        for (mine, other) in least.iter_mut().flatten().zip(costs.into_iter().flatten()) {
            *mine = (*mine).min(other);
        }
    }
    told(&large, &least, &places);
    Ok(())
}

/// A large event: what it is, and its number.
type Large = Vec<(&'static str, u64)>;

/// Ways over all of it.
const WAYS: [&str; 4] = ["on", "back", "again", "from a seek"];

fn told(large: &Large, costs: &[Vec<Duration>], places: &[Vec<(u64, u64)>]) {
    let us = |cost: Duration| cost.as_secs_f64() * 1e6;
    print!("{:34}", "over it, the longest near it");
    WAYS.iter().for_each(|way| print!(" {way:>15}"));
    println!();
    for (name, seq) in large {
        print!("{name:34}");
        for (costs, places) in costs.iter().zip(places) {
            let steps = || costs.iter().zip(places);
            let over = steps().filter(|(_, (low, high))| low < seq && seq <= high);
            let near =
                steps().filter(|(_, (low, high))| seq.abs_diff(*low).min(seq.abs_diff(*high)) <= CALLS / 2);
            let most = |of: Option<Duration>| of.map_or(0.0, us);
            print!(" {:7.0}{:8.0}", most(over.map(|(c, _)| *c).max()), most(near.map(|(c, _)| *c).max()));
        }
        println!();
    }
    print!("{:34}", "the longest of all");
    costs.iter().for_each(|costs| print!(" {:15.0}", costs.iter().max().copied().map_or(0.0, us)));
    println!();
}

/// What each step took, and from where to where it went, the lower number first.
type Walked = (Vec<Vec<Duration>>, Vec<Vec<(u64, u64)>>);

fn walk(folder: &Path, large: &Large) -> Result<Walked, Box<dyn Error>> {
    let mut timeline = Timeline::open(Reader::open(folder)?, PageSize::FOUR_KIB, false)?;
    let (mut costs, mut places) = (vec![Vec::new(); WAYS.len()], vec![Vec::new(); WAYS.len()]);
    let mut step = |timeline: &mut Timeline<Reader>, way: usize, on: bool| -> Result<bool, Box<dyn Error>> {
        let number = |timeline: &Timeline<Reader>| timeline.position().seq.map_or(0, |seq| seq.0);
        let (before, began) = (number(timeline), vmatlas_sys::thread_cpu_time());
        let goes_on = if on { timeline.step_forward(None)? } else { timeline.step_back(None)? };
        let took = vmatlas_sys::thread_cpu_time().saturating_sub(began);
        let after = number(timeline);
        if let (Some(costs), Some(places)) = (costs.get_mut(way), places.get_mut(way)) {
            costs.push(took);
            places.push((before.min(after), before.max(after)));
        }
        Ok(goes_on)
    };
    while step(&mut timeline, 0, true)? {}
    while step(&mut timeline, 1, false)? {}
    while step(&mut timeline, 2, true)? {}
    for (_, seq) in large {
        for behind in [3, CALLS / 2] {
            timeline.seek_event(Seq(seq + behind))?;
            for _ in 0..behind + CALLS / 2 {
                step(&mut timeline, 3, false)?;
            }
        }
    }
    Ok((costs, places))
}

struct Made {
    writer: Writer,
    spaces: Spaces,
    name: Name,
    vmas: u64,
    seq: u64,
    large: Large,
}

impl Made {
    fn new(folder: &Path, vmas: u64) -> Result<Made, Box<dyn Error>> {
        let meta = Meta { page_size: PAGE, program: "made".to_owned(), ..Meta::default() };
        let options = Options { existing: Existing::Replace, ..Options::default() };
        let writer = Writer::create(folder, meta, options)?;
        let (spaces, name) = (Spaces::new(PageSize::FOUR_KIB), Name::new(b"/usr/lib/libexample.so.1"));
        Ok(Made { writer, spaces, name, vmas, seq: 0, large: Vec::new() })
    }

    fn make(mut self) -> Result<Large, Box<dyn Error>> {
        let (one, two, three) = (MmId(1), MmId(2), MmId(3));
        let child = TaskId { pid: Pid(2), tid: Tid(2), started: None };
        let fork = |child_mm| Op::Fork { kind: ForkKind::Process, child, child_mm };
        let exit = Op::Exit { status: Some(0), signal: None, last: true };
        let end = AddrRange::from_len(Addr(BASE), Bytes(self.vmas * 2 * PAGE)).ok_or("too many")?;
        let everything = Op::Munmap { addr: end.start(), len: end.len() };
        let protected = Op::Mprotect { addr: end.start(), len: end.len(), prot: ProtArg(3), pkey: None };

        self.event(one, Op::Exec { old_mm: MmId(0) });
        let rows = self.rows(0);
        self.large("a map that is read, the first", one, snapshot(SnapshotReason::Exec, rows));
        let rows = self.rows(0);
        self.large("the same map again", one, snapshot(SnapshotReason::Reconcile, rows));
        let mut rows = self.rows(0);
        let label = Some(Name::new(b"[anon:x]"));
        rows.first_mut().into_iter().for_each(|row| row.name.clone_from(&label));
        rows.last_mut().into_iter().for_each(|row| row.name.clone_from(&label));
        self.large("again, its first and last other", one, snapshot(SnapshotReason::Reconcile, rows));
        let rows = self.rows(0);
        self.large("again, as at first", one, snapshot(SnapshotReason::Unclear, rows));
        let rows = self.rows(1);
        self.large("again, each VMA another", one, snapshot(SnapshotReason::Unclear, rows));
        let rows = self.rows(0);
        self.large("again, each VMA another", one, snapshot(SnapshotReason::Check, rows));
        self.large("mprotect of everything", one, protected);
        self.large("munmap of everything", one, everything);
        let rows = self.rows(0);
        self.large("a map that is read, of nothing", one, snapshot(SnapshotReason::Unclear, rows));
        self.large("a question about everything", one, Op::Mlockall { flags: 1 });
        let observed = |rows| Op::Observed { rows, asked: AddrRange::ALL, late: false, in_flight: vec![] };
        let rows = self.rows(0);
        self.large("its answer, the same", one, observed(rows));
        self.event(one, Op::Mlockall { flags: 1 });
        let rows = self.rows(1);
        self.large("its answer, each VMA another", one, observed(rows));
        let rows = self.rows(0);
        self.large("again, each VMA another", one, snapshot(SnapshotReason::Unclear, rows));
        self.large("a fork", one, fork(two));
        let mut rows = self.rows(0);
        rows.remove(5);
        self.large_of("the child's map", child, two, snapshot(SnapshotReason::Fork, rows));
        self.large_of("the child's end", child, two, exit.clone());
        self.large("exec", three, Op::Exec { old_mm: one });
        let rows = self.rows(0);
        self.large("its map", three, snapshot(SnapshotReason::Exec, rows));
        let (from, to) = (MonoNs(self.seq * 3000), MonoNs(self.seq * 3000 + 1));
        let state = self.spaces.keyframe(Seq(self.seq), to).map(Box::new);
        self.large("a loss, a state after it", three, Op::Lost { count: Some(9), from, to, state });
        self.large("a loss, nothing after it", three, Op::Lost { count: Some(9), from, to, state: None });
        let rows = self.rows(0);
        self.large("a map that is read after that", three, snapshot(SnapshotReason::Unclear, rows));
        self.large("the end", three, exit);
        if let Some(error) = self.writer.take_failure() {
            return Err(error.into());
        }
        self.writer.finish(End::default())?;
        Ok(self.large)
    }

    /// Anonymous and file VMAs in turn, a page and a hole each; all of them other ones where `kind` is another.
    fn rows(&self, kind: u64) -> Vec<VmaRow> {
        let row = |slot: u64| {
            let row = VmaRow::anonymous(range(slot), Prot::READ);
            if slot % 2 != kind {
                return row;
            }
            VmaRow { dev: Dev { major: 8, minor: 1 }, inode: slot + 1, name: Some(self.name.clone()), ..row }
        };
        (0..self.vmas).map(row).collect()
    }

    fn large(&mut self, name: &'static str, mm: MmId, op: Op) {
        self.large_of(name, TaskId { pid: Pid(1), tid: Tid(1), started: None }, mm, op);
    }

    fn large_of(&mut self, name: &'static str, task: TaskId, mm: MmId, op: Op) {
        // A question waits for its answer: nothing comes between them.
        let asks = matches!(op, Op::Mlockall { .. });
        self.large.push((name, self.seq));
        self.event_of(task, mm, op);
        for turn in 0..if asks { 0 } else { CALLS / 2 } {
            // Above all others.
            let range = range(self.vmas + 1 + turn % 7 * 2);
            let (addr, len) = (range.start(), range.len());
            let (prot, flags) = (ProtArg(3), MapFlags(0x32));
            self.event(MmId(mm.0), Op::Mmap { addr, len, prot, flags, fd: -1, offset: 0 });
            self.event(MmId(mm.0), Op::Munmap { addr, len });
        }
    }

    fn event(&mut self, mm: MmId, op: Op) {
        self.event_of(TaskId { pid: Pid(1), tid: Tid(1), started: None }, mm, op);
    }

    fn event_of(&mut self, task: TaskId, mm: MmId, op: Op) {
        let at = MonoNs(1_000_000_000 + self.seq * 3_000);
        let outcome = Outcome::Done(if let Op::Mmap { addr, .. } = op { addr.0 } else { 0 });
        let (seq, stack, source) = (Seq(self.seq), None, Source::Ptrace);
        let event =
            Event { seq, entered: at, left: MonoNs(at.0 + 700), task, mm, op, outcome, stack, source };
        self.spaces.event(&event);
        self.writer.event(&event);
        let is_loss = matches!(event.op, Op::Lost { .. });
        self.seq += 1;
        // A loss has one right after it.
        if (self.seq.is_multiple_of(KEYFRAME_EVERY) || is_loss)
            && let Some(keyframe) = self.spaces.keyframe(event.seq, event.left)
        {
            self.writer.keyframe(&keyframe);
        }
    }
}

fn snapshot(reason: SnapshotReason, rows: Vec<VmaRow>) -> Op {
    Op::Snapshot { reason, rows }
}

fn range(slot: u64) -> AddrRange {
    AddrRange::from_len(Addr(BASE + slot * 2 * PAGE), Bytes(PAGE)).unwrap_or(AddrRange::ALL)
}
