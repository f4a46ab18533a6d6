//! Why an experiment could not be made. A call that fails is no such error: it is the experiment.

use crate::say::Say;
use crate::texts;
use vmatlas_event::Errno;

/// Why an experiment could not be made.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The subject could not be started.
    #[error("the subject of the experiment cannot be started: {why}")]
    Start {
        /// The reason.
        why: String,
    },
    /// The subject ended where the experiment did not expect it.
    #[error("the subject of the experiment {how}")]
    Ended {
        /// How it ended.
        how: Ending,
    },
    /// The subject could not be read.
    #[error(transparent)]
    Read(#[from] vmatlas_proc::ProcError),
    /// The area an experiment needs was refused.
    #[error("{} could not be obtained: {}", vmatlas_view::units::size(*length), vmatlas_sys::errno_text(*errno))]
    Refused {
        /// How much.
        length: vmatlas_event::Bytes,
        /// The kernel's reason.
        errno: Errno,
    },
    /// The file to map could not be opened.
    #[error("cannot open {path}: {why}")]
    File {
        /// As it was given, escaped.
        path: String,
        /// The kernel's reason.
        why: std::io::Error,
    },
}

impl LabError {
    /// What makes the error of a file or folder out of the kernel's.
    pub(crate) fn file(path: &str) -> impl FnOnce(std::io::Error) -> LabError {
        let path = vmatlas_view::escape::terminal(path.as_bytes());
        move |why| LabError::File { path, why }
    }

    /// For a person, in the language that is asked of it; the kernel's own words stay English.
    pub fn say(&self) -> Say {
        match self {
            LabError::Start { why } => Say::new(texts::CANNOT_START).with("why", why.as_str()),
            LabError::Ended { how } => how.say(),
            LabError::Read(error) => Say::new(texts::CANNOT_READ).with("why", error.to_string()),
            LabError::Refused { length, errno } => Say::new(texts::NOT_OBTAINED)
                .with("size", *length)
                .with("why", vmatlas_sys::errno_text(*errno)),
            LabError::File { path, why } => {
                let errno = why.raw_os_error().map(Errno);
                let why = errno.map_or_else(|| why.to_string(), vmatlas_sys::errno_text);
                Say::new(texts::CANNOT_OPEN).with("path", path.as_str()).with("why", why)
            }
        }
    }
}

/// How the subject ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By itself, with this status.
    Exited(i32),
    /// By this signal.
    Signaled(i32),
    /// Unknown: somebody else collected its status.
    Unknown(Errno),
}

impl Ending {
    fn say(self) -> Say {
        match self {
            Ending::Exited(status) => Say::new(texts::SUBJECT_EXITED).with("status", status.to_string()),
            Ending::Signaled(signal) => {
                Say::new(texts::SUBJECT_KILLED).with("signal", vmatlas_sys::signal::name(signal))
            }
            Ending::Unknown(_) => Say::new(texts::SUBJECT_GONE),
        }
    }
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Ending::Exited(status) => write!(f, "exited with {status}"),
            Ending::Signaled(signal) => write!(f, "was ended by {}", vmatlas_sys::signal::name(*signal)),
            Ending::Unknown(errno) => write!(f, "ended, nobody knows how (error {})", errno.0),
        }
    }
}
