//! A call with its arguments, as a person reads it: `mmap(NULL, 1.0 GiB, READ|WRITE, PRIVATE|ANONYMOUS)`.

use crate::units;
use vmatlas_event::{Addr, Bytes, FlagName, MADV, MAP, MapFlags, Op, Outcome, PROT, flag_names};

const MREMAP: &[FlagName] = &[
    FlagName { mask: 1, value: 1, name: "MAYMOVE" },
    FlagName { mask: 2, value: 2, name: "FIXED" },
    FlagName { mask: 4, value: 4, name: "DONTUNMAP" },
];
const SHM: &[FlagName] = &[
    FlagName { mask: 0x1000, value: 0x1000, name: "RDONLY" },
    FlagName { mask: 0x2000, value: 0x2000, name: "RND" },
    FlagName { mask: 0x4000, value: 0x4000, name: "REMAP" },
    FlagName { mask: 0x8000, value: 0x8000, name: "EXEC" },
];

/// Names joined by `|`, unknown bits as a number, `none` for nothing.
pub fn flags(table: &[FlagName], bits: u64, none: &str) -> String {
    let (names, rest) = flag_names(table, bits);
    let mut words: Vec<String> = names.into_iter().map(str::to_owned).collect();
    if rest != 0 {
        words.push(format!("{rest:#x}"));
    }
    if words.is_empty() { none.to_owned() } else { words.join("|") }
}

/// `PROT_*` bits without their prefix.
pub fn prot(bits: u64) -> String {
    flags(PROT, bits, "NONE")
}

/// `MAP_*` bits without their prefix.
pub fn map_flags(bits: u64) -> String {
    flags(MAP, bits, "0")
}

fn addr(addr: Addr) -> String {
    if addr.0 == 0 { "NULL".to_owned() } else { addr.to_string() }
}

/// The size, or the bare number where that is no whole page and hence worth seeing exactly.
fn len(len: Bytes) -> String {
    if len.0.is_multiple_of(1024) && len.0 > 0 { units::size(len) } else { len.0.to_string() }
}

/// The call with its arguments.
pub fn text(op: &Op) -> String {
    let name = op.kind().name();
    match op {
        Op::Mmap { addr: a, len: l, prot: p, flags: f, fd, offset } => {
            let start = format!("{name}({}, {}, {}, {}", addr(*a), len(*l), prot(p.0), map_flags(f.0));
            if f.has(MapFlags::ANONYMOUS) && *offset == 0 {
                format!("{start})")
            } else {
                format!("{start}, fd {fd}, offset {offset:#x})")
            }
        }
        Op::Munmap { addr: a, len: l } => format!("{name}({}, {})", addr(*a), len(*l)),
        Op::Mremap { old, old_len, new_len, flags: f, new } => {
            let flag_text = flags(MREMAP, *f, "0");
            let place = if f & 6 != 0 { format!(", {}", addr(*new)) } else { String::new() };
            format!("{name}({}, {}, {}, {flag_text}{place})", addr(*old), len(*old_len), len(*new_len))
        }
        Op::Mprotect { addr: a, len: l, prot: p, pkey } => {
            let key = pkey.map_or_else(String::new, |key| format!(", key {key}"));
            format!("{name}({}, {}, {}{key})", addr(*a), len(*l), prot(p.0))
        }
        Op::Brk { addr: a } => format!("{name}({})", addr(*a)),
        Op::Madvise { addr: a, len: l, advice } => {
            let word = advice.name().map_or_else(|| advice.0.to_string(), str::to_owned);
            format!("{name}({}, {}, {word})", addr(*a), len(*l))
        }
        Op::Shmat { id, addr: a, flags: f } => {
            format!("{name}({id}, {}, {})", addr(*a), flags(SHM, u64::from(*f as u32), "0"))
        }
        Op::Shmdt { addr: a } => format!("{name}({})", addr(*a)),
        Op::Other { arch: 0, .. } => "memory call".to_owned(),
        Op::Other { arch, nr, .. } => format!("call {nr} (arch {arch:#x})"),
        other => other.kind().name().to_owned(),
    }
}

/// Names of the advice numbers, for whoever lists them.
pub fn advice_names() -> impl Iterator<Item = &'static str> {
    MADV.iter().map(|f| f.name)
}

/// The result: an address where the call returns one, `0`, or the error's name; `?` when the task ended inside it.
pub fn result(
    op: &Op,
    outcome: Outcome,
    errno_name: impl Fn(vmatlas_event::Errno) -> Option<&'static str>,
) -> String {
    match outcome {
        Outcome::Done(value) => match op {
            Op::Munmap { .. } | Op::Mprotect { .. } | Op::Madvise { .. } | Op::Shmdt { .. } => {
                value.to_string()
            }
            _ => format!("{value:#x}"),
        },
        Outcome::Failed(errno) => {
            errno_name(errno).map_or_else(|| format!("error {}", errno.0), str::to_owned)
        }
        Outcome::NoReturn => "?".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmatlas_event::{Advice, Errno, ProtArg};

    /// Checks the calls of the talk and the odd ones: exact small lengths, unknown bits, hidden descriptors.
    #[test]
    fn calls_read_like_the_man_page() {
        let mmap = |len, flags, offset| Op::Mmap {
            addr: Addr(0),
            len: Bytes(len),
            prot: ProtArg(3),
            flags: MapFlags(flags),
            fd: 3,
            offset,
        };
        assert_eq!(text(&mmap(1 << 30, 0x22, 0)), "mmap(NULL, 1.0 GiB, READ|WRITE, PRIVATE|ANONYMOUS)");
        assert_eq!(text(&mmap(1, 0x8022, 0)), "mmap(NULL, 1, READ|WRITE, PRIVATE|ANONYMOUS|POPULATE)");
        assert_eq!(text(&mmap(0, 1, 4096)), "mmap(NULL, 0, READ|WRITE, SHARED, fd 3, offset 0x1000)");
        assert_eq!(
            text(&mmap(4096, 0x8_0000_0002, 0)),
            "mmap(NULL, 4 KiB, READ|WRITE, PRIVATE|0x800000000, fd 3, offset 0x0)"
        );
        let advise = Op::Madvise { addr: Addr(0x1000), len: Bytes(8192), advice: Advice(4) };
        assert_eq!(text(&advise), "madvise(0x1000, 8 KiB, DONTNEED)");
        let name = |_| Some("EINVAL");
        assert_eq!(result(&advise, Outcome::Failed(Errno(22)), name), "EINVAL");
        assert_eq!(result(&advise, Outcome::Done(0), name), "0");
        assert_eq!(result(&Op::Brk { addr: Addr(0) }, Outcome::Done(0x5000), name), "0x5000");
    }
}
