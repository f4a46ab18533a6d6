//! Finding the file behind a mapped row, and making sure that it is that file.
//!
//! A path of the target proves nothing: the file may have been deleted, replaced, or be another one in our
//! mount namespace. What is opened must have the row's device and inode, or begin with the very bytes that are mapped, a
//! build ID among them (file systems such as btrfs and overlayfs show other numbers in maps than in stat(2)).

use crate::Rows;
use crate::elf::Elf;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::linux::fs::MetadataExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use vmatlas_event::{Addr, Dev, Pid, VmaRow};
use vmatlas_sys::process_vm_read;

/// Larger files are no programs.
const MOST: u64 = 16 << 30;
/// The first bytes of a file, which its headers and its build ID are in.
const FIRST: usize = 4096;
/// A file's first row lies so many rows before its code at most.
const ROWS: usize = 16;

/// One version of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FileKey {
    dev: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

/// Opens the file of a row, where it can be found and is the one that is mapped.
pub(crate) fn open(pid: Pid, row: &VmaRow, rows: &dyn Rows) -> Option<(File, FileKey)> {
    let name = path_of(row.name_bytes())?;
    let Ok(mounts) = std::fs::read(format!("/proc/{pid}/mountinfo")) else {
        return open_ours(pid, row, rows);
    };
    if may_wait(&mounts, row.dev) {
        return None;
    }
    let (start, end) = (row.range.start().0, row.range.end().0);
    let mut in_root = PathBuf::from(format!("/proc/{pid}/root"));
    in_root.push(name);
    // By its path; by the row itself, which needs CAP_CHECKPOINT_RESTORE; the program itself, deleted or not.
    let places = [
        in_root,
        PathBuf::from(format!("/proc/{pid}/map_files/{start:x}-{end:x}")),
        PathBuf::from(format!("/proc/{pid}/exe")),
    ];
    places.iter().find_map(|path| verified(path, pid, row, rows).ok())
}

/// The same where the process is no more, as with a copy of its stack: its path as we see it, and then only device and inode
/// tell whether that is the file.
fn open_ours(pid: Pid, row: &VmaRow, rows: &dyn Rows) -> Option<(File, FileKey)> {
    let mounts = std::fs::read("/proc/self/mountinfo").ok()?;
    let name = row.name_bytes();
    let is_below = |point: &[u8]| {
        let rest = name.strip_prefix(point.strip_suffix(b"/").unwrap_or(point));
        rest.is_some_and(|rest| rest.starts_with(b"/"))
    };
    // On the way to it nobody may have to be waited for either.
    let is_slow = |mount: &Mount<'_>| mount.is_patient() && is_below(mount.point);
    if mounts.split(|b| *b == b'\n').filter_map(Mount::parse).any(|mount| is_slow(&mount)) {
        return None;
    }
    verified(&Path::new("/").join(path_of(name)?), pid, row, rows).ok()
}

/// The path below a root folder.
fn path_of(name: &[u8]) -> Option<&Path> {
    use std::os::unix::ffi::OsStrExt;
    let name = name.strip_prefix(b"/")?;
    Some(Path::new(std::ffi::OsStr::from_bytes(name)))
}

fn verified(path: &Path, pid: Pid, row: &VmaRow, rows: &dyn Rows) -> io::Result<(File, FileKey)> {
    const O_PATH: i32 = 0o10_000_000;
    const O_NONBLOCK: i32 = 0o4000;
    const O_NOCTTY: i32 = 0o400;
    let refused = || io::Error::from(io::ErrorKind::InvalidInput);
    // O_PATH looks without opening: opening a device can do something.
    let place = OpenOptions::new().read(true).custom_flags(O_PATH).open(path)?;
    let meta = place.metadata()?;
    if !meta.is_file() || meta.len() > MOST {
        return Err(refused());
    }
    let is_same = (dev(meta.st_dev()), meta.st_ino()) == (row.dev, row.inode);
    let mut again = OpenOptions::new();
    again.read(true).custom_flags(O_NONBLOCK | O_NOCTTY);
    let file = again.open(format!("/proc/self/fd/{}", place.as_raw_fd()))?;
    if !is_same && !begins_as_mapped(&file, pid, row, rows) {
        return Err(refused());
    }
    let key = FileKey {
        dev: meta.st_dev(),
        inode: meta.st_ino(),
        size: meta.len(),
        modified: (meta.st_mtime(), meta.st_mtime_nsec()),
    };
    Ok((file, key))
}

