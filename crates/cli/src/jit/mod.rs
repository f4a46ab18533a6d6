//! Names of code made at run time, out of what its makers write about it: perf maps and jitdump.
//!
//! The files are those of the process that the code was met in, found by a hold on its folders that outlives it. A thread of
//! its own opens and reads them: at the end, or for lines of `run --stacks` as they are printed. The traced program waits for that
//! thread only so long; what was not read by then has no names, and that is said. A frame is an address; where two
//! processes, or one at two times, had other functions there, it has no name.

mod files;
mod problem;
mod process;
mod worker;

use crate::complain;
use crate::context::Context;
use crate::texts;
use files::{Ask, Files, Leaving, Said};
use problem::Problem;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::time::{Duration, Instant};
use vmatlas_event::{Frame, FrameId, MmId, Pid, Prot, Symbol, TaskId};
use vmatlas_model::AddressSpace;
use vmatlas_stack::symbolize::jit::Hold;
use vmatlas_stack::{Sighting, Walker};
use worker::Worker;

/// So many processes are told apart at a time: each holds two folders open.
const PROCESSES: usize = 256;
/// So many mapped files of a process with the name of a dump are tried: a program can map a thousand.
const TRIED: usize = 8;
/// So many things that are wrong with files are told.
const PROBLEMS: usize = 64;
/// So long the traced program waits for an answer.
const SHORTLY: Duration = Duration::from_secs(1);
/// The same where a program is replaced by another, which may write over the files: they are read at once.
const READING: Duration = Duration::from_secs(5);
/// At the end, so long for the next answer, and in all.
const AT_END: Duration = Duration::from_secs(10);
const IN_ALL: Duration = Duration::from_secs(60);

/// What is known of code made at run time.
#[derive(Default)]
pub(crate) struct Jits {
    worker: Option<Worker<Ask, Said>>,
    processes: HashMap<MmId, Known>,
    /// Frames whose functions were asked for and not told yet.
    open: BTreeMap<u64, (Pid, Vec<FrameId>)>,
    jobs: u64,
    told: Told,
}

/// A process that the thread knows.
struct Known {
    pid: Pid,
    /// The inodes of mapped files that may be its dump.
    marked: BTreeSet<u64>,
}

/// What the thread has told, and what it has not.
#[derive(Default)]
struct Told {
    /// The functions of frames. `None`: no name, or not one alone.
    names: BTreeMap<FrameId, Option<Symbol>>,
    problems: BTreeSet<Problem>,
    /// Processes whose files were not opened or read in time.
    late: BTreeSet<Pid>,
}

impl Jits {
    /// Code of no module was met for the first time in a process that stands still.
    pub(crate) fn met(&mut self, mm: MmId, task: TaskId, space: &AddressSpace) {
        let mut hold = None;
        if !self.processes.contains_key(&mm) {
            if self.processes.len() < PROCESSES {
                hold = Hold::of(Path::new("/proc"), task);
            }
            if hold.is_none() {
                self.told.late.insert(task.pid);
                return;
            }
            self.processes.insert(mm, Known { pid: task.pid, marked: BTreeSet::new() });
        }
        let Some(known) = self.processes.get_mut(&mm) else { return };
        // Its marker may be gone before the process is.
        let mut marked = Vec::new();
        for row in space.vmas().filter(|row| row.prot.has(Prot::EXEC) && row.has_file()) {
            if known.marked.len() < TRIED && may_be_dump(row.name_bytes()) && known.marked.insert(row.inode) {
                marked.push((row.name_bytes().to_vec(), row.inode));
            }
        }
        if hold.is_some() || !marked.is_empty() {
            self.ask(task.pid, Ask::Met { mm, hold, marked }, Some(SHORTLY));
        }
    }

    /// The function at an address of a living process, as its files have it now.
    pub(crate) fn live(&mut self, mm: MmId, frame: Frame) -> Option<Symbol> {
        let pid = self.processes.get(&mm)?.pid;
        self.ask(pid, Ask::Live { mm, frame }, Some(SHORTLY))?
    }

    /// A process leaves its address space: what it wrote is held, and read later, unless it `goes_on` with another
    /// program, which may write over it.
    pub(crate) fn ended(&mut self, mm: MmId, walker: &mut Walker, goes_on: bool) {
        let sightings = sightings(walker, mm);
        let (how, limit) = if goes_on { (Leaving::GoesOn, READING) } else { (Leaving::Ended, SHORTLY) };
        self.leave(mm, &sightings, how, Some(limit));
    }

