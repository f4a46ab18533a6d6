//! What stands behind the pages of a VMA.

/// Where its pages come from when they are first touched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Backing {
    /// Nothing: fresh pages of zeros.
    Anonymous,
    /// A file of a file system that can write its pages back.
    File,
    /// An object in memory that swap alone backs: shared anonymous memory, memfd, System V memory, a file on tmpfs.
    Shmem,
    /// Huge pages of hugetlbfs.
    Hugetlb,
    /// The kernel or a device.
    Special,
    /// A file of which we cannot tell on which file system it is.
    #[default]
    Unknown,
}

impl Backing {
    /// The name in JSON and options; it never changes.
    pub const fn id(self) -> &'static str {
        match self {
            Backing::Anonymous => "anonymous",
            Backing::File => "file",
            Backing::Shmem => "shmem",
            Backing::Hugetlb => "hugetlb",
            Backing::Special => "special",
            Backing::Unknown => "unknown",
        }
    }
}
