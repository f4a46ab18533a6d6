//! Page faults of traced tasks, by perf events.
//!
//! Each task that is there at the beginning gets two events per processor, one for minor and one for major faults, which
//! all that it makes inherit: so a new task's first fault is told without a stop of ours, and without a descriptor or a
//! ring for each of a thousand threads. The kernel lets inherited events write to a ring of one processor only, hence one
//! ring for each. The program is woken by nobody: half a full ring wakes us.

use crate::error::TraceError;
use std::os::fd::AsFd;
use std::time::Duration;
use vmatlas_event::{Addr, Bytes, Errno, MonoNs, Tid, Unwinding};
use vmatlas_sys::bpf::CallStack;
use vmatlas_sys::perf::{Event, Faults as Which, Options, Record, Ring};
use vmatlas_sys::signal::Ears;

/// So many faults wait at most, for calls that are under way or for the word of their task.
pub(crate) const MOST_HELD: usize = 1 << 16;
/// And so many of them with what their stacks are told from, which is some KiB each.
pub(crate) const MOST_WITH_STACKS: usize = 1 << 12;

const EPERM: Errno = Errno(1);
const ESRCH: Errno = Errno(3);
const ENOMEM: Errno = Errno(12);
const EACCES: Errno = Errno(13);
const ENODEV: Errno = Errno(19);

/// What a ring has room for where nothing keeps us from it: 43,000 faults of one processor.
const RING: u64 = 2 << 20;
/// The same where each fault brings a copy of its stack: 2,000 faults.
const RING_FOR_COPIES: u64 = 16 << 20;
/// What all rings may take together.
const RINGS: u64 = 64 << 20;

/// How page faults are to be watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultWatch {
    /// Room of each processor's ring; `None` for as much as is good and permitted.
    pub ring: Option<Bytes>,
    /// Whether each fault brings its call stack, and how callers are told.
    pub stacks: Option<Unwinding>,
}

/// A fault as a ring had it.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) tid: Tid,
    pub(crate) at: MonoNs,
    pub(crate) addr: Addr,
    pub(crate) ip: Option<Addr>,
    pub(crate) is_major: bool,
    pub(crate) stack: Option<Box<CallStack>>,
}

/// What rings tell.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    Fault(Fault),
    /// A task has executed a program: the faults that follow are in its new address space.
    Exec {
        tid: Tid,
        at: MonoNs,
    },
    Lost {
        count: u64,
        from: MonoNs,
        to: MonoNs,
    },
}

impl Told {
    fn at(&self) -> MonoNs {
        match self {
            Told::Fault(fault) => fault.at,
            Told::Exec { at, .. } => *at,
            Told::Lost { to, .. } => *to,
        }
    }
}

/// The events, and the rings that they write to.
#[derive(Debug)]
pub(crate) struct Faults {
    rings: Vec<Cpu>,
    /// Those that write to rings.
    sampled: Vec<Event>,
    /// Those that count each entry of the fault handler.
    counted: Vec<Event>,
    /// The numbers of events for major faults: few, as many as tasks were there at the beginning.
    majors: Vec<u64>,
    /// Whether the kernel's touches are told too; `None` until that was tried.
    with_kernel: Option<bool>,
    ears: Ears,
    batch: Vec<Told>,
    /// Faults taken from rings, and what was told to be lost.
    taken: u64,
    lost: u64,
    asked: u64,
    stacks: Option<Unwinding>,
}

/// The ring of one processor.
#[derive(Debug)]
struct Cpu {
    number: u32,
    ring: Ring,
    /// When the last thing happened that it told of.
    last: MonoNs,
}

impl Faults {
    /// Makes the rings. To be called by the thread that traces, once the program is started.
    ///
    /// # Errors
    /// [`TraceError::Faults`] where perf events, or even the smallest rings, are refused.
    pub(crate) fn begin(watch: FaultWatch) -> Result<Faults, TraceError> {
        let error = |errno| TraceError::Faults { errno };
        let page = vmatlas_sys::page_size().bytes();
        let cpus = vmatlas_sys::sched::online();
        // Copies of stacks take two hundred times as much.
        let best = if watch.stacks == Some(Unwinding::Tables) { RING_FOR_COPIES } else { RING };
        let fair = (RINGS / cpus.len().max(1) as u64).clamp(8 * page, best);
        let asked = watch.ring.map_or(fair, |ring| ring.0.clamp(page, RINGS));
        // A power of two of pages, no more than asked for.
        let mut pages = 1 << (asked / page).max(1).ilog2();
        let asked = pages * page;
        let rings = loop {
            match rings(&cpus, pages, watch.stacks) {
                Ok(rings) => break rings,
                Err(EPERM | ENOMEM) if pages > 1 => pages /= 2,
                Err(errno) => return Err(error(errno)),
            }
        };
        let ears = Ears::begin().map_err(error)?;
        for cpu in &rings {
            ears.listen(cpu.ring.as_fd()).map_err(error)?;
        }
        Ok(Faults {
            rings,
            sampled: Vec::new(),
            counted: Vec::new(),
            majors: Vec::new(),
            with_kernel: None,
            ears,
            batch: Vec::new(),
            taken: 0,
            lost: 0,
            asked,
            stacks: watch.stacks,
        })
    }

