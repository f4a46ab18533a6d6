//! The options of what looks at processes: show, rss, ps.

use super::values::{
    parse_addr, parse_by, parse_duration, parse_kind, parse_method, parse_ps_sort, parse_rwx, parse_size,
};
use crate::show::words::{parse_columns, parse_sort};
use clap::Args;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;
use vmatlas_event::{Addr, Bytes, Prot};
use vmatlas_model::kind::Kind;
use vmatlas_proc::Method;
use vmatlas_view::ps;
use vmatlas_view::show::{Columns, Sort};

#[derive(Args, Debug)]
pub(crate) struct ShowArgs {
    /// A PID or a process name; saved maps or smaps, a copied /proc/PID folder, or a core file; a recording at a moment:
    /// REC (its last state alive), REC@1.25s, REC@1042 (event), REC@exec, REC@peak, REC@end, REC@MARK, REC:PID@...
    #[arg(value_name = "PID|NAME|FILE", required_unless_present = "pid")]
    pub(crate) target: Option<OsString>,
    /// The process by its PID
    #[arg(short, long, value_name = "PID", conflicts_with = "target")]
    pub(crate) pid: Option<i32>,
    /// Only the header and the totals per kind
    #[arg(long)]
    pub(crate) summary: bool,
    /// Do not read which pages are resident
    #[arg(long)]
    pub(crate) no_resident: bool,
    /// The longest that a single call of ours may hold the process (1ms, 250us)
    #[arg(long, value_name = "TIME", default_value = "1ms", value_parser = parse_duration)]
    pub(crate) budget: Duration,
    /// Read the pages with so many threads at a time, for large processes where cores are idle
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..))]
    pub(crate) threads: u8,
    /// How to read which pages are resident: pagemap-scan, pagemap-entries or smaps (else the best there is)
    #[arg(long, value_name = "HOW", value_parser = parse_method, hide_short_help = true)]
    pub(crate) method: Option<Method>,
    /// Tell for each VMA how its kind is known
    #[arg(long)]
    pub(crate) why_kind: bool,
    /// Only these kinds (image, heap, malloc-arena, thread-stack, ... as in --json)
    #[arg(long, value_name = "KIND,...", value_delimiter = ',', value_parser = parse_kind)]
    pub(crate) kind: Vec<Kind>,
    /// Only VMAs that allow all of this (letters of rwx)
    #[arg(long, value_name = "RWX", value_parser = parse_rwx)]
    pub(crate) prot: Option<Prot>,
    /// Only VMAs of at least this size (4096, 64KiB, 1.5GiB)
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) min_size: Option<Bytes>,
    /// Only VMAs whose name contains this text
    #[arg(long, value_name = "TEXT")]
    pub(crate) name: Option<OsString>,
    /// Only the VMA that holds this address (hexadecimal)
    #[arg(long, value_name = "ADDR", value_parser = parse_addr)]
    pub(crate) addr: Option<Addr>,
    /// Columns: resident, anonymous, file, shmem, swapped, private, shared, pss, ... (help lists them, all shows them)
    #[arg(long, value_name = "LIST", value_parser = parse_columns)]
    pub(crate) columns: Option<Columns>,
    /// Read smaps too and show the kernel's own figures beside ours; it holds the process about 9 ms per GiB
    #[arg(long)]
    pub(crate) smaps: bool,
    /// How many of vm.max_map_count VMAs there are, of which kinds, and which neighbours look alike but are not merged
    #[arg(long, conflicts_with_all = ["summary", "svg", "kind", "prot", "min_size", "name", "addr", "columns", "why_kind"])]
    pub(crate) map_count: bool,
    /// Order: address, or a column of sizes such as size, resident, swapped, private or pss (largest first)
    #[arg(long, value_name = "ORDER", default_value = "address", value_parser = parse_sort)]
    pub(crate) sort: Sort,
    /// One JSON document instead of text
    #[arg(long)]
    pub(crate) json: bool,
    /// Draw the address space to scale, gaps folded, into this file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["kind", "prot", "min_size", "name", "addr"])]
    pub(crate) svg: Option<PathBuf>,
    /// Do not use a pager
    #[arg(long)]
    pub(crate) no_pager: bool,
}

