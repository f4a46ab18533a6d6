//! The kernel's names for the flags of a frame.

/// Bits of /proc/kpageflags (`include/uapi/linux/kernel-page-flags.h`) and, from 32, those that the kernel shows for its
/// own developers (`include/linux/kernel-page-flags.h`).
const NAMES: &[(u32, &str)] = &[
    (0, "locked"),
    (1, "error"),
    (2, "referenced"),
    (3, "uptodate"),
    (4, "dirty"),
    (5, "lru"),
    (6, "active"),
    (7, "slab"),
    (8, "writeback"),
    (9, "reclaim"),
    (10, "buddy"),
    (11, "mmap"),
    (12, "anon"),
    (13, "swapcache"),
    (14, "swapbacked"),
    (15, "compound_head"),
    (16, "compound_tail"),
    (17, "huge"),
    (18, "unevictable"),
    (19, "hwpoison"),
    (20, "nopage"),
    (21, "ksm"),
    (22, "thp"),
    (23, "offline"),
    (24, "zero_page"),
    (25, "idle"),
    (26, "pgtable"),
    (32, "reserved"),
    (33, "mlocked"),
    (34, "owner_2"),
    (35, "private"),
    (36, "private_2"),
    (37, "owner_private"),
    (38, "arch"),
    (39, "uncached"),
    (40, "softdirty"),
    (41, "arch_2"),
    (42, "arch_3"),
];

/// The names of the flags that are set; one without a name is `bit_N`.
pub fn flag_names(flags: u64) -> Vec<String> {
    let name = |bit: u32| match NAMES.iter().find(|(b, _)| *b == bit) {
        Some((_, name)) => (*name).to_owned(),
        None => format!("bit_{bit}"),
    };
    (0..u64::BITS).filter(|bit| flags >> bit & 1 == 1).map(name).collect()
}

/// Flags that a table leaves out: nearly every mapped page has them, the state says the same, or they mean something to
/// the owner of the page alone.
pub(super) const COMMON: u64 = 1 << 3 | 1 << 11 | 1 << 12 | 1 << 24 | 0b11111 << 34 | 0b11 << 41;

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks names of the kernel's documentation, and that a bit without a name is not lost.
    #[test]
    fn flags_have_the_kernels_names() {
        assert_eq!(flag_names(1 << 5 | 1 << 21 | 1 << 22), ["lru", "ksm", "thp"]);
        assert_eq!(flag_names(1 << 60), ["bit_60"]);
        assert_eq!(flag_names(0), Vec::<String>::new());
    }
}