    /// The functions of all frames that have one, in order; what was wrong is said.
    pub(crate) fn finish(mut self, walker: &mut Walker, context: &Context) -> BTreeMap<FrameId, Symbol> {
        let spaces: Vec<_> = walker.made_in().into_iter().map(|mm| (mm, sightings(walker, mm))).collect();
        self.rest(&spaces, AT_END, IN_ALL);
        self.tell(context);
        // Then nobody knows where else a frame was met.
        if walker.has_lost_made() {
            return BTreeMap::new();
        }
        self.told.names.into_iter().filter_map(|(frame, symbol)| Some((frame, symbol?))).collect()
    }

    /// Says what was wrong.
    pub(crate) fn tell(&self, context: &Context) {
        for problem in &self.told.problems {
            complain(context, &problem.text(context));
        }
        if let Some(first) = self.told.late.first() {
            let text = texts::JIT_LATE.fill(context.lang, &[("n", &self.told.late.len()), ("pid", first)]);
            complain(context, &text);
        }
    }

    /// Asks the thread, and waits for the answer where there is a limit; what was said, or `None` where it was not in time.
    fn ask(&mut self, pid: Pid, ask: Ask, limit: Option<Duration>) -> Option<Option<Symbol>> {
        let Jits { worker, open, told, .. } = self;
        if worker.is_none() {
            let mut files = Files::default();
            *worker = Worker::start(move |ask, say| files.answer(ask, say));
        }
        let mut symbol = None;
        let is_answered = worker.as_mut().is_some_and(|worker| {
            let number = worker.ask(ask);
            // What comes first can be the answer to an earlier question, which nobody waited for.
            let mut take = |said| symbol = told.take(said, open);
            number
                .is_some_and(|number| limit.is_none_or(|limit| worker.wait_shortly(number, limit, &mut take)))
        });
        if !is_answered {
            told.late.insert(pid);
        }
        is_answered.then_some(symbol)
    }

    /// A process leaves an address space: the functions of what was met there are asked for.
    fn leave(&mut self, mm: MmId, met: &[(Frame, Sighting)], how: Leaving, limit: Option<Duration>) {
        let frames: Vec<FrameId> = met.iter().map(|(_, sighting)| sighting.frame).collect();
        let Some(Known { pid, .. }) = self.processes.remove(&mm) else { return self.told.none(&frames) };
        self.jobs += 1;
        let job = self.jobs;
        self.open.insert(job, (pid, frames));
        let ask = Ask::Leaves { mm, job, sightings: met.to_vec(), how };
        if self.ask(pid, ask, limit).is_none() {
            // What stands there later may be of another program, or another process.
            self.lose(job);
        }
    }

    /// The functions of a job's frames will not be known.
    fn lose(&mut self, job: u64) {
        if let Some((pid, frames)) = self.open.remove(&job) {
            self.told.late.insert(pid);
            self.told.none(&frames);
        }
    }

    /// Asks for all that is left, of these address spaces too, and waits: for the next answer so long, in all so long.
    fn rest(&mut self, spaces: &[(MmId, Vec<(Frame, Sighting)>)], each: Duration, in_all: Duration) {
        let end = Instant::now() + in_all;
        let mut is_stuck = false;
        for (mm, met) in spaces {
            // So that there is room for the question.
            is_stuck = is_stuck || !self.catch_up(each, end);
            self.leave(*mm, met, Leaving::Stays, None);
        }
        if self.open.is_empty() {
            return;
        }
        if let Some(worker) = &mut self.worker {
            // No room for it where the thread is stuck, which is found next.
            worker.ask(Ask::Rest);
        }
        self.catch_up(each, end);
        while let Some((job, _)) = self.open.first_key_value() {
            self.lose(*job);
        }
    }

    /// Waits until all questions are answered; whether they are.
    fn catch_up(&mut self, each: Duration, end: Instant) -> bool {
        let Jits { worker, open, told, .. } = self;
        worker.as_mut().is_none_or(|worker| {
            worker.wait_for_all(each, end, &mut |said| {
                told.take(said, open);
            })
        })
    }
}

impl Told {
    /// Takes what the thread says; the function, where it says one.
    fn take(&mut self, said: Said, open: &mut BTreeMap<u64, (Pid, Vec<FrameId>)>) -> Option<Symbol> {
        match said {
            Said::Symbol(symbol) => return symbol,
            Said::Wrong(problem) => {
                if self.problems.len() < PROBLEMS {
                    self.problems.insert(problem);
                }
            }
            // Not that of a job that was lost.
            Said::Named { job, names } if open.remove(&job).is_some() => {
                names.into_iter().for_each(|(frame, symbol)| self.name(frame, symbol));
            }
            Said::Named { .. } => {}
        }
        None
    }

