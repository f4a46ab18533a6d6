//! The maps and dumps that a process writes: where they are, and their bytes.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use thiserror::Error;
use vmatlas_event::{StartTime, TaskId};

/// Which format a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JitFile {
    /// A perf map: [`super::PerfMap::parse`].
    PerfMap,
    /// A jitdump: [`super::JitDump::parse`].
    JitDump,
}

/// A file that a process writes about its code, open.
#[derive(Debug)]
pub struct Found {
    /// Its format.
    pub kind: JitFile,
    /// Where it is, as the process names it.
    pub path: PathBuf,
    file: File,
    /// Where it was a dump that the process had mapped.
    inode: u64,
}

/// Why a file that is there was not taken.
#[derive(Debug, Error)]
pub enum NoFile {
    /// It belongs to neither the process's user nor root: anybody may write to /tmp.
    #[error("{} belongs to another user", .0.display())]
    Foreign(PathBuf),
    /// It is no regular file.
    #[error("{} is no regular file", .0.display())]
    Special(PathBuf),
    /// It cannot be read.
    #[error("{}: {}", .0.display(), .1)]
    Read(PathBuf, io::Error),
}

const O_PATH: i32 = 0o10_000_000;

fn folder(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(O_PATH | libc::O_DIRECTORY).open(path)
}

/// A process by its folder in /proc, which leads to no other process that gets its number later.
#[derive(Debug)]
pub struct Hold(File);

impl Hold {
    /// Opens the folder of a task's process, where the task is there: its start time must be the one that is known. Reads
    /// nothing but /proc, so that nobody has to be waited for.
    pub fn of(proc: &Path, task: TaskId) -> Option<Hold> {
        let hold = Hold(folder(&proc.join(task.pid.to_string())).ok()?);
        // It was the process's own folder that was opened if it still has the task afterwards.
        let stat = fs::read(hold.path().join(format!("task/{}/stat", task.tid))).ok()?;
        (task.started.is_some() && start_time(&stat) == task.started).then_some(hold)
    }

    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }
}

/// A process that may write about its code. Its folders are held open, so that the files are found after its end too.
#[derive(Debug)]
pub struct Maker {
    root: File,
    cwd: Option<File>,
    /// The number that the process has in its innermost PID namespace.
    number: u32,
    uid: u32,
}

impl Maker {
    /// Opens what is needed of a process; `None` where it is gone or may not be looked at. May wait, as all that follows, for a
    /// file system that does not answer.
    pub fn of(hold: &Hold) -> Option<Maker> {
        let process = hold.path();
        let (number, uid) = identity(&fs::read(process.join("status")).ok()?)?;
        let root = folder(&process.join("root")).ok()?;
        Some(Maker { root, cwd: folder(&process.join("cwd")).ok(), number, uid })
    }

    /// The files where runtimes write them unasked: `/tmp/perf-PID.map` and `/tmp/jit-PID.dump` of its own mount namespace,
    /// `jit-PID.dump` in its working folder. What is not there is no error.
    pub fn find(&self) -> Vec<Result<Found, NoFile>> {
        let (map, dump) = (format!("perf-{}.map", self.number), format!("jit-{}.dump", self.number));
        let places = [
            (JitFile::PerfMap, Some(&self.root), Path::new("tmp").join(map)),
            (JitFile::JitDump, Some(&self.root), Path::new("tmp").join(&dump)),
            (JitFile::JitDump, self.cwd.as_ref(), PathBuf::from(dump)),
        ];
        let open = |(kind, below, path): (JitFile, Option<&File>, PathBuf)| {
            self.open(kind, below?, &path).transpose()
        };
        places.into_iter().filter_map(open).collect()
    }

    /// The dump that a row of its map names: a runtime maps a page of its dump executable, so that it is known where that
    /// is. `None` where the row names none.
    ///
    /// # Errors
    /// As [`Maker::find`] has them.
    pub fn mapped(&self, path: &[u8], inode: u64) -> Result<Option<Found>, NoFile> {
        if !self.names_dump(path) {
            return Ok(None);
        }
        let path = Path::new(std::ffi::OsStr::from_bytes(path));
        let found = self.open(JitFile::JitDump, &self.root, path)?;
        // Another file stands there by now.
        Ok(found.filter(|found| found.inode == inode))
    }

    /// Whether a file has the name of a dump of this process.
    pub fn names_dump(&self, path: &[u8]) -> bool {
        let name = path.rsplit(|b| *b == b'/').next().unwrap_or_default();
        name == format!("jit-{}.dump", self.number).as_bytes()
    }

