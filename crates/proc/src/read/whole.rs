//! Readings of several files that must be of one address space.
//!
//! execve(2) replaces the address space of a process, and neither its PID nor its start time tells. An open
//! /proc/PID/pagemap does: it stays with the address space that it was opened for.

use crate::read::error::{ErrorKind, ProcError};
use crate::read::process::Process;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Does `work`, which reads a process, and when the process started another program meanwhile does it once more.
///
/// # Errors
/// Those of `work`; [`ErrorKind::Gone`] when the process ended, or starts programs faster than it can be read.
pub fn read<T>(
    process: &Process,
    mut work: impl FnMut(&Process) -> Result<T, ProcError>,
) -> Result<T, ProcError> {
    const TRIES: u32 = 2;
    for _ in 0..TRIES {
        // Opened before the work opens anything: when it is alive afterwards, all was of this address space.
        let Ok(pagemap) = process.open_file("pagemap") else { return work(process) };
        let answer = work(process);
        if !process.root().is_live() || is_alive(&pagemap) {
            return answer;
        }
        process.still_there()?;
    }
    Err(ProcError::new(ErrorKind::Gone, process.pid()))
}

/// Whether the address space that a pagemap was opened for still exists; afterwards it reads as empty.
pub(crate) fn is_alive(pagemap: &File) -> bool {
    !matches!(pagemap.read_at(&mut [0u8; 8], 0), Ok(0))
}
