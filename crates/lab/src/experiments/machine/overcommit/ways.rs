//! Ways to obtain memory, and by how much each of them makes Committed_AS grow.

use crate::command::Command;
use crate::error::LabError;
use crate::experiments::machine::calls::{args, ending_of, take};
use crate::experiments::obtaining::mmap::predict::Ending;
use crate::facts::{Expected, Measured, Value};
use crate::lab::{Lab, RW};
use crate::memory::Meminfo;
use crate::say::Say;
use std::thread;
use std::time::{Duration, SystemTime};
use vmatlas_event::{Addr, AddrRange, Bytes, MapFlags, ProtArg};

/// By what part of the size it may still be wrong.
const SLACK: u64 = 4;
/// Everybody's promises are in the count: so many tries are made, and where they do not agree more, until four of five do.
const TRIES: usize = 5;
const MOST_TRIES: usize = 20;

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

/// By how much Committed_AS grows, or why that is not known.
pub(super) type Growth = Result<Bytes, &'static str>;

/// By how much Committed_AS grows.
pub(super) fn growth(lab: &mut Lab<'_>, way: &Way, size: u64) -> Result<Growth, LabError> {
    let mut seen = Vec::with_capacity(MOST_TRIES);
    for index in 0..MOST_TRIES {
        pause();
        let Some((area, grew)) = one_try(lab, way, size, index == 0)? else { return Ok(Err("refused")) };
        let before = committed();
        lab.call_unshown("munmap", [area.0, size, 0, 0, 0, 0])?.unwrap_or(0);
        let shrank = grown(committed(), before);
        let (Some(grew), Some(shrank)) = (grew, shrank) else { return Ok(Err("untold")) };
        // What others do meanwhile is hardly the same both times.
        if grew >= 0 && grew.abs_diff(shrank) <= size / SLACK {
            seen.push(Bytes(grew.unsigned_abs()));
        }
        if let Some(agreed) = agreed(&mut seen, Bytes(size / SLACK)) {
            return Ok(Ok(agreed));
        }
    }
    Ok(Err("restless"))
}

/// Waits for up to two milliseconds, now more, now less: whoever does the same as we do would be in step with us otherwise.
/// (Seen: experiments that were made at the same time, each of which took the other's call for its own five times.)
fn pause() {
    const MOST: u32 = 2_000_000;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    thread::sleep(Duration::from_nanos((now.subsec_nanos() % MOST).into()));
}

/// What the first ones say, nearly, or four of five of twice as many.
fn agreed(seen: &mut [Bytes], slack: Bytes) -> Option<Bytes> {
    seen.sort_unstable();
    let middle = *seen.get(seen.len() / 2)?;
    let agree = seen.iter().filter(|one| one.0.abs_diff(middle.0) <= slack.0).count();
    let are_enough = match seen.len() {
        TRIES => agree == TRIES,
        many => many >= 2 * TRIES && agree * 5 >= many * 4,
    };
    are_enough.then_some(middle)
}

/// The area, and by how much the count grew meanwhile; `None` when it was refused.
fn one_try(
    lab: &mut Lab<'_>,
    way: &Way,
    size: u64,
    shown: bool,
) -> Result<Option<(Addr, Option<i64>)>, LabError> {
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
    Ok(Some((Addr(at), grown(before, committed()))))
}

fn committed() -> Option<Bytes> {
    Meminfo::now().size("Committed_AS")
}

/// By how many bytes the count is larger than before.
fn grown(before: Option<Bytes>, after: Option<Bytes>) -> Option<i64> {
    before.zip(after).map(|(before, after)| after.0.wrapping_sub(before.0) as i64)
}

/// The fact of a way: its size, or nothing, as far as others let us tell.
pub(super) fn counted(lab: &mut Lab<'_>, way: &Way, size: u64, seen: Growth) {
    // What becomes writable later has to be promised then.
    let prot = if way.later { RW } else { way.prot };
    let slack = size / SLACK;
    let (least, most) = if way.counts { (size - slack, size + slack) } else { (0, slack) };
    let predicted = match ending_of(lab, &args(size, prot, way.flags, way.fd)) {
        Ending::Succeeds => Expected::Between(Value::Bytes(least), Value::Bytes(most)),
        Ending::Fails(_, why) | Ending::Open(why) => Expected::Unknown(Say::new(why.0)),
    };
    let measured = match seen {
        Ok(grew) => Measured::Is(Value::Bytes(grew.0)),
        Err(why) => Measured::NotRead(lab.why(why)),
    };
    lab.fact(way.id, predicted, measured);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that the middle is taken once the first five or four of five of ten say nearly the same, and nothing before.
    #[test]
    fn most_have_to_agree() {
        let said = |sizes: &[u64]| agreed(&mut sizes.iter().map(|n| Bytes(*n)).collect::<Vec<_>>(), Bytes(2));
        assert_eq!(said(&[10, 11, 9, 8, 10]), Some(Bytes(10)));
        assert_eq!(said(&[10, 11, 9, 50, 10]), None);
        assert_eq!(said(&[10, 11, 9, 10]), None);
        assert_eq!(said(&[10, 11, 0, 50, 10]), None);
        assert_eq!(said(&[10, 11, 0, 50, 10, 10, 10, 10, 10, 10]), Some(Bytes(10)));
    }
}
