//! Why there is no name: the kinds of answer that are no names.

use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Why a place has no name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NoNames {
    /// The module is no file, and nothing of its kind is known here.
    #[error("no file")]
    NoFile,
    /// Its file is not there (any more).
    #[error("the file is gone")]
    Gone,
    /// Its file cannot be read.
    #[error("the file cannot be read: {0}")]
    Unreadable(io::ErrorKind),
    /// Another file stands at its path: another build ID, or another inode where there was none.
    #[error("the file was replaced")]
    Replaced,
    /// Neither a build ID nor an inode is known of the file that was mapped, so none can be proven to be it.
    #[error("nothing tells whether the file is the one that was mapped")]
    Unproven,
    /// Its file was not understood, or asks for more than the limits allow.
    #[error("{0}")]
    Flaw(Flaw),
    /// It took longer than a module may take.
    #[error("it took too long")]
    Deadline,
    /// The file names no function at all (stripped, and no debug file was found).
    #[error("the file has no symbols")]
    Stripped,
    /// The file names functions, but none there.
    #[error("no symbol covers the address")]
    NotCovered,
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Flaw {
    /// Not an ELF file, or one of a big-endian machine.
    #[error("not an ELF file of a little-endian machine")]
    NotElf,
    /// It ends before what it says it contains.
    #[error("{0} is cut")]
    Cut(String),
    /// It contradicts itself or its format.
    #[error("{0} is damaged")]
    Damaged(String),
    /// More than the limits allow.
    #[error("{what} is too large: {size} of at most {limit}")]
    TooLarge {
        /// The file, the section or the table.
        what: String,
        /// What it wants, in bytes or entries.
        size: u64,
        /// What it may have.
        limit: u64,
    },
    /// Compressed in a way that is not known here.
    #[error("{0} is compressed in an unknown way")]
    Compression(String),
    /// Reading it failed.
    #[error("reading failed: {0}")]
    Read(io::ErrorKind),
}

/// What was noticed about a module beside its names; none of it makes a name wrong.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Note {
    /// Its debug information was read from this separate file.
    #[error("debug information: {}", .0.display())]
    DebugFile(PathBuf),
    /// This debug file is not the one of the module (checksum or build ID), and was not used.
    #[error("{} belongs to another build", .0.display())]
    WrongDebugFile(PathBuf),
    /// Debug information refers to a supplementary file (dwz) that was not found; names out of it are missing.
    #[error("the supplementary file {} was not found", .0.display())]
    NoSupplement(PathBuf),
    /// Debug information took longer than a module may take; functions are told by its symbols alone.
    #[error("the debug information takes too long")]
    Slow,
    /// A part of the file was not used, and why; names come from the other parts.
    #[error("{0}")]
    Unused(Flaw),
}
