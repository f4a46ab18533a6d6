//! An event as one row of numbers and words, and back, bit by bit.

use crate::batch::Row;
use crate::error::RecordError;
use crate::rows::Cell;
use vmatlas_event::{
    Addr, AddrRange, Advice, Bytes, Errno, Event, ForkKind, MapFlags, MmId, MonoNs, Op, OpKind, Outcome,
    ProtArg, Seq, SnapshotReason, Source, StackId, TaskId, VmaRow,
};

macro_rules! columns {
    ($($name:ident = $at:literal),+ $(,)?) => {
        $(pub(crate) const $name: usize = $at;)+
        #[cfg(test)]
        pub(crate) const NAMED: &[(&str, usize)] = &[$((stringify!($name), $at)),+];
    };
}

columns!(
    SEQ = 0,
    ENTERED = 1,
    TOOK = 2,
    TASK = 3,
    MM = 4,
    OP = 5,
    RESULT = 6,
    ERRNO = 7,
    STACK = 8,
    SOURCE = 9,
    DETAIL = 10,
    ADDR = 11,
    LEN = 12,
    PROT = 13,
    FLAGS = 14,
    FD = 15,
    OFFSET = 16,
    ADDR2 = 17,
    LEN2 = 18,
    ARG0 = 19,
    CHILD = 25,
    MM2 = 26,
    STATUS = 27,
    SIGNAL = 28,
    NAME = 29,
    COUNT = 30,
);
const WIDTH: usize = 31;

/// Numbers for what a recording holds once.
pub(crate) trait Intern {
    /// The number of a task.
    fn task(&mut self, task: TaskId) -> i64;
    /// The number of some bytes.
    fn name(&mut self, bytes: &[u8]) -> i64;
}

/// What the numbers stand for.
pub(crate) trait Lookup {
    /// The task of a number.
    fn task(&self, id: i64) -> Option<TaskId>;
    /// The bytes of a number.
    fn name(&self, id: i64) -> Option<&vmatlas_event::Name>;
}

/// The cells of an event; rows of a map and tasks in flight go to tables of their own.
pub(crate) fn cells<'a>(event: &Event, intern: &mut dyn Intern) -> [Cell<'a>; WIDTH] {
    let mut cells = [Cell::Int(None); WIDTH];
    let mut put = |column: usize, value: u64| cells[column] = Cell::Int(Some(value as i64));
    put(SEQ, event.seq.0);
    put(ENTERED, event.entered.0);
    put(TOOK, event.left.0.wrapping_sub(event.entered.0));
    put(MM, event.mm.0.into());
    match event.outcome {
        Outcome::Done(value) => put(RESULT, value),
        Outcome::Failed(errno) => put(ERRNO, signed(errno.0)),
        Outcome::NoReturn => {}
    }
    if let Some(stack) = event.stack {
        put(STACK, stack.0.into());
    }
    arguments(&event.op, &mut put);
    cells[TASK] = Cell::Int(Some(intern.task(event.task)));
    match &event.op {
        Op::Fork { child, .. } => cells[CHILD] = Cell::Int(Some(intern.task(*child))),
        Op::Mark { name } => cells[NAME] = Cell::Int(Some(intern.name(name.as_bytes()))),
        _ => {}
    }
    cells[OP] = Cell::Word(Some(event.op.kind().name()));
    cells[SOURCE] = Cell::Word(Some(word(&SOURCES, event.source)));
    cells[DETAIL] = Cell::Word(match &event.op {
        Op::Fork { kind, .. } => Some(word(&FORKS, *kind)),
        Op::Snapshot { reason, .. } => Some(word(&REASONS, *reason)),
        _ => None,
    });
    cells
}

/// A signed number, its sign kept through the 64 bits.
fn signed(value: i32) -> u64 {
    i64::from(value) as u64
}

