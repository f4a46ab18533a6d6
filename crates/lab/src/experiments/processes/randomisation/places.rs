//! Where everything is in one start, and in many.

use super::{PLACES, Places};
use crate::error::LabError;
use crate::lab::Lab;
use crate::report::{Part, TablePart};
use crate::say::Say;
use crate::state::State;
use vmatlas_event::{Addr, AddrRange, VmaRow};
use vmatlas_proc::Process;

pub(super) fn places(process: &Process) -> Result<Places, LabError> {
    let rows = State::read(process)?.rows;
    let special = |name: &[u8]| rows.iter().find(|row| row.special() == Some(name)).map(|row| row.range);
    let files = || rows.iter().filter(|row| row.has_file());
    let file = |row: &VmaRow| (row.dev, row.inode);
    let (lowest, highest) = (files().next(), files().next_back());
    // Of the file that is mapped highest: ld.so, which the kernel maps before all other libraries.
    let loader = highest.filter(|row| Some(file(row)) != lowest.map(file));
    let loader = loader.and_then(|last| files().find(|row| file(row) == file(last)));
    let start = |range: AddrRange| range.start().0;
    Ok([
        lowest.map(|row| start(row.range)),
        special(b"heap").map(start),
        loader.map(|row| start(row.range)),
        special(b"vdso").map(start),
        special(b"stack").map(|range| range.end().0),
    ])
}

pub(super) fn label(lab: &Lab<'_>, name: &str) -> Say {
    lab.words(lab.report.info.text(&format!("label {name}")))
}

/// The places of all starts, thing by thing.
pub(super) fn figure(lab: &Lab<'_>, seen: &[Places]) -> Vec<(Say, Vec<u64>)> {
    let of = |index| seen.iter().filter_map(move |places| *places.get(index)?).collect();
    PLACES.iter().enumerate().map(|(index, (name, _))| (label(lab, name), of(index))).collect()
}

pub(super) fn table(lab: &mut Lab<'_>, lines: &[Places]) {
    let heads = PLACES.into_iter().map(|(name, _)| label(lab, name)).collect();
    let cell = |place: &Option<u64>| place.map_or_else(|| "-".to_owned(), |at| Addr(at).to_string());
    let rows = lines.iter().map(|places| places.iter().map(cell).collect()).collect();
    lab.show(Part::Table(TablePart { heads, rows }));
}

/// Bits that are not the same in all addresses.
pub(super) fn differing(all: &[u64]) -> u64 {
    let first = all.first().copied().unwrap_or(0);
    all.iter().fold(0, |bits, addr| bits | (addr ^ first)).count_ones().into()
}
