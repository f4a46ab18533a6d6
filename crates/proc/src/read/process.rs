//! One process, the same one from open to close.

use crate::parse::smaps::{self, SmapsFields};
use crate::parse::stat::{self, Stat};
use crate::parse::status::{self, Status};
use crate::parse::{ParseError, decimal};
use crate::read::deadline::Beat;
use crate::read::error::{ErrorKind, ProcError};
use crate::read::root::ProcRoot;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vmatlas_event::{Addr, Dev, Pid, StartTime, Tid};
use vmatlas_sys::PidFd;

/// A process that was opened: a reused PID is noticed, by its start time and by a pidfd.
#[derive(Clone, Debug)]
pub struct Process {
    root: ProcRoot,
    pid: Pid,
    started: StartTime,
    pidfd: Option<Arc<PidFd>>,
    /// Where its memory can be read: a zombie leader's files are empty, a living thread's are not.
    dir: PathBuf,
    /// Shared by all clones.
    beat: Beat,
}

/// A thread and where its stack pointer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thread {
    /// The thread.
    pub tid: Tid,
    /// Its stack pointer; `None` while it runs, or when we may not know.
    pub stack_pointer: Option<Addr>,
}

/// What the program is: its path as the kernel tells it, and which file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exe {
    /// The link's text, bytes of any kind.
    pub path: Vec<u8>,
    /// The file's identity; `None` where we may not follow the link.
    pub file: Option<(Dev, u64)>,
}

impl Process {
    pub(crate) fn open(root: ProcRoot, pid: Pid) -> Result<Process, ProcError> {
        let dir = root.path().join(pid.to_string());
        // The pidfd comes first: what is read after it belongs to this very process, or reading says that it is gone.
        // A /proc of another PID namespace has other numbers: by ours another process would be watched.
        let ours = root.is_live() && root.has_our_numbers();
        let pidfd = if ours { PidFd::open(pid).ok().map(Arc::new) } else { None };
        let stat = match read_stat(pid, &dir) {
            Err(error) if error.kind() == ErrorKind::Gone => return Err(root.no_such(pid)),
            answer => answer?,
        };
        if stat.is_kernel_thread() {
            return Err(ProcError::new(ErrorKind::KernelThread, pid));
        }
        let mut process = Process { root, pid, started: stat.started, pidfd, dir, beat: Beat::default() };
        if stat.is_zombie() {
            // The leader has ended; other threads may live on, and their files show the same address space.
            match process.living_thread() {
                Some(tid) => process.dir = process.dir.join("task").join(tid.to_string()),
                None => return Err(ProcError::new(ErrorKind::Zombie, pid)),
            }
        }
        Ok(process)
    }

    /// Its PID.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// When it started.
    pub fn started(&self) -> StartTime {
        self.started
    }

    /// The /proc it was opened in.
    pub fn root(&self) -> &ProcRoot {
        &self.root
    }

    /// Whether its first thread has ended while others live.
    pub fn leader_has_ended(&self) -> bool {
        self.dir.parent().is_some_and(|p| p.ends_with("task"))
    }

    /// A file of it below /proc/PID (or below task/TID of a living thread, when the first one has ended).
    ///
    /// # Errors
    /// By kind, the file's path with it.
    pub fn open_file(&self, name: &str) -> Result<File, ProcError> {
        let path = self.dir.join(name);
        let file = File::open(&path).map_err(|e| self.io(&path, e))?;
        self.beat.tick();
        Ok(file)
    }

    /// The whole text of a small file of it.
    ///
    /// # Errors
    /// By kind, the file's path with it.
    pub fn read_file(&self, name: &str) -> Result<Vec<u8>, ProcError> {
        const LIMIT: u64 = 1 << 20;
        let path = self.dir.join(name);
        let mut text = Vec::new();
        File::open(&path)
            .and_then(|f| f.take(LIMIT).read_to_end(&mut text))
            .map_err(|e| self.io(&path, e))?;
        self.beat.tick();
        Ok(text)
    }

    /// Its status lines.
    ///
    /// # Errors
    /// By kind, the file's path with it.
    pub fn status(&self) -> Result<Status, ProcError> {
        Ok(status::parse(&self.read_file("status")?))
    }

    /// The kernel's own sums over all its VMAs (smaps_rollup, Linux 4.14).
    ///
    /// The kernel holds the mmap lock meanwhile, about 9 ms for each GiB of small pages: read it only when asked for.
    ///
    /// # Errors
    /// By kind, the file's path with it.
    pub fn rollup(&self) -> Result<SmapsFields, ProcError> {
        let text = self.read_file("smaps_rollup")?;
        let entries =
            smaps::parse(&text).map_err(|e| ProcError::parse(self.pid, &self.path_of("smaps_rollup"), e))?;
        entries.into_iter().next().map(|entry| entry.fields).ok_or_else(|| self.why_empty())
    }

    /// Its stat line.
    ///
    /// # Errors
    /// By kind, the file's path with it.
    pub fn stat(&self) -> Result<Stat, ProcError> {
        let stat = read_stat(self.pid, &self.dir)?;
        Ok(stat)
    }

    /// The program it runs; `None` when we may not know.
    pub fn exe(&self) -> Option<Exe> {
        let link = self.dir.join("exe");
        let path = fs::read_link(&link).ok()?;
        let file = fs::metadata(&link).ok().map(|m| (device(m.dev()), m.ino()));
        Some(Exe { path: path.into_os_string().into_encoded_bytes(), file })
    }