    fn open(&self, kind: JitFile, below: &File, path: &Path) -> Result<Option<Found>, NoFile> {
        let failed = |e| NoFile::Read(path.to_owned(), e);
        // A link could lead to any file that we may read and the program may not.
        let place = match vmatlas_sys::find_in_root(below.as_fd(), path) {
            Err(errno) if errno.0 == libc::ENOENT => return Ok(None),
            Err(errno) => return Err(failed(io::Error::from_raw_os_error(errno.0))),
            Ok(place) => place,
        };
        let facts = place.metadata().map_err(failed)?;
        if !facts.is_file() {
            return Err(NoFile::Special(path.to_owned()));
        }
        // Root's are taken where all may read them: we may read more than the program may, and the program decides what
        // stands at its paths (a bind mount in a namespace of its own).
        let is_roots = facts.uid() == 0 && facts.mode() & 0o004 != 0;
        if facts.uid() != self.uid && !is_roots {
            return Err(NoFile::Foreign(path.to_owned()));
        }
        let mut again = OpenOptions::new();
        again.read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
        let file = again.open(format!("/proc/self/fd/{}", place.as_raw_fd())).map_err(failed)?;
        Ok(Some(Found { kind, path: path.to_owned(), file, inode: facts.ino() }))
    }
}

/// Which state of a file: one that was written since has another.
pub type FileState = (u64, Option<SystemTime>);

impl Found {
    /// Which file it is.
    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// The file as it is now: size and time of the last write.
    ///
    /// # Errors
    /// What fstat(2) says.
    pub fn state(&self) -> Result<FileState, NoFile> {
        let facts = self.file.metadata().map_err(|e| NoFile::Read(self.path.clone(), e))?;
        Ok((Metadata::len(&facts), facts.modified().ok()))
    }

    /// Its bytes from a place on, at most `most`.
    ///
    /// # Errors
    /// What pread(2) says.
    pub fn read(&self, from: u64, most: u64) -> Result<Vec<u8>, NoFile> {
        const PIECE: usize = 1 << 16;
        let failed = |e| NoFile::Read(self.path.clone(), e);
        let mut bytes = Vec::new();
        loop {
            let have = bytes.len();
            let want = usize::try_from(most).unwrap_or(usize::MAX).saturating_sub(have).min(PIECE);
            bytes.resize(have + want, 0);
            let room = bytes.get_mut(have..).unwrap_or_default();
            let read = self.file.read_at(room, from.saturating_add(have as u64)).map_err(failed)?;
            bytes.truncate(have + read);
            if read == 0 {
                return Ok(bytes);
            }
        }
    }
}

/// Field 22 of a task's stat (proc_pid_stat(5)); its name, field 2, may have parentheses in it.
fn start_time(stat: &[u8]) -> Option<StartTime> {
    let after = stat.iter().rposition(|b| *b == b')')? + 1;
    let rest = std::str::from_utf8(stat.get(after..)?).ok()?;
    Some(StartTime(rest.split_whitespace().nth(19)?.parse().ok()?))
}