#[derive(Args, Debug)]
pub(crate) struct RssArgs {
    /// A PID, a process name, or what was saved of one: smaps, a copied /proc/PID folder, a core file, a recording at a moment
    /// whose pages were recorded (REC@1s)
    #[arg(value_name = "TARGET", required_unless_present_any = ["pid", "tree", "cgroup"])]
    pub(crate) target: Option<OsString>,
    /// The process by its PID
    #[arg(short, long, value_name = "PID", conflicts_with = "target")]
    pub(crate) pid: Option<i32>,
    /// A process and all its descendants as one: what they share, and what was copied since fork (root)
    #[arg(long, value_name = "PID", conflicts_with_all = ["target", "pid", "cgroup", "line", "profiler_total", "rollup", "pss"])]
    pub(crate) tree: Option<i32>,
    /// The processes of a cgroup (a container) as one: a path below /sys/fs/cgroup, or as in /proc/PID/cgroup
    #[arg(long, value_name = "PATH", conflicts_with_all = ["target", "pid", "line", "profiler_total", "rollup", "pss"])]
    pub(crate) cgroup: Option<OsString>,
    /// With proportional and unique sizes (PSS, USS), by our own sum; needs root, about 45 ms per GiB
    #[arg(long)]
    pub(crate) pss: bool,
    /// Open one line: its VMAs, and what malloc says of it (heap, malloc-arena, image, ... as in --json); not with --json,
    /// which has the figures of malloc in any case ('vmatlas show --kind KIND --json' has the VMAs)
    #[arg(long, value_name = "KIND", value_parser = parse_kind, conflicts_with_all = ["json", "profiler_total", "rollup", "pss"])]
    pub(crate) line: Option<Kind>,
    /// What a profiler counts: says which lines its figure can and cannot contain
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) profiler_total: Option<Bytes>,
    /// Compare with smaps_rollup too; the kernel holds the process meanwhile, about 9 ms per GiB
    #[arg(long)]
    pub(crate) rollup: bool,
    /// One JSON document instead of text
    #[arg(long)]
    pub(crate) json: bool,
    /// Do not use a pager
    #[arg(long)]
    pub(crate) no_pager: bool,
}

#[derive(Args, Debug)]
pub(crate) struct PsArgs {
    /// Count the VMAs of each (reads maps; above 80 % of vm.max_map_count the number is coloured)
    #[arg(long)]
    pub(crate) vmas: bool,
    /// Sum PSS and USS page by page, of processes up to 256 MiB resident (PSS needs root)
    #[arg(long)]
    pub(crate) pss: bool,
    /// Read what --pss cannot sum with smaps_rollup, which holds the process for about 9 ms per GiB
    #[arg(long)]
    pub(crate) rollup: bool,
    /// Show arguments instead of names: they may hold secrets, and are read from the process's own memory
    #[arg(long)]
    pub(crate) args: bool,
    /// Sums by: container, user, name or cgroup
    #[arg(long, value_name = "WHAT", value_parser = parse_by)]
    pub(crate) by: Option<ps::By>,
    /// Order: rss, vsz, swap, vmas, pss, uss (largest first), pid or name
    #[arg(long, value_name = "ORDER", default_value = "rss", value_parser = parse_ps_sort)]
    pub(crate) sort: ps::Sort,
    /// Only processes with at least so much resident (4096, 64KiB, 1.5GiB)
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) min_rss: Option<Bytes>,
    /// Only processes whose name contains this text
    #[arg(long, value_name = "TEXT")]
    pub(crate) name: Option<OsString>,
    /// At most so many lines; the totals are still those of all
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) limit: Option<usize>,
    /// Threads of the kernel and zombies too
    #[arg(short, long)]
    pub(crate) all: bool,
    /// One JSON document instead of text
    #[arg(long)]
    pub(crate) json: bool,
    /// Do not use a pager
    #[arg(long)]
    pub(crate) no_pager: bool,
}

/// What a person should know to read the sheet.
pub(super) const RSS_NOTES: &str = "\
    TOUCHED is what has a page behind it now: resident, swapped out, or mapped to the page of zeros. A kind is known by \
    its name, by evidence (a file, a stack pointer, a runtime's layout), or is a guess. The sum is exact when the process \
    stands still; what it changed meanwhile is told.";

/// What a person should know of the figures.
pub(super) const PS_NOTES: &str = "\
    Without options one small file of each process is read, which no process can delay. RESIDENT counts a page that is \
    shared once for each process; PSS divides it by how many page tables map it, so sums of PSS are honest; USS is what \
    no other process maps. What is hidden from you says so; what was not read is \"-\".";
