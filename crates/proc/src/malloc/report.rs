//! What was found in glibc's malloc: figures, each of them known or with the reason why not.

use crate::malloc::layout::Layout;
use std::time::Duration;
use vmatlas_event::{Addr, AddrRange, Bytes};

/// A figure, or why there is none.
pub type Figure<T> = Result<T, Unknown>;

/// Why a figure is not known. An address is where reading or believing stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// The page is not in memory, and reading it would bring it there.
    NotResident(Addr),
    /// What stands there cannot be: it changed while it was read, or it is corrupt.
    Inconsistent(Addr),
    /// We may not read the process's memory.
    NotPermitted,
    /// The kernel did not give it.
    Unreadable(Addr),
    /// It took too long.
    Deadline,
    /// It was more than we read.
    TooMuch,
    /// Nothing of the kind was found.
    NotFound,
}

impl Unknown {
    /// The name in JSON; it never changes.
    pub const fn id(self) -> &'static str {
        match self {
            Unknown::NotResident(_) => "not-resident",
            Unknown::Inconsistent(_) => "inconsistent",
            Unknown::NotPermitted => "not-permitted",
            Unknown::Unreadable(_) => "unreadable",
            Unknown::Deadline => "deadline",
            Unknown::TooMuch => "too-much",
            Unknown::NotFound => "not-found",
        }
    }

    /// Where it happened.
    pub const fn at(self) -> Option<Addr> {
        match self {
            Unknown::NotResident(at) | Unknown::Inconsistent(at) | Unknown::Unreadable(at) => Some(at),
            Unknown::NotPermitted | Unknown::Deadline | Unknown::TooMuch | Unknown::NotFound => None,
        }
    }

    /// Whether another try may find more: the process was changing.
    pub const fn may_pass(self) -> bool {
        matches!(self, Unknown::NotResident(_) | Unknown::Inconsistent(_) | Unknown::Unreadable(_))
    }
}

/// Whether glibc's malloc is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It is, and in use.
    Found,
    /// It is, but nobody ever asked it for memory: another allocator does the work.
    Unused,
    /// It was not found.
    NotFound(Unknown),
}

impl Presence {
    /// The name in JSON; it never changes.
    pub const fn id(self) -> &'static str {
        match self {
            Presence::Found => "found",
            Presence::Unused => "unused",
            Presence::NotFound(_) => "not-found",
        }
    }
}

/// What glibc's malloc holds.
#[derive(Clone, Debug)]
pub struct GlibcReport {
    /// Whether it is there.
    pub presence: Presence,
    /// Which layout fits; `None` where nothing was found.
    pub layout: Option<Layout>,
    /// The main arena, then the others as glibc links them.
    pub arenas: Vec<ArenaReport>,
    /// Why there may be more arenas than these; `None` when these are all.
    pub missing_arenas: Option<Unknown>,
    /// Big chunks, each with a mapping of its own.
    pub mapped: Figure<MappedChunks>,
    /// Where those are that were found, ascending, touching ones joined.
    pub mapped_at: Figure<Vec<AddrRange>>,
    /// Free chunks that threads keep for themselves.
    pub thread_caches: ThreadCaches,
    /// What looking cost.
    pub cost: MallocCost,
}

/// Chunks with a mapping of their own, as malloc itself counts them (`mp_`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MappedChunks {
    /// How many there are.
    pub count: u64,
    /// Their memory.
    pub bytes: Bytes,
    /// From which size on a chunk gets a mapping of its own, at the moment.
    pub threshold: Bytes,
}

/// What looking cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MallocCost {
    /// Wall time.
    pub time: Duration,
    /// Memory read from the process.
    pub bytes: Bytes,
    /// Calls for it.
    pub calls: u64,
    /// Looks that were needed: more than one where the process changed meanwhile.
    pub tries: u32,
}

/// Free chunks of one sort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FreeChunks {
    /// How many.
    pub count: u64,
    /// All their memory, headers included.
    pub bytes: Bytes,
    /// The largest one.
    pub largest: Bytes,
}

impl FreeChunks {
    /// One chunk more.
    pub(super) fn add(&mut self, size: u64) {
        self.join(FreeChunks { count: 1, bytes: Bytes(size), largest: Bytes(size) });
    }

    /// Those of another list too.
    pub(super) fn join(&mut self, other: FreeChunks) {
        self.count += other.count;
        self.bytes += other.bytes;
        self.largest = self.largest.max(other.largest);
    }
}

/// One arena.
#[derive(Clone, Debug)]
pub struct ArenaReport {
    /// Its malloc_state.
    pub at: Addr,
    /// The main arena, which uses brk(2).
    pub main: bool,
    /// What it got from the kernel, ascending; for a main arena in pieces all memory that may be its own.
    pub heaps: Figure<Vec<AddrRange>>,
    /// Threads that allocate from it.
    pub attached_threads: Figure<u64>,
    /// Memory got from the kernel.
    pub system: Figure<Bytes>,
    /// The chunk at its end, which is free.
    pub top: Figure<Bytes>,
    /// Free chunks in bins, without top.
    pub bins: Figure<FreeChunks>,
    /// Free chunks in fastbins.
    pub fast: Figure<FreeChunks>,
    /// Whole pages inside free chunks and top, ascending.
    pub free_ranges: Figure<Vec<AddrRange>>,
    /// Whether its malloc_state was the same before and after; otherwise the figures mix moments.
    pub steady: bool,
}

impl ArenaReport {
    /// Free for the program, not given back to the kernel: top, bins and fastbins.
    ///
    /// # Errors
    /// Why one of them is not known.
    pub fn free(&self) -> Figure<Bytes> {
        Ok(self.top? + self.bins?.bytes + self.fast?.bytes)
    }

    /// In use; chunks in thread caches are among it, as in malloc_info(3).
    ///
    /// # Errors
    /// Why one of the figures is not known.
    pub fn used(&self) -> Figure<Bytes> {
        let (system, free) = (self.system?, self.free()?);
        system.0.checked_sub(free.0).map(Bytes).ok_or(Unknown::Inconsistent(self.at))
    }

    /// The largest chunk that is free.
    ///
    /// # Errors
    /// Why one of the figures is not known.
    pub fn largest_free(&self) -> Figure<Bytes> {
        Ok(self.top?.max(self.bins?.largest).max(self.fast?.largest))
    }

    /// To choose between two looks: known is better than steady, and steady better than not.
    pub(super) fn worth(&self) -> u32 {
        u32::from(self.steady) + 2 * u32::from(self.system.is_ok()) + 4 * u32::from(self.used().is_ok())
    }

    /// The first reason why something is not known.
    pub fn trouble(&self) -> Option<Unknown> {
        let heaps = self.heaps.as_ref().err().copied();
        heaps.or(self.system.err()).or(self.used().err()).or(self.attached_threads.err())
    }
}

/// The caches that threads keep of free chunks (tcache), which count as used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadCaches {
    /// How many were found: as a rule those of the first thread of each arena.
    pub found: u64,
    /// Threads that may have one.
    pub of: Figure<u64>,
    /// The chunks in those that were found.
    pub chunks: Figure<FreeChunks>,
}
