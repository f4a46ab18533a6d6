//! Files of a recording: private, never through a symbolic link, read within limits.

use crate::error::RecordError;
use crate::guard::brief;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;

/// The end of a JSON file of ours: its own checksum, over everything before this member.
const SEAL: &str = ",\n\"crc32\": \"";

/// Makes a folder for us alone; what exists is an error, a symbolic link too.
pub(crate) fn create_folder(path: &Path) -> Result<(), RecordError> {
    DirBuilder::new().mode(0o700).create(path).map_err(|e| match e.kind() {
        io::ErrorKind::AlreadyExists => RecordError::Exists(path.to_owned()),
        _ => RecordError::io(path, e),
    })
}

/// Makes a new file for us alone.
pub(crate) fn create(path: &Path) -> Result<File, RecordError> {
    // O_CREAT with O_EXCL follows no symbolic link; O_NOFOLLOW says so once more.
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    options.open(path).map_err(|e| RecordError::io(path, e))
}

/// Opens a plain file for reading; a link, a FIFO or a device is an error, and opening never waits.
pub(crate) fn open(path: &Path) -> Result<File, RecordError> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let file = options.open(path).map_err(|e| RecordError::io(path, e))?;
    let meta = file.metadata().map_err(|e| RecordError::io(path, e))?;
    if !meta.is_file() {
        return Err(RecordError::io(path, io::Error::other("not a plain file")));
    }
    Ok(file)
}

/// A whole file of at most `limit` bytes.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, RecordError> {
    let mut bytes = Vec::new();
    read_into(path, limit, &mut bytes)?;
    Ok(bytes)
}

/// The same, added to `bytes`.
pub(crate) fn read_into(path: &Path, limit: u64, bytes: &mut Vec<u8>) -> Result<(), RecordError> {
    let read = open(path)?.take(limit.saturating_add(1)).read_to_end(bytes);
    let length = read.map_err(|e| RecordError::io(path, e))?;
    if length as u64 > limit {
        return Err(RecordError::damaged(&name(path), limit, "larger than any file of its kind"));
    }
    Ok(())
}

/// Some bytes of a file, all of which must be there.
pub(crate) fn read_part(path: &Path, part: Range<u64>) -> Result<Vec<u8>, RecordError> {
    let mut bytes = vec![0; usize::try_from(part.end.saturating_sub(part.start)).unwrap_or(usize::MAX)];
    open(path)?.read_exact_at(&mut bytes, part.start).map_err(|e| RecordError::io(path, e))?;
    Ok(bytes)
}

/// The name of a file inside a recording.
pub(crate) fn name(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Makes what a folder holds last through a loss of power.
pub(crate) fn sync_folder(path: &Path) -> Result<(), RecordError> {
    File::open(path).and_then(|f| f.sync_all()).map_err(|e| RecordError::io(path, e))
}

/// What a file must last through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Last {
    /// The end of our process: the program is not to wait for the disk.
    Kill,
    /// A loss of power too.
    ThroughPowerLoss,
}

/// A JSON object with its checksum.
pub(crate) fn json_text<T: serde::Serialize>(value: &T) -> serde_json::Result<String> {
    let json = serde_json::to_string_pretty(value)?;
    let body = json.trim_end().strip_suffix('}').unwrap_or(&json).trim_end();
    Ok(format!("{body}{SEAL}{:08x}\"\n}}\n", crc32fast::hash(body.as_bytes())))
}

/// Writes such an object, whole or not at all.
pub(crate) fn write_json<T: serde::Serialize>(path: &Path, value: &T, last: Last) -> Result<(), RecordError> {
    let text = json_text(value).map_err(|e| RecordError::io(path, e.into()))?;
    let temporary = path.with_extension("json.tmp");
    // One that a killed writer left.
    let _ = fs::remove_file(&temporary);
    let mut file = create(&temporary)?;
    file.write_all(text.as_bytes())
        .and_then(|()| if last == Last::ThroughPowerLoss { file.sync_all() } else { Ok(()) })
        .and_then(|()| fs::rename(&temporary, path))
        .map_err(|e| RecordError::io(path, e))
}

/// No such object is longer, in bytes.
pub(crate) const LONGEST_JSON: u64 = 16 << 20;

/// Reads such an object; `file` is its name in messages.
pub(crate) fn read_json<T: serde::de::DeserializeOwned>(path: &Path, file: &str) -> Result<T, RecordError> {
    parse_json(&read(path, LONGEST_JSON)?, file)
}

/// The same of its bytes.
pub(crate) fn parse_json<T: serde::de::DeserializeOwned>(bytes: &[u8], file: &str) -> Result<T, RecordError> {
    let damaged = |what: &str| RecordError::damaged(file, None, what);
    let text = std::str::from_utf8(bytes).map_err(|_| damaged("not text"))?;
    let (body, seal) = text.rsplit_once(SEAL).ok_or_else(|| damaged("without its checksum"))?;
    if seal != format!("{:08x}\"\n}}\n", crc32fast::hash(body.as_bytes())) {
        return Err(damaged("the checksum is another one"));
    }
    serde_json::from_slice(bytes).map_err(|e| damaged(&brief(&e)))
}

/// Removes a recording, and nothing else: where there is anything that is not one's, nothing is touched.
pub(crate) fn remove_recording(folder: &Path) -> Result<(), RecordError> {
    let meta = match fs::symlink_metadata(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        meta => meta.map_err(|e| RecordError::io(folder, e))?,
    };
    let not_ours = || RecordError::NotOurs(folder.to_owned());
    if meta.is_file() && crate::packed::is_packed(folder) {
        return fs::remove_file(folder).map_err(|e| RecordError::io(folder, e));
    }
    if !meta.is_dir() {
        return Err(not_ours());
    }
    if crate::store::is_locked(folder) {
        return Err(RecordError::BeingWritten(folder.to_owned()));
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(|e| RecordError::io(folder, e))? {
        names.push(entry.map_err(|e| RecordError::io(folder, e))?.file_name());
    }
    let ours = |name: &std::ffi::OsStr| {
        let name = name.to_string_lossy();
        name == "meta.json"
            || name == "meta.json.tmp"
            || name == crate::marks::FOLDER
            || name.starts_with("seg-")
            || name.starts_with("tail-")
    };
    if !names.iter().any(|name| name == "meta.json") || !names.iter().all(|name| ours(name)) {
        return Err(not_ours());
    }
    for name in names {
        let path = folder.join(&name);
        let is_folder = fs::symlink_metadata(&path).is_ok_and(|m| m.is_dir());
        let removed = if is_folder { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.map_err(|e| RecordError::io(&path, e))?;
    }
    fs::remove_dir(folder).map_err(|e| RecordError::io(folder, e))
}
