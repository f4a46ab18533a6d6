//! The file that an experiment works with, and what is known of the file system it is on.

use crate::cleanup::Cleanup;
use crate::command::{Command, Reply};
use crate::error::LabError;
use crate::lab::Lab;
use crate::report::{DidPart, Part};
use crate::subject::Peer;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use vmatlas_event::{AddrRange, Bytes, Errno};
use vmatlas_proc::parse::mountinfo;
use vmatlas_proc::parse::smaps::Field;
use vmatlas_proc::read::smaps;
use vmatlas_sys::workbench::CALLS;
use vmatlas_view::escape;

/// A file with known bytes in the folder for temporary files. It is removed when this value goes, or this process.
#[derive(Debug)]
pub(crate) struct Fixture {
    file: File,
    path: PathBuf,
    _cleanup: Cleanup,
}

/// What each byte of page `index` of a [`Fixture`] with several pages is: 10, 20, 30...
pub(crate) fn mark(index: u64) -> u8 {
    (index as u8).wrapping_add(1).wrapping_mul(10)
}

/// Pages full of their [`mark`].
pub(crate) fn marked_pages(pages: u64) -> Vec<u8> {
    let page = vmatlas_sys::page_size().bytes() as usize;
    (0..pages).flat_map(|index| std::iter::repeat_n(mark(index), page)).collect()
}

/// Whether the kernel insists that files of memfd_create(2) cannot be executed (vm.memfd_noexec is 2).
pub(crate) fn memfd_noexec() -> bool {
    std::fs::read_to_string("/proc/sys/vm/memfd_noexec").is_ok_and(|text| text.trim() == "2")
}

/// The type of the file system that a file or folder is on; `None` when that cannot be told.
pub(crate) fn file_system_of(file: &File) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd())).ok()?;
    let id: u64 = text.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok())?;
    let mounts = mountinfo::parse(&std::fs::read("/proc/self/mountinfo").ok()?);
    let mount = mounts.into_iter().find(|mount| mount.id == id)?;
    Some(String::from_utf8_lossy(&mount.fs_type).into_owned())
}

impl Fixture {
    /// Makes it, writes the bytes, and waits until the file system has them (fsync(2)).
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn new(bytes: &[u8]) -> Result<Fixture, LabError> {
        let folder = std::env::temp_dir();
        let failed = |why| LabError::File { path: escape::terminal(folder.as_os_str().as_bytes()), why };
        let mut cleanup = Cleanup::start().map_err(failed)?;
        let (file, path) = cleanup.file(0).map_err(failed)?;
        let page = vmatlas_sys::page_size().bytes();
        // Page by page: what is written at once may become one large folio, whose pages come and get dirty together.
        for (piece, at) in bytes.chunks(page as usize).zip((0..).step_by(page as usize)) {
            file.write_all_at(piece, at).map_err(failed)?;
        }
        file.sync_all().map_err(failed)?;
        Ok(Fixture { file, path, _cleanup: cleanup })
    }

    /// Its path, for a person.
    pub(crate) fn path(&self) -> String {
        escape::terminal(self.path.as_os_str().as_bytes())
    }

    /// For the subject, to read and write.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub(crate) fn read_write(&self) -> Result<File, LabError> {
        self.file.try_clone().map_err(|why| self.failed(why))
    }

    /// For the subject, only to read.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(crate) fn read_only(&self) -> Result<File, LabError> {
        File::open(&self.path).map_err(|why| self.failed(why))
    }

    /// What somebody else finds in the file now: we read it with pread(2) and map nothing.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn byte(&self, at: u64) -> Result<u8, LabError> {
        let mut byte = [0];
        self.file.read_exact_at(&mut byte, at).map_err(|why| self.failed(why))?;
        Ok(byte[0])
    }

    /// Somebody else changes the file: we do, with pwrite(2).
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn write(&self, at: u64, byte: u8) -> Result<(), LabError> {
        self.file.write_all_at(&[byte], at).map_err(|why| self.failed(why))
    }

    /// Its size.
    ///
    /// # Errors
    /// When the file system does not tell.
    pub(crate) fn size(&self) -> Result<Bytes, LabError> {
        self.file.metadata().map(|data| Bytes(data.len())).map_err(|why| self.failed(why))
    }

    /// How many of its first pages are in the page cache.
    pub(crate) fn in_cache(&self, pages: u64) -> Result<u64, Errno> {
        let seen = vmatlas_sys::pages_in_cache(self.file.as_fd(), pages as usize)?;
        Ok(seen.iter().filter(|here| **here).count() as u64)
    }

    /// Whether its bytes are nowhere but in memory: then there is nothing to write them back to.
    pub(crate) fn is_in_memory(&self) -> bool {
        self.file_system().is_some_and(|name| name == "tmpfs" || name == "ramfs")
    }

    /// The type of the file system it is on; `None` when that cannot be told.
    pub(crate) fn file_system(&self) -> Option<String> {
        file_system_of(&self.file)
    }

    fn failed(&self, why: io::Error) -> LabError {
        LabError::File { path: self.path(), why }
    }
}

impl Lab<'_> {
    /// What of the VMAs in a range is not written back yet (smaps); `None` where the kernel does not tell.
    ///
    /// # Errors
    /// When smaps cannot be read.
    pub(crate) fn dirty(&self, range: AddrRange) -> Result<Option<Bytes>, LabError> {
        self.smaps(range, &[Field::SharedDirty, Field::PrivateDirty])
    }

    /// The sum of figures of smaps over the VMAs in a range; `None` where the kernel does not tell one.
    ///
    /// # Errors
    /// When smaps cannot be read.
    pub(crate) fn smaps(&self, range: AddrRange, fields: &[Field]) -> Result<Option<Bytes>, LabError> {
        let rows = self.subject.state()?.rows;
        let met = rows.iter().map(|row| row.range).filter(|row| row.intersects(range));
        let seen = smaps::read(self.subject.process(), met)?;
        Ok(seen.per_row.iter().map(|row| row.as_ref()?.sum(fields)).sum())
    }

    /// A call of the workbench's table that is shown by nobody.
    ///
    /// # Errors
    /// When the subject is gone; a refusal is a reply.
    pub(crate) fn call_unshown(&mut self, name: &str, args: [u64; 6]) -> Result<Reply, LabError> {
        let index = CALLS.iter().position(|call| call.name == name).unwrap_or(usize::MAX) as u64;
        self.command(Command::Call { index, args })
    }

    /// Adds a line for what a child did.
    pub(crate) fn did_in(&mut self, peer: &Peer, what: &str, result: Result<String, Errno>) {
        self.show(Part::Did(DidPart { child: Some(peer.pid()), what: what.to_owned(), result }));
    }

    /// The name of the area at the start of a range, as the map has it after the latest step.
    pub(crate) fn name_of(&self, range: AddrRange) -> String {
        let name = self.after.row_at(range.start()).map(|row| row.name_bytes()).unwrap_or_default();
        escape::terminal(name)
    }
}
