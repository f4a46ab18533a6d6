//! Events and keyframes of any kind, given to a timeline as a reader would give them.

use super::bytes::Bytes;
use super::drive::travel;
use super::ops::{Parts, VARIANTS, op};
use std::convert::Infallible;
use vmatlas_event::{
    Addr, AddrRange, Dev, Errno, Event, EventSource, Keyframe, MmId, MonoNs, Name, Outcome, PageSize, Pid,
    Prot, Seq, Sharing, Source, SpaceState, StartTime, TaskId, Tid, VmaRow,
};
use vmatlas_model::timeline::Timeline;

/// Each event takes some bytes; a keyframe may follow it.
pub(crate) fn replay(data: &[u8]) {
    let mut data = Bytes(data);
    let distrust = data.u8() & 1 != 0;
    let mut source = Made { events: Vec::new(), keyframes: Vec::new() };
    let mut seq = 0;
    while !data.is_empty() && source.events.len() < 100 {
        let event = event(&mut data, Seq(seq));
        let at = event.left;
        source.events.push(event);
        if data.u8() > 240 {
            let spaces = (0..data.u8() % 4).map(|_| state(&mut data)).collect();
            source.keyframes.push(Keyframe { after: Seq(seq), at, spaces });
        }
        seq += 1;
    }
    let page = PageSize::new(4096).expect("a size of pages");
    let count = source.events.len() as u64;
    if let Ok(timeline) = Timeline::open(source, page, distrust) {
        travel(timeline, count, &[1, u64::MAX, 2], 12);
    }
}

struct Made {
    events: Vec<Event>,
    keyframes: Vec<Keyframe>,
}

impl EventSource for Made {
    type Error = Infallible;

    fn events(&mut self, from: Seq, found: &mut dyn FnMut(Event) -> bool) -> Result<(), Infallible> {
        let later = self.events.iter().filter(|event| event.seq >= from);
        let _ = later.cloned().try_for_each(|event| found(event).then_some(()));
        Ok(())
    }

    fn keyframe(&mut self, at: Seq) -> Result<Option<Keyframe>, Infallible> {
        Ok(self.keyframes.iter().rfind(|keyframe| keyframe.after <= at).cloned())
    }

    fn last(&self) -> Option<Seq> {
        self.events.last().map(|event| event.seq)
    }
}

/// A number: most are pages of a small playground, so that events meet; some are anything.
fn number(data: &mut Bytes<'_>) -> u64 {
    match data.u8() {
        byte @ 0..192 => 0x1_0000 + u64::from(byte % 64) * 4096,
        byte @ 192..224 => u64::from(byte - 192),
        byte @ 224..232 => u64::MAX - u64::from(byte % 4) * 4096,
        _ => data.u64(),
    }
}

fn range(data: &mut Bytes<'_>) -> AddrRange {
    let (a, b) = (number(data), number(data));
    AddrRange::new(Addr(a.min(b)), Addr(a.max(b))).expect("in order")
}

fn task(data: &mut Bytes<'_>) -> TaskId {
    let byte = i32::from(data.u8());
    TaskId { pid: Pid(1 + byte % 3), tid: Tid(1 + byte % 5), started: (byte < 128).then_some(StartTime(7)) }
}

fn row(data: &mut Bytes<'_>) -> VmaRow {
    let (range, byte) = (range(data), data.u8());
    VmaRow {
        range,
        prot: Prot::new(byte & 1 != 0, byte & 2 != 0, byte & 4 != 0),
        sharing: if byte & 8 != 0 { Sharing::Shared } else { Sharing::Private },
        offset: if byte & 16 != 0 { number(data) } else { 0 },
        dev: Dev { major: 0, minor: u32::from(byte >> 7) },
        inode: u64::from(byte >> 6),
        name: match byte >> 5 & 3 {
            0 => None,
            1 => Some(Name::new(b"[stack]")),
            2 => Some(Name::new(b"[heap]")),
            _ => Some(Name::new(data.take(4))),
        },
    }
}

/// As the reader gives them, in address order where the bytes say so.
fn rows(data: &mut Bytes<'_>) -> Vec<VmaRow> {
    let byte = data.u8();
    let mut rows: Vec<VmaRow> = (0..byte % 8).map(|_| row(data)).collect();
    if byte & 128 == 0 {
        rows.sort_by_key(|row| row.range.start());
    }
    rows
}

fn event(data: &mut Bytes<'_>, seq: Seq) -> Event {
    let (variant, byte) = (usize::from(data.u8()) % VARIANTS, data.u8());
    let mut numbers = [0; 8];
    numbers.iter_mut().take(usize::from(byte % 8)).for_each(|n| *n = number(data));
    let has_rows = variant == 33 || variant == 34;
    let parts = Parts {
        numbers,
        ints: [data.u8() as i8, data.u8() as i8].map(i32::from),
        count: (byte & 8 != 0).then_some(u64::from(byte)),
        status: (byte & 16 != 0).then_some(i32::from(byte)),
        rows: if has_rows { rows(data) } else { Vec::new() },
        in_flight: if has_rows { (0..data.u8() % 3).map(|_| task(data)).collect() } else { Vec::new() },
        asked: range(data),
        child: task(data),
        name: "m".to_owned(),
        yes: byte & 32 != 0,
    };
    let entered = MonoNs(number(data));
    Event {
        seq,
        entered,
        left: MonoNs(if byte & 64 != 0 { number(data) } else { entered.0.wrapping_add(5) }),
        task: task(data),
        mm: MmId(u32::from(data.u8() % 4)),
        op: op(variant, parts),
        outcome: match data.u8() % 8 {
            0 => Outcome::NoReturn,
            1 | 2 => Outcome::Failed(Errno(12)),
            _ => Outcome::Done(number(data)),
        },
        stack: None,
        source: Source::Ptrace,
    }
}

fn state(data: &mut Bytes<'_>) -> SpaceState {
    let byte = data.u8();
    SpaceState {
        mm: MmId(u32::from(byte % 4)),
        users: (0..byte >> 6).map(|_| task(data)).collect(),
        rows: rows(data),
        origins: (0..byte >> 5 & 1).map(|_| (range(data), Seq(number(data)))).collect(),
        brk: (byte & 8 != 0).then(|| Addr(number(data))),
        peak: vmatlas_event::Bytes(number(data)),
        grows: (0..byte >> 4 & 1).map(|_| range(data)).collect(),
        distrust: byte & 4 != 0,
        userfaultfds: Vec::new(),
        recent: (0..byte >> 6).map(|_| (MonoNs(number(data)), vec![range(data)])).collect(),
    }
}
