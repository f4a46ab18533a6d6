//! Swap: giving the kernel a file to write memory to, and taking it away again (swapon(2)).

use crate::errno::check;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use vmatlas_event::Errno;

/// Lets the kernel write anybody's memory to this file, which must begin with a swap header and have no holes.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN, EINVAL for a file that is no swap file or on a file system that cannot have one.
pub fn swap_on(path: &Path) -> Result<(), Errno> {
    let path = c_path(path)?;
    // SAFETY: a C string and a number.
    check(i64::from(unsafe { libc::swapon(path.as_ptr(), 0) })).map(|_| ())
}

/// Brings everything that is in it back to memory, and forgets the file. It may take as long as reading all that.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN, EINVAL for a file that is not in use as swap, ENOMEM where memory cannot take it all.
pub fn swap_off(path: &Path) -> Result<(), Errno> {
    let path = c_path(path)?;
    loop {
        // SAFETY: a C string.
        match check(i64::from(unsafe { libc::swapoff(path.as_ptr()) })) {
            Err(Errno(libc::EINTR)) => {}
            answer => return answer.map(|_| ()),
        }
    }
}

fn c_path(path: &Path) -> Result<CString, Errno> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno(libc::EINVAL))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that what is no swap file is refused, whoever asks.
    #[test]
    fn what_is_no_swap_file_is_refused() {
        let file = Path::new("/proc/self/maps");
        assert!(swap_on(file).is_err() && swap_off(file).is_err());
        assert_eq!(swap_on(Path::new("/a\0b")), Err(Errno(libc::EINVAL)));
    }
}
