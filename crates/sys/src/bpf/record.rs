//! What the programs tell, byte by byte: `bpf/record.h` has the same layouts.

use super::CallStack;
use vmatlas_event::{Addr, AddrRange, Dev, Errno, MmId, MonoNs, Outcome, Pid, Prot, Sharing, Tid};

/// What every record begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The address space.
    pub space: MmId,
    /// The process.
    pub pid: Pid,
    /// The thread.
    pub tid: Tid,
    /// Dense numbers, in the kernel's order where calls of one address space overlap: one that is missing was lost, or its
    /// call is not over yet. 0 for names.
    pub order: u64,
    /// When.
    pub at: MonoNs,
}

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A call returned.
    Call(Head, Call),
    /// A task was made.
    Forked(Head, Forked),
    /// A program was executed; the head has the new address space.
    Execed(Head, Execed),
    /// A task ended.
    Ended(Head, Ended),
    /// What a name in rows stands for; comes before the first record that needs it.
    Named(NameKey, Named),
    /// A number without an event.
    Nothing(Head),
    /// A page fault; its order is a number of its own.
    Faulted(Head, Faulted),
    /// So many faults the kernel has accounted to a task that ends, or (`true`) has executed a program.
    Accounted(Head, u64, bool),
    /// Somebody took the lock of the address space for writing without a call that is told of; the head says who.
    Other(Head),
    /// A process came into the cgroup that is watched; the head says which.
    Came(Head),
}

/// A page fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faulted {
    /// The address touched.
    pub addr: Addr,
    /// The instruction that touched it; `None` where the kernel did.
    pub ip: Option<Addr>,
    /// Tells address spaces apart while they live, also where `space` of the head is still that of the former program.
    pub map: u64,
    /// Whether it had to wait for a disk.
    pub is_major: bool,
    /// By so many pages the resident size grew: none where a page was copied, more than one around a page of a file.
    pub grown: i32,
    /// Its call stack, where that was wanted and there was room.
    pub stack: Option<Box<CallStack>>,
}

/// How good the rows of a call are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The map was locked: not all of it could be looked at.
    pub is_busy: bool,
    /// There was more than is told.
    pub is_cut: bool,
    /// Whether the call took the lock for writing: one that did not has changed no VMA.
    pub took_lock: bool,
}

/// A call that returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// When it was entered; `None` where that was not seen.
    pub entered: Option<MonoNs>,
    /// Its number.
    pub nr: u64,
    /// Whether it is one of 32 bits.
    pub is_32: bool,
    /// Its arguments.
    pub args: [u64; 6],
    /// How it ended.
    pub outcome: Outcome,
    /// What was looked at: `rows` are all that is mapped here.
    pub seen: AddrRange,
    /// The VMAs in `seen`.
    pub rows: Vec<Row>,
    /// As they were after the record with this number, and before the next one of a change; `None` where the map changed
    /// while it was looked at.
    pub version: Option<u64>,
    /// How good they are.
    pub answer: Answer,
    /// The call stack, where one was asked for, of 64-bit code, and there was room in the ring.
    pub stack: Option<Box<CallStack>>,
}

/// How a task was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// A process with a copy of the address space.
    Process,
    /// A process that shares it.
    SharedProcess,
    /// A thread.
    Thread,
}

/// A task that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forked {
    /// Its process.
    pub pid: Pid,
    /// Its number.
    pub tid: Tid,
    /// Its address space.
    pub space: MmId,
    /// When it started, in nanoseconds since boot.
    pub started: u64,
    /// How.
    pub how: How,
}

/// A program that was executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execed {
    /// The address space that was left.
    pub old_space: MmId,
    /// The number of the thread that called execve(2).
    pub old_tid: Tid,
    /// When the process started, in nanoseconds since boot.
    pub started: u64,
    /// How many VMAs there are.
    pub map_count: u32,
    /// Those that were found, in no order, some of them twice.
    pub rows: Vec<Row>,
}

/// A task that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its exit status, or `None` when a signal ended it.
    pub status: Option<i32>,
    /// The signal.
    pub signal: Option<i32>,
}

/// Which text a row has: of a file by its place, of a special mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NameKey {
    id: u64,
    inode: u64,
    dev: u32,
}

/// A text of rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The path or name; `None` where it is too long.
    pub text: Option<Vec<u8>>,
}

/// A VMA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its addresses.
    pub range: AddrRange,
    /// What it allows.
    pub prot: Prot,
    /// Private or shared.
    pub sharing: Sharing,
    /// Into the file, in pages.
    pub pgoff: u64,
    /// The file's device.
    pub dev: Dev,
    /// The file's inode.
    pub inode: u64,
    /// Which text it has; `None` for none.
    pub name: Option<NameKey>,
    /// Whether its file has no name any more.
    pub is_deleted: bool,
    /// Whether it is (of) the heap.
    pub is_heap: bool,
    /// Whether it is the first stack.
    pub is_stack: bool,
}

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
pub(super) fn parse(bytes: &[u8]) -> Option<Record> {
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
            let (bits, grown) = (cursor.u32()?, cursor.u32()? as i32);
            let ip = (ip != 0).then_some(Addr(ip));
            let stack = CallStack::parse(cursor.0).map(Box::new);
            Record::Faulted(head, Faulted { addr, ip, map, is_major: bits & 1 != 0, grown, stack })
        }
        8 => Record::Accounted(head, cursor.u64()?, cursor.u64()? != 0),
        9 => Record::Other(head),
        10 => Record::Came(head),
        _ => return None,
    })
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
    let started = cursor.u64()?;
    let (old_space, old_tid) = (MmId(cursor.u32()?), cursor.tid()?);
    let (map_count, rows) = (cursor.u32()?, cursor.u32()?);
    Some(Execed { old_space, old_tid, started, map_count, rows: cursor.rows(rows)? })
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
