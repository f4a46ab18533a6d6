//! Call stacks: which code asked, as places in files that outlive the process.

use crate::{Addr, Dev, ModuleId, Name};

/// A file (or the vdso) that code of a stack lies in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Module {
    /// Its path as the map names it, or the kernel's label (`[vdso]`).
    pub name: Option<Name>,
    /// The GNU build ID, at most 64 bytes; empty where it has none or could not be read.
    pub build_id: Vec<u8>,
    /// The device of the file; `None` where it is no file.
    pub dev: Option<Dev>,
    /// Its inode; 0 where it is no file.
    pub inode: u64,
}

/// Where one frame was: the place that will be executed next in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// In a module, at this address of the file's own (SVMA, what its ELF symbols are given in).
    Module(ModuleId, Addr),
    /// In memory of no known module (made at run time, or not mapped): the address in the process (AVMA).
    Unknown(Addr),
}

/// One frame of a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Frame {
    /// The place.
    pub place: Place,
    /// Whether the place is one to return to, so that what was executed there is the instruction before it.
    /// False for the innermost frame and for what a signal interrupted.
    pub is_return: bool,
}

/// Where a stack ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StackEnd {
    /// At the thread's beginning, or at the entry of the dynamic loader or of a static program.
    Start,
    /// Further out than what is read of a stack at most.
    Bound,
    /// After as many frames as are taken at most.
    Depth,
    /// At a place whose caller no rule tells: code made at run time, damaged or missing unwind tables.
    NoRule,
    /// At stack memory that could not be read.
    Unreadable,
}

impl StackEnd {
    /// Whether callers are missing.
    pub fn is_truncated(self) -> bool {
        self != StackEnd::Start
    }
}

/// A call stack, innermost frame first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stack {
    /// Its frames.
    pub frames: Vec<Frame>,
    /// Where it ends.
    pub end: StackEnd,
}

/// A function that a place belongs to: one of several where calls were inlined.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Symbol {
    /// Its name, demangled; `None` where only the file is known.
    pub function: Option<Name>,
    /// The source file.
    pub file: Option<Name>,
    /// The line in it, from 1.
    pub line: Option<u32>,
    /// Whether it was inlined into the next one.
    pub is_inlined: bool,
}
