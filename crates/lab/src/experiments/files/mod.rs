//! Files and memory that several processes share.

use crate::info::Info;

mod file_private;
mod file_shared;
mod memfd;
mod page_cache;
mod past_the_end;
mod shared_memory;
mod sysv;

/// In the order to learn from them.
pub(super) static ALL: &[&Info] = &[
    &file_private::INFO,
    &file_shared::INFO,
    &past_the_end::INFO,
    &page_cache::INFO,
    &shared_memory::INFO,
    &memfd::INFO,
    &sysv::INFO,
];
