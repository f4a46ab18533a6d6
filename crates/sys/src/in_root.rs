//! Finding files below a folder as a process would whose root it is.

use crate::errno::check;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use vmatlas_event::Errno;

/// `struct open_how` (`include/uapi/linux/openat2.h`).
#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

/// Finds a file, taking `root` for the root of all file systems: neither `..` nor an absolute link leads out of it
/// (openat2(2), RESOLVE_IN_ROOT, Linux 5.6), and links of /proc that are no paths are refused.
///
/// It is not opened (O_PATH): opening a FIFO lets its writer go on, opening a device can do anything. A link in the last place is
/// found itself. Whoever looked at it by fstat(2) opens `/proc/self/fd/N`.
///
/// # Errors
/// ENOENT, EACCES, ENOSYS before Linux 5.6, EINVAL for a path with a NUL.
pub fn find_in_root(root: BorrowedFd<'_>, path: &Path) -> Result<File, Errno> {
    const RESOLVE_NO_MAGICLINKS: u64 = 0x02;
    const RESOLVE_IN_ROOT: u64 = 0x10;
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno(libc::EINVAL))?;
    let flags = libc::O_PATH | libc::O_CLOEXEC | libc::O_NOFOLLOW;
    let how = OpenHow { flags: flags as u64, mode: 0, resolve: RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
    // SAFETY: openat2 reads one string and one open_how of this size; both live through the call.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_openat2,
            root.as_raw_fd(),
            path.as_ptr(),
            &raw const how,
            size_of::<OpenHow>(),
        )
    };
    let fd = check(ret)? as i32;
    // SAFETY: the descriptor is new and nobody else's.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    Ok(File::from(fd))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::fd::AsFd;
    use std::os::unix::fs::symlink;

    /// Checks that an absolute link and `..` stay below the root, and that a link at the end is not followed.
    #[test]
    fn nothing_leads_out_of_the_root() {
        let root = std::env::temp_dir().join(format!("vmatlas-in-root-{}", std::process::id()));
        fs::create_dir_all(root.join("real")).unwrap();
        fs::write(root.join("real/file"), "inside").unwrap();
        symlink("/real", root.join("tmp")).unwrap();
        symlink("file", root.join("real/link")).unwrap();
        let folder = File::open(&root).unwrap();
        let told = |path: &str| {
            let place = find_in_root(folder.as_fd(), Path::new(path))?;
            if place.metadata().unwrap().is_symlink() {
                return Ok("a link".to_owned());
            }
            Ok(fs::read_to_string(format!("/proc/self/fd/{}", place.as_raw_fd())).unwrap())
        };
        for path in ["tmp/file", "/tmp/file", "../../real/file", "/../tmp/../real/file"] {
            assert_eq!(told(path), Ok("inside".to_owned()), "{path}");
        }
        assert_eq!(told("/etc/passwd"), Err(Errno(libc::ENOENT)));
        assert_eq!(told("tmp/link"), Ok("a link".to_owned()));
        assert_eq!(told("a\0b"), Err(Errno(libc::EINVAL)));
        fs::remove_dir_all(root).unwrap();
    }
}
