//! PROCMAP_QUERY: one VMA from an open /proc/PID/maps, without its text (Linux 6.11, `include/uapi/linux/fs.h`).

use crate::errno::last_errno;
use std::os::fd::{AsRawFd, BorrowedFd};
use vmatlas_event::{Addr, AddrRange, Dev, Errno, Name, Prot, Sharing, VmaRow};

/// `struct procmap_query`.
#[repr(C)]
#[derive(Default)]
struct Query {
    size: u64,
    query_flags: u64,
    query_addr: u64,
    vma_start: u64,
    vma_end: u64,
    vma_flags: u64,
    vma_page_size: u64,
    vma_offset: u64,
    inode: u64,
    dev_major: u32,
    dev_minor: u32,
    vma_name_size: u32,
    build_id_size: u32,
    vma_name_addr: u64,
    build_id_addr: u64,
}
const _: () = assert!(size_of::<Query>() == 104);

/// `_IOWR('f', 17, struct procmap_query)`.
const PROCMAP_QUERY: libc::c_ulong = 0xc068_6611;

/// Which VMA is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryMode {
    /// The one that holds the address.
    Covering,
    /// The one that holds it, or the next one above.
    CoveringOrNext,
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapAnswer {
    /// The VMA as maps would have it, but for the name's escapes: here it is raw.
    pub row: VmaRow,
    /// The size of its pages in bytes; larger than the base page for hugetlb.
    pub page_size: u64,
}

/// Asks for one VMA; `None` when there is none there.
///
/// # Errors
/// ENOTTY where the kernel has no PROCMAP_QUERY, ESRCH when the address space is gone, ENAMETOOLONG for a path longer
/// than PATH_MAX (its maps line has it whole).
pub fn procmap_query(maps: BorrowedFd<'_>, addr: Addr, mode: QueryMode) -> Result<Option<MapAnswer>, Errno> {
    const PATH_MAX: usize = 4096;
    const OR_NEXT: u64 = 0x10;
    let mut name = std::mem::MaybeUninit::<[u8; PATH_MAX]>::uninit();
    let mut q = Query {
        size: size_of::<Query>() as u64,
        query_flags: if mode == QueryMode::CoveringOrNext { OR_NEXT } else { 0 },
        query_addr: addr.0,
        vma_name_size: PATH_MAX as u32,
        vma_name_addr: name.as_mut_ptr() as u64,
        ..Query::default()
    };
    // SAFETY: `q` has the kernel's layout (asserted above); the name buffer it points to lives through the call.
    let ret = unsafe { libc::ioctl(maps.as_raw_fd(), PROCMAP_QUERY, &raw mut q) };
    if ret < 0 {
        return match last_errno() {
            Errno(libc::ENOENT) => Ok(None),
            errno => Err(errno),
        };
    }
    let name = match (q.vma_name_size as usize).min(PATH_MAX) {
        0 => None,
        // The size counts the closing NUL.
        len => {
            // SAFETY: the kernel wrote `vma_name_size` bytes at the start of the buffer.
            let bytes = unsafe { std::slice::from_raw_parts(name.as_ptr().cast::<u8>(), len - 1) };
            Some(Name::new(bytes))
        }
    };
    let Some(range) = AddrRange::new(Addr(q.vma_start), Addr(q.vma_end)) else { return Ok(None) };
    let row = VmaRow {
        range,
        prot: Prot::new(q.vma_flags & 1 != 0, q.vma_flags & 2 != 0, q.vma_flags & 4 != 0),
        sharing: if q.vma_flags & 8 != 0 { Sharing::Shared } else { Sharing::Private },
        // Anonymous VMAs have a page offset too; maps prints 0, and so do we.
        offset: if q.inode != 0 { q.vma_offset } else { 0 },
        dev: Dev { major: q.dev_major, minor: q.dev_minor },
        inode: q.inode,
        name,
    };
    Ok(Some(MapAnswer { row, page_size: q.vma_page_size }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    /// Checks that the query finds the VMA of our own stack, by its kernel name.
    #[test]
    fn our_stack_is_found() {
        let maps = std::fs::File::open("/proc/self/maps").unwrap();
        let text = std::fs::read_to_string("/proc/self/maps").unwrap();
        let line = text.lines().find(|l| l.ends_with("[stack]")).unwrap();
        let start = u64::from_str_radix(&line[..line.find('-').unwrap()], 16).unwrap();
        match procmap_query(maps.as_fd(), Addr(start), QueryMode::Covering) {
            Err(Errno(libc::ENOTTY)) => eprintln!("SKIPPED: this kernel has no PROCMAP_QUERY"),
            answer => {
                let answer = answer.unwrap().unwrap();
                assert_eq!(answer.row.special(), Some(&b"stack"[..]));
                assert_eq!(answer.row.range.start(), Addr(start));
                assert_eq!(answer.page_size, crate::page_size().bytes());
            }
        }
    }
}
