//! The unsafe fence: every system call that needs `unsafe`, behind a safe and typed function.
//!
//! You get thin wrappers that take and return values; none of them decides anything, prints or keeps state,
//! except [`signal`], whose handler must live somewhere. All `unsafe` of vmatlas is in this crate, each block with
//! the guarantee it rests on.

mod alarm;
mod cache;
mod clock;
mod errno;
mod heap;
mod id;
mod in_root;
mod pagemap_scan;
mod poll;
mod procmap_query;
mod remote;
mod spawn;
mod swap;
mod wait;

pub mod bpf;
pub mod mem;
pub mod perf;
pub mod playground;
pub mod privilege;
pub mod probe;
pub mod ptrace;
pub mod sched;
pub mod seccomp;
pub mod signal;
pub mod stacks;
pub mod tty;
pub mod workbench;

pub use alarm::Alarm;
pub use cache::pages_in_cache;
pub use clock::{cpu_time, now, realtime_offset, sleep, thread_cpu_time};
pub use errno::{errno_name, errno_text, last_errno};
pub use heap::keep_freed_memory;
pub use id::{
    PidFd, addr_no_randomize, effective_uid, hostname_release, page_size, read_implies_exec, real_uid,
    same_address_space, self_pid, ticks_per_second,
};
pub use in_root::find_in_root;
pub use pagemap_scan::{PageRun, PageTraits, ScanStep, pagemap_scan, pagemap_scan_tells_guards};
pub use poll::wait_writable;
pub use procmap_query::{MapAnswer, QueryMode, procmap_query};
pub use remote::process_vm_read;
pub use spawn::{ExecFailure, Program, Spawned, spawn};
pub use swap::{swap_off, swap_on};
pub use wait::{
    WaitStatus, exit_now, kill, poll_my_child, poll_my_children, wait_for, wait_my_children,
    wait_my_children_or_alarm,
};
