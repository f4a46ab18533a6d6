//! What to call mmap(2) with, and what to do with the area.

use super::predict::FileKind;
use crate::child::FILE_FD;
use crate::error::LabError;
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use vmatlas_event::{Addr, Bytes, MapFlags, ProtArg};
use vmatlas_sys::mem::MmapArgs;
use vmatlas_view::escape;

const O_NONBLOCK: i32 = 0o4000;

/// How many pages of the new area are touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TouchPages {
    /// This many, from the first on.
    Some(u64),
    /// All of them.
    All,
}

/// The arguments of mmap(2), and what to do with the area.
#[derive(Clone, Debug)]
pub struct Options {
    /// How much.
    pub length: Bytes,
    /// The hint, or the place with MAP_FIXED.
    pub addr: Addr,
    /// PROT_*.
    pub prot: ProtArg,
    /// MAP_*.
    pub flags: MapFlags,
    /// The file behind it.
    pub file: Option<PathBuf>,
    /// Where in the file it begins.
    pub offset: u64,
    /// How much of it is touched.
    pub touch: TouchPages,
}

impl Default for Options {
    /// The talk's own: 1 GiB, readable and writable, private and anonymous; eight pages touched.
    fn default() -> Options {
        Options {
            length: Bytes(1 << 30),
            addr: Addr(0),
            prot: ProtArg(3),
            flags: MapFlags(0x22),
            file: None,
            offset: 0,
            touch: TouchPages::Some(8),
        }
    }
}

impl Options {
    /// The call as it is made: MAP_FIXED never takes away what the subject needs, so it becomes MAP_FIXED_NOREPLACE.
    pub(super) fn args(&self) -> MmapArgs {
        let mut flags = self.flags;
        if flags.has(MapFlags::FIXED) {
            flags = MapFlags(flags.0 & !MapFlags::FIXED | MapFlags::FIXED_NOREPLACE);
        }
        MmapArgs {
            addr: self.addr,
            len: self.length,
            prot: self.prot,
            flags,
            fd: if self.file.is_some() { FILE_FD } else { -1 },
            offset: self.offset,
        }
    }

    /// Opens the file for what the mapping needs, or for reading where it may not be written: mmap then says EACCES.
    pub(super) fn open(&self) -> Result<Option<(File, FileKind)>, LabError> {
        let Some(path) = &self.file else { return Ok(None) };
        let failed =
            |why| LabError::File { path: escape::terminal(path.as_os_str().as_encoded_bytes()), why };
        let writes_back = self.flags.0 & 1 == 1 && self.prot.0 & 2 == 2;
        // A pipe would keep us waiting for its other end.
        let free = File::options().read(true).custom_flags(O_NONBLOCK).clone();
        let both = match writes_back {
            true => free.clone().write(true).open(path).ok(),
            false => None,
        };
        let writable = both.is_some();
        let file = both.map_or_else(|| free.open(path), Ok).map_err(failed)?;
        let kind = FileKind::of(&file.metadata().map_err(failed)?, writable);
        Ok(Some((file, kind)))
    }
}
