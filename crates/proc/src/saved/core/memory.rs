//! The memory that a core file holds.

use super::Segment;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use vmatlas_event::{Addr, Bytes};

/// A part of memory that is in the file.
#[derive(Clone, Copy, Debug)]
struct Part {
    start: u64,
    len: u64,
    offset: u64,
}

/// Reads what was dumped, address by address. What was not dumped is not there: it is never read as zeros.
#[derive(Debug)]
pub struct CoreMemory {
    file: File,
    /// In address order, without overlaps.
    parts: Vec<Part>,
}

impl CoreMemory {
    /// `loads` in address order; where they overlap, the first one counts.
    pub(super) fn new(file: File, loads: &[Segment], len: u64) -> CoreMemory {
        let mut parts: Vec<Part> = Vec::new();
        for segment in loads {
            let there = segment.in_file.min(segment.in_memory).min(len.saturating_sub(segment.offset));
            let end = segment.addr.saturating_add(there);
            let start = parts.last().map_or(segment.addr, |p| segment.addr.max(p.start + p.len));
            if start < end {
                let offset = segment.offset.saturating_add(start - segment.addr);
                parts.push(Part { start, len: end - start, offset });
            }
        }
        CoreMemory { file, parts }
    }

    /// Reads from `addr` on into `buf` and returns how many bytes were dumped without a break; 0 when not even the first.
    ///
    /// # Errors
    /// Those of reading the file.
    pub fn read(&self, addr: Addr, buf: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buf.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let Some(at) = addr.0.checked_add(filled as u64) else { break };
            let index = self.parts.partition_point(|p| p.start + p.len <= at);
            let Some(part) = self.parts.get(index).filter(|p| p.start <= at) else { break };
            let left = part.len - (at - part.start);
            let want = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let Some(rest) = rest.get_mut(..want) else { break };
            match self.file.read_at(rest, part.offset + (at - part.start)) {
                // Cut since it was opened.
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    /// How much memory is there.
    pub fn len(&self) -> Bytes {
        self.parts.iter().map(|p| Bytes(p.len)).sum()
    }

    /// Whether nothing was dumped.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }
}
