//! Where the files of a recording are: in a folder, or packed into one file.

use crate::error::{Damage, RecordError};
use crate::files;
use crate::packed::Packed;
use crate::seal;
use crate::tail::Tail;
use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The files of a recording, by their names inside of it.
#[derive(Clone, Debug)]
pub(crate) enum Store {
    Folder(PathBuf),
    Packed(Arc<Packed>),
}

impl Store {
    pub(crate) fn open(path: &Path) -> Result<Store, RecordError> {
        let meta = fs::metadata(path).map_err(|e| RecordError::io(path, e))?;
        if meta.is_dir() {
            return Ok(Store::Folder(path.to_owned()));
        }
        if !meta.is_file() {
            return Err(RecordError::NotARecording(path.to_owned()));
        }
        Packed::open(path).map(|packed| Store::Packed(Arc::new(packed)))
    }

    /// The folder or the file.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Store::Folder(path) => path,
            Store::Packed(packed) => packed.path(),
        }
    }

    /// What is wrong with the container itself.
    pub(crate) fn damage(&self) -> Option<&Damage> {
        match self {
            Store::Folder(_) => None,
            Store::Packed(packed) => packed.damage.as_ref(),
        }
    }

    /// What to say where nothing of a recording is there.
    pub(crate) fn nothing(&self) -> RecordError {
        match self.damage() {
            Some(damage) => RecordError::Damaged(damage.clone()),
            None => RecordError::NotARecording(self.path().to_owned()),
        }
    }

    /// A whole file of at most `limit` bytes.
    pub(crate) fn read(&self, name: &str, limit: u64) -> Result<Vec<u8>, RecordError> {
        let mut bytes = Vec::new();
        self.read_into(name, limit, &mut bytes)?;
        Ok(bytes)
    }

    /// The same, added to `bytes`.
    pub(crate) fn read_into(&self, name: &str, limit: u64, bytes: &mut Vec<u8>) -> Result<(), RecordError> {
        match self {
            Store::Folder(folder) => files::read_into(&folder.join(name), limit, bytes),
            Store::Packed(packed) => packed.read_into(name, limit, bytes),
        }
    }

    /// Some bytes of a file, all of which must be there.
    pub(crate) fn read_part(&self, name: &str, part: Range<u64>) -> Result<Vec<u8>, RecordError> {
        match self {
            Store::Folder(folder) => files::read_part(&folder.join(name), part),
            Store::Packed(packed) => packed.read_part(name, part),
        }
    }

    /// A JSON object with its checksum.
    pub(crate) fn read_json<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<T, RecordError> {
        files::parse_json(&self.read(name, files::LONGEST_JSON)?, name)
    }

    /// A part that was not sealed; there is none in a packed file.
    pub(crate) fn tail(&self, number: u32, progress: &mut dyn FnMut(u64)) -> Result<Tail, RecordError> {
        match self {
            Store::Folder(folder) => Tail::open_with(&seal::tail(folder, number), progress),
            Store::Packed(packed) => Err(RecordError::io(packed.path(), io::ErrorKind::NotFound.into())),
        }
    }

    /// Which parts there are, and whether each is sealed.
    pub(crate) fn parts(&self) -> Result<BTreeMap<u32, bool>, RecordError> {
        let folder = match self {
            Store::Folder(folder) => folder,
            Store::Packed(packed) => return Ok(packed.parts()),
        };
        let mut numbers = BTreeMap::new();
        for entry in fs::read_dir(folder).map_err(|e| RecordError::io(folder, e))? {
            let name = entry.map_err(|e| RecordError::io(folder, e))?.file_name();
            let name = name.to_string_lossy();
            let digits = |prefix: &str| {
                let digits = name.strip_prefix(prefix).filter(|d| d.len() == 6)?;
                digits.parse::<u32>().ok().filter(|n| *n > 0 && digits.bytes().all(|b| b.is_ascii_digit()))
            };
            if let Some(number) = digits("seg-") {
                numbers.insert(number, true);
            } else if let Some(number) = digits("tail-") {
                // Both are there when sealing was cut short after its last step but one: the segment is whole.
                numbers.entry(number).or_insert(false);
            }
        }
        Ok(numbers)
    }

    /// What the parts that were not sealed take, in bytes.
    pub(crate) fn tail_size(&self, parts: &BTreeMap<u32, bool>) -> u64 {
        let Store::Folder(folder) = self else { return 0 };
        let tails = parts.iter().filter(|(_, is_sealed)| !**is_sealed);
        tails.filter_map(|(number, _)| fs::metadata(seal::tail(folder, *number)).ok()).map(|m| m.len()).sum()
    }

    /// What its files take on disk, in bytes.
    pub(crate) fn size(&self) -> u64 {
        let folder = match self {
            Store::Folder(folder) => folder,
            Store::Packed(packed) => return packed.length(),
        };
        let sizes = |folder: &Path| -> Vec<(PathBuf, fs::Metadata)> {
            let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
            entries.filter_map(|e| Some((e.path(), e.metadata().ok()?))).collect()
        };
        let size = |(path, meta): (PathBuf, fs::Metadata)| match meta.is_dir() {
            true => sizes(&path).iter().map(|(_, meta)| meta.len()).sum(),
            false => meta.len(),
        };
        sizes(folder).into_iter().map(size).sum()
    }

    /// Whether a writer of this machine is at work on it.
    pub(crate) fn is_being_written(&self) -> bool {
        match self {
            Store::Folder(folder) => is_locked(folder),
            Store::Packed(_) => false,
        }
    }
}

/// Locks the folder of a recording as long as the answer lives; `None` where the file system has no locks.
pub(crate) fn lock(folder: &Path) -> Option<File> {
    let file = File::open(folder).ok()?;
    // Who only looks holds it for a moment.
    for _ in 0..50 {
        match file.try_lock() {
            Ok(()) => return Some(file),
            Err(TryLockError::WouldBlock) => std::thread::sleep(std::time::Duration::from_millis(1)),
            Err(TryLockError::Error(_)) => return None,
        }
    }
    None
}

/// Whether somebody holds the lock of a folder.
pub(crate) fn is_locked(folder: &Path) -> bool {
    let is_folder = fs::metadata(folder).is_ok_and(|meta| meta.is_dir());
    let file = is_folder.then(|| File::open(folder).ok()).flatten();
    file.is_some_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}
