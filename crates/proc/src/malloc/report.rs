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
    fn worth(&self) -> u32 {
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

impl GlibcReport {
    /// A report without arenas.
    pub(super) fn without(presence: Presence) -> GlibcReport {
        let why = match presence {
            Presence::NotFound(why) => why,
            Presence::Found | Presence::Unused => Unknown::NotFound,
        };
        GlibcReport {
            presence,
            layout: None,
            arenas: Vec::new(),
            missing_arenas: None,
            mapped: Err(why),
            thread_caches: ThreadCaches { found: 0, of: Err(why), chunks: Err(why) },
            cost: MallocCost::default(),
        }
    }

    /// Memory that all arenas got from the kernel.
    ///
    /// # Errors
    /// Why that of one is not known.
    pub fn system(&self) -> Figure<Bytes> {
        self.sum(|arena| arena.system)
    }

    /// Memory that is free in all arenas.
    ///
    /// # Errors
    /// Why that of one is not known.
    pub fn free(&self) -> Figure<Bytes> {
        self.sum(ArenaReport::free)
    }

    /// Memory that is used in all arenas.
    ///
    /// # Errors
    /// Why that of one is not known.
    pub fn used(&self) -> Figure<Bytes> {
        self.sum(ArenaReport::used)
    }

    /// Whole free pages of all arenas, ascending.
    ///
    /// # Errors
    /// Why those of one are not known.
    pub fn free_ranges(&self) -> Figure<Vec<AddrRange>> {
        let mut all = Vec::new();
        for arena in self.complete()? {
            all.extend_from_slice(arena.free_ranges.as_ref().map_err(|why| *why)?);
        }
        all.sort_unstable();
        Ok(all)
    }

    fn sum(&self, of: impl Fn(&ArenaReport) -> Figure<Bytes>) -> Figure<Bytes> {
        self.complete()?.iter().map(of).sum()
    }

    fn complete(&self) -> Figure<&[ArenaReport]> {
        match (self.presence, self.missing_arenas) {
            (Presence::NotFound(why), _) | (_, Some(why)) => Err(why),
            _ => Ok(&self.arenas),
        }
    }

    /// Whether nothing changed while it was read.
    pub fn steady(&self) -> bool {
        self.arenas.iter().all(|arena| arena.steady)
    }

    /// Whether another look may find more: something changed meanwhile.
    pub(super) fn may_improve(&self) -> bool {
        let found = match self.presence {
            Presence::NotFound(why) => Some(why),
            Presence::Found | Presence::Unused => self.missing_arenas,
        };
        let arena = |arena: &ArenaReport| arena.trouble().map_or(!arena.steady, Unknown::may_pass);
        found.map_or_else(|| self.arenas.iter().any(arena), Unknown::may_pass)
    }

    /// Takes from an earlier look each arena that it knows better: one look rarely meets all of them at rest.
    pub(super) fn take_better(&mut self, earlier: GlibcReport) {
        if earlier.presence != Presence::Found {
            return;
        }
        if self.presence != Presence::Found
            || (self.missing_arenas.is_some() && earlier.missing_arenas.is_none())
        {
            *self = earlier;
            return;
        }
        for old in earlier.arenas {
            if let Some(arena) = self.arenas.iter_mut().find(|arena| arena.at == old.at)
                && old.worth() > arena.worth()
            {
                *arena = old;
            }
        }
        if self.mapped.is_err() {
            self.mapped = earlier.mapped;
        }
        if self.thread_caches.chunks.is_err() {
            self.thread_caches = earlier.thread_caches;
        }
    }
}
