//! Where blocks and the heap are, by the map and by malloc's own headers; and whether this malloc is the one that is known.

use super::Work;
use crate::command::Command;
use crate::error::LabError;
use crate::lab::Lab;
use crate::state::State;
use vmatlas_event::{Addr, AddrRange, Bytes, VmaRow};

/// In the header of a block: it has a mapping of its own; it is not in the main arena.
const IS_MAPPED: u64 = 2;
pub(super) const OTHER_ARENA: u64 = 4;

impl Work<'_> {
    /// The word before a block, its header: the size with the header, and flags in the three lowest bits. `None` where
    /// there may be none.
    pub(super) fn header(&mut self, block: u64) -> Result<Option<u64>, LabError> {
        if self.unknown.is_some_and(|why| why != "tuned") {
            return Ok(None);
        }
        let mut word = [0; 8];
        for (byte, at) in word.iter_mut().zip(block.saturating_sub(8)..) {
            *byte = self.lab.command(Command::Peek(Addr(at)))?.unwrap_or(0) as u8;
        }
        Ok(Some(u64::from_ne_bytes(word)))
    }

    /// Where a block is, by the map and by its header.
    pub(super) fn place_of(&mut self, block: u64) -> Result<String, LabError> {
        let in_heap = self.lab.after.row_at(Addr(block)).is_some_and(is_heap);
        let is_mapped = self.header(block)?.map_or(!in_heap, |word| word & IS_MAPPED != 0);
        let word = match (in_heap, is_mapped) {
            (true, false) => "heap",
            (false, true) => "mmap",
            _ => "?",
        };
        Ok(word.to_owned())
    }
}

fn is_heap(row: &VmaRow) -> bool {
    row.special() == Some(b"heap")
}

/// The heap; nothing where there is none.
pub(super) fn heap(state: &State) -> AddrRange {
    let all = state.rows.iter().filter(|row| is_heap(row)).map(|row| row.range);
    all.reduce(AddrRange::hull).or_else(|| AddrRange::from_len(Addr(0), Bytes(0))).unwrap_or(AddrRange::ALL)
}

/// Why it cannot be said what malloc will do here: the section with the reason.
pub(super) fn unknown(lab: &Lab<'_>) -> Option<&'static str> {
    // Other allocators have it in their names: libjemalloc, libtcmalloc, libmimalloc.
    let replaces = |row: &VmaRow| {
        let file = row.name_bytes().rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        row.has_file() && file.windows(6).any(|part| part == b"malloc")
    };
    let tunes = |name: std::ffi::OsString| {
        let name = name.to_string_lossy();
        name.starts_with("MALLOC_") || name == "GLIBC_TUNABLES"
    };
    if !cfg!(target_env = "gnu") {
        Some("other-library")
    } else if lab.after.rows.iter().any(replaces) {
        Some("replaced")
    } else if std::env::vars_os().any(|(name, _)| tunes(name)) {
        Some("tuned")
    } else {
        None
    }
}
