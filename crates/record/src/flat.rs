//! An event as one row of numbers and words, bit by bit; the way back is `unflat`.

use crate::rows::Cell;
use crate::words::{FORKS, REASONS, SOURCES, word};
use vmatlas_event::{Addr, Bytes, Event, Op, Outcome, TaskId};

macro_rules! columns {
    ($($name:ident = $at:literal),+ $(,)?) => {
        $(pub(crate) const $name: usize = $at;)+
        #[cfg(test)]
        pub(crate) const NAMED: &[(&str, usize)] = &[$((stringify!($name), $at)),+];
    };
}

columns!(
    SEQ = 0,
    ENDED = 1,
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
    put(ENDED, event.left.0);
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
        Op::Brk { addr } | Op::Shmdt { addr } | Op::IoDestroy { ctx: addr } => put(ADDR, addr.0),
        Op::Fault { addr, ip, major } => {
            put(ADDR, addr.0);
            put(FLAGS, u64::from(*major));
            if let Some(ip) = ip {
                put(ADDR2, ip.0);
            }
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
        Op::Lost { count, from, to, .. } => {
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
