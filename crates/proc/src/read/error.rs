//! What can go wrong when another process is read.

use crate::parse::ParseError;
use std::io;
use std::path::{Path, PathBuf};
use vmatlas_event::{Errno, KernelError, Pid};

/// A rough class of [`ProcError`], to decide what to tell a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// There is no such process.
    NoSuchProcess,
    /// It ended while it was read, or its PID now belongs to another.
    Gone,
    /// We may not read it.
    NotPermitted,
    /// It has ended and only its exit status is left: it has no memory any more.
    Zombie,
    /// It is a thread of the kernel, which has no memory of its own.
    KernelThread,
    /// This kernel (or its configuration) cannot be asked that.
    Unsupported,
    /// It did not answer in time: its mmap lock is held, or its memory or a file of it waits for somebody.
    TimedOut,
    /// The text is not what the kernel writes.
    Malformed,
    /// Another error of reading.
    Io,
}

/// An error of reading /proc, with the process and the file.
#[derive(Debug, thiserror::Error)]
#[error("process {pid}: {}", self.message())]
pub struct ProcError {
    kind: ErrorKind,
    pid: Pid,
    path: Option<PathBuf>,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl ProcError {
    pub(crate) fn new(kind: ErrorKind, pid: Pid) -> ProcError {
        ProcError { kind, pid, path: None, source: None }
    }

    /// An error of a system call on a file of the process.
    pub(crate) fn io(pid: Pid, path: &Path, error: io::Error) -> ProcError {
        let kind = match error.raw_os_error().map(Errno) {
            Some(Errno(libc_numbers::ENOENT | libc_numbers::ESRCH)) => ErrorKind::Gone,
            Some(Errno(libc_numbers::EACCES | libc_numbers::EPERM)) => ErrorKind::NotPermitted,
            Some(Errno(libc_numbers::ENOTTY | libc_numbers::ENOSYS)) => ErrorKind::Unsupported,
            _ => ErrorKind::Io,
        };
        ProcError { kind, pid, path: Some(path.to_owned()), source: Some(Box::new(error)) }
    }

    pub(crate) fn errno(pid: Pid, path: &Path, errno: Errno) -> ProcError {
        ProcError::io(pid, path, io::Error::from_raw_os_error(errno.0))
    }

    pub(crate) fn parse(pid: Pid, path: &Path, error: ParseError) -> ProcError {
        ProcError {
            kind: ErrorKind::Malformed,
            pid,
            path: Some(path.to_owned()),
            source: Some(Box::new(error)),
        }
    }

    /// The class.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The process.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// The file that was read, where it was one.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    fn message(&self) -> String {
        let what = match self.kind {
            ErrorKind::NoSuchProcess => "no such process",
            ErrorKind::Gone => "ended while being read",
            ErrorKind::NotPermitted => "not permitted",
            ErrorKind::Zombie => "has ended (zombie)",
            ErrorKind::KernelThread => "is a kernel thread",
            ErrorKind::Unsupported => "not supported by this kernel",
            ErrorKind::TimedOut => "did not answer in time",
            ErrorKind::Malformed => "unexpected text",
            ErrorKind::Io => "cannot be read",
        };
        match (&self.path, &self.source) {
            (Some(path), Some(source)) => format!("{what} ({}: {source})", path.display()),
            _ => what.to_owned(),
        }
    }
}

impl From<&ProcError> for KernelError {
    fn from(error: &ProcError) -> KernelError {
        match error.kind {
            ErrorKind::NoSuchProcess | ErrorKind::Gone | ErrorKind::Zombie | ErrorKind::KernelThread => {
                KernelError::Gone
            }
            ErrorKind::NotPermitted => KernelError::NotPermitted,
            ErrorKind::Unsupported => KernelError::Unsupported,
            ErrorKind::TimedOut => KernelError::Other(Errno(libc_numbers::ETIMEDOUT)),
            ErrorKind::Malformed | ErrorKind::Io => KernelError::Other(Errno(libc_numbers::EIO)),
        }
    }
}

/// The few error numbers this crate tells apart; the same on every Linux architecture we decode.
pub(crate) mod libc_numbers {
    pub(crate) const EPERM: i32 = 1;
    pub(crate) const ENOENT: i32 = 2;
    pub(crate) const ESRCH: i32 = 3;
    pub(crate) const EIO: i32 = 5;
    pub(crate) const EFAULT: i32 = 14;
    pub(crate) const ENFILE: i32 = 23;
    pub(crate) const EMFILE: i32 = 24;
    pub(crate) const EACCES: i32 = 13;
    pub(crate) const ENOTTY: i32 = 25;
    pub(crate) const ENAMETOOLONG: i32 = 36;
    pub(crate) const ENOSYS: i32 = 38;
    pub(crate) const ETIMEDOUT: i32 = 110;
}
