//! Which kind of memory an event acted on.

use std::collections::HashMap;
use vmatlas_event::{AddrRange, MmId, PageSize};
use vmatlas_model::kind::{Evidence, Kind, classify};
use vmatlas_model::{Done, Spaces};

/// The VMAs of an address space, in address order, each with its kind.
type Known = Vec<(AddrRange, Kind)>;

/// What is asked for, and what each address space held before the event in hand.
///
/// The kind of a VMA follows from its neighbours too, so a map that changed is classified whole: only where a kind was asked for.
pub(super) struct Kinds {
    wanted: Vec<Kind>,
    evidence: Evidence,
    known: HashMap<MmId, Known>,
}

impl Kinds {
    pub(super) fn new(wanted: Vec<Kind>, page: PageSize) -> Kinds {
        Kinds { wanted, evidence: Evidence::none(page), known: HashMap::new() }
    }

    /// Whether an event, which `spaces` have taken, acted on memory that was or is of a kind asked for.
    pub(super) fn meet(&mut self, done: &Done, spaces: &Spaces) -> bool {
        if self.wanted.is_empty() {
            return true;
        }
        let mm = done.event.mm;
        let before = self.known.remove(&mm);
        let after = match (spaces.get(mm), before.as_ref()) {
            (None, _) => None,
            (Some(_), Some(_)) if done.pages.is_empty() && done.change.is_empty() => before.clone(),
            (Some(space), _) => {
                let rows: Vec<_> = space.vmas().cloned().collect();
                let kinds = classify(&rows, &self.evidence);
                Some(rows.iter().zip(kinds).map(|(row, verdict)| (row.range, verdict.kind)).collect())
            }
        };
        let ranges = done.acted_on(self.evidence.page);
        let is_wanted = |known: &Known| {
            ranges.iter().any(|range| in_range(known, *range).any(|k| self.wanted.contains(&k)))
        };
        let meets = before.as_ref().is_some_and(is_wanted) || after.as_ref().is_some_and(is_wanted);
        if let Some(after) = after {
            self.known.insert(mm, after);
        }
        meets
    }
}

fn in_range(known: &Known, range: AddrRange) -> impl Iterator<Item = Kind> {
    let from = known.partition_point(|(row, _)| row.end() <= range.start());
    known.iter().skip(from).take_while(move |(row, _)| row.start() < range.end()).map(|(_, kind)| *kind)
}
