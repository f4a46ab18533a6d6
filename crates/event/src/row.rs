//! One line of a map: what the kernel reports of one VMA.

use crate::{AddrRange, Prot};
use std::fmt;
use std::sync::Arc;

/// The device of a file: major and minor as in stat(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dev {
    /// The class of device.
    pub major: u32,
    /// Which one of its class.
    pub minor: u32,
}

/// Whether writes go to the file or object behind the VMA, or to copies of its pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sharing {
    /// Copy on write (`p` in maps).
    Private,
    /// Shared (`s` in maps: VM_MAYSHARE).
    Shared,
}

/// The text the kernel gives a VMA: a path, `[heap]`, `[anon:...]`. Bytes of any kind, chosen by the target.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<[u8]>);

impl Name {
    /// Takes the bytes as they are.
    pub fn new(bytes: &[u8]) -> Name {
        Name(Arc::from(bytes))
    }

    /// The bytes as they are; escape them before they reach a terminal.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::borrow::Borrow<[u8]> for Name {
    /// Lets a set of names be searched by bytes, without making a [`Name`] first.
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

/// One VMA as the kernel reports it (proc_pid_maps(5), or one answer of PROCMAP_QUERY).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmaRow {
    /// Its addresses, whole pages.
    pub range: AddrRange,
    /// What it allows.
    pub prot: Prot,
    /// Private or shared.
    pub sharing: Sharing,
    /// Offset into the file in bytes; 0 where there is no file.
    pub offset: u64,
    /// The file's device; 0:0 where there is none.
    pub dev: Dev,
    /// The file's inode; 0 where there is none.
    pub inode: u64,
    /// The kernel's text; `None` where it gives none.
    pub name: Option<Name>,
}

impl VmaRow {
    /// Private anonymous memory without a name.
    pub fn anonymous(range: AddrRange, prot: Prot) -> VmaRow {
        let (offset, dev, inode) = (0, Dev::default(), 0);
        VmaRow { range, prot, sharing: Sharing::Private, offset, dev, inode, name: None }
    }

    /// Whether a file (or shmem object) stands behind it; a name in brackets proves nothing, a file can be called that.
    pub fn has_file(&self) -> bool {
        self.inode != 0 || self.dev != Dev::default()
    }

    /// The name's bytes, empty where there is none.
    pub fn name_bytes(&self) -> &[u8] {
        self.name.as_ref().map_or(&[], Name::as_bytes)
    }

    /// The kernel's own label (`[heap]`, `[stack]`, `[vdso]`...), `None` for files that merely look like one.
    pub fn special(&self) -> Option<&[u8]> {
        if self.has_file() {
            return None;
        }
        self.name_bytes().strip_prefix(b"[")?.strip_suffix(b"]")
    }

    /// The part of this row inside `range`, its offset moved along; `None` when they do not meet.
    pub fn clip(&self, range: AddrRange) -> Option<VmaRow> {
        let part = self.range.intersect(range)?;
        let mut row = self.clone();
        if self.has_file() {
            row.offset = row.offset.wrapping_add(part.start().0 - self.range.start().0);
        }
        row.range = part;
        Some(row)
    }

    /// Whether two rows say the same of their pages, wherever those lie: all but range, offset and name.
    pub fn same_attributes(&self, other: &VmaRow) -> bool {
        self.prot == other.prot
            && self.sharing == other.sharing
            && self.dev == other.dev
            && self.inode == other.inode
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Addr;

    fn row(inode: u64, name: &[u8]) -> VmaRow {
        VmaRow {
            range: AddrRange::new(Addr(0x1000), Addr(0x5000)).unwrap(),
            prot: Prot::READ,
            sharing: Sharing::Private,
            offset: 0x2000,
            dev: Dev { major: u32::from(inode != 0), minor: 0 },
            inode,
            name: Some(Name::new(name)),
        }
    }

    /// Checks that a file called `[heap]` is a file and the kernel's [heap] is not.
    #[test]
    fn a_file_called_heap_is_not_the_heap() {
        assert_eq!(row(0, b"[heap]").special(), Some(&b"heap"[..]));
        assert_eq!(row(7, b"[heap]").special(), None);
        assert_eq!(row(0, b"/x").special(), None);
    }

    /// Checks that clipping a file row moves its offset.
    #[test]
    fn clipping_moves_the_offset() {
        let part = AddrRange::new(Addr(0x3000), Addr(0x9000)).unwrap();
        let clipped = row(7, b"/x").clip(part).unwrap();
        assert_eq!(
            (clipped.range.start(), clipped.range.end(), clipped.offset),
            (Addr(0x3000), Addr(0x5000), 0x4000)
        );
        assert_eq!(row(7, b"/x").clip(AddrRange::new(Addr(0x5000), Addr(0x6000)).unwrap()), None);
    }

    /// Checks that a row stays small: a map can have a million of them (the limit of the design is 200 bytes each).
    #[test]
    fn a_row_is_small() {
        assert!(size_of::<VmaRow>() <= 64, "{}", size_of::<VmaRow>());
    }
}
