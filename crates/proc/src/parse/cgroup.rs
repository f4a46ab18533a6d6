//! /proc/PID/cgroup (cgroups(7)) and the memory files of a cgroup, of both versions.
//!
//! Sources: the kernel's `Documentation/admin-guide/cgroup-v2.rst` and `cgroup-v1/memory.rst`; keys come and go with
//! versions, so each is looked up by its name and a missing one stays `None`.

use super::decimal;
use vmatlas_event::{Bytes, CgroupEvents, CgroupStat, CgroupVersion, Limit};

/// One line of /proc/PID/cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership<'a> {
    /// The hierarchy's number; 0 is v2.
    pub hierarchy: u64,
    /// The controllers of it (`cpu,cpuacct`, `name=systemd`); empty for v2.
    pub controllers: &'a [u8],
    /// The cgroup, from the root of our own cgroup namespace; outside of it the path starts with `/..`.
    pub path: &'a [u8],
}

/// Reads the lines; those that are none are passed over. The kernel allows no newline in a cgroup's name.
pub fn memberships(text: &[u8]) -> impl Iterator<Item = Membership<'_>> {
    text.split(|b| *b == b'\n').filter_map(|line| {
        // A name may hold colons, controllers cannot.
        let mut parts = line.splitn(3, |b| *b == b':');
        let hierarchy = decimal(parts.next()?)?;
        let (controllers, path) = (parts.next()?, parts.next()?);
        path.starts_with(b"/").then_some(Membership { hierarchy, controllers, path })
    })
}

/// The cgroup whose memory controller counts the process: v1's where that hierarchy has it (hybrid too), else v2's.
pub fn of_memory(text: &[u8]) -> Option<(CgroupVersion, &[u8])> {
    let has_memory = |m: &Membership<'_>| m.controllers.split(|b| *b == b',').any(|c| c == b"memory");
    if let Some(v1) = memberships(text).find(has_memory) {
        return Some((CgroupVersion::V1, v1.path));
    }
    let v2 = memberships(text).find(|m| m.hierarchy == 0 && m.controllers.is_empty())?;
    Some((CgroupVersion::V2, v2.path))
}

/// The cgroup that names the workload best: the longest path of all hierarchies, the memory controller's when equal.
///
/// On hybrid systems only some hierarchies are used, and which one the container's manager chose is not known.
pub fn most_telling(text: &[u8]) -> Option<&[u8]> {
    let depth = |path: &[u8]| path.split(|b| *b == b'/').filter(|part| !part.is_empty()).count();
    let mut best = of_memory(text)?.1;
    for Membership { path, .. } in memberships(text) {
        if depth(path) > depth(best) {
            best = path;
        }
    }
    Some(best)
}

/// A number alone in its file.
pub fn bytes(text: &[u8]) -> Option<Bytes> {
    decimal(text.trim_ascii()).map(Bytes)
}

/// A limit alone in its file: `max`, or a number; v1 writes the largest whole number of pages for no limit.
pub fn limit(text: &[u8]) -> Option<Limit> {
    // PAGE_COUNTER_MAX: LONG_MAX rounded down to a page; pages have at most 1 MiB anywhere.
    const NO_LIMIT: u64 = i64::MAX as u64 - (1 << 20);
    match text.trim_ascii() {
        b"max" => Some(Limit::Unlimited),
        number => decimal(number).map(|n| if n >= NO_LIMIT { Limit::Unlimited } else { Limit::At(Bytes(n)) }),
    }
}

/// `key value` lines with a number each.
fn pairs(text: &[u8]) -> impl Iterator<Item = (&[u8], u64)> {
    text.split(|b| *b == b'\n').filter_map(|line| {
        let space = line.iter().position(|b| *b == b' ')?;
        let (key, value) = line.split_at(space);
        Some((key, decimal(value.trim_ascii())?))
    })
}

