//! Records byte by byte: `bpf/record.h` and `bpf/faults.h` have the same layouts.

use super::{
    Accounted, Answer, Call, CallStack, Ended, Execed, FaultEnd, Faulted, Forked, Head, How, NameKey, Named,
    Record, Row,
};
use vmatlas_event::{Addr, AddrRange, Dev, Errno, MmId, MonoNs, Outcome, Pid, Prot, Sharing, Tid};

/// Takes numbers off the front of bytes.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn u64(&mut self) -> Option<u64> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_ne_bytes(*first))
    }

    fn u32(&mut self) -> Option<u32> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_ne_bytes(*first))
    }

    fn u16(&mut self) -> Option<u16> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u16::from_ne_bytes(*first))
    }

    fn u8(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn tid(&mut self) -> Option<Tid> {
        self.u32().map(|number| Tid(number as i32))
    }

    fn rows(&mut self, count: u32) -> Option<Vec<Row>> {
        (0..count).map(|_| self.row()).collect()
    }

    fn row(&mut self) -> Option<Row> {
        const HEAP: u32 = 0x10;
        const STACK: u32 = 0x20;
        const DELETED: u32 = 0x40;
        let range = AddrRange::new(Addr(self.u64()?), Addr(self.u64()?))?;
        let (pgoff, inode, id) = (self.u64()?, self.u64()?, self.u64()?);
        let (dev, bits) = (self.u32()?, self.u32()?);
        Some(Row {
            range,
            prot: Prot::new(bits & 1 != 0, bits & 2 != 0, bits & 4 != 0),
            sharing: if bits & 8 != 0 { Sharing::Shared } else { Sharing::Private },
            pgoff,
            // MKDEV of the kernel (include/linux/kdev_t.h).
            dev: Dev { major: dev >> 20, minor: dev & 0xf_ffff },
            inode,
            name: (id != 0).then_some(NameKey { id, inode, dev }),
            is_deleted: bits & DELETED != 0,
            is_heap: bits & HEAP != 0,
            is_stack: bits & STACK != 0,
        })
    }
}

/// Reads a record; `None` for one that is not as it should be.
pub(in crate::bpf) fn parse(bytes: &[u8]) -> Option<Record> {
    let mut cursor = Cursor(bytes);
    let kind = cursor.u32()?;
    let head = Head {
        space: MmId(cursor.u32()?),
        pid: Pid(cursor.u32()? as i32),
        tid: cursor.tid()?,
        order: cursor.u64()?,
        at: MonoNs(cursor.u64()?),
    };
    Some(match kind {
        1 => Record::Call(head, call(&mut cursor)?),
        2 => Record::Forked(head, forked(&mut cursor)?),
        3 => Record::Execed(head, execed(&mut cursor)?),
        4 => Record::Ended(head, ended(cursor.u32()?)),
        5 => {
            let (key, named) = named(&mut cursor)?;
            Record::Named(key, named)
        }
        6 => Record::Nothing(head),
        7 => {
            let (addr, ip, map) = (Addr(cursor.u64()?), cursor.u64()?, cursor.u64()?);
            let before = Accounted { all: cursor.u64()?, majors: cursor.u32()? };
            let ended = match cursor.u32()? {
                0 => FaultEnd::Minor,
                1 => FaultEnd::Major,
                _ => FaultEnd::Unknown(before),
            };
            let ip = (ip != 0).then_some(Addr(ip));
            let stack = CallStack::parse(cursor.0).map(Box::new);
            Record::Faulted(head, Faulted { addr, ip, map, ended, stack })
        }
        8 => {
            let (accounted, is_exec) = accounted(&mut cursor)?;
            Record::Accounted(head, accounted, is_exec)
        }
        9 => Record::Other(head),
        10 => Record::Came(head),
        11 => Record::Settled(head, accounted(&mut cursor)?.0),
        12 => Record::Major(head),
        _ => return None,
    })
}

/// With whether a program was executed.
fn accounted(cursor: &mut Cursor<'_>) -> Option<(Accounted, bool)> {
    Some((Accounted { all: cursor.u64()?, majors: cursor.u32()? }, cursor.u32()? != 0))
}

fn call(cursor: &mut Cursor<'_>) -> Option<Call> {
    let entered = Some(MonoNs(cursor.u64()?)).filter(|at| at.0 != 0);
    let mut args = [0; 6];
    for arg in &mut args {
        *arg = cursor.u64()?;
    }
    let result = cursor.u64()? as i64;
    let (from, to) = (Addr(cursor.u64()?), Addr(cursor.u64()?));
    let version = Some(cursor.u64()?).filter(|version| *version != 0);
    let (nr, is_32, answer, rows) = (cursor.u32()?, cursor.u8()? != 0, cursor.u8()?, cursor.u16()?);
    let outcome = match result {
        // IS_ERR_VALUE of the kernel: the last page of numbers.
        -4095..=-1 => Outcome::Failed(Errno(-result as i32)),
        _ if is_32 => Outcome::Done(u64::from(result as u32)),
        result => Outcome::Done(result as u64),
    };
    let rows = cursor.rows(u32::from(rows))?;
    // A row is told whole.
    let from = rows.first().map_or(from, |row| row.range.start().min(from));
    Some(Call {
        entered,
        nr: u64::from(nr),
        is_32,
        args,
        outcome,
        seen: AddrRange::new(from, to)?,
        rows,
        version,
        answer: Answer { is_busy: answer & 1 != 0, is_cut: answer & 4 != 0, took_lock: answer & 8 != 0 },
        stack: CallStack::parse(cursor.0).map(Box::new),
    })
}