fn arguments(op: &Op, put: &mut dyn FnMut(usize, u64)) {
    let place = |addr: Addr, len: Bytes, put: &mut dyn FnMut(usize, u64)| {
        put(ADDR, addr.0);
        put(LEN, len.0);
    };
    match op {
        Op::Mmap { addr, len, prot, flags, fd, offset } => {
            place(*addr, *len, put);
            put(PROT, prot.0);
            put(FLAGS, flags.0);
            put(FD, signed(*fd));
            put(OFFSET, *offset);
        }
        Op::Munmap { addr, len } | Op::Munlock { addr, len } => place(*addr, *len, put),
        Op::Mremap { old, old_len, new_len, flags, new } => {
            place(*old, *old_len, put);
            put(FLAGS, *flags);
            put(ADDR2, new.0);
            put(LEN2, new_len.0);
        }
        Op::Mprotect { addr, len, prot, pkey } => {
            place(*addr, *len, put);
            put(PROT, prot.0);
            if let Some(key) = pkey {
                put(ARG0, signed(*key));
            }
        }
        Op::Brk { addr } | Op::Shmdt { addr } | Op::Fault { addr } | Op::IoDestroy { ctx: addr } => {
            put(ADDR, addr.0);
        }
        Op::Madvise { addr, len, advice } => {
            place(*addr, *len, put);
            put(ARG0, signed(advice.0));
        }
        Op::Shmat { id, addr, flags } => {
            put(ADDR, addr.0);
            put(ARG0, signed(*id));
            put(FLAGS, signed(*flags));
        }
        Op::Mlock { addr, len, flags } => {
            place(*addr, *len, put);
            if let Some(flags) = flags {
                put(FLAGS, *flags);
            }
        }
        Op::Mlockall { flags } | Op::Seccomp { flags } => put(FLAGS, *flags),
        Op::Munlockall | Op::Joined => {}
        Op::Mseal { addr, len, flags } | Op::MapShadowStack { addr, len, flags } => {
            place(*addr, *len, put);
            put(FLAGS, *flags);
        }
        Op::Mbind { addr, len, mode: arg, flags }
        | Op::SetMempolicyHomeNode { addr, len, node: arg, flags } => {
            place(*addr, *len, put);
            put(ARG0, *arg);
            put(FLAGS, *flags);
        }
        Op::RemapFilePages { addr, len, prot, pgoff, flags } => {
            place(*addr, *len, put);
            put(PROT, prot.0);
            put(ARG0, *pgoff);
            put(FLAGS, flags.0);
        }
        Op::Prctl { option, args } => {
            put(ARG0, signed(*option));
            (1..).zip(args).for_each(|(i, arg)| put(ARG0 + i, *arg));
        }
        Op::ArchPrctl { code, addr } => {
            put(ARG0, *code);
            put(ARG0 + 1, *addr);
        }
        Op::IoSetup { events } => put(ARG0, *events),
        Op::Ioctl { fd, request, arg } => {
            put(FD, signed(*fd));
            put(ARG0, *request);
            put(ADDR, arg.0);
        }
        Op::ProcessMadvise { pidfd, iovec, count, advice } => {
            put(FD, signed(*pidfd));
            put(ADDR, iovec.0);
            put(LEN, *count);
            put(ARG0, signed(advice.0));
        }
        Op::Personality { persona } => put(ARG0, *persona),
        Op::Other { arch, nr, args } => {
            put(LEN, (*arch).into());
            put(ADDR, *nr);
            (0..).zip(args).for_each(|(i, arg)| put(ARG0 + i, *arg));
        }
        Op::Fork { child_mm: mm, .. } | Op::Exec { old_mm: mm } => put(MM2, mm.0.into()),
        Op::Exit { status, signal, last } => {
            if let Some(status) = status {
                put(STATUS, signed(*status));
            }
            if let Some(signal) = signal {
                put(SIGNAL, signed(*signal));
            }
            put(FLAGS, u64::from(*last));
        }
        Op::Snapshot { rows, .. } => put(COUNT, rows.len() as u64),
        Op::Observed { rows, asked, late, in_flight } => {
            put(COUNT, rows.len() as u64);
            put(ADDR, asked.start().0);
            put(LEN, asked.len().0);
            put(FLAGS, u64::from(*late));
            put(LEN2, in_flight.len() as u64);
        }
        Op::Lost { count, from, to } => {
            put(ARG0, from.0);
            put(ARG0 + 1, to.0);
            if let Some(count) = count {
                put(COUNT, *count);
            }
        }
        Op::Mark { .. } => {}
        // The enum is open; a build without a case for a new one fails its round-trip test.
        _ => {}
    }
}

