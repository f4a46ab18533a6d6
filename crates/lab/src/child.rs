//! The subject of every experiment: vmatlas itself, executed again into a routine that only does what it is told.
//!
//! Commands and replies have a fixed size and live on the stack. Between a command and its reply the routine allocates
//! nothing, so whatever happens to the map there was caused by the command.

use crate::cleanup::{JANITOR_ARGUMENT, be_the_janitor};
use std::ffi::OsStr;
use vmatlas_event::{Addr, AddrRange, Bytes, Errno, MapFlags, Pid, ProtArg};
use vmatlas_sys::exit_now;
use vmatlas_sys::mem::{self, MmapArgs, Touch};
use vmatlas_sys::workbench::{CALLS, Workbench};

/// The hidden first argument that makes vmatlas the subject.
pub(crate) const CHILD_ARGUMENT: &str = "__lab-child";
/// The descriptor of the socket that commands come from and replies go to.
pub(crate) const COMMAND_FD: i32 = 20;
/// The descriptors of the sockets that children of the subject take their commands from.
pub(crate) const PEER_FDS: [i32; 2] = [22, 23];
/// The descriptors of the files an experiment works with, where it has some.
pub(crate) const FILE_FDS: [i32; 4] = [24, 25, 26, 27];
/// The first of them.
pub(crate) const FILE_FD: i32 = FILE_FDS[0];
/// The subject's name (comm), as ps shows it.
pub(crate) const CHILD_NAME: &str = "vmatlas-lab";

const COMMAND_WORDS: usize = 8;
const REPLY_WORDS: usize = 2;
/// What a command takes on the wire.
pub(crate) const COMMAND_SIZE: usize = COMMAND_WORDS * 8;
/// What a reply takes on the wire.
pub(crate) const REPLY_SIZE: usize = REPLY_WORDS * 8;
/// Set in the first word of a reply that carries an error number.
const FAILED: u64 = 1;
/// The answer to what the routine does not know: ENOSYS.
const NO_SUCH: Errno = Errno(38);

/// What the subject is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// mmap(2).
    Mmap(MmapArgs),
    /// brk(2); 0 only asks.
    Brk(Addr),
    /// Access pages of a range, one byte each.
    Touch { range: AddrRange, first: u64, pages: u64, how: Touch },
    /// A call of the workbench's table, by its place there.
    Call { index: u64, args: [u64; 6] },
    /// Read a byte.
    Peek(Addr),
    /// Write a byte.
    Poke(Addr, u8),
    /// fork(2); the child takes commands from this socket, and the answer is its PID.
    Fork { peer: u64 },
    /// waitpid(2); the answer is the status, or 256 and the signal.
    Wait(u64),
    /// execve(2) of this program; the answer comes from the new one.
    Exec,
    /// An experiment's own routine.
    Own { experiment: u64, args: [u64; 5] },
    /// Exit with status 0.
    Exit,
}

/// What came of it: the call's result, or its error.
pub(crate) type Reply = Result<u64, Errno>;

impl Command {
    pub(crate) fn encode(self) -> [u8; COMMAND_SIZE] {
        let words: [u64; COMMAND_WORDS] = match self {
            Command::Exit => [0; COMMAND_WORDS],
            Command::Call { index, args: [a, b, c, d, e, f] } => [4, index, a, b, c, d, e, f],
            Command::Peek(addr) => [5, addr.0, 0, 0, 0, 0, 0, 0],
            Command::Poke(addr, value) => [6, addr.0, u64::from(value), 0, 0, 0, 0, 0],
            Command::Fork { peer } => [7, peer, 0, 0, 0, 0, 0, 0],
            Command::Wait(pid) => [8, pid, 0, 0, 0, 0, 0, 0],
            Command::Exec => [9, 0, 0, 0, 0, 0, 0, 0],
            Command::Own { experiment, args: [a, b, c, d, e] } => [10, experiment, a, b, c, d, e, 0],
            Command::Mmap(a) => {
                // Sign-extended, as the kernel takes a descriptor of -1.
                let fd = i64::from(a.fd) as u64;
                [1, a.addr.0, a.len.0, a.prot.0, a.flags.0, fd, a.offset, 0]
            }
            Command::Brk(addr) => [2, addr.0, 0, 0, 0, 0, 0, 0],
            Command::Touch { range, first, pages, how } => {
                [3, range.start().0, range.end().0, first, pages, u64::from(how == Touch::Write), 0, 0]
            }
        };
        bytes(words)
    }

