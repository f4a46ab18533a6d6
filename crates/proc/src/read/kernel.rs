//! The [`Kernel`] of a tracer: answers about stopped tasks, from PROCMAP_QUERY where it is there, else from maps.

use crate::read::error::libc_numbers::{EIO, EMFILE, ENAMETOOLONG, ENFILE, ENOENT, ENOTTY, ESRCH};
use crate::read::error::{ErrorKind, ProcError};
use crate::read::root::ProcRoot;
use crate::read::snapshot::{Maps, MapsReader};
use crate::{parse::stat, parse::status};
use rustc_hash::FxHashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use vmatlas_event::{AddrRange, Errno, Kernel, KernelError, Name, Pid, StartTime, TaskId, Tid, VmaRow};
use vmatlas_sys::{QueryMode, procmap_query};

/// Answers from /proc, with one open maps file for each task that was asked about.
#[derive(Debug)]
pub struct ProcKernel {
    root: ProcRoot,
    open: FxHashMap<Tid, File>,
    reader: MapsReader,
    /// Whether PROCMAP_QUERY was refused once: then it is not tried again.
    no_query: bool,
}

impl ProcKernel {
    /// Over this /proc.
    pub fn new(root: ProcRoot) -> ProcKernel {
        let no_query = !root.may_query();
        ProcKernel { root, open: FxHashMap::default(), reader: MapsReader::new(), no_query }
    }

    fn task_file(&self, tid: Tid, name: &str) -> PathBuf {
        self.root.path().join(tid.to_string()).join(name)
    }

    /// Opens a file of a task; where we have no descriptor left, those that only save time go first.
    fn open_file(&mut self, path: &Path) -> io::Result<File> {
        match File::open(path) {
            Err(e) if matches!(e.raw_os_error(), Some(EMFILE | ENFILE)) && !self.open.is_empty() => {
                self.open.clear();
                File::open(path)
            }
            answer => answer,
        }
    }

    fn read_file(&mut self, tid: Tid, name: &str) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open_file(&self.task_file(tid, name)).ok()?.read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    fn maps_file(&mut self, tid: Tid) -> Result<&File, Errno> {
        // Each open file is a descriptor of ours; a traced tree may have more tasks than we may have files.
        const MOST_OPEN: usize = 256;
        if !self.open.contains_key(&tid) {
            if self.open.len() >= MOST_OPEN {
                self.open.clear();
            }
            let file = self.open_file(&self.task_file(tid, "maps"));
            let file = file.map_err(|e| Errno(e.raw_os_error().unwrap_or(EIO)))?;
            self.open.insert(tid, file);
        }
        self.open.get(&tid).ok_or(Errno(ESRCH))
    }

    fn query(&mut self, tid: Tid, range: AddrRange) -> Result<Vec<VmaRow>, Errno> {
        let maps = self.maps_file(tid)?;
        let mut rows = Vec::new();
        let mut at = range.start();
        while at < range.end() {
            let Some(answer) = procmap_query(maps.as_fd(), at, QueryMode::CoveringOrNext)? else { break };
            let mut row = answer.row;
            if row.range.start() >= range.end() || row.range.end() <= at {
                break;
            }
            at = row.range.end();
            row.name = row.name.map(as_in_maps);
            rows.push(row);
        }
        Ok(rows)
    }
}

/// PROCMAP_QUERY gives names raw, maps writes a newline as `\012`; one map must not have both.
fn as_in_maps(name: Name) -> Name {
    if !name.as_bytes().contains(&b'\n') {
        return name;
    }
    let mut bytes = Vec::with_capacity(name.as_bytes().len() + 3);
    for byte in name.as_bytes() {
        match byte {
            b'\n' => bytes.extend_from_slice(b"\\012"),
            byte => bytes.push(*byte),
        }
    }
    Name::new(&bytes)
}

fn error_of(error: &ProcError) -> KernelError {
    KernelError::from(error)
}

impl Kernel for ProcKernel {
    fn vmas_in(&mut self, task: TaskId, range: AddrRange) -> Result<Vec<VmaRow>, KernelError> {
        if !self.no_query {
            match self.query(task.tid, range) {
                Ok(rows) => return Ok(rows),
                Err(Errno(ENOTTY)) => self.no_query = true,
                // A path longer than PATH_MAX: its line in maps has it.
                Err(Errno(ENAMETOOLONG)) => {}
                // The open file belongs to an address space that is gone (exec): a new one may answer.
                Err(Errno(ESRCH | ENOENT)) => {
                    self.open.remove(&task.tid);
                }
                Err(errno) => return Err(KernelError::Other(errno)),
            }
        }
        let mut rows = self.all_vmas(task)?;
        rows.retain(|row| row.range.intersects(range));
        Ok(rows)
    }

    fn reads_ranges(&self) -> bool {
        !self.no_query
    }

    fn all_vmas(&mut self, task: TaskId) -> Result<Vec<VmaRow>, KernelError> {
        let path = self.task_file(task.tid, "maps");
        let pid = Pid(task.tid.0);
        let mut maps = Maps::default();
        let answer = self
            .open_file(&path)
            .map_err(|e| ProcError::io(pid, &path, e))
            .and_then(|file| self.reader.read_file(pid, &path, file, &mut maps))
            .and_then(|()| match maps.rows.is_empty() {
                true => Err(ProcError::new(ErrorKind::Gone, pid)),
                false => Ok(()),
            });
        answer.map(|()| maps.rows).map_err(|e| error_of(&e))
    }

    fn start_time(&mut self, tid: Tid) -> Option<StartTime> {
        let text = self.read_file(tid, "stat")?;
        stat::parse(&text).ok().map(|s| s.started)
    }

    fn runs_program(&mut self, tid: Tid) -> bool {
        // Where there is nothing to be read it is gone.
        let text = self.read_file(tid, "stat").unwrap_or_default();
        stat::parse(&text).is_ok_and(|stat| !stat.is_kernel_thread() && !stat.is_ending())
    }

    fn process_of(&mut self, tid: Tid) -> Option<Pid> {
        let text = self.read_file(tid, "status")?;
        status::parse(&text).tgid
    }

    fn threads(&mut self, pid: Pid) -> Result<Vec<Tid>, KernelError> {
        let path = self.task_file(Tid(pid.0), "task");
        let entries = fs::read_dir(&path).map_err(|e| error_of(&ProcError::io(pid, &path, e)))?;
        let tid = |entry: io::Result<fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok().map(Tid);
        Ok(entries.filter_map(tid).collect())
    }

    fn children(&mut self, pid: Pid) -> Vec<Pid> {
        let mut children = Vec::new();
        for tid in self.threads(pid).unwrap_or_default() {
            // proc_tid_children(5): exact only while the process stands still, which a tracer sees to.
            let name = format!("task/{tid}/children");
            let text = self.read_file(Tid(pid.0), &name).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            children.extend(text.split_ascii_whitespace().filter_map(|word| word.parse().ok()).map(Pid));
        }
        children
    }

    fn faults_of(&mut self, task: TaskId) -> Option<u64> {
        // Below `task`: the file of the same name elsewhere sums up a whole process.
        let text = self.read_file(Tid(task.pid.0), &format!("task/{}/stat", task.tid))?;
        let stat = stat::parse(&text).ok()?;
        Some(stat.minor_faults.saturating_add(stat.major_faults))
    }

    fn forget(&mut self, task: TaskId) {
        self.open.remove(&task.tid);
    }
}
