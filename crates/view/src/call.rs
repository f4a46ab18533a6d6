//! A call with its arguments, as a person reads it: `mmap(NULL, 1.0 GiB, READ|WRITE, PRIVATE|ANONYMOUS)`.

use crate::units::{push_decimal, push_hex, push_size};
use vmatlas_event::{Addr, Bytes, Errno, FlagName, MADV, MAP, MapFlags, Op, Outcome, PROT};

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

const MLOCK: &[FlagName] = &[FlagName { mask: 1, value: 1, name: "ONFAULT" }];
const MCL: &[FlagName] = &[
    FlagName { mask: 1, value: 1, name: "CURRENT" },
    FlagName { mask: 2, value: 2, name: "FUTURE" },
    FlagName { mask: 4, value: 4, name: "ONFAULT" },
];
/// MPOL_* (include/uapi/linux/mempolicy.h): a mode in the lower bits, flags above.
const MPOL: &[FlagName] = &[
    FlagName { mask: 0xff, value: 1, name: "PREFERRED" },
    FlagName { mask: 0xff, value: 2, name: "BIND" },
    FlagName { mask: 0xff, value: 3, name: "INTERLEAVE" },
    FlagName { mask: 0xff, value: 4, name: "LOCAL" },
    FlagName { mask: 0xff, value: 5, name: "PREFERRED_MANY" },
    FlagName { mask: 0xff, value: 6, name: "WEIGHTED_INTERLEAVE" },
    FlagName { mask: 0x2000, value: 0x2000, name: "NUMA_BALANCING" },
    FlagName { mask: 0x4000, value: 0x4000, name: "RELATIVE_NODES" },
    FlagName { mask: 0x8000, value: 0x8000, name: "STATIC_NODES" },
];
const MPOL_MF: &[FlagName] = &[
    FlagName { mask: 1, value: 1, name: "STRICT" },
    FlagName { mask: 2, value: 2, name: "MOVE" },
    FlagName { mask: 4, value: 4, name: "MOVE_ALL" },
];
const SHADOW_STACK: &[FlagName] =
    &[FlagName { mask: 1, value: 1, name: "SET_TOKEN" }, FlagName { mask: 2, value: 2, name: "SET_MARKER" }];
const SECCOMP: &[FlagName] = &[
    FlagName { mask: 1, value: 1, name: "TSYNC" },
    FlagName { mask: 2, value: 2, name: "LOG" },
    FlagName { mask: 4, value: 4, name: "SPEC_ALLOW" },
    FlagName { mask: 8, value: 8, name: "NEW_LISTENER" },
    FlagName { mask: 16, value: 16, name: "TSYNC_ESRCH" },
    FlagName { mask: 32, value: 32, name: "WAIT_KILLABLE_RECV" },
];
/// Options of prctl(2), codes of arch_prctl(2), requests of ioctl(2): those that are of memory.
const WORDS: &[(u64, &str)] = &[
    (35, "SET_MM"),
    (67, "SET_MEMORY_MERGE"),
    (0x5356_4d41, "SET_VMA"),
    (0x2001, "MAP_VDSO_X32"),
    (0x2002, "MAP_VDSO_32"),
    (0x2003, "MAP_VDSO_64"),
    (0x5001, "SHSTK_ENABLE"),
    (0x5002, "SHSTK_DISABLE"),
    (0xc020_aa00, "UFFDIO_REGISTER"),
    (0x8010_aa01, "UFFDIO_UNREGISTER"),
];
const ARCH_I386: u32 = 0x4000_0003;

/// The word for an option, or its number.
fn push_word(out: &mut String, value: u64) {
    match WORDS.iter().find(|(n, _)| *n == value) {
        Some((_, word)) => out.push_str(word),
        None => push_hex(out, value),
    }
}

/// Set bits by name, joined by `|`, unknown ones as a number; `none` when no bit is set.
fn push_flags(out: &mut String, table: &[FlagName], bits: u64, none: &str) {
    let mut rest = bits;
    let mut first = true;
    for flag in table {
        if bits & flag.mask == flag.value && flag.value != 0 {
            if !std::mem::take(&mut first) {
                out.push('|');
            }
            out.push_str(flag.name);
            rest &= !flag.mask;
        }
    }
    if rest != 0 {
        if !first {
            out.push('|');
        }
        push_hex(out, rest);
    } else if first {
        out.push_str(none);
    }
}

/// `PROT_*` bits without their prefix, joined by `|`; unknown bits as a number.
pub fn prot(bits: u64) -> String {
    let mut out = String::new();
    push_flags(&mut out, PROT, bits, "NONE");
    out
}

