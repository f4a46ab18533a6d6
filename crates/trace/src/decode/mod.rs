//! System calls as numbers and words, decoded into operations: pure.

mod aarch64;
mod call;
mod i386;
mod x86_64;

use vmatlas_event::{Errno, Op, Outcome};
use vmatlas_sys::bpf::Shape;
use vmatlas_sys::ptrace::{Entry, Returned};

pub(crate) use call::{Number, Only, PERSONALITY_ASKS};
pub(crate) use i386::{ARCH as ARCH_I386, numbers as numbers_i386};
pub(crate) use x86_64::{ARCH as ARCH_X86_64, X32_BIT, numbers as numbers_x86_64};

/// What of the map tells what the call of a number did; see `Call::looks`.
pub(crate) fn looks(is_32: bool, nr: u32) -> Shape {
    let call = if is_32 { i386::call(nr) } else { x86_64::call(nr) };
    call.map_or(Shape::Nothing, call::Call::looks)
}

/// The calls that make tasks or replace maps: fork, vfork, clone, clone3, execve, execveat.
pub(crate) fn forks(is_32: bool) -> &'static [u32] {
    if is_32 { &[2, 190, 120, 435, 11, 358] } else { &[57, 58, 56, 435, 59, 322] }
}

/// Decodes a call; `None` when it is none of memory.
///
/// A call made another way (x32, an architecture this version does not know) is [`Op::Other`]: it happened, and the map
/// must be read again.
pub fn decode(call: &Entry) -> Option<Op> {
    match call.arch {
        x86_64::ARCH => x86_64::decode(call),
        i386::ARCH => i386::decode(call),
        aarch64::ARCH => aarch64::decode(call),
        _ => Some(other(call)),
    }
}

/// Tells a call that our filter marked from its registers after the return: what it was, and how it ended.
///
/// The registers do not say whether it was a 64-bit or a 32-bit call. Its number does, but for a few that the filter
/// marks on both: then `arch_of` is asked, which costs a request more.
pub(crate) fn decode_returned(
    call: &Returned,
    arch_of: impl FnOnce() -> Option<u32>,
) -> Option<(Op, Outcome)> {
    let is_32 = match (x86_64::marks(call.nr), i386::marks(call.nr)) {
        (true, true) => arch_of()? == ARCH_I386,
        (_, is_32) => is_32,
    };
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
    use vmatlas_event::{Addr, Bytes, Registers};

    fn returned(nr: u64, value: u64) -> Returned {
        let registers = Registers { ip: Addr(0), general: [0; Registers::COUNT], is_32: false };
        Returned { nr, args: [1, 2, 3, 4, 5, 6], args_32: [11, 12, 13, 14, 15, 16], value, registers }
    }

    /// Checks that numbers which both architectures have are asked about, and others are not.
    #[test]
    fn shared_numbers_ask_for_the_architecture() {
        // 150 is munlock of 64 bits and mlock of 32; both have their length second.
        let Some((op, _)) = decode_returned(&returned(150, 0), || Some(ARCH_X86_64)) else { panic!() };
        assert_eq!(op, Op::Munlock { addr: Addr(1), len: Bytes(2) });
        let Some((op, _)) = decode_returned(&returned(150, 0), || Some(ARCH_I386)) else { panic!() };
        assert_eq!(op, Op::Mlock { addr: Addr(11), len: Bytes(12), flags: None });
        assert_eq!(decode_returned(&returned(150, 0), || None), None);
        assert!(decode_returned(&returned(11, 0), || panic!("nothing to ask")).is_some());
        assert!(numbers_x86_64().chain(numbers_i386()).all(|number| number.nr < X32_BIT));
    }

    /// Checks that the filter marks exactly the calls that are decoded, on both architectures.
    #[test]
    fn marked_calls_are_decoded() {
        for nr in 0..1000 {
            // Arguments that make ipc(2), prctl(2), ioctl(2) and arch_prctl(2) calls of memory.
            let firsts = [[21, 0], [1, 0], [0x5356_4d41, 0], [3, 0xc020_aa00], [0x2003, 0]];
            let is_decoded = |arch| {
                firsts.iter().any(|[a, b]| {
                    decode(&Entry { arch, nr: u64::from(nr), args: [*a, *b, 0, 0, 0, 0] }).is_some()
                })
            };
            assert_eq!(is_decoded(ARCH_X86_64), numbers_x86_64().any(|n| n.nr == nr), "{nr}");
            assert_eq!(is_decoded(ARCH_I386), numbers_i386().any(|n| n.nr == nr), "{nr}");
        }
    }

    /// Checks results and errors of both widths.
    #[test]
    fn results_of_both_widths() {
        let munmap = |addr, len| Op::Munmap { addr: Addr(addr), len: Bytes(len) };
        assert_eq!(decode_returned(&returned(11, 0), || None), Some((munmap(1, 2), Outcome::Done(0))));
        assert_eq!(
            decode_returned(&returned(11, -22i64 as u64), || None),
            Some((munmap(1, 2), Outcome::Failed(Errno(22))))
        );
        assert_eq!(decode_returned(&returned(91, 0), || None), Some((munmap(11, 12), Outcome::Done(0))));
        // 32 bits of -22, whatever stands above them.
        assert_eq!(
            decode_returned(&returned(91, 0xffff_ffea), || None),
            Some((munmap(11, 12), Outcome::Failed(Errno(22))))
        );
        let Some((_, outcome)) = decode_returned(&returned(192, 0xf700_0000), || None) else { panic!() };
        assert_eq!(outcome, Outcome::Done(0xf700_0000));
        assert!(matches!(decode_returned(&returned(0x4000_0009, 0), || None), Some((Op::Other { .. }, _))));
        assert_eq!(decode_returned(&returned(0, 0), || None), None);
    }
}
