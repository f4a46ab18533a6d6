//! What a control group says of its memory, and what its path says of who is in it.

use crate::Bytes;

/// Which of the kernel's two interfaces answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgroupVersion {
    /// One hierarchy for each controller (`Documentation/admin-guide/cgroup-v1/memory.rst`).
    V1,
    /// One hierarchy for all (`Documentation/admin-guide/cgroup-v2.rst`).
    V2,
}

impl CgroupVersion {
    /// The number, as in JSON.
    pub const fn number(self) -> u8 {
        match self {
            CgroupVersion::V1 => 1,
            CgroupVersion::V2 => 2,
        }
    }
}

/// A limit that was set, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// As much as there is: `max`, or what v1 writes for it.
    Unlimited,
    /// At most this.
    At(Bytes),
}

impl Limit {
    /// The bytes; `None` where there is no limit.
    pub const fn bytes(self) -> Option<Bytes> {
        match self {
            Limit::Unlimited => None,
            Limit::At(bytes) => Some(bytes),
        }
    }
}

/// The memory of one cgroup and all below it, as the kernel charges it; what it does not tell is `None`, never 0.
///
/// Charged is not resident: a page is charged to the cgroup that touched it first, whoever maps it, and page cache is
/// charged without being mapped at all. Names are those of v2's memory.stat; for v1 the nearest figure is taken, sums
/// (`total_*`) where the kernel has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupMemory {
    /// Which interface.
    pub version: CgroupVersion,
    /// The cgroup within its hierarchy (`/docker/…`), as seen from our cgroup namespace.
    pub path: Vec<u8>,
    /// All that is charged now (memory.current; v1: memory.usage_in_bytes).
    pub current: Option<Bytes>,
    /// The most that was ever charged (memory.peak; v1: memory.max_usage_in_bytes).
    pub peak: Option<Bytes>,
    /// The hard limit (memory.max; v1: memory.limit_in_bytes). A cgroup above may have a lower one.
    pub max: Option<Limit>,
    /// Where reclaim starts (memory.high); v1 has none.
    pub high: Option<Limit>,
    /// In swap (memory.swap.current; v1: swap of memory.stat).
    pub swap: Option<Bytes>,
    /// The limit of swap (memory.swap.max); v1 limits the sum of both, see `memory_and_swap_max`.
    pub swap_max: Option<Limit>,
    /// Memory and swap together (v1 only: memory.memsw.usage_in_bytes).
    pub memory_and_swap: Option<Bytes>,
    /// The limit of both together (v1 only: memory.memsw.limit_in_bytes).
    pub memory_and_swap_max: Option<Limit>,
    /// What it consists of.
    pub stat: CgroupStat,
    /// How often a limit was met.
    pub events: CgroupEvents,
}

impl CgroupMemory {
    /// One that tells nothing yet.
    pub fn new(version: CgroupVersion, path: Vec<u8>) -> CgroupMemory {
        CgroupMemory {
            version,
            path,
            current: None,
            peak: None,
            max: None,
            high: None,
            swap: None,
            swap_max: None,
            memory_and_swap: None,
            memory_and_swap_max: None,
            stat: CgroupStat::default(),
            events: CgroupEvents::default(),
        }
    }
}