    fn decode(wire: &[u8; COMMAND_SIZE]) -> Option<Command> {
        let [op, a, b, c, d, e, f, g] = words::<COMMAND_WORDS>(wire);
        Some(match op {
            0 => Command::Exit,
            1 => Command::Mmap(MmapArgs {
                addr: Addr(a),
                len: Bytes(b),
                prot: ProtArg(c),
                flags: MapFlags(d),
                fd: e as i32,
                offset: f,
            }),
            2 => Command::Brk(Addr(a)),
            3 => Command::Touch {
                range: AddrRange::new(Addr(a), Addr(b))?,
                first: c,
                pages: d,
                how: if e == 1 { Touch::Write } else { Touch::Read },
            },
            4 => Command::Call { index: a, args: [b, c, d, e, f, g] },
            5 => Command::Peek(Addr(a)),
            6 => Command::Poke(Addr(a), b as u8),
            7 => Command::Fork { peer: a },
            8 => Command::Wait(a),
            9 => Command::Exec,
            10 => Command::Own { experiment: a, args: [b, c, d, e, f] },
            _ => return None,
        })
    }
}

/// Reads a reply off the wire.
pub(crate) fn decode_reply(wire: &[u8; REPLY_SIZE]) -> Reply {
    let [failed, value] = words::<REPLY_WORDS>(wire);
    if failed == FAILED { Err(Errno(value as i32)) } else { Ok(value) }
}

fn bytes<const WORDS: usize, const SIZE: usize>(words: [u64; WORDS]) -> [u8; SIZE] {
    let mut out = [0; SIZE];
    for (slot, word) in out.chunks_exact_mut(8).zip(words) {
        slot.copy_from_slice(&word.to_ne_bytes());
    }
    out
}

fn words<const WORDS: usize>(wire: &[u8]) -> [u64; WORDS] {
    let mut out = [0; WORDS];
    for (word, chunk) in out.iter_mut().zip(wire.as_chunks::<8>().0) {
        *word = u64::from_ne_bytes(*chunk);
    }
    out
}

/// Becomes the subject, or the janitor, when vmatlas was executed as one, and then never returns; returns at once otherwise.
///
/// Call it before anything else: what is allocated before it belongs to the subject.
pub fn child_if_asked() {
    let first = std::env::args_os().nth(1);
    if first.as_deref() == Some(OsStr::new(CHILD_ARGUMENT)) {
        exit_now(be_the_subject());
    }
    if first.as_deref() == Some(OsStr::new(JANITOR_ARGUMENT)) {
        be_the_janitor(std::io::stdin().lock());
        exit_now(0);
    }
}

fn be_the_subject() -> i32 {
    mem::no_core_file();
    // The name is a courtesy to whoever looks with ps; the score makes the kernel end this process first should an
    // experiment use up the memory. Both work without.
    let _ = std::fs::write("/proc/self/comm", CHILD_NAME);
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    // A child of the subject that executed itself again says with a third argument where its commands come from.
    let given = std::env::args_os().nth(2).and_then(|word| word.to_str()?.parse().ok());
    let fd = given.filter(|fd| PEER_FDS.contains(fd)).unwrap_or(COMMAND_FD);
    let Ok(bench) = Workbench::new() else { return 3 };
    let subject = Subject { bench };
    subject.rehearse();
    // Hello: who I am.
    if reply(fd, Ok(u64::from(std::process::id()))).is_err() {
        let line = b"vmatlas: this is for 'vmatlas lab' alone / vmatlas lab \xe5\xb0\x82\xe7\x94\xa8\xe3\x81\xa7\xe3\x81\x99\n";
        let _ = mem::write_raw(2, line);
        return 2;
    }
    subject.serve(fd)
}

/// The routine, with what it may change.
struct Subject {
    bench: Workbench,
}

impl Subject {
    /// Takes every path once, so that the first command does not pay for code that was never touched before. Nothing
    /// here changes the map: a length of 0 is refused, a break of 0 only asks, and the stack is there already.
    fn rehearse(&self) {
        let perform = |command: Command| {
            let _ = mem::read_raw(-1, &mut [0; COMMAND_SIZE]);
            let _ = Command::decode(&command.encode()).map(|command| self.perform(command, COMMAND_FD));
        };
        perform(Command::Mmap(MmapArgs {
            addr: Addr(0),
            len: Bytes(0),
            prot: ProtArg(0),
            flags: MapFlags(0x22),
            fd: -1,
            offset: 0,
        }));
        perform(Command::Brk(Addr(0)));
        let here = 0u8;
        let page = vmatlas_sys::page_size();
        let at = page.floor(Addr((&raw const here).addr() as u64));
        if let Some(range) = AddrRange::from_len(at, Bytes(page.bytes())) {
            perform(Command::Touch { range, first: 0, pages: 1, how: Touch::Read });
        }
        perform(Command::Peek(at));
        perform(Command::Poke(at, 0));
        perform(Command::Call { index: 0, args: [0; 6] });
        perform(Command::Own { experiment: u64::MAX, args: [0; 5] });
    }

