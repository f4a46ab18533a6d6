//! What stands behind each VMA.
//!
//! No file is opened and no file system asked (statfs(2) on a network or FUSE file may hang): the device of a row and
//! the process's own list of mounts tell. Objects that are on no mount (shared anonymous memory, memfd, System V
//! memory) are known by the kernel's names for them, which can belong to nothing else there.

use crate::parse::mountinfo;
use crate::read::process::Process;
use crate::read::residency::is_hugetlb;
use rustc_hash::FxHashMap;
use vmatlas_event::{Backing, Dev, Sharing, VmaRow};

/// Says what stands behind each of `rows`.
pub fn read(process: &Process, rows: &[VmaRow]) -> Vec<Backing> {
    let mut devices: FxHashMap<Dev, Backing> = FxHashMap::default();
    let needed = rows.iter().any(|row| row.has_file() && row.dev.major == 0);
    // Where the list cannot be read, what needs it is unknown.
    let text = if needed { process.read_file("mountinfo").unwrap_or_default() } else { Vec::new() };
    for mount in mountinfo::parse(&text) {
        devices.insert(mount.dev, of_type(&mount.fs_type));
    }
    rows.iter().map(|row| of_row(process, row, &devices)).collect()
}

/// What a file system keeps its files in.
fn of_type(fs: &[u8]) -> Backing {
    match fs {
        b"tmpfs" | b"devtmpfs" => Backing::Shmem,
        b"hugetlbfs" => Backing::Hugetlb,
        _ => Backing::File,
    }
}

fn of_row(process: &Process, row: &VmaRow, devices: &FxHashMap<Dev, Backing>) -> Backing {
    if !row.has_file() {
        return match row.special() {
            Some(b"vvar" | b"vvar_vclock" | b"vdso" | b"vsyscall" | b"uprobes" | b"vectors" | b"sigpage") => {
                Backing::Special
            }
            _ => Backing::Anonymous,
        };
    }
    let name = row.name_bytes();
    match devices.get(&row.dev) {
        // A device file lies on devtmpfs, but its memory is the device's.
        Some(Backing::Shmem) if name.starts_with(b"/dev/") && !name.starts_with(b"/dev/shm/") => {
            Backing::Special
        }
        Some(backing) => *backing,
        // A disk.
        None if row.dev.major != 0 => Backing::File,
        None if name.starts_with(b"/anon_hugepage") => Backing::Hugetlb,
        None if name == b"/dev/zero (deleted)" && row.sharing == Sharing::Shared => Backing::Shmem,
        None if name.starts_with(b"/memfd:")
            || name.starts_with(b"/SYSV")
            || name.starts_with(b"[anon_shmem:") =>
        {
            if is_hugetlb(process, row) {
                Backing::Hugetlb
            } else {
                Backing::Shmem
            }
        }
        None if name.starts_with(b"anon_inode:") || name.starts_with(b"/[aio]") => Backing::Special,
        None => Backing::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MapsReader, ProcRoot};
    use vmatlas_event::{Bytes, MapFlags, ProtArg};
    use vmatlas_sys::mem::Arena;

    /// Checks what stands behind memory of our own: nothing, a shared object, a file.
    #[test]
    fn our_own_memory_is_told_apart() {
        let shared = Arena::new(Bytes(4096), ProtArg(3), MapFlags(1)).unwrap();
        let me = ProcRoot::system().process(vmatlas_sys::self_pid()).unwrap();
        let rows = MapsReader::new().read(&me).unwrap().rows;
        let backings = read(&me, &rows);
        let of = |takes: &dyn Fn(&VmaRow) -> bool| {
            rows.iter().zip(&backings).find(|(row, _)| takes(row)).map(|(_, b)| *b)
        };
        assert_eq!(of(&|row| row.range.contains(shared.range().start())), Some(Backing::Shmem));
        assert_eq!(of(&|row| row.special() == Some(b"stack")), Some(Backing::Anonymous));
        assert_eq!(of(&|row| row.special() == Some(b"vdso")), Some(Backing::Special));
    }
}
