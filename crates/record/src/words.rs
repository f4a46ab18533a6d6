//! The words of a recording, each with what it stands for.

use crate::batch::Row;
use crate::error::RecordError;
use vmatlas_event::{Backing, Extent, ForkKind, OpKind, PageSource, SnapshotReason, Source};

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

/// Kinds in about the order of how often they come.
pub(crate) const KINDS: [OpKind; 37] = [
    OpKind::Mmap,
    OpKind::Munmap,
    OpKind::Mprotect,
    OpKind::Brk,
    OpKind::Observed,
    OpKind::Madvise,
    OpKind::Mremap,
    OpKind::Fault,
    OpKind::Snapshot,
    OpKind::Fork,
    OpKind::Exec,
    OpKind::Exit,
    OpKind::PkeyMprotect,
    OpKind::Shmat,
    OpKind::Shmdt,
    OpKind::Mlock,
    OpKind::Mlock2,
    OpKind::Munlock,
    OpKind::Mlockall,
    OpKind::Munlockall,
    OpKind::Mseal,
    OpKind::Mbind,
    OpKind::SetMempolicyHomeNode,
    OpKind::RemapFilePages,
    OpKind::Prctl,
    OpKind::ArchPrctl,
    OpKind::MapShadowStack,
    OpKind::IoSetup,
    OpKind::IoDestroy,
    OpKind::Ioctl,
    OpKind::ProcessMadvise,
    OpKind::Personality,
    OpKind::Other,
    OpKind::Seccomp,
    OpKind::Joined,
    OpKind::Lost,
    OpKind::Mark,
];

pub(crate) fn word<T: PartialEq>(words: &[(T, &'static str)], value: T) -> &'static str {
    // Every value is in its table (tested).
    words.iter().find(|(v, _)| *v == value).map_or("", |(_, word)| word)
}

pub(crate) fn from_word<T: Copy>(words: &[(T, &str)], row: Row<'_>, column: usize) -> Result<T, RecordError> {
    let word = row.word(column).ok_or_else(|| row.wrong(column))?;
    words.iter().find(|(_, w)| *w == word).map(|(v, _)| *v).ok_or_else(|| row.wrong(column))
}
