//! Bytes of a file, read in pieces: never mapped, for a file that is cut while it is mapped kills its reader (SIGBUS).

use super::error::{Flaw, NoNames};
use super::limits::Limits;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, SystemTime};
use vmatlas_event::Dev;

/// An opened file, or bytes that came out of one.
#[derive(Debug)]
pub(super) struct Input {
    source: Source,
    len: u64,
    /// Device and inode of a file.
    identity: Option<(Dev, u64)>,
    /// When content or attributes of a file changed last (st_ctim): that cannot be set.
    changed: Option<SystemTime>,
}

#[derive(Debug)]
enum Source {
    File(File),
    Memory(Rc<[u8]>),
}

impl Input {
    /// Opens a regular file; nothing else is opened for reading, and a FIFO does not block.
    ///
    /// # Errors
    /// [`NoNames::Gone`], [`NoNames::Unreadable`], [`NoNames::Flaw`] where it is too large.
    pub(super) fn open(path: &Path, limits: &Limits) -> Result<Input, NoNames> {
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
        let file =
            OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|e| match e.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => NoNames::Gone,
                kind => NoNames::Unreadable(kind),
            })?;
        let facts = file.metadata().map_err(|e| NoNames::Unreadable(e.kind()))?;
        if !facts.is_file() {
            return Err(NoNames::Flaw(Flaw::NotElf));
        }
        if facts.len() > limits.file {
            let what = path.display().to_string();
            return Err(NoNames::Flaw(Flaw::TooLarge { what, size: facts.len(), limit: limits.file }));
        }
        let identity = Some((device(facts.dev()), facts.ino()));
        let changed = u64::try_from(facts.ctime()).ok().zip(u32::try_from(facts.ctime_nsec()).ok());
        let changed = changed.and_then(|(s, ns)| SystemTime::UNIX_EPOCH.checked_add(Duration::new(s, ns)));
        Ok(Input { source: Source::File(file), len: facts.len(), identity, changed })
    }

    /// Bytes that are already here.
    pub(super) fn of_bytes(bytes: Rc<[u8]>) -> Input {
        Input { len: bytes.len() as u64, source: Source::Memory(bytes), identity: None, changed: None }
    }

    /// The length when it was opened.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Device and inode; `None` for bytes.
    pub(super) fn identity(&self) -> Option<(Dev, u64)> {
        self.identity
    }

    /// When a file changed last; `None` for bytes.
    pub(super) fn changed(&self) -> Option<SystemTime> {
        self.changed
    }

    /// The bytes `[at, at + len)` of what is called `what`.
    ///
    /// # Errors
    /// [`Flaw::Cut`] where the file ends before, [`Flaw::Read`]. Nothing is allocated before the length is checked.
    pub(super) fn read(&self, what: &str, at: u64, len: u64) -> Result<Rc<[u8]>, Flaw> {
        let cut = || Flaw::Cut(what.to_owned());
        let end = at.checked_add(len).filter(|end| *end <= self.len).ok_or_else(cut)?;
        let size = usize::try_from(len).map_err(|_| cut())?;
        match &self.source {
            Source::Memory(bytes) => {
                let (at, end) = (usize::try_from(at), usize::try_from(end));
                let (Ok(at), Ok(end)) = (at, end) else { return Err(cut()) };
                bytes.get(at..end).map(Rc::from).ok_or_else(cut)
            }
            Source::File(file) => {
                let mut bytes: Rc<[u8]> = std::iter::repeat_n(0, size).collect();
                // Nobody else has it yet.
                let Some(room) = Rc::get_mut(&mut bytes) else { return Err(cut()) };
                file.read_exact_at(room, at).map_err(|e| match e.kind() {
                    io::ErrorKind::UnexpectedEof => cut(),
                    kind => Flaw::Read(kind),
                })?;
                Ok(bytes)
            }
        }
    }

    /// The checksum of the whole file that `.gnu_debuglink` has: CRC-32 as in zlib.
    ///
    /// # Errors
    /// [`Flaw::Cut`], [`Flaw::Read`].
    pub(super) fn crc32(&self) -> Result<u32, Flaw> {
        const PIECE: u64 = 1 << 20;
        let mut crc = crc32fast::Hasher::new();
        let mut at = 0;
        while at < self.len {
            let len = PIECE.min(self.len - at);
            crc.update(&self.read("the file", at, len)?);
            at += len;
        }
        Ok(crc.finalize())
    }
}

/// Major and minor out of st_dev, as in makedev(3).
fn device(st_dev: u64) -> Dev {
    let major = ((st_dev >> 8) & 0xfff) | ((st_dev >> 32) & !0xfff);
    let minor = (st_dev & 0xff) | ((st_dev >> 12) & !0xff);
    Dev { major: major as u32, minor: minor as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that nothing beyond the end is read, whatever the numbers.
    #[test]
    fn reading_beyond_the_end_is_refused() {
        let input = Input::of_bytes(Rc::from(&b"0123456789"[..]));
        assert_eq!(&*input.read("x", 2, 3).unwrap(), b"234");
        for (at, len) in [(8, 3), (11, 0), (u64::MAX, 2), (2, u64::MAX)] {
            assert_eq!(input.read("x", at, len), Err(Flaw::Cut("x".to_owned())), "{at}+{len}");
        }
    }

    /// Checks the checksum against the known one of "123456789", and device numbers of both widths.
    #[test]
    fn checksum_and_device_are_those_of_others() {
        assert_eq!(Input::of_bytes(Rc::from(&b"123456789"[..])).crc32(), Ok(0xcbf4_3926));
        assert_eq!(device(0x0801), Dev { major: 8, minor: 1 });
        assert_eq!(device(0x10_3001), Dev { major: 0x30, minor: 0x101 });
    }

    /// Checks that a folder, a FIFO's kin and what is too large are refused by name.
    #[test]
    fn only_regular_files_of_some_size_are_opened() {
        let limits = Limits { file: 3, ..Limits::default() };
        assert_eq!(Input::open(Path::new("/dev/null"), &limits).unwrap_err(), NoNames::Flaw(Flaw::NotElf));
        assert_eq!(Input::open(Path::new("/nowhere/x"), &limits).unwrap_err(), NoNames::Gone);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("large");
        std::fs::write(&path, b"1234").unwrap();
        assert!(matches!(
            Input::open(&path, &limits),
            Err(NoNames::Flaw(Flaw::TooLarge { size: 4, limit: 3, .. }))
        ));
    }
}
