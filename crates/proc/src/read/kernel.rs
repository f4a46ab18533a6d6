//! The [`Kernel`] of a tracer: answers about stopped tasks, from PROCMAP_QUERY where it is there, else from maps.

use crate::read::error::libc_numbers::{ENAMETOOLONG, ENOENT, ENOTTY, ESRCH};
use crate::read::error::{ErrorKind, ProcError};
use crate::read::root::ProcRoot;
use crate::read::snapshot::{Maps, MapsReader};
use crate::{parse::stat, parse::status};
use rustc_hash::FxHashMap;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::PathBuf;
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
        ProcKernel { root, open: FxHashMap::default(), reader: MapsReader::new(), no_query: false }
    }

    fn task_file(&self, tid: Tid, name: &str) -> PathBuf {
        self.root.path().join(tid.to_string()).join(name)
    }

    fn maps_file(&mut self, tid: Tid) -> Result<&File, KernelError> {
        // Each open file is a descriptor of ours; a traced tree may have more tasks than we may have files.
        const MOST_OPEN: usize = 256;
        if self.open.len() >= MOST_OPEN && !self.open.contains_key(&tid) {
            self.open.clear();
        }
        let root = self.root.path();
        match self.open.entry(tid) {
            std::collections::hash_map::Entry::Occupied(slot) => Ok(slot.into_mut()),
            std::collections::hash_map::Entry::Vacant(slot) => {
                let path = root.join(tid.to_string()).join("maps");
                let file = File::open(&path).map_err(|e| error_of(&ProcError::io(Pid(tid.0), &path, e)))?;
                Ok(slot.insert(file))
            }
        }
    }

    fn query(&mut self, tid: Tid, range: AddrRange) -> Result<Vec<VmaRow>, Errno> {
        let Ok(maps) = self.maps_file(tid) else { return Err(Errno(ESRCH)) };
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

    fn all_vmas(&mut self, task: TaskId) -> Result<Vec<VmaRow>, KernelError> {
        let path = self.task_file(task.tid, "maps");
        let pid = Pid(task.tid.0);
        let mut maps = Maps::default();
        let answer = File::open(&path)
            .map_err(|e| ProcError::io(pid, &path, e))
            .and_then(|file| self.reader.read_file(pid, &path, file, &mut maps))
            .and_then(|()| match maps.rows.is_empty() {
                true => Err(ProcError::new(ErrorKind::Gone, pid)),
                false => Ok(()),
            });
        answer.map(|()| maps.rows).map_err(|e| error_of(&e))
    }

    fn start_time(&mut self, tid: Tid) -> Option<StartTime> {
        let text = fs::read(self.task_file(tid, "stat")).ok()?;
        stat::parse(&text).ok().map(|s| s.started)
    }

    fn process_of(&mut self, tid: Tid) -> Option<Pid> {
        let text = fs::read(self.task_file(tid, "status")).ok()?;
        status::parse(&text).tgid
    }

    fn parent_of(&mut self, tid: Tid) -> Option<Pid> {
        let text = fs::read(self.task_file(tid, "stat")).ok()?;
        stat::parse(&text).ok().map(|s| s.ppid)
    }

    fn forget(&mut self, task: TaskId) {
        self.open.remove(&task.tid);
    }
}
