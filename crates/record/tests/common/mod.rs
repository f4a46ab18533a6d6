//! Events to record, and what is read again.

#![allow(dead_code, reason = "each test uses a part of it")]

pub(crate) mod any;
pub(crate) mod harm;
pub(crate) mod ops;
pub(crate) mod packing;
pub(crate) mod stacks;

use std::path::Path;
use vmatlas_event::*;
use vmatlas_record::{Meta, Options, Reader, Writer};

pub(crate) fn range(start: u64, end: u64) -> AddrRange {
    AddrRange::new(Addr(start), Addr(end)).unwrap()
}

pub(crate) fn row(start: u64, name: Option<&[u8]>) -> VmaRow {
    let mut row = VmaRow::anonymous(range(start, start + 0x3000), Prot::RW);
    row.name = name.map(Name::new);
    row
}

pub(crate) fn task(n: i32) -> TaskId {
    TaskId { pid: Pid(n), tid: Tid(n + 1), started: (n % 2 == 0).then_some(StartTime(77)) }
}

pub(crate) fn event(seq: u64, op: Op) -> Event {
    let time = 1_000_000_000 + seq * 1_000_000;
    Event {
        seq: Seq(seq),
        entered: MonoNs(time),
        left: MonoNs(time + 700 + seq % 90),
        task: task(40),
        mm: MmId(1),
        op,
        outcome: Outcome::Done(0x7f00_0000_0000 + seq % 7 * 0x1000),
        stack: None,
        source: Source::Ptrace,
    }
}

/// A small program: a map, calls with answers, a fork, a mark, an end.
pub(crate) fn small(calls: u64) -> Vec<Event> {
    let rows = vec![
        row(0x1000, Some(b"/bin/x\xff")),
        row(0x8000, None),
        row(0xffff_ffff_ff60_0000, Some(b"[vsyscall]")),
    ];
    let mut events = vec![event(0, Op::Snapshot { reason: SnapshotReason::Exec, rows: rows.clone() })];
    for seq in 1..=calls {
        let op = match seq % 3 {
            0 => Op::Munmap { addr: Addr(0x7f00_0000_0000), len: Bytes(0x1000) },
            1 => Op::Mmap {
                addr: Addr(0),
                len: Bytes(0x1000),
                prot: ProtArg(3),
                flags: MapFlags(0x22),
                fd: -1,
                offset: 0,
            },
            _ => Op::Observed {
                rows: vec![row(0x7f00_0000_0000, None)],
                asked: range(0x7f00_0000_0000, 0x7f00_0000_1000),
                late: false,
                in_flight: vec![task(3)],
            },
        };
        events.push(event(seq, op));
    }
    let fork = Op::Fork { kind: ForkKind::Process, child: task(50), child_mm: MmId(2) };
    events.push(event(calls + 1, fork));
    events.push(event(calls + 2, Op::Mark { name: "a mark".to_owned() }));
    events.push(event(calls + 3, Op::Exit { status: Some(0), signal: None, last: true }));
    events
}

pub(crate) fn keyframe(after: u64) -> Keyframe {
    let state = SpaceState {
        mm: MmId(1),
        users: vec![task(40), task(41)],
        rows: vec![row(0x1000, Some(b"/bin/x")), row(0x8000, None)],
        origins: vec![(range(0x1000, 0x4000), Seq(0)), (range(0x8000, 0xb000), Seq(after))],
        brk: Some(Addr(0x9000)),
        peak: Bytes(0x6000),
        grows: vec![range(0x8000, 0xb000)],
        distrust: true,
        userfaultfds: vec![-1, 9],
        recent: vec![(MonoNs(5), vec![range(0x1000, 0x2000); 2]), (MonoNs(7), vec![range(0x8000, 0x9000)])],
    };
    let empty = SpaceState {
        mm: MmId(2),
        users: Vec::new(),
        rows: Vec::new(),
        origins: Vec::new(),
        brk: None,
        peak: Bytes(0),
        grows: Vec::new(),
        distrust: false,
        userfaultfds: Vec::new(),
        recent: Vec::new(),
    };
    Keyframe { after: Seq(after), at: MonoNs(1_000_000_000 + after * 1_000_000), spaces: vec![state, empty] }
}

pub(crate) fn meta() -> Meta {
    Meta { program: "x".to_owned(), started: 1_000_000_000, page_size: 4096, ..Meta::default() }
}

/// Writes stacks, then events, a keyframe after each `every`.
pub(crate) fn write(writer: &mut Writer, events: &[Event], every: u64) {
    writer.stacks(&stacks::news(0, 1));
    for event in events {
        writer.event(event);
        if event.seq.0 % every == every - 1 {
            writer.keyframe(&keyframe(event.seq.0));
        }
    }
}

pub(crate) fn create(folder: &Path, options: Options) -> Writer {
    Writer::create(folder, meta(), options).unwrap()
}

/// What comes before the first error, and the error.
pub(crate) fn read_from(reader: &mut Reader, from: u64) -> (Vec<Event>, Result<(), String>) {
    let mut found = Vec::new();
    let result = reader.events(Seq(from), &mut |event| {
        found.push(event);
        true
    });
    (found, result.map_err(|e| e.to_string()))
}

pub(crate) fn read(folder: &Path) -> (Vec<Event>, Result<(), String>) {
    read_from(&mut Reader::open(folder).unwrap(), 0)
}
