//! The event of a row; every value is checked.

use crate::batch::Row;
use crate::error::RecordError;
use crate::flat::*;
use crate::words::{FORKS, REASONS, SOURCES, from_word, word};
use vmatlas_event::{
    Addr, AddrRange, Advice, Bytes, Errno, Event, Keyframe, MapFlags, MmId, MonoNs, Op, OpKind, Outcome,
    ProtArg, Seq, Source, StackId, TaskId, VmaRow,
};

/// What an event holds besides its own row.
#[derive(Debug, Default)]
pub(crate) struct Attached {
    pub(crate) rows: Vec<VmaRow>,
    pub(crate) in_flight: Vec<TaskId>,
    /// After a loss.
    pub(crate) state: Option<Box<Keyframe>>,
}

/// How many rows and tasks in flight belong to an event.
pub(crate) fn attached(row: Row<'_>) -> Result<(u64, u64), RecordError> {
    match row.word(OP) {
        Some("snapshot") => Ok((row.bits(COUNT)?, 0)),
        Some("observed") => Ok((row.bits(COUNT)?, row.bits(LEN2)?)),
        _ => Ok((0, 0)),
    }
}

/// Whether it tells of events that were lost, with the state after them; faults that were lost change no state.
pub(crate) fn is_loss(row: Row<'_>) -> bool {
    row.word(OP) == Some(OpKind::Lost.name()) && row.word(SOURCE) != Some(word(&SOURCES, Source::Perf))
}

/// The event of a row.
pub(crate) fn event(row: Row<'_>, attached: Attached, lookup: &dyn Lookup) -> Result<Event, RecordError> {
    let task = |column| row.get(column).and_then(|id| lookup.task(id)).ok_or_else(|| row.wrong(column));
    let left = row.bits(ENDED)?;
    let outcome = match (row.get(RESULT), row.maybe::<i32>(ERRNO)?) {
        (Some(value), None) => Outcome::Done(value as u64),
        (None, Some(errno)) => Outcome::Failed(Errno(errno)),
        (None, None) => Outcome::NoReturn,
        (Some(_), Some(_)) => return Err(row.wrong(ERRNO)),
    };
    Ok(Event {
        seq: Seq(row.bits(SEQ)?),
        entered: MonoNs(left.wrapping_sub(row.bits(TOOK)?)),
        left: MonoNs(left),
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
    let kind = OpKind::from_name(name).ok_or_else(|| row.wrong(OP))?;
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
        OpKind::Fault => {
            let ip = row.get(ADDR2).map(|ip| Addr(ip as u64));
            Op::Fault { addr: addr()?, ip, major: yes(row, FLAGS)? }
        }
        OpKind::Snapshot => Op::Snapshot { reason: from_word(&REASONS, row, DETAIL)?, rows: attached.rows },
        OpKind::Observed => Op::Observed {
            rows: attached.rows,
            asked: AddrRange::from_len(addr()?, len()?).ok_or_else(|| row.wrong(LEN))?,
            late: yes(row, FLAGS)?,
            in_flight: attached.in_flight,
        },
        OpKind::Lost => {
            let (count, state) = (row.get(COUNT).map(|v| v as u64), attached.state);
            Op::Lost { count, from: MonoNs(arg(0)?), to: MonoNs(arg(1)?), state }
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