    fn serve(&self, fd: i32) -> i32 {
        loop {
            let mut wire = [0; COMMAND_SIZE];
            let mut filled = 0;
            while filled < wire.len() {
                match mem::read_raw(fd, &mut wire[filled..]) {
                    // The experimenter is gone: nobody needs us.
                    Ok(0) | Err(_) => return 0,
                    Ok(n) => filled += n,
                }
            }
            let command = match Command::decode(&wire) {
                None => return 3,
                Some(Command::Exit) => return 0,
                Some(command) => command,
            };
            if reply(fd, self.perform(command, fd)).is_err() {
                return 0;
            }
        }
    }

    fn perform(&self, command: Command, fd: i32) -> Reply {
        let bench = &self.bench;
        match command {
            Command::Mmap(args) => mem::map(args).map(|addr| addr.0),
            Command::Brk(addr) => Ok(mem::brk(addr).0),
            Command::Touch { range, first, pages, how } => mem::touch(range, first, pages, how),
            Command::Call { index, args } => {
                let call = CALLS.get(index as usize).copied().ok_or(NO_SUCH)?;
                bench.call(call, args)
            }
            Command::Peek(addr) => Ok(u64::from(bench.peek(addr))),
            Command::Poke(addr, value) => bench.poke(addr, value).map(|()| 0),
            Command::Fork { peer } => self.fork(peer as usize),
            Command::Wait(pid) => bench.wait(Pid(pid as i32)),
            Command::Exec => {
                let word = PEER_FDS.iter().zip([c"22", c"23"]).find(|(peer, _)| **peer == fd);
                Err(bench.exec_self([c"vmatlas", c"__lab-child", word.map_or(c"20", |(_, word)| word)]))
            }
            Command::Own { experiment, args } => {
                let info = crate::experiments().nth(experiment as usize).ok_or(NO_SUCH)?;
                info.own.ok_or(NO_SUCH)?(bench, args)
            }
            Command::Exit => Ok(0),
        }
    }

    /// The child has its own socket, and nothing else of ours: when we are gone, ours is seen to end.
    fn fork(&self, peer: usize) -> Reply {
        let fd = PEER_FDS.get(peer).copied().ok_or(NO_SUCH)?;
        let body = || {
            for other in PEER_FDS.iter().chain([&COMMAND_FD]).filter(|other| **other != fd) {
                self.bench.close(*other);
            }
            self.serve(fd)
        };
        let pid = self.bench.fork(body)?;
        self.bench.close(fd);
        Ok(pid.0 as u64)
    }
}

fn reply(fd: i32, reply: Reply) -> Result<(), Errno> {
    let words = match reply {
        Ok(value) => [0, value],
        Err(errno) => [FAILED, errno.0 as u64],
    };
    mem::write_raw(fd, &bytes::<REPLY_WORDS, REPLY_SIZE>(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that every command means the same on both ends, the descriptor -1 and full-range numbers among them.
    #[test]
    fn commands_survive_the_wire() {
        let range = AddrRange::new(Addr(0x7000), Addr(u64::MAX)).unwrap();
        for command in [
            Command::Exit,
            Command::Brk(Addr(0x5555)),
            Command::Touch { range, first: 7, pages: u64::MAX, how: Touch::Write },
            Command::Touch { range, first: 0, pages: 1, how: Touch::Read },
            Command::Call { index: 3, args: [1, 2, 3, 4, 5, u64::MAX] },
            Command::Peek(Addr(7)),
            Command::Poke(Addr(7), 255),
            Command::Fork { peer: 1 },
            Command::Wait(9),
            Command::Exec,
            Command::Own { experiment: 4, args: [1, 2, 3, 4, 5] },
            Command::Mmap(MmapArgs {
                addr: Addr(u64::MAX),
                len: Bytes(1 << 63),
                prot: ProtArg(3),
                flags: MapFlags(1 << 40),
                fd: -1,
                offset: 4097,
            }),
        ] {
            assert_eq!(Command::decode(&command.encode()), Some(command));
        }
        assert_eq!(Command::decode(&bytes([99, 0, 0, 0, 0, 0, 0, 0])), None);
    }

    /// Checks that a result that looks like an error number is still a result.
    #[test]
    fn replies_tell_results_from_errors() {
        assert_eq!(decode_reply(&bytes([0, 12])), Ok(12));
        assert_eq!(decode_reply(&bytes([FAILED, 12])), Err(Errno(12)));
    }
}
