//! Why BPF programs cannot be used.

use aya::EbpfError;
use aya::maps::MapError;
use aya::programs::ProgramError;
use std::error::Error;
use std::fmt;
use std::io;

/// Why BPF programs cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BpfError {
    /// CAP_BPF and CAP_PERFMON are missing, or the kernel is locked down.
    NotPermitted,
    /// The kernel does not describe its structures (CONFIG_DEBUG_INFO_BTF).
    NoBtf,
    /// The kernel lacks something that is needed: what.
    Unsupported(String),
    /// Something else.
    Other(String),
}

impl fmt::Display for BpfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BpfError::NotPermitted => f.write_str("BPF programs are not permitted"),
            BpfError::NoBtf => f.write_str("the kernel has no BTF (/sys/kernel/btf/vmlinux)"),
            BpfError::Unsupported(what) | BpfError::Other(what) => f.write_str(what),
        }
    }
}

impl Error for BpfError {}

impl BpfError {
    pub(super) fn of_btf(error: aya::BtfError) -> BpfError {
        match io_error(&error).map(io::Error::kind) {
            Some(io::ErrorKind::NotFound) => BpfError::NoBtf,
            Some(io::ErrorKind::PermissionDenied) => BpfError::NotPermitted,
            _ => BpfError::Other(first_lines(&error)),
        }
    }

    pub(super) fn of(error: &EbpfError) -> BpfError {
        let is_refused = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
        match error {
            EbpfError::BtfRelocationError(_) => BpfError::Unsupported(first_lines(error)),
            error if io_error(error).is_some_and(is_refused) => BpfError::NotPermitted,
            error => BpfError::Other(first_lines(error)),
        }
    }

    pub(super) fn of_program(tracepoint: &str, error: &ProgramError) -> BpfError {
        let errno = io_error(error).and_then(io::Error::raw_os_error);
        match (error, errno) {
            (_, Some(libc::EPERM)) => BpfError::NotPermitted,
            (ProgramError::Btf(_), _) => {
                BpfError::Unsupported(format!("this kernel has no tracepoint {tracepoint}"))
            }
            (ProgramError::LoadError { .. }, _) => BpfError::Unsupported(format!(
                "the program for {tracepoint} is refused: {}",
                first_lines(error)
            )),
            _ => BpfError::Other(format!("{tracepoint}: {}", first_lines(error))),
        }
    }
}

impl From<MapError> for BpfError {
    fn from(error: MapError) -> BpfError {
        BpfError::of(&error.into())
    }
}

/// The system's word at the bottom of an error.
fn io_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<io::Error>() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// An error and its causes, without the thousands of lines of a verifier's log: its last lines say what is wrong.
fn first_lines(error: &(dyn Error + 'static)) -> String {
    const MOST: usize = 600;
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    match text.len() {
        len if len > MOST && std::env::var_os("VMATLAS_BPF_LOG").is_none() => {
            let cut: String = text.chars().take(MOST / 2).collect();
            let end: Vec<char> = text.chars().rev().take(MOST / 2).collect();
            format!("{cut} ... {}", end.into_iter().rev().collect::<String>()).replace('\n', " ")
        }
        _ => text,
    }
}
