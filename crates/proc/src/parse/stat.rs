//! /proc/PID/stat (proc_pid_stat(5)): one line whose second field is a name with any bytes in it.

use super::{ParseError, decimal};
use vmatlas_event::{Addr, Pid, StartTime};

/// The fields of stat that vmatlas uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The name, at most 15 bytes of any kind.
    pub comm: Vec<u8>,
    /// The state's letter: R, S, D, T, t, Z, X, I...
    pub state: u8,
    /// The parent.
    pub ppid: Pid,
    /// PF_* of the task.
    pub flags: u64,
    /// Page faults served without reading from a disk.
    pub minor_faults: u64,
    /// Page faults that had to read.
    pub major_faults: u64,
    /// Clock ticks since boot at its start.
    pub started: StartTime,
    /// Where the stack starts; `None` when we may not know (the kernel then writes 0).
    pub start_stack: Option<Addr>,
    /// Where the heap (brk) starts; `None` when we may not know.
    pub start_brk: Option<Addr>,
}

impl Stat {
    /// Whether the task is a thread of the kernel and has no memory of its own.
    pub fn is_kernel_thread(&self) -> bool {
        const PF_KTHREAD: u64 = 0x0020_0000;
        self.flags & PF_KTHREAD != 0
    }

    /// Whether the task has begun to end (kernel kernel/exit.c:do_exit()), or has ended.
    pub fn is_ending(&self) -> bool {
        const PF_EXITING: u64 = 0x4;
        self.flags & PF_EXITING != 0 || self.is_zombie()
    }

    /// Whether the task has ended and only its exit status is left.
    pub fn is_zombie(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }
}

/// Reads the line. The name ends at the last `)`, since it may hold any byte itself.
///
/// # Errors
/// [`ParseError`] when a field is missing or no number.
pub fn parse(text: &[u8]) -> Result<Stat, ParseError> {
    let bad = |expected| ParseError::new(expected, text);
    let open = text.iter().position(|b| *b == b'(').ok_or_else(|| bad("stat: (name)"))?;
    let close =
        text.iter().rposition(|b| *b == b')').filter(|c| *c > open).ok_or_else(|| bad("stat: (name)"))?;
    let fields: Vec<&[u8]> =
        text[close + 1..].split(|b| b.is_ascii_whitespace()).filter(|f| !f.is_empty()).collect();
    // Field 3 (the state) is the first after the name; numbers here are those of the man page.
    let field = |n: usize| fields.get(n - 3).copied().ok_or_else(|| bad("stat: 52 fields"));
    let number = |n: usize| decimal(field(n)?).ok_or_else(|| bad("stat: a number"));
    let addr = |n: usize| Ok(Some(Addr(number(n)?)).filter(|a| a.0 != 0));
    Ok(Stat {
        comm: text[open + 1..close].to_vec(),
        state: field(3)?.first().copied().unwrap_or(b'?'),
        ppid: Pid(number(4)?.try_into().map_err(|_| bad("stat: a PID"))?),
        flags: number(9)?,
        minor_faults: number(10)?,
        major_faults: number(12)?,
        started: StartTime(number(22)?),
        start_stack: addr(28)?,
        start_brk: addr(47)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "4242 (NAME) S 1 4242 4242 0 -1 4194560 123 0 4 0 1 2 0 0 20 0 1 0 98765 10000 100 \
        18446744073709551615 1 2 140723412341234 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 3 4 94210000 5 6 7 8 0\n";

    /// Checks that a name with parentheses, spaces and newlines does not move the fields.
    #[test]
    fn any_name_is_read() {
        for name in ["cat", ") R 1", "a b", "((", "x\ny"] {
            let stat = parse(LINE.replace("NAME", name).as_bytes()).unwrap();
            assert_eq!(stat.comm, name.as_bytes());
            assert_eq!((stat.state, stat.ppid, stat.started), (b'S', Pid(1), StartTime(98765)));
            assert_eq!((stat.minor_faults, stat.major_faults), (123, 4));
            assert_eq!(stat.start_brk, Some(Addr(94_210_000)));
            assert!(!stat.is_kernel_thread() && !stat.is_ending());
        }
    }

    /// Checks that a task is seen to end before it is a zombie, and as one.
    #[test]
    fn ends_are_seen() {
        for (from, to) in [(" 4194560 ", " 4194564 "), (") S ", ") Z "), (") S ", ") X ")] {
            let stat = parse(LINE.replace(from, to).as_bytes()).unwrap();
            assert!(stat.is_ending(), "{to}");
        }
    }

    /// Checks that what is cut or no line of stat is an error, never a panic.
    #[test]
    fn malformed_lines_are_refused() {
        for text in ["", "1", "1 (x", "1 x) S", "1 (x) S 1 2", "1 )x( S 1"] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
