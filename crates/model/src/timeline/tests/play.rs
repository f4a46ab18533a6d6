//! Recordings made up from random numbers: several processes and threads, with a kernel that answers as it likes.

use crate::Spaces;
use crate::space::tests::anon;
use vmatlas_event::{
    Addr, AddrRange, Advice, Bytes, Errno, Event, EventSource, ForkKind, Keyframe, MapFlags, MmId, MonoNs,
    Op, Outcome, PageSize, Pid, Prot, ProtArg, Seq, SnapshotReason, Source, TaskId, Tid, VmaRow,
};

const PAGE: u64 = 4096;

/// Events and keyframes in memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    pub(super) events: Vec<Event>,
    pub(super) keyframes: Vec<Keyframe>,
    /// How many parts of a keyframe were asked for.
    pub(super) parts: u32,
}

impl EventSource for Memory {
    type Error = String;

    fn events(&mut self, from: Seq, found: &mut dyn FnMut(Event) -> bool) -> Result<(), String> {
        for event in self.events.iter().filter(|event| event.seq >= from) {
            if !found(event.clone()) {
                break;
            }
        }
        Ok(())
    }

    fn keyframe(&mut self, at: Seq) -> Result<Option<Keyframe>, String> {
        Ok(self.keyframes.iter().rev().find(|keyframe| keyframe.after <= at).cloned())
    }

    fn keyframe_part(&mut self, at: Seq) -> Result<Option<Option<Keyframe>>, String> {
        self.parts += 1;
        if self.parts.is_multiple_of(3) { self.keyframe(at).map(Some) } else { Ok(None) }
    }

    fn prepare(&mut self, _from: Seq) -> bool {
        self.parts += 1;
        self.parts.is_multiple_of(3)
    }

    fn last(&self) -> Option<Seq> {
        self.events.last().map(|event| event.seq)
    }
}

impl Memory {
    /// Keyframes after every `distance` events, as soon as nothing is pending.
    pub(super) fn with_keyframes(mut self, distance: usize) -> Memory {
        let mut spaces = Spaces::new(PageSize::FOUR_KIB);
        let mut since = 0;
        for event in &self.events {
            spaces.event(event);
            since += 1;
            if since >= distance
                && let Some(keyframe) = spaces.keyframe(event.seq, event.left)
            {
                self.keyframes.push(keyframe);
                since = 0;
            }
        }
        self
    }
}

/// The machine that a recording is made of.
pub(super) struct Play {
    pub(super) spaces: Spaces,
    pub(super) memory: Memory,
    tasks: Vec<(TaskId, MmId)>,
    seq: u64,
    next: i32,
    /// What was asked last.
    asked: AddrRange,
}

impl Play {
    pub(super) fn new() -> Play {
        let mut play = Play {
            spaces: Spaces::new(PageSize::FOUR_KIB),
            memory: Memory::default(),
            tasks: vec![(task(1, 1), MmId(1))],
            seq: 0,
            next: 1,
            asked: AddrRange::ALL,
        };
        play.send(0, Op::Exec { old_mm: MmId(0) }, Outcome::Done(0));
        let rows = vec![anon(1, 5, Prot::RW), anon(7, 9, Prot::READ)];
        play.send(0, Op::Snapshot { reason: SnapshotReason::Exec, rows }, Outcome::Done(0));
        play
    }

    pub(super) fn mm(&self, who: usize) -> MmId {
        self.tasks[who % self.tasks.len()].1
    }

    /// Sends an event of a task; what it asks.
    pub(super) fn send(&mut self, who: usize, op: Op, outcome: Outcome) -> Vec<AddrRange> {
        let (task, mm) = self.tasks[who % self.tasks.len()];
        let event = Event {
            seq: Seq(self.seq),
            // Some calls take longer than others, so that they overlap.
            entered: MonoNs((self.seq * 10).saturating_sub(self.seq % 4 * 12)),
            left: MonoNs(self.seq * 10 + 1),
            task,
            mm,
            op,
            outcome,
            stack: None,
            source: Source::Ptrace,
        };
        self.seq += 1;
        let asked = self.spaces.event(&event).ask;
        self.memory.events.push(event);
        asked
    }

    /// The model's rows in a range, or some that say otherwise.
    fn rows(&self, who: usize, range: AddrRange, how: u64) -> Vec<VmaRow> {
        let space = self.spaces.get(self.mm(who));
        let mut rows: Vec<VmaRow> = space
            .into_iter()
            .flat_map(|space| space.vmas())
            .filter(|row| row.range.intersects(range))
            .cloned()
            .collect();
        if how.is_multiple_of(4) && !rows.is_empty() {
            let at = how as usize / 4 % rows.len();
            rows.remove(at);
        }
        if how.is_multiple_of(7) {
            rows.iter_mut().for_each(|row| row.prot = Prot::READ);
        }
        rows
    }

    /// A call, its answers, and now and then another task's call between.
    pub(super) fn call(&mut self, who: usize, op: Op, outcome: Outcome, how: u64) {
        for (at, asked) in (0..).zip(self.send(who, op, outcome)) {
            self.asked = asked;
            if how % 11 == 3 {
                return;
            }
            if how % 5 == 2 && at == 0 && self.tasks.len() > 1 {
                let (addr, len) = (Addr((how % 40) * PAGE), Bytes(2 * PAGE));
                let op = Op::Mprotect { addr, len, prot: ProtArg(1), pkey: None };
                for asked in self.send(who + 1, op, Outcome::Done(0)) {
                    let rows = self.rows(who + 1, asked, 1);
                    let op = Op::Observed { rows, asked, late: false, in_flight: vec![] };
                    self.send(who + 1, op, Outcome::Done(0));
                }
            }
            let rows = self.rows(who, asked, how / 3);
            self.send(who, Op::Observed { rows, asked, late: false, in_flight: vec![] }, Outcome::Done(0));
        }
    }

