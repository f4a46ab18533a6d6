//! Page faults: which event had made the pages that were touched.
//!
//! A fault changes no map. It is joined to what the map is when it comes: the tracer tells a touch after the call that
//! made the pages, and before the one that takes them away.

use crate::progress::Done;
use crate::space::AddressSpace;
use crate::spaces::Spaces;
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;
use vmatlas_event::{
    Addr, AddrRange, Bytes, Event, MonoNs, Op, Outcome, PageSize, Seq, SnapshotReason, Source, VmaRow,
};

/// Whether an event is about page faults alone: one, or that some were lost.
pub(crate) fn changes_no_map(event: &Event) -> bool {
    match event.op {
        Op::Fault { .. } => true,
        Op::Lost { .. } => event.source == Source::Perf,
        _ => false,
    }
}

/// What a fault met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultPlace<'a> {
    /// The VMA that holds the page; where a stack has grown since the map was read, that stack.
    pub row: Option<&'a VmaRow>,
    /// The event that made the page.
    pub origin: Option<Seq>,
}

/// The page that holds an address.
pub(crate) fn page_of(page: PageSize, addr: Addr) -> Addr {
    Addr(addr.0 & !(page.bytes() - 1))
}

/// What is at an address that was touched: after the fault, and so with what grew by it.
pub fn fault_place(space: &AddressSpace, addr: Addr) -> FaultPlace<'_> {
    let page = AddrRange::from_len(page_of(space.page, addr), Bytes(space.page.bytes()));
    let at = match space.vma_at(addr) {
        Some(_) => Some(addr),
        // What grows down by a touch grows without a call: the next whole reading shows it.
        None => page.and_then(|page| space.hole_below_growing(page)).map(|hole| hole.end()),
    };
    let Some(at) = at else { return FaultPlace::default() };
    FaultPlace { row: space.vma_at(at), origin: space.origin_of(at) }
}

/// The event that made the page of an address that was touched: one look where `fault_place` takes three.
fn fault_origin(space: &AddressSpace, addr: Addr) -> Option<Seq> {
    space.origin_of(addr).or_else(|| fault_place(space, addr).origin)
}

/// By what the pages were made that faults touched.
#[derive(Clone, Debug, PartialEq)]
pub enum TouchedBy {
    /// A call, or what was seen of it.
    Call {
        /// What it was.
        op: Box<Op>,
        /// How it ended.
        outcome: Outcome,
    },
    /// The start of a program: its file, its loader, its first stack.
    Exec,
    /// Somebody before we came.
    BeforeAttach,
    /// A fork, where the parent's own origin is not known.
    Fork,
    /// Something that no call did, or that is not known.
    Unknown,
}

/// The faults on what one event made.
#[derive(Clone, Debug, PartialEq)]
pub struct Touched {
    /// The event.
    pub origin: Option<Seq>,
    /// What it was.
    pub by: TouchedBy,
    /// How much it asked for, or mapped where its arguments do not say; `None` where that is not known.
    pub asked: Option<Bytes>,
    /// Faults that needed no disk.
    pub minor: u64,
    /// Faults that had to wait for one.
    pub major: u64,
    /// The first of them.
    pub first: MonoNs,
}

impl Touched {
    /// All of them.
    pub fn faults(&self) -> u64 {
        self.minor.saturating_add(self.major)
    }
}

/// What is known of an event that made pages.
#[derive(Clone, Debug)]
struct Maker {
    by: TouchedBy,
    asked: Bytes,
}

/// Sums of faults by the event that had made the pages.
///
/// Its memory is that of the calls whose pages are still mapped or were ever touched.
#[derive(Clone, Debug, Default)]
pub struct FaultSums {
    makers: FxHashMap<Seq, Maker>,
    touched: FxHashMap<Option<Seq>, Touched>,
    /// Makers are looked through once there are so many.
    prune_at: usize,
}