/// The innermost number of NSpid and the effective user of Uid (proc_pid_status(5)).
fn identity(status: &[u8]) -> Option<(u32, u32)> {
    let line = |key: &str| -> Option<&str> {
        let lines = status.split(|b| *b == b'\n');
        lines.filter_map(|line| std::str::from_utf8(line).ok()).find_map(|line| line.strip_prefix(key))
    };
    let number = line("NSpid:").or_else(|| line("Pid:"))?.split_whitespace().next_back()?;
    let uid = line("Uid:")?.split_whitespace().nth(1)?;
    Some((number.parse().ok()?, uid.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use vmatlas_event::{Pid, Tid};

    const TASK: TaskId = TaskId { pid: Pid(7), tid: Tid(9), started: Some(StartTime(555)) };

    /// A made-up process with a root, a working folder and a thread.
    fn process(uid: u32) -> (tempfile::TempDir, PathBuf) {
        let proc = tempfile::tempdir().unwrap();
        let process = proc.path().join("7");
        fs::create_dir_all(process.join("root/tmp")).unwrap();
        fs::create_dir_all(process.join("cwd")).unwrap();
        fs::create_dir_all(process.join("task/9")).unwrap();
        let fields = ["0"; 18].join(" ");
        fs::write(process.join("task/9/stat"), format!("9 (a) b) S {fields} 555 1 2\n")).unwrap();
        let status = format!("Name:\tx\nPid:\t7\nNSpid:\t7\t3\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n");
        fs::write(process.join("status"), status).unwrap();
        (proc, process)
    }

    fn maker(proc: &Path) -> Maker {
        Maker::of(&Hold::of(proc, TASK).unwrap()).unwrap()
    }

    fn found(proc: &Path) -> Vec<Result<Found, NoFile>> {
        maker(proc).find()
    }

    /// Checks that a process which got the number of another one is not taken for it, and that one whose start is not known, or
    /// that is gone, is none.
    #[test]
    fn a_number_used_again_is_another_process() {
        let (proc, process) = process(vmatlas_sys::effective_uid());
        let hold = Hold::of(proc.path(), TASK).unwrap();
        for started in [Some(StartTime(556)), None] {
            assert!(Hold::of(proc.path(), TaskId { started, ..TASK }).is_none(), "{started:?}");
        }
        assert!(Hold::of(proc.path(), TaskId { pid: Pid(8), ..TASK }).is_none());
        assert!(Hold::of(proc.path(), TaskId { tid: Tid(7), ..TASK }).is_none());
        // What is held is the one that was there.
        fs::rename(&process, proc.path().join("gone")).unwrap();
        fs::create_dir(&process).unwrap();
        assert!(Maker::of(&hold).is_some());
    }

    /// Checks that the folder of a real process leads nowhere when that has ended.
    #[test]
    fn a_process_that_ended_leads_nowhere() {
        let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let pid = Pid(child.id() as i32);
        let stat = fs::read(format!("/proc/{pid}/stat")).unwrap();
        let task = TaskId { pid, tid: Tid(pid.0), started: start_time(&stat) };
        let hold = Hold::of(Path::new("/proc"), task).unwrap();
        assert!(Maker::of(&hold).is_some());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(Maker::of(&hold).is_none() && Hold::of(Path::new("/proc"), task).is_none());
    }

    /// Checks that a FIFO is refused without being opened: its writer goes on waiting for a reader.
    #[test]
    fn a_fifo_is_not_opened() {
        let (proc, process) = process(vmatlas_sys::effective_uid());
        let fifo = process.join("root/tmp/perf-3.map");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let (say, opened) = std::sync::mpsc::channel();
        let path = fifo.clone();
        let writer = std::thread::spawn(move || {
            let pipe = OpenOptions::new().write(true).open(path);
            say.send(()).unwrap();
            drop(pipe);
        });
        for _ in 0..100 {
            assert!(matches!(&found(proc.path())[..], [Err(NoFile::Special(_))]));
            assert!(opened.try_recv().is_err());
        }
        // Without waiting for it (fifo(7)): whoever was let in above has left already.
        let reader = OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
        writer.join().unwrap();
        drop(reader);
    }

    /// Checks that files are found by the innermost PID, read from any place up to a limit, and have a state.
    #[test]
    fn files_are_found_by_the_innermost_pid() {
        let (proc, process) = process(vmatlas_sys::effective_uid());
        fs::write(process.join("root/tmp/perf-7.map"), b"another namespace's").unwrap();
        fs::write(process.join("root/tmp/perf-3.map"), b"1 1 f\n").unwrap();
        fs::write(process.join("cwd/jit-3.dump"), b"12345678").unwrap();
        let maker = maker(proc.path());
        let found: Vec<Found> = maker.find().into_iter().map(Result::unwrap).collect();
        let told: Vec<_> = found.iter().map(|f| (f.kind, f.read(0, 6).unwrap())).collect();
        assert_eq!(told, [(JitFile::PerfMap, b"1 1 f\n".to_vec()), (JitFile::JitDump, b"123456".to_vec())]);
        assert_eq!(found[1].read(5, 100).unwrap(), b"678");
        assert_eq!(found[1].read(9, 100).unwrap(), b"");
        let before = found[1].state().unwrap();
        fs::write(process.join("cwd/jit-3.dump"), b"1").unwrap();
        assert_ne!(found[1].state().unwrap(), before);
    }

    /// Checks that links, folders and the files of others are refused, and that a link of the process stays in its root.
    #[test]
    fn what_others_planted_is_refused() {
        let (proc, process) = process(vmatlas_sys::effective_uid());
        symlink("/etc/passwd", process.join("root/tmp/perf-3.map")).unwrap();
        fs::create_dir(process.join("cwd/jit-3.dump")).unwrap();
        let told = found(proc.path());
        assert!(matches!(&told[..], [Err(NoFile::Special(_)), Err(NoFile::Special(_))]), "{told:?}");

        let (proc, process) = self::process(vmatlas_sys::effective_uid());
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("perf-3.map"), b"1 1 f\n").unwrap();
        fs::remove_dir(process.join("root/tmp")).unwrap();
        symlink(outside.path(), process.join("root/tmp")).unwrap();
        assert!(found(proc.path()).iter().all(Result::is_err));

        // Ours, and we are not root: the process's user is neither.
        let (proc, process) = self::process(12_345_678);
        fs::write(process.join("root/tmp/perf-3.map"), b"1 1 f\n").unwrap();
        let told = found(proc.path());
        let is_root = vmatlas_sys::effective_uid() == 0;
        assert!(matches!((&told[..], is_root), ([Err(NoFile::Foreign(_))], false) | ([Ok(_)], true)));
    }

    /// Checks that a mapped dump is taken by its name and inode alone.
    #[test]
    fn a_mapped_dump_is_the_one_that_is_mapped() {
        let (proc, process) = process(vmatlas_sys::effective_uid());
        fs::create_dir(process.join("root/d")).unwrap();
        fs::write(process.join("root/d/jit-3.dump"), b"dump").unwrap();
        let inode = fs::metadata(process.join("root/d/jit-3.dump")).unwrap().ino();
        let maker = maker(proc.path());
        let kind = |path: &[u8], inode| maker.mapped(path, inode).unwrap().map(|found| found.kind);
        assert_eq!(kind(b"/d/jit-3.dump", inode), Some(JitFile::JitDump));
        assert_eq!(kind(b"/d/jit-3.dump", inode + 1), None);
        assert_eq!(kind(b"/d/jit-7.dump", inode), None);
        assert_eq!(kind(b"/usr/lib/libc.so.6", inode), None);
        assert_eq!(kind(b"/gone/jit-3.dump", inode), None);
    }
}