    /// One thing that happens, chosen by a random number.
    pub(super) fn act(&mut self, what: u8, how: u64) {
        let who = (how / 7) as usize % self.tasks.len();
        let addr = Addr(how / 5 % 48 * PAGE);
        let len = Bytes((1 + how / 240 % 9) * PAGE);
        let outcome = if how.is_multiple_of(13) { Outcome::Failed(Errno(12)) } else { Outcome::Done(0) };
        match what % 32 {
            0..8 => {
                let flags = MapFlags([0x22, 0x32, 0x132, 0x11, 0x02][how as usize % 5]);
                let prot = ProtArg(how / 3 % 8);
                let op = Op::Mmap { addr, len, prot, flags, fd: 3, offset: 0 };
                let outcome = if how.is_multiple_of(13) { outcome } else { Outcome::Done(addr.0) };
                self.call(who, op, outcome, how);
            }
            8..12 => self.call(who, Op::Munmap { addr, len }, outcome, how),
            12..16 => {
                self.call(who, Op::Mprotect { addr, len, prot: ProtArg(how % 8), pkey: None }, outcome, how)
            }
            16..18 => self.call(who, Op::Brk { addr }, Outcome::Done(addr.0), how),
            18..20 => {
                let new = Addr((how / 9) % 48 * PAGE);
                let op = Op::Mremap { old: addr, old_len: len, new_len: len, flags: 3, new };
                self.call(who, op, Outcome::Done(new.0), how);
            }
            20 => self.call(who, Op::Madvise { addr, len, advice: Advice(16) }, outcome, how),
            21 => self.call(who, Op::Personality { persona: 0x40_0000 }, Outcome::Done(0), how),
            22 => {
                let op = Op::Ioctl { fd: 5, request: 0xc020_aa00, arg: addr };
                self.call(who, op, Outcome::Done(0), how);
            }
            23 | 24 if self.tasks.len() < 6 => self.fork(who, ForkKind::Thread),
            25 | 26 if self.tasks.len() < 6 => self.fork(who, ForkKind::Process),
            27 => self.exec(who),
            28 if self.tasks.len() > 1 => self.exit(who),
            29 => {
                let reason =
                    if how.is_multiple_of(2) { SnapshotReason::Reconcile } else { SnapshotReason::Check };
                let rows = self.rows(who, AddrRange::ALL, how);
                self.send(who, Op::Snapshot { reason, rows }, Outcome::Done(0));
            }
            30 => {
                self.send(who, Op::Mark { name: format!("m{}", how % 10) }, Outcome::Done(0));
            }
            31 if how.is_multiple_of(2) => {
                // An answer that nobody waits for.
                let (rows, asked) = (self.rows(who, self.asked, how), self.asked);
                self.send(who, Op::Observed { rows, asked, late: true, in_flight: vec![] }, Outcome::Done(0));
            }
            _ => self.call(who, Op::Munmap { addr, len }, Outcome::NoReturn, how),
        }
    }

    pub(super) fn fork(&mut self, who: usize, kind: ForkKind) {
        self.next += 1;
        let (creator, mm) = self.tasks[who % self.tasks.len()];
        let (child, child_mm) = match kind {
            ForkKind::Thread => (task(creator.pid.0, self.next), mm),
            ForkKind::SharedProcess => (task(self.next, self.next), mm),
            ForkKind::Process => (task(self.next, self.next), MmId(self.next as u32)),
        };
        self.send(who, Op::Fork { kind, child, child_mm }, Outcome::Done(0));
        self.tasks.push((child, child_mm));
    }

    pub(super) fn exec(&mut self, who: usize) {
        let (task, old_mm) = self.tasks[who % self.tasks.len()];
        self.tasks.retain(|(other, _)| other.pid != task.pid);
        self.next += 1;
        self.tasks.push((TaskId { tid: Tid(task.pid.0), ..task }, MmId(self.next as u32)));
        let who = self.tasks.len() - 1;
        self.send(who, Op::Exec { old_mm }, Outcome::Done(0));
        let rows = vec![
            anon(2, 6, Prot::RW),
            VmaRow { name: Some(vmatlas_event::Name::new(b"[stack]")), ..anon(40, 44, Prot::RW) },
        ];
        self.send(who, Op::Snapshot { reason: SnapshotReason::Exec, rows }, Outcome::Done(0));
    }

    pub(super) fn exit(&mut self, who: usize) {
        let who = who % self.tasks.len();
        let mm = self.tasks[who].1;
        let last = self.tasks.iter().filter(|(_, other)| *other == mm).count() == 1;
        self.send(who, Op::Exit { status: Some(0), signal: None, last }, Outcome::Done(0));
        self.tasks.remove(who);
    }
}

fn task(pid: i32, tid: i32) -> TaskId {
    TaskId { pid: Pid(pid), tid: Tid(tid), started: None }
}

/// A recording from random numbers.
pub(super) fn recording(acts: &[(u8, u64)]) -> Memory {
    let mut play = Play::new();
    for (what, how) in acts {
        play.act(*what, *how);
    }
    play.memory
}
