//! A process that makes code, and the files that it writes about it.

use super::problem::Problem;
use vmatlas_event::{Addr, Frame, Place, Symbol};
use vmatlas_stack::Sighting;
use vmatlas_stack::symbolize::jit::{FileState, Found, JitDump, JitFile, Maker, NoFile, PerfMap};

/// So many bytes of a file are read.
pub(super) const MOST: u64 = 64 << 20;
/// So many bytes of a dump are read again and again for lines that are printed.
const MOST_LIVE: u64 = 8 << 20;
/// So many files of a process are held: what runtimes write unasked, and a dump elsewhere.
const FILES: usize = 4;

/// A process, its folders and files held open.
pub(super) struct Process {
    maker: Maker,
    sources: Vec<Source>,
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

impl Process {
    pub(super) fn new(maker: Maker) -> Process {
        Process { maker, sources: Vec::new() }
    }

    /// Takes a dump that it has mapped, where that is its own and there is none.
    pub(super) fn mapped(&mut self, path: &[u8], inode: u64) -> Vec<Problem> {
        if self.sources.iter().any(|source| source.found.kind == JitFile::JitDump) {
            return Vec::new();
        }
        let found = self.maker.mapped(path, inode);
        self.take(found.transpose().into_iter())
    }

    /// Reads what its files have now; what is wrong with one is told at the end.
    pub(super) fn read_live(&mut self) {
        if self.sources.is_empty() {
            self.look();
        }
        for source in &mut self.sources {
            let _ = source.read(MOST_LIVE);
        }
    }

    /// Looks what there is at its end, which is not to be changed afterwards.
    pub(super) fn close(&mut self) -> Vec<Problem> {
        let problems = self.look();
        self.sources.iter_mut().for_each(|source| source.state = source.found.state().ok());
        problems
    }

    /// Whether it has no file.
    pub(super) fn is_silent(&self) -> bool {
        self.sources.is_empty()
    }

    /// Reads all that is left to be read.
    pub(super) fn read(&mut self) -> Vec<Problem> {
        self.sources.iter_mut().filter_map(|source| source.read(MOST).err()).collect()
    }

    /// Looks where runtimes write unasked.
    pub(super) fn look(&mut self) -> Vec<Problem> {
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
    pub(super) fn name(&self, frame: Frame, met: Option<Sighting>) -> Option<Symbol> {
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