impl FaultSums {
    /// Takes note of a finished event that is no fault.
    pub fn made(&mut self, done: &Done, spaces: &Spaces) {
        let event = &done.event;
        let by = match &event.op {
            Op::Snapshot { reason: SnapshotReason::Exec, .. } => TouchedBy::Exec,
            Op::Snapshot { reason: SnapshotReason::Attach, .. } => TouchedBy::BeforeAttach,
            Op::Snapshot { reason: SnapshotReason::Fork, .. } => TouchedBy::Fork,
            Op::Snapshot { .. } | Op::Observed { .. } => TouchedBy::Unknown,
            op if op.is_call() => TouchedBy::Call { op: Box::new(op.clone()), outcome: event.outcome },
            _ => return,
        };
        let asked = match &event.op {
            Op::Snapshot { rows, .. } => rows.iter().map(|row| row.range.len()).sum(),
            // What it added may be less: an answer to another thread may have had its pages already.
            Op::Mmap { len, .. } | Op::Mremap { new_len: len, .. }
                if matches!(event.outcome, Outcome::Done(_)) =>
            {
                spaces.page.round_up(*len).unwrap_or(*len)
            }
            _ => done.bytes().0,
        };
        // Where the kernel's answer told what the call had made, its pages are the answer's.
        let made = done.change.origins_after.iter().map(|origin| origin.seq).filter(|seq| *seq >= event.seq);
        let made: SmallVec<[Seq; 2]> = made.chain((asked.0 > 0).then_some(event.seq)).collect();
        for seq in made {
            self.makers.insert(seq, Maker { by: by.clone(), asked });
        }
        if self.makers.len() >= self.prune_at.max(1 << 16) {
            let alive: FxHashSet<Seq> = spaces
                .alive()
                .into_iter()
                .filter_map(|mm| spaces.get(mm))
                .flat_map(|s| s.origins().map(|o| o.seq))
                .collect();
            self.makers.retain(|seq, _| alive.contains(seq));
            self.prune_at = 2 * self.makers.len();
        }
    }

    /// Adds a fault.
    pub fn fault(&mut self, event: &Event, spaces: &Spaces) {
        let Op::Fault { addr, major, .. } = event.op else { return };
        let origin = spaces.get(event.mm).and_then(|space| fault_origin(space, addr));
        let makers = &self.makers;
        let touched = self.touched.entry(origin).or_insert_with(|| {
            let maker = origin.and_then(|seq| makers.get(&seq));
            let by = maker.map_or(TouchedBy::Unknown, |maker| maker.by.clone());
            let asked = maker.map(|maker| maker.asked);
            Touched { origin, by, asked, minor: 0, major: 0, first: event.entered }
        });
        if major {
            touched.major += 1;
        } else {
            touched.minor += 1;
        }
    }

