//! What the thread does that opens and reads files about code made at run time: one question after the other.

use super::problem::Problem;
use super::process::Process;
use std::collections::{HashMap, VecDeque};
use vmatlas_event::{Frame, FrameId, MmId, Symbol};
use vmatlas_stack::Sighting;
use vmatlas_stack::symbolize::jit::{Hold, Maker};

/// So many processes that ended may wait for their names.
const WAITING: usize = 32;

/// A question.
pub(super) enum Ask {
    /// A process has code of no module (a new one with a hold on it), and maps such files executable: path and inode.
    Met { mm: MmId, hold: Option<Hold>, marked: Vec<(Vec<u8>, u64)> },
    /// The function at an address of a process, as its files have it now.
    Live { mm: MmId, frame: Frame },
    /// What it wrote is to be held, and read now or later; the names are told by this number.
    Leaves { mm: MmId, job: u64, sightings: Vec<(Frame, Sighting)>, how: Leaving },
    /// All that is not read is to be read.
    Rest,
}

/// How a process leaves its address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    /// It has ended: what it wrote stays as it is.
    Ended,
    /// It goes on with another program, which may write over it.
    GoesOn,
    /// It does not, we do.
    Stays,
}

/// What is said to it.
pub(super) enum Said {
    /// The function that was asked for.
    Symbol(Option<Symbol>),
    /// The functions of a job's frames; none, or not one alone, is `None`.
    Named { job: u64, names: Vec<(FrameId, Option<Symbol>)> },
    /// What is wrong with a file.
    Wrong(Problem),
}

/// A process that left, its frames, and the number they are told by.
type Left = (Option<Process>, Vec<(Frame, Sighting)>, u64);

/// Processes and their files.
#[derive(Default)]
pub(super) struct Files {
    processes: HashMap<MmId, Process>,
    left: VecDeque<Left>,
}

impl Files {
    pub(super) fn answer(&mut self, ask: Ask, say: &mut dyn FnMut(Said)) {
        match ask {
            Ask::Met { mm, hold, marked } => {
                if let Some(maker) = hold.and_then(|hold| Maker::of(&hold)) {
                    self.processes.insert(mm, Process::new(maker));
                }
                if let Some(process) = self.processes.get_mut(&mm) {
                    let problems = marked.iter().flat_map(|(path, inode)| process.mapped(path, *inode));
                    problems.for_each(|problem| say(Said::Wrong(problem)));
                }
            }
            Ask::Live { mm, frame } => {
                let process = self.processes.get_mut(&mm);
                say(Said::Symbol(process.and_then(|process| {
                    process.read_live();
                    process.name(frame, None)
                })));
            }
            Ask::Leaves { mm, job, sightings, how } => {
                let mut process = self.processes.remove(&mm).filter(|_| !sightings.is_empty());
                if let Some(process) = &mut process {
                    let problems = if how == Leaving::Stays { process.look() } else { process.close() };
                    problems.into_iter().for_each(|problem| say(Said::Wrong(problem)));
                }
                let is_silent = process.as_ref().is_none_or(Process::is_silent);
                self.left.push_back((process, sightings, job));
                self.name_left(if is_silent || how != Leaving::Ended { 0 } else { WAITING }, say);
            }
            Ask::Rest => self.name_left(0, say),
        }
    }

    /// Tells the names of the earliest that left, until so many wait.
    fn name_left(&mut self, most: usize, say: &mut dyn FnMut(Said)) {
        while self.left.len() > most {
            let Some((mut process, sightings, job)) = self.left.pop_front() else { return };
            if let Some(process) = &mut process {
                process.read().into_iter().for_each(|problem| say(Said::Wrong(problem)));
            }
            let name = |(frame, sighting): (Frame, Sighting)| {
                let symbol = process.as_ref().and_then(|process| process.name(frame, Some(sighting)));
                (sighting.frame, symbol)
            };
            say(Said::Named { job, names: sightings.into_iter().map(name).collect() });
        }
    }
}