/// Reads memory.stat of v2.
pub fn stat_v2(text: &[u8]) -> CgroupStat {
    let mut s = CgroupStat::default();
    for (key, value) in pairs(text) {
        let place = match key {
            b"anon" => &mut s.anon,
            b"file" => &mut s.file,
            b"shmem" => &mut s.shmem,
            b"file_mapped" => &mut s.file_mapped,
            b"file_dirty" => &mut s.file_dirty,
            b"file_writeback" => &mut s.file_writeback,
            b"swapcached" => &mut s.swapcached,
            b"anon_thp" => &mut s.anon_thp,
            b"file_thp" => &mut s.file_thp,
            b"shmem_thp" => &mut s.shmem_thp,
            b"hugetlb" => &mut s.hugetlb,
            b"kernel" => &mut s.kernel,
            b"kernel_stack" => &mut s.kernel_stack,
            b"pagetables" => &mut s.pagetables,
            b"sec_pagetables" => &mut s.sec_pagetables,
            b"percpu" => &mut s.percpu,
            b"vmalloc" => &mut s.vmalloc,
            b"slab" => &mut s.slab,
            b"slab_reclaimable" => &mut s.slab_reclaimable,
            b"slab_unreclaimable" => &mut s.slab_unreclaimable,
            b"sock" => &mut s.sock,
            b"zswap" => &mut s.zswap,
            b"zswapped" => &mut s.zswapped,
            b"inactive_anon" => &mut s.inactive_anon,
            b"active_anon" => &mut s.active_anon,
            b"inactive_file" => &mut s.inactive_file,
            b"active_file" => &mut s.active_file,
            b"unevictable" => &mut s.unevictable,
            _ => continue,
        };
        *place = Some(Bytes(value));
    }
    s
}

/// Reads memory.stat of v1: the sums of the cgroup and all below it (`total_*`), its own figures where there are none.
/// The second answer is what is in swap.
pub fn stat_v1(text: &[u8]) -> (CgroupStat, Option<Bytes>) {
    let mut s = CgroupStat::default();
    let mut swap = None;
    // The sums come last and so replace the cgroup's own.
    for (key, value) in pairs(text) {
        let place = match key.strip_prefix(b"total_").unwrap_or(key) {
            b"rss" => &mut s.anon,
            b"cache" => &mut s.file,
            b"shmem" => &mut s.shmem,
            b"mapped_file" => &mut s.file_mapped,
            b"dirty" => &mut s.file_dirty,
            b"writeback" => &mut s.file_writeback,
            b"swapcached" => &mut s.swapcached,
            b"rss_huge" => &mut s.anon_thp,
            b"swap" => &mut swap,
            b"inactive_anon" => &mut s.inactive_anon,
            b"active_anon" => &mut s.active_anon,
            b"inactive_file" => &mut s.inactive_file,
            b"active_file" => &mut s.active_file,
            b"unevictable" => &mut s.unevictable,
            _ => continue,
        };
        *place = Some(Bytes(value));
    }
    (s, swap)
}

