//! What was saved of a process: maps, smaps, a copied /proc/PID folder, or a core file.
//!
//! You give a path, you get [`Saved`]: the rows of the map and whatever else the file tells. What it is, is seen by its
//! content, never by its name. Everything in it is hostile input: nothing is waited for (a FIFO is refused, not opened),
//! nothing is mapped, sizes are bounded, and what a file does not tell is `None`, never 0.

pub mod core;
mod error;
mod folder;
mod source;
mod text;

pub use self::core::CoreMemory;
pub use error::SavedError;
use source::{Content, open_content};

use crate::parse::smaps::SmapsFields;
use crate::read::process::Thread;
use std::path::{Path, PathBuf};
use vmatlas_event::{Addr, AddrRange, Bytes, PageCounts, PageSize, Pid, VmaRow};

/// What a saved source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SavedKind {
    /// The text of /proc/PID/maps.
    Maps,
    /// The text of /proc/PID/smaps.
    Smaps,
    /// A copied /proc/PID folder.
    ProcFolder,
    /// An ELF core file.
    Core,
}

/// What is known of the process beside its map; empty or `None` where the source does not tell.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Its PID, in the numbers of where it ran.
    pub pid: Option<Pid>,
    /// Its name, bytes of any kind.
    pub name: Vec<u8>,
    /// Its program's path, bytes of any kind.
    pub exe: Vec<u8>,
    /// Its threads; in a core file the first is the one that the signal hit.
    pub threads: Vec<Thread>,
    /// How many threads it had.
    pub thread_count: Option<u64>,
    /// Where its brk heap started.
    pub start_brk: Option<Addr>,
    /// A page of its machine; 4 KiB where nothing tells.
    pub page: PageSize,
    /// Virtual size as the kernel counted it.
    pub virtual_size: Option<Bytes>,
    /// Resident size as the kernel counted it.
    pub resident: Option<Bytes>,
    /// The signal that it was dumped for.
    pub signal: Option<i32>,
    /// Where the vdso starts (auxv: AT_SYSINFO_EHDR).
    pub vdso: Option<Addr>,
    /// An address in the first thread's stack (auxv: AT_EXECFN).
    pub main_stack: Option<Addr>,
}

impl Default for Facts {
    fn default() -> Facts {
        Facts {
            pid: None,
            name: Vec::new(),
            exe: Vec::new(),
            threads: Vec::new(),
            thread_count: None,
            start_brk: None,
            page: PageSize::FOUR_KIB,
            virtual_size: None,
            resident: None,
            signal: None,
            vdso: None,
            main_stack: None,
        }
    }
}

/// A file that ends before what it says it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncated {
    /// Bytes that are there.
    pub have: Bytes,
    /// Bytes that its headers speak of.
    pub of: Bytes,
}

/// What one saved source gives.
#[derive(Debug)]
pub struct Saved {
    /// What it is.
    pub kind: SavedKind,
    /// Where it is.
    pub path: PathBuf,
    /// The map in address order. Rows of a core file have names but neither device nor inode, and their
    /// [`sharing`](VmaRow::sharing) is not known (see [`Saved::knows_sharing`]).
    pub rows: Vec<VmaRow>,
    /// The pages of each row by smaps, where it was there: `swapped` holds shared memory too, and `zero` is not told.
    pub pages: Option<Vec<Option<PageCounts>>>,
    /// The figures of each row, where smaps was there.
    pub smaps: Option<Vec<SmapsFields>>,
    /// How many bytes of each row a core file holds.
    pub dumped: Option<Vec<Bytes>>,
    /// What else is known.
    pub facts: Facts,
    /// Rows that overlapped the one before.
    pub torn: u64,
    /// Mapped files that a core file names without having a segment for them: gcore leaves out what it need not save.
    pub left_out: u64,
    /// Whether the file was cut.
    pub truncated: Option<Truncated>,
    /// The memory that a core file holds.
    pub memory: Option<CoreMemory>,
}

impl Saved {
    /// Reads whatever is there.
    ///
    /// # Errors
    /// [`SavedError`], which says what was expected.
    pub fn open(path: &Path) -> Result<Saved, SavedError> {
        match open_content(path)? {
            Content::Folder => folder::read(path),
            Content::Core(file) => core::read(path, file),
            Content::Text(file) => text::read_saved(path, file),
        }
    }

    /// Whether the source tells private from shared mappings: a core file does not.
    pub fn knows_sharing(&self) -> bool {
        self.kind != SavedKind::Core
    }

    /// The row that holds an address.
    pub fn row_at(&self, addr: Addr) -> Option<&VmaRow> {
        let at = self.rows.partition_point(|row| row.range.end() <= addr);
        self.rows.get(at).filter(|row| row.range.contains(addr))
    }

    fn new(kind: SavedKind, path: &Path) -> Saved {
        Saved {
            kind,
            path: path.to_owned(),
            rows: Vec::new(),
            pages: None,
            smaps: None,
            dumped: None,
            facts: Facts::default(),
            torn: 0,
            left_out: 0,
            truncated: None,
            memory: None,
        }
    }
}

/// A range that is not empty.
fn range(start: u64, end: u64) -> Option<AddrRange> {
    AddrRange::new(Addr(start), Addr(end)).filter(|range| !range.is_empty())
}
