//! What the machine does with its memory at this moment: /proc/meminfo, /proc/buddyinfo, /proc/swaps.

use std::fs;
use std::path::{Path, PathBuf};
use vmatlas_event::{Bytes, PageSize};

/// Above this many free blocks, one is still there when it is asked for a moment later.
const PLENTY: u64 = 16;

/// /proc/meminfo (proc_meminfo(5)) at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meminfo(String);

impl Meminfo {
    /// Reads it; where that is not possible, nothing is known.
    pub(crate) fn now() -> Meminfo {
        Meminfo(fs::read_to_string("/proc/meminfo").unwrap_or_default())
    }

    /// A line that counts things: HugePages_Free.
    pub(crate) fn count(&self, key: &str) -> Option<u64> {
        let line = self.0.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        line.split_ascii_whitespace().next()?.parse().ok()
    }

    /// A line that is a size, in KiB there: Committed_AS.
    pub(crate) fn size(&self, key: &str) -> Option<Bytes> {
        self.count(key)?.checked_mul(1024).map(Bytes)
    }
}

/// Whether blocks of this size are free in plenty, each in one piece (/proc/buddyinfo). When they are not, the kernel may
/// still make some by moving pages, or not.
pub(crate) fn has_blocks_of(size: Bytes, page: PageSize) -> bool {
    let order = (size.0 / page.bytes()).max(1).ilog2();
    fs::read_to_string("/proc/buddyinfo").is_ok_and(|text| free_blocks(&text, order) >= PLENTY)
}

/// Free blocks of 2^order pages: each line has those of a zone, from order 0 on; larger ones count by what they hold.
fn free_blocks(text: &str, order: u32) -> u64 {
    let zone = |line: &str| -> u64 {
        let counts = line.split_once("zone").map_or("", |(_, rest)| rest).split_ascii_whitespace().skip(1);
        let sized = counts.zip(0u32..).filter(|(_, of)| *of >= order);
        let blocks = sized.map(|(count, of)| {
            let count: u64 = count.parse().unwrap_or(0);
            count.saturating_mul(1u64.checked_shl(of - order).unwrap_or(u64::MAX))
        });
        blocks.fold(0, u64::saturating_add)
    };
    text.lines().map(zone).fold(0, u64::saturating_add)
}

/// Names of the files and devices that the kernel swaps to (proc_swaps(5)); `None` where it cannot swap at all.
pub(crate) fn swaps() -> Option<Vec<String>> {
    let text = fs::read_to_string("/proc/swaps").ok()?;
    let names = text.lines().skip(1).filter_map(|line| line.split_ascii_whitespace().next());
    Some(names.map(str::to_owned).collect())
}

/// Whether swapped pages are kept in memory, compressed, before they go to the swap itself (zswap).
pub(crate) fn has_zswap() -> bool {
    fs::read_to_string("/sys/module/zswap/parameters/enabled").is_ok_and(|text| text.trim() == "Y")
}

/// What our control groups still let us have in swap (memory.swap.max); `None` without such a limit.
pub(crate) fn swap_allowed() -> Option<Bytes> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let top = Path::new("/sys/fs/cgroup");
    let number = |path: PathBuf| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let room = |dir: &Path| {
        let most = number(dir.join("memory.swap.max"))?;
        Some(Bytes(most.saturating_sub(number(dir.join("memory.swap.current"))?)))
    };
    top.join(path).ancestors().take_while(|dir| dir.starts_with(top)).filter_map(room).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that larger blocks count by what they hold, and that a broken line counts nothing.
    #[test]
    fn free_blocks_are_counted() {
        let text = "Node 0, zone      DMA      7      0      1\nNode 0, zone   Normal    158      4      3\nbroken 9 9\n";
        assert_eq!(free_blocks(text, 0), 7 + 4 + 158 + 8 + 12);
        assert_eq!((free_blocks(text, 1), free_blocks(text, 2), free_blocks(text, 3)), (2 + 4 + 6, 4, 0));
        assert_eq!(free_blocks("", 0), 0);
    }

    /// Checks that sizes are bytes, counts are not, and missing stays missing.
    #[test]
    fn lines_of_meminfo_are_found() {
        let now = Meminfo("Committed_AS:  12 kB\nHugePages_Rsvd:    2\n".to_owned());
        assert_eq!((now.size("Committed_AS"), now.count("HugePages_Rsvd")), (Some(Bytes(12 << 10)), Some(2)));
        assert_eq!(now.count("HugePages"), None);
    }
}