/// What an event holds besides its own row.
#[derive(Debug, Default)]
pub(crate) struct Attached {
    pub(crate) rows: Vec<VmaRow>,
    pub(crate) in_flight: Vec<TaskId>,
}

/// How many rows and tasks in flight belong to an event.
pub(crate) fn attached(row: Row<'_>) -> Result<(u64, u64), RecordError> {
    match row.word(OP) {
        Some("snapshot") => Ok((row.bits(COUNT)?, 0)),
        Some("observed") => Ok((row.bits(COUNT)?, row.bits(LEN2)?)),
        _ => Ok((0, 0)),
    }
}

/// The event of a row.
pub(crate) fn event(row: Row<'_>, attached: Attached, lookup: &dyn Lookup) -> Result<Event, RecordError> {
    let task = |column| row.get(column).and_then(|id| lookup.task(id)).ok_or_else(|| row.wrong(column));
    let entered = row.bits(ENTERED)?;
    let outcome = match (row.get(RESULT), row.maybe::<i32>(ERRNO)?) {
        (Some(value), None) => Outcome::Done(value as u64),
        (None, Some(errno)) => Outcome::Failed(Errno(errno)),
        (None, None) => Outcome::NoReturn,
        (Some(_), Some(_)) => return Err(row.wrong(ERRNO)),
    };
    Ok(Event {
        seq: Seq(row.bits(SEQ)?),
        entered: MonoNs(entered),
        left: MonoNs(entered.wrapping_add(row.bits(TOOK)?)),
        task: task(TASK)?,
        mm: MmId(row.need(MM)?),
        op: op(row, attached, lookup)?,
        outcome,
        stack: row.maybe(STACK)?.map(StackId),
        source: from_word(&SOURCES, row, SOURCE)?,
    })
}

