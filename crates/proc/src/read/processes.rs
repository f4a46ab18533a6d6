//! All processes, read one by one with as few calls as there are: one file each (status), others when asked.
//!
//! status takes no lock of the target's memory and reads none of it, so it never waits for a process that hangs; its
//! figures are the kernel's own counters. One buffer and one path are used for all.

use crate::parse::decimal;
use crate::parse::status::{self, Status};
use crate::read::error::libc_numbers::{EACCES, ENOENT, EPERM, ESRCH};
use crate::read::root::ProcRoot;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use vmatlas_event::Pid;

/// One process as it was met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its PID.
    pub pid: Pid,
    /// What its status said; for a process whose first thread has ended, that of a thread that lives.
    pub status: Status,
}

/// Why a file of a process was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// It is not for us.
    Hidden,
    /// The process has ended.
    Ended,
    /// Another error, or a text that is not the kernel's.
    Unknown,
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Unread {
        match error.raw_os_error() {
            Some(EACCES | EPERM) => Unread::Hidden,
            Some(ENOENT | ESRCH) => Unread::Ended,
            _ => Unread::Unknown,
        }
    }
}

/// Reads small files of many processes.
#[derive(Debug)]
pub struct ProcessReader {
    root: ProcRoot,
    /// The path of the file that was opened last; its start, the folder of /proc, stays.
    path: Vec<u8>,
    buffer: Vec<u8>,
}

impl ProcessReader {
    /// For the processes of this /proc.
    pub fn new(root: ProcRoot) -> ProcessReader {
        // More than status or one page of maps, so that one read takes all of it.
        const BUFFER: usize = 16 * 1024;
        let path = root.path().as_os_str().as_bytes().to_vec();
        ProcessReader { root, path, buffer: vec![0; BUFFER] }
    }

    /// What one process is; [`Unread::Hidden`] where /proc is mounted with hidepid=1.
    ///
    /// # Errors
    /// Why it was not read.
    pub fn status(&mut self, pid: Pid) -> Result<Listed, Unread> {
        let status = status::parse(self.file(pid, "status")?);
        if status.tgid.is_none() {
            return Err(Unread::Unknown);
        }
        if status.is_zombie() && status.threads.is_some_and(|n| n > 1) {
            // The first thread has ended; the memory is still that of the others.
            if let Some(living) = self.living_thread(pid) {
                return Ok(Listed { pid, status: Status { name: status.name, ..living } });
            }
        }
        Ok(Listed { pid, status })
    }

    /// The text of its cgroup file.
    ///
    /// # Errors
    /// Why it was not read.
    pub fn cgroup(&mut self, pid: Pid) -> Result<&[u8], Unread> {
        self.file(pid, "cgroup")
    }

    /// How many VMAs it has: the lines of maps, less what is printed there and is none.
    ///
    /// # Errors
    /// Why it was not read; [`Unread::Unknown`] also when the map is empty, which no living process's is.
    pub fn vma_count(&mut self, pid: Pid) -> Result<u64, Unread> {
        const NO_VMA: &[u8] = b" [vsyscall]\n";
        let mut file = self.open(pid, "maps")?;
        let (mut lines, mut tail) = (0, Vec::new());
        loop {
            let n = read(&mut file, &mut self.buffer)?;
            let text = self.buffer.get(..n).unwrap_or_default();
            if text.is_empty() {
                break;
            }
            lines += text.iter().filter(|b| **b == b'\n').count() as u64;
            // The last line may come in two reads.
            tail.extend_from_slice(text.get(text.len().saturating_sub(NO_VMA.len())..).unwrap_or_default());
            tail.drain(..tail.len().saturating_sub(NO_VMA.len()));
        }
        match lines {
            0 => Err(Unread::Unknown),
            n => Ok(n - u64::from(tail == NO_VMA)),
        }
    }

    /// The text of a small file of it; what is longer than the buffer is cut.
    fn file(&mut self, pid: Pid, name: &str) -> Result<&[u8], Unread> {
        let mut file = self.open(pid, name)?;
        let n = read(&mut file, &mut self.buffer)?;
        Ok(self.buffer.get(..n).unwrap_or_default())
    }

    fn open(&mut self, pid: Pid, name: &str) -> Result<File, Unread> {
        self.path.truncate(self.root.path().as_os_str().len());
        // Writing to a Vec does not fail.
        let _ = write!(self.path, "/{pid}/{name}");
        Ok(File::open(OsStr::from_bytes(&self.path))?)
    }

    /// The status of a thread of the process that has memory.
    fn living_thread(&mut self, pid: Pid) -> Option<Status> {
        let folder = self.root.path().join(format!("{pid}/task"));
        let tids =
            std::fs::read_dir(folder).ok()?.filter_map(|entry| decimal(entry.ok()?.file_name().as_bytes()));
        for tid in tids {
            let Ok(text) = self.file(pid, &format!("task/{tid}/status")) else { continue };
            let status = status::parse(text);
            if !status.is_zombie() && status.vm_size.is_some() {
                return Some(status);
            }
        }
        None
    }
}

/// One read(2); a call that a signal interrupted is made again.
fn read(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            answer => return answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that we are listed with our own figures, and that our VMAs are as many as a full reading finds.
    #[test]
    fn we_are_listed() {
        let root = ProcRoot::system();
        let me = vmatlas_sys::self_pid();
        let mut reader = ProcessReader::new(root.clone());
        let listed = reader.status(me).unwrap();
        assert_eq!((listed.pid, listed.status.tgid), (me, Some(me)));
        assert!(listed.status.vm_rss.is_some() && listed.status.name.is_some());
        assert!(!listed.status.is_kernel_thread() && !listed.status.is_zombie());
        assert!(reader.cgroup(me).unwrap().ends_with(b"\n"));
        // Other tests map and unmap meanwhile.
        let rows = crate::MapsReader::new().read(&root.process(me).unwrap()).unwrap().rows;
        let vmas = rows.iter().filter(|row| row.special() != Some(b"vsyscall")).count() as u64;
        assert!(reader.vma_count(me).unwrap().abs_diff(vmas) < 500);
    }

    /// Checks that a process that is not there has ended, for every file.
    #[test]
    fn no_process_has_ended() {
        let mut reader = ProcessReader::new(ProcRoot::system());
        let nobody = Pid(i32::MAX);
        assert_eq!(reader.status(nobody), Err(Unread::Ended));
        assert_eq!(reader.cgroup(nobody), Err(Unread::Ended));
        assert_eq!(reader.vma_count(nobody), Err(Unread::Ended));
    }
}
