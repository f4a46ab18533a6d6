//! The experiments, each a folder of its own: `mod.rs`, `en.md`, `ja.md`. docs/HOWTO-ADD-AN-EXPERIMENT.md tells how to
//! add one.

use crate::info::Info;

mod brk;
mod demand_paging;
mod fork_cow;
mod madvise;
mod mmap;
mod mprotect;
mod mremap;
mod munmap_middle;
mod null_pointer;
mod past_the_end;
mod zero_page;

/// All experiments, in the order to learn from them; those in comments are still to come, each at its place.
///
/// The order is part of what the subject and the experimenter agree on; both are the same binary.
pub static EXPERIMENTS: &[&Info] = &[
    // Obtaining memory.
    &mmap::INFO,
    // &one_byte::INFO,
    &brk::INFO,
    // &malloc::INFO,
    // When memory comes.
    &demand_paging::INFO,
    &zero_page::INFO,
    // &mlock_populate::INFO,
    // What the map is made of.
    &munmap_middle::INFO,
    &mprotect::INFO,
    &mremap::INFO,
    &madvise::INFO,
    // &map_count::INFO,
    &null_pointer::INFO,
    // &stack::INFO,
    // &threads::INFO,
    // Files and sharing.
    // &file_private::INFO,
    // &file_shared::INFO,
    &past_the_end::INFO,
    // &page_cache::INFO,
    // &shared_memory::INFO,
    // &memfd::INFO,
    // &sysv::INFO,
    // Processes.
    &fork_cow::INFO,
    // &fork_exec::INFO,
    // &linking::INFO,
    // &randomisation::INFO,
    // The machine.
    // &huge_pages::INFO,
    // &explicit_huge_pages::INFO,
    // &overcommit::INFO,
    // &swap::INFO,
];

#[cfg(test)]
mod tests;
