//! Ways to obtain memory, and by how much each of them makes Committed_AS grow.

use crate::command::Command;
use crate::error::LabError;
use crate::experiments::machine::calls::{args, ending_of, take};
use crate::experiments::obtaining::mmap::predict::Ending;
use crate::facts::{Expected, Measured, Value};
use crate::lab::{Lab, RW};
use crate::memory::Meminfo;
use crate::say::Say;
use vmatlas_event::{Addr, AddrRange, Bytes, MapFlags, ProtArg};

/// By what part of the size it may still be wrong.
const SLACK: u64 = 4;
/// Everybody's promises are in the count: the middle of so many tries is taken.
const TRIES: usize = 5;

/// A way to obtain memory: its fact, attributes, and whether it is counted.
pub(super) struct Way {
    pub(super) id: &'static str,
    pub(super) prot: ProtArg,
    pub(super) flags: MapFlags,
    pub(super) fd: i32,
    /// Whether it is made writable afterwards, and only that is measured.
    pub(super) later: bool,
    pub(super) counts: bool,
}

/// By how much Committed_AS grows; `None` where the call is refused or the kernel does not tell.
pub(super) fn growth(lab: &mut Lab<'_>, way: &Way, size: u64) -> Result<Option<Bytes>, LabError> {
    let mut seen = Vec::with_capacity(TRIES);
    for index in 0..TRIES {
        let Some((area, grew)) = one_try(lab, way, size, index == 0)? else { return Ok(None) };
        lab.call_unshown("munmap", [area.0, size, 0, 0, 0, 0])?.unwrap_or(0);
        seen.push(grew);
    }
    seen.sort_unstable();
    Ok(seen.get(TRIES / 2).copied().flatten())
}

/// The area, and by how much the count grew meanwhile; `None` when it was refused.
fn one_try(
    lab: &mut Lab<'_>,
    way: &Way,
    size: u64,
    shown: bool,
) -> Result<Option<(Addr, Option<Bytes>)>, LabError> {
    let committed = || Meminfo::now().size("Committed_AS");
    let mut before = committed();
    let call = args(size, way.prot, way.flags, way.fd);
    let area = match shown {
        true => take(lab, call)?.map(|area| area.start().0),
        false => lab.command(Command::Mmap(call))?,
    };
    let Ok(at) = area else { return Ok(None) };
    if way.later {
        before = committed();
        let range = AddrRange::from_len(Addr(at), Bytes(size)).unwrap_or(AddrRange::ALL);
        let reply = match shown {
            true => lab.protect(range, RW)?,
            false => lab.call_unshown("mprotect", [at, size, RW.0, 0, 0, 0])?,
        };
        if reply.is_err() {
            return Ok(None);
        }
    }
    let grew = before.zip(committed()).map(|(before, after)| Bytes(after.0.saturating_sub(before.0)));
    Ok(Some((Addr(at), grew)))
}

/// The fact of a way: its size, or nothing, as far as others let us tell.
pub(super) fn counted(lab: &mut Lab<'_>, way: &Way, size: u64, seen: Option<Bytes>) {
    // What becomes writable later has to be promised then.
    let prot = if way.later { RW } else { way.prot };
    let slack = size / SLACK;
    let (least, most) = if way.counts { (size - slack, size + slack) } else { (0, slack) };
    let predicted = match ending_of(lab, &args(size, prot, way.flags, way.fd)) {
        Ending::Succeeds => Expected::Between(Value::Bytes(least), Value::Bytes(most)),
        Ending::Fails(_, why) | Ending::Open(why) => Expected::Unknown(Say::new(why.0)),
    };
    let measured = match seen {
        Some(grew) => Measured::Is(Value::Bytes(grew.0)),
        None => Measured::NotRead(lab.why("refused")),
    };
    lab.fact(way.id, predicted, measured);
}
