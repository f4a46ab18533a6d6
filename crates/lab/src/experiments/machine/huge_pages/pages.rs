//! Areas of whole huge pages, the advice about them, and how much of them the kernel counts as huge.

use crate::command::Reply;
use crate::error::LabError;
use crate::facts::{Expected, Measured, Value};
use crate::lab::{Lab, RW};
use crate::machine::Thp;
use crate::squares::part_of;
use vmatlas_event::{AddrRange, Bytes};
use vmatlas_proc::parse::smaps::Field;

pub(super) const DONTNEED: u64 = 4;

pub(super) const HUGEPAGE: u64 = 14;

pub(super) const NOHUGEPAGE: u64 = 15;

pub(super) const COLLAPSE: u64 = 25;

/// Where the kernel does not tell the size of a huge page, since it has none.
pub(super) const USUAL: u64 = 2 << 20;

/// What one fault brings, from this to that; equal where it is sure.
#[derive(Clone, Copy)]
pub(super) struct Brings(pub(super) u64, pub(super) u64);

/// The settings as they are for us, and so for the subject: a process may have switched huge pages off for itself and its
/// children (PR_SET_THP_DISABLE).
pub(super) fn of_process(thp: &Thp) -> Thp {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let is_off = |line: &str| line.strip_prefix("THP_enabled:").is_some_and(|value| value.trim() == "0");
    if status.lines().any(is_off) { Thp::default() } else { thp.clone() }
}

/// An area of one block that begins where a huge page can.
pub(super) fn aligned(lab: &mut Lab<'_>, whole: u64) -> Result<AddrRange, LabError> {
    let all = lab.map(2 * whole, RW)?;
    let first = all.start().0.next_multiple_of(whole) - all.start().0;
    Ok(part_of(all, first / lab.page(), whole / lab.page()))
}

/// madvise(2).
pub(super) fn advise(lab: &mut Lab<'_>, range: AddrRange, advice: u64) -> Result<Reply, LabError> {
    let (at, len) = (range.start(), range.len().0);
    let name = match advice {
        DONTNEED => "MADV_DONTNEED",
        HUGEPAGE => "MADV_HUGEPAGE",
        NOHUGEPAGE => "MADV_NOHUGEPAGE",
        _ => "MADV_COLLAPSE",
    };
    lab.call("madvise", [at.0, len, advice, 0, 0, 0], format!("madvise({at}, {len}, {name})"))
}

/// What of the VMAs in a range is mapped by huge pages, as the kernel counts it.
pub(super) fn huge(lab: &Lab<'_>, range: AddrRange) -> Result<Option<Bytes>, LabError> {
    lab.smaps(range, &[Field::AnonHugePages])
}

pub(super) fn told(lab: &Lab<'_>, size: Option<Bytes>) -> Measured {
    size.map_or_else(|| Measured::NotRead(lab.why("no-count")), |size| Measured::Is(Value::Bytes(size.0)))
}

/// The fact of how much is mapped by huge pages: `most` where whole ones came, nothing where smaller ones did.
pub(super) fn huge_fact(
    lab: &mut Lab<'_>,
    id: &'static str,
    area: AddrRange,
    brings: Brings,
    most: u64,
) -> Result<(), LabError> {
    let whole = lab.report.machine.thp.whole.map_or(USUAL, |size| size.0);
    let size = huge(lab, area)?;
    let (least, most) = match brings {
        Brings(least, _) if least == whole => (most, most),
        Brings(_, largest) if largest == whole => (0, most),
        Brings(..) => (0, 0),
    };
    let measured = told(lab, size);
    lab.fact(id, bytes(least, most), measured);
    Ok(())
}

pub(super) fn bytes(least: u64, most: u64) -> Expected {
    between(Value::Bytes(least), Value::Bytes(most))
}

pub(super) fn between(least: Value, most: Value) -> Expected {
    if least == most { Expected::Is(least) } else { Expected::Between(least, most) }
}