    /// Watches a task and all that it will make: from its next exec on, or at once.
    ///
    /// # Errors
    /// [`TraceError::Faults`]; nothing is wrong with a task that is gone.
    pub(crate) fn watch(&mut self, tid: Tid, on_exec: bool) -> Result<(), TraceError> {
        let opened = match self.with_kernel {
            Some(kernel) => self.open(tid, on_exec, kernel),
            // Without privileges a program's own touches are told, and not those of the kernel for it.
            None => match self.open(tid, on_exec, true) {
                Err(EACCES | EPERM) => {
                    self.open(tid, on_exec, false).inspect(|()| self.with_kernel = Some(false))
                }
                opened => opened.inspect(|()| self.with_kernel = Some(true)),
            },
        };
        match opened {
            Ok(()) | Err(ESRCH) => Ok(()),
            Err(errno) => Err(TraceError::Faults { errno }),
        }
    }

    fn open(&mut self, tid: Tid, on_exec: bool, kernel: bool) -> Result<(), Errno> {
        let stacks = self.stacks;
        let options = Options { cpu: None, kernel, on_exec, sampled: false, execs: false, stacks };
        let mut new = vec![];
        let mut majors = vec![];
        let counted = Event::open(tid, Which::All, options)?;
        for cpu in &self.rings {
            let options = Options { cpu: Some(cpu.number), sampled: true, ..options };
            // Only touches by the kernel can come between an exec and its stop.
            let minor = Event::open(tid, Which::Minor, Options { execs: kernel, ..options })?;
            let major = Event::open(tid, Which::Major, options)?;
            minor.write_to(&cpu.ring)?;
            major.write_to(&cpu.ring)?;
            majors.push(major.id()?);
            new.extend([minor, major]);
        }
        if !on_exec {
            for event in new.iter().chain([&counted]) {
                event.enable()?;
            }
        }
        self.sampled.extend(new);
        self.majors.extend(majors);
        self.counted.push(counted);
        Ok(())
    }

    /// Waits until a task or a ring has something to tell, or the time is over.
    pub(crate) fn wait(&self, time: Duration) {
        self.ears.wait(time);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rings.iter().all(|cpu| cpu.ring.is_empty())
    }

    /// What happened until `until`, in order, and not what came later: of a task that moves from one processor to another
    /// while its rings are read, a later fault could be found and an earlier one missed. `until` is to be taken before
    /// this is called. Give the list back with [`Faults::give_back`].
    pub(crate) fn take(&mut self, until: MonoNs) -> Vec<Told> {
        let mut batch = std::mem::take(&mut self.batch);
        let mut sources = 0;
        for cpu in &mut self.rings {
            let before = batch.len();
            let (majors, last) = (&self.majors, &mut cpu.last);
            let (taken, lost) = (&mut self.taken, &mut self.lost);
            cpu.ring.read(|record| {
                let told = match record {
                    Record::Fault { at, .. } | Record::Exec { at, .. } if at > until => return false,
                    Record::Fault { id, tid, at, addr, ip, stack, .. } => {
                        *taken += 1;
                        let is_major = majors.contains(&id);
                        Told::Fault(Fault { tid, at, addr, ip, is_major, stack })
                    }
                    Record::Exec { tid, at } => Told::Exec { tid, at },
                    Record::Lost { count, at } => {
                        *lost += count;
                        Told::Lost { count, from: *last, to: at }
                    }
                };
                *last = told.at();
                batch.push(told);
                true
            });
            sources += u64::from(batch.len() > before);
        }
        if sources > 1 {
            batch.sort_by_key(Told::at);
        }
        batch
    }

    pub(crate) fn give_back(&mut self, mut batch: Vec<Told>) {
        batch.clear();
        self.batch = batch;
    }

    /// Ends the events; what they have counted stays.
    pub(crate) fn end(&self) {
        for event in self.sampled.iter().chain(&self.counted) {
            // A task that is gone has ended its events itself.
            let _ = event.disable();
        }
    }

    /// What was lost and not yet told, and since when: the kernel tells of a loss with the next record that finds room, and
    /// after the last one there is none. To be asked once all was taken after [`Faults::end`].
    pub(crate) fn last_loss(&mut self) -> Option<(u64, MonoNs)> {
        let count = self.produced()?.checked_sub(self.taken + self.lost).filter(|count| *count > 0)?;
        self.lost += count;
        Some((count, self.rings.iter().map(|cpu| cpu.last).max().unwrap_or(MonoNs(0))))
    }

    /// How many faults the kernel had to write, room or not.
    fn produced(&self) -> Option<u64> {
        sum(&self.sampled)
    }

    /// Fills in what is known here.
    pub(crate) fn count(&self, counts: &mut vmatlas_event::FaultCounts) {
        counts.produced = self.produced().unwrap_or(self.taken + self.lost);
        // What the rings have told may be more: names of executed programs found no room either.
        counts.lost = counts.produced.saturating_sub(self.taken);
        counts.handled = sum(&self.counted);
        counts.with_kernel = self.with_kernel == Some(true);
        counts.ring = Bytes(self.rings.first().map_or(0, |cpu| cpu.ring.size()));
        counts.ring_asked = Bytes(self.asked);
        counts.rings = self.rings.len() as u64;
    }
}

fn sum(events: &[Event]) -> Option<u64> {
    events.iter().map(|event| event.count().ok()).sum()
}

fn rings(cpus: &[u32], pages: u64, stacks: Option<Unwinding>) -> Result<Vec<Cpu>, Errno> {
    let pages = usize::try_from(pages).unwrap_or(1);
    let mut rings = Vec::new();
    for number in cpus {
        match Ring::new(*number, pages) {
            Ok(ring) => {
                let ring = ring.with_stacks(stacks);
                rings.push(Cpu { number: *number, ring, last: vmatlas_sys::now() });
            }
            // It was switched off meanwhile.
            Err(ENODEV) => {}
            Err(errno) => return Err(errno),
        }
    }
    if rings.is_empty() { Err(ENODEV) } else { Ok(rings) }
}
