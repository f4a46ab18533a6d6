//! One look: the map and the pages of a process, and whether it still has the address space that it had.

use std::sync::Arc;
use vmatlas_event::{MonoNs, PageRow};
use vmatlas_proc::read::whole::Identity;
use vmatlas_proc::read::{backing, deadline, residency};
use vmatlas_proc::{Budget, ErrorKind, Maps, MapsAgain, Method, ProcError, Process};

/// What a look has seen.
pub(super) struct Seen {
    /// When reading maps began and ended, and when all was read.
    pub(super) at: MonoNs,
    pub(super) left: MonoNs,
    pub(super) end: MonoNs,
    /// The one of the last look where the map reads as it did then.
    pub(super) maps: Arc<Maps>,
    /// One for each row.
    pub(super) pages: Vec<PageRow>,
    pub(super) method: Method,
    /// The longest single call, in nanoseconds.
    pub(super) hold: u64,
    pub(super) swap_is_empty: bool,
    /// The address space that was seen.
    pub(super) identity: Identity,
    /// Whether it is the one that was known.
    pub(super) is_known: bool,
}

/// Looks at a process again and again, and remembers between what it read.
#[derive(Debug, Default)]
pub(super) struct Looker {
    reader: MapsAgain,
}

impl Looker {
    /// Forgets it: a process could make new names of files for ever.
    pub(super) fn forget(&mut self) {
        self.reader = MapsAgain::new();
    }

    /// Looks once, and leaves a process that does not answer.
    pub(super) fn look(
        &mut self,
        process: &Process,
        budget: Budget,
        known: Option<&Identity>,
    ) -> Result<Seen, ProcError> {
        let mut reader = std::mem::take(&mut self.reader);
        let known = known.cloned();
        let (reader, seen) = deadline::run(process, deadline::LIMIT, move |process| {
            let seen = read(process, &mut reader, budget, known);
            Ok((reader, seen))
        })?;
        self.reader = reader;
        seen
    }
}

/// Reads all of one address space; when the process executed another program meanwhile, that one's.
fn read(
    process: &Process,
    reader: &mut MapsAgain,
    budget: Budget,
    known: Option<Identity>,
) -> Result<Seen, ProcError> {
    const TRIES: u32 = 3;
    let mut known = known;
    for _ in 0..TRIES {
        let is_known = known.is_some();
        let identity = match known.take() {
            Some(identity) => identity,
            None => Identity::of(process)?,
        };
        let seen = read_once(process, reader, budget, identity, is_known);
        let identity = match &seen {
            Ok(seen) => seen.identity.clone(),
            // What was asked of an address space that is gone says nothing of the next one.
            Err(error) if error.kind() == ErrorKind::Gone && is_known => continue,
            Err(_) => return seen,
        };
        if identity.is_still(process)? {
            return seen;
        }
    }
    Err(process.gone())
}

fn read_once(
    process: &Process,
    reader: &mut MapsAgain,
    budget: Budget,
    identity: Identity,
    is_known: bool,
) -> Result<Seen, ProcError> {
    let at = vmatlas_sys::now();
    let maps = reader.read(process)?;
    let left = vmatlas_sys::now();
    let residency = residency::read(process, &maps.rows, budget)?;
    let backings = backing::read(process, &maps.rows);
    let swap_is_empty = process.root().swap_is_empty();
    let pages = maps.rows.iter().zip(&residency.per_row).zip(backings);
    Ok(Seen {
        at,
        left,
        end: vmatlas_sys::now(),
        pages: pages
            .map(|((row, pages), backing)| PageRow { range: row.range, backing, pages: *pages })
            .collect(),
        maps,
        method: residency.cost.method,
        hold: u64::try_from(residency.cost.longest_hold.as_nanos()).unwrap_or(u64::MAX),
        swap_is_empty,
        identity,
        is_known,
    })
}