fn op(row: Row<'_>, attached: Attached, lookup: &dyn Lookup) -> Result<Op, RecordError> {
    let name = row.word(OP).ok_or_else(|| row.wrong(OP))?;
    let kind = KINDS.iter().copied().find(|k| k.name() == name).ok_or_else(|| row.wrong(OP))?;
    let addr = || row.bits(ADDR).map(Addr);
    let len = || row.bits(LEN).map(Bytes);
    let prot = || row.bits(PROT).map(ProtArg);
    let flags = || row.bits(FLAGS);
    let arg = |i: usize| row.bits(ARG0 + i);
    let advice = || row.need(ARG0).map(Advice);
    let mm2 = || row.need(MM2).map(MmId);
    Ok(match kind {
        OpKind::Mmap => Op::Mmap {
            addr: addr()?,
            len: len()?,
            prot: prot()?,
            flags: MapFlags(flags()?),
            fd: row.need(FD)?,
            offset: row.bits(OFFSET)?,
        },
        OpKind::Munmap => Op::Munmap { addr: addr()?, len: len()? },
        OpKind::Mremap => Op::Mremap {
            old: addr()?,
            old_len: len()?,
            new_len: Bytes(row.bits(LEN2)?),
            flags: flags()?,
            new: Addr(row.bits(ADDR2)?),
        },
        OpKind::Mprotect => Op::Mprotect { addr: addr()?, len: len()?, prot: prot()?, pkey: None },
        OpKind::PkeyMprotect => {
            Op::Mprotect { addr: addr()?, len: len()?, prot: prot()?, pkey: Some(row.need(ARG0)?) }
        }
        OpKind::Brk => Op::Brk { addr: addr()? },
        OpKind::Madvise => Op::Madvise { addr: addr()?, len: len()?, advice: advice()? },
        OpKind::Shmat => Op::Shmat { id: row.need(ARG0)?, addr: addr()?, flags: row.need(FLAGS)? },
        OpKind::Shmdt => Op::Shmdt { addr: addr()? },
        OpKind::Mlock => Op::Mlock { addr: addr()?, len: len()?, flags: None },
        OpKind::Mlock2 => Op::Mlock { addr: addr()?, len: len()?, flags: Some(flags()?) },
        OpKind::Munlock => Op::Munlock { addr: addr()?, len: len()? },
        OpKind::Mlockall => Op::Mlockall { flags: flags()? },
        OpKind::Munlockall => Op::Munlockall,
        OpKind::Mseal => Op::Mseal { addr: addr()?, len: len()?, flags: flags()? },
        OpKind::Mbind => Op::Mbind { addr: addr()?, len: len()?, mode: arg(0)?, flags: flags()? },
        OpKind::SetMempolicyHomeNode => {
            Op::SetMempolicyHomeNode { addr: addr()?, len: len()?, node: arg(0)?, flags: flags()? }
        }
        OpKind::RemapFilePages => Op::RemapFilePages {
            addr: addr()?,
            len: len()?,
            prot: prot()?,
            pgoff: arg(0)?,
            flags: MapFlags(flags()?),
        },
        OpKind::Prctl => Op::Prctl { option: row.need(ARG0)?, args: [arg(1)?, arg(2)?, arg(3)?, arg(4)?] },
        OpKind::ArchPrctl => Op::ArchPrctl { code: arg(0)?, addr: arg(1)? },
        OpKind::MapShadowStack => Op::MapShadowStack { addr: addr()?, len: len()?, flags: flags()? },
        OpKind::IoSetup => Op::IoSetup { events: arg(0)? },
        OpKind::IoDestroy => Op::IoDestroy { ctx: addr()? },
        OpKind::Ioctl => Op::Ioctl { fd: row.need(FD)?, request: arg(0)?, arg: addr()? },
        OpKind::ProcessMadvise => Op::ProcessMadvise {
            pidfd: row.need(FD)?,
            iovec: addr()?,
            count: row.bits(LEN)?,
            advice: advice()?,
        },
        OpKind::Personality => Op::Personality { persona: arg(0)? },
        OpKind::Other => Op::Other {
            arch: row.need(LEN)?,
            nr: row.bits(ADDR)?,
            args: [arg(0)?, arg(1)?, arg(2)?, arg(3)?, arg(4)?, arg(5)?],
        },
        OpKind::Seccomp => Op::Seccomp { flags: flags()? },
        OpKind::Joined => Op::Joined,
        OpKind::Fork => {
            let child = row.get(CHILD).and_then(|id| lookup.task(id)).ok_or_else(|| row.wrong(CHILD))?;
            Op::Fork { kind: from_word(&FORKS, row, DETAIL)?, child, child_mm: mm2()? }
        }
        OpKind::Exec => Op::Exec { old_mm: mm2()? },
        OpKind::Exit => {
            Op::Exit { status: row.maybe(STATUS)?, signal: row.maybe(SIGNAL)?, last: yes(row, FLAGS)? }
        }
        OpKind::Fault => Op::Fault { addr: addr()? },
        OpKind::Snapshot => Op::Snapshot { reason: from_word(&REASONS, row, DETAIL)?, rows: attached.rows },
        OpKind::Observed => Op::Observed {
            rows: attached.rows,
            asked: AddrRange::from_len(addr()?, len()?).ok_or_else(|| row.wrong(LEN))?,
            late: yes(row, FLAGS)?,
            in_flight: attached.in_flight,
        },
        OpKind::Lost => {
            Op::Lost { count: row.get(COUNT).map(|v| v as u64), from: MonoNs(arg(0)?), to: MonoNs(arg(1)?) }
        }
        OpKind::Mark => {
            let name = row.get(NAME).and_then(|id| lookup.name(id)).ok_or_else(|| row.wrong(NAME))?;
            let text = std::str::from_utf8(name.as_bytes()).map_err(|_| row.wrong(NAME))?;
            Op::Mark { name: text.to_owned() }
        }
    })
}

