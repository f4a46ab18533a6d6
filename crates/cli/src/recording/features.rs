//! What the kernel can do for us, tried out: a version says nothing.

use crate::doctor::{can_query_maps, can_scan_pages};

/// Page faults were watched.
pub(crate) const FAULTS: &str = "page-faults";

/// What docs/RECORDING-FORMAT.md lists as features; `how` is that of the recording.
pub(super) fn probe(how: &str, backend: &str, faults: bool) -> Vec<String> {
    let found = [
        ("PROCMAP_QUERY", can_query_maps().is_ok()),
        ("PAGEMAP_SCAN", can_scan_pages().is_ok()),
        // Without the filter `run` by ptrace does not run; nothing else uses one.
        ("seccomp", how == "run" && backend == "ptrace"),
        (FAULTS, faults),
    ];
    found.into_iter().filter(|(_, is_there)| *is_there).map(|(name, _)| name.to_owned()).collect()
}
