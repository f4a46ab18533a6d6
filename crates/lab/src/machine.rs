//! What is known of this machine before an experiment: predictions come from here.

use std::fs;
use std::path::{Path, PathBuf};
use vmatlas_event::{Bytes, PageSize};

/// The settings and sizes that decide what a memory call does.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The kernel's release.
    pub kernel: String,
    /// The size of a base page.
    pub page: PageSize,
    /// What we may do beyond others: the effective set of capabilities(7).
    pub capabilities: u64,
    /// Transparent huge pages: which sizes anonymous memory may get without asking.
    pub thp: Thp,
    /// Whether shared anonymous memory may get huge pages without asking.
    pub shmem_huge: bool,
    /// vm.overcommit_memory: 0 heuristic, 1 always, 2 strict; `None` when it cannot be read.
    pub overcommit: Option<u64>,
    /// vm.mmap_min_addr.
    pub min_addr: u64,
    /// How many huge pages the kernel may make beyond those set apart (vm.nr_overcommit_hugepages).
    pub huge_extra: Option<u64>,
    /// Sizes of /proc/meminfo.
    pub memory: Memory,
    /// What may still be used under the tightest limit of our control groups; `None` without one.
    pub cgroup_room: Option<Bytes>,
    /// Limits of the process (getrlimit(2)); `None` for unlimited.
    pub limits: Limits,
}

/// Transparent huge pages, as /sys/kernel/mm/transparent_hugepage says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Thp {
    /// `always`, `madvise`, `never`; empty when the kernel has none.
    pub mode: String,
    /// The largest page that memory gets without madvise(2); `None` for base pages only.
    pub largest: Option<Bytes>,
    /// The same of memory with MADV_HUGEPAGE.
    pub advised: Option<Bytes>,
    /// What one entry of the upper page table maps, so the largest there can be; `None` when the kernel has none.
    pub whole: Option<Bytes>,
}

/// Sizes of /proc/meminfo; `None` where a line is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// MemTotal and SwapTotal together.
    pub total: Option<Bytes>,
    /// MemAvailable.
    pub available: Option<Bytes>,
    /// CommitLimit less Committed_AS.
    pub commit_room: Option<Bytes>,
    /// HugePages_Free less those reserved.
    pub huge_free: Option<u64>,
    /// Hugepagesize.
    pub huge_size: Option<Bytes>,
}

/// Limits of the process that memory calls meet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// RLIMIT_AS.
    pub address_space: Option<Bytes>,
    /// RLIMIT_DATA.
    pub data: Option<Bytes>,
    /// RLIMIT_MEMLOCK.
    pub locked: Option<Bytes>,
    /// RLIMIT_STACK.
    pub stack: Option<Bytes>,
}

impl Machine {
    /// Looks.
    pub fn read() -> Machine {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let number = |path: &str| text(path).trim().parse().ok();
        let shmem = chosen(&text("/sys/kernel/mm/transparent_hugepage/shmem_enabled"));
        Machine {
            kernel: vmatlas_sys::hostname_release().0,
            page: vmatlas_sys::page_size(),
            capabilities: capabilities(&text("/proc/self/status")),
            thp: thp(Path::new("/sys/kernel/mm/transparent_hugepage")),
            shmem_huge: !matches!(shmem.as_str(), "" | "never" | "deny" | "advise"),
            overcommit: number("/proc/sys/vm/overcommit_memory"),
            min_addr: number("/proc/sys/vm/mmap_min_addr").unwrap_or(0),
            huge_extra: number("/proc/sys/vm/nr_overcommit_hugepages"),
            memory: memory(&text("/proc/meminfo")),
            cgroup_room: cgroup_room(&text("/proc/self/cgroup"), Path::new("/sys/fs/cgroup")),
            limits: limits(&text("/proc/self/limits")),
        }
    }

    /// Whether RLIMIT_MEMLOCK does not bind us (CAP_IPC_LOCK).
    pub fn may_lock(&self) -> bool {
        self.capabilities >> 14 & 1 == 1
    }

    /// Whether addresses below vm.mmap_min_addr may be mapped (CAP_SYS_RAWIO).
    pub fn may_map_low(&self) -> bool {
        self.capabilities >> 17 & 1 == 1
    }

    /// How much can be used before somebody has to give way; `None` when nothing is known.
    pub fn available(&self) -> Option<Bytes> {
        match (self.memory.available, self.cgroup_room) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
}

/// Whether this is user-mode Linux, whose processes fault at the first access to a page that the kernel has mapped already.
pub(crate) fn is_user_mode() -> bool {
    fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| text.contains("User Mode Linux"))
}

fn capabilities(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0)
}

/// The word in brackets: `always [madvise] never`.
fn chosen(text: &str) -> String {
    let inside = text.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    inside.map(|(word, _)| word.to_owned()).unwrap_or_default()
}

fn thp(dir: &Path) -> Thp {
    let read = |path: PathBuf| fs::read_to_string(path).unwrap_or_default();
    let mode = chosen(&read(dir.join("enabled")));
    let whole = read(dir.join("hpage_pmd_size")).trim().parse().ok().map(Bytes);
    let (mut largest, mut advised) = (None, None);
    let mut has_sizes = false;
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let kib =
            name.to_str().and_then(|n| n.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse::<u64>().ok());
        let Some(kib) = kib else { continue };
        has_sizes = true;
        let word = chosen(&read(entry.path().join("enabled")));
        if word == "always" || word == "inherit" && mode == "always" {
            largest = largest.max(Some(Bytes(kib * 1024)));
        }
        if word == "always" || word == "madvise" || word == "inherit" && mode != "never" {
            advised = advised.max(Some(Bytes(kib * 1024)));
        }
    }
    if !has_sizes {
        // Before sizes could be chosen (Linux 6.8) there was one.
        largest = whole.filter(|_| mode == "always");
        advised = whole.filter(|_| mode != "never");
    }
    Thp { mode, largest, advised, whole }
}

