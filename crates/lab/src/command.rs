//! Commands to the subject and its replies, as they go over the socket: a few words of fixed size, so that the subject
//! allocates nothing for them.

use vmatlas_event::{Addr, AddrRange, Bytes, Errno, MapFlags, ProtArg};
use vmatlas_sys::mem::{MmapArgs, Touch};

const COMMAND_WORDS: usize = 8;
const REPLY_WORDS: usize = 2;
/// What a command takes on the wire.
pub(crate) const COMMAND_SIZE: usize = COMMAND_WORDS * 8;
/// What a reply takes on the wire.
pub(crate) const REPLY_SIZE: usize = REPLY_WORDS * 8;
/// Set in the first word of a reply that carries an error number.
const FAILED: u64 = 1;

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
    /// posix_spawn(3) of a program: of the one in a file that is open here, or with 0 of this one; it takes commands from
    /// this socket, and the answer is its PID.
    Spawn { peer: u64, file: u64 },
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
            Command::Spawn { peer, file } => [11, peer, file, 0, 0, 0, 0, 0],
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

    pub(crate) fn decode(wire: &[u8; COMMAND_SIZE]) -> Option<Command> {
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
            11 => Command::Spawn { peer: a, file: b },
            _ => return None,
        })
    }
}

/// Puts a reply on the wire.
pub(crate) fn encode_reply(reply: Reply) -> [u8; REPLY_SIZE] {
    bytes(match reply {
        Ok(value) => [0, value],
        Err(errno) => [FAILED, errno.0 as u64],
    })
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
            Command::Spawn { peer: 1, file: 24 },
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
