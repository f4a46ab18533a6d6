//! System calls as numbers and words, decoded into operations: pure.

mod i386;
mod x86_64;

use vmatlas_event::Op;
use vmatlas_sys::ptrace::Entry;

pub(crate) use i386::{ARCH as ARCH_I386, NUMBERS as NUMBERS_I386};
pub(crate) use x86_64::{ARCH as ARCH_X86_64, NUMBERS as NUMBERS_X86_64};

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

fn other(call: &Entry) -> Op {
    Op::Other { arch: call.arch, nr: call.nr, args: call.args }
}