    fn none(&mut self, frames: &[FrameId]) {
        frames.iter().for_each(|frame| self.name(*frame, None));
    }

    fn name(&mut self, frame: FrameId, symbol: Option<Symbol>) {
        let known = self.names.entry(frame).or_insert_with(|| symbol.clone());
        if *known != symbol {
            *known = None;
        }
    }
}

fn sightings(walker: &mut Walker, mm: MmId) -> Vec<(Frame, Sighting)> {
    let all = walker.take_made(mm);
    all.into_iter().filter_map(|sighting| Some((walker.frame(sighting.frame)?, sighting))).collect()
}

/// Whether a file has a name as dumps have: which process's it is, the thread finds out.
fn may_be_dump(path: &[u8]) -> bool {
    let name = path.rsplit(|b| *b == b'/').next().unwrap_or_default();
    name.starts_with(b"jit-") && name.ends_with(b".dump")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{File, OpenOptions};
    use vmatlas_event::{Addr, MonoNs, Name, Place};

    const LONG: Duration = Duration::from_secs(600);
    const SHORT: Duration = Duration::from_millis(1);

    fn met(frame: u32) -> Vec<(Frame, Sighting)> {
        let place = Place::Unknown(Addr(u64::from(frame)));
        let sighting = Sighting { frame: FrameId(frame), first: MonoNs(1), last: MonoNs(2) };
        vec![(Frame { place, is_return: true }, sighting)]
    }

    /// A thread that names each frame after its process, and waits for the FIFO when it is asked of process 1.
    fn jits(fifo: std::path::PathBuf) -> Jits {
        let work = move |ask: Ask, say: &mut dyn FnMut(Said)| {
            let Ask::Leaves { mm, job, sightings, .. } = ask else { return };
            if mm == MmId(1) {
                drop(File::open(&fifo).unwrap());
            }
            let name = Name::new(format!("of{}", mm.0).as_bytes());
            let symbol = Symbol { function: Some(name), ..Symbol::default() };
            let names = sightings.iter().map(|(_, met)| (met.frame, Some(symbol.clone()))).collect();
            say(Said::Named { job, names });
        };
        let known = |pid| Known { pid: Pid(pid), marked: BTreeSet::new() };
        let processes = (0..4).map(|n| (MmId(n), known(100 + n as i32))).collect();
        Jits { worker: Worker::start(work), processes, ..Jits::default() }
    }

    fn names(jits: &Jits) -> Vec<(u32, Option<String>)> {
        let text = |symbol: &Symbol| {
            String::from_utf8_lossy(symbol.function.as_ref().unwrap().as_bytes()).into_owned()
        };
        jits.told.names.iter().map(|(frame, symbol)| (frame.0, symbol.as_ref().map(text))).collect()
    }

    /// Checks that nobody waits for a file that does not answer: what was read before has its names, what comes behind has none,
    /// and the processes are told.
    #[test]
    fn what_is_not_read_in_time_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let mut jits = jits(fifo.clone());
        jits.leave(MmId(0), &met(0), Leaving::Ended, Some(LONG));
        jits.leave(MmId(1), &met(1), Leaving::Ended, Some(SHORT));
        // Behind the one that is late nobody waits.
        jits.leave(MmId(2), &met(2), Leaving::Ended, Some(LONG));
        jits.rest(&[(MmId(3), met(3))], SHORT, LONG);
        let of = |name: &str| Some(name.to_owned());
        assert_eq!(names(&jits), [(0, of("of0")), (1, None), (2, None), (3, None)]);
        assert_eq!(jits.told.late, [101, 102, 103].map(Pid).into());
        drop(OpenOptions::new().read(true).write(true).open(&fifo).unwrap());
    }

    /// Checks that at the end all is waited for in the order it was asked, and that a frame which two processes name otherwise
    /// has no name.
    #[test]
    fn the_end_waits_for_all() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let mut jits = jits(fifo.clone());
        let writer = OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
        let spaces = [(MmId(1), met(5)), (MmId(2), met(5)), (MmId(3), met(6)), (MmId(9), met(7))];
        jits.rest(&spaces, LONG, LONG);
        assert_eq!(names(&jits), [(5, None), (6, Some("of3".to_owned())), (7, None)]);
        assert!(jits.told.late.is_empty());
        drop(writer);
    }
}
