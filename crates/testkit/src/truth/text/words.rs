//! The words of the text form, beside the numbers they stand for.

use super::super::step::Source;

/// Numbers, or bits, with their words.
pub(super) type Words = &'static [(u64, &'static str)];

pub(super) const MAP_TYPES: Words = &[(2, "private"), (1, "shared"), (3, "validate"), (8, "droppable")];
pub(super) const MAP_TYPE: u64 = 0xf;
pub(super) const MAP_FLAGS: Words = &[
    (0x10, "fixed"),
    (0x10_0000, "noreplace"),
    (0x40, "32bit"),
    (0x100, "growsdown"),
    (0x2000, "locked"),
    (0x4000, "noreserve"),
    (0x8000, "populate"),
    (0x2_0000, "stack"),
    (0x4_0000, "hugetlb"),
];
pub(super) const REMAP_FLAGS: Words = &[(1, "maymove"), (4, "dontunmap")];
pub(super) const REMAP_FIXED: u64 = 2;
pub(super) const LOCK_FLAGS: Words = &[(1, "current"), (2, "future"), (4, "onfault")];
pub(super) const SHM_FLAGS: Words = &[(0o10000, "rdonly"), (0o40000, "remap"), (0o100000, "exec")];
pub(super) const PROTS: Words = &[
    (0, "none"),
    (1, "r"),
    (2, "w"),
    (3, "rw"),
    (4, "x"),
    (5, "rx"),
    (6, "wx"),
    (7, "rwx"),
    (0x100_0001, "r,growsdown"),
    (0x100_0003, "rw,growsdown"),
];
pub(super) const POLICIES: Words =
    &[(0, "default"), (1, "preferred"), (2, "bind"), (3, "interleave"), (4, "local")];
pub(super) const NAMES: Words = &[(0, "none"), (1, "one"), (2, "two")];
pub(super) const WRITE_PROTECT: Words = &[(0, "missing"), (1, "wp")];
pub(super) const WRITE: Words = &[(0, "read"), (1, "write")];
/// MADV_*.
pub(super) const ADVICES: Words = &[
    (0, "normal"),
    (1, "random"),
    (2, "sequential"),
    (3, "willneed"),
    (4, "dontneed"),
    (8, "free"),
    (9, "remove"),
    (10, "dontfork"),
    (11, "dofork"),
    (12, "mergeable"),
    (13, "unmergeable"),
    (14, "hugepage"),
    (15, "nohugepage"),
    (16, "dontdump"),
    (17, "dodump"),
    (18, "wipeonfork"),
    (19, "keeponfork"),
    (20, "cold"),
    (21, "pageout"),
    (22, "populate_read"),
    (23, "populate_write"),
    (24, "dontneed_locked"),
    (25, "collapse"),
    (102, "guard_install"),
    (103, "guard_remove"),
];
pub(super) const SOURCES: &[(Source, &str)] = &[
    (Source::File, "file"),
    (Source::Again, "again"),
    (Source::Dup, "dup"),
    (Source::ReadOnly, "rofile"),
    (Source::Sealed, "sealed"),
    (Source::Zero, "zero"),
    (Source::Perf, "perf"),
];
