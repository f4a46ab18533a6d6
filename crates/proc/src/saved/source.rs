//! Opening what a path names without waiting for it, and seeing by its first bytes what it is.

use super::SavedError;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// What a path names.
pub(super) enum Content {
    /// A folder.
    Folder,
    /// An ELF file.
    Core(File),
    /// Something else that is not packed, for the text reader to judge.
    Text(File),
}

/// Packers, by the bytes their files begin with.
const PACKERS: &[(&[u8], &str)] = &[
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\xfd7zXZ\0", "xz"),
    (b"BZh", "bzip2"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"PK\x03\x04", "zip"),
];

/// Opens the path and looks at its beginning.
pub(super) fn open_content(path: &Path) -> Result<Content, SavedError> {
    if fs::metadata(path)?.is_dir() {
        return Ok(Content::Folder);
    }
    let file = open_regular(path)?;
    let mut begin = [0; 16];
    let mut filled = 0;
    while let Some(rest) = begin.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    let begin = begin.get(..filled).unwrap_or_default();
    if begin.is_empty() {
        return Err(SavedError::Empty);
    }
    if let Some((_, packer)) = PACKERS.iter().find(|(magic, _)| begin.starts_with(magic)) {
        return Err(SavedError::Packed(packer));
    }
    Ok(if begin.starts_with(b"\x7fELF") { Content::Core(file) } else { Content::Text(file) })
}

/// Opens a regular file. What is no file is refused before it is opened, because opening a device can do things, and
/// again after, because the path can be changed in between; opening never waits for the other end of a FIFO.
pub(super) fn open_regular(path: &Path) -> Result<File, SavedError> {
    /// O_NONBLOCK and O_NOCTTY of every architecture that we decode.
    const FLAGS: i32 = 0o4000 | 0o400;
    if !fs::metadata(path)?.is_file() {
        return Err(SavedError::Special);
    }
    let file = OpenOptions::new().read(true).custom_flags(FLAGS).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(SavedError::Special);
    }
    Ok(file)
}

/// The whole of a small file; `None` when it cannot be read or is larger than `limit`.
pub(super) fn read_small(path: &Path, limit: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    open_regular(path).ok()?.take(limit + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 <= limit).then_some(bytes)
}
