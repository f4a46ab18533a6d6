//! mmap(2) where a refusal is a result, and what is predicted of it.

use crate::error::LabError;
use crate::experiments::obtaining::mmap::predict::{Ending, FileKind, Setting, ending};
use crate::facts::{Expected, Measured, Value};
use crate::lab::{Lab, status_word};
use crate::say::Say;
use vmatlas_event::{Addr, AddrRange, Bytes, Errno, MapFlags, ProtArg};
use vmatlas_sys::mem::MmapArgs;

/// The arguments of a call that leaves the place to the kernel.
pub(super) fn args(length: u64, prot: ProtArg, flags: MapFlags, fd: i32) -> MmapArgs {
    MmapArgs { addr: Addr(0), len: Bytes(length), prot, flags, fd, offset: 0 }
}

/// The area, or the kernel's refusal.
///
/// # Errors
/// When the subject is gone.
pub(super) fn take(lab: &mut Lab<'_>, call: MmapArgs) -> Result<Result<AddrRange, Errno>, LabError> {
    match lab.map_with(call.len.0, call.prot, call.flags, call.fd) {
        Ok(area) => Ok(Ok(area)),
        Err(LabError::Refused { errno, .. }) => Ok(Err(errno)),
        Err(error) => Err(error),
    }
}

/// How a call will end; where it maps a file, one that may be written.
pub(super) fn ending_of(lab: &Lab<'_>, call: &MmapArgs) -> Ending {
    let file = (call.fd >= 0).then_some(FileKind::Regular { size: 1, writable: true });
    ending(call, Setting { machine: &lab.report.machine, before: &lab.after, file })
}

/// The same as a prediction: 0 or the error.
pub(super) fn expected(lab: &Lab<'_>, call: &MmapArgs) -> Expected {
    match ending_of(lab, call) {
        Ending::Succeeds => Expected::Is(Value::Word("0".to_owned())),
        Ending::Fails(errno, _) => Expected::Is(Value::Word(errno.to_owned())),
        Ending::Open(why) => Expected::Unknown(Say::new(why.0)),
    }
}

/// 0 or the error, as it was.
pub(super) fn word(area: Result<AddrRange, Errno>) -> Measured {
    Measured::Is(Value::Word(status_word(area.map(|_| 0))))
}
