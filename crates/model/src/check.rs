//! Whether the model is what the kernel shows: the pages, and where one VMA ends and the next begins.

use crate::apply::is_vma;
use crate::diff::{page_changes, same_coverage};
use crate::space::AddressSpace;
use vmatlas_event::{AddrRange, VmaRow};

/// What is different.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// L0: some page is mapped here and not there, or allows something else, or is of another file or offset.
    Coverage,
    /// L1: the pages are the same, and their VMAs have other boundaries.
    Boundaries,
}

/// The first place where the model and the kernel do not say the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// What is different.
    pub level: Level,
    /// Where.
    pub at: AddrRange,
    /// The model's rows there, with a neighbour on both sides.
    pub model: Vec<VmaRow>,
    /// The kernel's rows there, with a neighbour on both sides.
    pub kernel: Vec<VmaRow>,
}

impl AddressSpace {
    /// Compares the model with all rows of the kernel; labels are not compared, they change without any call.
    pub fn difference(&self, kernel: &[VmaRow]) -> Option<Difference> {
        let is_equal = |a: &VmaRow, b: &VmaRow| {
            a.range == b.range && a.same_attributes(b) && (!a.has_file() || a.offset == b.offset)
        };
        let mut model = self.vmas().filter(is_vma);
        let mut rows = kernel.iter().filter(is_vma);
        let first = loop {
            match (model.next(), rows.next()) {
                (None, None) => return None,
                (Some(a), Some(b)) if is_equal(a, b) => {}
                (a, b) => {
                    break a
                        .into_iter()
                        .chain(b)
                        .map(|row| row.range)
                        .reduce(|a, b| if a < b { a } else { b })?;
                }
            }
        };
        let model: Vec<VmaRow> = self.vmas().filter(is_vma).cloned().collect();
        let kernel: Vec<VmaRow> = kernel.iter().filter(is_vma).cloned().collect();
        let (level, at) = match same_coverage(&model, &kernel) {
            true => (Level::Boundaries, first),
            false => {
                let pages = page_changes(&model, &kernel, &[]);
                let at = pages.first().and_then(|change| match change {
                    crate::PageChange::Added(row) | crate::PageChange::Removed(row) => Some(row.range),
                    crate::PageChange::Altered { to, .. } => Some(to.range),
                    crate::PageChange::Moved { .. } => None,
                });
                (Level::Coverage, at.unwrap_or(first))
            }
        };
        Some(Difference { level, at, model: around(&model, at), kernel: around(&kernel, at) })
    }
}

/// The rows that meet `at`, and one more on each side.
pub(crate) fn around(rows: &[VmaRow], at: AddrRange) -> Vec<VmaRow> {
    const MOST: usize = 16;
    let first = rows.partition_point(|row| row.range.end() <= at.start());
    let last = rows.partition_point(|row| row.range.start() < at.end());
    let from = first.saturating_sub(1);
    let to = (last + 1).min(rows.len()).min(from + MOST);
    rows.get(from..to).unwrap_or_default().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::space::tests::{anon, r};
    use vmatlas_event::{
        Event, MmId, MonoNs, Name, Op, Outcome, PageSize, Pid, Prot, Seq, SnapshotReason, Source, TaskId, Tid,
    };

    fn space(rows: Vec<VmaRow>) -> AddressSpace {
        let mut space = AddressSpace::new(PageSize::FOUR_KIB);
        let task = TaskId { pid: Pid(1), tid: Tid(1), started: None };
        let (seq, at, mm) = (Seq(0), MonoNs(0), MmId(1));
        let op = Op::Snapshot { reason: SnapshotReason::Exec, rows };
        let outcome = Outcome::Done(0);
        space.apply(&Event {
            seq,
            entered: at,
            left: at,
            task,
            mm,
            op,
            outcome,
            stack: None,
            source: Source::Ptrace,
        });
        space
    }

    /// Checks that a page, a protection and a boundary that differ are told as what they are, and a label is not.
    #[test]
    fn what_differs_is_told() {
        let model = space(vec![anon(1, 5, Prot::RW), anon(7, 9, Prot::READ)]);
        let labelled = VmaRow { name: Some(Name::new(b"[heap]")), ..anon(1, 5, Prot::RW) };
        assert_eq!(model.difference(&[labelled, anon(7, 9, Prot::READ)]), None);
        let split = [anon(1, 3, Prot::RW), anon(3, 5, Prot::RW), anon(7, 9, Prot::READ)];
        let difference = model.difference(&split).unwrap();
        assert_eq!((difference.level, difference.kernel.len()), (Level::Boundaries, 2));
        let missing = model.difference(&[anon(1, 5, Prot::RW)]).unwrap();
        assert_eq!((missing.level, missing.at), (Level::Coverage, r(7, 9)));
        let altered = model.difference(&[anon(1, 5, Prot::RW), anon(7, 9, Prot::RW)]).unwrap();
        assert_eq!((altered.level, altered.at, altered.model.len()), (Level::Coverage, r(7, 9), 2));
    }
}