    /// Its threads, with the stack pointers of those that sleep. Nobody is stopped to look.
    pub fn threads(&self) -> Vec<Thread> {
        let mut threads: Vec<Thread> = self
            .tids()
            .into_iter()
            .map(|tid| {
                let text = fs::read(self.task_dir(tid).join("syscall")).unwrap_or_default();
                Thread { tid, stack_pointer: stack_pointer(&text) }
            })
            .collect();
        threads.sort_unstable_by_key(|t| t.tid);
        threads
    }

    /// Whether it is still the process that was opened.
    ///
    /// # Errors
    /// [`ErrorKind::Gone`] when it is not.
    pub fn still_there(&self) -> Result<(), ProcError> {
        let gone = || ProcError::new(ErrorKind::Gone, self.pid);
        if self.pidfd.as_ref().is_some_and(|fd| fd.has_ended()) && !self.leader_has_ended() {
            return Err(gone());
        }
        let stat = read_stat(self.pid, &self.root.path().join(self.pid.to_string()))?;
        if stat.started == self.started { Ok(()) } else { Err(gone()) }
    }

    /// The task that system calls about its memory should name: a zombie leader has none any more.
    pub(crate) fn memory_id(&self) -> Pid {
        let tid =
            self.leader_has_ended().then(|| decimal(self.dir.file_name()?.as_encoded_bytes())).flatten();
        tid.and_then(|tid| i32::try_from(tid).ok()).map_or(self.pid, Pid)
    }

    /// That it has ended, or executed another program.
    pub fn gone(&self) -> ProcError {
        ProcError::new(ErrorKind::Gone, self.pid)
    }

    /// Counts the calls about it that came back.
    pub(crate) fn beat(&self) -> &Beat {
        &self.beat
    }

    /// Why its map reads as empty: an empty map is no map.
    pub(crate) fn why_empty(&self) -> ProcError {
        let kind = match self.stat() {
            Ok(stat) if stat.is_kernel_thread() => ErrorKind::KernelThread,
            Ok(stat) if stat.is_zombie() => ErrorKind::Zombie,
            _ => ErrorKind::Gone,
        };
        ProcError::new(kind, self.pid)
    }

    pub(crate) fn io(&self, path: &Path, error: io::Error) -> ProcError {
        ProcError::io(self.pid, path, error)
    }

    pub(crate) fn path_of(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn task_dir(&self, tid: Tid) -> PathBuf {
        self.root.path().join(self.pid.to_string()).join("task").join(tid.to_string())
    }

    fn tids(&self) -> Vec<Tid> {
        let dir = self.root.path().join(self.pid.to_string()).join("task");
        let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
        entries
            .filter_map(|entry| decimal(entry.ok()?.file_name().as_encoded_bytes()))
            .filter_map(|n| i32::try_from(n).ok().map(Tid))
            .collect()
    }

    fn living_thread(&self) -> Option<Tid> {
        let lives = |tid: &Tid| read_stat(self.pid, &self.task_dir(*tid)).is_ok_and(|s| !s.is_zombie());
        self.tids().into_iter().find(lives)
    }
}

fn device(dev: u64) -> Dev {
    // gnu_dev_major and gnu_dev_minor of glibc's <sys/sysmacros.h>.
    Dev {
        major: ((dev >> 8 & 0xfff) | (dev >> 32 & !0xfff)) as u32,
        minor: ((dev & 0xff) | (dev >> 12 & !0xff)) as u32,
    }
}

fn read_stat(pid: Pid, dir: &Path) -> Result<Stat, ProcError> {
    let path = dir.join("stat");
    let text = fs::read(&path).map_err(|e| ProcError::io(pid, &path, e))?;
    stat::parse(&text).map_err(|e: ParseError| ProcError::parse(pid, &path, e))
}

/// The stack pointer in /proc/PID/task/TID/syscall: the last but one field, absent while the thread runs.
pub(crate) fn stack_pointer(text: &[u8]) -> Option<Addr> {
    let text = std::str::from_utf8(text).ok()?;
    let mut fields = text.split_ascii_whitespace().rev();
    let _pc = fields.next()?;
    let sp = fields.next()?.strip_prefix("0x")?;
    u64::from_str_radix(sp, 16).ok().map(Addr)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that a sleeping thread's stack pointer is read, and that a running thread has none.
    #[test]
    fn stack_pointers_of_sleepers_only() {
        let text = b"0 0x3 0x1 0x2 0x0 0x0 0x0 0x7ffc0000 0x7f001234\n";
        assert_eq!(stack_pointer(text), Some(Addr(0x7ffc_0000)));
        assert_eq!(stack_pointer(b"-1 0x7ffc0000 0x7f001234\n"), Some(Addr(0x7ffc_0000)));
        assert_eq!(stack_pointer(b"running\n"), None);
        assert_eq!(stack_pointer(b""), None);
    }

    /// Checks that the device of a file reads as maps prints it.
    #[test]
    fn devices_are_split_as_maps_does() {
        assert_eq!(device(0xfe00), Dev { major: 0xfe, minor: 0 });
        assert_eq!(device(0x10301), Dev { major: 0x103, minor: 1 });
    }

    /// Checks that we find ourselves, still there, with our own name.
    #[test]
    fn we_are_a_process() {
        let me = ProcRoot::system().process(vmatlas_sys::self_pid()).unwrap();
        me.still_there().unwrap();
        assert!(!me.leader_has_ended());
        assert_eq!(me.status().unwrap().tgid, Some(me.pid()));
        assert!(me.exe().unwrap().file.is_some());
        assert!(me.threads().iter().any(|t| t.tid.0 == me.pid().0));
    }

    /// Checks that a PID that cannot exist is told as such.
    #[test]
    fn no_process_is_an_error_of_its_own() {
        let error = ProcRoot::system().process(Pid(i32::MAX)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoSuchProcess);
    }
}
