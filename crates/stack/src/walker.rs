//! The face of this crate: stacks in, numbers out, and what the numbers stand for.

use crate::Rows;
use crate::intern::Stacks;
use crate::modules::Here;
use crate::unwind::Unwinder;
use vmatlas_event::{
    Addr, Frame, FrameId, MmId, Module, ModuleId, NewStacks, Outer, Pid, Stack, StackEnd, StackId, StackStep,
    Stopped, Unwinding,
};

/// Walks the stacks of threads, and keeps each stack once.
#[derive(Debug, Default)]
pub struct Walker {
    unwinder: Unwinder,
    stacks: Stacks,
    frames: Vec<u32>,
    /// How many modules, frames and stacks were told.
    told: (usize, usize, usize),
    lost: u64,
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
        stack
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
        let mut at = id;
        loop {
            let StackStep { outer, frame } = self.stacks.get(at)?;
            frames.push(self.frame(frame)?);
            match outer {
                Outer::Caller(caller) => at = caller,
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
