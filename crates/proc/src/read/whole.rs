//! Readings of several files that must be of one address space.
//!
//! execve(2) replaces the address space of a process, and neither its PID nor its start time tells. An open
//! /proc/PID/pagemap does: it stays with the address space that it was opened for, and reads as empty once that is gone.
//! The address space that a child of vfork(2) leaves lives on in its parent; there the place of the stack tells.

use crate::read::deadline;
use crate::read::error::{ErrorKind, ProcError};
use crate::read::process::Process;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use vmatlas_event::Addr;

/// The address space that a process had at one moment, to ask later whether it still has it.
#[derive(Debug)]
pub struct Space<'a> {
    process: &'a Process,
    /// `None` where there is none: what reads pages will say why.
    pagemap: Option<Arc<File>>,
    stack: Option<Addr>,
}

impl<'a> Space<'a> {
    /// The one it has now. What is read after this and before [`still`](Space::still) is all of this one.
    ///
    /// # Errors
    /// By kind, when the process cannot be read at all.
    pub fn of(process: &'a Process) -> Result<Space<'a>, ProcError> {
        let pagemap = process.open_file("pagemap").ok().filter(|_| process.root().is_live());
        let pagemap = pagemap.map(Arc::new);
        Ok(Space { process, pagemap, stack: process.stat()?.start_stack })
    }

    /// Whether the process still has this address space.
    ///
    /// # Errors
    /// [`ErrorKind::Gone`] when the process has ended; those of reading it.
    pub fn is_still(&self) -> Result<bool, ProcError> {
        self.process.still_there()?;
        let same_stack = self.process.stat()?.start_stack == self.stack;
        Ok(same_stack && self.pagemap.as_ref().is_none_or(|pagemap| is_alive(pagemap)))
    }

    /// As [`is_still`](Space::is_still), for who cannot begin anew, and with a deadline: the answer needs a lock that a
    /// task of the process may hold for ever.
    ///
    /// # Errors
    /// [`ErrorKind::Gone`] when the process has ended or executed another program; those of [`deadline::run`].
    pub fn still(&self) -> Result<(), ProcError> {
        let space = (self.pagemap.clone(), self.stack);
        let is_still = deadline::run(self.process, deadline::LIMIT, move |process| {
            Space { process, pagemap: space.0, stack: space.1 }.is_still()
        })?;
        if is_still { Ok(()) } else { Err(ProcError::new(ErrorKind::Gone, self.process.pid())) }
    }
}

/// An address space that a process had, for who looks at it again and again.
#[derive(Clone, Debug)]
pub struct Identity {
    pagemap: Option<Arc<File>>,
    stack: Option<Addr>,
}

impl Identity {
    /// The one that it has now.
    ///
    /// # Errors
    /// Those of [`Space::of`].
    pub fn of(process: &Process) -> Result<Identity, ProcError> {
        let Space { pagemap, stack, .. } = Space::of(process)?;
        Ok(Identity { pagemap, stack })
    }

    /// Whether the process still has it.
    ///
    /// # Errors
    /// Those of [`Space::is_still`].
    pub fn is_still(&self, process: &Process) -> Result<bool, ProcError> {
        Space { process, pagemap: self.pagemap.clone(), stack: self.stack }.is_still()
    }
}

/// Does `work`, which reads a process, and when the process executed another program meanwhile does it once more.
///
/// # Errors
/// Those of `work`; [`ErrorKind::Gone`] when the process ended, or executes programs faster than it can be read.
pub fn read<T>(
    process: &Process,
    mut work: impl FnMut(&Process) -> Result<T, ProcError>,
) -> Result<T, ProcError> {
    const TRIES: u32 = 2;
    for _ in 0..TRIES {
        let space = Space::of(process)?;
        let answer = work(process);
        if space.is_still()? {
            return answer;
        }
    }
    Err(ProcError::new(ErrorKind::Gone, process.pid()))
}

/// Whether the address space that a pagemap was opened for still exists; afterwards it reads as empty.
pub(crate) fn is_alive(pagemap: &File) -> bool {
    !matches!(pagemap.read_at(&mut [0u8; 8], 0), Ok(0))
}
