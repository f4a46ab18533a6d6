//! One page of a process, and what is known of it.

use crate::Addr;

/// What a page table says of one page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PageState {
    /// In physical memory, of no file and no shared object.
    Anonymous,
    /// In physical memory, of a file, a shared object or the kernel.
    File,
    /// In physical memory, of hugetlb, which the kernel does not count in RSS.
    Hugetlb,
    /// Mapped to the shared page of zeros, small or huge, which costs no memory.
    Zero,
    /// In swap.
    Swapped,
    /// A guard marker (MADV_GUARD_INSTALL): touching it is an error, no memory stands behind it.
    Guard,
    /// Nothing: never touched, given back, or (of a file or a shared object) not mapped here.
    NotPresent,
}

impl PageState {
    /// Every state, in the order of tables.
    pub const ALL: [PageState; 7] = [
        PageState::Anonymous,
        PageState::File,
        PageState::Hugetlb,
        PageState::Zero,
        PageState::Swapped,
        PageState::Guard,
        PageState::NotPresent,
    ];

    /// The name in JSON; it never changes.
    pub const fn id(self) -> &'static str {
        match self {
            PageState::Anonymous => "anonymous",
            PageState::File => "file",
            PageState::Hugetlb => "hugetlb",
            PageState::Zero => "zero",
            PageState::Swapped => "swapped",
            PageState::Guard => "guard",
            PageState::NotPresent => "not-present",
        }
    }

    /// Whether a frame of its own stands behind it.
    pub const fn has_frame(self) -> bool {
        matches!(self, PageState::Anonymous | PageState::File | PageState::Hugetlb)
    }
}

/// One page of a process at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageInfo {
    /// Where it is mapped.
    pub addr: Addr,
    /// What it is.
    pub state: PageState,
    /// Mapped by a huge page: transparent, hugetlb or the huge page of zeros.
    pub huge: bool,
    /// Whether its frame is mapped here and nowhere else; `None` where nobody tells us, or it has no frame.
    pub alone: Option<bool>,
    /// Its frame's number; `None` where it is hidden, or it has no frame.
    pub pfn: Option<u64>,
    /// How many page tables map its frame (/proc/kpagecount); `None` where that is hidden, or it has no frame.
    pub mapped: Option<u64>,
    /// What its frame is (/proc/kpageflags); `None` where that is hidden, or it has no frame.
    pub flags: Option<u64>,
}
