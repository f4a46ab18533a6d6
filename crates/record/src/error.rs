//! What can go wrong with a recording.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why a recording cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// A system call failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The place is taken.
    #[error("{} exists already", .0.display())]
    Exists(PathBuf),
    /// There is something else in the way that is not replaced.
    #[error("{} is no recording, and is not replaced", .0.display())]
    NotOurs(PathBuf),
    /// Not a recording.
    #[error("{} is no recording", .0.display())]
    NotARecording(PathBuf),
    /// Nobody writes it any more.
    #[error("{} is no longer being recorded", .0.display())]
    Ended(PathBuf),
    /// Somebody still writes it.
    #[error("{} is still being recorded", .0.display())]
    BeingWritten(PathBuf),
    /// It is one file already.
    #[error("{} is packed already", .0.display())]
    Packed(PathBuf),
    /// Somebody did not want it any more.
    #[error("stopped before {} was written", .0.display())]
    Stopped(PathBuf),
    /// Made by a later version.
    #[error("{}: recording format {version}, and this vmatlas reads format {known}", path.display())]
    Version {
        /// The recording.
        path: PathBuf,
        /// Its version.
        version: u64,
        /// Ours.
        known: u64,
    },
    /// Something in it is not as it was written.
    #[error("{0}")]
    Damaged(Damage),
}

/// A place where a recording is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Damage {
    /// The file, as named inside the recording.
    pub file: String,
    /// Where in it, in bytes; `None` where no place can be named.
    pub at: Option<u64>,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some(at) => write!(f, "{}, byte {at}: {}", self.file, self.what),
            None => write!(f, "{}: {}", self.file, self.what),
        }
    }
}

impl RecordError {
    pub(crate) fn io(path: &Path, source: io::Error) -> RecordError {
        RecordError::Io { path: path.to_owned(), source }
    }

    pub(crate) fn damaged(file: &str, at: impl Into<Option<u64>>, what: impl Into<String>) -> RecordError {
        RecordError::Damaged(Damage { file: file.to_owned(), at: at.into(), what: what.into() })
    }

    /// The damage, to be noted and gone around; other errors stay errors.
    pub(crate) fn into_damage(self) -> Result<Damage, RecordError> {
        match self {
            RecordError::Damaged(damage) => Ok(damage),
            error => Err(error),
        }
    }
}
