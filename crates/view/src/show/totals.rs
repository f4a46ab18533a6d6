//! Sums per kind.

use super::column::{Column, Missing};
use super::{MapView, ShowRow};
use vmatlas_event::{Bytes, PageCounts};
use vmatlas_model::kind::Kind;

/// Sums of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Total {
    /// The kind.
    pub kind: Kind,
    /// How many VMAs.
    pub count: u64,
    /// Their size.
    pub size: Bytes,
    /// Their pages; `None` when not read.
    pub pages: Option<PageCounts>,
}

/// Sums per kind, most resident (else largest) first.
pub fn totals<'a>(rows: impl Iterator<Item = &'a ShowRow>) -> Vec<Total> {
    let mut sums: Vec<Total> = Vec::new();
    for row in rows {
        let kind = row.verdict.kind;
        let at = sums.iter().position(|t| t.kind == kind).unwrap_or_else(|| {
            sums.push(Total { kind, count: 0, size: Bytes(0), pages: None });
            sums.len() - 1
        });
        let total = &mut sums[at];
        total.count += 1;
        total.size += row.vma.range.len();
        if let Some(pages) = row.pages {
            *total.pages.get_or_insert_default() += pages;
        }
    }
    sums.sort_by_key(|t| {
        let resident = t.pages.map_or(Bytes(0), |p| p.resident);
        std::cmp::Reverse((resident, t.size))
    });
    sums
}

/// The sum of one column: missing when a part of it is, but for rows without page tables.
pub(super) fn sum<'a>(
    column: Column,
    rows: impl Iterator<Item = &'a ShowRow>,
    view: &MapView,
) -> Result<Bytes, Missing> {
    let mut sum = Bytes(0);
    let mut missing = None;
    let mut has_any = false;
    for row in rows {
        match column.amount(row, view) {
            Ok(bytes) => {
                has_any = true;
                sum += bytes;
            }
            Err(Missing::NoPages) => {}
            // What is hidden could be told, what is unknown not.
            Err(Missing::Hidden) if missing != Some(Missing::Unknown) => missing = Some(Missing::Hidden),
            Err(why) => missing = Some(why),
        }
    }
    match missing {
        Some(why) => Err(why),
        None if has_any => Ok(sum),
        None => Err(Missing::NoPages),
    }
}

/// The same of smaps; `None` where a row lacks it.
pub(super) fn sum_of_smaps<'a>(column: Column, rows: impl Iterator<Item = &'a ShowRow>) -> Option<Bytes> {
    rows.filter(|row| row.vma.special() != Some(b"vsyscall")).map(|row| column.of_smaps(row)).sum()
}

impl MapView {
    /// What is resident of some of its rows, hugetlb included.
    pub(crate) fn resident_of<'a>(&self, rows: impl Iterator<Item = &'a ShowRow>) -> Result<Bytes, Missing> {
        sum(Column::Resident, rows, self)
    }
}
