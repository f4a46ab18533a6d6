//! What the kernel can do for us, tried out: a version says nothing.

use std::fs::File;
use std::os::fd::AsFd;
use vmatlas_event::{Addr, AddrRange};

/// What docs/RECORDING-FORMAT.md lists as features; `how` is that of the recording.
pub(super) fn probe(how: &str, backend: &str) -> Vec<String> {
    let found = [
        ("PROCMAP_QUERY", can_query_maps()),
        ("PAGEMAP_SCAN", can_scan_pages()),
        // Without the filter `run` by ptrace does not run; nothing else uses one.
        ("seccomp", how == "run" && backend == "ptrace"),
    ];
    found.into_iter().filter(|(_, is_there)| *is_there).map(|(name, _)| name.to_owned()).collect()
}

fn can_query_maps() -> bool {
    let Ok(maps) = File::open("/proc/self/maps") else { return false };
    vmatlas_sys::procmap_query(maps.as_fd(), Addr(0), vmatlas_sys::QueryMode::CoveringOrNext).is_ok()
}

fn can_scan_pages() -> bool {
    let Ok(pagemap) = File::open("/proc/self/pagemap") else { return false };
    let page = vmatlas_sys::page_size().bytes();
    let Some(range) = AddrRange::new(Addr(0), Addr(page)) else { return false };
    let mut runs = [vmatlas_sys::PageRun::default()];
    vmatlas_sys::pagemap_scan(pagemap.as_fd(), range, 1, &mut runs).is_ok()
}
