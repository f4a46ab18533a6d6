//! System calls as numbers and words, decoded into operations: pure.

mod call;
mod i386;
mod x86_64;

use vmatlas_event::{Errno, Op, Outcome};
use vmatlas_sys::ptrace::{Entry, Returned};

pub(crate) use i386::{ARCH as ARCH_I386, numbers as numbers_i386};
pub(crate) use x86_64::{ARCH as ARCH_X86_64, X32_BIT, numbers as numbers_x86_64};

/// Decodes a call; `None` when it is none of memory.
///
/// A call made another way (x32, an architecture this version does not know) is [`Op::Other`]: it happened, and the map
/// must be read again.
pub fn decode(call: &Entry) -> Option<Op> {
    match call.arch {
        x86_64::ARCH => x86_64::decode(call),
        i386::ARCH => i386::decode(call),
        _ => Some(other(call)),
    }
}

/// Tells a call that our filter marked from its registers after the return: what it was, and how it ended.
///
/// The registers do not say whether it was a 64-bit or a 32-bit call, but its number does: the filter marks no number
/// on both architectures (a test holds the two tables to that).
pub(crate) fn decode_returned(call: &Returned) -> Option<(Op, Outcome)> {
    let is_32 = numbers_i386().any(|nr| u64::from(nr) == call.nr);
    let (arch, args, value) = match is_32 {
        // A 32-bit result is negative as 32 bits.
        true => (ARCH_I386, call.args_32, call.value as u32 as i32 as i64),
        false => (ARCH_X86_64, call.args, call.value as i64),
    };
    let op = decode(&Entry { arch, nr: call.nr, args })?;
    // IS_ERR_VALUE of the kernel: the last page of numbers.
    let outcome = match value {
        -4095..=-1 => Outcome::Failed(Errno(-value as i32)),
        _ if is_32 => Outcome::Done(u64::from(call.value as u32)),
        value => Outcome::Done(value as u64),
    };
    Some((op, outcome))
}

fn other(call: &Entry) -> Op {
    Op::Other { arch: call.arch, nr: call.nr, args: call.args }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmatlas_event::{Addr, Bytes};

    fn returned(nr: u64, value: u64) -> Returned {
        Returned { nr, args: [1, 2, 3, 4, 5, 6], args_32: [11, 12, 13, 14, 15, 16], value }
    }

    /// Checks that a marked number belongs to one architecture only, which decoding after the return rests on.
    #[test]
    fn marked_numbers_tell_the_architecture() {
        assert!(numbers_x86_64().all(|nr| numbers_i386().all(|other| nr != other)));
        assert!(numbers_x86_64().chain(numbers_i386()).all(|nr| nr < X32_BIT));
    }

    /// Checks that the filter marks exactly the calls that are decoded, on both architectures.
    #[test]
    fn marked_calls_are_decoded() {
        for nr in 0..1000 {
            // 21 makes ipc(2) a call of memory.
            let is_decoded =
                |arch| decode(&Entry { arch, nr: u64::from(nr), args: [21, 0, 0, 0, 0, 0] }).is_some();
            assert_eq!(is_decoded(ARCH_X86_64), numbers_x86_64().any(|n| n == nr), "{nr}");
            assert_eq!(is_decoded(ARCH_I386), numbers_i386().any(|n| n == nr), "{nr}");
        }
    }

    /// Checks results and errors of both widths.
    #[test]
    fn results_of_both_widths() {
        let munmap = |addr, len| Op::Munmap { addr: Addr(addr), len: Bytes(len) };
        assert_eq!(decode_returned(&returned(11, 0)), Some((munmap(1, 2), Outcome::Done(0))));
        assert_eq!(
            decode_returned(&returned(11, -22i64 as u64)),
            Some((munmap(1, 2), Outcome::Failed(Errno(22))))
        );
        assert_eq!(decode_returned(&returned(91, 0)), Some((munmap(11, 12), Outcome::Done(0))));
        // 32 bits of -22, whatever stands above them.
        assert_eq!(
            decode_returned(&returned(91, 0xffff_ffea)),
            Some((munmap(11, 12), Outcome::Failed(Errno(22))))
        );
        let Some((_, outcome)) = decode_returned(&returned(192, 0xf700_0000)) else { panic!() };
        assert_eq!(outcome, Outcome::Done(0xf700_0000));
        assert!(matches!(decode_returned(&returned(0x4000_0009, 0)), Some((Op::Other { .. }, _))));
        assert_eq!(decode_returned(&returned(0, 0)), None);
    }
}
