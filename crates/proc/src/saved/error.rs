//! Why a saved source cannot be read.

use std::io;

/// Why a saved source cannot be read; the path is known to the caller.
#[derive(Debug, thiserror::Error)]
pub enum SavedError {
    /// It cannot be opened or read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A FIFO, socket or device.
    #[error("is no regular file and no folder")]
    Special,
    /// A folder without maps and smaps.
    #[error("is a folder without a readable maps or smaps in it")]
    NoMaps,
    /// A file without a byte in it.
    #[error("is empty")]
    Empty,
    /// Packed; the name of the packer.
    #[error("is packed ({0}): unpack it first")]
    Packed(&'static str),
    /// smaps_rollup.
    #[error("is smaps_rollup, which has totals only")]
    Rollup,
    /// ELF, but no core file.
    #[error("is an ELF file, but no core file")]
    NotCore,
    /// None of what is understood.
    #[error("is neither maps or smaps text nor an ELF core file")]
    Unknown,
    /// A line that is not what the kernel writes.
    #[error("line {line}: expected a line of maps or smaps, found \"{}\"", found.escape_ascii())]
    Line {
        /// Its number, from 1.
        line: u64,
        /// At most 80 bytes of it.
        found: Vec<u8>,
    },
    /// Larger than anything that is read.
    #[error("is larger than {0} MiB")]
    TooLarge(u64),
    /// A core file whose headers make no sense or are not there.
    #[error("damaged core file: {0}")]
    Core(&'static str),
}
