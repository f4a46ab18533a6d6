//! Who asked for the memory of a process: a row for each call site.

mod copies;
mod json;
mod text;
pub mod texts;

use crate::show::Header;
use crate::stack::ShownStack;
use std::collections::BTreeMap;
use vmatlas_event::{Bytes, StackId};
use vmatlas_model::{Site, SiteSum, Toucher};

pub use copies::CopiesView;
pub use text::Options;

/// What rows are ordered by, most first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum By {
    /// Bytes that are mapped.
    #[default]
    Mapped,
    /// Bytes that were asked for, also those unmapped since.
    Asked,
    /// Pages with a recorded fault.
    Touched,
    /// Resident bytes.
    Resident,
    /// Recorded page faults.
    Faults,
    /// Calls.
    Calls,
    /// VMAs made.
    Vmas,
}

impl By {
    /// All of them, as they are typed.
    pub const ALL: [(&'static str, By); 7] = [
        ("mapped", By::Mapped),
        ("asked", By::Asked),
        ("touched", By::Touched),
        ("resident", By::Resident),
        ("faults", By::Faults),
        ("calls", By::Calls),
        ("vmas", By::Vmas),
    ];

    /// As it is typed.
    pub fn id(self) -> &'static str {
        By::ALL.iter().find(|(_, by)| *by == self).map_or("mapped", |(id, _)| id)
    }

    fn of(self, sum: &SiteSum) -> i64 {
        let whole = |bytes: Bytes| i64::try_from(bytes.0).unwrap_or(i64::MAX);
        let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        match self {
            By::Mapped => whole(sum.mapped),
            By::Asked => whole(sum.asked),
            By::Touched => whole(sum.touched),
            // What is not known comes after what is nothing.
            By::Resident => sum.resident.map_or(-1, whole),
            By::Faults => count(sum.faults),
            By::Calls => count(sum.calls),
            By::Vmas => sum.vmas,
        }
    }
}

/// What is known beside the rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Whether calls were seen at all: not of a living process, whose kernel remembers no calls.
    pub calls: bool,
    /// Whether page faults were recorded.
    pub faults: bool,
    /// Why resident bytes are not told; `None` where they are.
    pub resident_why: Option<&'static str>,
}

/// All that `origins` shows.
#[derive(Clone, Debug)]
pub struct OriginsView {
    /// The process.
    pub header: Header,
    /// The sums by sites.
    pub sites: BTreeMap<Site, SiteSum>,
    /// The call stacks of them, as far as they are known.
    pub stacks: BTreeMap<StackId, ShownStack>,
    /// Who caused the faults in memory of each site, most first.
    pub touchers: BTreeMap<Site, Vec<(Toucher, u64)>>,
    /// How many VMAs a process may have (vm.max_map_count), as it was then; `None` where that is not known.
    pub map_limit: Option<u64>,
    /// What is known.
    pub known: Known,
}

impl OriginsView {
    /// The rows in order, most first; equal ones in the order of their sites. Sites without a figure are left out.
    pub fn rows(&self, by: By) -> Vec<(Site, SiteSum)> {
        let is_something = |sum: &SiteSum| {
            sum.calls > 0 || sum.mapped.0 > 0 || sum.asked.0 > 0 || sum.faults > 0 || sum.vmas != 0
        };
        let mut rows: Vec<(Site, SiteSum)> =
            self.sites.iter().map(|(site, sum)| (*site, *sum)).filter(|(_, sum)| is_something(sum)).collect();
        rows.sort_by_key(|(_, sum)| std::cmp::Reverse((by.of(sum), sum.mapped)));
        rows
    }

    /// The sums over all sites; what one of them lacks, the sum lacks.
    pub fn total(&self) -> SiteSum {
        let start = SiteSum { resident: Some(Bytes(0)), ..SiteSum::default() };
        self.sites.values().fold(start, |mut total, sum| {
            total.calls += sum.calls;
            total.asked += sum.asked;
            total.mapped += sum.mapped;
            total.vmas += sum.vmas;
            total.faults += sum.faults;
            total.touched += sum.touched;
            // A site of which nothing is mapped has no pages that could be resident.
            let part = if sum.mapped.0 == 0 { Some(Bytes(0)) } else { sum.resident };
            total.resident = total.resident.zip(part).map(|(a, b)| Bytes(a.0 + b.0));
            total
        })
    }
}