    /// All of them, most faults first; those of the same number in the order of their origins.
    pub fn sorted(&self) -> Vec<&Touched> {
        let mut all: Vec<&Touched> = self.touched.values().collect();
        all.sort_by_key(|touched| (std::cmp::Reverse(touched.faults()), touched.origin));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmatlas_event::*;

    const PAGE: u64 = 4096;

    fn event(seq: u64, op: Op, outcome: Outcome, source: Source) -> Event {
        Event {
            seq: Seq(seq),
            entered: MonoNs(seq),
            left: MonoNs(seq),
            task: TaskId { pid: Pid(1), tid: Tid(1), started: None },
            mm: MmId(1),
            op,
            outcome,
            stack: None,
            source,
        }
    }

    fn fault(seq: u64, addr: u64, major: bool) -> Event {
        let op = Op::Fault { addr: Addr(addr), ip: Some(Addr(0x42)), major };
        event(seq, op, Outcome::Done(0), Source::Perf)
    }

    fn mmap(seq: u64, pages: u64, at: u64) -> Event {
        let op = Op::Mmap {
            addr: Addr(0),
            len: Bytes(pages * PAGE),
            prot: ProtArg(3),
            flags: MapFlags(0x22),
            fd: -1,
            offset: 0,
        };
        event(seq, op, Outcome::Done(at), Source::Ptrace)
    }

    struct Run {
        spaces: Spaces,
        sums: FaultSums,
    }

    impl Run {
        fn new() -> Run {
            Run { spaces: Spaces::new(PageSize::new(PAGE).unwrap()), sums: FaultSums::default() }
        }

        fn take(&mut self, event: &Event) {
            let progress = self.spaces.event(event);
            match event.op {
                Op::Fault { .. } => self.sums.fault(event, &self.spaces),
                _ => progress.done.iter().for_each(|done| self.sums.made(done, &self.spaces)),
            }
            if let Some(asked) = progress.ask.first() {
                let rows = self.spaces.get(event.mm).map(|s| s.rows(*asked)).unwrap_or_default();
                let op = Op::Observed { rows, asked: *asked, late: false, in_flight: vec![] };
                self.take(&Event { seq: Seq(event.seq.0 + 1), op, ..event.clone() });
            }
        }
    }

    /// Checks that faults are summed up by the call that made their pages, also where two calls made one VMA, and that a
    /// touch of nothing known is nobody's.
    #[test]
    fn faults_belong_to_calls() {
        let mut run = Run::new();
        run.take(&mmap(1, 4, 0x10000));
        run.take(&mmap(5, 4, 0x14000));
        for (seq, addr) in [(10, 0x10000), (11, 0x13fff), (12, 0x14008)] {
            run.take(&fault(seq, addr, seq == 12));
        }
        run.take(&fault(13, 0x9000_0000, false));
        let sorted = run.sums.sorted();
        let told: Vec<_> = sorted.iter().map(|t| (t.origin, t.minor, t.major, t.asked, t.first.0)).collect();
        let asked = Some(Bytes(4 * PAGE));
        let expected =
            [(Some(Seq(1)), 2, 0, asked, 10), (None, 1, 0, None, 13), (Some(Seq(5)), 0, 1, asked, 12)];
        assert_eq!(told, expected);
        assert!(matches!(&sorted[0].by, TouchedBy::Call { op, .. } if op.kind() == OpKind::Mmap));
    }

    /// Checks that a touch below a stack that grows is one of that stack.
    #[test]
    fn a_stack_grows_by_a_touch() {
        let mut run = Run::new();
        let stack = VmaRow {
            name: Some(Name::new(b"[stack]")),
            ..VmaRow::anonymous(
                AddrRange::new(Addr(0x7000_0000), Addr(0x7000_2000)).unwrap(),
                Prot::new(true, true, false),
            )
        };
        let op = Op::Snapshot { reason: SnapshotReason::Exec, rows: vec![stack] };
        run.take(&event(1, op, Outcome::Done(0), Source::Ptrace));
        run.take(&fault(2, 0x6fff_f000, false));
        let sorted = run.sums.sorted();
        assert_eq!((sorted[0].origin, &sorted[0].by), (Some(Seq(1)), &TouchedBy::Exec));
    }

    /// Checks that neither a fault nor lost ones take anything from the model, nor the answer from a call that waits.
    #[test]
    fn faults_change_nothing() {
        let mut run = Run::new();
        run.take(&mmap(1, 4, 0x10000));
        let before = run.spaces.keyframe(Seq(3), MonoNs(3));
        run.take(&fault(4, 0x10000, false));
        let lost = Op::Lost { count: Some(7), from: MonoNs(1), to: MonoNs(4), state: None };
        run.take(&event(5, lost, Outcome::Done(0), Source::Perf));
        assert_eq!(run.spaces.keyframe(Seq(3), MonoNs(3)), before);
        let waiting = run.spaces.event(&event(
            6,
            Op::Brk { addr: Addr(0x5000) },
            Outcome::Done(0x5000),
            Source::Ptrace,
        ));
        assert!(!waiting.ask.is_empty());
        assert!(run.spaces.event(&fault(7, 0x10000, false)).unanswered.is_none() && run.spaces.is_waiting());
    }
}