fn memory(text: &str) -> Memory {
    let value = |key: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        line.split_ascii_whitespace().next()?.parse().ok()
    };
    let kib = |key: &str| value(key).and_then(|n| n.checked_mul(1024)).map(Bytes);
    let minus = |a: Option<u64>, b: Option<u64>| Some(a?.saturating_sub(b?));
    Memory {
        total: kib("MemTotal").map(|ram| ram + kib("SwapTotal").unwrap_or_default()),
        available: kib("MemAvailable"),
        commit_room: minus(kib("CommitLimit").map(|b| b.0), kib("Committed_AS").map(|b| b.0)).map(Bytes),
        huge_free: minus(value("HugePages_Free"), value("HugePages_Rsvd")),
        huge_size: kib("Hugepagesize"),
    }
}

/// Reads /proc/PID/limits.
pub(crate) fn limits(text: &str) -> Limits {
    let soft = |name: &str| -> Option<Bytes> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_ascii_whitespace().next()?.parse().ok().map(Bytes)
    };
    Limits {
        address_space: soft("Max address space"),
        data: soft("Max data size"),
        locked: soft("Max locked memory"),
        stack: soft("Max stack size"),
    }
}

/// The least room of our own control group and those above it, in both layouts of control groups.
fn cgroup_room(own: &str, mount: &Path) -> Option<Bytes> {
    let second = |line: &str| line.strip_prefix("0::/").map(|path| (mount.to_owned(), path.to_owned()));
    let first = |line: &str| {
        let (_, rest) = line.split_once(':')?;
        rest.strip_prefix("memory:/").map(|path| (mount.join("memory"), path.to_owned()))
    };
    let number = |path: PathBuf| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let room = |dir: &Path, limit: &str, used: &str| {
        Some(Bytes(number(dir.join(limit))?.saturating_sub(number(dir.join(used))?)))
    };
    let rooms = |top: &Path, path: &str| -> Option<Bytes> {
        let own_dir = top.join(path);
        let groups = own_dir.ancestors().take_while(|dir| dir.starts_with(top));
        groups
            .filter_map(|dir| {
                room(dir, "memory.max", "memory.current")
                    .or_else(|| room(dir, "memory.limit_in_bytes", "memory.usage_in_bytes"))
            })
            .min()
    };
    own.lines()
        .filter_map(|line| second(line).or_else(|| first(line)))
        .filter_map(|(top, path)| rooms(&top, &path))
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that sizes are read in bytes, that reserved huge pages are not free, and that missing stays missing.
    #[test]
    fn meminfo_is_read() {
        let text = "MemTotal:       1000 kB\nMemAvailable:    500 kB\nSwapTotal: 24 kB\nCommitLimit: 10 kB\n\
            Committed_AS: 12 kB\nHugePages_Total:   8\nHugePages_Free:    5\nHugePages_Rsvd:    2\nHugepagesize: 2048 kB\n";
        let memory = memory(text);
        assert_eq!(memory.total, Some(Bytes(1024 * 1024)));
        assert_eq!(memory.available, Some(Bytes(500 * 1024)));
        assert_eq!(memory.commit_room, Some(Bytes(0)));
        assert_eq!((memory.huge_free, memory.huge_size), (Some(3), Some(Bytes(2 << 20))));
        assert_eq!(super::memory(""), Memory::default());
    }

    /// Checks that a limit is its soft value, and that unlimited is no limit.
    #[test]
    fn limits_are_read() {
        let text = "Limit                     Soft Limit           Hard Limit           Units\n\
            Max data size             unlimited            unlimited            bytes\n\
            Max locked memory         8388608              unlimited            bytes\n";
        let limits = limits(text);
        assert_eq!((limits.data, limits.locked, limits.address_space), (None, Some(Bytes(8 << 20)), None));
    }

    /// Checks which page sizes memory gets by itself and by advice: a size of its own setting, or what the common one says.
    #[test]
    fn settings_of_huge_pages_are_read() {
        let dir = std::env::temp_dir().join(format!("vmatlas-thp-{}", std::process::id()));
        let set = |path: &str, text: &str| {
            let path = dir.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let sizes = || {
            let thp = thp(&dir);
            (thp.largest.map(|b| b.0 >> 10), thp.advised.map(|b| b.0 >> 10))
        };
        set("hpage_pmd_size", "2097152\n");
        set("enabled", "always [madvise] never\n");
        assert_eq!(sizes(), (None, Some(2048)));
        set("hugepages-2048kB/enabled", "always [inherit] madvise never\n");
        set("hugepages-64kB/enabled", "[always] inherit madvise never\n");
        assert_eq!(sizes(), (Some(64), Some(2048)));
        set("enabled", "always madvise [never]\n");
        assert_eq!(sizes(), (Some(64), Some(64)));
        fs::remove_dir_all(&dir).unwrap();
        assert_eq!((thp(&dir).whole, sizes()), (None, (None, None)));
    }

    /// Checks that the chosen word is the one in brackets.
    #[test]
    fn the_chosen_word_is_in_brackets() {
        assert_eq!(chosen("always [madvise] never\n"), "madvise");
        assert_eq!(chosen(""), "");
    }
}