/// `MAP_*` bits without their prefix, joined by `|`; unknown bits as a number.
pub fn map_flags(bits: u64) -> String {
    let mut out = String::new();
    push_flags(&mut out, MAP, bits, "0");
    out
}

fn push_addr(out: &mut String, addr: Addr) {
    if addr.0 == 0 { out.push_str("NULL") } else { push_hex(out, addr.0) }
}

/// The size, or the bare number where that is no whole page and hence worth seeing exactly.
fn push_len(out: &mut String, len: Bytes) {
    if len.0.is_multiple_of(1024) && len.0 > 0 { push_size(out, len) } else { push_decimal(out, len.0) }
}

fn push_signed(out: &mut String, n: i32) {
    if n < 0 {
        out.push('-');
    }
    push_decimal(out, u64::from(n.unsigned_abs()));
}

/// Adds the call with its arguments to a text.
pub fn push(out: &mut String, op: &Op) {
    out.push_str(op.kind().name());
    let span = |out: &mut String, addr: Addr, len: Bytes| {
        push_addr(out, addr);
        out.push_str(", ");
        push_len(out, len);
    };
    out.push('(');
    match op {
        Op::Mmap { addr, len, prot, flags, fd, offset } => {
            span(out, *addr, *len);
            out.push_str(", ");
            push_flags(out, PROT, prot.0, "NONE");
            out.push_str(", ");
            push_flags(out, MAP, flags.0, "0");
            if !flags.has(MapFlags::ANONYMOUS) || *offset != 0 {
                out.push_str(", fd ");
                push_signed(out, *fd);
                out.push_str(", offset ");
                push_hex(out, *offset);
            }
        }
        Op::Munmap { addr, len } => span(out, *addr, *len),
        Op::Mremap { old, old_len, new_len, flags, new } => {
            span(out, *old, *old_len);
            out.push_str(", ");
            push_len(out, *new_len);
            out.push_str(", ");
            push_flags(out, MREMAP, *flags, "0");
            // The new place is an argument with MREMAP_FIXED and MREMAP_DONTUNMAP only.
            if flags & 6 != 0 {
                out.push_str(", ");
                push_addr(out, *new);
            }
        }
        Op::Mprotect { addr, len, prot, pkey } => {
            span(out, *addr, *len);
            out.push_str(", ");
            push_flags(out, PROT, prot.0, "NONE");
            if let Some(key) = pkey {
                out.push_str(", key ");
                push_signed(out, *key);
            }
        }
        Op::Brk { addr } | Op::Shmdt { addr } => push_addr(out, *addr),
        Op::Madvise { addr, len, advice } => {
            span(out, *addr, *len);
            out.push_str(", ");
            match advice.name() {
                Some(word) => out.push_str(word),
                None => push_signed(out, advice.0),
            }
        }
        Op::Shmat { id, addr, flags } => {
            push_signed(out, *id);
            out.push_str(", ");
            push_addr(out, *addr);
            out.push_str(", ");
            push_flags(out, SHM, u64::from(*flags as u32), "0");
        }
        Op::Mlock { addr, len, flags } => {
            span(out, *addr, *len);
            if let Some(flags) = flags {
                out.push_str(", ");
                push_flags(out, MLOCK, *flags, "0");
            }
        }
        Op::Munlock { addr, len } => span(out, *addr, *len),
        Op::Mlockall { flags } => push_flags(out, MCL, *flags, "0"),
        Op::Munlockall => {}
        Op::Mseal { addr, len, flags } => {
            span(out, *addr, *len);
            out.push_str(", ");
            push_hex(out, *flags);
        }
        Op::Mbind { addr, len, mode, flags } => {
            span(out, *addr, *len);
            out.push_str(", ");
            push_flags(out, MPOL, *mode, "DEFAULT");
            out.push_str(", ");
            push_flags(out, MPOL_MF, *flags, "0");
        }
        Op::SetMempolicyHomeNode { addr, len, node, flags } => {
            span(out, *addr, *len);
            out.push_str(", node ");
            push_decimal(out, *node);
            out.push_str(", ");
            push_hex(out, *flags);
        }
        Op::RemapFilePages { addr, len, pgoff, flags, .. } => {
            span(out, *addr, *len);
            out.push_str(", page ");
            push_decimal(out, *pgoff);
            out.push_str(", ");
            push_flags(out, MAP, flags.0, "0");
        }
        Op::Prctl { option, args } => {
            push_word(out, u64::from(*option as u32));
            for arg in args {
                out.push_str(", ");
                push_hex(out, *arg);
            }
        }
        Op::ArchPrctl { code, addr } => {
            push_word(out, *code);
            out.push_str(", ");
            push_hex(out, *addr);
        }
        Op::MapShadowStack { addr, len, flags } => {
            span(out, *addr, *len);
            out.push_str(", ");
            push_flags(out, SHADOW_STACK, *flags, "0");
        }
        Op::IoSetup { events } => push_decimal(out, *events),
        Op::IoDestroy { ctx } => push_addr(out, *ctx),
        Op::Ioctl { fd, request, arg } => {
            out.push_str("fd ");
            push_signed(out, *fd);
            out.push_str(", ");
            push_word(out, *request);
            out.push_str(", ");
            push_addr(out, *arg);
        }
        Op::ProcessMadvise { pidfd, count, advice, .. } => {
            out.push_str("pidfd ");
            push_signed(out, *pidfd);
            out.push_str(", ranges ");
            push_decimal(out, *count);
            out.push_str(", ");
            match advice.name() {
                Some(word) => out.push_str(word),
                None => push_signed(out, advice.0),
            }
        }
        Op::Seccomp { flags } => {
            out.push_str("SET_MODE_FILTER, ");
            push_flags(out, SECCOMP, *flags, "0");
        }
        Op::Personality { persona } => push_hex(out, *persona),
        // Their arguments lie in the program's memory, which may have changed since.
        Op::Other { arch: ARCH_I386, nr: 90, .. } => out.push_str("old mmap of 32 bits"),
        Op::Other { arch: ARCH_I386, nr: 117, args } => {
            out.push_str(if args[0] & 0xffff == 21 {
                "ipc SHMAT of 32 bits"
            } else {
                "ipc SHMDT of 32 bits"
            });
        }
        // Architecture 0: the task ended inside a call of which only the return would have told.
        Op::Other { arch: 0, .. } => out.push('?'),
        Op::Other { arch, nr, .. } => {
            out.push_str("call ");
            push_decimal(out, *nr);
            out.push_str(", arch ");
            push_hex(out, u64::from(*arch));
        }
        _ => {}
    }
    out.push(')');
}

