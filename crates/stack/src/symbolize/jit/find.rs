//! Copies the maps and dumps of a running process.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use thiserror::Error;
use vmatlas_event::Pid;

/// Which format a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JitFile {
    /// A perf map: [`super::PerfMap::parse`].
    PerfMap,
    /// A jitdump: [`super::JitDump::parse`].
    JitDump,
}

/// A file that a process wrote about its code.
#[derive(Debug)]
pub struct Found {
    /// Its format.
    pub kind: JitFile,
    /// Where it is, seen from here.
    pub path: PathBuf,
    /// Its bytes, at most as many as were asked for.
    pub bytes: Vec<u8>,
    /// Whether it has more.
    pub is_cut: bool,
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

/// Copies what a process wrote about its code, at most `most` bytes of each file: `/tmp/perf-PID.map` and
/// `/tmp/jit-PID.dump` of its own mount namespace, `jit-PID.dump` in its working folder. PID is the number that the process
/// has in its innermost PID namespace. What is not there is no error.
pub fn find(proc: &Path, pid: Pid, most: u64) -> Vec<Result<Found, NoFile>> {
    let process = proc.join(pid.to_string());
    let Some((number, uid)) = fs::read(process.join("status")).ok().and_then(|text| identity(&text)) else {
        return Vec::new();
    };
    let tmp = process.join("root/tmp");
    let places = [
        (JitFile::PerfMap, tmp.join(format!("perf-{number}.map"))),
        (JitFile::JitDump, tmp.join(format!("jit-{number}.dump"))),
        (JitFile::JitDump, process.join("cwd").join(format!("jit-{number}.dump"))),
    ];
    places.into_iter().filter_map(|(kind, path)| copy(kind, path, uid, most).transpose()).collect()
}

fn copy(kind: JitFile, path: PathBuf, uid: u32, most: u64) -> Result<Option<Found>, NoFile> {
    // A link could lead to any file that we may read and the program may not.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(NoFile::Read(path, e)),
        Ok(file) => file,
    };
    match read(&file, uid, most) {
        Err(e) => Err(NoFile::Read(path, e)),
        Ok(Err(refuse)) => Err(refuse(path)),
        Ok(Ok((bytes, is_cut))) => Ok(Some(Found { kind, path, bytes, is_cut })),
    }
}

type Copied = Result<(Vec<u8>, bool), fn(PathBuf) -> NoFile>;

fn read(file: &File, uid: u32, most: u64) -> io::Result<Copied> {
    let facts = file.metadata()?;
    if !facts.is_file() {
        return Ok(Err(NoFile::Special));
    }
    if facts.uid() != uid && facts.uid() != 0 {
        return Ok(Err(NoFile::Foreign));
    }
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    let is_cut = bytes.len() as u64 > most;
    bytes.truncate(usize::try_from(most).unwrap_or(usize::MAX));
    Ok(Ok((bytes, is_cut)))
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

    /// A made-up process with a root and a working folder.
    fn process(uid: u32) -> (tempfile::TempDir, PathBuf) {
        let proc = tempfile::tempdir().unwrap();
        let process = proc.path().join("7");
        fs::create_dir_all(process.join("root/tmp")).unwrap();
        fs::create_dir_all(process.join("cwd")).unwrap();
        let status = format!("Name:\tx\nPid:\t7\nNSpid:\t7\t3\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n");
        fs::write(process.join("status"), status).unwrap();
        (proc, process)
    }

    /// Checks that files are found by the innermost PID, and cut at the limit.
    #[test]
    fn files_are_found_by_the_innermost_pid() {
        let (proc, process) = process(vmatlas_sys::effective_uid());
        fs::write(process.join("root/tmp/perf-7.map"), b"another namespace's").unwrap();
        fs::write(process.join("root/tmp/perf-3.map"), b"1 1 f\n").unwrap();
        fs::write(process.join("cwd/jit-3.dump"), b"12345678").unwrap();
        let found = find(proc.path(), Pid(7), 6);
        let told: Vec<_> = found.iter().flatten().map(|f| (f.kind, f.bytes.as_slice(), f.is_cut)).collect();
        assert_eq!(
            told,
            [(JitFile::PerfMap, &b"1 1 f\n"[..], false), (JitFile::JitDump, &b"123456"[..], true)]
        );
        assert!(find(proc.path(), Pid(8), 6).is_empty());
    }

    /// Checks that links, folders and the files of others are refused.
    #[test]
    fn what_others_planted_is_refused() {
        let (proc, process) = process(vmatlas_sys::effective_uid());
        symlink("/etc/passwd", process.join("root/tmp/perf-3.map")).unwrap();
        fs::create_dir(process.join("cwd/jit-3.dump")).unwrap();
        let found = find(proc.path(), Pid(7), 100);
        assert!(matches!(&found[..], [Err(NoFile::Read(..)), Err(NoFile::Special(_))]), "{found:?}");

        // Ours, and we are not root: the process's user is neither.
        let (proc, process) = self::process(12_345_678);
        fs::write(process.join("root/tmp/perf-3.map"), b"1 1 f\n").unwrap();
        let found = find(proc.path(), Pid(7), 100);
        let is_root = vmatlas_sys::effective_uid() == 0;
        assert!(matches!((&found[..], is_root), ([Err(NoFile::Foreign(_))], false) | ([Ok(_)], true)));
    }
}
