//! Names of places in modules: function, inlined callers, file and line.
//!
//! You give a module as it was mapped and addresses of its own (SVMA); you get the functions there, innermost first, or
//! why there are none. Sources: `.symtab` and `.dynsym`, DWARF, `.gnu_debugdata`, separate debug files by build ID and by
//! `.gnu_debuglink`. Code made at run time has no file; [`jit`] has what its makers write about it.
//!
//! - **Never silently wrong**: a file counts only when its build ID is the one that was mapped, or, where there was none,
//!   device and inode, unchanged since. Otherwise the answer is why not.
//! - **Files are hostile**: read with limits in bytes, entries, lengths and time, never mapped ([`Limits`]).
//! - **Lazy**: nothing is opened before a name is asked for; parsed modules are kept, the least recently used dropped.
//!
//! Not here: finding modules, and debuginfod (network).

mod compressed;
mod demangle;
mod dwarf;
mod elf;
mod error;
mod image;
mod input;
pub mod jit;
mod limits;
mod mapped;
mod ranges;
mod reader;
mod separate;
mod table;
mod worker;

pub use error::{Flaw, NoNames, Note};
pub use limits::Limits;

use rustc_hash::FxHashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};
use vmatlas_event::{Addr, Module, Symbol};
use worker::{Part, Word, Worker};

/// A section with SHF_COMPRESSED unpacked, where that is at most `most` bytes.
pub(crate) fn unpacked(section: &[u8], most: u64) -> Option<Vec<u8>> {
    let limits = Limits { section: most, module: most, ..Limits::default() };
    let bytes = compressed::section("", section, true, &limits::Budget::new(&limits)).ok()?;
    Some(bytes.to_vec())
}

/// How many threads may be left behind before no more names are made.
const MAX_LEFT_BEHIND: usize = 4;

/// Where files are looked for.
#[derive(Clone, Debug)]
pub struct Folders {
    /// Roots of file systems, tried in this order: `/proc/PID/root` while the program is there, `/`.
    pub roots: Vec<PathBuf>,
    /// Folders of separate debug files, as in gdb's `debug-file-directory`.
    pub debug: Vec<PathBuf>,
    /// Files that somebody holds open (`/proc/self/fd/N`): where a program was deleted, and where it has no build ID, by which
    /// it could be known again.
    pub held: Vec<(Module, PathBuf)>,
    /// A file without a build ID is not taken where it was changed after this: inodes are used again, and written over.
    pub unchanged_since: Option<SystemTime>,
}

impl Default for Folders {
    fn default() -> Folders {
        Folders {
            roots: vec![PathBuf::from("/")],
            debug: vec![PathBuf::from("/usr/lib/debug")],
            held: Vec::new(),
            unchanged_since: None,
        }
    }
}

/// One place to name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lookup {
    /// The address in the module's own addresses.
    pub at: Addr,
    /// Whether it is one to return to: then the byte before it is looked up.
    pub is_return: bool,
}

/// The names of places in one module.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// One for each place that was asked for: functions, innermost first, at least one; the last is not inlined.
    pub names: Vec<Result<Vec<Symbol>, NoNames>>,
    /// What was noticed about the module.
    pub notes: Vec<Note>,
}

/// Makes names of places.
///
/// ```no_run
/// use vmatlas_event::{Addr, Module};
/// use vmatlas_stack::symbolize::{Folders, Limits, Lookup, Symbolizer};
/// let mut symbolizer = Symbolizer::new(Folders::default(), Limits::default());
/// let places = [Lookup { at: Addr(0x1234), is_return: false }];
/// for names in symbolizer.names(&Module::default(), &places).names {
///     match names {
///         Ok(functions) => println!("{functions:?}"),
///         Err(why) => println!("no name: {why}"),
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Symbolizer {
    folders: Folders,
    limits: Limits,
    worker: Option<Worker>,
    left_behind: usize,
    /// Time that modules have taken.
    spent: FxHashMap<(Module, Part), Duration>,
}

impl Symbolizer {
    /// One that looks in these folders. Nothing is opened yet.
    pub fn new(folders: Folders, limits: Limits) -> Symbolizer {
        Symbolizer { folders, limits, worker: None, left_behind: 0, spent: FxHashMap::default() }
    }

    /// Names places of one module; asking for many at once is cheaper than one by one.
    ///
    /// Takes at most [`Limits::time`] for each module, over all calls. When that is over, as much again is for functions
    /// by symbols alone ([`Note::Slow`]); what is not named by then says [`NoNames::Deadline`].
    pub fn names(&mut self, module: &Module, at: &[Lookup]) -> Answer {
        let mut answer = Answer::default();
        let parts = [(Part::All, self.limits.time), (Part::Symbols, self.limits.time)];
        for (part, time) in parts {
            let rest = at.get(answer.names.len()..).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            if part == Part::Symbols {
                answer.notes.push(Note::Slow);
            }
            let started = Instant::now();
            let spent = self.spent.get(&(module.clone(), part)).copied().unwrap_or_default();
            let in_time = self.ask(module, rest, part, time.saturating_sub(spent), &mut answer);
            let spent = if in_time { spent + started.elapsed() } else { time };
            self.spent.insert((module.clone(), part), spent);
        }
        answer.names.resize(at.len(), Err(NoNames::Deadline));
        answer
    }

    /// Whether all was said in time.
    fn ask(
        &mut self,
        module: &Module,
        at: &[Lookup],
        part: Part,
        limit: Duration,
        answer: &mut Answer,
    ) -> bool {
        let end = Instant::now() + limit;
        if limit.is_zero() || self.left_behind >= MAX_LEFT_BEHIND {
            return false;
        }
        let start = || Worker::start(self.folders.clone(), self.limits.clone());
        let Some(worker) = self.worker.take().or_else(start) else { return false };
        if worker.ask(module, at, part) {
            loop {
                match worker.word(end.saturating_duration_since(Instant::now())) {
                    Ok(Word::Notes(notes)) => answer.notes.extend(notes),
                    Ok(Word::Names(names)) => answer.names.push(names),
                    Ok(Word::End) => {
                        self.worker = Some(worker);
                        return true;
                    }
                    Err(_) => break,
                }
            }
        }
        self.left_behind += 1;
        false
    }
}
