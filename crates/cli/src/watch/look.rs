//! One look: the map and the pages of a process, and whether it still has the address space that it had.

use std::sync::Arc;
use vmatlas_event::{MonoNs, PageRow};
use vmatlas_proc::read::deadline;
use vmatlas_proc::read::whole::Identity;
use vmatlas_proc::{Budget, ErrorKind, Maps, MapsAgain, Method, PagesAgain, ProcError, Process};

/// What a look has seen.
pub(super) struct Seen {
    /// When reading maps began and ended, and when all was read.
    pub(super) at: MonoNs,
    pub(super) left: MonoNs,
    pub(super) end: MonoNs,
    /// The one of the last look where the map reads as it did then.
    pub(super) maps: Arc<Maps>,
    /// One for each row; that of the last look where nothing of it is another.
    pub(super) pages: Arc<Vec<PageRow>>,
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
    maps: MapsAgain,
    pages: PagesAgain,
}

impl Looker {
    /// Forgets it: a process could make new names of files for ever.
    pub(super) fn forget(&mut self) {
        *self = Looker::default();
    }

    /// Looks once, and leaves a process that does not answer.
    pub(super) fn look(
        &mut self,
        process: &Process,
        budget: Budget,
        known: Option<&Identity>,
    ) -> Result<Seen, ProcError> {
        let mut looker = std::mem::take(self);
        let known = known.cloned();
        let (looker, seen) = deadline::run(process, deadline::LIMIT, move |process| {
            let seen = read(process, &mut looker, budget, known);
            Ok((looker, seen))
        })?;
        *self = looker;
        seen
    }
}

/// Reads all of one address space; when the process executed another program meanwhile, that one's.
fn read(
    process: &Process,
    looker: &mut Looker,
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
        let seen = read_once(process, looker, budget, identity, is_known);
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
    looker: &mut Looker,
    budget: Budget,
    identity: Identity,
    is_known: bool,
) -> Result<Seen, ProcError> {
    let at = vmatlas_sys::now();
    let maps = looker.maps.read(process)?;
    let left = vmatlas_sys::now();
    let (pages, cost) = looker.pages.read(process, &maps, budget)?;
    let swap_is_empty = process.root().swap_is_empty();
    Ok(Seen {
        at,
        left,
        end: vmatlas_sys::now(),
        pages,
        maps,
        method: cost.method,
        hold: u64::try_from(cost.longest_hold.as_nanos()).unwrap_or(u64::MAX),
        swap_is_empty,
        identity,
        is_known,
    })
}
