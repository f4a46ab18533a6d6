//! A swap file of the experiment's own, for as long as it takes.

use crate::cleanup::{Cleanup, Undo, io_error};
use crate::error::LabError;
use crate::files::file_system_of;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use vmatlas_event::Bytes;
use vmatlas_view::escape;

/// What is named where nothing else can be: the list of what the kernel swaps to.
pub(super) const SWAPS: &str = "/proc/swaps";
/// Where a file can be swapped to when the folder for temporary files is only in memory.
const ON_DISK: &str = "/var/tmp";
/// How the first page of a swap file ends.
const SIGNATURE: &[u8; 10] = b"SWAPSPACE2";
/// Where its header begins: version, last page, bad pages (include/linux/swap.h, `union swap_header`).
const HEADER: usize = 1024;

/// Makes a swap file of this size and switches it on; the path, for a person. The cleanup switches it off and removes it.
///
/// # Errors
/// When it cannot be written, or the kernel refuses it: without the right to (CAP_SYS_ADMIN), or on this file system.
pub(super) fn switch_on(cleanup: &mut Cleanup, size: Bytes) -> Result<String, LabError> {
    let shown = |path: &Path| escape::terminal(path.as_os_str().as_bytes());
    let failed = |path: &Path, why| LabError::File { path: shown(path), why };
    let folder = folder();
    let (file, path) = cleanup.file_in(&folder, 0).map_err(|why| failed(&folder, why))?;
    write(&file, size).map_err(|why| failed(&path, why))?;
    cleanup.later(&Undo::SwapOff(path.clone())).map_err(|why| failed(&path, why))?;
    vmatlas_sys::swap_on(&path).map_err(|errno| failed(&path, io_error(errno)))?;
    Ok(shown(&path))
}

/// Writes the header and all other pages: a swap file may have no holes, and not every fallocate(2) fills them.
fn write(mut file: &File, size: Bytes) -> io::Result<()> {
    let page = vmatlas_sys::page_size().bytes();
    let pages = size.0 / page;
    file.write_all(&header(pages, page as usize))?;
    let zeros = vec![0; page as usize];
    (1..pages).try_for_each(|_| file.write_all(&zeros))?;
    file.sync_all()
}

/// The first page of a swap file with so many pages.
fn header(pages: u64, page: usize) -> Vec<u8> {
    let mut first = vec![0; page];
    let last = u32::try_from(pages.saturating_sub(1)).unwrap_or(u32::MAX);
    let words = [1u32, last, 0];
    let fields = first.get_mut(HEADER..).unwrap_or_default();
    for (place, word) in fields.chunks_exact_mut(4).zip(words) {
        place.copy_from_slice(&word.to_ne_bytes());
    }
    if let Some(end) = first.last_chunk_mut() {
        *end = *SIGNATURE;
    }
    first
}

/// The folder for temporary files, where that is on a disk.
fn folder() -> PathBuf {
    let usual = std::env::temp_dir();
    let kind = File::open(&usual).ok().and_then(|folder| file_system_of(&folder));
    match kind.as_deref() {
        Some("tmpfs" | "ramfs") => PathBuf::from(ON_DISK),
        _ => usual,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks the header where the kernel looks: version, last page, no bad pages, and the signature at the page's end.
    #[test]
    fn the_header_is_where_the_kernel_looks() {
        let first = header(256, 4096);
        let word = |at: usize| u32::from_ne_bytes(first[at..at + 4].try_into().unwrap());
        assert_eq!((first.len(), word(1024), word(1028), word(1032)), (4096, 1, 255, 0));
        assert_eq!(&first[4086..], b"SWAPSPACE2");
    }
}
