//! The face of this crate: stacks in, numbers out, and what the numbers stand for.

use crate::Rows;
use crate::intern::{Stacks, Walked};
use crate::made::{Made, Sighting};
use crate::modules::Here;
use crate::unwind::Unwinder;
use std::path::PathBuf;
use vmatlas_event::{
    Addr, Frame, FrameId, MmId, Module, ModuleId, NewStacks, Outer, Pid, Place, Stack, StackEnd, StackId,
    StackStep, Stopped, Unwinding,
};

/// Walks the stacks of threads, and keeps each stack once.
#[derive(Debug, Default)]
pub struct Walker {
    unwinder: Unwinder,
    stacks: Stacks,
    frames: Vec<Walked>,
    /// How many modules, frames and stacks were told.
    told: (usize, usize, usize),
    lost: u64,
    made: Made,
    /// Whether the last walk met code of no module where it was not met before.
    has_new_code: bool,
    unwinding: Unwinding,
}

impl Walker {
    /// Knowing nothing yet.
    pub fn new() -> Walker {
        Walker::default()
    }

    /// The same; callers are told in this way.
    pub fn by(unwinding: Unwinding) -> Walker {
        Walker { unwinding, ..Walker::default() }
    }

    /// The number of the stack of a thread; `None` where too many different ones were seen already.
    pub fn walk(&mut self, at: &Stopped<'_>, rows: &dyn Rows) -> Option<StackId> {
        let end = self.frames(at, rows, &mut |_| {});
        let stack = end.and_then(|end| self.stacks.number(&self.frames, end));
        self.lost += u64::from(stack.is_none());
        self.note_made(at);
        stack
    }

    /// Notes frames of no module: code made at run time.
    fn note_made(&mut self, at: &Stopped<'_>) {
        let Walker { unwinder, frames, made, .. } = self;
        let is_made = |number: &u32| {
            unwinder.places.frame(*number).is_some_and(|frame| matches!(frame.place, Place::Unknown(_)))
        };
        self.has_new_code = false;
        for number in frames.iter().map(|(number, _)| *number).filter(is_made) {
            self.has_new_code |= made.saw(at.mm, FrameId(number), at.at);
        }
    }

    /// Whether the last walk met code of no module where it had not been met before.
    pub fn has_new_code(&self) -> bool {
        self.has_new_code
    }

    /// The address spaces that frames of no module were met in, and that were not taken.
    pub fn made_in(&self) -> Vec<MmId> {
        self.made.spaces()
    }

    /// Frames of no module that an address space had, in order; they are told once.
    pub fn take_made(&mut self, mm: MmId) -> Vec<Sighting> {
        self.made.take(mm)
    }

    /// Whether there were more such frames than can be kept: which of them were met where is not known then.
    pub fn has_lost_made(&self) -> bool {
        self.made.is_full()
    }

    /// The addresses in the process of a thread's frames, innermost first, and where its stack ends. For tests and for
    /// comparing with other unwinders.
    pub fn addresses(&mut self, at: &Stopped<'_>, rows: &dyn Rows) -> (Vec<Addr>, Option<StackEnd>) {
        let mut addresses = Vec::new();
        let end = self.frames(at, rows, &mut |ip| addresses.push(Addr(ip)));
        (addresses, end)
    }

    fn frames(&mut self, at: &Stopped<'_>, rows: &dyn Rows, visit: &mut dyn FnMut(u64)) -> Option<StackEnd> {
        let here = Here { mm: at.mm, pid: Pid(at.task.tid.0), rows };
        self.frames.clear();
        if at.registers.is_32 {
            return self.unwinder.one(here, at, &mut self.frames, visit);
        }
        match self.unwinding {
            Unwinding::Tables => self.unwinder.walk(here, at, &mut self.frames, visit),
            Unwinding::FramePointers => self.unwinder.walk_chain(here, at, &mut self.frames, visit),
        }
    }

    /// An address space is no more: nothing needs to be kept of where its files lie.
    pub fn forget(&mut self, mm: MmId) {
        self.unwinder.modules.forget(mm);
    }

    /// How many stacks got no number, because too many different ones were seen.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// A stack with its frames.
    pub fn stack(&self, id: StackId) -> Option<Stack> {
        let mut frames = Vec::new();
        let (mut at, mut found) = (id, None);
        loop {
            let StackStep { outer, frame } = self.stacks.get(at)?;
            frames.push((self.frame(frame)?, found));
            match outer {
                Outer::Caller(caller, by) => (at, found) = (caller, by),
                Outer::End(end) => return Some(Stack { frames, end }),
            }
        }
    }

    /// A frame by its number.
    pub fn frame(&self, id: FrameId) -> Option<Frame> {
        self.unwinder.places.frame(id.0)
    }

    /// A module by its number.
    pub fn module(&self, id: ModuleId) -> Option<&Module> {
        self.unwinder.modules.module(id.0)
    }

    /// Modules whose file is open here, and where: they can be read though their paths lead to them no more. True until the
    /// next walk, at most 64.
    pub fn held(&self) -> Vec<(Module, PathBuf)> {
        self.unwinder.modules.held().map(|(module, path)| (module.clone(), path)).collect()
    }

    /// What was met since this was called last.
    pub fn take_new(&mut self) -> NewStacks {
        let (modules, frames, stacks) = &mut self.told;
        let new = NewStacks {
            modules: self.unwinder.modules.since(*modules).cloned().collect(),
            frames: self.unwinder.places.since(*frames).collect(),
            stacks: self.stacks.since(*stacks).to_vec(),
        };
        *modules += new.modules.len();
        *frames += new.frames.len();
        *stacks += new.stacks.len();
        new
    }
}
