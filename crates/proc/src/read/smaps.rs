//! The whole smaps, which holds the target's mmap lock while the kernel walks each VMA: about 9 ms for each GiB that is
//! resident. Read it only where somebody asked for it.

use crate::parse::smaps::{self, SmapsFields};
use crate::read::error::{ErrorKind, ProcError};
use crate::read::process::Process;
use crate::read::snapshot::ReadCost;
use rustc_hash::FxHashMap;
use std::io::Read;
use std::time::Instant;
use vmatlas_event::AddrRange;

/// More than the smaps of two million VMAs.
const LIMIT: u64 = 2 << 30;

/// The kernel's own figures for each VMA that was asked for.
#[derive(Clone, Debug)]
pub struct Smaps {
    /// One entry for each VMA; `None` where smaps, read a moment later, has no VMA of just these addresses.
    pub per_row: Vec<Option<SmapsFields>>,
    /// What it cost.
    pub cost: ReadCost,
}

/// Reads the figures of the VMAs with these addresses.
///
/// # Errors
/// By kind.
pub fn read(process: &Process, ranges: impl Iterator<Item = AddrRange>) -> Result<Smaps, ProcError> {
    let start = Instant::now();
    let text = read_whole(process, "smaps")?;
    let (time, bytes) = (start.elapsed(), text.len() as u64);
    process.still_there()?;
    let path = process.path_of("smaps");
    let entries = smaps::parse(&text).map_err(|error| ProcError::parse(process.pid(), &path, error))?;
    let mut by_range: FxHashMap<AddrRange, SmapsFields> =
        entries.into_iter().map(|entry| (entry.line.range, entry.fields)).collect();
    let per_row = ranges.map(|range| by_range.remove(&range)).collect();
    Ok(Smaps { per_row, cost: ReadCost { time, bytes, calls: 0 } })
}

/// The text of numa_maps, which walks all pages as smaps does, and holds the target as long.
///
/// # Errors
/// By kind.
pub fn read_numa_maps(process: &Process) -> Result<Vec<u8>, ProcError> {
    read_whole(process, "numa_maps")
}

fn read_whole(process: &Process, name: &str) -> Result<Vec<u8>, ProcError> {
    let path = process.path_of(name);
    let mut text = Vec::new();
    let file = process.open_file(name)?;
    file.take(LIMIT).read_to_end(&mut text).map_err(|error| process.io(&path, error))?;
    if text.len() as u64 >= LIMIT {
        return Err(ProcError::new(ErrorKind::Malformed, process.pid()));
    }
    Ok(text)
}