/// The figures of memory.stat that are sizes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CgroupStat {
    /// Anonymous memory (v1: rss, which includes what is in the swap cache).
    pub anon: Option<Bytes>,
    /// Page cache, shared memory and tmpfs included (v1: cache).
    pub file: Option<Bytes>,
    /// The part of `file` that has no disk behind it: shared memory, tmpfs, memfd.
    pub shmem: Option<Bytes>,
    /// The part of `file` that somebody maps (v1: mapped_file).
    pub file_mapped: Option<Bytes>,
    /// The part of `file` that is not yet on disk (v1: dirty).
    pub file_dirty: Option<Bytes>,
    /// The part of `file` that is being written (v1: writeback).
    pub file_writeback: Option<Bytes>,
    /// In memory and in swap at once.
    pub swapcached: Option<Bytes>,
    /// Anonymous transparent huge pages (v1: rss_huge).
    pub anon_thp: Option<Bytes>,
    /// Huge pages of files.
    pub file_thp: Option<Bytes>,
    /// Huge pages of shared memory.
    pub shmem_thp: Option<Bytes>,
    /// hugetlb pages, where they are charged at all (mount option memory_hugetlb_accounting).
    pub hugetlb: Option<Bytes>,
    /// Kernel memory in all (v1: memory.kmem.usage_in_bytes); the next ones are parts of it.
    pub kernel: Option<Bytes>,
    /// Stacks inside the kernel.
    pub kernel_stack: Option<Bytes>,
    /// Page tables.
    pub pagetables: Option<Bytes>,
    /// Page tables of virtual machines and devices.
    pub sec_pagetables: Option<Bytes>,
    /// Kernel data for each CPU.
    pub percpu: Option<Bytes>,
    /// vmalloc areas.
    pub vmalloc: Option<Bytes>,
    /// Kernel objects: dentries, inodes, ...
    pub slab: Option<Bytes>,
    /// The part of `slab` that can be given back.
    pub slab_reclaimable: Option<Bytes>,
    /// The part of `slab` that cannot.
    pub slab_unreclaimable: Option<Bytes>,
    /// Network buffers; no part of `kernel` (v1: memory.kmem.tcp.usage_in_bytes).
    pub sock: Option<Bytes>,
    /// What compressed swap takes in memory.
    pub zswap: Option<Bytes>,
    /// What is in there, uncompressed.
    pub zswapped: Option<Bytes>,
    /// Anonymous and shared memory on the inactive list.
    pub inactive_anon: Option<Bytes>,
    /// Anonymous and shared memory on the active list.
    pub active_anon: Option<Bytes>,
    /// Page cache on the inactive list: given back first.
    pub inactive_file: Option<Bytes>,
    /// Page cache on the active list.
    pub active_file: Option<Bytes>,
    /// Not to be reclaimed (mlock(2), ...).
    pub unevictable: Option<Bytes>,
}

/// How often a limit was met, in this cgroup or below.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CgroupEvents {
    /// Reclaimed although below memory.low.
    pub low: Option<u64>,
    /// Held back because it was above memory.high.
    pub high: Option<u64>,
    /// About to go over memory.max (v1: memory.failcnt).
    pub max: Option<u64>,
    /// Out of memory.
    pub oom: Option<u64>,
    /// Processes killed for it.
    pub oom_kill: Option<u64>,
}

/// Who runs a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Runtime {
    /// Docker.
    Docker,
    /// containerd.
    Containerd,
    /// CRI-O.
    Crio,
    /// Podman.
    Podman,
    /// LXC, LXD, Incus.
    Lxc,
    /// systemd-machined: nspawn, libvirt.
    Machine,
    /// The path does not say.
    Unknown,
}

impl Runtime {
    /// The name in JSON and tables; it never changes.
    pub const fn id(self) -> &'static str {
        match self {
            Runtime::Docker => "docker",
            Runtime::Containerd => "containerd",
            Runtime::Crio => "cri-o",
            Runtime::Podman => "podman",
            Runtime::Lxc => "lxc",
            Runtime::Machine => "machine",
            Runtime::Unknown => "container",
        }
    }
}

/// A container, by its cgroup's name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Container {
    /// Who runs it.
    pub runtime: Runtime,
    /// Its id (64 hexadecimal digits as a rule) or its name (LXC, machines).
    pub id: Vec<u8>,
}

impl Container {
    /// The id as tools print it: 12 digits of a long one, a name whole.
    pub fn short(&self) -> &[u8] {
        const SHORT: usize = 12;
        let long = self.id.len() >= 32 && self.id.iter().all(u8::is_ascii_hexdigit);
        if long { self.id.get(..SHORT).unwrap_or(&self.id) } else { &self.id }
    }
}

/// What the path of a cgroup says of those in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    /// The innermost container.
    pub container: Option<Container>,
    /// The Kubernetes pod's UID.
    pub pod: Option<Vec<u8>>,
    /// The innermost systemd unit (`nginx.service`) inside of the container, or of the host when there is none.
    pub unit: Option<Vec<u8>>,
}