/// The call with its arguments, as text.
pub fn text(op: &Op) -> String {
    let mut out = String::new();
    push(&mut out, op);
    out
}

/// Names of the advice numbers, for whoever lists them.
pub fn advice_names() -> impl Iterator<Item = &'static str> {
    MADV.iter().map(|f| f.name)
}

/// Adds how a call ended: an address where it returns one, `0`, the error's name, or `?` when the task ended inside it.
pub fn push_result(
    out: &mut String,
    op: &Op,
    outcome: Outcome,
    errno_name: fn(Errno) -> Option<&'static str>,
) {
    match outcome {
        Outcome::Done(value) => match op {
            Op::Mmap { .. }
            | Op::Mremap { .. }
            | Op::Brk { .. }
            | Op::Shmat { .. }
            | Op::MapShadowStack { .. }
            | Op::Personality { .. }
            | Op::Other { .. } => push_hex(out, value),
            _ => push_decimal(out, value),
        },
        Outcome::Failed(errno) => match errno_name(errno) {
            Some(name) => out.push_str(name),
            None => {
                out.push_str("error ");
                push_signed(out, errno.0);
            }
        },
        Outcome::NoReturn => out.push('?'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmatlas_event::{Advice, ProtArg};

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
        let bind = Op::Mbind { addr: Addr(0x1000), len: Bytes(4096), mode: 0x8002, flags: 2 };
        assert_eq!(text(&bind), "mbind(0x1000, 4 KiB, BIND|STATIC_NODES, MOVE)");
        let name = Op::Prctl { option: 0x5356_4d41, args: [0, 0x1000, 4096, 0x2000] };
        assert_eq!(text(&name), "prctl(SET_VMA, 0x0, 0x1000, 0x1000, 0x2000)");
        let lock = |flags| Op::Mlock { addr: Addr(0x1000), len: Bytes(1), flags };
        assert_eq!(
            [text(&lock(None)), text(&lock(Some(1)))],
            ["mlock(0x1000, 1)", "mlock2(0x1000, 1, ONFAULT)"]
        );
        assert_eq!(text(&Op::Munlockall), "munlockall()");
        let result = |op: &Op, outcome| {
            let mut out = String::new();
            push_result(&mut out, op, outcome, |_| Some("EINVAL"));
            out
        };
        assert_eq!(result(&advise, Outcome::Failed(Errno(22))), "EINVAL");
        assert_eq!(result(&advise, Outcome::Done(0)), "0");
        assert_eq!(result(&Op::Brk { addr: Addr(0) }, Outcome::Done(0x5000)), "0x5000");
    }
}
