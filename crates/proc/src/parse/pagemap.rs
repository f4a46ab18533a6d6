//! Entries of /proc/PID/pagemap (proc_pid_pagemap(5), kernel `Documentation/admin-guide/mm/pagemap.rst`).

/// One 64-bit entry: one page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PagemapEntry(pub u64);

impl PagemapEntry {
    /// In physical memory. The shared zero page is present too, and cannot be told from others here.
    pub fn present(self) -> bool {
        self.0 >> 63 & 1 == 1
    }

    /// In swap; guard markers (bit 58) look swapped but are not.
    pub fn swapped(self) -> bool {
        self.0 >> 62 & 1 == 1 && self.0 >> 58 & 1 == 0
    }

    /// A guard marker (bit 58, Linux 6.15; MADV_GUARD_INSTALL).
    pub fn guard(self) -> bool {
        !self.present() && self.0 >> 58 & 1 == 1
    }

    /// Belongs to a file or a shared object (bit 61).
    pub fn file(self) -> bool {
        self.0 >> 61 & 1 == 1
    }

    /// Mapped here and nowhere else (bit 56, Linux 4.2); told without privileges too.
    pub fn exclusive(self) -> bool {
        self.0 >> 56 & 1 == 1
    }

    /// The page frame number; `None` when it is not present, or hidden from us (the kernel then writes 0).
    pub fn pfn(self) -> Option<u64> {
        let pfn = self.0 & ((1 << 55) - 1);
        (self.present() && pfn != 0).then_some(pfn)
    }
}

/// The entries in the bytes of a read; a torn last one is left out.
pub fn entries(bytes: &[u8]) -> impl Iterator<Item = PagemapEntry> + '_ {
    bytes.as_chunks::<8>().0.iter().map(|chunk| PagemapEntry(u64::from_ne_bytes(*chunk)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks the bits against the kernel's documentation, the hidden frame number among them.
    #[test]
    fn bits_are_read_as_documented() {
        let present = PagemapEntry(1 << 63 | 0x1234);
        assert_eq!((present.present(), present.swapped(), present.pfn()), (true, false, Some(0x1234)));
        assert_eq!(PagemapEntry(1 << 63).pfn(), None);
        assert!(PagemapEntry(1 << 62).swapped());
        assert!(!PagemapEntry(1 << 62 | 1 << 58).swapped() && PagemapEntry(1 << 62 | 1 << 58).guard());
        assert_eq!(entries(&[0; 20]).count(), 2);
    }
}