/// The numbers of a device as glibc's gnu_dev_major() and gnu_dev_minor() take them apart.
fn dev(number: u64) -> Dev {
    let major = number >> 8 & 0xfff | number >> 32 & 0xffff_f000;
    let minor = number & 0xff | number >> 12 & 0xffff_ff00;
    Dev { major: major as u32, minor: minor as u32 }
}

/// Whether a file begins with the bytes that are mapped, and these name their build.
fn begins_as_mapped(file: &File, pid: Pid, row: &VmaRow, rows: &dyn Rows) -> bool {
    let Some(first) = first_row(row, rows) else { return false };
    let (mut here, mut there) = ([0; FIRST], [0; FIRST]);
    let are_read = file.read_exact_at(&mut here, 0).is_ok()
        && process_vm_read(pid, first.range.start(), &mut there) == Ok(FIRST);
    let has_build_id = || {
        let within = |offset: u64, buf: &mut [u8]| {
            let from = usize::try_from(offset).ok().and_then(|at| here.get(at..)?.get(..buf.len()));
            from.map(|from| buf.copy_from_slice(from)).is_some()
        };
        Elf::read(false, &mut { within }).is_some_and(|elf| !elf.build_id.is_empty())
    };
    are_read && here == there && has_build_id()
}

/// The row of a file's first bytes, at or below one of its rows.
pub(crate) fn first_row<'a>(row: &'a VmaRow, rows: &'a dyn Rows) -> Option<&'a VmaRow> {
    let mut at = row;
    for _ in 0..ROWS {
        let is_same = at.dev == row.dev && at.inode == row.inode;
        if is_same && at.offset == 0 {
            return Some(at);
        }
        // Anonymous pages (bss, a hole that the loader keeps closed) may lie between.
        at = rows.row_at(Addr(at.range.start().0.checked_sub(1)?))?;
    }
    None
}

/// Whether reading files of a device may wait for somebody: a network, or a process, which may be the very one that
/// stands still.
fn may_wait(mounts: &[u8], dev: Dev) -> bool {
    if dev.major != 0 {
        return false;
    }
    let dev = format!("{}:{}", dev.major, dev.minor);
    let mut mounts = mounts.split(|b| *b == b'\n').filter_map(Mount::parse);
    mounts.any(|mount| mount.dev == dev.as_bytes() && mount.is_patient())
}

/// A line of mountinfo (proc_pid_mountinfo(5)).
struct Mount<'a> {
    dev: &'a [u8],
    point: &'a [u8],
    kind: &'a [u8],
}

impl Mount<'_> {
    fn parse(line: &[u8]) -> Option<Mount<'_>> {
        let mut fields = line.split(|b| *b == b' ');
        let (dev, point) = (fields.nth(2)?, fields.nth(1)?);
        let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
        Some(Mount { dev, point, kind })
    }

    fn is_patient(&self) -> bool {
        const PATIENT: [&[u8]; 13] = [
            b"fuse", b"fuseblk", b"nfs", b"nfs4", b"cifs", b"smb3", b"9p", b"ceph", b"afs", b"autofs",
            b"lustre", b"gfs2", b"ocfs2",
        ];
        PATIENT.contains(&self.kind) || self.kind.starts_with(b"fuse.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that numbers of devices come apart as they do in maps.
    #[test]
    fn devices_are_taken_apart() {
        assert_eq!(dev(0xfe01), Dev { major: 0xfe, minor: 1 });
        assert_eq!(dev(0x3e), Dev { major: 0, minor: 0x3e });
        assert_eq!(dev(0x0001_0300_00ab_cd12), Dev { major: 0x1_0bcd, minor: 0x3000_0a12 });
    }

    /// Checks which lines of mountinfo are of file systems that may keep a reader waiting.
    #[test]
    fn patient_mounts_are_told() {
        let lines = b"24 1 0:21 / /proc rw,relatime shared:5 - proc proc rw\n\
                      30 1 0:44 /x /net/home rw shared:9 master:1 - nfs4 server:/x rw\n\
                      31 1 0:45 / /run/user rw - fuse.sshfs s rw\nnonsense\n";
        let dev = |minor| Dev { major: 0, minor };
        assert!(may_wait(lines, dev(44)) && may_wait(lines, dev(45)));
        assert!(!may_wait(lines, dev(21)) && !may_wait(lines, dev(99)));
        assert!(!may_wait(lines, Dev { major: 8, minor: 44 }));
        let point = lines.split(|b| *b == b'\n').filter_map(Mount::parse).nth(1).unwrap().point;
        assert_eq!(point, b"/net/home");
    }
}
