//! The verdicts while rules run, and the few questions about neighbouring rows that every rule asks.

use super::{Confidence, Kind, Verdict, Why};
use vmatlas_event::{Prot, Sharing, VmaRow};

/// The rows and their verdicts so far: a row keeps the first verdict it gets.
pub(super) struct Sheet<'a> {
    pub(super) rows: &'a [VmaRow],
    verdicts: Vec<Option<Verdict>>,
}

impl<'a> Sheet<'a> {
    pub(super) fn new(rows: &'a [VmaRow]) -> Sheet<'a> {
        Sheet { rows, verdicts: vec![None; rows.len()] }
    }

    /// Gives row `at` this verdict unless it has one.
    pub(super) fn claim(&mut self, at: usize, kind: Kind, confidence: Confidence, why: Why) {
        if let Some(slot) = self.verdicts.get_mut(at) {
            slot.get_or_insert(Verdict { kind, confidence, why });
        }
    }

    /// The kind of row `at`, when it has one already.
    pub(super) fn kind(&self, at: usize) -> Option<Kind> {
        self.verdicts.get(at).copied().flatten().map(|v| v.kind)
    }

    /// The rows that have a verdict so far, and it.
    pub(super) fn claimed(&self) -> impl Iterator<Item = (usize, Verdict)> + '_ {
        self.verdicts.iter().enumerate().filter_map(|(row, verdict)| verdict.map(|v| (row, v)))
    }

    /// Row `at`, when it is private memory without file or name that no rule has claimed.
    pub(super) fn open(&self, at: usize) -> Option<&'a VmaRow> {
        let row = self.rows.get(at)?;
        (self.verdicts.get(at)?.is_none() && is_plain(row)).then_some(row)
    }

    /// Row `at` when it is open and has exactly this protection.
    pub(super) fn open_with(&self, at: usize, prot: Prot) -> Option<&'a VmaRow> {
        self.open(at).filter(|row| row.prot == prot)
    }

    /// Whether row `at` starts where the row before it ends.
    pub(super) fn touches_previous(&self, at: usize) -> bool {
        at > 0 && self.rows.get(at).is_some_and(|row| row.range.start() == self.rows[at - 1].range.end())
    }

    /// One past the last row of the unbroken run that starts at `at` and of which every row fits.
    ///
    /// What was passed is never passed again by the caller, so a whole pass stays linear.
    pub(super) fn run(&self, at: usize, fits: impl Fn(usize) -> bool) -> usize {
        let mut end = at;
        while end < self.rows.len() && fits(end) && (end == at || self.touches_previous(end)) {
            end += 1;
        }
        end
    }

    /// What is left gets what every row has: it can be accessed or not.
    pub(super) fn finish(self) -> Vec<Verdict> {
        let left = |row: &VmaRow| match (row.sharing, row.prot) {
            (Sharing::Shared, _) => (Kind::Shared, Why::NothingKnown),
            (_, Prot::NONE) => (Kind::Reserved, Why::NoAccess),
            _ => (Kind::Anonymous, Why::NothingKnown),
        };
        self.verdicts
            .into_iter()
            .zip(self.rows)
            .map(|(verdict, row)| {
                verdict.unwrap_or_else(|| {
                    let (kind, why) = left(row);
                    Verdict { kind, confidence: Confidence::Evidence, why }
                })
            })
            .collect()
    }
}

/// Whether this is private memory without file or name: most of what programs make for themselves.
pub(super) fn is_plain(row: &VmaRow) -> bool {
    row.sharing == Sharing::Private && !row.has_file() && row.name_bytes().is_empty()
}

/// The size in bytes.
pub(super) fn size(row: &VmaRow) -> u64 {
    row.range.len().0
}
