//! How much a file may cost: bytes, entries, lengths, depth and time.

use super::error::Flaw;
use std::cell::Cell;
use std::time::Duration;

/// What names of one module may cost; a file that wants more is refused, and the answer says what was too much.
///
/// Memory: the sections read, and for debug information what is made of them, at most about 64 bytes for each byte of it
/// (a line program can make a row of every byte) where the file is hostile, and about its size where it is not.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The largest file in bytes.
    pub file: u64,
    /// The largest section in bytes, after decompression.
    pub section: u64,
    /// All sections of one file and its debug files together, in bytes after decompression.
    pub module: u64,
    /// Entries of all symbol tables of one module.
    pub symbols: u64,
    /// The length of one name or path in bytes; what is longer is cut, with `…` at its end.
    pub name: usize,
    /// Functions inlined into each other at one place; what is further out than that, but the function itself, is left out.
    pub inlined: usize,
    /// How long one module may take in all, and as long again by its symbols alone.
    pub time: Duration,
    /// Bytes of modules that are kept parsed.
    pub kept: u64,
}

impl Default for Limits {
    /// Enough for a compiler or a browser; the larger ones' debug information is refused, and their symbols still name functions.
    fn default() -> Limits {
        const MIB: u64 = 1 << 20;
        Limits {
            file: 8192 * MIB,
            section: 1024 * MIB,
            module: 2048 * MIB,
            symbols: 8_000_000,
            name: 4096,
            inlined: 64,
            time: Duration::from_secs(20),
            kept: 512 * MIB,
        }
    }
}

/// Bytes that one module may still have read or unpacked.
#[derive(Debug)]
pub(super) struct Budget {
    section: u64,
    left: Cell<u64>,
}

impl Budget {
    /// All that `limits` allows a module.
    pub(super) fn new(limits: &Limits) -> Budget {
        Budget { section: limits.section, left: Cell::new(limits.module) }
    }

    /// Takes `size` bytes for what is called `name`, before they are read.
    ///
    /// # Errors
    /// [`Flaw::TooLarge`] where that is more than one section may have, or than is left.
    pub(super) fn take(&self, name: &str, size: u64) -> Result<(), Flaw> {
        let limit = self.section.min(self.left.get());
        if size > limit {
            return Err(Flaw::TooLarge { what: name.to_owned(), size, limit });
        }
        self.left.set(self.left.get() - size);
        Ok(())
    }
}
