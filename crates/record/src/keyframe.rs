//! Keyframes and rows of maps, as rows of tables and back.

use crate::batch::Row;
use crate::error::RecordError;
use crate::flat::{Intern, Lookup};
use crate::rows::Cell;
use crate::unflat::yes;
use vmatlas_event::{Addr, AddrRange, Bytes, Dev, MmId, MonoNs, Prot, Seq, Sharing, SpaceState, VmaRow};

/// Where `mm` stands in the table of a keyframe's rows.
const MM: usize = 10;

/// One row of a map; `mm` is written in keyframes only.
pub(crate) fn vma_cells<'a>(
    key: u64,
    row: &VmaRow,
    mm: Option<MmId>,
    intern: &mut dyn Intern,
) -> [Cell<'a>; 11] {
    let int = |value: u64| Cell::Int(Some(value as i64));
    let name = row.name.as_ref().map(|name| intern.name(name.as_bytes()));
    [
        int(key),
        int(row.range.start().0),
        int(row.range.end().0),
        int(prot_bits(row.prot)),
        int(u64::from(row.sharing == Sharing::Shared)),
        int(row.offset),
        int(row.dev.major.into()),
        int(row.dev.minor.into()),
        int(row.inode),
        Cell::Int(name),
        Cell::Int(mm.map(|mm| mm.0.into())),
    ]
}

/// PROT_READ, PROT_WRITE and PROT_EXEC as in mmap(2).
fn prot_bits(prot: Prot) -> u64 {
    let bit = |allowed, bit| if prot.has(allowed) { bit } else { 0 };
    bit(Prot::READ, 1) | bit(Prot::new(false, true, false), 2) | bit(Prot::EXEC, 4)
}

/// A row of a map.
pub(crate) fn vma(row: Row<'_>, lookup: &dyn Lookup) -> Result<VmaRow, RecordError> {
    let name = match row.get(9) {
        None => None,
        Some(id) => Some(lookup.name(id).cloned().ok_or_else(|| row.wrong(9))?),
    };
    let bits: u8 = row.need(3)?;
    Ok(VmaRow {
        range: range(row, 1)?,
        prot: (bits < 8)
            .then(|| Prot::new(bits & 1 != 0, bits & 2 != 0, bits & 4 != 0))
            .ok_or_else(|| row.wrong(3))?,
        sharing: if yes(row, 4)? { Sharing::Shared } else { Sharing::Private },
        offset: row.bits(5)?,
        dev: Dev { major: row.need(6)?, minor: row.need(7)? },
        inode: row.bits(8)?,
        name,
    })
}

pub(crate) fn range(row: Row<'_>, start: usize) -> Result<AddrRange, RecordError> {
    AddrRange::new(Addr(row.bits(start)?), Addr(row.bits(start + 1)?)).ok_or_else(|| row.wrong(start + 1))
}

/// The address space that a row of a keyframe belongs to.
pub(crate) fn owner(row: Row<'_>) -> Result<MmId, RecordError> {
    row.need(MM).map(MmId)
}

/// How many parts a state has besides its rows.
pub(crate) fn count_parts(state: &SpaceState) -> usize {
    let recent: usize = state.recent.iter().map(|(_, ranges)| ranges.len()).sum();
    state.users.len() + state.origins.len() + state.grows.len() + state.userfaultfds.len() + recent
}

/// The state of one address space, without its rows and parts.
pub(crate) fn state_cells<'a>(after: Seq, state: &SpaceState) -> [Cell<'a>; 7] {
    let int = |value: u64| Cell::Int(Some(value as i64));
    [
        int(after.0),
        int(state.mm.0.into()),
        Cell::Int(state.brk.map(|brk| brk.0 as i64)),
        int(state.peak.0),
        int(u64::from(state.distrust)),
        int(state.rows.len() as u64),
        int(count_parts(state) as u64),
    ]
}

/// What a state's row says, and how many rows and parts it has.
pub(crate) fn state(row: Row<'_>) -> Result<(SpaceState, u64, u64), RecordError> {
    let state = SpaceState {
        mm: MmId(row.need(1)?),
        users: Vec::new(),
        rows: Vec::new(),
        origins: Vec::new(),
        brk: row.get(2).map(|brk| Addr(brk as u64)),
        peak: Bytes(row.bits(3)?),
        grows: Vec::new(),
        distrust: yes(row, 4)?,
        userfaultfds: Vec::new(),
        recent: Vec::new(),
    };
    Ok((state, row.bits(5)?, row.bits(6)?))
}

/// Gives each part of a state as a row.
pub(crate) fn parts(
    after: Seq,
    state: &SpaceState,
    intern: &mut dyn Intern,
    found: &mut dyn FnMut(&[Cell<'_>]),
) {
    let mut give = |what: &str, range: Option<AddrRange>, value: Option<i64>| {
        found(&[
            Cell::Int(Some(after.0 as i64)),
            Cell::Int(Some(state.mm.0.into())),
            Cell::Word(Some(what)),
            Cell::Int(range.map(|r| r.start().0 as i64)),
            Cell::Int(range.map(|r| r.end().0 as i64)),
            Cell::Int(value),
        ]);
    };
    for user in &state.users {
        give("user", None, Some(intern.task(*user)));
    }
    for (range, seq) in &state.origins {
        give("origin", Some(*range), Some(seq.0 as i64));
    }
    for range in &state.grows {
        give("grows", Some(*range), None);
    }
    for fd in &state.userfaultfds {
        give("userfaultfd", None, Some((*fd).into()));
    }
    for (left, ranges) in &state.recent {
        for range in ranges {
            give("recent", Some(*range), Some(left.0 as i64));
        }
    }
}

/// The address space that a part belongs to.
pub(crate) fn part_owner(row: Row<'_>) -> Result<MmId, RecordError> {
    row.need(1).map(MmId)
}

/// Adds a part to its state.
pub(crate) fn add_part(row: Row<'_>, state: &mut SpaceState, lookup: &dyn Lookup) -> Result<(), RecordError> {
    match row.word(2) {
        Some("user") => {
            let task = row.get(5).and_then(|id| lookup.task(id)).ok_or_else(|| row.wrong(5))?;
            state.users.push(task);
        }
        Some("origin") => state.origins.push((range(row, 3)?, Seq(row.bits(5)?))),
        Some("grows") => state.grows.push(range(row, 3)?),
        Some("userfaultfd") => state.userfaultfds.push(row.need(5)?),
        Some("recent") => {
            let (left, range) = (MonoNs(row.bits(5)?), range(row, 3)?);
            match state.recent.last_mut() {
                Some((last, ranges)) if *last == left => ranges.push(range),
                _ => state.recent.push((left, vec![range])),
            }
        }
        _ => return Err(row.wrong(2)),
    }
    Ok(())
}
