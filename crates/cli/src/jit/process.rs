//! Names of code made at run time, out of what its makers write about it: perf maps and jitdump.
//!
//! The files are those of the process that the code was met in, found by a hold on its folders that outlives it. They are
//! read when nobody waits: at the end, or for lines of `run --stacks` as they are printed. A frame is an address; where
//! two processes, or one at two times, had other functions there, it has no name.

use crate::complain;
use crate::context::Context;
use crate::texts;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt::Display;
use std::path::{Path, PathBuf};
use vmatlas_event::{Addr, Frame, FrameId, MmId, Pid, Place, Prot, Symbol};
use vmatlas_model::AddressSpace;
use vmatlas_stack::symbolize::jit::{FileState, Found, JitDump, JitFile, Maker, NoFile, PerfMap};
use vmatlas_stack::{Sighting, Walker};

/// So many bytes of a file are read.
const MOST: u64 = 64 << 20;
/// So many bytes of a dump are read again and again for lines that are printed.
const MOST_LIVE: u64 = 8 << 20;
/// So many processes that ended may wait for their names.
const WAITING: usize = 32;
/// So many processes are told apart at a time: each holds two folders open.
const PROCESSES: usize = 256;
/// So many files of a process are held: what runtimes write unasked, and a dump elsewhere.
const FILES: usize = 4;
/// So many mapped files of a process with the name of a dump are tried: a program can map a thousand.
const TRIED: usize = 8;
/// So many things that are wrong with files are told.
const PROBLEMS: usize = 64;

/// What is known of code made at run time.
#[derive(Default)]
pub(crate) struct Jits {
    processes: HashMap<MmId, Process>,
    ended: VecDeque<(Process, Vec<(Frame, Sighting)>)>,
    /// The functions of frames. `None`: no name, or not one alone.
    names: BTreeMap<FrameId, Option<Symbol>>,
    problems: BTreeSet<Problem>,
}

/// Why a file names nothing, or not all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Problem {
    Foreign(PathBuf),
    Special(PathBuf),
    Unreadable(PathBuf, String),
    Cut(PathBuf),
    Changed(PathBuf),
}

impl From<NoFile> for Problem {
    fn from(no: NoFile) -> Problem {
        match no {
            NoFile::Foreign(path) => Problem::Foreign(path),
            NoFile::Special(path) => Problem::Special(path),
            NoFile::Read(path, why) => Problem::Unreadable(path, why.to_string()),
        }
    }
}

/// A process, and the files that it writes.
struct Process {
    maker: Maker,
    sources: Vec<Source>,
    /// The mapped files that were tried, by inode.
    tried: BTreeSet<u64>,
}

struct Source {
    found: Found,
    /// What the file was when its process ended.
    state: Option<FileState>,
    parsed: Parsed,
}

enum Parsed {
    Map(PerfMap),
    Dump { dump: Option<JitDump>, bytes: u64 },
}

impl Jits {
    /// Code of no module was met for the first time in a process that stands still.
    pub(crate) fn met(&mut self, mm: MmId, pid: Pid, space: &AddressSpace) {
        if !self.processes.contains_key(&mm) {
            let maker = Maker::of(Path::new("/proc"), pid).filter(|_| self.processes.len() < PROCESSES);
            let Some(maker) = maker else { return };
            self.processes.insert(mm, Process { maker, sources: Vec::new(), tried: BTreeSet::new() });
        }
        let Some(process) = self.processes.get_mut(&mm) else { return };
        // Its marker may be gone before the process is.
        let marked = space.vmas().filter(|row| row.prot.has(Prot::EXEC) && row.has_file());
        for row in marked {
            if process.has_dump() || process.tried.len() >= TRIED {
                break;
            }
            if process.maker.names_dump(row.name_bytes()) && process.tried.insert(row.inode) {
                let found = process.maker.mapped(row.name_bytes(), row.inode);
                let problems = process.take(found.transpose().into_iter());
                self.problems.extend(problems.into_iter().take(PROBLEMS.saturating_sub(self.problems.len())));
            }
        }
    }

    /// The function at an address of a living process, as its files have it now.
    pub(crate) fn live(&mut self, mm: MmId, frame: Frame) -> Option<Symbol> {
        let process = self.processes.get_mut(&mm)?;
        if process.sources.is_empty() {
            process.look();
        }
        for source in &mut process.sources {
            // What is wrong with a file is told at the end.
            let _ = source.read(MOST_LIVE);
        }
        process.name(frame, None)
    }

    /// A process leaves its address space: what it wrote is held, and read later, unless it `goes_on` with another
    /// program, which may write over it.
    pub(crate) fn ended(&mut self, mm: MmId, walker: &mut Walker, goes_on: bool) {
        let sightings = sightings(walker, mm);
        let Some(mut process) = self.processes.remove(&mm).filter(|_| !sightings.is_empty()) else {
            self.name_all(None, &sightings);
            return;
        };
        self.problems.extend(process.look());
        process.sources.iter_mut().for_each(|source| source.state = source.found.state().ok());
        if process.sources.is_empty() {
            self.name_all(None, &sightings);
            return;
        }
        self.ended.push_back((process, sightings));
        while self.ended.len() > if goes_on { 0 } else { WAITING } {
            let Some((process, sightings)) = self.ended.pop_front() else { break };
            self.name_all(Some(process), &sightings);
        }
    }