/// Reads memory.events of v2, or memory.oom_control of v1, which has `oom_kill` alone.
pub fn events(text: &[u8]) -> CgroupEvents {
    let mut events = CgroupEvents::default();
    for (key, value) in pairs(text) {
        let place = match key {
            b"low" => &mut events.low,
            b"high" => &mut events.high,
            b"max" => &mut events.max,
            b"oom" => &mut events.oom,
            b"oom_kill" => &mut events.oom_kill,
            _ => continue,
        };
        *place = Some(value);
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &[u8] = b"9:name=systemd:/user.slice\n5:devices:/docker/abc\n4:memory:/docker/abc\n0::/\n";
    const V2: &[u8] = b"0::/system.slice/docker-abc.scope/a:b c\n";

    /// Checks which cgroup counts the memory: v2's alone, v1's, and v1's on a hybrid system.
    #[test]
    fn the_memory_controller_is_found() {
        assert_eq!(of_memory(V1), Some((CgroupVersion::V1, &b"/docker/abc"[..])));
        assert_eq!(of_memory(V2), Some((CgroupVersion::V2, &b"/system.slice/docker-abc.scope/a:b c"[..])));
        let joined = b"2:cpu,memory,hugetlb:/x\n0::/y\n";
        assert_eq!(of_memory(joined), Some((CgroupVersion::V1, &b"/x"[..])));
        // A hierarchy that is only called so is none.
        assert_eq!(of_memory(b"3:name=memory:/x\n0::/y\n"), Some((CgroupVersion::V2, &b"/y"[..])));
        assert_eq!(of_memory(b""), None);
        assert_eq!(of_memory(b"nonsense\n:::\nx::/y\n4:memory:relative\n"), None);
    }

    /// Checks that the hierarchy that was used is taken for the name, whichever it is.
    #[test]
    fn the_deepest_path_names_best() {
        assert_eq!(most_telling(V1), Some(&b"/docker/abc"[..]));
        assert_eq!(most_telling(b"4:memory:/\n0::/a/b.service\n"), Some(&b"/a/b.service"[..]));
        assert_eq!(most_telling(b"4:memory:/m\n0::/s\n"), Some(&b"/m"[..]));
        assert_eq!(most_telling(b"junk"), None);
    }

    /// Checks limits of both versions, and that what is no number is missing.
    #[test]
    fn no_limit_is_no_number() {
        assert_eq!(limit(b"max\n"), Some(Limit::Unlimited));
        assert_eq!(limit(b"9223372036854771712\n"), Some(Limit::Unlimited));
        assert_eq!(limit(b"9223372036854710272\n"), Some(Limit::Unlimited));
        assert_eq!(limit(b"1073741824\n"), Some(Limit::At(Bytes(1 << 30))));
        assert_eq!(limit(b"0\n"), Some(Limit::At(Bytes(0))));
        assert_eq!((limit(b""), limit(b"-1\n"), bytes(b"\n"), bytes(b"x")), (None, None, None, None));
    }

    /// Checks memory.stat of v2 in the kernel's order, with keys we do not use, and that missing stays missing.
    #[test]
    fn the_figures_of_v2() {
        let text = b"anon 1000\nfile 2000\nkernel 300\nkernel_stack 16\npagetables 32\nsec_pagetables 0\npercpu 64\n\
            sock 8\nvmalloc 0\nshmem 500\nfile_mapped 700\nfile_dirty 4\nanon_thp 0\ninactive_file 1200\nslab 128\n\
            workingset_refault_anon 0\npgfault 99\nnew_thing 5\n";
        let stat = stat_v2(text);
        assert_eq!(
            (stat.anon, stat.file, stat.shmem),
            (Some(Bytes(1000)), Some(Bytes(2000)), Some(Bytes(500)))
        );
        assert_eq!(
            (stat.kernel, stat.pagetables, stat.sock),
            (Some(Bytes(300)), Some(Bytes(32)), Some(Bytes(8)))
        );
        assert_eq!((stat.anon_thp, stat.inactive_file), (Some(Bytes(0)), Some(Bytes(1200))));
        assert_eq!((stat.zswap, stat.hugetlb, stat.swapcached), (None, None, None));
        assert_eq!(stat_v2(b"anon x\nfile\n\n"), CgroupStat::default());
    }

    /// Checks that v1's sums win over the cgroup's own figures, and that its own do where there are no sums.
    #[test]
    fn the_figures_of_v1() {
        let text =
            b"cache 10\nrss 20\nrss_huge 0\nshmem 3\nswap 1\ntotal_cache 100\ntotal_rss 200\ntotal_swap 9\n";
        let (stat, swap) = stat_v1(text);
        assert_eq!((stat.file, stat.anon, swap), (Some(Bytes(100)), Some(Bytes(200)), Some(Bytes(9))));
        assert_eq!((stat.anon_thp, stat.shmem, stat.kernel), (Some(Bytes(0)), Some(Bytes(3)), None));
    }

    /// Checks events of both versions.
    #[test]
    fn events_are_counted() {
        let v2 = events(b"low 0\nhigh 7\nmax 3\noom 1\noom_kill 2\noom_group_kill 0\n");
        assert_eq!((v2.high, v2.max, v2.oom, v2.oom_kill), (Some(7), Some(3), Some(1), Some(2)));
        let v1 = events(b"oom_kill_disable 0\nunder_oom 0\noom_kill 4\n");
        assert_eq!((v1.oom, v1.oom_kill), (None, Some(4)));
    }
}
