//! Entries of /proc/kpageflags (kernel `Documentation/admin-guide/mm/pagemap.rst`, `fs/proc/page.c`).

/// What one physical frame is: one 64-bit entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KpageFlags(pub u64);

macro_rules! flags {
    ($($(#[$doc:meta])* $name:ident = $bit:literal,)*) => {
        impl KpageFlags {
            $($(#[$doc])* pub fn $name(self) -> bool { self.0 >> $bit & 1 == 1 })*
        }
    };
}

flags! {
    /// Used since reclaim last looked.
    referenced = 2,
    /// Changed since it was written back.
    dirty = 4,
    /// On a list of reclaim.
    lru = 5,
    /// On the active one of them.
    active = 6,
    /// Of no file (smaps: Anonymous).
    anonymous = 12,
    /// In the swap cache.
    swap_cache = 13,
    /// Backed by swap: anonymous memory and shmem; not after MADV_FREE.
    swap_backed = 14,
    /// The first frame of a larger page.
    compound_head = 15,
    /// A further frame of a larger page.
    compound_tail = 16,
    /// Of hugetlb.
    hugetlb = 17,
    /// Not to be reclaimed.
    unevictable = 18,
    /// Merged with equal pages.
    ksm = 21,
    /// Of a transparent huge page.
    thp = 22,
    /// The shared page of zeros, small or huge.
    zero = 24,
}

impl KpageFlags {
    /// Given back with MADV_FREE and not written since, as far as the frame knows.
    pub fn lazy_free(self) -> bool {
        self.anonymous() && !self.swap_backed() && !self.dirty()
    }

    /// The flags of a frame whose larger page begins with `head`: before Linux 6.10 only the first frame told most.
    pub fn or_of_head(self, head: KpageFlags) -> KpageFlags {
        const OF_THE_WHOLE_PAGE: u64 = 1 << 2 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 13 | 1 << 14 | 1 << 18;
        if self.compound_tail() && !self.lru() && head.lru() {
            KpageFlags(self.0 | head.0 & OF_THE_WHOLE_PAGE)
        } else {
            self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks the bits against the kernel's documentation, and that a tail takes only what belongs to the whole page.
    #[test]
    fn bits_are_read_as_documented() {
        assert!(KpageFlags(1 << 21).ksm() && KpageFlags(1 << 24).zero() && !KpageFlags(1 << 24).ksm());
        assert!(KpageFlags(1 << 12).lazy_free() && !KpageFlags(1 << 12 | 1 << 14).lazy_free());
        let head = KpageFlags(1 << 15 | 1 << 5 | 1 << 6);
        let tail = KpageFlags(1 << 16).or_of_head(head);
        assert!(tail.active() && tail.compound_tail() && !tail.compound_head());
        assert!(!KpageFlags(1 << 16 | 1 << 5).or_of_head(head).active());
        assert!(!KpageFlags(0).or_of_head(head).active());
    }
}
