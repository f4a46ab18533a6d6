//! The words of a recording, each with what it stands for.

use crate::batch::Row;
use crate::error::RecordError;
use vmatlas_event::{Backing, Extent, ForkKind, FoundBy, PageSource, SnapshotReason, Source, StackEnd};

pub(crate) const SOURCES: [(Source, &str); 4] = [
    (Source::Ptrace, "ptrace"),
    (Source::Bpf, "bpf"),
    (Source::Perf, "perf"),
    (Source::Observed, "observed"),
];

pub(crate) const FORKS: [(ForkKind, &str); 3] = [
    (ForkKind::Process, "process"),
    (ForkKind::SharedProcess, "shared-process"),
    (ForkKind::Thread, "thread"),
];

pub(crate) const REASONS: [(SnapshotReason, &str); 9] = [
    (SnapshotReason::Exec, "exec"),
    (SnapshotReason::Fork, "fork"),
    (SnapshotReason::Attach, "attach"),
    (SnapshotReason::Watch, "watch"),
    (SnapshotReason::Unclear, "unclear"),
    (SnapshotReason::Request, "request"),
    (SnapshotReason::Reconcile, "reconcile"),
    (SnapshotReason::Last, "last"),
    (SnapshotReason::Check, "check"),
];

pub(crate) const EXTENTS: [(Extent, &str); 2] = [(Extent::Whole, "whole"), (Extent::Changed, "changed")];

pub(crate) const PAGE_SOURCES: [(PageSource, &str); 3] = [
    (PageSource::PagemapScan, "pagemap-scan"),
    (PageSource::PagemapEntries, "pagemap-entries"),
    (PageSource::Smaps, "smaps"),
];

pub(crate) const BACKINGS: [(Backing, &str); 6] = [
    (Backing::Anonymous, "anonymous"),
    (Backing::File, "file"),
    (Backing::Shmem, "shmem"),
    (Backing::Hugetlb, "hugetlb"),
    (Backing::Special, "special"),
    (Backing::Unknown, "unknown"),
];

pub(crate) const STACK_ENDS: [(StackEnd, &str); 5] = [
    (StackEnd::Start, "start"),
    (StackEnd::Bound, "bound"),
    (StackEnd::Depth, "depth"),
    (StackEnd::NoRule, "no-rule"),
    (StackEnd::Unreadable, "unreadable"),
];

/// The reason that readers of version 3 know, where another one is told in a column that came later.
pub(crate) const CODE_32: (&str, &str) = ("no-rule", "32-bit");

pub(crate) const FOUND_BY: [(FoundBy, &str); 3] =
    [(FoundBy::Tables, "tables"), (FoundBy::Code, "code"), (FoundBy::FramePointer, "frame-pointer")];

pub(crate) fn word<T: PartialEq>(words: &[(T, &'static str)], value: T) -> &'static str {
    // Every value is in its table (tested).
    words.iter().find(|(v, _)| *v == value).map_or("", |(_, word)| word)
}

pub(crate) fn from_word<T: Copy>(words: &[(T, &str)], row: Row<'_>, column: usize) -> Result<T, RecordError> {
    let word = row.word(column).ok_or_else(|| row.wrong(column))?;
    words.iter().find(|(_, w)| *w == word).map(|(v, _)| *v).ok_or_else(|| row.wrong(column))
}
