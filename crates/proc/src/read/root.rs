//! Where /proc is, and which processes it lists.

use crate::parse::{decimal, stat};
use crate::read::error::{ErrorKind, ProcError};
use crate::read::process::Process;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use vmatlas_event::Pid;

/// A /proc, the system's own or a copy of one for tests.
#[derive(Clone, Debug)]
pub struct ProcRoot {
    path: PathBuf,
    live: bool,
    /// Whether PROCMAP_QUERY is not to be used.
    no_query: bool,
}

/// A process that a name could mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its PID.
    pub pid: Pid,
    /// Its name (comm): at most 15 bytes of any kind.
    pub comm: Vec<u8>,
}

impl ProcRoot {
    /// The system's own.
    pub fn system() -> ProcRoot {
        ProcRoot { path: PathBuf::from("/proc"), live: true, no_query: false }
    }

    /// Another folder laid out like /proc; processes in it cannot be signalled, asked or scanned.
    pub fn at(path: impl Into<PathBuf>) -> ProcRoot {
        ProcRoot { path: path.into(), live: false, no_query: true }
    }

    /// The same without PROCMAP_QUERY, as on kernels before 6.11: what it answers is then found otherwise.
    #[must_use]
    pub fn without_query(self) -> ProcRoot {
        ProcRoot { no_query: true, ..self }
    }

    /// Whether PROCMAP_QUERY may be tried.
    pub fn may_query(&self) -> bool {
        !self.no_query
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the processes in it are alive and can be asked by system calls.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// Whether the numbers in it are those that system calls take: a /proc of another PID namespace has others.
    pub fn has_our_numbers(&self) -> bool {
        let me = vmatlas_sys::self_pid().to_string();
        fs::read_link(self.path.join("self")).is_ok_and(|link| link.as_os_str() == me.as_str())
    }

    /// Opens a process.
    ///
    /// # Errors
    /// [`ErrorKind::NoSuchProcess`]; its map may still be unreadable for other reasons.
    pub fn process(&self, pid: Pid) -> Result<Process, ProcError> {
        Process::open(self.clone(), pid)
    }

    /// The numbers of all processes, ascending.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn pids(&self) -> io::Result<Vec<Pid>> {
        let mut pids: Vec<Pid> = fs::read_dir(&self.path)?
            .filter_map(|entry| pid_of(entry.ok()?.file_name().as_encoded_bytes()))
            .collect();
        pids.sort_unstable();
        Ok(pids)
    }

    /// The parent of a process; `None` when there is no such process any more.
    pub fn parent_of(&self, pid: Pid) -> Option<Pid> {
        let text = fs::read(self.path.join(pid.to_string()).join("stat")).ok()?;
        stat::parse(&text).ok().map(|stat| stat.ppid)
    }

    /// The processes of this name, ours excepted: by comm (cut to 15 bytes by the kernel), or by the file name of the
    /// program they run.
    ///
    /// # Errors
    /// When the folder cannot be listed; processes that end meanwhile are passed over.
    pub fn find_by_name(&self, name: &[u8]) -> io::Result<Vec<Candidate>> {
        const COMM_MAX: usize = 15;
        let cut = &name[..name.len().min(COMM_MAX)];
        let mut found = Vec::new();
        for pid in self.pids()? {
            if self.live && pid == vmatlas_sys::self_pid() {
                continue;
            }
            let dir = self.path.join(pid.to_string());
            let Ok(text) = fs::read(dir.join("stat")) else { continue };
            let Ok(stat) = stat::parse(&text) else { continue };
            // A long name is cut in comm; the link to the program then tells whether it is really this one.
            let exe = || fs::read_link(dir.join("exe")).ok();
            let exe_is = |path: PathBuf| path.file_name().is_some_and(|f| f.as_encoded_bytes() == name);
            let by_comm = stat.comm == cut && (name.len() <= COMM_MAX || exe().is_some_and(exe_is));
            if by_comm || exe().is_some_and(exe_is) {
                found.push(Candidate { pid, comm: stat.comm });
            }
        }
        Ok(found)
    }

    /// How many VMAs a process may have (vm.max_map_count); `None` when it cannot be read.
    pub fn max_map_count(&self) -> Option<u64> {
        self.sysctl_number("vm/max_map_count")
    }

    /// A numeric setting below sys/ (sysctl(8)); `None` when it cannot be read.
    pub fn sysctl_number(&self, name: &str) -> Option<u64> {
        let text = fs::read(self.path.join("sys").join(name)).ok()?;
        decimal(text.trim_ascii())
    }

    /// Whether nothing at all is in swap, and no shared object therefore; `false` where it cannot be read.
    pub fn swap_is_empty(&self) -> bool {
        let Ok(text) = fs::read(self.path.join("meminfo")) else { return false };
        let of = |key: &[u8]| {
            let line = text.split(|b| *b == b'\n').find_map(|line| line.strip_prefix(key))?;
            decimal(line.trim_ascii().strip_suffix(b" kB")?)
        };
        matches!((of(b"SwapTotal:"), of(b"SwapFree:")), (Some(total), Some(free)) if total == free)
    }

    pub(crate) fn no_such(&self, pid: Pid) -> ProcError {
        ProcError::new(ErrorKind::NoSuchProcess, pid)
    }
}

fn pid_of(name: &[u8]) -> Option<Pid> {
    i32::try_from(decimal(name)?).ok().filter(|n| *n > 0).map(Pid)
}
