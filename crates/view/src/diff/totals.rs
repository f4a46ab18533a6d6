//! What two maps come to, kind by kind.

use super::{Filter, difference};
use crate::show::{MapView, Missing, ShowRow};
use std::cmp::Reverse;
use std::collections::BTreeSet;
use vmatlas_event::Bytes;
use vmatlas_model::kind::Kind;

/// Sums of one kind, or of all.
#[derive(Clone, Debug)]
pub struct Total {
    /// The kind; `None` for all.
    pub kind: Option<Kind>,
    /// VMAs in each map.
    pub count: [u64; 2],
    /// Their size.
    pub size: [Bytes; 2],
    /// What is resident of them.
    pub resident: [Result<Bytes, Missing>; 2],
}

impl Total {
    fn growth(&self) -> (i128, i128) {
        let [a, b] = self.resident;
        let resident = a.and_then(|a| Ok(difference(a, b?))).unwrap_or(0);
        (resident, difference(self.size[0], self.size[1]))
    }
}

/// Sums per kind, the largest growth first, and of all as the last.
pub(super) fn totals(a: &MapView, b: &MapView, filter: &Filter) -> Vec<Total> {
    let kinds: BTreeSet<Kind> = a.rows.iter().chain(&b.rows).map(|row| row.verdict.kind).collect();
    let total = |kind: Option<Kind>| {
        let of = |view: &'_ MapView| {
            let rows: Vec<&ShowRow> = view
                .rows
                .iter()
                .filter(|row| match kind {
                    Some(kind) => row.verdict.kind == kind,
                    None => filter.takes_kind(row.verdict.kind),
                })
                .collect();
            let size: Bytes = rows.iter().map(|row| row.vma.range.len()).sum();
            // Nothing at all is a known amount wherever pages were read.
            let resident = match view.resident_of(rows.iter().copied()) {
                Err(Missing::NoPages) if view.has_pages() => Ok(Bytes(0)),
                resident => resident,
            };
            let resident = if rows.is_empty() && !view.has_pages() {
                Err(match view.pages_why {
                    Some("not-recorded") => Missing::NotRecorded,
                    Some("unknown") => Missing::NotLooked,
                    _ => Missing::NotRead,
                })
            } else {
                resident
            };
            (rows.len() as u64, size, resident)
        };
        let ((count_a, size_a, resident_a), (count_b, size_b, resident_b)) = (of(a), of(b));
        Total { kind, count: [count_a, count_b], size: [size_a, size_b], resident: [resident_a, resident_b] }
    };
    let mut out: Vec<Total> =
        kinds.into_iter().filter(|kind| filter.takes_kind(*kind)).map(|kind| total(Some(kind))).collect();
    out.sort_by_key(|total| Reverse((total.growth(), total.size[1])));
    out.push(total(None));
    out
}