fn forked(cursor: &mut Cursor<'_>) -> Option<Forked> {
    let started = cursor.u64()?;
    Some(Forked {
        pid: Pid(cursor.u32()? as i32),
        tid: cursor.tid()?,
        space: MmId(cursor.u32()?),
        started,
        how: match cursor.u32()? {
            0 => How::Process,
            1 => How::SharedProcess,
            _ => How::Thread,
        },
    })
}

fn execed(cursor: &mut Cursor<'_>) -> Option<Execed> {
    let (started, map) = (cursor.u64()?, cursor.u64()?);
    let (old_space, old_tid) = (MmId(cursor.u32()?), cursor.tid()?);
    let (map_count, rows) = (cursor.u32()?, cursor.u32()?);
    Some(Execed { old_space, old_tid, started, map, map_count, rows: cursor.rows(rows)? })
}

/// A wait status.
fn ended(status: u32) -> Ended {
    match status & 0x7f {
        0 => Ended { status: Some((status >> 8 & 0xff) as i32), signal: None },
        signal => Ended { status: None, signal: Some(signal as i32) },
    }
}

fn named(cursor: &mut Cursor<'_>) -> Option<(NameKey, Named)> {
    let (id, inode, dev, size) = (cursor.u64()?, cursor.u64()?, cursor.u32()?, cursor.u32()?);
    let (is_special, is_anon_inode, is_cut) = (cursor.u8()? != 0, cursor.u8()? != 0, cursor.u8()? != 0);
    for _ in 0..5 {
        cursor.u8()?;
    }
    let text = cursor.0.get(..size as usize)?;
    let parts = text.strip_suffix(b"\0").unwrap_or(text).split(|byte| *byte == 0);
    let text = match (is_special, is_anon_inode) {
        _ if is_cut => None,
        (true, _) => parts.take(1).next().map(<[u8]>::to_vec),
        (_, true) => parts.take(1).next().map(|part| [b"anon_inode:", part].concat()),
        _ => {
            let parts: Vec<&[u8]> = parts.collect();
            Some(parts.iter().rev().flat_map(|part| [&b"/"[..], part]).collect::<Vec<_>>().concat())
        }
    };
    Some((NameKey { id, inode, dev }, Named { text }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(words: &[&[u8]]) -> Vec<u8> {
        words.concat()
    }

    fn head(kind: u32) -> Vec<u8> {
        let mut head: Vec<u8> = [kind, 3, 10, 11].iter().flat_map(|word| word.to_ne_bytes()).collect();
        head.extend([5u64, 99].iter().flat_map(|word| word.to_ne_bytes()));
        head
    }

    /// Checks an end, by status and by signal, and that a cut record is none.
    #[test]
    fn ends_are_read() {
        let record = bytes(&[&head(4), &0x0700u32.to_ne_bytes(), &[0; 4]]);
        let Some(Record::Ended(head, ended)) = parse(&record) else { panic!() };
        assert_eq!((head.space, head.pid, head.tid, head.order), (MmId(3), Pid(10), Tid(11), 5));
        assert_eq!(ended, Ended { status: Some(7), signal: None });
        assert_eq!(super::ended(0x8b), Ended { status: None, signal: Some(11) });
        assert_eq!(parse(&record[..34]), None);
        assert_eq!(parse(&[]), None);
    }

    /// Checks that the parts of a path are put together from the end, and that special names stay whole.
    #[test]
    fn names_are_put_together() {
        let name = |flags: [u8; 3], text: &[u8]| {
            let size = text.len() as u32;
            let fixed =
                [&head(5)[..], &9u64.to_ne_bytes(), &8u64.to_ne_bytes(), &7u32.to_ne_bytes()].concat();
            let record = bytes(&[&fixed, &size.to_ne_bytes(), &flags, &[0; 5], text]);
            match parse(&record) {
                Some(Record::Named(_, named)) => named.text,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(name([0; 3], b"libc.so.6\0lib\0usr\0").as_deref(), Some(&b"/usr/lib/libc.so.6"[..]));
        assert_eq!(name([1, 0, 0], b"[vdso]\0").as_deref(), Some(&b"[vdso]"[..]));
        assert_eq!(name([0, 1, 0], b"[perf_event]\0").as_deref(), Some(&b"anon_inode:[perf_event]"[..]));
        assert_eq!(name([0, 0, 1], b"x\0"), None);
    }
}