    /// The functions of all frames that have one, in order; what was wrong is said.
    pub(crate) fn finish(mut self, walker: &mut Walker, context: &Context) -> BTreeMap<FrameId, Symbol> {
        for mm in walker.made_in() {
            let sightings = sightings(walker, mm);
            let mut process = self.processes.remove(&mm);
            if let Some(process) = &mut process {
                self.problems.extend(process.look());
            }
            self.name_all(process, &sightings);
        }
        while let Some((process, sightings)) = self.ended.pop_front() {
            self.name_all(Some(process), &sightings);
        }
        for problem in &self.problems {
            complain(context, &problem.text(context));
        }
        // Then nobody knows where else a frame was met.
        if walker.has_lost_made() {
            return BTreeMap::new();
        }
        self.names.into_iter().filter_map(|(frame, symbol)| Some((frame, symbol?))).collect()
    }

    fn name_all(&mut self, process: Option<Process>, sightings: &[(Frame, Sighting)]) {
        let mut process = process;
        if let Some(process) = &mut process {
            let problems = process.sources.iter_mut().filter_map(|source| source.read(MOST).err());
            self.problems.extend(problems);
        }
        for (frame, sighting) in sightings {
            let symbol = process.as_ref().and_then(|process| process.name(*frame, Some(*sighting)));
            let known = self.names.entry(sighting.frame).or_insert_with(|| symbol.clone());
            if *known != symbol {
                *known = None;
            }
        }
    }
}

fn sightings(walker: &mut Walker, mm: MmId) -> Vec<(Frame, Sighting)> {
    let all = walker.take_made(mm);
    all.into_iter().filter_map(|sighting| Some((walker.frame(sighting.frame)?, sighting))).collect()
}

impl Process {
    fn has_dump(&self) -> bool {
        self.sources.iter().any(|source| source.found.kind == JitFile::JitDump)
    }

    /// Looks where runtimes write unasked.
    fn look(&mut self) -> Vec<Problem> {
        let found = self.maker.find();
        self.take(found.into_iter())
    }

    fn take(&mut self, found: impl Iterator<Item = Result<Found, NoFile>>) -> Vec<Problem> {
        let mut problems = Vec::new();
        for found in found {
            match found {
                Err(no) => problems.push(no.into()),
                Ok(found) if self.sources.iter().any(|s| s.found.inode() == found.inode()) => {}
                Ok(_) if self.sources.len() >= FILES => {}
                Ok(found) => {
                    let parsed = match found.kind {
                        JitFile::PerfMap => Parsed::Map(PerfMap::default()),
                        JitFile::JitDump => Parsed::Dump { dump: None, bytes: 0 },
                    };
                    self.sources.push(Source { found, state: None, parsed });
                }
            }
        }
        problems
    }

    /// The function of a frame. A dump knows times; of a map the last entry counts.
    fn name(&self, frame: Frame, met: Option<Sighting>) -> Option<Symbol> {
        let Place::Unknown(Addr(at)) = frame.place else { return None };
        let at = Addr(at.checked_sub(u64::from(frame.is_return))?);
        let dumps = self.sources.iter().filter_map(|source| match &source.parsed {
            Parsed::Dump { dump, .. } => dump.as_ref(),
            Parsed::Map(_) => None,
        });
        for dump in dumps {
            let last = dump.name_at(at, None);
            if last.is_some() {
                return met.map_or(last, |met| dump.name_between(at, met.first, met.last));
            }
        }
        self.sources.iter().find_map(|source| match &source.parsed {
            Parsed::Map(map) => map.name_at(at),
            Parsed::Dump { .. } => None,
        })
    }
}

impl Source {
    /// Reads what is new of the file.
    fn read(&mut self, most: u64) -> Result<(), Problem> {
        let path = &self.found.path;
        let state = self.found.state()?;
        if self.state.is_some_and(|ended| ended != state) {
            self.parsed = Parsed::Map(PerfMap::default());
            return Err(Problem::Changed(path.clone()));
        }
        let (size, _) = state;
        let is_cut = match &mut self.parsed {
            Parsed::Map(map) => {
                if size < map.bytes() {
                    // Begun anew.
                    *map = PerfMap::default();
                }
                map.push(&self.found.read(map.bytes(), MOST.saturating_sub(map.bytes()))?);
                size > MOST
            }
            Parsed::Dump { dump, bytes } => {
                // Parsed as a whole each time it grew.
                if size != *bytes && (size <= most || most == MOST) {
                    *dump = JitDump::parse(&self.found.read(0, most)?);
                    *bytes = size;
                }
                size > MOST
            }
        };
        if is_cut { Err(Problem::Cut(path.clone())) } else { Ok(()) }
    }
}

impl Problem {
    fn text(&self, context: &Context) -> String {
        let (text, path, why): (_, _, &dyn Display) = match self {
            Problem::Foreign(path) => (&texts::JIT_FOREIGN, path, &""),
            Problem::Special(path) => (&texts::JIT_SPECIAL, path, &""),
            Problem::Unreadable(path, why) => (&texts::JIT_UNREADABLE, path, why),
            Problem::Cut(path) => (&texts::JIT_CUT, path, &(MOST >> 20)),
            Problem::Changed(path) => (&texts::JIT_CHANGED, path, &""),
        };
        text.fill(context.lang, &[("path", &path.display()), ("why", why)])
    }
}
