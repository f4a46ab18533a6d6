//! Sums over all arenas, and what several looks give together.

use crate::malloc::report::{ArenaReport, Figure, GlibcReport, MallocCost, Presence, ThreadCaches, Unknown};
use vmatlas_event::{AddrRange, Bytes};

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
            mapped_at: Err(why),
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
        if self.mapped_at.is_err() {
            self.mapped_at = earlier.mapped_at;
        }
        if self.thread_caches.chunks.is_err() {
            self.thread_caches = earlier.thread_caches;
        }
    }
}