pub(crate) fn yes(row: Row<'_>, column: usize) -> Result<bool, RecordError> {
    match row.get(column) {
        Some(0) => Ok(false),
        Some(1) => Ok(true),
        _ => Err(row.wrong(column)),
    }
}

const SOURCES: [(Source, &str); 4] = [
    (Source::Ptrace, "ptrace"),
    (Source::Bpf, "bpf"),
    (Source::Perf, "perf"),
    (Source::Observed, "observed"),
];

const FORKS: [(ForkKind, &str); 3] = [
    (ForkKind::Process, "process"),
    (ForkKind::SharedProcess, "shared-process"),
    (ForkKind::Thread, "thread"),
];

const REASONS: [(SnapshotReason, &str); 8] = [
    (SnapshotReason::Exec, "exec"),
    (SnapshotReason::Fork, "fork"),
    (SnapshotReason::Attach, "attach"),
    (SnapshotReason::Unclear, "unclear"),
    (SnapshotReason::Request, "request"),
    (SnapshotReason::Reconcile, "reconcile"),
    (SnapshotReason::Last, "last"),
    (SnapshotReason::Check, "check"),
];

/// Kinds in about the order of how often they come.
const KINDS: [OpKind; 37] = [
    OpKind::Mmap,
    OpKind::Munmap,
    OpKind::Mprotect,
    OpKind::Brk,
    OpKind::Observed,
    OpKind::Madvise,
    OpKind::Mremap,
    OpKind::Fault,
    OpKind::Snapshot,
    OpKind::Fork,
    OpKind::Exec,
    OpKind::Exit,
    OpKind::PkeyMprotect,
    OpKind::Shmat,
    OpKind::Shmdt,
    OpKind::Mlock,
    OpKind::Mlock2,
    OpKind::Munlock,
    OpKind::Mlockall,
    OpKind::Munlockall,
    OpKind::Mseal,
    OpKind::Mbind,
    OpKind::SetMempolicyHomeNode,
    OpKind::RemapFilePages,
    OpKind::Prctl,
    OpKind::ArchPrctl,
    OpKind::MapShadowStack,
    OpKind::IoSetup,
    OpKind::IoDestroy,
    OpKind::Ioctl,
    OpKind::ProcessMadvise,
    OpKind::Personality,
    OpKind::Other,
    OpKind::Seccomp,
    OpKind::Joined,
    OpKind::Lost,
    OpKind::Mark,
];

fn word<T: PartialEq>(words: &[(T, &'static str)], value: T) -> &'static str {
    // Every value is in its table (tested).
    words.iter().find(|(v, _)| *v == value).map_or("", |(_, word)| word)
}

fn from_word<T: Copy>(words: &[(T, &str)], row: Row<'_>, column: usize) -> Result<T, RecordError> {
    let word = row.word(column).ok_or_else(|| row.wrong(column))?;
    words.iter().find(|(_, w)| *w == word).map(|(v, _)| *v).ok_or_else(|| row.wrong(column))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table;

    /// Checks that the places of the columns are those of the table.
    #[test]
    fn columns_are_where_the_table_has_them() {
        assert_eq!(table::EVENTS.columns.len(), WIDTH);
        for (name, at) in NAMED {
            assert_eq!(table::EVENTS.column(&name.to_lowercase()), Some(*at), "{name}");
        }
    }
}
