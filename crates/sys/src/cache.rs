//! The page cache: which pages of a file are in memory, whoever maps them (mincore(2)).

use crate::errno::{check, last_errno};
use std::os::fd::{AsRawFd, BorrowedFd};
use vmatlas_event::Errno;

/// Which of the first `pages` pages of a file are in the page cache. Nothing is read from the file for it.
///
/// The kernel tells the truth to the owner of the file, and to those who may write it; others hear that all are there.
///
/// # Errors
/// The kernel's error; EINVAL for no pages.
pub fn pages_in_cache(file: BorrowedFd<'_>, pages: usize) -> Result<Vec<bool>, Errno> {
    let page = crate::page_size().bytes() as usize;
    let len = pages.checked_mul(page).ok_or(Errno(libc::EINVAL))?;
    let mut seen = vec![0u8; pages];
    // SAFETY: a new mapping at an address that the kernel chooses; nobody gets a reference into it.
    let at = unsafe {
        libc::mmap(std::ptr::null_mut(), len, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 0)
    };
    if at == libc::MAP_FAILED {
        return Err(last_errno());
    }
    // SAFETY: the range is ours, and `seen` has one byte for each of its pages.
    let told = check(i64::from(unsafe { libc::mincore(at, len, seen.as_mut_ptr()) }));
    // SAFETY: the mapping from above, which nothing else uses.
    unsafe { libc::munmap(at, len) };
    told.map(|_| seen.iter().map(|byte| byte & 1 == 1).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsFd;

    /// Checks that what was just written is in the cache, and that no pages are an error rather than a mapping.
    #[test]
    fn what_was_written_is_in_the_cache() {
        let path = std::env::temp_dir().join(format!("vmatlas-cache-{}", std::process::id()));
        let mut file = std::fs::File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        file.write_all(&vec![1; 3 * crate::page_size().bytes() as usize]).unwrap();
        assert_eq!(pages_in_cache(file.as_fd(), 3), Ok(vec![true; 3]));
        assert_eq!(pages_in_cache(file.as_fd(), 0), Err(Errno(libc::EINVAL)));
    }
}
